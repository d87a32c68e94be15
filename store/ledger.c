/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/ledger.h"

#include <string.h>

#include "store/statement.h"

#define COLUMNS "number, source, epoch, seq, batch, db, doc, rev, error, reason, retry"

/* ---- recording ------------------------------------------------------------------------------------ */

/* No refusal of batch ID is open any more: its kept bytes go. */
static int let_go(struct store *store, const unsigned char *id, struct error *error)
{
    static const char OPEN[] = "SELECT 1 FROM refusal WHERE batch = ?1 LIMIT 1";
    struct statement s = statement_start(store, OPEN);
    struct batch batch;
    int result;

    statement_blob(&s, 1, id, BATCH_ID_BYTES);
    result = statement_step(&s, error);
    statement_end(&s);
    if (result != 0)
        return result < 0 ? -1 : 0;
    /* The tablet knows the refusal without the batch; a dock may still have it before it. */
    result = batches_find(store, id, &batch, error);
    if (result == 1 && batch.state == BATCH_APPLIED && batch.offset > 0)
        return batches_drop_bytes(store, id, error);
    return result < 0 ? -1 : 0;
}

/* The refusal of this very document that is there: 1 with its NUMBER and BATCH. */
static int find(struct store *store, const struct refusal *refusal, int64_t *number,
                unsigned char *batch, struct error *error)
{
    static const char FIND[] = "SELECT number, batch FROM refusal"
                               " WHERE source = ?1 AND db = ?2 AND doc = ?3 AND rev = ?4";
    struct statement s = statement_start(store, FIND);
    int result;

    statement_text(&s, 1, refusal->from);
    statement_text(&s, 2, refusal->db);
    statement_text(&s, 3, refusal->id);
    statement_text(&s, 4, refusal->rev);
    result = statement_step(&s, error);
    if (result == 1) {
        *number = sqlite3_column_int64(s.handle, 0);
        statement_get_blob(&s, 1, batch, BATCH_ID_BYTES);
        statement_end(&s);
    }
    return result;
}

int ledger_refuse(struct store *store, const struct refusal *refusal, struct error *error)
{
    /* Found first rather than by ON CONFLICT, which uses up a number of AUTOINCREMENT. */
    static const char RECORD[] =
        "INSERT INTO refusal (source, epoch, seq, batch, db, doc, rev, error, reason, retry)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    static const char REPLACE[] =
        "UPDATE refusal SET epoch = ?2, seq = ?3, batch = ?4, error = ?8, reason = ?9, retry = ?10"
        " WHERE source = ?1 AND db = ?5 AND doc = ?6 AND rev = ?7";
    unsigned char before[BATCH_ID_BYTES];
    struct statement s;
    int64_t number;
    int found;

    found = find(store, refusal, &number, before, error);
    if (found < 0)
        return -1;
    s = statement_start(store, found == 1 ? REPLACE : RECORD);
    statement_text(&s, 1, refusal->from);
    statement_text(&s, 2, refusal->epoch);
    statement_integer(&s, 3, (int64_t)refusal->seq);
    statement_blob(&s, 4, refusal->batch, BATCH_ID_BYTES);
    statement_text(&s, 5, refusal->db);
    statement_text(&s, 6, refusal->id);
    statement_text(&s, 7, refusal->rev);
    statement_text(&s, 8, refusal->error);
    statement_text(&s, 9, refusal->reason);
    statement_integer(&s, 10, refusal->retry ? 1 : 0);
    if (statement_run(&s, error) != 0)
        return -1;
    if (found == 1 && memcmp(before, refusal->batch, BATCH_ID_BYTES) != 0)
        return let_go(store, before, error);
    return 0;
}

/* ---- settling ------------------------------------------------------------------------------------- */

/* Drop refusal NUMBER, whose batch is ID. */
static int drop(struct store *store, int64_t number, const unsigned char *id, struct error *error)
{
    static const char DROP[] = "DELETE FROM refusal WHERE number = ?1";
    struct statement s = statement_start(store, DROP);

    statement_integer(&s, 1, number);
    if (statement_run(&s, error) != 0)
        return -1;
    return let_go(store, id, error);
}

/* Step S, which selects (number, batch) of refusals, and drop what it finds: 1, 0 nothing, -1. */
static int drop_found(struct store *store, struct statement *s, struct error *error)
{
    unsigned char id[BATCH_ID_BYTES];
    int64_t number;
    int result;

    result = statement_step(s, error);
    if (result != 1)
        return result;
    number = sqlite3_column_int64(s->handle, 0);
    statement_get_blob(s, 1, id, BATCH_ID_BYTES);
    statement_end(s);
    return drop(store, number, id, error) == 0 ? 1 : -1;
}

int ledger_accept(struct store *store, const char *from, const char *db, const char *id,
                  const char *rev, struct error *error)
{
    /* A rev begins with its generation, which is all that CAST reads of it. */
    static const char FIND[] =
        "SELECT number, batch FROM refusal WHERE source = ?1 AND db = ?2 AND doc = ?3"
        " AND (?4 = '' OR rev = ?4 OR CAST(rev AS INTEGER) < CAST(?4 AS INTEGER)) LIMIT 1";
    struct statement s;
    int result;

    if (statement_need_transaction(store, error) != 0)
        return -1;
    do {
        s = statement_start(store, FIND);
        statement_text(&s, 1, from);
        statement_text(&s, 2, db);
        statement_text(&s, 3, id);
        statement_text(&s, 4, rev);
        result = drop_found(store, &s, error);
    } while (result == 1);
    return result;
}

int ledger_dismiss(struct store *store, int64_t number, struct error *error)
{
    static const char FIND[] = "SELECT number, batch FROM refusal WHERE number = ?1";
    struct statement s;

    if (statement_need_transaction(store, error) != 0)
        return -1;
    s = statement_start(store, FIND);
    statement_integer(&s, 1, number);
    return drop_found(store, &s, error);
}

int ledger_clear(struct store *store, const char *from, const char *epoch, struct error *error)
{
    static const char FIND[] = "SELECT number, batch FROM refusal INDEXED BY refusal_source"
                               " WHERE source = ?1 AND epoch = ?2 LIMIT 1";
    struct statement s;
    int result;

    if (statement_need_transaction(store, error) != 0)
        return -1;
    do {
        s = statement_start(store, FIND);
        statement_text(&s, 1, from);
        statement_text(&s, 2, epoch);
        result = drop_found(store, &s, error);
    } while (result == 1);
    return result;
}

int ledger_retry(struct store *store, int64_t number, uint64_t *count, struct error *error)
{
    static const char ONE[] = "UPDATE refusal SET retry = 1 WHERE number = ?1";
    static const char ALL[] = "UPDATE refusal SET retry = 1";
    struct statement s = statement_start(store, number == 0 ? ALL : ONE);

    *count = 0;
    if (number != 0)
        statement_integer(&s, 1, number);
    if (statement_run(&s, error) != 0)
        return -1;
    *count = (uint64_t)sqlite3_changes(store->db);
    return 0;
}

/* ---- walking -------------------------------------------------------------------------------------- */

static int step_refusal(struct statement *s, struct refusal *out, struct error *error)
{
    int result = statement_step(s, error);

    if (result != 1)
        return result;
    memset(out, 0, sizeof *out);
    out->number = sqlite3_column_int64(s->handle, 0);
    statement_get_text(s, 1, out->from, sizeof out->from);
    statement_get_text(s, 2, out->epoch, sizeof out->epoch);
    out->seq = (uint64_t)sqlite3_column_int64(s->handle, 3);
    statement_get_blob(s, 4, out->batch, BATCH_ID_BYTES);
    statement_get_text(s, 5, out->db, sizeof out->db);
    statement_get_text(s, 6, out->id, sizeof out->id);
    statement_get_text(s, 7, out->rev, sizeof out->rev);
    statement_get_text(s, 8, out->error, sizeof out->error);
    statement_get_text(s, 9, out->reason, sizeof out->reason);
    out->retry = sqlite3_column_int(s->handle, 10) != 0;
    statement_end(s);
    return 1;
}

int ledger_next(struct store *store, int64_t after, bool retry_only, struct refusal *out,
                struct error *error)
{
    static const char NEXT[] =
        "SELECT " COLUMNS " FROM refusal WHERE number > ?1 ORDER BY number LIMIT 1";
    static const char RETRY[] = "SELECT " COLUMNS " FROM refusal INDEXED BY refusal_retry"
                                " WHERE retry = 1 AND number > ?1 ORDER BY number LIMIT 1";
    struct statement s = statement_start(store, retry_only ? RETRY : NEXT);

    statement_integer(&s, 1, after);
    return step_refusal(&s, out, error);
}

int ledger_next_of(struct store *store, const char *from, const char *epoch, int64_t after,
                   struct refusal *out, struct error *error)
{
    static const char NEXT[] = "SELECT " COLUMNS " FROM refusal INDEXED BY refusal_source"
                               " WHERE source = ?1 AND epoch = ?2 AND number > ?3"
                               " ORDER BY number LIMIT 1";
    struct statement s = statement_start(store, NEXT);

    statement_text(&s, 1, from);
    statement_text(&s, 2, epoch);
    statement_integer(&s, 3, after);
    return step_refusal(&s, out, error);
}
