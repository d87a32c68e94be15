/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/peers.h"

#include <string.h>

#include "base/clock.h"
#include "store/statement.h"

/* The row of the peer store UUID is there. */
static int need_peer(struct store *store, const char *uuid, struct error *error)
{
    static const char MAKE[] = "INSERT INTO peer (uuid) VALUES (?1) ON CONFLICT (uuid) DO NOTHING";
    struct statement s = statement_start(store, MAKE);

    statement_text(&s, 1, uuid);
    return statement_run(&s, error);
}

int peers_cursor(struct store *store, const char *uuid, struct cursor *cursor, struct error *error)
{
    static const char READ[] = "SELECT position, position_id FROM peer WHERE uuid = ?1";
    struct statement s = statement_start(store, READ);
    int result;

    memset(cursor, 0, sizeof *cursor);
    statement_text(&s, 1, uuid);
    result = statement_step(&s, error);
    if (result < 0)
        return -1;
    if (result == 1) {
        cursor->position = sqlite3_column_int64(s.handle, 0);
        statement_get_blob(&s, 1, cursor->id, BATCH_ID_BYTES);
        statement_end(&s);
    }
    return 0;
}

int peers_set_cursor(struct store *store, const char *uuid, const struct cursor *cursor,
                     struct error *error)
{
    static const char SET[] =
        "INSERT INTO peer (uuid, position, position_id) VALUES (?1, ?2, ?3) ON CONFLICT (uuid)"
        " DO UPDATE SET position = excluded.position, position_id = excluded.position_id";
    struct statement s = statement_start(store, SET);

    statement_text(&s, 1, uuid);
    statement_integer(&s, 2, cursor->position);
    statement_blob(&s, 3, cursor->id, BATCH_ID_BYTES);
    return statement_run(&s, error);
}

int peers_visited(struct store *store, const char *uuid, const char *name, const char *role,
                  struct error *error)
{
    /* `visit` orders them; the clock's text is for people. */
    static const char VISIT[] = "UPDATE peer SET name = ?2, role = ?3, last_visit = ?4,"
                                " visit = (SELECT max(visit) FROM peer) + 1 WHERE uuid = ?1";
    char now[CLOCK_TEXT_BYTES];
    struct statement s;

    if (need_peer(store, uuid, error) != 0)
        return -1;
    clock_text(now);
    s = statement_start(store, VISIT);
    statement_text(&s, 1, uuid);
    statement_text(&s, 2, name);
    statement_text(&s, 3, role);
    statement_text(&s, 4, now);
    return statement_run(&s, error);
}

int peers_same_tablets(struct store *store, const char *uuid, const char *tablets,
                       struct error *error)
{
    static const char SAME[] =
        "SELECT coalesce((SELECT tablets FROM peer WHERE uuid = ?1), '*') = ?2";
    struct statement s = statement_start(store, SAME);
    int result;

    statement_text(&s, 1, uuid);
    statement_text(&s, 2, tablets);
    result = statement_step(&s, error);
    if (result == 1) {
        result = sqlite3_column_int(s.handle, 0);
        statement_end(&s);
    }
    return result;
}

int peers_set_tablets(struct store *store, const char *uuid, const char *tablets,
                      struct error *error)
{
    static const char SET[] = "UPDATE peer SET tablets = ?2 WHERE uuid = ?1";
    struct statement s;

    if (need_peer(store, uuid, error) != 0)
        return -1;
    s = statement_start(store, SET);
    statement_text(&s, 1, uuid);
    statement_text(&s, 2, tablets);
    return statement_run(&s, error);
}

int peers_carries(struct store *store, const char *uuid, const unsigned char *id,
                  struct error *error)
{
    static const char NOTE[] = "INSERT INTO carried (id, peer, applied) SELECT ?2, key,"
                               " EXISTS (SELECT 1 FROM batch WHERE id = ?2 AND state = 3)"
                               " FROM peer WHERE uuid = ?1 AND NOT EXISTS (SELECT 1 FROM batch"
                               " WHERE id = ?2 AND seq = 0 AND destination <> ?3)"
                               " ON CONFLICT (id, peer) DO NOTHING";
    struct statement s;

    if (need_peer(store, uuid, error) != 0)
        return -1;
    s = statement_start(store, NOTE);
    statement_text(&s, 1, uuid);
    statement_blob(&s, 2, id, BATCH_ID_BYTES);
    statement_text(&s, 3, store->station);
    return statement_run(&s, error);
}

int peers_applied(struct store *store, const char *uuid, unsigned char (*ids)[BATCH_ID_BYTES],
                  size_t most, size_t *count, struct error *error)
{
    static const char READ[] = "SELECT id FROM carried INDEXED BY carried_applied WHERE applied = 1"
                               " AND peer = (SELECT key FROM peer WHERE uuid = ?1) LIMIT ?2";
    struct statement s = statement_start(store, READ);
    int result;

    *count = 0;
    statement_text(&s, 1, uuid);
    statement_integer(&s, 2, (int64_t)most);
    while ((result = statement_step(&s, error)) == 1)
        statement_get_blob(&s, 0, ids[(*count)++], BATCH_ID_BYTES);
    return result;
}

int peers_confirmed(struct store *store, const char *uuid, const unsigned char *id,
                    struct error *error)
{
    static const char DROP[] = "DELETE FROM carried WHERE id = ?2 AND applied = 1"
                               " AND peer = (SELECT key FROM peer WHERE uuid = ?1)";
    struct statement s = statement_start(store, DROP);

    statement_text(&s, 1, uuid);
    statement_blob(&s, 2, id, BATCH_ID_BYTES);
    return statement_run(&s, error);
}

/* Append the blob of column COLUMN to DER. */
static int append_blob(const struct statement *s, int column, struct buffer *der,
                       struct error *error)
{
    const void *bytes = sqlite3_column_blob(s->handle, column);

    return buffer_append(der, bytes, (size_t)sqlite3_column_bytes(s->handle, column), error);
}

int peers_crl(struct store *store, uint64_t *number, struct buffer *der, struct error *error)
{
    struct statement s = statement_start(store, "SELECT number, der FROM crl");
    int result = statement_step(&s, error);

    *number = 0;
    if (result != 1)
        return result;
    result = append_blob(&s, 1, der, error);
    if (result == 0)
        *number = (uint64_t)sqlite3_column_int64(s.handle, 0);
    statement_end(&s);
    return result;
}

int peers_set_crl(struct store *store, uint64_t number, const void *der, size_t size,
                  struct error *error)
{
    static const char SET[] =
        "INSERT INTO crl (one, number, der) VALUES (1, ?1, ?2) ON CONFLICT (one) DO UPDATE"
        " SET number = excluded.number, der = excluded.der WHERE excluded.number > number";
    struct statement s = statement_start(store, SET);

    if (number > INT64_MAX) {
        statement_end(&s);
        return error_set(error, ERROR_FAILED, "revocation list: its number is too large");
    }
    statement_integer(&s, 1, (int64_t)number);
    statement_blob(&s, 2, der, size);
    return statement_run(&s, error);
}

int peers_certificate(struct store *store, const char *name, struct buffer *der,
                      struct error *error)
{
    struct statement s = statement_start(store, "SELECT der FROM certificate WHERE name = ?1");
    int result;

    statement_text(&s, 1, name);
    result = statement_step(&s, error);
    if (result == 1) {
        if (append_blob(&s, 0, der, error) != 0)
            result = -1;
        statement_end(&s);
    }
    return result;
}

int peers_set_certificate(struct store *store, const char *name, const void *der, size_t size,
                          struct error *error)
{
    static const char SET[] = "INSERT INTO certificate (name, der) VALUES (?1, ?2)"
                              " ON CONFLICT (name) DO UPDATE SET der = excluded.der"
                              " WHERE der <> excluded.der";
    struct statement s = statement_start(store, SET);

    statement_text(&s, 1, name);
    statement_blob(&s, 2, der, size);
    return statement_run(&s, error);
}

int peers_next_certificate(struct store *store, const char *after, char name[STORE_NAME_BYTES],
                           struct error *error)
{
    struct statement s = statement_start(
        store, "SELECT name FROM certificate WHERE name > ?1 ORDER BY name LIMIT 1");
    int result;

    statement_text(&s, 1, after);
    result = statement_step(&s, error);
    if (result == 1) {
        statement_get_text(&s, 0, name, STORE_NAME_BYTES);
        statement_end(&s);
    }
    return result;
}

int peers_each(struct store *store, int (*show)(const struct peer_visit *visit, void *context),
               void *context, struct error *error)
{
    static const char NEXT[] = "SELECT uuid, name, role, last_visit FROM peer WHERE visit > 0"
                               " ORDER BY visit DESC";
    struct statement s = statement_start(store, NEXT);
    struct peer_visit visit;
    int result;

    while ((result = statement_step(&s, error)) == 1) {
        statement_get_text(&s, 0, visit.uuid, sizeof visit.uuid);
        statement_get_text(&s, 1, visit.name, sizeof visit.name);
        statement_get_text(&s, 2, visit.role, sizeof visit.role);
        statement_get_text(&s, 3, visit.last_visit, sizeof visit.last_visit);
        result = show(&visit, context);
        if (result != 0)
            break;
    }
    statement_end(&s);
    return result;
}
