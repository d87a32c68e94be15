/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * An outage of the server: when it began, when the next probe may go out, and the two log lines that
 * tell of it.  Delays grow from 1 s to 5 min with full jitter, so that docks that lost the server at
 * the same moment do not come back at the same moment.
 */
#ifndef BODA_HOST_DOCK_OUTAGE_H
#define BODA_HOST_DOCK_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

struct outage {
    bool on;
    bool given_up; /* the patience has ended once; a new request begins a new patience */
    bool tried;    /* something failed in this patience: it does not end untried */
    int64_t since_ms, patient_since_ms, next_ms;
    unsigned failures;
    char cause[256];
};

/* How long to wait before the next try after FAILURES (1, 2, ...) failures: at least
 * RETRY_AFTER_MS (0: the server named none), which counts up to an hour. */
int64_t outage_delay_ms(unsigned failures, int64_t retry_after_ms);

/* The server is away (CAUSE, in words).  The first failure is logged; PROBE: this was the one request
 * that went out during the outage, so the delay grows. */
void outage_failed(struct outage *outage, const char *url, const char *cause, bool probe,
                   int64_t retry_after_ms, int64_t now_ms);

/* The server has answered: the end of an outage is logged. */
void outage_answered(struct outage *outage, const char *url, int64_t now_ms);

#endif
