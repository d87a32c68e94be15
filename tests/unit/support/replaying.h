/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A dock that replays, for tests: a deployment, a store with batches of a test's making, a scripted server.
 */
#ifndef BODA_TESTS_UNIT_SUPPORT_REPLAYING_H
#define BODA_TESTS_UNIT_SUPPORT_REPLAYING_H

#include "host/dock/replay.h"
#include "host/dock/users.h"
#include "store/batch.h"
#include "store/ledger.h"
#include "tests/unit/support/couch.h"
#include "tests/unit/support/deployment.h"

struct replaying {
    char *folder;
    struct deployment *deployment;
    struct store *store;
    struct trust *trust;
    struct couch *couch;
    struct cht *cht;
    struct users *users;
    struct replay_options options;
    struct replay_counts counts;
    struct error error;
    uint64_t seq;
};

/* cmocka's set-up and tear-down: *STATE is a struct replaying. Users chw1 and chw2; patience 1 s. */
int replaying_setup(void **state);
int replaying_teardown(void **state);

/* A new connection, as after a start of the dock; PATIENCE_S for outages. */
void replaying_connect(struct replaying *r, int patience_s);

/* Seal LINES ("DOC\nDOC\n") as a batch of SIGNER for DB and add it. LABEL may be NULL. */
void replaying_add(struct replaying *r, const struct identity *signer, const char *db,
                   const char *lines, struct label *label);

/* The same for a document with this id, of revision "1-" and the id, with MORE (",\"x\":1") in it. */
void replaying_doc(struct replaying *r, const char *type, const char *id, const char *more);

/* COUNT such documents PREFIX0, PREFIX1, ... in one batch, with MORE in each whose number modulo EACH is
 * WHICH. */
void replaying_docs(struct replaying *r, const char *type, const char *prefix, int count, int each,
                    int which, const char *more);

/* Text of such a document, to be freed. */
char *replaying_text(const char *type, const char *id, const char *rev, const char *more);

/* Run; the result and counts are in R, which is printed when RESULT differs from what is expected. */
void replaying_run(struct replaying *r, int expected);

/* How many batches addressed to the server are in this state, and refusals in the ledger. */
uint64_t replaying_batches(struct replaying *r, enum batch_state state);
uint64_t replaying_refusals(struct replaying *r);

/* The first refusal of the document: false if there is none. */
bool replaying_refusal(struct replaying *r, const char *id, struct refusal *out);

#endif
