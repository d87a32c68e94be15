/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Whole files: read with a cap, written so that after a power cut either the old or the new content
 * is there (temporary name, fsync, rename, fsync of the folder).
 */
#ifndef BODA_BASE_FILE_H
#define BODA_BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/error.h"

/* Append the content of PATH, at most LIMIT_BYTES, to BUFFER.  ERROR_FULL when it is larger. */
int file_read(const char *path, size_t limit_bytes, struct buffer *buffer, struct error *error);

/* Replace PATH by SIZE bytes with MODE, durably.  An existing file is replaced only whole. */
int file_write(const char *path, mode_t mode, const void *bytes, size_t size, struct error *error);

/* As file_write, but -1 if PATH exists. */
int file_create(const char *path, mode_t mode, const void *bytes, size_t size, struct error *error);

/* -1 with a message that names the chmod to run, unless PATH is a regular file that only its owner
 * can read and write, and the owner is this process's user or root. */
int file_require_private(const char *path, struct error *error);

/* Bring to disk that PATH was made, renamed or removed: fsync of its folder. */
int file_sync_folder_of(const char *path, struct error *error);

/* Make the folder PATH with mode 0700 unless it is there; its parent must exist. */
int file_make_folder(const char *path, struct error *error);

#endif
