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
#define SHORT_NAME 12         /* characters of the old name, as mdir sets them: 8, a space, 3 */
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

/* ---- what mdir says ---- */

static const char *skip(const char *at, const char *set)
{
    return at + strspn(at, set);
}

/* "2026-11-25  20:24", whatever the numbers. */
static const char *skip_date(const char *at)
{
    static const char DIGITS[] = "0123456789";

    for (unsigned part = 0; part < 5; part++) {
        const char *end = skip(at, DIGITS);

        if (end == at || (part < 2 && *end != '-') || (part == 2 && *end != ' ') ||
            (part == 3 && *end != ':'))
            return NULL;
        at = part == 2 ? skip(end, " ") : part < 4 ? end + 1 : end;
    }
    return at;
}

/* The old name, of which SPLIT is where its extension begins: "README   TXT" is README.TXT. */
static void old_name(const char *line, const char *split, const char *end, char name[64])
{
    int base = (int)(split - line), extension = (int)(end - split);

    while (base > 0 && line[base - 1] == ' ')
        base--;
    while (extension > 0 && split[extension - 1] == ' ')
        extension--;
    snprintf(name, 64, "%.*s%s%.*s", base, line, extension > 0 ? "." : "", extension, split);
}

static bool is_name(const char *name)
{
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    for (; *name != '\0'; name++)
        if ((unsigned char)*name < 0x20 || *name == '/' || *name == 0x7f)
            return false;
    return true;
}

/* One line: "README   TXT      5000 2026-11-25  20:24  the long name".  false: it is of no entry. */
static bool read_line(const char *line, char old[64], struct drive_entry *entry)
{
    const char *split = line, *at = line;
    char *end;

    for (unsigned i = 0; i < SHORT_NAME; i++) {
        if (*at == '\0')
            return false;
        for (at++; ((unsigned char)*at & 0xc0) == 0x80; at++)
            ;
        if (i == 8)
            split = at;
    }
    old_name(line, split, at, old);
    at = skip(at, " ");
    entry->is_folder = strncmp(at, "<DIR>", 5) == 0;
    errno = 0;
    entry->size = entry->is_folder ? 0 : strtoull(at, &end, 10);
    if (errno != 0 || (!entry->is_folder && (end == at || *end != ' ')))
        return false;
    at = skip_date(skip(entry->is_folder ? at + 5 : end, " "));
    if (at == NULL)
        return false;
    at = skip(at, " ");
    entry->name = *at != '\0' ? at : old;
    return is_name(entry->name);
}

/* What cannot be an entry's is passed over; so is the last line, if it is not whole. */
static int read_listing(char *text, int (*show)(const struct drive_entry *entry, void *context),
                        void *context)
{
    struct drive_entry entry;
    char *end, old[64];
    int result = 0;

    for (; result == 0 && (end = strchr(text, '\n')) != NULL; text = end + 1) {
        *end = '\0';
        if (read_line(text, old, &entry))
            result = show(&entry, context);
    }
    return result;
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
        shown = read_listing((char *)output.data, show, context);
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
