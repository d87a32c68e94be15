/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What people have put on the drive comes into the store: batch files wherever they lie, checked as any file (store/import.h).
 * All else is theirs, and is set down in a folder outside for the next image.
 */
#ifndef BODA_GADGET_DRIVE_TAKE_H
#define BODA_GADGET_DRIVE_TAKE_H

#include "gadget/drive_given.h"
#include "gadget/drive_image.h"
#include "store/import.h"

#define DRIVE_TAKE_INBOX "TO-COURIER"                   /* where people put batch files */
#define DRIVE_TAKE_LEFT DRIVE_TAKE_INBOX "/NOT-A-BATCH" /* what was none */
#define DRIVE_TAKE_STATUS "STATUS.HTM"
#define DRIVE_TAKE_LEFT_FILES 256

struct drive_take_options {
    const struct drive_image *image;
    uint64_t image_bytes;
    struct store *store;       /* this thread's */
    const char *stage;         /* an empty folder: files are here for a while */
    struct drive_given *given; /* what is ours on the drive, and need not be read */
};

struct drive_taken {
    struct import_counts counts;
    bool unreadable;                   /* the mtools cannot read the image at all */
    bool incomplete;                   /* something in it was neither taken nor set down */
    char *left[DRIVE_TAKE_LEFT_FILES]; /* files set down, by their paths: STAGE/N/NAME */
    unsigned left_count;
};

/* 0, and what came is committed; -1 when the store fails or the work was stopped: then the image must be kept as it is.
 * TAKEN is to be freed either way. */
int drive_take_run(const struct drive_take_options *options, struct drive_taken *taken,
                   struct error *error);
void drive_take_free(struct drive_taken *taken);

#endif
