/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/folder.h"

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

char *folder_new(void)
{
    const char *parent = getenv("TMPDIR");
    char *path;

    path = folder_path(parent != NULL && parent[0] != '\0' ? parent : "/tmp", "boda-test-XXXXXX");
    if (mkdtemp(path) == NULL) {
        perror(path);
        exit(1);
    }
    return path;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

void folder_remove(char *path)
{
    if (path == NULL)
        return;
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
        perror(path);
    free(path);
}

char *folder_path(const char *path, const char *name)
{
    char *joined;

    if (asprintf(&joined, "%s/%s", path, name) < 0) {
        perror("folder_path");
        exit(1);
    }
    return joined;
}

int folder_mount_small(const char *path, unsigned long size_bytes)
{
    char size[64];

    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return -1;
    /* Nothing of it reaches the other mount namespaces. */
    if (mount("none", "/", "none", MS_REC | MS_PRIVATE, "") != 0)
        return -1;
    (void)snprintf(size, sizeof size, "size=%lu,mode=0700", size_bytes);
    return mount("none", path, "tmpfs", 0, size);
}

int folder_remount_read_only(const char *path)
{
    return mount("none", path, "tmpfs", MS_REMOUNT | MS_RDONLY, "");
}

int folder_in_child(int (*body)(const char *folder), const char *folder)
{
    int status;
    pid_t child;

    (void)fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)alarm(60);
        _exit(body(folder));
    }
    while (waitpid(child, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}
