/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/tree.h"

#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

/* PATH_MAX bytes of FULL; false when they do not suffice. */
static bool full_path(char *full, const char *root, const char *format, va_list list)
{
    int used = snprintf(full, PATH_MAX, "%s", root), more;

    if (used < 0 || used >= PATH_MAX)
        return false;
    more = vsnprintf(full + used, (size_t)(PATH_MAX - used), format, list);
    return more >= 0 && more < PATH_MAX - used;
}

bool tree_exists(const char *root, const char *path, ...)
{
    char full[PATH_MAX];
    va_list list;
    bool fits;

    va_start(list, path);
    fits = full_path(full, root, path, list);
    va_end(list);
    return fits && access(full, F_OK) == 0;
}

static bool load(const char *full, size_t limit_bytes, struct buffer *content)
{
    if (file_read(full, limit_bytes, content, NULL) == 0 &&
        buffer_append(content, "", 1, NULL) == 0) {
        content->length--; /* the zero stays behind what counts */
        return true;
    }
    buffer_free(content);
    return false;
}

bool tree_load(const char *root, size_t limit_bytes, struct buffer *content, const char *path, ...)
{
    char full[PATH_MAX];
    va_list list;
    bool fits;

    va_start(list, path);
    fits = full_path(full, root, path, list);
    va_end(list);
    return fits && load(full, limit_bytes, content);
}

bool tree_read(const char *root, char *text, size_t size, const char *path, ...)
{
    struct buffer content = {0};
    char full[PATH_MAX];
    va_list list;
    size_t length;
    bool fits;

    text[0] = '\0';
    va_start(list, path);
    fits = full_path(full, root, path, list);
    va_end(list);
    if (!fits || !load(full, size - 1, &content))
        return false;
    length = content.length;
    for (size_t i = 0; i < length; i++) {
        char byte = (char)content.data[i];

        text[i] = byte == '\0' || byte == '\n' || byte == '\r' ? ' ' : byte;
    }
    while (length > 0 && text[length - 1] == ' ')
        length--;
    text[length] = '\0';
    buffer_free(&content);
    return true;
}

static int compare(const void *one, const void *other)
{
    return strcmp(one, other);
}

void tree_list(const char *root, const char *prefix, struct tree_names *names, const char *path,
               ...)
{
    DIR *folder = NULL;
    struct dirent *entry;
    char full[PATH_MAX];
    va_list list;
    size_t length;

    names->count = 0;
    va_start(list, path);
    if (full_path(full, root, path, list))
        folder = opendir(full);
    va_end(list);
    if (folder == NULL)
        return;
    while (names->count < TREE_NAMES && (entry = readdir(folder)) != NULL) {
        length = strlen(entry->d_name);
        if (entry->d_name[0] != '.' && length < TREE_NAME_BYTES &&
            strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
            memcpy(names->names[names->count++], entry->d_name, length + 1);
    }
    closedir(folder);
    qsort(names->names, names->count, TREE_NAME_BYTES, compare);
}

void tree_join(const struct tree_names *names, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < names->count && used < size; i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "", names->names[i]);
}
