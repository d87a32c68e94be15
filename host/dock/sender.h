/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Fills requests with documents and keeps several in flight, within a bound on memory; hands those that
 * have ended to the tally, and remembers which users and databases the server does not let in.
 */
#ifndef BODA_HOST_DOCK_SENDER_H
#define BODA_HOST_DOCK_SENDER_H

#include <stdatomic.h>

#include "host/dock/tally.h"

struct sender_options {
    struct cht *cht;
    struct tally *tally;
    const char *db; /* what "medic" is called on the server */
    unsigned most_docs;
    size_t most_bytes;
    unsigned parallel;
    const atomic_bool *stop; /* may be NULL */
};

struct sender;

struct sender *sender_new(const struct sender_options *options, struct error *error);

void sender_free(struct sender *sender); /* after sender_abandon; NULL is harmless */

/* Wait for the answers that are under way, go no step further, and write what is settled. */
void sender_abandon(struct sender *sender);

/* Add a document (JSON NULL: only ask for it) of BATCH, waiting for room when there is none.  What a user
 * who is blocked would send is left out.  -1: the run has to end. */
int sender_add(struct sender *sender, const struct cht_user *user, const char *db, uint32_t batch,
               const char *id, const char *rev, const char *json, size_t length,
               struct error *error);

/* The same for a document of the next wave, which the server is asked for, but which is not sent before
 * sender_next_wave; the caller has asked
 * sender_may_defer before whether there is room for DOCS more of them with LENGTH bytes. */
bool sender_may_defer(const struct sender *sender, uint64_t docs, size_t length);
int sender_defer(struct sender *sender, const struct cht_user *user, const char *db, uint32_t batch,
                 const char *id, const char *rev, const char *json, size_t length,
                 struct error *error);

/* Send what was added, wait until nothing of it is left to be sent (its proofs may be out), and let the
 * next wave begin: what was deferred is sent, and what is added from now on.  ALL: nothing more of the
 * next wave will be added. */
int sender_next_wave(struct sender *sender, bool all, struct error *error);

/* Drive what is in flight for at most TIMEOUT_MS, and write what is settled.  -1: the run has to end. */
int sender_step(struct sender *sender, int timeout_ms, struct error *error);

/* Send what was added, wait for all of it, and write it. */
int sender_drain(struct sender *sender, struct error *error);

bool sender_blocked(const struct sender *sender, const struct cht_user *user, const char *db);

/* Someone's batches stay held because of ERROR: the first such is what the run ends with. */
void sender_note(struct sender *sender, const struct error *error);
const struct error *sender_noted(const struct sender *sender); /* NULL: none */

const struct request_shared *sender_counts(const struct sender *sender);

#endif
