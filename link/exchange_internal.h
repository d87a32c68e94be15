/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What the two roles of an exchange share; for exchange*.c only.
 */
#ifndef BODA_LINK_EXCHANGE_INTERNAL_H
#define BODA_LINK_EXCHANGE_INTERNAL_H

#include "link/exchange.h"
#include "link/message.h"
#include "link/offering.h"
#include "link/taking.h"

struct exchange_role {
    /* The peer's HELLO has come and both halves are set up. */
    int (*greeted)(struct exchange *exchange, struct error *error);
    /* A frame that is this role's alone to understand; -1 for the others. */
    int (*receive)(struct exchange *exchange, const struct frame *frame, struct error *error);
    /* Do what the state allows now: begin a round, append control frames to `out`. */
    int (*step)(struct exchange *exchange, struct error *error);
    int (*tick)(struct exchange *exchange, int64_t now_ms, struct error *error);
    void (*again)(struct exchange *exchange);
    struct offering_options (*offers)(const struct exchange *exchange);
    struct taking_options (*takes)(const struct exchange *exchange);
};

struct exchange {
    struct exchange_options options;
    const struct exchange_role *role;
    void *state; /* the role's own */
    enum exchange_phase phase;
    struct exchange_counts counts;
    struct buffer out; /* control frames that are due */
    struct hello peer_hello;
    bool greeted, list_came, finish, said_bye, noted;
    struct offering *offering; /* these two from the peer's HELLO on */
    struct taking *taking;
};

struct exchange *exchange_new(const struct exchange_options *options,
                              const struct exchange_role *role, size_t state_bytes,
                              struct error *error);

/* Append our HELLO with CURSOR. */
int exchange_hello(struct exchange *exchange, const struct cursor *cursor, struct error *error);

/* Append REVOKED if our list is newer than the peer's. */
int exchange_give_list(struct exchange *exchange, struct error *error);

/* For people: this peer was here.  Once an exchange, when there is nothing else to do, as it costs a
 * commit; at the latest when it is freed. */
int exchange_note_visit(struct exchange *exchange, struct error *error);

/* ERROR_CORRUPT: the frame does not fit the state. */
int exchange_unexpected(const struct frame *frame, struct error *error);

#endif
