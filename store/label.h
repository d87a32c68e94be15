/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The label of a batch: what travels beside it in clear.  Only advice, until the batch is opened and
 * its signed manifest agrees (docs/design.md, "The batch").
 */
#ifndef BODA_STORE_LABEL_H
#define BODA_STORE_LABEL_H

#include "store/store.h"

#define BATCH_ID_BYTES 32           /* SHA-256 of the batch's bytes */
#define BATCH_ID_TEXT_BYTES 65      /* in hex, with its zero */
#define BATCH_MAX_BYTES (40u << 20) /* no batch is larger: one 32 MB document, sealed */

struct label {
    unsigned char id[BATCH_ID_BYTES];
    char from[STORE_NAME_BYTES];
    char to[STORE_NAME_BYTES];
    char epoch[STORE_EPOCH_BYTES];
    uint64_t seq;  /* from 1, below 2^53; 0: unnumbered (receipts: a later one makes up for it) */
    uint64_t size; /* bytes, 1..BATCH_MAX_BYTES */
};

/* 0, or -1 with ERROR_FAILED that says what is wrong with the label: names (1..64 of [a-z0-9._-],
 * first one alphanumeric), epoch (16 lower-case hex digits), seq, size. */
int label_check(const struct label *label, struct error *error);

/* They say the same of a batch; its id is not compared. */
bool label_same(const struct label *a, const struct label *b);

#endif
