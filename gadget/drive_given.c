/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/drive_given.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct drive_given_file {
    char *path;
    uint64_t size;
};

static char *join(const char *folder, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static int by_path(const void *a, const void *b)
{
    const struct drive_given_file *left = a, *right = b;

    return strcasecmp(left->path, right->path);
}

int drive_given_add(struct drive_given *given, const char *folder, const char *name, uint64_t size,
                    struct error *error)
{
    size_t capacity = given->capacity == 0 ? 64 : given->capacity * 2;
    struct drive_given_file *files = given->files;

    if (given->count == given->capacity) {
        files = realloc(files, capacity * sizeof *files);
        if (files == NULL)
            return error_set(error, ERROR_FAILED, "drive: no memory");
        given->files = files;
        given->capacity = capacity;
    }
    files[given->count].path = join(folder, name);
    files[given->count].size = size;
    if (files[given->count].path == NULL)
        return error_set(error, ERROR_FAILED, "drive: no memory");
    given->count++;
    given->sorted = false;
    return 0;
}

bool drive_given_has(struct drive_given *given, const char *folder, const char *name, uint64_t size)
{
    struct drive_given_file key = {.path = join(folder, name)};
    const struct drive_given_file *found = NULL;

    if (!given->sorted && given->count > 0)
        qsort(given->files, given->count, sizeof *given->files, by_path);
    given->sorted = true;
    if (key.path != NULL && given->count > 0)
        found = bsearch(&key, given->files, given->count, sizeof *given->files, by_path);
    free(key.path);
    return found != NULL && found->size == size;
}

void drive_given_clear(struct drive_given *given)
{
    for (size_t i = 0; i < given->count; i++)
        free(given->files[i].path);
    free(given->files);
    memset(given, 0, sizeof *given);
}
