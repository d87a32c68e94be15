/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Inside of store/ only: the bytes of batches, cut into chunks of BATCH_CHUNK_BYTES, and how many
 * bytes of each source are stored.
 */
#ifndef BODA_STORE_CHUNKS_H
#define BODA_STORE_CHUNKS_H

#include "store/batches.h"

/* Write SIZE bytes of batch KEY at OFFSET, the end of what it has. */
int chunks_append(struct store *store, int64_t key, uint64_t offset, const unsigned char *bytes,
                  size_t size, struct error *error);
int chunks_drop(struct store *store, int64_t key, struct error *error);

/* Hand out the bytes from OFFSET of batch ID that are here, at most SIZE, a chunk at a time; TAKE
 * must not change the store.  -1 when the batch is not there, or TAKE says so. */
int chunks_walk(struct store *store, const unsigned char *id, uint64_t offset, uint64_t size,
                int (*take)(const void *bytes, size_t size, void *context, struct error *error),
                void *context, struct error *error);

/* Note that bytes of SOURCE came (or, below 0, went).  Gathered while the source is the same;
 * chunks_settle writes it, and store_commit calls that. */
int chunks_account(struct store *store, const char *source, int64_t bytes, struct error *error);
int chunks_settle(struct store *store, struct error *error);

/* Bytes stored of SOURCE (NULL: of all), what is not settled included. */
int chunks_stored(struct store *store, const char *source, uint64_t *bytes, struct error *error);

#endif
