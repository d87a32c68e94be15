/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The sending half of an exchange: offers held batches in pages, streams those that the peer wants,
 * and hears which it has stored (docs/protocol.md, OFFER to STORED).  Holds two pages of labels and
 * no batch bytes.
 */
#ifndef BODA_LINK_OFFERING_H
#define BODA_LINK_OFFERING_H

#include "link/exchange.h"
#include "store/peers.h"

struct offering;

struct offering_options {
    struct store *store;
    const char *uuid;           /* the peer's store, if it is to hear of what is applied; or NULL */
    const char *from;           /* only batches of this source; NULL: any */
    const char *to;             /* only those to this destination; NULL: any */
    const char *const *tablets; /* only those to one of these; NULL: any */
    struct exchange_counts *counts;
};

struct offering *offering_new(const struct offering_options *options, struct error *error);
void offering_free(struct offering *offering); /* NULL is harmless */

/* Begin a round.  The first of a session starts behind CURSOR, if our store has that very batch there
 * (else it was put back from a copy, and all is offered anew), and if the peer was offered the mail of the same tablets
 * before; later ones go on where the last one ended, or at the first batch for which the peer had no room. */
int offering_begin(struct offering *offering, const struct cursor *cursor, struct error *error);

/* The round is settled: what it offered, the next session's need not offer again. */
int offering_end(struct offering *offering, struct error *error);

int offering_want(struct offering *offering, const struct frame *frame, struct error *error);
int offering_stored(struct offering *offering, const struct frame *frame, struct error *error);

/* Append OFFER and DATA frames to OUT while it has less than LIMIT bytes and one is due. */
int offering_send(struct offering *offering, struct buffer *out, size_t limit, struct error *error);

/* Write down what the peer has, where that still waits for the end of a page: the cable has gone. */
int offering_keep(struct offering *offering, struct error *error);

/* No round is under way: every page of it has been settled. */
bool offering_settled(const struct offering *offering);

/* The round has offered a batch. */
bool offering_moved(const struct offering *offering);

#endif
