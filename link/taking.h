/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The receiving half of an exchange: answers offers, gathers what comes in a fixed arena, checks its
 * hash, and writes it in short transactions together with the cursor (docs/protocol.md, OFFER to
 * STORED, "Cursors").
 */
#ifndef BODA_LINK_TAKING_H
#define BODA_LINK_TAKING_H

#include "link/exchange.h"

struct taking;

struct taking_options {
    struct store *store;
    const char *peer;     /* its name, for the log */
    const char *uuid;     /* its store's */
    const char *from;     /* offers must be of this source; NULL: any */
    const char *to;       /* and for this destination; NULL: any */
    const char *own_mail; /* what is addressed to it has come to its destination; NULL: none is */
    struct exchange_counts *counts;
};

struct taking *taking_new(const struct taking_options *options, struct error *error);

/* What is not yet written is lost: call taking_commit first.  NULL is harmless. */
void taking_free(struct taking *taking);

/* A page of offers: the answer is appended to OUT.  Also ends the page before, which must be whole. */
int taking_offer(struct taking *taking, const struct frame *frame, struct buffer *out,
                 struct error *error);

/* A DATA frame.  Commits when the arena is full or the frame says so. */
int taking_data(struct taking *taking, const struct frame *frame, struct buffer *out,
                struct error *error);

/* Write what is pending in one transaction and append STORED to OUT. */
int taking_commit(struct taking *taking, struct buffer *out, struct error *error);

/* Commit what has waited for 200 ms. */
int taking_tick(struct taking *taking, int64_t now_ms, struct buffer *out, struct error *error);

/* The peer is about to offer a round: not settled until its last page is. */
void taking_expect(struct taking *taking);

/* No round is under way, and nothing is pending. */
bool taking_settled(const struct taking *taking);

/* The last page named a batch. */
bool taking_moved(const struct taking *taking);

#endif
