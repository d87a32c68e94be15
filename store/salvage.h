/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Damaged databases: the note that one is to be examined, and moving one aside.
 */
#ifndef BODA_STORE_SALVAGE_H
#define BODA_STORE_SALVAGE_H

#include <stdbool.h>

#include "base/error.h"

/* SQLite has found PATH damaged while it was in use: leave a note (PATH.suspect), so that the next
 * start examines all of it.  Best effort. */
void salvage_suspect(const char *path);
bool salvage_is_suspect(const char *path);
void salvage_cleared(const char *path); /* examined and found sound */

/* Rename PATH to PATH.damaged-N, with its -wal and -shm, and log where.  CAUSE says what was found. */
int salvage_move_aside(const char *path, const char *cause, struct error *error);

/* A power cut within salvage_move_aside can leave a -wal without its database: move it aside too.
 * SQLite would delete it. */
int salvage_orphans(const char *path, struct error *error);

#endif
