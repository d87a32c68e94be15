/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/medium_error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEVICES "/sys/dev/block"

/* The block device under FD has gone: it has no size any more. */
static bool is_pulled(int fd)
{
    char path[sizeof DEVICES + 32], size[32] = "0";
    struct stat status;
    int file;

    if (fstat(fd, &status) != 0 || major(status.st_dev) == 0)
        return false;
    (void)snprintf(path, sizeof path, DEVICES "/%u:%u/size", major(status.st_dev),
                   minor(status.st_dev));
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return access(DEVICES, F_OK) == 0;
    (void)!read(file, size, sizeof size - 1);
    (void)close(file);
    return strtoull(size, NULL, 10) == 0;
}

int medium_error(const char *path, int fd, int errnum, const char *what, struct error *error)
{
    const char *advice = "";
    struct statvfs room;

    /* Of one that was pulled Linux says anything: that it is full, or that there is no such file. */
    if (is_pulled(fd))
        errnum = ENODEV;
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        advice = "; make room on it, or go on with another medium";
        if (fstatvfs(fd, &room) == 0 && room.f_bavail > 256)
            advice = "; its file system has no room for more files in one folder: go on with "
                     "another medium";
        break;
    case EROFS:
        advice = "; is it locked by a switch, or was it damaged (fsck)?";
        break;
    case EIO:
    case ENODEV:
    case ENXIO:
    case ENOTCONN:
    case ESTALE:
        advice = "; was it pulled? Plug it in again and repeat this; if that does not help, check "
                 "it (fsck), or use another folder";
        break;
    case EACCES:
    case EPERM:
        advice = "; give this user the right to it";
        break;
    default:
        break;
    }
    return error_set(error, errnum == ENOSPC || errnum == EDQUOT ? ERROR_FULL : ERROR_FAILED,
                     "%s: cannot %s: %s%s", path, what, strerror(errnum), advice);
}
