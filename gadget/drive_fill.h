/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A new image for the drive, made from the store alone: README.TXT, STATUS.HTM, the revocation list, the batches that wait, and
 * the folder for what people bring.
 */
#ifndef BODA_GADGET_DRIVE_FILL_H
#define BODA_GADGET_DRIVE_FILL_H

#include "gadget/drive_given.h"
#include "gadget/drive_take.h"

#define DRIVE_FILL_DIGEST_BYTES 32

struct drive_fill_options {
    const struct drive_image *image; /* the new one, which is not shown yet */
    uint64_t image_bytes;
    struct store *store; /* this thread's */
    const char *stage;   /* an empty folder: files are here for a while */
    const struct drive_taken
        *taken; /* of the last look, NULL: none; what was set down comes back */
};

/* What would be put into the image.  The same digest: the same content. */
int drive_fill_digest(const struct drive_fill_options *options,
                      unsigned char digest[DRIVE_FILL_DIGEST_BYTES], struct error *error);

/* Make the image, whole and durable.  GIVEN (empty before) gets what was put into it. */
int drive_fill_run(const struct drive_fill_options *options, struct drive_given *given,
                   struct error *error);

#endif
