/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Inside of cht only: so many transfers in flight at once, by libcurl's multi interface.
 */
#ifndef BODA_HOST_DOCK_SLOTS_H
#define BODA_HOST_DOCK_SLOTS_H

#include "base/buffer.h"
#include "host/dock/jobs.h"
#include "host/dock/transfer.h"

enum flight_use { FLIGHT_NONE, FLIGHT_JOB, FLIGHT_LOGIN, FLIGHT_PROBE };

/* What a transfer is for. */
struct flight {
    enum flight_use use;
    struct job *job;     /* FLIGHT_JOB */
    struct login *login; /* FLIGHT_LOGIN */
    struct buffer body;  /* FLIGHT_LOGIN: has a password in it */
};

struct slots;

/* COUNT of them; URL and CA_FILE (may be NULL) are borrowed. */
struct slots *slots_new(const char *url, const char *ca_file, unsigned count, struct error *error);
void slots_free(struct slots *slots); /* cuts off and frees what is in flight; NULL is harmless */

size_t slots_busy(const struct slots *slots);
bool slots_full(const struct slots *slots);

/* Send ASK; not while all are in flight.  With 0 job and body are in the hands of SLOTS until the
 * flight's end, when the body is cleansed. */
int slots_start(struct slots *slots, const struct flight *flight, const struct transfer_ask *ask,
                struct error *error);

/* Send and receive what goes without waiting. */
int slots_perform(struct slots *slots, struct error *error);

/* Wait until there is something to send or receive, at most MS. */
int slots_wait(struct slots *slots, int ms, struct error *error);

/* The next flight that has come to its end: what it was (the job is the caller's again) and RESULT,
 * which is good until something is started or this is called again. */
bool slots_end(struct slots *slots, struct flight *flight, struct transfer_result *result);

/* The next flight, cut off wherever it is. */
bool slots_cut(struct slots *slots, struct flight *flight);

#endif
