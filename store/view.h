/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Views (docs/down.md, "The view"): the complete list of what a user should hold, made by the dock and applied by the
 * tablet, which answers CHT's get-ids and get-deletes from it.
 */
#ifndef BODA_STORE_VIEW_H
#define BODA_STORE_VIEW_H

#include "store/batch.h"

#define VIEW_PLAIN_BYTES BATCH_LIST_BYTES
#define VIEW_LINE_MOST 500 /* pairs or ids in a line */
#define VIEW_STAMP_BYTES (STORE_EPOCH_BYTES + 20)

struct view_making {
    const char *tablet, *db, *user;
    const char *server; /* its uuid, or "" */
    uint64_t at;
    const char *const *gone; /* ids that are deleted or purged at the server */
    size_t gone_count;
};

/* Make the view of the tablet's listing of the database (store/holdings.h) as the next batch of the stream from the
 * server to the tablet, sealed to RECIPIENT and added as held, in the caller's transaction.  The view that this store made
 * of it before is withdrawn unless it is receipted.  1 made; 0 the listing is larger than a view can be (logged,
 * nothing changed); -1. */
int view_make(struct store *store, const struct identity *signer, X509 *recipient,
              const struct view_making *making, struct error *error);

/* Apply an opened view in the caller's transaction: its listing takes the place of the one before, what it lists becomes
 * known (store/revs.h), what is gone or older leaves the shelf and is not held any more, withdrawn batches become
 * tombstones unless they are here whole, the batch itself is applied.  An older view is only marked applied.  1 used,
 * 0 older, -1 (ERROR_CORRUPT: malformed, nothing used). */
int view_apply(struct store *store, const struct opened_batch *view, const struct label *label,
               struct error *error);

/* The applied view of DB: how many revisions it lists; *COUNT is -1 when there is none yet. */
int view_count(struct store *store, const char *db, int64_t *count, struct error *error);

/* A word that another view of DB does not have, "" while there is none: who reads a listing piece by piece, and finds
 * the same word behind it, has read one listing. */
int view_stamp(struct store *store, const char *db, char stamp[VIEW_STAMP_BYTES],
               struct error *error);

/* The next listed document behind AFTER_ID (NULL: the first), and the revision that it is listed by, of several the
 * one of the highest generation: 1, 0, -1.  AFTER_ID and ID may be one array. */
int view_next(struct store *store, const char *db, const char *after_id, char id[DOC_ID_BYTES],
              char rev[DOC_REV_BYTES], struct error *error);

/* 1 the view lists ID, and only by higher generations than REV's; 0 not, -1. */
int view_outdates(struct store *store, const char *db, const char *id, const char *rev,
                  struct error *error);

/* 1 the view says that ID is deleted or purged, 0 not, -1. */
int view_gone(struct store *store, const char *db, const char *id, struct error *error);

#endif
