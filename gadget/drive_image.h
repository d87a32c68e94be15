/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A FAT image, by mkfs.fat and the mtools (gadget/drive_tool.h); it is never mounted here.  Paths within it have no
 * slash ahead: "TO-COURIER/x".  What an existing image says is a stranger's: names may be anything, sizes lies.
 */
#ifndef BODA_GADGET_DRIVE_IMAGE_H
#define BODA_GADGET_DRIVE_IMAGE_H

#include <stddef.h>
#include <sys/types.h>

#include "gadget/drive_listing.h"
#include "gadget/drive_tool.h"

#define DRIVE_IMAGE_FILES 64 /* most files of one drive_image_read or drive_image_write */

struct drive_image {
    const struct drive_tool *tool;
    const char *path;
};

/* A new, empty file system in a sparse file of BYTES, mode 0600, which takes the place of what has this name. */
int drive_image_make(const struct drive_image *image, uint64_t bytes, struct error *error);

/* SHOW for each entry of FOLDER ("" is the root).  0; a result of SHOW other than 0; -1 as drive_tool_run, also when
 * mdir finds fault with the image: what it listed before was shown all the same. */
int drive_image_list(const struct drive_image *image, const char *folder,
                     int (*show)(const struct drive_entry *entry, void *context), void *context,
                     struct error *error);

/* Copy the files NAMES of FOLDER into the folder TARGET outside, under their own names where these are letters, digits
 * and "._-() " (else they may differ); a single file: to TARGET itself, where that is no folder.  0; 1: not all could be
 * copied, or not whole; -1. */
int drive_image_read(const struct drive_image *image, const char *folder, const char *const *names,
                     size_t count, const char *target, struct error *error);

/* Copy FILES from outside into FOLDER.  Names that are there already get another one. */
int drive_image_write(const struct drive_image *image, const char *const *files, size_t count,
                      const char *folder, struct error *error);

int drive_image_make_folder(const struct drive_image *image, const char *folder,
                            struct error *error);

#endif
