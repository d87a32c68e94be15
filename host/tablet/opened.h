/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Batches of the shelf, opened in memory to serve from them: those used last, up to OPENED_MOST_BYTES of plaintext, or one
 * that is larger.  Overwritten when they are dropped.
 */
#ifndef BODA_HOST_TABLET_OPENED_H
#define BODA_HOST_TABLET_OPENED_H

#include "store/identity.h"
#include "store/shelf.h"

#define OPENED_MOST_BYTES (8u << 20)

struct opened;

/* STORE and IDENTITY must outlive it. */
struct opened *opened_new(struct store *store, const struct identity *identity,
                          struct error *error);
void opened_free(struct opened *opened); /* NULL is harmless */

/* Where a document is: what struct shelf_doc has of it. */
struct opened_place {
    unsigned char batch[BATCH_ID_BYTES];
    uint64_t at, size;
};
struct opened_place opened_place(const struct shelf_doc *doc);

/* The document's bytes, valid until the next call: 1; 0 the batch cannot be opened any more (logged); -1. */
int opened_doc(struct opened *opened, const struct opened_place *place, const char **json,
               struct error *error);

/* How many batches were opened so far: for tests. */
uint64_t opened_count(const struct opened *opened);

#endif
