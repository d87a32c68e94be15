/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The exchange (docs/protocol.md, "Exchange"): a state machine without I/O.  One file for each role,
 * exchange_host.c and exchange_gadget.c; what both share, the sending and the receiving half, is in
 * offering.c and taking.c.
 *
 * The driver (link/visit.h) feeds frames in, takes bytes out, and calls exchange_tick when nothing
 * comes.  Nothing here waits.
 */
#ifndef BODA_LINK_EXCHANGE_H
#define BODA_LINK_EXCHANGE_H

#include "link/frame.h"
#include "store/identity.h"

struct exchange;

struct exchange_options {
    struct store *store; /* this thread's */
    struct trust *trust; /* for revocation lists that come; updated and stored */
    const struct station *self;
    const struct station *peer;
    X509 *peer_certificate; /* judged again when a revocation list comes; may be NULL */
    const char *own_mail;   /* whose mail this station takes in: its name; for a dock "server" */
    const char *const *tablets; /* a dock's: tablets whose mail this courier may carry; NULL: all.
                                   * Ends with NULL */
};

enum exchange_phase { EXCHANGE_GREETING, EXCHANGE_BUSY, EXCHANGE_IDLE, EXCHANGE_OVER };

struct exchange *exchange_host_new(const struct exchange_options *options, struct error *error);
struct exchange *exchange_gadget_new(const struct exchange_options *options, struct error *error);

/* Commits what has come, partial batches too, so that nothing taken is lost: the cable has gone. */
int exchange_keep(struct exchange *exchange, struct error *error);

/* Does the same, if it was not done.  NULL is harmless. */
void exchange_free(struct exchange *exchange);

/* One frame of the peer.  -1 ends the session (an ERROR frame is in the output for the peer, unless
 * the peer sent one). */
int exchange_receive(struct exchange *exchange, const struct frame *frame, struct error *error);

/* Append frames to OUT while it has less than LIMIT bytes and there is something to say. */
int exchange_send(struct exchange *exchange, struct buffer *out, size_t limit, struct error *error);

/* Time passes: called at least every 100 ms, and at once when no input is there.  Group commits by
 * time, keep-alive pings, new rounds when the store has changed, time-outs. */
int exchange_tick(struct exchange *exchange, int64_t now_ms, struct error *error);

/* A clean end: BYE goes out now, between two frames; what has been taken is committed. */
void exchange_finish(struct exchange *exchange);

/* Ask the host side for a new round now (the store has something new). */
void exchange_again(struct exchange *exchange);

enum exchange_phase exchange_phase(const struct exchange *exchange);

struct exchange_counts {
    uint64_t sent_batches, sent_bytes;   /* confirmed stored by the peer; bytes put on the link */
    uint64_t taken_batches, taken_bytes; /* stored here; bytes that came */
    uint64_t again_bytes;                /* bytes that came, though they were here already */
    uint64_t freed_batches;              /* applied at their destination */
    uint64_t rounds;
};
const struct exchange_counts *exchange_counts(const struct exchange *exchange);

#endif
