/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What the server says that a user may see (docs/down.md, 2): answers of CHT's get-ids and get-deletes, and of
 * CouchDB's _changes, read into the books of store/holdings.  Knows nothing of HTTP.
 *
 * An answer that is not whole and as it must be is not used at all: -1 with ERROR_TEMPORARY.  Other kinds are
 * the store's.
 */
#ifndef BODA_HOST_DOCK_LISTING_H
#define BODA_HOST_DOCK_LISTING_H

#include "store/holdings.h"

/* The answer of get-ids becomes the listing.  *AT is the number that the server's sequence begins with, 0 if
 * there is none. */
int listing_take_ids(struct store *store, const char *tablet, const char *db, const char *body,
                     size_t size, uint64_t *at, struct error *error);

/* One page of _changes, and how far it goes, in one transaction.  LABEL is what the sequence is kept under: a
 * listing that was asked for in another way begins anew.  *MORE: there may be another page.  The server having
 * gone back behind *SINCE (a database begun anew), the listing is emptied and *SINCE is "". */
int listing_take_changes(struct store *store, const char *tablet, const char *db, const char *label,
                         char since[HOLDINGS_SINCE_BYTES], const char *body, size_t size,
                         bool *more, struct error *error);

/* The sequence to ask from, "" for all: that of the last page, if it was kept under LABEL; else the listing is
 * emptied. */
int listing_since(struct store *store, const char *tablet, const char *db, const char *label,
                  char since[HOLDINGS_SINCE_BYTES], struct error *error);

/* Each id in an answer of get-deletes. */
int listing_take_deletes(const char *body, size_t size,
                         int (*show)(const char *id, void *context, struct error *error),
                         void *context, struct error *error);

#endif
