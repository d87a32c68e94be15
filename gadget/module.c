/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/module.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define BOUND_MS 10000

/* modprobe with an environment, signals and descriptors of its own; END stays open in it alone, so that
 * the other end of that pipe tells when it has ended. */
static int spawn(const char *name, int end, pid_t *child)
{
    static const char *const places[] = {"/sbin/modprobe", "/usr/sbin/modprobe",
                                         "/usr/bin/modprobe"};
    char *const arguments[] = {"modprobe", "-q", "--", (char *)name, NULL};
    char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int result;

    sigemptyset(&none);
    sigfillset(&all);
    result = posix_spawn_file_actions_init(&files);
    if (result != 0)
        return result;
    result = posix_spawnattr_init(&attributes);
    if (result != 0)
        goto free_files;
    /* To itself: takes FD_CLOEXEC away (POSIX.1-2024). */
    result = posix_spawn_file_actions_adddup2(&files, end, end);
    if (result == 0)
        result = posix_spawnattr_setsigmask(&attributes, &none);
    if (result == 0)
        result = posix_spawnattr_setsigdefault(&attributes, &all);
    if (result == 0)
        result =
            posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (result == 0)
        result = ENOENT;
    for (unsigned i = 0; i < sizeof places / sizeof places[0] && result == ENOENT; i++)
        result = posix_spawn(child, places[i], &files, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
free_files:
    posix_spawn_file_actions_destroy(&files);
    return result;
}

/* Until the other end of the pipe is closed: 1; 0 when that takes too long. */
static int wait_for_end(int fd)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};
    int64_t until = clock_ms() + BOUND_MS, left;
    int ready = 0;

    while ((left = until - clock_ms()) > 0) {
        ready = poll(&end, 1, (int)left);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            break;
    }
    return ready > 0 ? 1 : 0;
}

static int reap(pid_t child)
{
    int status;

    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

int module_load(const char *name, struct error *error)
{
    int ends[2], result, status;
    pid_t child;
    bool ended;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_errno(error, errno, "module %s: no pipe to modprobe", name);
    result = spawn(name, ends[1], &child);
    (void)close(ends[1]);
    if (result != 0) {
        (void)close(ends[0]);
        return error_errno(error, result, "module %s: modprobe cannot be started", name);
    }
    ended = wait_for_end(ends[0]);
    (void)close(ends[0]);
    if (!ended)
        (void)kill(child, SIGKILL);
    status = reap(child);
    if (!ended)
        return error_set(error, ERROR_FAILED, "module %s: modprobe did not end within %d s", name,
                         BOUND_MS / 1000);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return error_set(error, ERROR_FAILED, "module %s: modprobe cannot load it", name);
    return 0;
}
