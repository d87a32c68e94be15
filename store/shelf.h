/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The tablet's shelf (docs/down.md): what the server has sent and the app can ask for.  The documents stay sealed in
 * their batches; here is where each of them is.
 */
#ifndef BODA_STORE_SHELF_H
#define BODA_STORE_SHELF_H

#include "store/batches.h"
#include "store/revs.h"

struct shelf_doc {
    int64_t seq; /* counts up over all databases of the store: what _changes goes by */
    char id[DOC_ID_BYTES], rev[DOC_REV_BYTES];
    bool deleted;
    unsigned char batch[BATCH_ID_BYTES];
    uint64_t at, size; /* its line within the opened batch's lines */
};

/* Put a document on the shelf, in the caller's transaction; it becomes known and held (store/revs.h).  One that is there
 * already stays as it is, in the batch where it is.  ANCESTORS (COUNT of them) leave the shelf.  The batch must be in this
 * store. */
int shelf_put(struct store *store, const char *db, const struct shelf_doc *doc,
              const char *const *ancestors, size_t count, struct error *error);

/* A revision of ID is here, with these ANCESTORS: they leave the shelf and are not held any more. */
int shelf_replaced(struct store *store, const char *db, const char *id,
                   const char *const *ancestors, size_t count, struct error *error);

/* Take off the documents of ID with a generation below that of REV; with REV NULL all of them.  They stay known, but
 * are not held any more. */
int shelf_drop(struct store *store, const char *db, const char *id, const char *rev,
               struct error *error);

/* Batches of which nothing is left on the shelf lose their bytes. */
int shelf_sweep(struct store *store, struct error *error);

/* 1 found, 0 not, -1.  REV NULL: the winning one, as CouchDB chooses: not deleted, highest generation, then
 * highest digest. */
int shelf_find(struct store *store, const char *db, const char *id, const char *rev,
               struct shelf_doc *out, struct error *error);

/* The documents of ID, one a revision, the winning one first. */
int shelf_each(struct store *store, const char *db, const char *id,
               int (*show)(const struct shelf_doc *doc, void *context), void *context,
               struct error *error);

/* The next document in the order of its latest seq, each id once with its winning revision: with seq > AFTER, or, DESCENDING, < AFTER
 * (0: from the end).  1, 0 no more, -1.  OUT->seq is the latest of the document. */
int shelf_next(struct store *store, const char *db, int64_t after, bool descending,
               struct shelf_doc *out, struct error *error);

/* The latest seq of DB (0: none), and how many documents have one above AFTER. */
int shelf_last(struct store *store, const char *db, int64_t *seq, struct error *error);
int shelf_pending(struct store *store, const char *db, int64_t after, uint64_t *count,
                  struct error *error);

#endif
