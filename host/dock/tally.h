/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The bookkeeping of a replay: how many documents of each batch are not settled yet, and what is written
 * to the store when they are: refusals, batches applied, receipts due.  Written in short transactions of
 * several requests and batches, never while one waits for the server.
 */
#ifndef BODA_HOST_DOCK_TALLY_H
#define BODA_HOST_DOCK_TALLY_H

#include "host/dock/request.h"
#include "store/ledger.h"

struct tally;

struct tally_counts {
    uint64_t applied_batches, proven_docs, refused_docs;
};

struct tally *tally_new(struct store *store, struct error *error);
void tally_free(struct tally *tally); /* what is not written is dropped; NULL is harmless */

/* A batch that is held, with DOCS documents to settle: its number. */
int tally_add(struct tally *tally, const unsigned char *id, uint64_t docs, uint32_t *batch,
              struct error *error);

/* A batch that is applied already but has refused documents to be tried again. */
int tally_add_applied(struct tally *tally, const unsigned char *id, uint32_t *batch,
                      struct error *error);

uint32_t tally_batches(const struct tally *tally);
const unsigned char *tally_id(const struct tally *tally, uint32_t batch);

/* Documents of the batch that are not settled. */
uint32_t tally_open(const struct tally *tally, uint32_t batch);

/* The batch is not to be applied in this run; until then it counts as unsettled. */
void tally_withhold(struct tally *tally, uint32_t batch);
bool tally_withheld(const struct tally *tally, uint32_t batch);

/* All documents of the batch are with the sender. */
void tally_set_given(struct tally *tally, uint32_t batch);
bool tally_given(const struct tally *tally, uint32_t batch);

/* The REQUEST has come to its end and is the tally's: counted at once, written with the next flush. */
int tally_take(struct tally *tally, struct request *request, struct error *error);

/* Write what is settled, if that is worth a transaction by now, or at any rate with ALL. */
int tally_flush(struct tally *tally, bool all, struct error *error);

/* The last wave: refused documents are tried once more.  From now on what is refused is final, and what
 * is proven leaves the ledger. */
int tally_begin_retry(struct tally *tally, struct error *error);

/* In the last wave: the number of the batch with this id if it has refusals of this run: 1, else 0.  And
 * one of its documents is to be settled once more. */
int tally_find(const struct tally *tally, const unsigned char *id, uint32_t *batch);
void tally_reopen(struct tally *tally, uint32_t batch);

/* After the last wave: apply the batches whose refusals are final by now. */
int tally_end_retry(struct tally *tally, struct error *error);

const struct tally_counts *tally_counts(const struct tally *tally);

#endif
