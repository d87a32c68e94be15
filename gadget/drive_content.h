/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The drive's image in the store's folder, as long as no host has it: looked through, and made anew, so that at each moment,
 * a power cut's too, either the old image or the new one is there, and what was on the old one is in the store or on the new one.
 *
 *   drive.img      the image
 *   drive.new      the next one, being made
 *   drive.stage/   files on their way in or out
 *   drive.damaged  one that could not be read, or had more on it than the next one can have: for the administrator
 */
#ifndef BODA_GADGET_DRIVE_CONTENT_H
#define BODA_GADGET_DRIVE_CONTENT_H

#include <stdbool.h>

#include "store/store.h"

struct drive_content;

struct drive_content_options {
    struct store *store;
    const char *folder; /* the store's */
    const char *name;   /* the courier's, for the log */
    uint64_t bytes;     /* the image's size */
    int stop_fd;        /* readable: give up */
};

/* OPTIONS is copied, what it points to stays. */
struct drive_content *drive_content_new(const struct drive_content_options *options,
                                        struct error *error);
void drive_content_free(struct drive_content *content); /* NULL is harmless */

/* Take in what is on the image, if anybody wrote to it; make it anew, if that or the store has changed.  -1: the image is as it
 * was, and what is on it will be taken in another time; ERROR_FULL: the store or the disk has no room for it. */
int drive_content_refresh(struct drive_content *content, struct error *error);

/* There is an image. */
bool drive_content_is_there(const struct drive_content *content);

#endif
