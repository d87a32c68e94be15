/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The ledger of refusals: documents that the server would not take, with its own words.  At the dock
 * each is open until the administrator retries or dismisses it, and its batch keeps its sealed bytes
 * that long.  At the tablet they are what receipts told, for people to see.
 */
#ifndef BODA_STORE_LEDGER_H
#define BODA_STORE_LEDGER_H

#include "store/batches.h"
#include "store/revs.h"

#define LEDGER_WORDS_BYTES 256

struct refusal {
    int64_t number;              /* for list|retry|dismiss; given by the ledger */
    char from[STORE_NAME_BYTES]; /* the tablet; at the tablet SERVER_NAME, who told */
    char epoch[STORE_EPOCH_BYTES];
    uint64_t seq;                        /* the batch within the stream */
    unsigned char batch[BATCH_ID_BYTES]; /* zeroes at the tablet */
    char db[DOC_DB_BYTES], id[DOC_ID_BYTES], rev[DOC_REV_BYTES];
    char error[LEDGER_WORDS_BYTES];  /* the server's error word: forbidden, bad_request, ... */
    char reason[LEDGER_WORDS_BYTES]; /* the server's reason, or "" */
    bool retry;                      /* to be tried again: at the end of this run, or at the
                                      * administrator's word */
};

/* Record a refusal; the same (from, db, id, rev) again replaces its words and its
 * retry mark, and keeps its number.  Callers set `retry` for a first refusal: it is tried once more
 * after the rest.  A batch that is thereby left without a refusal loses its kept bytes. */
int ledger_refuse(struct store *store, const struct refusal *refusal, struct error *error);

/* The document was taken after all, or the administrator lets it go: drop it from the ledger.
 * ledger_accept: by document, this rev and those of lower generations, which it was changed from; a rev of "" means
 * every rev.  ledger_dismiss: by number, 1 done, 0 no such number, -1.  When the last open refusal of a batch goes,
 * its kept bytes go. */
int ledger_accept(struct store *store, const char *from, const char *db, const char *id,
                  const char *rev, struct error *error);
int ledger_dismiss(struct store *store, int64_t number, struct error *error);

/* Mark for another try: NUMBER, or all with 0.  *COUNT says how many. */
int ledger_retry(struct store *store, int64_t number, uint64_t *count, struct error *error);

/* The next refusal with number > AFTER; with RETRY_ONLY only those marked, 1 found, 0 no more, -1. */
int ledger_next(struct store *store, int64_t after, bool retry_only, struct refusal *out,
                struct error *error);

/* The refusals of one source and epoch in order of number, for its receipt: as ledger_next. */
int ledger_next_of(struct store *store, const char *from, const char *epoch, int64_t after,
                   struct refusal *out, struct error *error);

/* Forget all refusals of (FROM, EPOCH): at the tablet, before those of a newer receipt are
 * recorded. */
int ledger_clear(struct store *store, const char *from, const char *epoch, struct error *error);

#endif
