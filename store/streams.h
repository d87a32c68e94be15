/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Streams: the batches of one source and epoch to one destination, numbered from 1 without gaps.
 * Unnumbered batches (seq 0) belong to none.
 */
#ifndef BODA_STORE_STREAMS_H
#define BODA_STORE_STREAMS_H

#include "store/batches.h"

/* The next seq of this store's own stream (station, epoch) to TO, counted up in this transaction:
 * a rollback gives it back.  As the source is "server" for a dock, FROM is given. */
int streams_next_seq(struct store *store, const char *from, const char *to, uint64_t *seq,
                     struct error *error);

/* The number of this store's next receipt to TO, counted up in this transaction.  Receipts are
 * unnumbered batches (seq 0); this number, within them, says which of two is the later. */
int streams_next_receipt(struct store *store, const char *to, uint64_t *number,
                         struct error *error);

/* 1 if receipt NUMBER of (FROM, EPOCH) is later than those applied before; it is then remembered. */
int streams_later_receipt(struct store *store, const char *from, const char *epoch, uint64_t number,
                          struct error *error);

/* Calls SHOW with the number of the latest receipt applied of each epoch of FROM, at most MOST epochs. */
int streams_each_seen(struct store *store, const char *from, unsigned most,
                      int (*show)(const char *epoch, uint64_t number, void *context), void *context,
                      struct error *error);

/* TO has applied receipt NUMBER of this store: our next one gets a higher number.  1 if it would not have (this
 * store was put back from an old copy), 0, -1. */
int streams_raise_receipt(struct store *store, const char *to, uint64_t number,
                          struct error *error);

/* One stream of which this store has batches: that has come here, or (epoch is store_epoch) its own. */
struct stream {
    char from[STORE_NAME_BYTES];
    char to[STORE_NAME_BYTES];
    char epoch[STORE_EPOCH_BYTES];
    uint64_t highest;        /* highest seq seen */
    uint64_t contiguous;     /* every seq up to it is applied */
    uint64_t applied;        /* how many are applied */
    uint64_t waiting;        /* how many are held or aside */
    char oldest_waiting[32]; /* wall-clock text when the oldest of those came; "" if none */
    uint64_t missing;        /* numbers below `highest` of which nothing has come whole */
    char missing_since[32];  /* when the oldest batch behind the first of them came; "" if none */
};
int streams_each(struct store *store, int (*show)(const struct stream *stream, void *context),
                 void *context, struct error *error);

/* A run of applied batches of a stream, with a digest of their ids: SHA-256 over the ids of seq
 * first..last in order.  The source compares it with its own, so that a receipt never frees a batch
 * that has only the number of an applied one. */
struct stream_run {
    uint64_t first, last;
    unsigned char digest[32];
};

/* Calls SHOW for each run of applied batches of the stream, at most MOST runs, lowest first.  Batches
 * that share one number (from a source put back from an old copy) are each a run of their own.  SHOW
 * may change the store. */
int streams_applied_runs(struct store *store, const char *from, const char *epoch, const char *to,
                         unsigned most, int (*show)(const struct stream_run *run, void *context),
                         void *context, struct error *error);

/* At the source: RUN of our stream (FROM, EPOCH, TO) is applied at its destination.  Frees those
 * batches (state applied, bytes gone) if the digest fits ours; *FREED counts them.  A run that does
 * not fit or that we do not have whole frees nothing and is logged.  *FREED is set, not added to. */
int streams_receipted(struct store *store, const char *from, const char *epoch, const char *to,
                      const struct stream_run *run, uint64_t *freed, struct error *error);

/* Whether a receipt is due to the source FROM: set when something of its was applied or refused, or
 * when it handed over again what was applied long ago; cleared when the receipt is made. */
int streams_set_due(struct store *store, const char *from, bool due, struct error *error);
int streams_next_due(struct store *store, const char *after, char from[STORE_NAME_BYTES],
                     struct error *error); /* 1 found, 0 no more, -1 */

/* At a tablet: 1 if a receipt is due to FROM, or none was made for it by this store yet; 0, -1. */
int streams_is_due(struct store *store, const char *from, struct error *error);

#endif
