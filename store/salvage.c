/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

#define MOST_DAMAGED 10000 /* numbers tried for a free name */

static int suspect_name(const char *path, char name[PATH_MAX])
{
    int length = snprintf(name, PATH_MAX, "%s.suspect", path);

    return length > 0 && length < PATH_MAX ? 0 : -1;
}

void salvage_suspect(const char *path)
{
    char name[PATH_MAX];
    int fd;

    if (suspect_name(path, name) != 0)
        return;
    fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)close(fd);
}

bool salvage_is_suspect(const char *path)
{
    char name[PATH_MAX];

    return suspect_name(path, name) == 0 && access(name, F_OK) == 0;
}

void salvage_cleared(const char *path)
{
    char name[PATH_MAX];

    if (suspect_name(path, name) == 0)
        (void)unlink(name);
}

static bool exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

/* The name of PATH's companion SUFFIX ("", "-wal", "-shm"), and its name as number N of the damaged
 * ones (0: as it is in use). */
static int companion(const char *path, const char *suffix, int n, char name[PATH_MAX])
{
    int length;

    if (n == 0)
        length = snprintf(name, PATH_MAX, "%s%s", path, suffix);
    else
        length = snprintf(name, PATH_MAX, "%s.damaged-%d%s", path, n, suffix);
    return length > 0 && length < PATH_MAX ? 0 : -1;
}

static int move(const char *path, const char *suffix, int n, struct error *error)
{
    char from[PATH_MAX], to[PATH_MAX];

    if (companion(path, suffix, 0, from) != 0 || companion(path, suffix, n, to) != 0)
        return error_set(error, ERROR_FAILED, "%s: the path is too long", path);
    if (rename(from, to) != 0 && errno != ENOENT)
        return error_errno(error, errno, "%s: cannot be moved aside to %s", from, to);
    return 0;
}

/* The lowest number whose three names are free. */
static int free_number(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[PATH_MAX];
    size_t i;
    int n;

    for (n = 1; n < MOST_DAMAGED; n++) {
        for (i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
            if (companion(path, suffixes[i], n, name) != 0)
                return 0;
            if (exists(name))
                break;
        }
        if (i == sizeof suffixes / sizeof suffixes[0])
            return n;
    }
    return 0;
}

int salvage_move_aside(const char *path, const char *cause, struct error *error)
{
    int n = free_number(path);

    if (n == 0)
        return error_set(
            error, ERROR_FAILED,
            "%s: is damaged and has no free name to be moved to; remove old %s.damaged-N", path,
            path);
    /* The database goes first: SQLite ignores a -wal without one, never a database without its -wal. */
    if (move(path, "", n, error) != 0 || move(path, "-wal", n, error) != 0 ||
        move(path, "-shm", n, error) != 0 || file_sync_folder_of(path, error) != 0)
        return -1;
    salvage_cleared(path);
    log_error("%s: is damaged (%s); moved aside as %s.damaged-%d; nothing in it was deleted", path,
              cause, path, n);
    return 0;
}

int salvage_orphans(const char *path, struct error *error)
{
    char wal[PATH_MAX], damaged[PATH_MAX];
    struct stat status;
    int n;

    if (companion(path, "-wal", 0, wal) != 0)
        return error_set(error, ERROR_FAILED, "%s: the path is too long", path);
    if (stat(wal, &status) != 0 || status.st_size == 0)
        return 0;
    /* It belongs to the last database moved aside, which has none yet. */
    for (n = 1; n < MOST_DAMAGED; n++) {
        if (companion(path, "-wal", n, damaged) != 0)
            return error_set(error, ERROR_FAILED, "%s: the path is too long", path);
        if (!exists(damaged))
            break;
    }
    if (move(path, "-wal", n, error) != 0 || move(path, "-shm", n, error) != 0)
        return -1;
    log_error("%s: has no database; moved aside as %s", wal, damaged);
    return file_sync_folder_of(path, error);
}
