/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Inside of store/ only: rows of the table `batch`.
 */
#ifndef BODA_STORE_ROWS_H
#define BODA_STORE_ROWS_H

#include "store/batches.h"
#include "store/statement.h"

/* The columns that rows_read reads, in its order. */
#define ROWS_COLUMNS \
    "key, id, source, destination, epoch, seq, size, state, position, here, released"

struct row {
    int64_t key;
    struct batch batch;
};

void rows_read(const struct statement *s, struct row *row);

/* 1 found, 0 not there, -1. */
int rows_find(struct store *store, const unsigned char *id, struct row *row, struct error *error);

/* As rows_find, within a transaction, but -1 when it is not there. */
int rows_need(struct store *store, const unsigned char *id, struct row *row, struct error *error);

/* The next position, in this transaction, which holds the write lock. */
int rows_take_position(struct store *store, int64_t *position, struct error *error);

/* Insert a row unless its id is there; *INSERTED says which.  POSITION 0: none. */
int rows_insert(struct store *store, const struct label *label, enum batch_state state,
                uint64_t here, int64_t position, int64_t *key, bool *inserted, struct error *error);

/* ROW gets STATE, HERE bytes and POSITION (0: as it is), and the source's account the difference. */
int rows_update(struct store *store, const struct row *row, enum batch_state state, uint64_t here,
                int64_t position, const char *reason, struct error *error);

/* -1 with "batch ID: WORDS". */
int rows_fault(const unsigned char *id, const char *words, struct error *error);

/* TEXT, or NULL for an empty one: a member of a struct batch_filter as SQL takes it. */
const char *rows_given(const char *text);

#endif
