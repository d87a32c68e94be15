/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What the folders of stations on a medium have (docs/files.md, "Names"), read once: an export asks for each of its
 * batches whether it is there and where it goes, and FAT would look through the whole folder for each answer.
 */
#ifndef BODA_STORE_INVENTORY_H
#define BODA_STORE_INVENTORY_H

#include "store/file_name.h"
#include "store/medium.h"

struct inventory;

/* A stranger's medium may have any number of folders, and of files in the folders that something goes to (16 bytes are kept
 * of each): these are the most. */
#define INVENTORY_FOLDERS 10000u
#define INVENTORY_FILES 100000u

/* Read which folders MEDIUM has; it must outlive the inventory.  NULL with ERROR: it cannot be read, or has too many.  The
 * caller frees it with inventory_free. */
struct inventory *inventory_open(struct medium *medium, struct error *error);
void inventory_free(struct inventory *inventory); /* NULL is harmless */

/* 1 if the batch LABEL is there, whole by its size.  0: FOLDER is the one that it goes to, which may have to be made, and
 * it is counted there.  -1: the medium cannot be read, or has too many.  The folders of a station
 * are read when the first of its batches is asked for; what is written to them later is not seen. */
int inventory_place(struct inventory *inventory, const struct label *label,
                    char folder[FILE_NAME_FOLDER_BYTES], struct error *error);

/* The next folder of the station TO at or behind *AT, from 0, which moves on; NULL: no more.  The name is the inventory's. */
const char *inventory_folder(const struct inventory *inventory, const char *to, size_t *at);

#endif
