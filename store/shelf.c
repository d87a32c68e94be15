/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/shelf.h"

#include "store/rows.h"
#include "store/station.h"

#define COLUMNS "s.seq, s.doc, s.rev, s.deleted, b.id, s.at, s.size"
#define TABLES "shelf AS s JOIN batch AS b ON b.key = s.batch"

/* As CouchDB chooses: of one generation, the texts are in the order of their digests. */
#define WINNING_FIRST "s.deleted, CAST(s.rev AS INTEGER) DESC, s.rev DESC"

static void read_doc(const struct statement *s, struct shelf_doc *doc)
{
    doc->seq = sqlite3_column_int64(s->handle, 0);
    statement_get_text(s, 1, doc->id, sizeof doc->id);
    statement_get_text(s, 2, doc->rev, sizeof doc->rev);
    doc->deleted = sqlite3_column_int(s->handle, 3) != 0;
    statement_get_blob(s, 4, doc->batch, BATCH_ID_BYTES);
    doc->at = (uint64_t)sqlite3_column_int64(s->handle, 5);
    doc->size = (uint64_t)sqlite3_column_int64(s->handle, 6);
}

/* ---- changes -------------------------------------------------------------------------------------- */

/* Which of the document's rows is the latest. */
static int settle(struct store *store, const char *db, const char *id, struct error *error)
{
    static const char SETTLE[] =
        "UPDATE shelf SET latest = 1 - latest WHERE db = ?1 AND doc = ?2"
        " AND latest <> (seq = (SELECT max(seq) FROM shelf WHERE db = ?1 AND doc = ?2))";
    struct statement s = statement_start(store, SETTLE);

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    return statement_run(&s, error);
}

static int insert(struct store *store, const char *db, const struct shelf_doc *doc,
                  struct error *error)
{
    static const char INSERT[] =
        "INSERT INTO shelf (db, doc, rev, deleted, batch, at, size)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (db, doc, rev) DO NOTHING";
    struct statement s;
    struct row row;

    if (rows_need(store, doc->batch, &row, error) != 0)
        return -1;
    s = statement_start(store, INSERT);
    statement_text(&s, 1, db);
    statement_text(&s, 2, doc->id);
    statement_text(&s, 3, doc->rev);
    statement_integer(&s, 4, doc->deleted);
    statement_integer(&s, 5, row.key);
    statement_integer(&s, 6, (int64_t)doc->at);
    statement_integer(&s, 7, (int64_t)doc->size);
    return statement_run(&s, error);
}

static int drop_ancestor(struct store *store, const char *db, const char *id, const char *rev,
                         struct error *error)
{
    static const char DROP[] = "DELETE FROM shelf WHERE db = ?1 AND doc = ?2 AND rev = ?3";
    struct statement s = statement_start(store, DROP);

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    statement_text(&s, 3, rev);
    return statement_run(&s, error) != 0 ? -1 : revs_forget(store, db, id, rev, error);
}

int shelf_put(struct store *store, const char *db, const struct shelf_doc *doc,
              const char *const *ancestors, size_t count, struct error *error)
{
    if (insert(store, db, doc, error) != 0 || revs_add(store, db, doc->id, doc->rev, error) != 0)
        return -1;
    return shelf_replaced(store, db, doc->id, ancestors, count, error);
}

int shelf_replaced(struct store *store, const char *db, const char *id,
                   const char *const *ancestors, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++)
        if (drop_ancestor(store, db, id, ancestors[i], error) != 0)
            return -1;
    return settle(store, db, id, error);
}

int shelf_drop(struct store *store, const char *db, const char *id, const char *rev,
               struct error *error)
{
    static const char DROP[] =
        "DELETE FROM shelf WHERE db = ?1 AND doc = ?2"
        " AND (?3 IS NULL OR CAST(rev AS INTEGER) < CAST(?3 AS INTEGER)) RETURNING rev";
    char dropped[DOC_REV_BYTES];
    struct statement s;
    int result;

    if (statement_need_transaction(store, error) != 0)
        return -1;
    s = statement_start(store, DROP);
    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    statement_text(&s, 3, rev);
    /* The first step has deleted all of them (sqlite.org/lang_returning, "Processing Order"). */
    while ((result = statement_step(&s, error)) == 1) {
        statement_get_text(&s, 0, dropped, sizeof dropped);
        if (revs_lost(store, db, id, dropped, error) < 0) {
            statement_end(&s);
            return -1;
        }
    }
    return result != 0 ? -1 : settle(store, db, id, error);
}

int shelf_sweep(struct store *store, struct error *error)
{
    static const char NEXT[] =
        "SELECT b.key, b.id FROM batch AS b INDEXED BY batch_kept"
        " WHERE b.state = 3 AND b.here > 0 AND b.source = ?1 AND b.key > ?2"
        " AND NOT EXISTS (SELECT 1 FROM shelf AS s WHERE s.batch = b.key) ORDER BY b.key LIMIT 1";
    unsigned char id[BATCH_ID_BYTES];
    struct statement s;
    int64_t key = 0;
    int result;

    for (;;) {
        s = statement_start(store, NEXT);
        statement_text(&s, 1, SERVER_NAME);
        statement_integer(&s, 2, key);
        result = statement_step(&s, error);
        if (result != 1)
            return result;
        key = sqlite3_column_int64(s.handle, 0);
        statement_get_blob(&s, 1, id, sizeof id);
        statement_end(&s);
        if (batches_drop_bytes(store, id, error) != 0)
            return -1;
    }
}

/* ---- questions ------------------------------------------------------------------------------------ */

int shelf_find(struct store *store, const char *db, const char *id, const char *rev,
               struct shelf_doc *out, struct error *error)
{
    static const char FIND[] =
        "SELECT " COLUMNS " FROM " TABLES " WHERE s.db = ?1 AND s.doc = ?2 AND s.rev = ?3";
    static const char WINNING[] =
        "SELECT " COLUMNS " FROM " TABLES " WHERE s.db = ?1 AND s.doc = ?2 ORDER BY " WINNING_FIRST
        " LIMIT 1";
    struct statement s = statement_start(store, rev != NULL ? FIND : WINNING);
    int result;

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    if (rev != NULL)
        statement_text(&s, 3, rev);
    result = statement_step(&s, error);
    if (result == 1) {
        read_doc(&s, out);
        statement_end(&s);
    }
    return result;
}

int shelf_each(struct store *store, const char *db, const char *id,
               int (*show)(const struct shelf_doc *doc, void *context), void *context,
               struct error *error)
{
    static const char EACH[] =
        "SELECT " COLUMNS " FROM " TABLES " WHERE s.db = ?1 AND s.doc = ?2 ORDER BY " WINNING_FIRST;
    struct statement s = statement_start(store, EACH);
    struct shelf_doc doc;
    int result;

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    while ((result = statement_step(&s, error)) == 1) {
        read_doc(&s, &doc);
        result = show(&doc, context);
        if (result != 0)
            break;
    }
    statement_end(&s);
    return result;
}

int shelf_next(struct store *store, const char *db, int64_t after, bool descending,
               struct shelf_doc *out, struct error *error)
{
    static const char NEXT[] = "SELECT seq, doc FROM shelf INDEXED BY shelf_latest"
                               " WHERE latest = 1 AND db = ?1 AND seq > ?2 ORDER BY seq LIMIT 1";
    static const char BEFORE[] =
        "SELECT seq, doc FROM shelf INDEXED BY shelf_latest"
        " WHERE latest = 1 AND db = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 1";
    struct statement s = statement_start(store, descending ? BEFORE : NEXT);
    char id[DOC_ID_BYTES];
    int64_t seq;
    int result;

    statement_text(&s, 1, db);
    statement_integer(&s, 2, descending && after == 0 ? INT64_MAX : after);
    result = statement_step(&s, error);
    if (result != 1)
        return result;
    seq = sqlite3_column_int64(s.handle, 0);
    statement_get_text(&s, 1, id, sizeof id);
    statement_end(&s);
    result = shelf_find(store, db, id, NULL, out, error);
    out->seq = seq;
    return result;
}

/* The number that SQL (?1 the database, ?2 a number) gives. */
static int number(struct store *store, const char *sql, const char *db, int64_t after,
                  int64_t *value, struct error *error)
{
    struct statement s = statement_start(store, sql);

    statement_text(&s, 1, db);
    statement_integer(&s, 2, after);
    if (statement_step(&s, error) != 1)
        return -1;
    *value = sqlite3_column_int64(s.handle, 0);
    statement_end(&s);
    return 0;
}

int shelf_last(struct store *store, const char *db, int64_t *seq, struct error *error)
{
    static const char LAST[] = "SELECT max(seq) FROM shelf INDEXED BY shelf_latest"
                               " WHERE latest = 1 AND db = ?1 AND seq > ?2";

    return number(store, LAST, db, 0, seq, error);
}

int shelf_pending(struct store *store, const char *db, int64_t after, uint64_t *count,
                  struct error *error)
{
    static const char PENDING[] = "SELECT count(*) FROM shelf INDEXED BY shelf_latest"
                                  " WHERE latest = 1 AND db = ?1 AND seq > ?2";

    return number(store, PENDING, db, after, (int64_t *)count, error);
}
