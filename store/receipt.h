/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Receipts (docs/batch.md, "Receipts"): a batch of kind `receipt` in which a destination tells a
 * source which batches of its streams are applied, and which documents were refused; a tablet also tells
 * what it holds.  Receipts are cumulative: a later one makes up for a lost one.  They are unnumbered, and the
 * server's are fleeting (store/batches.h).
 */
#ifndef BODA_STORE_RECEIPT_H
#define BODA_STORE_RECEIPT_H

#include "store/batch.h"

#define RECEIPT_RUNS_MAX 500  /* runs in a line */
#define RECEIPT_HOLDS_MAX 500 /* revisions in a line */

/* Make a receipt for the streams of SOURCE ("t1", or SERVER_NAME) that have come to this store, as an
 * unnumbered batch sealed to RECIPIENT, and add it as held, in the caller's transaction; clears that it is due.
 * An earlier receipt to SOURCE that is still held here makes way for it (batches_add).  Open refusals are listed, the
 * first 5,000 of them; at most 500 runs a stream.  1 made, 0 nothing to tell, -1.
 *
 * If SIGNER is a tablet, the receipt lists what is here (revs_next_here), is not fleeting, and is always made: ask
 * streams_is_due first. */
int receipt_make(struct store *store, const struct identity *signer, const char *source,
                 X509 *recipient, struct error *error);

/* Apply an opened receipt in the caller's transaction: free what it proves applied, replace the
 * refusals that this source of receipts told before, and, at a dock, what the tablet is known to hold, unless
 * a later receipt of the same epoch was applied already; mark the receipt batch itself applied.  A malformed line
 * fails the whole receipt (-1, nothing used).  *FREED counts the batches freed. */
int receipt_apply(struct store *store, const struct opened_batch *receipt,
                  const struct label *label, uint64_t *freed, struct error *error);

#endif
