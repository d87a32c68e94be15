/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/medium_error.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

int medium_error(const char *path, int fd, int errnum, const char *what, struct error *error)
{
    const char *advice = "";
    struct statvfs room;

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
