/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/view.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "store/shelf.h"
#include "store/statement.h"

#define NUMBER_MAX ((INT64_C(1) << 53) - 1)
#define GENERATION_DIGITS 15

struct applying {
    struct store *store;
    const struct manifest *manifest;
    bool begun;                    /* its first line has come */
    char server[STORE_UUID_BYTES]; /* "" if it has none */
    int64_t at;
    struct error *error;
};

/* ---- lines, read into tables of this connection's own ---- */

static int malformed(const struct applying *applying, const char *what)
{
    return error_set(applying->error, ERROR_CORRUPT, "view from %s: %s", applying->manifest->from,
                     what);
}

static int empty_tables(struct store *store, struct error *error)
{
    static const char EMPTY[] =
        "CREATE TEMP TABLE IF NOT EXISTS view_new ("
        " doc TEXT NOT NULL, rev TEXT NOT NULL, PRIMARY KEY (doc, rev)) WITHOUT ROWID;"
        "CREATE TEMP TABLE IF NOT EXISTS view_new_gone (doc TEXT PRIMARY KEY) WITHOUT ROWID;"
        "CREATE TEMP TABLE IF NOT EXISTS view_new_withdrawn ("
        " id BLOB PRIMARY KEY, seq INTEGER NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;"
        "DELETE FROM temp.view_new;"
        "DELETE FROM temp.view_new_gone;"
        "DELETE FROM temp.view_new_withdrawn;";

    if (statement_need_transaction(store, error) != 0)
        return -1;
    return statement_script(store, EMPTY, error);
}

static int take_head(struct applying *applying, const json_t *head)
{
    const json_t *at = json_object_get(head, "at");
    const char *server = json_string_value(json_object_get(head, "server"));

    if (applying->begun)
        return malformed(applying, "has two first lines");
    if (server == NULL || !json_is_integer(at) || json_integer_value(at) < 0 ||
        (server[0] != '\0' && (strlen(server) != STORE_UUID_BYTES - 1 ||
                               strspn(server, "0123456789abcdef") != STORE_UUID_BYTES - 1)))
        return malformed(applying, "its first line is malformed");
    (void)snprintf(applying->server, sizeof applying->server, "%s", server);
    applying->at = json_integer_value(at);
    applying->begun = true;
    return 0;
}

/* VALUE as text of at most SIZE bytes with its zero; NULL if it is none. */
static const char *text(const json_t *value, size_t size)
{
    size_t length = json_string_length(value);

    return json_is_string(value) && length > 0 && length < size ? json_string_value(value) : NULL;
}

/* A revision begins with its generation. */
static bool rev_ok(const char *rev)
{
    size_t digits = rev == NULL ? 0 : strspn(rev, "0123456789");

    return digits > 0 && digits <= GENERATION_DIGITS && rev[0] != '0' && rev[digits] == '-';
}

static int take_doc(struct applying *applying, const json_t *value)
{
    static const char ADD[] =
        "INSERT INTO temp.view_new (doc, rev) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    const char *id = text(json_array_get(value, 0), DOC_ID_BYTES);
    const char *rev = text(json_array_get(value, 1), DOC_REV_BYTES);
    struct statement s;

    if (json_array_size(value) != 2 || id == NULL || !rev_ok(rev))
        return malformed(applying, "a document of the listing is malformed");
    s = statement_start(applying->store, ADD);
    statement_text(&s, 1, id);
    statement_text(&s, 2, rev);
    return statement_run(&s, applying->error);
}

static int take_gone(struct applying *applying, const json_t *value)
{
    static const char ADD[] =
        "INSERT INTO temp.view_new_gone (doc) VALUES (?1) ON CONFLICT DO NOTHING";
    const char *id = text(value, DOC_ID_BYTES);
    struct statement s;

    if (id == NULL)
        return malformed(applying, "an id that is gone is malformed");
    s = statement_start(applying->store, ADD);
    statement_text(&s, 1, id);
    return statement_run(&s, applying->error);
}

static int take_withdrawn(struct applying *applying, const json_t *value)
{
    static const char ADD[] = "INSERT INTO temp.view_new_withdrawn (id, seq, size)"
                              " VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    const char *hex = text(json_array_get(value, 0), BATCH_ID_TEXT_BYTES);
    const json_t *seq = json_array_get(value, 1), *size = json_array_get(value, 2);
    unsigned char id[BATCH_ID_BYTES];
    struct statement s;

    if (json_array_size(value) != 3 || hex == NULL || hex_decode(hex, id, sizeof id) != 0 ||
        !json_is_integer(seq) || json_integer_value(seq) < 1 ||
        json_integer_value(seq) > NUMBER_MAX || !json_is_integer(size) ||
        json_integer_value(size) < 1 || json_integer_value(size) > BATCH_MAX_BYTES)
        return malformed(applying, "a withdrawn batch is malformed");
    s = statement_start(applying->store, ADD);
    statement_blob(&s, 1, id, sizeof id);
    statement_integer(&s, 2, json_integer_value(seq));
    statement_integer(&s, 3, json_integer_value(size));
    return statement_run(&s, applying->error);
}

static int take_values(struct applying *applying, const json_t *values,
                       int (*take)(struct applying *applying, const json_t *value))
{
    if (!applying->begun)
        return malformed(applying, "does not begin with its first line");
    if (!json_is_array(values) || json_array_size(values) > VIEW_LINE_MOST)
        return malformed(applying, "a line is no list of at most 500");
    for (size_t i = 0; i < json_array_size(values); i++)
        if (take(applying, json_array_get(values, i)) != 0)
            return -1;
    return 0;
}

static int take_line(struct applying *applying, const char *bytes, size_t length)
{
    json_t *line = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, NULL), *values;
    int result;

    if (!json_is_object(line))
        result = malformed(applying, "a line is not a JSON object");
    else if ((values = json_object_get(line, "view")) != NULL)
        result = take_head(applying, values);
    else if ((values = json_object_get(line, "docs")) != NULL)
        result = take_values(applying, values, take_doc);
    else if ((values = json_object_get(line, "gone")) != NULL)
        result = take_values(applying, values, take_gone);
    else if ((values = json_object_get(line, "withdrawn")) != NULL)
        result = take_values(applying, values, take_withdrawn);
    else
        result = applying->begun ? 0 /* of a later version */
                                 : malformed(applying, "does not begin with its first line");
    json_decref(line);
    return result;
}

static int take_lines(struct applying *applying, const struct opened_batch *view)
{
    const char *line;
    size_t at = 0, length;

    while (opened_batch_line(view, &at, &line, &length) == 1)
        if (take_line(applying, line, length) != 0)
            return -1;
    return applying->begun ? 0 : malformed(applying, "has no first line");
}

/* ---- use ---- */

/* 1 a later one was applied already, 0 not, -1. */
static int is_older(struct applying *applying)
{
    static const char OLDER[] =
        "SELECT CASE WHEN epoch = ?2 THEN ?3 < seq"
        " ELSE server <> '' AND server = ?4 AND ?5 < at END FROM view WHERE db = ?1";
    struct statement s = statement_start(applying->store, OLDER);
    int result;

    statement_text(&s, 1, applying->manifest->db);
    statement_text(&s, 2, applying->manifest->epoch);
    statement_integer(&s, 3, (int64_t)applying->manifest->seq);
    statement_text(&s, 4, applying->server);
    statement_integer(&s, 5, applying->at);
    result = statement_step(&s, applying->error);
    if (result == 1) {
        result = sqlite3_column_int(s.handle, 0);
        statement_end(&s);
    }
    return result;
}

/* Run SQL, whose one value is the database. */
static int run(struct applying *applying, const char *sql)
{
    struct statement s = statement_start(applying->store, sql);

    statement_text(&s, 1, applying->manifest->db);
    return statement_run(&s, applying->error);
}

/* What is the same as before is not written. */
static int use_listing(struct applying *applying)
{
    static const char NEW[] =
        "SELECT n.doc, n.rev FROM temp.view_new AS n WHERE NOT EXISTS ("
        " SELECT 1 FROM view_doc AS v WHERE v.db = ?1 AND v.doc = n.doc AND v.rev = n.rev)";
    static const char DELETE[] =
        "DELETE FROM view_doc WHERE db = ?1 AND NOT EXISTS ("
        " SELECT 1 FROM temp.view_new AS n WHERE n.doc = view_doc.doc AND n.rev = view_doc.rev)";
    static const char INSERT[] = "INSERT INTO view_doc (db, doc, rev)"
                                 " SELECT ?1, doc, rev FROM temp.view_new WHERE true"
                                 " ON CONFLICT DO NOTHING";
    char id[DOC_ID_BYTES], rev[DOC_REV_BYTES];
    struct statement s = statement_start(applying->store, NEW);
    int result;

    statement_text(&s, 1, applying->manifest->db);
    while ((result = statement_step(&s, applying->error)) == 1) {
        statement_get_text(&s, 0, id, sizeof id);
        statement_get_text(&s, 1, rev, sizeof rev);
        if (revs_at_server(applying->store, applying->manifest->db, id, rev, applying->error) !=
            0) {
            statement_end(&s);
            return -1;
        }
    }
    return result != 0 || run(applying, DELETE) != 0 || run(applying, INSERT) != 0 ? -1 : 0;
}

/* Documents that the listing names by higher generations leave the shelf. */
static int drop_older(struct applying *applying)
{
    static const char NEXT[] =
        "SELECT s.doc, (SELECT n.rev FROM temp.view_new AS n WHERE n.doc = s.doc"
        "               ORDER BY CAST(n.rev AS INTEGER) LIMIT 1) AS lowest"
        " FROM shelf AS s WHERE s.db = ?1 AND s.doc > ?2"
        " AND CAST(s.rev AS INTEGER) < CAST(lowest AS INTEGER) ORDER BY s.doc LIMIT 1";
    char id[DOC_ID_BYTES] = "", rev[DOC_REV_BYTES];
    struct statement s;
    int result;

    for (;;) {
        s = statement_start(applying->store, NEXT);
        statement_text(&s, 1, applying->manifest->db);
        statement_text(&s, 2, id);
        result = statement_step(&s, applying->error);
        if (result != 1)
            return result;
        statement_get_text(&s, 0, id, sizeof id);
        statement_get_text(&s, 1, rev, sizeof rev);
        statement_end(&s);
        if (shelf_drop(applying->store, applying->manifest->db, id, rev, applying->error) != 0)
            return -1;
    }
}

/* Nothing of the document is here any more. */
static int lose(struct applying *applying, const char *id)
{
    const char *db = applying->manifest->db;
    struct rev_here here = {{0}, {0}, {0}};
    int found;

    if (shelf_drop(applying->store, db, id, NULL, applying->error) != 0)
        return -1;
    (void)snprintf(here.db, sizeof here.db, "%s", db);
    (void)snprintf(here.id, sizeof here.id, "%s", id);
    while ((found = revs_next_here(applying->store, &here, &here, applying->error)) == 1) {
        if (strcmp(here.db, db) != 0 || strcmp(here.id, id) != 0)
            return 0;
        if (revs_lost(applying->store, db, id, here.rev, applying->error) < 0)
            return -1;
    }
    return found;
}

static int use_gone(struct applying *applying)
{
    static const char LISTED[] =
        "DELETE FROM temp.view_new_gone WHERE doc IN (SELECT doc FROM temp.view_new)";
    static const char AGAIN[] =
        "DELETE FROM view_gone WHERE db = ?1 AND doc IN (SELECT doc FROM temp.view_new)";
    static const char ADD[] = "INSERT INTO view_gone (db, doc)"
                              " SELECT ?1, doc FROM temp.view_new_gone WHERE true"
                              " ON CONFLICT DO NOTHING";
    static const char EACH[] = "SELECT doc FROM temp.view_new_gone";
    char id[DOC_ID_BYTES];
    struct statement s;
    int result;

    if (statement_script(applying->store, LISTED, applying->error) != 0 ||
        run(applying, AGAIN) != 0 || run(applying, ADD) != 0)
        return -1;
    s = statement_start(applying->store, EACH);
    while ((result = statement_step(&s, applying->error)) == 1) {
        statement_get_text(&s, 0, id, sizeof id);
        if (lose(applying, id) != 0) {
            statement_end(&s);
            return -1;
        }
    }
    return result;
}

/* What has come whole although it was withdrawn is used as any other. */
static int use_withdrawn(struct applying *applying)
{
    static const char EACH[] = "SELECT id, seq, size FROM temp.view_new_withdrawn";
    const struct manifest *manifest = applying->manifest;
    struct statement s = statement_start(applying->store, EACH);
    struct label label = {.seq = 0};
    struct batch batch;
    int result, found;

    (void)snprintf(label.from, sizeof label.from, "%s", manifest->from);
    (void)snprintf(label.to, sizeof label.to, "%s", manifest->to);
    (void)snprintf(label.epoch, sizeof label.epoch, "%s", manifest->epoch);
    while ((result = statement_step(&s, applying->error)) == 1) {
        statement_get_blob(&s, 0, label.id, sizeof label.id);
        label.seq = (uint64_t)sqlite3_column_int64(s.handle, 1);
        label.size = (uint64_t)sqlite3_column_int64(s.handle, 2);
        found = batches_find(applying->store, label.id, &batch, applying->error);
        if (found == 0 || (found == 1 && batch.state == BATCH_PARTIAL))
            found = batches_apply(applying->store, &label, false, applying->error);
        if (found < 0) {
            statement_end(&s);
            return -1;
        }
    }
    return result;
}

static int remember(struct applying *applying)
{
    static const char REMEMBER[] =
        "INSERT INTO view (db, epoch, seq, server, at) VALUES (?1, ?2, ?3, ?4, ?5)"
        " ON CONFLICT (db) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq,"
        " server = excluded.server, at = excluded.at";
    struct statement s = statement_start(applying->store, REMEMBER);

    statement_text(&s, 1, applying->manifest->db);
    statement_text(&s, 2, applying->manifest->epoch);
    statement_integer(&s, 3, (int64_t)applying->manifest->seq);
    statement_text(&s, 4, applying->server);
    statement_integer(&s, 5, applying->at);
    return statement_run(&s, applying->error);
}

int view_apply(struct store *store, const struct opened_batch *view, const struct label *label,
               struct error *error)
{
    struct applying applying = {.store = store, .manifest = &view->manifest, .error = error};
    int older;

    if (strcmp(view->manifest.kind, "view") != 0 || view->manifest.seq == 0 ||
        view->manifest.db[0] == '\0')
        return malformed(&applying, "is not a view");
    if (empty_tables(store, error) != 0 || take_lines(&applying, view) != 0)
        return -1;
    older = is_older(&applying);
    if (older < 0)
        return -1;
    if (older == 0 && (use_listing(&applying) != 0 || drop_older(&applying) != 0 ||
                       use_gone(&applying) != 0 || use_withdrawn(&applying) != 0 ||
                       remember(&applying) != 0 || shelf_sweep(store, error) != 0))
        return -1;
    if (empty_tables(store, error) != 0 || batches_apply(store, label, false, error) != 0)
        return -1;
    return older == 1 ? 0 : 1;
}

/* ---- questions ---- */

int view_count(struct store *store, const char *db, int64_t *count, struct error *error)
{
    static const char COUNT[] = "SELECT (SELECT count(*) FROM view_doc WHERE db = ?1)"
                                " FROM view WHERE db = ?1";
    struct statement s = statement_start(store, COUNT);
    int result;

    statement_text(&s, 1, db);
    result = statement_step(&s, error);
    if (result == 1) {
        *count = sqlite3_column_int64(s.handle, 0);
        statement_end(&s);
    } else {
        *count = -1;
    }
    return result < 0 ? -1 : 0;
}

int view_stamp(struct store *store, const char *db, char stamp[VIEW_STAMP_BYTES],
               struct error *error)
{
    static const char STAMP[] = "SELECT epoch || ' ' || seq FROM view WHERE db = ?1";
    struct statement s = statement_start(store, STAMP);
    int result;

    stamp[0] = '\0';
    statement_text(&s, 1, db);
    result = statement_step(&s, error);
    if (result == 1)
        statement_get_text(&s, 0, stamp, VIEW_STAMP_BYTES);
    statement_end(&s);
    return result < 0 ? -1 : 0;
}

int view_next(struct store *store, const char *db, const char *after_id, char id[DOC_ID_BYTES],
              char rev[DOC_REV_BYTES], struct error *error)
{
    static const char NEXT[] =
        "SELECT doc, rev FROM view_doc WHERE db = ?1 AND doc ="
        " (SELECT doc FROM view_doc WHERE db = ?1 AND doc > ?2 ORDER BY doc LIMIT 1)"
        " ORDER BY CAST(rev AS INTEGER) DESC, rev DESC LIMIT 1";
    struct statement s = statement_start(store, NEXT);
    char found[DOC_ID_BYTES];
    int result;

    statement_text(&s, 1, db);
    statement_text(&s, 2, after_id == NULL ? "" : after_id);
    result = statement_step(&s, error);
    if (result == 1) {
        /* ID and AFTER_ID may be one array. */
        statement_get_text(&s, 0, found, sizeof found);
        statement_get_text(&s, 1, rev, DOC_REV_BYTES);
        statement_end(&s);
        memcpy(id, found, sizeof found);
    }
    return result;
}

int view_gone(struct store *store, const char *db, const char *id, struct error *error)
{
    static const char GONE[] = "SELECT 1 FROM view_gone WHERE db = ?1 AND doc = ?2";
    struct statement s = statement_start(store, GONE);
    int result;

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    result = statement_step(&s, error);
    statement_end(&s);
    return result;
}

int view_outdates(struct store *store, const char *db, const char *id, const char *rev,
                  struct error *error)
{
    static const char LOWEST[] =
        "SELECT min(CAST(rev AS INTEGER)) > CAST(?3 AS INTEGER) FROM view_doc"
        " WHERE db = ?1 AND doc = ?2";
    struct statement s = statement_start(store, LOWEST);
    int result;

    statement_text(&s, 1, db);
    statement_text(&s, 2, id);
    statement_text(&s, 3, rev);
    result = statement_step(&s, error);
    if (result == 1) {
        result = sqlite3_column_int(s.handle, 0);
        statement_end(&s);
    }
    return result;
}
