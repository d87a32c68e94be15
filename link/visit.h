/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A visit: one session with one exchange, from handshake to good-bye.  Used by all three stations.
 */
#ifndef BODA_LINK_VISIT_H
#define BODA_LINK_VISIT_H

#include "link/exchange.h"
#include "link/session.h"

#define VISIT_HANDSHAKE_MS 10000
#define VISIT_SILENCE_MS 15000

/* What the caller is told, and asked, while the visit runs; each member may be NULL. */
struct visit_hooks {
    /* The phase changed (lamp, log). */
    void (*peer)(const struct station *peer, void *context); /* the handshake is done */
    void (*phase)(enum exchange_phase phase, const struct exchange_counts *counts, void *context);
    /* Called when a round is over and idle begins, before the next round: the host's work with what
     * came (a tablet applies its receipts).  1: something new is in the store, go on with a round at
     * once; 0: nothing; -1. */
    int (*idle)(void *context, struct error *error);
    /* Polled every 100 ms: true: end cleanly. */
    bool (*stop)(void *context);
    void *context;
};

struct visit_options {
    struct store *store;
    const struct identity *identity;
    struct trust *trust;
    enum session_side side;
    unsigned roles;                                                    /* as session_open */
    const char *own_mail;                                              /* as exchange_options */
    const char *const *(*tablets)(const char *courier, void *context); /* dock only, may be NULL */
    bool once; /* host: end after the first round that moves nothing */
    struct visit_hooks hooks;
    int handshake_ms; /* 0: VISIT_HANDSHAKE_MS; others are for tests */
    int silence_ms;   /* 0: VISIT_SILENCE_MS */
};

/* Run a visit over LINK, which it owns and closes.  0 after a clean BYE of either side; -1 with
 * ERROR_CLOSED when the peer just went (a pulled cable), or the fault.  COUNTS (may be NULL) is
 * filled either way. */
int visit_run(struct link *link, const struct visit_options *options,
              struct exchange_counts *counts, struct error *error);

#endif
