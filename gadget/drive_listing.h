/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What mdir prints of a folder, read: names are a stranger's, and may have been made to look like lines of mdir's own.
 */
#ifndef BODA_GADGET_DRIVE_LISTING_H
#define BODA_GADGET_DRIVE_LISTING_H

#include <stdbool.h>
#include <stdint.h>

struct drive_entry {
    const char *name; /* UTF-8 without '/' and control bytes, 1..255 characters, not "." or ".." */
    uint64_t size;    /* as the folder claims */
    bool is_folder;
};

/* SHOW for each entry in TEXT, which is changed; a result of SHOW other than 0 ends it and is returned.  What cannot be an
 * entry's is passed over; so is the last line, if it is not whole. */
int drive_listing_read(char *text, int (*show)(const struct drive_entry *entry, void *context),
                       void *context);

#endif
