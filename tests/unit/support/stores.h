/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Stores and batches for tests.
 */
#ifndef BODA_TESTS_SUPPORT_STORES_H
#define BODA_TESTS_SUPPORT_STORES_H

#include "store/batches.h"

/* Print ERROR's text and fail the test unless OK. */
#define STORES_OK(condition, error) stores_ok((condition), (error), #condition, __FILE__, __LINE__)
void stores_ok(bool ok, const struct error *error, const char *what, const char *file, int line);

/* A courier's store "c1" in DIRECTORY; short busy time-out, small reserve. */
struct store *stores_open(const char *directory);

/* SIZE bytes that depend on SEED alone, and their label: from FROM to TO, number SEQ of one epoch.
 * Free the bytes. */
unsigned char *stores_bytes(unsigned seed, size_t size);
unsigned char *stores_batch(struct label *label, const char *from, const char *to, uint64_t seq,
                            unsigned seed, size_t size);
#define STORES_EPOCH "00000000000000e1"

/* Make a batch and add it in a transaction of its own. */
void stores_add(struct store *store, struct label *label, const char *from, const char *to,
                uint64_t seq, unsigned seed, size_t size);

/* A number of pseudo-random ones; *STATE is the seed. */
uint64_t stores_random(uint64_t *state);

/* A seed for this run, printed, or the one in the variable BODA_TEST_SEED. */
uint64_t stores_seed(void);

#endif
