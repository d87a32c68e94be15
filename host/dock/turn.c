/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

int turn_take(const char *directory, int *turn, struct error *error)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/replay.lock", directory);
    int fd, errnum;

    *turn = -1;
    if (length < 0 || (size_t)length >= sizeof path)
        return error_set(error, ERROR_FAILED, "%s: the path is too long", directory);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(error, errno, "%s: cannot be opened; check the folder's owner and mode",
                           path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *turn = fd;
        return 1;
    }
    errnum = errno;
    (void)close(fd);
    return errnum == EWOULDBLOCK ? 0 : error_errno(error, errnum, "%s: cannot be locked", path);
}

void turn_give(int turn)
{
    if (turn >= 0)
        (void)close(turn);
}
