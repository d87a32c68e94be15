/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The dock's books on each tablet (docs/down.md): what the server shows its user (the listing), what the
 * tablet says that it holds, and what is under way to it in batches that are not receipted.
 */
#ifndef BODA_STORE_HOLDINGS_H
#define BODA_STORE_HOLDINGS_H

#include "store/batches.h"
#include "store/revs.h"

#define HOLDINGS_SINCE_BYTES 4096 /* a sequence of CouchDB's, with its zero; some are long */

/* ---- what the tablet holds, as its newest receipt says, and what it sent up since ---- */

/* A receipt of TABLET is taken in, within one transaction: begin, hold for each revision, end.  What it does not
 * list is not held any more, unless it was not COMPLETE (it had more than a receipt can carry). */
int holdings_begin(struct store *store, const char *tablet, struct error *error);
int holdings_hold(struct store *store, const char *tablet, const char *db, const char *id,
                  const char *rev, struct error *error);
int holdings_end(struct store *store, const char *tablet, bool complete, struct error *error);

/* What TABLET sent up, in the epoch EPOCH of its store, is at the server: it holds it, until its next receipt says what it
 * holds.  Nothing is noted for a tablet whose receipts came of another epoch too: it may have been begun anew since.
 * Within a transaction. */
int holdings_sent_up(struct store *store, const char *tablet, const char *epoch, const char *db,
                     const char *id, const char *rev, struct error *error);

/* ---- the listing ---- */

/* How far a listing is known: the server's sequence that it was asked up to. */
struct listing {
    char since[HOLDINGS_SINCE_BYTES]; /* "" : nothing yet */
    bool view_due;                    /* it has changed since the last view was made */
};
int holdings_listing(struct store *store, const char *tablet, const char *db,
                     struct listing *listing, struct error *error); /* zeroes when there is none */
int holdings_set_listing(struct store *store, const char *tablet, const char *db,
                         const struct listing *listing, struct error *error);

/* A complete listing comes: begin, list for each, end; what is not listed again is taken out.  Nothing is written to
 * the database file where nothing has changed.  *CHANGED (may be NULL) says whether anything has; then, and for the
 * first listing, a view is due.  Needs no transaction until holdings_listed_all, which makes its own.  One at a time
 * for each connection. */
int holdings_list_begin(struct store *store, struct error *error);
int holdings_list(struct store *store, const char *id, const char *rev, struct error *error);
int holdings_listed_all(struct store *store, const char *tablet, const char *db, bool *changed,
                        struct error *error);

/* One change of a listing that grows by changes: the leaf revisions of ID are REVS (COUNT of them, 0: it is
 * gone from the listing).  In the caller's transaction. */
int holdings_list_leaves(struct store *store, const char *tablet, const char *db, const char *id,
                         const char *const *revs, size_t count, struct error *error);

struct holding {
    char id[DOC_ID_BYTES], rev[DOC_REV_BYTES];
};

/* The next listed revision that TABLET neither holds nor has under way, behind AFTER (NULL: the first), in order of
 * id and rev: 1, 0 no more, -1. */
int holdings_next_needed(struct store *store, const char *tablet, const char *db,
                         const struct holding *after, struct holding *out, struct error *error);

/* The next listed revision: for the view.  And the next document that TABLET holds and that the listing does not
 * name by any rev (out->rev ""): as holdings_next_needed. */
int holdings_next_listed(struct store *store, const char *tablet, const char *db,
                         const struct holding *after, struct holding *out, struct error *error);
int holdings_next_unlisted(struct store *store, const char *tablet, const char *db,
                           const char *after_id, struct holding *out, struct error *error);

/* ---- what is under way ---- */

/* Batch ID, in the making for TABLET, has this document.  Gone by itself when the batch is applied (receipted or
 * withdrawn). */
int holdings_send(struct store *store, const char *tablet, const char *db, const char *id,
                  const char *rev, const unsigned char *batch, struct error *error);

/* This revision is too large to be carried: it is not needed, as long as it is the last of its document of which that was
 * said.  Within a transaction. */
int holdings_leave_out(struct store *store, const char *tablet, const char *db, const char *id,
                       const char *rev, struct error *error);

/* The next batch under way to TABLET, of which at least half of the documents are not in the listing any more: 1, 0,
 * -1. */
int holdings_next_stale(struct store *store, const char *tablet,
                        unsigned char batch[BATCH_ID_BYTES], struct error *error);

/* Withdraw a batch that this store made for TABLET and that is not receipted: it is applied here, couriers that
 * carry it are told, and it is named in the tablet's next views until a receipt covers its number. */
int holdings_withdraw(struct store *store, const char *tablet, const unsigned char *batch,
                      struct error *error);

/* Those to be named, in order of seq: 1, 0, -1.  A receipt's runs end that (store/receipt). */
int holdings_next_withdrawn(struct store *store, const char *tablet, uint64_t after_seq,
                            struct label *out, struct error *error);

/* Inside of store/ only.  BATCH is applied: its documents are not under way any more (batches_apply).  The receipts
 * of TABLET cover FIRST to LAST of this store's stream: none of them need be named as withdrawn (streams_receipted). */
int holdings_arrived(struct store *store, const char *tablet, const unsigned char *batch,
                     struct error *error);
int holdings_receipted(struct store *store, const char *tablet, uint64_t first, uint64_t last,
                       struct error *error);

#endif
