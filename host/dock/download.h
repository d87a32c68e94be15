/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The documents of one database that one tablet needs, asked for with _bulk_get, several requests in flight, and
 * given to the packer.
 */
#ifndef BODA_HOST_DOCK_DOWNLOAD_H
#define BODA_HOST_DOCK_DOWNLOAD_H

#include "host/dock/cht.h"
#include "host/dock/packer.h"
#include "host/dock/room.h"

/* All of it is borrowed. */
struct download_options {
    struct store *store;
    struct cht *cht;
    const struct cht_user *user;
    struct room *room;
    struct packer *packer;
    const char *tablet, *db;
    const char *path;   /* of the database at the server, encoded */
    unsigned parallel;  /* requests in flight at most */
    uint64_t *requests; /* counted up */
};

struct download;

struct download *download_new(const struct download_options *options, struct error *error);
void download_free(struct download *download); /* only when it is over; NULL is harmless */

/* Send what can be sent now.  To be called again and again. */
void download_advance(struct download *download);

/* Send nothing more. */
void download_abandon(struct download *download);

/* Nothing is in flight, and nothing more will be sent. */
bool download_over(const struct download *download);

/* What went wrong first, NULL if nothing: as usable_answer, or the store's. */
const struct error *download_error(const struct download *download);

/* It ended before all was asked for. */
bool download_failed(const struct download *download);

#endif
