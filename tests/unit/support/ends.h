/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Both ends of a cable in one thread, for tests of the exchange: a host and a courier with stores of
 * their own, driven frame by frame under a clock that the test turns.  No TLS, no I/O, no waiting.
 */
#ifndef BODA_TESTS_SUPPORT_ENDS_H
#define BODA_TESTS_SUPPORT_ENDS_H

#include "link/exchange.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/stores.h"

struct end {
    char *folder;
    struct store *store;
    const struct identity *identity;
    struct trust *trust;
    struct station self;
    struct exchange *exchange;
    struct buffer out;  /* on its way to the other end */
    struct error error; /* of the exchange, when it failed */
    bool failed;
};

struct ends {
    struct deployment *deployment; /* shared, not owned */
    struct end host, gadget;
    const char *own_mail;
    const char *const *tablets;
    int64_t now_ms;
    uint64_t moved_bytes; /* both ways, since ends_connect */
    uint64_t cut_at_byte; /* 0: never */
    bool cut;
    bool may_stall; /* ends_run returns, with `stalled`, when nothing comes of it for a minute */
    bool stalled;
    unsigned frames_from_host, frames_from_gadget;
    /* Sees, and may change, each frame before it is delivered. May be NULL. */
    void (*meddle)(struct ends *ends, bool from_host, unsigned char *frame, size_t size);
};

/* HOST is a tablet or a dock. */
struct ends *ends_new(struct deployment *deployment, const struct identity *host,
                      const struct identity *gadget);
void ends_free(struct ends *ends);

/* Another host at the same courier: the stores stay, the host's is opened or made. */
void ends_plug(struct ends *ends, struct end *host);

void ends_connect(struct ends *ends);
/* Both exchanges are freed, as when the cable goes; what was under way is lost. */
void ends_disconnect(struct ends *ends);

/* Move bytes until the host is idle with nothing under way, or an end failed, or the cable is cut.
 * Fails the test when that does not come within a minute of the turned clock. */
void ends_run(struct ends *ends);

/* ends_connect, ends_run; both must be well; ends_disconnect.  COUNTS of host and gadget may be
 * NULL. */
void ends_visit(struct ends *ends, struct exchange_counts *host, struct exchange_counts *gadget);

/* How many batches END holds in STATE. */
uint64_t ends_count(const struct end *end, enum batch_state state);

void end_open(struct end *end, const struct identity *identity, struct deployment *deployment,
              const struct store_options *options);
void end_close(struct end *end);

#endif
