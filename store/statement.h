/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Inside of store/ only: the connection, and prepared statements on it.
 *
 * SQL stands beside the function that needs it, as a static string; a statement is prepared when it
 * is first started and kept, keyed by the string's address, until the store is closed.
 *
 *     struct statement s = statement_start(store, FIND);
 *     statement_blob(&s, 1, id, BATCH_ID_BYTES);
 *     result = statement_step(&s, error);        1 a row, 0 no more, -1
 *     ... sqlite3_column_*(s.handle, n), then
 *     statement_end(&s);
 *
 * Errors stick until statement_step, which tells them.  When SQLite fails within a write transaction,
 * all of it is rolled back at once: some of SQLite's own errors do that (sqlite.org/lang_transaction,
 * "Response To Errors Within A Transaction"), and so the caller has one case to think of.
 */
#ifndef BODA_STORE_STATEMENT_H
#define BODA_STORE_STATEMENT_H

#include <limits.h>
#include <sqlite3.h>

#include "store/store.h"

#define STATEMENT_SLOTS 256 /* more than twice the number of statements that there are */
#define STORE_ROLE_BYTES 16

struct store {
    sqlite3 *db;
    char directory[PATH_MAX - 64];
    char path[PATH_MAX]; /* of boda.db */
    int lock;            /* descriptor of boda.lock, or -1 */
    bool alone;          /* no other program has the store open; while opening only */
    bool read_only;
    int busy_ms;
    uint64_t quota_bytes, reserve_bytes;

    char uuid[STORE_UUID_BYTES];
    char epoch[STORE_EPOCH_BYTES];
    char station[STORE_NAME_BYTES];
    char role[STORE_ROLE_BYTES];

    bool writing;          /* between store_begin and its end */
    int changes_before;    /* sqlite3_total_changes at store_begin */
    uint32_t commits;      /* of this connection, that changed something */
    int64_t next_position; /* within a transaction; 0: not looked up yet */
    int64_t now;           /* seconds of the wall clock at store_begin, for people */

    /* Stored bytes of one source not yet in the table `usage`: see chunks.h. */
    char usage_source[STORE_NAME_BYTES];
    int64_t usage_bytes;

    struct {
        const char *sql;
        sqlite3_stmt *handle;
    } slots[STATEMENT_SLOTS];
};

struct statement {
    struct store *store;
    sqlite3_stmt *handle;
    int status;  /* SQLITE_OK until something fails */
    bool cached; /* else it is finalized at its end: the kept one was in use */
};

struct statement statement_start(struct store *store, const char *sql);

/* Bind a value.  Text and bytes are borrowed until statement_end; NULL text is SQL's NULL. */
void statement_text(struct statement *statement, int index, const char *text);
void statement_integer(struct statement *statement, int index, int64_t value);
void statement_blob(struct statement *statement, int index, const void *bytes, size_t size);

/* 1: a row is there; 0: no more, -1: both end the statement. */
int statement_step(struct statement *statement, struct error *error);
void statement_end(struct statement *statement); /* twice is harmless */

/* Run a statement that changes something and gives no rows, then end it.  -1 outside a write
 * transaction. */
int statement_run(struct statement *statement, struct error *error);

/* 0, or -1 with a message when no write transaction is open (or a failure has ended it). */
int statement_need_transaction(struct store *store, struct error *error);

/* Copy a text column, cut to SIZE bytes with its zero; NULL is "". */
void statement_get_text(const struct statement *statement, int column, char *text, size_t size);
/* Copy a blob column of exactly SIZE bytes; zeroes when it has another size. */
void statement_get_blob(const struct statement *statement, int column, void *bytes, size_t size);

/* Run SQL that takes no values and gives no rows of interest (schema, pragmas, BEGIN). */
int statement_script(struct store *store, const char *sql, struct error *error);

/* The first column of the first row of SQL, a number; for pragmas. */
int statement_number(struct store *store, const char *sql, int64_t *number, struct error *error);

/* Put SQLite's STATUS into words and our kinds, and roll back what is open.  Returns -1. */
int statement_fail(struct store *store, int status, struct error *error);

void statement_close_all(struct store *store);

#endif
