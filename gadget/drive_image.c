/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/drive_image.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTING_BYTES (8u << 20)
#define PATH_BYTES (4 * 1024) /* three names of 255 characters, escaped */

/* A result of mtools that is a failure here. */
static int as_failure(int result)
{
    return result == 0 ? 0 : -1;
}

int drive_image_make(const struct drive_image *image, uint64_t bytes, struct error *error)
{
    const char *const arguments[] = {"mkfs.fat", "-n", "BODA", image->path, NULL};
    int fd, result;

    if (unlink(image->path) != 0 && errno != ENOENT)
        return error_errno(error, errno, "%s: cannot be removed", image->path);
    fd = open(image->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(error, errno, "%s: cannot be made", image->path);
    result = ftruncate(fd, (off_t)bytes);
    if (result != 0)
        error_errno(error, errno, "%s: cannot be %llu bytes large", image->path,
                    (unsigned long long)bytes);
    (void)close(fd);
    return result == 0 ? as_failure(drive_tool_run(image->tool, arguments, NULL, error)) : -1;
}

/* ---- names as the mtools take them ---- */

/* Their wildcards, in brackets, are what they are; what no name has stands for anything. */
static int escape(struct buffer *out, const char *name, struct error *error)
{
    for (; *name != '\0'; name++) {
        char bytes[] = {'[', *name, ']'};
        int result;

        if (strchr("[*?", *name) != NULL)
            result = buffer_append(out, bytes, 3, error);
        else if (*name == '\\' || (unsigned char)*name < 0x20)
            result = buffer_append(out, "?", 1, error);
        else
            result = buffer_append(out, name, 1, error);
        if (result != 0)
            return -1;
    }
    return 0;
}

/* "::/FOLDER/NAME", to be freed; NAME may be NULL. */
static char *dos_path(const char *folder, const char *name, struct error *error)
{
    struct buffer path = {.limit = PATH_BYTES};

    if (buffer_append(&path, "::/", 3, error) == 0 && escape(&path, folder, error) == 0 &&
        (name == NULL || ((folder[0] == '\0' || buffer_append(&path, "/", 1, error) == 0) &&
                          escape(&path, name, error) == 0)) &&
        buffer_append(&path, "", 1, error) == 0)
        return (char *)path.data;
    buffer_free(&path);
    return NULL;
}

int drive_image_list(const struct drive_image *image, const char *folder,
                     int (*show)(const struct drive_entry *entry, void *context), void *context,
                     struct error *error)
{
    struct buffer output = {.limit = LISTING_BYTES};
    char *path = dos_path(folder, NULL, error);
    const char *const arguments[] = {"mdir", "-i", image->path, "-a", "-f", path, NULL};
    int listed, shown = 0;

    if (path == NULL)
        return -1;
    listed = drive_tool_run(image->tool, arguments, &output, error);
    free(path);
    if (output.length > 0) {
        output.limit = 0;
        if (buffer_append(&output, "", 1, error) != 0) {
            buffer_free(&output);
            return -1;
        }
        shown = drive_listing_read((char *)output.data, show, context);
    }
    buffer_free(&output);
    return shown != 0 ? shown : as_failure(listed);
}

/* ---- files ---- */

int drive_image_read(const struct drive_image *image, const char *folder, const char *const *names,
                     size_t count, const char *target, struct error *error)
{
    const char *arguments[DRIVE_IMAGE_FILES + 6] = {"mcopy", "-i", image->path, "-n"};
    char *paths[DRIVE_IMAGE_FILES];
    size_t made = 0, used = 4;
    int result = -1;

    if (count > DRIVE_IMAGE_FILES)
        return error_set(error, ERROR_FAILED, "drive: too many files at once");
    for (; made < count; made++) {
        paths[made] = dos_path(folder, names[made], error);
        if (paths[made] == NULL)
            break;
        arguments[used++] = paths[made];
    }
    arguments[used++] = target;
    arguments[used] = NULL;
    if (made == count)
        result = count > 0 ? drive_tool_run(image->tool, arguments, NULL, error) : 0;
    while (made > 0)
        free(paths[--made]);
    return result;
}

int drive_image_write(const struct drive_image *image, const char *const *files, size_t count,
                      const char *folder, struct error *error)
{
    const char *arguments[DRIVE_IMAGE_FILES + 9] = {"mcopy", "-i", image->path, "-D",
                                                    "a",     "-D", "A"};
    size_t used = 7;
    char *path;
    int result;

    if (count > DRIVE_IMAGE_FILES)
        return error_set(error, ERROR_FAILED, "drive: too many files at once");
    if (count == 0)
        return 0;
    path = dos_path(folder, NULL, error);
    if (path == NULL)
        return -1;
    for (size_t i = 0; i < count; i++)
        arguments[used++] = files[i];
    arguments[used++] = path;
    arguments[used] = NULL;
    result = drive_tool_run(image->tool, arguments, NULL, error);
    free(path);
    return as_failure(result);
}

int drive_image_make_folder(const struct drive_image *image, const char *folder,
                            struct error *error)
{
    char *path = dos_path(folder, NULL, error);
    const char *const arguments[] = {"mmd", "-i", image->path, path, NULL};
    int result;

    if (path == NULL)
        return -1;
    result = drive_tool_run(image->tool, arguments, NULL, error);
    free(path);
    return as_failure(result);
}
