/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The keeper: the process that stays root, for configfs needs it.  It sets the gadget up, binds it and
 * takes it down when asked by the worker, its child, which has dropped root before it hears or
 * reads anything of a stranger.  When the worker ends in whatever way, the keeper takes the gadget
 * down and ends too; when the keeper dies, the worker is killed.
 */
#ifndef BODA_GADGET_KEEPER_H
#define BODA_GADGET_KEEPER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct keeper;

struct keeper_options {
    const char *udc;  /* as configfs_options */
    const char *user; /* whom the worker becomes; NULL: stays who it is */
    const char
        *image; /* the one file that is ever put into the drive; NULL: the gadget has no drive */
    /* The worker's job, in the child.  Its result becomes the program's exit status (the function logs
     * its own errors).  SIGTERM, SIGINT and SIGHUP of the keeper come to it as SIGTERM, once; 15 s
     * later it is killed. */
    int (*work)(struct keeper *keeper, void *context);
    void *context;
};

/* Fork.  In the parent: serve until the worker has ended, take the gadget down; the worker's exit
 * status (1 if a signal ended it, 0 if it was the SIGTERM that was passed on), or -1 with ERROR_USAGE
 * when USER does not exist, or ERROR_FAILED (not root).  In the child it does not return. */
int keeper_run(const struct keeper_options *options, struct error *error);

/* ---- the worker's questions, from any of its threads; each waits at most 20 s for the keeper ---- */

/* configfs_open for the courier NAME, FOLDER gets where functionfs is mounted. */
int keeper_set_up(struct keeper *keeper, const char *name, char *folder, size_t size,
                  struct error *error);

/* configfs_bind. */
int keeper_bind(struct keeper *keeper, struct error *error);

/* Whether the gadget that was set up has a drive, and the gadget's name. */
bool keeper_has_drive(const struct keeper *keeper);
const char *keeper_gadget(const struct keeper *keeper);

/* lun_insert of keeper_options.image, lun_eject. */
int keeper_insert(struct keeper *keeper, struct error *error);
int keeper_eject(struct keeper *keeper, struct error *error);

/* The UDC of the last keeper_bind, "" if it failed. */
const char *keeper_udc(const struct keeper *keeper);

#endif
