/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The files in which the kernel and the board tell about themselves (sysfs, procfs, configfs, modules),
 * below a root that is "" but for tests.  PATH is a format, begins with '/', and follows the root.
 * Everything read is bounded, and is text of strangers.
 */
#ifndef BODA_BASE_TREE_H
#define BODA_BASE_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

#define TREE_NAMES 64
#define TREE_NAME_BYTES 64

struct tree_names {
    char names[TREE_NAMES][TREE_NAME_BYTES]; /* sorted */
    unsigned count;
};

bool tree_exists(const char *root, const char *path, ...) __attribute__((format(printf, 2, 3)));

/* The content of a short file as one line of TEXT (SIZE bytes): zeros (device tree) and line breaks
 * become spaces, those at the end go.  false, with an empty TEXT, when there is no such file or it is
 * longer. */
bool tree_read(const char *root, char *text, size_t size, const char *path, ...)
    __attribute__((format(printf, 4, 5)));

/* The whole of a larger file, at most LIMIT_BYTES, and a zero behind; the caller frees CONTENT.  false
 * when it cannot be read. */
bool tree_load(const char *root, size_t limit_bytes, struct buffer *content, const char *path, ...)
    __attribute__((format(printf, 4, 5)));

/* What is in a folder and begins with PREFIX: the first TREE_NAMES, without longer names and hidden
 * ones.  None when there is no such folder. */
void tree_list(const char *root, const char *prefix, struct tree_names *names, const char *path,
               ...) __attribute__((format(printf, 4, 5)));

/* The names as "a, b, c", cut at SIZE. */
void tree_join(const struct tree_names *names, char *text, size_t size);

#endif
