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

/* Make the view of TABLET's listing of DB as the next batch of the stream server -> TABLET, sealed to RECIPIENT and added as held, in the
 * caller's transaction; an earlier view of this store that is not receipted is withdrawn.  GONE walks the ids that are gone: as holdings_next_unlisted.  1 made; 0 the listing is
 * larger than a view can be (logged); -1. */
struct view_making {
    const char *tablet, *db, *user;
    const char *server; /* its uuid, or "" */
    uint64_t at;
    const char *const *gone; /* ids */
    size_t gone_count;
};
int view_make(struct store *store, const struct identity *signer, X509 *recipient,
              const struct view_making *making, struct error *error);

/* Apply an opened view in the caller's transaction: its listing takes the place of the one before, what it lists becomes known
 * (store/revs.h), what is gone or older leaves the shelf, withdrawn batches become tombstones, the batch itself is applied.  An older one is
 * only marked applied.  1 used, 0 older, -1 (ERROR_CORRUPT: malformed, nothing used). */
int view_apply(struct store *store, const struct opened_batch *view, const struct label *label,
               struct error *error);

/* The applied view of DB: *COUNT documents, -1 as count when there is none yet. */
int view_count(struct store *store, const char *db, int64_t *count, struct error *error);

/* The next listed (id, rev) behind ID (NULL: the first): 1, 0, -1. */
int view_next(struct store *store, const char *db, const char *after_id, char id[DOC_ID_BYTES],
              char rev[DOC_REV_BYTES], struct error *error);

/* 1 the view lists ID, and only by higher generations than REV's; 0 not, -1. */
int view_outdates(struct store *store, const char *db, const char *id, const char *rev,
                  struct error *error);

/* 1 the view says that ID is deleted or purged, 0 not, -1. */
int view_gone(struct store *store, const char *db, const char *id, struct error *error);

#endif
