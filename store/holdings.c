/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/holdings.h"

#include <stdio.h>
#include <string.h>

#include "store/rows.h"
#include "store/station.h"

/* What comes in is gathered in tables of the connection's own temporary database, and compared with what is in the
 * store at the end: what has not changed is not written again.  All queries walk primary keys. */
static const char GATHER_LISTED[] =
    "CREATE TEMP TABLE IF NOT EXISTS listed_now ("
    " doc TEXT NOT NULL, rev TEXT NOT NULL, PRIMARY KEY (doc, rev)) WITHOUT ROWID;"
    "DELETE FROM temp.listed_now;";
static const char GATHER_HELD[] = "CREATE TEMP TABLE IF NOT EXISTS held_now ("
                                  " db TEXT NOT NULL, doc TEXT NOT NULL, rev TEXT NOT NULL,"
                                  " PRIMARY KEY (db, doc, rev)) WITHOUT ROWID;"
                                  "DELETE FROM temp.held_now;";

/* Run S, a change: how many rows it changed, or -1. */
static int64_t run_count(struct store *store, struct statement *s, struct error *error)
{
    return statement_run(s, error) != 0 ? -1 : sqlite3_changes64(store->db);
}

/* ---- what the tablet holds ------------------------------------------------------------------------ */

int holdings_begin(struct store *store, const char *tablet, struct error *error)
{
    (void)tablet;
    if (statement_need_transaction(store, error) != 0)
        return -1;
    return statement_script(store, GATHER_HELD, error);
}

int holdings_hold(struct store *store, const char *tablet, const char *db, const char *id,
                  const char *rev, struct error *error)
{
    static const char GATHER[] =
        "INSERT OR IGNORE INTO temp.held_now (db, doc, rev) VALUES (?1, ?2, ?3)";
    struct statement s = statement_start(store, GATHER);

    (void)tablet;
    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    statement_text(&s, 3, rev);
    return statement_run(&s, error);
}

int holdings_end(struct store *store, const char *tablet, bool complete, struct error *error)
{
    static const char DROP[] =
        "DELETE FROM holding WHERE tablet = ?1 AND NOT EXISTS (SELECT 1 FROM temp.held_now AS now"
        " WHERE now.db = holding.db AND now.doc = holding.doc AND now.rev = holding.rev)";
    static const char ADD[] =
        "INSERT INTO holding (tablet, db, doc, rev) SELECT ?1, db, doc, rev FROM temp.held_now"
        " WHERE true ON CONFLICT (tablet, db, doc, rev) DO NOTHING";
    struct statement s;

    if (complete) {
        s = statement_start(store, DROP);
        statement_text(&s, 1, tablet);
        if (statement_run(&s, error) != 0)
            return -1;
    }
    s = statement_start(store, ADD);
    statement_text(&s, 1, tablet);
    if (statement_run(&s, error) != 0)
        return -1;
    return statement_script(store, "DELETE FROM temp.held_now", error);
}

int holdings_sent_up(struct store *store, const char *tablet, const char *epoch, const char *db,
                     const char *id, const char *rev, struct error *error)
{
    static const char ADD[] =
        "INSERT INTO holding (tablet, db, doc, rev) SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS"
        " (SELECT 1 FROM receipt_seen WHERE source = ?1 AND epoch <> ?5)"
        " ON CONFLICT (tablet, db, doc, rev) DO NOTHING";
    struct statement s;

    if (statement_need_transaction(store, error) != 0)
        return -1;
    s = statement_start(store, ADD);
    statement_text(&s, 1, tablet);
    statement_text(&s, 2, db);
    statement_text(&s, 3, id);
    statement_text(&s, 4, rev);
    statement_text(&s, 5, epoch);
    return statement_run(&s, error);
}

/* ---- the listing ---------------------------------------------------------------------------------- */

/* 1 there is one, 0 not (LISTING is zeroes), -1. */
static int find_listing(struct store *store, const char *tablet, const char *db,
                        struct listing *listing, struct error *error)
{
    static const char FIND[] = "SELECT since, view_due FROM listing WHERE tablet = ?1 AND db = ?2";
    struct statement s = statement_start(store, FIND);
    int result;

    memset(listing, 0, sizeof *listing);
    statement_text(&s, 1, tablet);
    statement_text(&s, 2, db);
    result = statement_step(&s, error);
    if (result == 1) {
        statement_get_text(&s, 0, listing->since, sizeof listing->since);
        listing->view_due = sqlite3_column_int(s.handle, 1) != 0;
        statement_end(&s);
    }
    return result;
}

int holdings_listing(struct store *store, const char *tablet, const char *db,
                     struct listing *listing, struct error *error)
{
    return find_listing(store, tablet, db, listing, error) < 0 ? -1 : 0;
}

int holdings_set_listing(struct store *store, const char *tablet, const char *db,
                         const struct listing *listing, struct error *error)
{
    static const char SET[] =
        "INSERT INTO listing (tablet, db, since, view_due) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT (tablet, db) DO UPDATE SET since = ?3, view_due = ?4"
        " WHERE since <> ?3 OR view_due <> ?4";
    struct statement s = statement_start(store, SET);

    statement_text(&s, 1, tablet);
    statement_text(&s, 2, db);
    statement_text(&s, 3, listing->since);
    statement_integer(&s, 4, listing->view_due ? 1 : 0);
    return statement_run(&s, error);
}

int holdings_list_begin(struct store *store, struct error *error)
{
    return statement_script(store, GATHER_LISTED, error);
}

int holdings_list(struct store *store, const char *id, const char *rev, struct error *error)
{
    static const char GATHER[] = "INSERT OR IGNORE INTO temp.listed_now (doc, rev) VALUES (?1, ?2)";
    struct statement s = statement_start(store, GATHER);

    statement_text(&s, 1, id);
    statement_text(&s, 2, rev);
    return statement_step(&s, error) < 0 ? -1 : 0;
}

/* The listing becomes what was gathered: how many rows that changed, or -1. */
static int64_t take_over(struct store *store, const char *tablet, const char *db,
                         struct error *error)
{
    static const char DROP[] =
        "DELETE FROM listed WHERE tablet = ?1 AND db = ?2 AND NOT EXISTS"
        " (SELECT 1 FROM temp.listed_now AS now WHERE now.doc = listed.doc AND now.rev = listed.rev)";
    static const char ADD[] =
        "INSERT INTO listed (tablet, db, doc, rev) SELECT ?1, ?2, doc, rev FROM temp.listed_now"
        " WHERE true ON CONFLICT (tablet, db, doc, rev) DO NOTHING";
    struct statement s = statement_start(store, DROP);
    int64_t dropped, added;

    statement_text(&s, 1, tablet);
    statement_text(&s, 2, db);
    dropped = run_count(store, &s, error);
    if (dropped < 0)
        return -1;
    s = statement_start(store, ADD);
    statement_text(&s, 1, tablet);
    statement_text(&s, 2, db);
    added = run_count(store, &s, error);
    return added < 0 ? -1 : dropped + added;
}

int holdings_listed_all(struct store *store, const char *tablet, const char *db, bool *changed,
                        struct error *error)
{
    struct listing listing;
    int64_t changes;
    int found;

    if (store_begin(store, error) != 0)
        return -1;
    found = find_listing(store, tablet, db, &listing, error);
    changes = found < 0 ? -1 : take_over(store, tablet, db, error);
    if (changes < 0)
        goto fail;
    /* The first one is news even if it is empty. */
    if (changes > 0 || found == 0) {
        listing.view_due = true;
        if (holdings_set_listing(store, tablet, db, &listing, error) != 0)
            goto fail;
    }
    if (store_commit(store, error) != 0)
        return -1;
    if (changed != NULL)
        *changed = changes > 0 || found == 0;
    return statement_script(store, "DELETE FROM temp.listed_now", error);
fail:
    store_rollback(store);
    return -1;
}

static bool among(const char *rev, const char *const *revs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rev, revs[i]) == 0)
            return true;
    return false;
}

/* The next listed revision of ID behind REV, which becomes it: 1, 0, -1. */
static int next_leaf(struct store *store, const char *tablet, const char *db, const char *id,
                     char rev[DOC_REV_BYTES], struct error *error)
{
    static const char NEXT[] = "SELECT rev FROM listed WHERE tablet = ?1 AND db = ?2 AND doc = ?3"
                               " AND rev > ?4 ORDER BY rev LIMIT 1";
    struct statement s = statement_start(store, NEXT);
    char next[DOC_REV_BYTES];
    int result;

    statement_text(&s, 1, tablet);
    statement_text(&s, 2, db);
    statement_text(&s, 3, id);
    statement_text(&s, 4, rev);
    result = statement_step(&s, error);
    if (result == 1) {
        statement_get_text(&s, 0, next, sizeof next);
        statement_end(&s);
        memcpy(rev, next, sizeof next);
    }
    return result;
}

/* Run SQL, which changes the listed (TABLET, DB, ID, REV). */
static int change_leaf(struct store *store, const char *sql, const char *tablet, const char *db,
                       const char *id, const char *rev, struct error *error)
{
    struct statement s = statement_start(store, sql);

    statement_text(&s, 1, tablet);
    statement_text(&s, 2, db);
    statement_text(&s, 3, id);
    statement_text(&s, 4, rev);
    return statement_run(&s, error);
}

int holdings_list_leaves(struct store *store, const char *tablet, const char *db, const char *id,
                         const char *const *revs, size_t count, struct error *error)
{
    static const char DROP[] =
        "DELETE FROM listed WHERE tablet = ?1 AND db = ?2 AND doc = ?3 AND rev = ?4";
    static const char ADD[] = "INSERT INTO listed (tablet, db, doc, rev) VALUES (?1, ?2, ?3, ?4)"
                              " ON CONFLICT (tablet, db, doc, rev) DO NOTHING";
    char rev[DOC_REV_BYTES] = "";
    int found;

    while ((found = next_leaf(store, tablet, db, id, rev, error)) == 1)
        if (!among(rev, revs, count) && change_leaf(store, DROP, tablet, db, id, rev, error) != 0)
            return -1;
    if (found < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (change_leaf(store, ADD, tablet, db, id, revs[i], error) != 0)
            return -1;
    return 0;
}

/* ---- walks ---------------------------------------------------------------------------------------- */

/* The next (id, rev) that SQL selects for (TABLET, DB) behind (ID, REV).  OUT and ID may be one. */
static int next(struct store *store, const char *sql, const char *tablet, const char *db,
                const char *id, const char *rev, struct holding *out, struct error *error)
{
    struct statement s = statement_start(store, sql);
    struct holding found;
    int result;

    statement_text(&s, 1, tablet);
    statement_text(&s, 2, db);
    statement_text(&s, 3, id);
    statement_text(&s, 4, rev);
    result = statement_step(&s, error);
    if (result == 1) {
        statement_get_text(&s, 0, found.id, sizeof found.id);
        statement_get_text(&s, 1, found.rev, sizeof found.rev);
        statement_end(&s);
        *out = found;
    }
    return result;
}

int holdings_next_needed(struct store *store, const char *tablet, const char *db,
                         const struct holding *after, struct holding *out, struct error *error)
{
    static const char NEXT[] =
        "SELECT doc, rev FROM listed AS l WHERE tablet = ?1 AND db = ?2 AND (doc, rev) > (?3, ?4)"
        " AND NOT EXISTS (SELECT 1 FROM holding AS h WHERE h.tablet = ?1 AND h.db = ?2"
        " AND h.doc = l.doc AND h.rev = l.rev)"
        " AND NOT EXISTS (SELECT 1 FROM under_way AS u WHERE u.tablet = ?1 AND u.db = ?2"
        " AND u.doc = l.doc AND u.rev = l.rev) ORDER BY doc, rev LIMIT 1";

    return next(store, NEXT, tablet, db, after == NULL ? "" : after->id,
                after == NULL ? "" : after->rev, out, error);
}

int holdings_next_listed(struct store *store, const char *tablet, const char *db,
                         const struct holding *after, struct holding *out, struct error *error)
{
    static const char NEXT[] = "SELECT doc, rev FROM listed WHERE tablet = ?1 AND db = ?2"
                               " AND (doc, rev) > (?3, ?4) ORDER BY doc, rev LIMIT 1";

    return next(store, NEXT, tablet, db, after == NULL ? "" : after->id,
                after == NULL ? "" : after->rev, out, error);
}

int holdings_next_unlisted(struct store *store, const char *tablet, const char *db,
                           const char *after_id, struct holding *out, struct error *error)
{
    /* ?4 is not needed: a document of several revisions is told once. */
    static const char NEXT[] =
        "SELECT doc, ?4 FROM holding AS h WHERE tablet = ?1 AND db = ?2 AND doc > ?3"
        " AND NOT EXISTS (SELECT 1 FROM listed AS l WHERE l.tablet = ?1 AND l.db = ?2"
        " AND l.doc = h.doc) ORDER BY doc LIMIT 1";

    return next(store, NEXT, tablet, db, after_id == NULL ? "" : after_id, "", out, error);
}

/* ---- what is under way ---------------------------------------------------------------------------- */

/* No batch has this id, which is ahead of all others: documents that never go. */
static const unsigned char LEFT_OUT[BATCH_ID_BYTES];

int holdings_send(struct store *store, const char *tablet, const char *db, const char *id,
                  const char *rev, const unsigned char *batch, struct error *error)
{
    static const char SEND[] =
        "INSERT INTO under_way (tablet, db, doc, rev, batch) VALUES (?1, ?2, ?3, ?4, ?5)"
        " ON CONFLICT (tablet, db, doc, rev) DO UPDATE SET batch = ?5";
    struct statement s = statement_start(store, SEND);

    statement_text(&s, 1, tablet);
    statement_text(&s, 2, db);
    statement_text(&s, 3, id);
    statement_text(&s, 4, rev);
    statement_blob(&s, 5, batch, BATCH_ID_BYTES);
    return statement_run(&s, error);
}

int holdings_leave_out(struct store *store, const char *tablet, const char *db, const char *id,
                       const char *rev, struct error *error)
{
    static const char FORGET[] =
        "DELETE FROM under_way WHERE tablet = ?1 AND db = ?2 AND doc = ?3 AND batch = ?4";
    struct statement s = statement_start(store, FORGET);

    statement_text(&s, 1, tablet);
    statement_text(&s, 2, db);
    statement_text(&s, 3, id);
    statement_blob(&s, 4, LEFT_OUT, sizeof LEFT_OUT);
    if (statement_run(&s, error) != 0)
        return -1;
    return holdings_send(store, tablet, db, id, rev, LEFT_OUT, error);
}

int holdings_next_stale(struct store *store, const char *tablet,
                        unsigned char batch[BATCH_ID_BYTES], struct error *error)
{
    static const char NEXT[] =
        "SELECT batch FROM under_way AS u INDEXED BY under_way_batch"
        " WHERE tablet = ?1 AND batch > ?2 GROUP BY batch HAVING 2 * sum(NOT EXISTS (SELECT 1 FROM listed AS l"
        " WHERE l.tablet = ?1 AND l.db = u.db AND l.doc = u.doc AND l.rev = u.rev)) >= count(*)"
        " LIMIT 1";
    struct statement s = statement_start(store, NEXT);
    int result;

    statement_text(&s, 1, tablet);
    statement_blob(&s, 2, LEFT_OUT, sizeof LEFT_OUT);
    result = statement_step(&s, error);
    if (result == 1) {
        statement_get_blob(&s, 0, batch, BATCH_ID_BYTES);
        statement_end(&s);
    }
    return result;
}

int holdings_arrived(struct store *store, const char *tablet, const unsigned char *batch,
                     struct error *error)
{
    static const char DROP[] = "DELETE FROM under_way WHERE tablet = ?1 AND batch = ?2";
    struct statement s = statement_start(store, DROP);

    statement_text(&s, 1, tablet);
    statement_blob(&s, 2, batch, BATCH_ID_BYTES);
    return statement_run(&s, error);
}

int holdings_withdraw(struct store *store, const char *tablet, const unsigned char *batch,
                      struct error *error)
{
    static const char NAME[] =
        "INSERT INTO withdrawn (tablet, seq, id, size) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT (tablet, seq) DO NOTHING";
    struct statement s;
    struct row row;

    if (rows_need(store, batch, &row, error) != 0)
        return -1;
    if (strcmp(row.batch.label.to, tablet) != 0 || row.batch.label.seq == 0 ||
        strcmp(row.batch.label.epoch, store_epoch(store)) != 0)
        return rows_fault(batch, "is not one that this store has numbered for that tablet", error);
    if (row.batch.state == BATCH_APPLIED)
        return 0;
    s = statement_start(store, NAME);
    statement_text(&s, 1, tablet);
    statement_integer(&s, 2, (int64_t)row.batch.label.seq);
    statement_blob(&s, 3, batch, BATCH_ID_BYTES);
    statement_integer(&s, 4, (int64_t)row.batch.label.size);
    if (statement_run(&s, error) != 0)
        return -1;
    return batches_apply(store, &row.batch.label, false, error);
}

int holdings_next_withdrawn(struct store *store, const char *tablet, uint64_t after_seq,
                            struct label *out, struct error *error)
{
    static const char NEXT[] = "SELECT seq, id, size FROM withdrawn WHERE tablet = ?1 AND seq > ?2"
                               " ORDER BY seq LIMIT 1";
    struct statement s = statement_start(store, NEXT);
    int result;

    statement_text(&s, 1, tablet);
    statement_integer(&s, 2, (int64_t)after_seq);
    result = statement_step(&s, error);
    if (result == 1) {
        memset(out, 0, sizeof *out);
        out->seq = (uint64_t)sqlite3_column_int64(s.handle, 0);
        statement_get_blob(&s, 1, out->id, BATCH_ID_BYTES);
        out->size = (uint64_t)sqlite3_column_int64(s.handle, 2);
        statement_end(&s);
        (void)snprintf(out->from, sizeof out->from, "%s", SERVER_NAME);
        (void)snprintf(out->to, sizeof out->to, "%s", tablet);
        (void)snprintf(out->epoch, sizeof out->epoch, "%s", store_epoch(store));
    }
    return result;
}

int holdings_receipted(struct store *store, const char *tablet, uint64_t first, uint64_t last,
                       struct error *error)
{
    static const char DROP[] = "DELETE FROM withdrawn WHERE tablet = ?1 AND seq BETWEEN ?2 AND ?3";
    struct statement s = statement_start(store, DROP);

    statement_text(&s, 1, tablet);
    statement_integer(&s, 2, (int64_t)first);
    statement_integer(&s, 3, (int64_t)last);
    return statement_run(&s, error);
}
