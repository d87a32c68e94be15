/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/outage.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"

#define FIRST_MS 1000
#define LONGEST_MS (5 * 60 * 1000)
#define RETRY_AFTER_LONGEST_MS (60 * 60 * 1000)

int64_t outage_delay_ms(unsigned failures, int64_t retry_after_ms)
{
    int64_t ceiling = FIRST_MS, delay;
    uint32_t random = 0;

    for (unsigned i = 1; i < failures && ceiling < LONGEST_MS; i++)
        ceiling *= 2;
    if (ceiling > LONGEST_MS)
        ceiling = LONGEST_MS;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        random = UINT32_MAX; /* no jitter is no harm */
    delay = (int64_t)((double)ceiling * ((double)random / (double)UINT32_MAX));
    if (retry_after_ms > RETRY_AFTER_LONGEST_MS)
        retry_after_ms = RETRY_AFTER_LONGEST_MS;
    return retry_after_ms > 0 ? retry_after_ms + delay / 4 : delay;
}

void outage_failed(struct outage *outage, const char *url, const char *cause, bool probe,
                   int64_t retry_after_ms, int64_t now_ms)
{
    int64_t next_ms;

    outage->tried = true;
    (void)snprintf(outage->cause, sizeof outage->cause, "%s", cause);
    if (!outage->on) {
        log_warning("server %s: not reachable (%s), trying again", url, cause);
        outage->on = true;
        outage->since_ms = outage->patient_since_ms = now_ms;
        outage->next_ms = 0;
        outage->failures = 1;
        outage->given_up = false;
    } else if (probe) {
        outage->failures++;
        log_debug("server %s: still not reachable (%s)", url, cause);
    } else if (retry_after_ms == 0) {
        return; /* one of those that were in flight when it began */
    }
    next_ms = now_ms + outage_delay_ms(outage->failures, retry_after_ms);
    if (next_ms > outage->next_ms)
        outage->next_ms = next_ms;
}

void outage_answered(struct outage *outage, const char *url, int64_t now_ms)
{
    if (!outage->on)
        return;
    log_info("server %s: reachable again after %lld s", url,
             (long long)(now_ms - outage->since_ms + 500) / 1000);
    memset(outage, 0, sizeof *outage);
}
