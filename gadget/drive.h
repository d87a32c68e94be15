/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The drive: a small FAT image in the store's folder, shown to hosts by the mass storage function beside the cable (docs/files.md,
 * "The drive").  A thread of its own makes it from the store while no host is there, looks once a second whether a host that is
 * there has ejected it, and takes in what people have put on it.  Faults are logged, once each; the cable goes on without it.
 */
#ifndef BODA_GADGET_DRIVE_H
#define BODA_GADGET_DRIVE_H

#include "gadget/functionfs.h"
#include "gadget/keeper.h"
#include "store/store.h"

#define DRIVE_IMAGE "drive.img" /* in the store's folder; what keeper_options.image leads to */

struct drive;

struct drive_options {
    struct keeper *keeper;     /* has set the gadget up, with its drive; outlives this */
    const struct store *store; /* the courier's: the thread has a connection of its own */
    const char *folder;        /* the store's */
    const char *name;          /* the courier's, for the log */
    uint64_t bytes;            /* the image's size */
};

/* Start the thread.  The caller ends it with drive_stop; OPTIONS is copied, what it points to stays. */
struct drive *drive_start(const struct drive_options *options, struct error *error);

/* For functionfs_watch; CONTEXT is the drive. */
void drive_host(enum functionfs_host host, void *context);

/* What is being done is given up; the image stays, and is looked at when the next courier starts.  NULL is harmless. */
void drive_stop(struct drive *drive);

#endif
