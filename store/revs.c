/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/revs.h"

#include "store/statement.h"

int revs_known(struct store *store, const char *db, const char *id, const char *rev,
               struct error *error)
{
    static const char KNOWN[] = "SELECT 1 FROM rev WHERE db = ?1 AND doc = ?2 AND rev = ?3";
    struct statement s = statement_start(store, KNOWN);
    int result;

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    statement_text(&s, 3, rev);
    result = statement_step(&s, error);
    statement_end(&s);
    return result;
}

int revs_add(struct store *store, const char *db, const char *id, const char *rev,
             struct error *error)
{
    static const char ADD[] = "INSERT INTO rev (db, doc, rev) VALUES (?1, ?2, ?3)"
                              " ON CONFLICT (db, doc, rev) DO NOTHING";
    struct statement s = statement_start(store, ADD);

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    statement_text(&s, 3, rev);
    return statement_run(&s, error);
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
