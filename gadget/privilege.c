/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int privilege_find(const char *name, struct privilege_user *user, struct error *error)
{
    const struct passwd *entry;

    errno = 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread is there */
    entry = getpwnam(name);
    if (entry == NULL || strlen(entry->pw_name) >= sizeof user->name)
        return error_set(error, ERROR_USAGE,
                         "user %s: there is none of this name; make it: useradd --system %s", name,
                         name);
    if (entry->pw_uid == 0)
        return error_set(error, ERROR_USAGE, "user %s: is root; give another, or none", name);
    snprintf(user->name, sizeof user->name, "%s", entry->pw_name);
    user->user = entry->pw_uid;
    user->group = entry->pw_gid;
    return 0;
}

/* All that execve(2) could give: capabilities of files, set-user-ID.  An empty bounding set says it once
 * more, where the service manager has left the right to empty it (CAP_SETPCAP). */
static int bar_the_way_back(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
         capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EPERM)
            return -1;
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

static bool has_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

    return syscall(SYS_capget, &header, data) != 0 ||
           (data[0].effective | data[0].permitted | data[0].inheritable) != 0 ||
           (data[1].effective | data[1].permitted | data[1].inheritable) != 0;
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    return (int)syscall(SYS_capset, &header, none);
}

int privilege_drop(const struct privilege_user *user, struct error *error)
{
    if (bar_the_way_back() != 0)
        return error_errno(error, errno, "user %s: root's ways back cannot be barred", user->name);
    if (initgroups(user->name, user->group) != 0 ||
        setresgid(user->group, user->group, user->group) != 0 ||
        setresuid(user->user, user->user, user->user) != 0 || drop_capabilities() != 0)
        return error_errno(error, errno, "user %s: cannot become it", user->name);
    if (setuid(0) == 0 || seteuid(0) == 0 || getuid() != user->user || geteuid() != user->user ||
        getgid() != user->group || getegid() != user->group || has_capabilities())
        return error_set(error, ERROR_FAILED, "user %s: root was not left behind", user->name);
    return 0;
}
