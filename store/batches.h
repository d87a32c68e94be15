/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The batches that a store holds: label, state, bytes in chunks (docs/design.md, "Stores").
 *
 * partial  some of its bytes are here; resumed at `offset`
 * held     complete, its hash checked; offered to peers in order of `position`
 * aside    complete, but this station, its destination, cannot or may not use it (reason given)
 * applied  its destination has applied it: a tombstone, bytes gone unless kept for refused documents
 *
 * `position` counts up within a store and is given when a batch becomes held, so that a peer that
 * has settled everything up to a position has missed nothing before it.  Rows are never deleted, but
 * for partial ones that are discarded.
 */
#ifndef BODA_STORE_BATCHES_H
#define BODA_STORE_BATCHES_H

#include <stddef.h>

#include "base/buffer.h"
#include "store/label.h"

#define BATCH_CHUNK_BYTES 65536 /* how bytes are cut in the store: all but the last chunk */

enum batch_state { BATCH_PARTIAL, BATCH_HELD, BATCH_ASIDE, BATCH_APPLIED };

struct batch {
    struct label label;
    enum batch_state state;
    int64_t position; /* 0 while partial, and for a tombstone of what was never held here */
    uint64_t offset;  /* bytes that are here */
    bool released;    /* the administrator lets it pass though its signer be revoked */
};

/* STORE's station is where batches for the station TO are going: a dock stands for `server`. */
bool batches_is_destination(const struct store *store, const char *to);

/* 1 found (OUT filled), 0 not there, -1. */
int batches_find(struct store *store, const unsigned char *id, struct batch *out,
                 struct error *error);

/* Add a complete batch (SIZE == label->size bytes, hash known to be right) as held.  0; a batch that
 * is there complete, aside or applied is left as it is; a partial one makes way for it, as its bytes and
 * label were never checked.
 *
 * An unnumbered batch that becomes held, here or by batches_complete, replaces those of the same source, epoch and
 * destination that came before it: held ones become applied, partial ones are forgotten.  Not at its
 * destination, which opens each and goes by what is in it. */
int batches_add(struct store *store, const struct label *label, const void *bytes, size_t size,
                struct error *error);

/* Append SIZE bytes to a partial batch at OFFSET, which must be its offset (0 makes the row); the
 * caller has checked the label and keeps OFFSET + SIZE <= label->size.  Any size is taken; it is cut
 * into chunks inside.  Not for a batch that is complete. */
int batches_append(struct store *store, const struct label *label, uint64_t offset,
                   const void *bytes, size_t size, struct error *error);

/* A partial batch whose bytes are all here and whose hash the caller has found right becomes held. */
int batches_complete(struct store *store, const unsigned char *id, struct error *error);

/* Forget a partial batch and its bytes (wrong hash). */
int batches_discard(struct store *store, const unsigned char *id, struct error *error);

/* Copy up to SIZE bytes from OFFSET of a batch to BYTES; *GOT says how many, less than SIZE only at
 * its end.  Outside a transaction too. */
int batches_read(struct store *store, const unsigned char *id, uint64_t offset, void *bytes,
                 size_t size, size_t *got, struct error *error);

/* All bytes of a batch appended to BUFFER. */
int batches_load(struct store *store, const unsigned char *id, struct buffer *buffer,
                 struct error *error);

/* SHA-256 over the first SIZE bytes that are here, into an EVP_MD_CTX that the caller goes on with
 * (resuming a partial batch). */
struct evp_md_ctx_st;
int batches_hash(struct store *store, const unsigned char *id, uint64_t size,
                 struct evp_md_ctx_st *hash, struct error *error);

/* The batch becomes aside with REASON (for the operator). */
int batches_set_aside(struct store *store, const unsigned char *id, const char *reason,
                      struct error *error);

/* By the administrator's word: out of aside it becomes held again, at a new position, and is marked
 * `released` from then on, as only this word lets a batch pass whose signer is revoked. */
int batches_release(struct store *store, const unsigned char *id, struct error *error);

/* A batch that is aside gets the label that came later, and is held again at a new position, to be
 * judged anew: a label is only advice, and the first one may have been false.  1 done; 0 when it is not
 * aside, or the label says the same, or another size than the bytes have; -1. */
int batches_relabel(struct store *store, const struct label *label, struct error *error);

/* The destination has applied the batch.  Its bytes go unless KEEP_BYTES (refused documents in it);
 * batches_drop_bytes drops them later.  A batch that is not there yet gets a tombstone from LABEL
 * (label->from may be empty when only the id is known). */
int batches_apply(struct store *store, const struct label *label, bool keep_bytes,
                  struct error *error);
int batches_drop_bytes(struct store *store, const unsigned char *id, struct error *error);

/* A fleeting batch (a receipt) needs no receipt itself: it counts as applied at its source, and its
 * bytes go, as soon as a courier has stored it; a later one makes up for it when that courier is lost.
 * batches_set_fleeting: at the source, when it is made.  batches_handed_over: at whoever offered it,
 * when the peer has stored it; notes that it was handed over (for status), and frees a fleeting one. */
int batches_set_fleeting(struct store *store, const unsigned char *id, struct error *error);
int batches_handed_over(struct store *store, const unsigned char *id, struct error *error);

/* A selection of batches; NULL or empty members select all. */
struct batch_filter {
    const char *from;
    const char *to;
    enum batch_state state; /* one state */
};

/* The next batch of the selection with position > AFTER, in order of position: 1 (OUT filled), 0 no
 * more, -1.  Costs one index search. */
int batches_next(struct store *store, const struct batch_filter *filter, int64_t after,
                 struct batch *out, struct error *error);

/* Any partial batch of FROM: 1, 0 none, -1.  Costs a walk over the table: for the start of a program
 * that has left partial batches of its own. */
int batches_next_partial(struct store *store, const char *from, struct batch *out,
                         struct error *error);

/* The next held batch addressed to TO in stream order (from, epoch, seq) behind the label AFTER
 * (NULL: the first): 1, 0, -1. */
int batches_next_in_stream(struct store *store, const char *to, const struct label *after,
                           struct batch *out, struct error *error);

/* 1 if the batch at POSITION has this id, 0 if not, -1.  Position 0 is always 0. */
int batches_is_at(struct store *store, int64_t position, const unsigned char *id,
                  struct error *error);

/* Held batches without a number wait for nothing, and are counted apart. */
struct batch_counts {
    uint64_t partial, held, aside, applied; /* batches */
    uint64_t handed_over;                   /* held here, and stored by a courier at least once */
    uint64_t unnumbered, unnumbered_bytes;
    uint64_t held_bytes; /* bytes that are here, in whatever state */
    uint64_t kept_bytes; /* those of applied batches: on the shelf, or with refused documents */
};
int batches_count(struct store *store, const struct batch_filter *filter /* state ignored */,
                  struct batch_counts *counts, struct error *error);

/* Each batch that is aside, with its reason, in order of position: as batches_next. */
int batches_next_aside(struct store *store, int64_t after, struct batch *out,
                       char reason[ERROR_TEXT_BYTES], struct error *error);

#endif
