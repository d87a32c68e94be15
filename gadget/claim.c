/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "/run/boda-courier"

void claim_path(char path[CLAIM_PATH_BYTES], const char *name, const char *what)
{
    snprintf(path, CLAIM_PATH_BYTES, FOLDER "/%s/%s", name, what);
}

/* Opened, made if need be, and nobody else's: who can write to it could make root mount elsewhere. */
static int open_folder(const char *path, struct error *error)
{
    bool made = mkdir(path, 0755) == 0;
    struct stat status;
    int fd;

    if (!made && errno != EEXIST)
        return error_errno(error, errno, "%s: cannot be made", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_errno(error, errno, "%s: cannot be opened as a folder", path);
    if ((made && fchmod(fd, 0755) != 0) || fstat(fd, &status) != 0) { /* whatever the umask */
        error_errno(error, errno, "%s: its mode cannot be set", path);
    } else if (status.st_uid != geteuid() || (status.st_mode & 022) != 0) {
        error_set(error, ERROR_FAILED,
                  "%s: others can write to it; run: chown root %s; chmod 755 %s", path, path, path);
    } else {
        return fd;
    }
    (void)close(fd);
    return -1;
}

int claim_take(const char *name, struct error *error)
{
    char path[CLAIM_PATH_BYTES];
    int fd = open_folder(FOLDER, error);

    if (fd < 0)
        return -1;
    (void)close(fd);
    snprintf(path, sizeof path, FOLDER "/%s", name);
    fd = open_folder(path, error);
    if (fd < 0)
        return -1;
    /* flock(2): a lock of the open file, which ends with its last descriptor, also by SIGKILL. */
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (errno == EWOULDBLOCK)
        error_set(error, ERROR_TEMPORARY,
                  "courier %s: another boda-courier of this name runs on this board; stop it first",
                  name);
    else
        error_errno(error, errno, "%s: cannot be locked", path);
    (void)close(fd);
    return -1;
}
