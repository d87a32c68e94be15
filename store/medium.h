/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A folder on a medium that may be pulled, full, read only, or a stranger's: batch files are read from it, and written to it in
 * groups that are durable as a whole.  It has files and folders of stations, one level deep; FOLDER below is the name
 * of such a folder, or NULL for the files beside them.  Symbolic links are never followed.
 *
 * Errors say what to do with the medium: ERROR_FULL when it is full, ERROR_FAILED else.
 */
#ifndef BODA_STORE_MEDIUM_H
#define BODA_STORE_MEDIUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

struct medium;

/* Open the folder PATH, which must be there.  The caller frees it with medium_close; a group that is not synced is then
 * taken back. */
struct medium *medium_open(const char *path, struct error *error);
void medium_close(struct medium *medium); /* NULL is harmless */

/* ---- reading ---- */

enum medium_kind { MEDIUM_FILE, MEDIUM_FOLDER, MEDIUM_OTHER };

/* Call SHOW for each name in FOLDER, in no order; its result other than 0 ends the walk and is returned. */
int medium_each(struct medium *medium, const char *folder,
                int (*show)(const char *name, enum medium_kind kind, void *context,
                            struct error *error),
                void *context, struct error *error);

/* Append the bytes of a file, 1 to LIMIT of them, to BUFFER: 1.  0 with ERROR filled: this file cannot be taken (no
 * regular file, empty, too large, changed meanwhile).  -1: the medium cannot be read. */
int medium_read(struct medium *medium, const char *folder, const char *name, size_t limit,
                struct buffer *buffer, struct error *error);

/* 1 if FOLDER has a regular file NAME of SIZE bytes (0: anything of that name), 0 not, -1. */
int medium_has(struct medium *medium, const char *folder, const char *name, uint64_t size,
               struct error *error);

/* ---- writing ---- */

/* Be the only program that writes to the folder, until medium_close: ERROR_TEMPORARY when another one is. */
int medium_lock(struct medium *medium, struct error *error);

/* Files are written one after the other: medium_begin, medium_write..., then medium_end, or medium_abandon for one that
 * is not to come.  FOLDER is made when it is missing.  They have their names, durably, when medium_sync has returned 0;
 * a file that is there is replaced whole.  medium_begin may sync the group itself when it has grown large, or the
 * medium takes no more names beside it. */
int medium_begin(struct medium *medium, const char *folder, const char *name, struct error *error);
int medium_write(struct medium *medium, const void *bytes, size_t size, struct error *error);
int medium_end(struct medium *medium, struct error *error);
void medium_abandon(struct medium *medium);
int medium_sync(struct medium *medium, struct error *error);

/* Files that have their names, durably, and their bytes. */
uint64_t medium_written(const struct medium *medium, uint64_t *bytes);

/* Remove a file; one that is not there is no fault.  Durable with the next medium_sync. */
int medium_remove(struct medium *medium, const char *folder, const char *name, struct error *error);

/* A name under which a file is written, or a folder made, before it has its own. */
bool medium_is_temporary(const char *name);

#endif
