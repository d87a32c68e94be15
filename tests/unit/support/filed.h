/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A deployment, a medium (a folder), and the store of one station of it, for tests of export and import.
 */
#ifndef BODA_TESTS_UNIT_SUPPORT_FILED_H
#define BODA_TESTS_UNIT_SUPPORT_FILED_H

#include "store/batches.h"
#include "tests/unit/support/deployment.h"

struct filed {
    struct deployment *deployment;
    char *stores; /* below it each station's store */
    char *medium; /* the folder */
    struct store *store;
    struct error error;
};

/* For cmocka_unit_test_setup_teardown: *STATE is one with the store of courier "c1". */
int filed_set_up(void **state);
int filed_tear_down(void **state);

/* Go on with the store of another station, or of the same with a QUOTA. */
void filed_station(struct filed *f, const char *station, const char *role, uint64_t quota_bytes);

/* A batch of SIGNER (as "server" when it is the server) to RECIPIENT, appended to BYTES. */
void filed_seal(struct filed *f, const struct identity *signer, const struct identity *recipient,
                uint64_t seq, const char *kind, struct buffer *bytes, struct label *label);

/* Such a batch in the store, held. */
void filed_hold(struct filed *f, const struct identity *signer, const struct identity *recipient,
                uint64_t seq, struct label *label);

/* The store has the deployment's newest revocation list, which DER (empty) gets, and knows its CA. */
void filed_give_list(struct filed *f, struct buffer *der);

/* The file PATH of the medium, as whoever else would write it; the folders in it are made. */
void filed_put(const struct filed *f, const char *path, const void *bytes, size_t size);

/* "TO/NAME" of a batch, as it is exported, and "FOLDER/NAME"; free it. */
char *filed_name(const struct label *label);
char *filed_name_in(const struct label *label, const char *folder);

/* Whether PATH is there with these bytes; BYTES NULL: at all. */
bool filed_has(const struct filed *f, const char *path, const void *bytes, size_t size);

/* How many files the folder PATH of the medium has, in folders too. */
unsigned filed_count(const struct filed *f, const char *path);

/* How many batches of the store have this state. */
uint64_t filed_batches(struct filed *f, enum batch_state state);

#endif
