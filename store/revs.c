/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/revs.h"

#include "store/statement.h"

/* 1 if SQL finds a row of (DB, ID, REV), 0, -1. */
static int find(struct store *store, const char *sql, const char *db, const char *id,
                const char *rev, struct error *error)
{
    struct statement s = statement_start(store, sql);
    int result;

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    statement_text(&s, 3, rev);
    result = statement_step(&s, error);
    statement_end(&s);
    return result;
}

int revs_known(struct store *store, const char *db, const char *id, const char *rev,
               struct error *error)
{
    static const char KNOWN[] = "SELECT 1 FROM rev WHERE db = ?1 AND doc = ?2 AND rev = ?3";

    return find(store, KNOWN, db, id, rev, error);
}

int revs_is_here(struct store *store, const char *db, const char *id, const char *rev,
                 struct error *error)
{
    static const char HERE[] =
        "SELECT 1 FROM rev WHERE db = ?1 AND doc = ?2 AND rev = ?3 AND here = 1";

    return find(store, HERE, db, id, rev, error);
}

/* Run SQL, which changes the row of (DB, ID, REV): 1 if there was something to change, 0 not, -1. */
static int change(struct store *store, const char *sql, const char *db, const char *id,
                  const char *rev, struct error *error)
{
    struct statement s = statement_start(store, sql);

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    statement_text(&s, 3, rev);
    if (statement_run(&s, error) != 0)
        return -1;
    return sqlite3_changes(store->db) > 0 ? 1 : 0;
}

int revs_add(struct store *store, const char *db, const char *id, const char *rev,
             struct error *error)
{
    static const char ADD[] = "INSERT INTO rev (db, doc, rev, here) VALUES (?1, ?2, ?3, 1)"
                              " ON CONFLICT (db, doc, rev) DO UPDATE SET here = 1 WHERE here = 0";

    return change(store, ADD, db, id, rev, error) < 0 ? -1 : 0;
}

static const char NOT_HERE[] =
    "UPDATE rev SET here = 0 WHERE db = ?1 AND doc = ?2 AND rev = ?3 AND here = 1";

int revs_forget(struct store *store, const char *db, const char *id, const char *rev,
                struct error *error)
{
    return change(store, NOT_HERE, db, id, rev, error) < 0 ? -1 : 0;
}

int revs_lost(struct store *store, const char *db, const char *id, const char *rev,
              struct error *error)
{
    return change(store, NOT_HERE, db, id, rev, error);
}

int revs_lost_off_shelf(struct store *store, const char *db, struct error *error)
{
    static const char OFF_SHELF[] =
        "UPDATE rev SET here = 0 WHERE db = ?1 AND here = 1 AND NOT EXISTS (SELECT 1 FROM shelf"
        " WHERE shelf.db = rev.db AND shelf.doc = rev.doc AND shelf.rev = rev.rev)";
    struct statement s = statement_start(store, OFF_SHELF);

    statement_text(&s, 1, db);
    if (statement_run(&s, error) != 0)
        return -1;
    return sqlite3_changes(store->db) > 0 ? 1 : 0;
}

int revs_at_server(struct store *store, const char *db, const char *id, const char *rev,
                   struct error *error)
{
    static const char ADD[] = "INSERT INTO rev (db, doc, rev, here) VALUES (?1, ?2, ?3, 0)"
                              " ON CONFLICT (db, doc, rev) DO NOTHING";

    return change(store, ADD, db, id, rev, error) < 0 ? -1 : 0;
}

int revs_next_here(struct store *store, const struct rev_here *after, struct rev_here *out,
                   struct error *error)
{
    static const char NEXT[] = "SELECT db, doc, rev FROM rev WHERE (db, doc, rev) > (?1, ?2, ?3)"
                               " AND here = 1 ORDER BY db, doc, rev LIMIT 1";
    struct statement s = statement_start(store, NEXT);
    struct rev_here found;
    int result;

    statement_text(&s, 1, after->db);
    statement_text(&s, 2, after->id);
    statement_text(&s, 3, after->rev);
    result = statement_step(&s, error);
    if (result == 1) {
        /* AFTER and OUT may be one. */
        statement_get_text(&s, 0, found.db, sizeof found.db);
        statement_get_text(&s, 1, found.id, sizeof found.id);
        statement_get_text(&s, 2, found.rev, sizeof found.rev);
        statement_end(&s);
        *out = found;
    }
    return result;
}

int revs_each(struct store *store, const char *db, const char *id,
              int (*show)(const char *rev, void *context), void *context, struct error *error)
{
    static const char EACH[] = "SELECT rev FROM rev WHERE db = ?1 AND doc = ?2";
    struct statement s = statement_start(store, EACH);
    char rev[DOC_REV_BYTES];
    int result;

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    while ((result = statement_step(&s, error)) == 1) {
        statement_get_text(&s, 0, rev, sizeof rev);
        result = show(rev, context);
        if (result != 0)
            break;
    }
    statement_end(&s);
    return result;
}

int revs_local_get(struct store *store, const char *db, const char *id, uint64_t *rev,
                   struct buffer *body, struct error *error)
{
    static const char GET[] = "SELECT rev, body FROM local_doc WHERE db = ?1 AND doc = ?2";
    struct statement s = statement_start(store, GET);
    const void *bytes;
    int result;

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    result = statement_step(&s, error);
    if (result != 1)
        return result;
    *rev = (uint64_t)sqlite3_column_int64(s.handle, 0);
    bytes = sqlite3_column_blob(s.handle, 1);
    result = buffer_append(body, bytes, (size_t)sqlite3_column_bytes(s.handle, 1), error);
    statement_end(&s);
    return result == 0 ? 1 : -1;
}

int revs_local_put(struct store *store, const char *db, const char *id, uint64_t rev,
                   const void *body, size_t size, struct error *error)
{
    static const char MAKE[] = "INSERT INTO local_doc (db, doc, rev, body) VALUES (?1, ?2, 1, ?4)"
                               " ON CONFLICT (db, doc) DO NOTHING";
    static const char PUT[] = "UPDATE local_doc SET rev = rev + 1, body = ?4"
                              " WHERE db = ?1 AND doc = ?2 AND rev = ?3";
    struct statement s = statement_start(store, rev == 0 ? MAKE : PUT);

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    if (rev != 0)
        statement_integer(&s, 3, rev > INT64_MAX ? -1 : (int64_t)rev);
    statement_blob(&s, 4, body, size);
    if (statement_run(&s, error) != 0)
        return -1;
    return sqlite3_changes(store->db) == 1 ? 1 : 0;
}
