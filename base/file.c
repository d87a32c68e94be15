/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP_BYTES 65536

int file_read(const char *path, size_t limit_bytes, struct buffer *buffer, struct error *error)
{
    size_t start = buffer->length;
    ssize_t got;
    int fd;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_errno(error, errno, "%s: cannot be opened", path);
    for (;;) {
        if (buffer_reserve(buffer, READ_STEP_BYTES, error) != 0)
            goto fail;
        got = read(fd, buffer->data + buffer->length, READ_STEP_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            (void)error_errno(error, errno, "%s: cannot be read", path);
            goto fail;
        }
        if (got == 0)
            break;
        buffer->length += (size_t)got;
        if (buffer->length - start > limit_bytes) {
            (void)error_set(error, ERROR_FULL, "%s: is larger than %zu bytes", path, limit_bytes);
            goto fail;
        }
    }
    (void)close(fd);
    return 0;

fail:
    (void)close(fd);
    buffer->length = start;
    return -1;
}

static int write_all(int fd, const unsigned char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, bytes, size);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        bytes += done;
        size -= (size_t)done;
    }
    return 0;
}

int file_sync_folder_of(const char *path, struct error *error)
{
    char copy[PATH_MAX];
    const char *folder;
    int fd, result;

    (void)snprintf(copy, sizeof copy, "%s", path);
    folder = dirname(copy);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(error, errno, "%s: cannot be opened", folder);
    result = fsync(fd);
    if (result != 0)
        (void)error_errno(error, errno, "%s: cannot be synced to disk", folder);
    (void)close(fd);
    return result;
}

static int write_durably(const char *path, mode_t mode, const void *bytes, size_t size,
                         bool replace, struct error *error)
{
    char temporary[PATH_MAX];
    int fd, length;

    length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof temporary)
        return error_set(error, ERROR_FAILED, "%s: the path is too long", path);
    fd = mkstemp(temporary);
    if (fd < 0)
        return error_errno(error, errno, "%s: cannot be created", temporary);
    if (fchmod(fd, mode) != 0 || write_all(fd, bytes, size) != 0 || fsync(fd) != 0) {
        (void)error_errno(error, errno, "%s: cannot be written", path);
        (void)close(fd);
        goto fail;
    }
    if (close(fd) != 0) {
        (void)error_errno(error, errno, "%s: cannot be written", path);
        goto fail;
    }
    if (replace ? rename(temporary, path) != 0 : link(temporary, path) != 0) {
        (void)error_errno(error, errno, "%s: cannot be put in place", path);
        goto fail;
    }
    if (!replace)
        (void)unlink(temporary);
    return file_sync_folder_of(path, error);

fail:
    (void)unlink(temporary);
    return -1;
}

int file_write(const char *path, mode_t mode, const void *bytes, size_t size, struct error *error)
{
    return write_durably(path, mode, bytes, size, true, error);
}

int file_create(const char *path, mode_t mode, const void *bytes, size_t size, struct error *error)
{
    return write_durably(path, mode, bytes, size, false, error);
}

int file_require_private(const char *path, struct error *error)
{
    struct stat status;

    if (stat(path, &status) != 0)
        return error_errno(error, errno, "%s: cannot be opened", path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_FAILED, "%s: is not a regular file", path);
    if ((status.st_mode & 077) != 0)
        return error_set(error, ERROR_FAILED,
                         "%s: others can read it (mode %04o); run: chmod 600 %s", path,
                         (unsigned)status.st_mode & 07777, path);
    if (status.st_uid != geteuid() && status.st_uid != 0)
        return error_set(error, ERROR_FAILED, "%s: belongs to user %u, not to this one; run: chown",
                         path, (unsigned)status.st_uid);
    return 0;
}

int file_make_folder(const char *path, struct error *error)
{
    struct stat status;

    if (mkdir(path, 0700) == 0)
        return file_sync_folder_of(path, error);
    if (errno != EEXIST)
        return error_errno(error, errno, "%s: cannot be created", path);
    if (stat(path, &status) != 0)
        return error_errno(error, errno, "%s: cannot be opened", path);
    if (!S_ISDIR(status.st_mode))
        return error_set(error, ERROR_FAILED, "%s: is not a folder", path);
    return 0;
}
