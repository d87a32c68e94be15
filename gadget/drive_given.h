/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Which files on the drive are ours: what was put there need not be read again.
 */
#ifndef BODA_GADGET_DRIVE_GIVEN_H
#define BODA_GADGET_DRIVE_GIVEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* All zero at first. */
struct drive_given {
    struct drive_given_file *files;
    size_t count, capacity;
    bool sorted;
};

/* NAME of SIZE bytes was put into FOLDER. */
int drive_given_add(struct drive_given *given, const char *folder, const char *name, uint64_t size,
                    struct error *error);

/* It is there, and as large.  Letter case does not matter, as on a FAT. */
bool drive_given_has(struct drive_given *given, const char *folder, const char *name,
                     uint64_t size);

/* Empty again. */
void drive_given_clear(struct drive_given *given);

#endif
