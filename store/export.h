/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Batches as files into a folder on any medium (docs/files.md).  The store keeps them: a file is a copy, and only a
 * receipt frees a batch.
 */
#ifndef BODA_STORE_EXPORT_H
#define BODA_STORE_EXPORT_H

#include "store/batches.h"

/* The next batch behind position AFTER that this station would hand over by a cable: a tablet its own, a dock the
 * server's, a courier all.  ALL: whatever the store has the bytes of, applied or not.  1 (OUT filled), 0 no more, -1. */
int export_next(struct store *store, bool all, int64_t after, struct batch *out,
                struct error *error);

struct export_counts {
    uint64_t written, written_bytes; /* batches, durable in the folder */
    uint64_t had;                    /* were there already */
};

/* The store's revocation list as a file: 1 with NAME (of TRUST_LIST_NAME_BYTES) and DER, 0 it has none, -1. */
int export_list(struct store *store, char *name, struct buffer *der, struct error *error);

/* Write what export_next gives, and what the folder PATH does not have, to PATH/TO/NAME, or another folder of TO when that
 * is full; the revocation list and README.TXT too.  An unnumbered batch takes the place of older ones of the same source, epoch and destination.  Nothing but files
 * that Boda named is replaced or removed.  Memory is bounded, whatever the store and the folder have.  ERROR_TEMPORARY:
 * another export writes there.  On failure (the medium is full, read only, or gone) what COUNTS says is whole and
 * durable there, and the next export goes on. */
int export_run(struct store *store, const char *path, bool all, struct export_counts *counts,
               struct error *error);

#endif
