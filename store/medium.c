/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/medium.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/file_name.h"
#include "store/medium_error.h"

#define GROUP_FILES 256u
#define GROUP_BYTES (32u << 20)
#define GROUP_FOLDERS 16u
#define TEMPORARY_BYTES 17 /* ".boda-XXXXXX.tmp" with its zero */
#define LETTERS "abcdefghijklmnopqrstuvwxyz234567"
#define TRIES 100 /* to find a name that is free */
#define OPEN_FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct waiting {
    char temporary[TEMPORARY_BYTES];
    size_t folder; /* in `folders` */
    char name[FILE_NAME_BYTES];
};

struct medium {
    char path[PATH_MAX];
    int fd;
    struct {
        char name[FILE_NAME_FOLDER_BYTES]; /* "": the top */
        int fd;
    } folders[GROUP_FOLDERS];
    size_t folders_count;

    struct waiting group[GROUP_FILES];
    size_t count;
    uint64_t bytes; /* of the group */
    int file;       /* the one that is written, or -1 */
    uint64_t file_bytes;
    bool dirty; /* something is to be synced */
    uint64_t written, written_bytes;
};

static int fail(const struct medium *medium, int errnum, const char *what, struct error *error)
{
    (void)medium_error(medium->path, medium->fd, errnum, what, error);
    return -1;
}

/* ---- folders -------------------------------------------------------------------------------------- */

struct medium *medium_open(const char *path, struct error *error)
{
    struct medium *medium = calloc(1, sizeof *medium);

    if (medium == NULL) {
        (void)error_set(error, ERROR_FAILED, "%s: no memory", path);
        return NULL;
    }
    medium->file = -1;
    (void)snprintf(medium->path, sizeof medium->path, "%s", path);
    medium->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (medium->fd < 0) {
        (void)fail(medium, errno, "be opened as a folder", error);
        free(medium);
        return NULL;
    }
    return medium;
}

static void close_folders(struct medium *medium)
{
    for (size_t i = 0; i < medium->folders_count; i++)
        if (medium->folders[i].fd != medium->fd)
            (void)close(medium->folders[i].fd);
    medium->folders_count = 0;
}

static void take_back(struct medium *medium)
{
    medium_abandon(medium);
    for (size_t i = 0; i < medium->count; i++)
        if (medium->group[i].temporary[0] != '\0')
            (void)unlinkat(medium->fd, medium->group[i].temporary, 0);
    medium->count = 0;
    medium->bytes = 0;
}

void medium_close(struct medium *medium)
{
    if (medium == NULL)
        return;
    take_back(medium);
    close_folders(medium);
    (void)close(medium->fd);
    free(medium);
}

/* Bring all that was written to the medium itself.  One syncfs is as good as an fsync of each file (Linux 5.8 tells its
 * errors), and much faster on FAT; but there it leaves the medium's own cache alone, which an fsync empties.  Fsyncs of
 * folders would not do: FAT renames a file of no bytes, and notes those when the file itself is written back.  Both need
 * a descriptor that is as old as what they are to tell of: one that was opened after a stick was pulled hears that all
 * is well. */
static int settle(const struct medium *medium)
{
    return syncfs(medium->fd) != 0 || fsync(medium->fd) != 0 ? -1 : 0;
}

static int draw_name(const struct medium *medium, char name[TEMPORARY_BYTES], struct error *error)
{
    unsigned char random[6];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return fail(medium, errno, "have a temporary file", error);
    memcpy(name, ".boda-XXXXXX.tmp", TEMPORARY_BYTES);
    for (size_t i = 0; i < sizeof random; i++)
        name[6 + i] = LETTERS[random[i] % (sizeof LETTERS - 1)];
    return 0;
}

/* Make FOLDER, if it is not there.  It has its name when all else of it is on the medium: one that a power cut has torn
 * would be in the way for ever. */
static int make_folder(const struct medium *medium, const char *folder, struct error *error)
{
    char name[TEMPORARY_BYTES];
    struct stat status;

    if (fstatat(medium->fd, folder, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    if (errno != ENOENT)
        return fail(medium, errno, "open a folder in it", error);
    if (draw_name(medium, name, error) != 0)
        return -1;
    if (mkdirat(medium->fd, name, 0755) == 0 && settle(medium) == 0 &&
        renameat(medium->fd, name, medium->fd, folder) == 0 && settle(medium) == 0)
        return 0;
    (void)fail(medium, errno, "make a folder in it", error);
    (void)unlinkat(medium->fd, name, AT_REMOVEDIR);
    return -1;
}

/* FOLDER among the open ones, opened (and made, if MAKE) when it is not: 1 with *INDEX, 0 it is not there, -1. */
static int find_folder(struct medium *medium, const char *folder, bool make, size_t *index,
                       struct error *error)
{
    const char *name = folder == NULL ? "" : folder;
    int fd = medium->fd;

    if (strlen(name) >= sizeof medium->folders[0].name)
        return fail(medium, ENAMETOOLONG, "have such a folder", error);
    for (*index = 0; *index < medium->folders_count; ++*index)
        if (strcmp(medium->folders[*index].name, name) == 0)
            return 1;
    if (medium->folders_count == GROUP_FOLDERS) {
        if (medium->dirty && medium_sync(medium, error) != 0)
            return -1;
        close_folders(medium);
        *index = 0;
    }
    if (folder != NULL) {
        if (make && make_folder(medium, folder, error) != 0)
            return -1;
        fd = openat(medium->fd, folder, OPEN_FOLDER);
        if (fd < 0 && errno == ENOENT && !make)
            return 0;
        if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
            return error_set(error, ERROR_FAILED,
                             "%s/%s: is no folder; move it away, or use another folder",
                             medium->path, folder);
        if (fd < 0)
            return fail(medium, errno, "open a folder in it", error);
    }
    (void)snprintf(medium->folders[*index].name, sizeof medium->folders[*index].name, "%s", name);
    medium->folders[*index].fd = fd;
    medium->folders_count++;
    return 1;
}

/* ---- reading -------------------------------------------------------------------------------------- */

static enum medium_kind kind_of(int fd, const struct dirent *entry)
{
    struct stat status;

    switch (entry->d_type) {
    case DT_REG:
        return MEDIUM_FILE;
    case DT_DIR:
        return MEDIUM_FOLDER;
    case DT_UNKNOWN: /* the file system does not say */
        if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            return MEDIUM_OTHER;
        if (S_ISREG(status.st_mode))
            return MEDIUM_FILE;
        return S_ISDIR(status.st_mode) ? MEDIUM_FOLDER : MEDIUM_OTHER;
    default:
        return MEDIUM_OTHER;
    }
}

int medium_each(struct medium *medium, const char *folder,
                int (*show)(const char *name, enum medium_kind kind, void *context,
                            struct error *error),
                void *context, struct error *error)
{
    /* A description of its own, with a place of its own. */
    int fd = openat(medium->fd, folder == NULL ? "." : folder, OPEN_FOLDER), result = 0;
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (stream == NULL) {
        result = fail(medium, errno, "open a folder in it", error);
        if (fd >= 0)
            (void)close(fd);
        return result;
    }
    while (result == 0) {
        errno = 0;
        entry = readdir(stream);
        if (entry == NULL) {
            if (errno != 0)
                result = fail(medium, errno, "be read", error);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = show(entry->d_name, kind_of(fd, entry), context, error);
    }
    (void)closedir(stream);
    return result;
}

/* Open a regular file of 1 to LIMIT bytes: 1 with *FD and *SIZE, 0 it is none, -1. */
static int open_file(struct medium *medium, int folder, const char *name, size_t limit, int *fd,
                     size_t *size, struct error *error)
{
    struct stat status;
    const char *fault = NULL;

    *fd = -1;
    /* Looked at first, as opening a device or a pipe may have effects. */
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
        (S_ISREG(status.st_mode) &&
         ((*fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)) <
              0 ||
          fstat(*fd, &status) != 0))) {
        int errnum = errno;

        if (*fd >= 0)
            (void)close(*fd);
        if (errnum == EIO || errnum == ENODEV || errnum == ENXIO)
            return fail(medium, errnum, "be read", error);
        (void)error_set(error, ERROR_FAILED, "cannot be opened: %s", strerror(errnum));
        return 0;
    }
    if (S_ISLNK(status.st_mode))
        fault = "is a symbolic link, which is not followed";
    else if (!S_ISREG(status.st_mode))
        fault = "is not a regular file";
    else if (status.st_size == 0)
        fault = "is empty";
    else if ((uintmax_t)status.st_size > limit)
        fault = "is larger than a file of Boda's can be";
    if (fault != NULL) {
        if (*fd >= 0)
            (void)close(*fd);
        (void)error_set(error, ERROR_CORRUPT, "%s", fault);
        return 0;
    }
    *size = (size_t)status.st_size;
    return 1;
}

/* Exactly SIZE bytes from FD and then its end: 1, 0, -1. */
static int read_all(struct medium *medium, int fd, size_t size, unsigned char *bytes,
                    struct error *error)
{
    size_t done = 0;
    ssize_t got;

    do {
        /* One more than there should be: bytes must have room for it. */
        got = read(fd, bytes + done, size + 1 - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(medium, errno, "be read", error);
        done += (size_t)got;
    } while (got != 0 && done <= size);
    if (done == size)
        return 1;
    (void)error_set(error, ERROR_CORRUPT, "changed while it was read: copy it again");
    return 0;
}

int medium_read(struct medium *medium, const char *folder, const char *name, size_t limit,
                struct buffer *buffer, struct error *error)
{
    size_t index, size = 0;
    int fd = -1, result;

    result = find_folder(medium, folder, false, &index, error);
    if (result == 0)
        (void)error_set(error, ERROR_FAILED, "is not there any more");
    if (result == 1)
        result = open_file(medium, medium->folders[index].fd, name, limit, &fd, &size, error);
    if (result != 1)
        return result;
    result = buffer_reserve(buffer, size + 1, error) != 0
                 ? -1
                 : read_all(medium, fd, size, buffer->data + buffer->length, error);
    if (result == 1)
        buffer->length += size;
    (void)close(fd);
    return result;
}

int medium_has(struct medium *medium, const char *folder, const char *name, uint64_t size,
               struct error *error)
{
    struct stat status;
    size_t index;
    int found = find_folder(medium, folder, false, &index, error);

    if (found != 1)
        return found;
    if (fstatat(medium->folders[index].fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return size == 0 || (S_ISREG(status.st_mode) && (uint64_t)status.st_size == size);
    return errno == ENOENT ? 0 : fail(medium, errno, "be read", error);
}

/* ---- writing -------------------------------------------------------------------------------------- */

bool medium_is_temporary(const char *name)
{
    return strlen(name) == TEMPORARY_BYTES - 1 && strncmp(name, ".boda-", 6) == 0 &&
           strspn(name + 6, LETTERS) == 6 && strcmp(name + 12, ".tmp") == 0;
}

int medium_lock(struct medium *medium, struct error *error)
{
    /* Some file systems of networks have no such locks: they go without. */
    if (flock(medium->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return error_set(error, ERROR_TEMPORARY,
                         "%s: another program exports to it; wait for its end and try again",
                         medium->path);
    return 0;
}

/* All temporary names are at the top: a folder with 10,000 files is slow to look into on FAT. */
static int make_temporary(struct medium *medium, char name[TEMPORARY_BYTES], struct error *error)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (draw_name(medium, name, error) != 0)
            return -1;
        medium->file =
            openat(medium->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (medium->file >= 0)
            return 0;
        if (errno != EEXIST)
            return fail(medium, errno, "be written to", error);
    }
    return fail(medium, EEXIST, "have a temporary file", error);
}

int medium_begin(struct medium *medium, const char *folder, const char *name, struct error *error)
{
    char temporary[TEMPORARY_BYTES];
    struct waiting *waiting;
    size_t index;

    medium_abandon(medium);
    if (strlen(name) >= sizeof waiting->name)
        return fail(medium, ENAMETOOLONG, "have such a file", error);
    if ((medium->count == GROUP_FILES || medium->bytes >= GROUP_BYTES) &&
        medium_sync(medium, error) != 0)
        return -1;
    if (find_folder(medium, folder, true, &index, error) != 1)
        return -1;
    /* The root of a small FAT takes few names: the temporary ones leave it, then one more may go there. */
    if (make_temporary(medium, temporary, error) != 0 &&
        (error->kind != ERROR_FULL || medium->count == 0 || medium_sync(medium, error) != 0 ||
         make_temporary(medium, temporary, error) != 0))
        return -1;
    waiting = &medium->group[medium->count];
    memcpy(waiting->temporary, temporary, sizeof temporary);
    waiting->folder = index;
    (void)snprintf(waiting->name, sizeof waiting->name, "%s", name);
    medium->file_bytes = 0;
    return 0;
}

int medium_write(struct medium *medium, const void *bytes, size_t size, struct error *error)
{
    const unsigned char *at = bytes;

    while (size > 0) {
        ssize_t done = write(medium->file, at, size);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail(medium, errno, "be written to", error);
        at += done;
        size -= (size_t)done;
        medium->file_bytes += (uint64_t)done;
    }
    return 0;
}

void medium_abandon(struct medium *medium)
{
    if (medium->file < 0)
        return;
    (void)close(medium->file);
    medium->file = -1;
    (void)unlinkat(medium->fd, medium->group[medium->count].temporary, 0);
}

int medium_end(struct medium *medium, struct error *error)
{
    int result = close(medium->file);

    medium->file = -1;
    if (result != 0) {
        (void)unlinkat(medium->fd, medium->group[medium->count].temporary, 0);
        return fail(medium, errno, "be written to", error);
    }
    medium->count++;
    medium->bytes += medium->file_bytes;
    medium->dirty = true;
    return 0;
}

/* Give the files of the group their names. */
static int rename_all(struct medium *medium, struct error *error)
{
    for (size_t i = 0; i < medium->count; i++) {
        struct waiting *waiting = &medium->group[i];

        if (waiting->temporary[0] == '\0') /* has its name since a sync that failed */
            continue;
        if (renameat(medium->fd, waiting->temporary, medium->folders[waiting->folder].fd,
                     waiting->name) != 0)
            return fail(medium, errno, "be written to", error);
        waiting->temporary[0] = '\0';
    }
    return 0;
}

int medium_sync(struct medium *medium, struct error *error)
{
    /* No name before its bytes. */
    if (medium->count > 0 && settle(medium) != 0)
        return fail(medium, errno, "be written to", error);
    if (rename_all(medium, error) != 0)
        return -1;
    if (settle(medium) != 0)
        return fail(medium, errno, "be written to", error);
    medium->written += medium->count;
    medium->written_bytes += medium->bytes;
    medium->count = 0;
    medium->bytes = 0;
    medium->dirty = false;
    return 0;
}

uint64_t medium_written(const struct medium *medium, uint64_t *bytes)
{
    *bytes = medium->written_bytes;
    return medium->written;
}

int medium_remove(struct medium *medium, const char *folder, const char *name, struct error *error)
{
    size_t index;
    int found = find_folder(medium, folder, false, &index, error);

    if (found != 1)
        return found;
    medium->dirty = true;
    if (unlinkat(medium->folders[index].fd, name, 0) != 0 && errno != ENOENT)
        return fail(medium, errno, "be written to", error);
    return 0;
}
