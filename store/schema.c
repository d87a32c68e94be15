/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/schema.h"

#include <openssl/rand.h>
#include <string.h>
#include <time.h>

#include "base/hex.h"
#include "store/statement.h"

/* A chunk's key is its batch's key * 1024 + its number: rows of one batch lie side by side, and new
 * ones are appended at the end of the table, SQLite's cheapest insert.  1,024 chunks are 64 MiB, more
 * than BATCH_MAX_BYTES.
 *
 * `usage` is kept up with each change of `here`, so that quotas cost one row, not a walk. */
static const char STEP_1[] =
    "CREATE TABLE store ("
    " one INTEGER PRIMARY KEY CHECK (one = 1),"
    " uuid TEXT NOT NULL, epoch TEXT NOT NULL, station TEXT NOT NULL, role TEXT NOT NULL"
    ") STRICT;"

    "CREATE TABLE batch ("
    " key INTEGER PRIMARY KEY,"
    " id BLOB NOT NULL UNIQUE CHECK (length(id) = 32),"
    " source TEXT NOT NULL, destination TEXT NOT NULL, epoch TEXT NOT NULL,"
    " seq INTEGER NOT NULL CHECK (seq >= 0), size INTEGER NOT NULL,"
    " here INTEGER NOT NULL CHECK (here BETWEEN 0 AND size)," /* bytes */
    " state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),"  /* enum batch_state */
    " position INTEGER UNIQUE,"                               /* NULL: never held */
    " came INTEGER NOT NULL,"                                 /* wall clock, for people */
    " handed INTEGER NOT NULL DEFAULT 0, fleeting INTEGER NOT NULL DEFAULT 0,"
    " released INTEGER NOT NULL DEFAULT 0," /* by the administrator, batches_release */
    " reason TEXT"
    ") STRICT;"
    "CREATE INDEX batch_held_to ON batch (destination, position) WHERE state = 1;"
    "CREATE INDEX batch_held_from ON batch (source, position) WHERE state = 1;"
    "CREATE INDEX batch_held_stream ON batch (destination, source, epoch, seq) WHERE state = 1;"
    "CREATE INDEX batch_aside ON batch (position) WHERE state = 2;"
    "CREATE INDEX batch_stream ON batch (source, epoch, destination, seq) WHERE seq > 0;"

    "CREATE TABLE chunk (key INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;"
    "CREATE TABLE usage (source TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

    "CREATE TABLE own_stream ("
    " source TEXT NOT NULL, destination TEXT NOT NULL, seq INTEGER NOT NULL,"
    " PRIMARY KEY (source, destination)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE own_receipt ("
    " destination TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE receipt_seen ("
    " source TEXT NOT NULL, epoch TEXT NOT NULL, number INTEGER NOT NULL,"
    " PRIMARY KEY (source, epoch)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE receipt_due (source TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;"

    "CREATE TABLE peer ("
    " key INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT '',"
    " visit INTEGER NOT NULL DEFAULT 0," /* counts up over all peers; 0: never */
    " last_visit TEXT NOT NULL DEFAULT '',"
    " position INTEGER NOT NULL DEFAULT 0, position_id BLOB"
    ") STRICT;"
    /* What a courier carries for us and has not confirmed to know applied. */
    "CREATE TABLE carried ("
    " id BLOB NOT NULL, peer INTEGER NOT NULL REFERENCES peer (key), applied INTEGER NOT NULL,"
    " PRIMARY KEY (id, peer)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX carried_applied ON carried (peer, id) WHERE applied = 1;"
    "CREATE INDEX carried_peer ON carried (peer);"

    "CREATE TABLE crl ("
    " one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, der BLOB NOT NULL) STRICT;"
    "CREATE TABLE certificate (name TEXT PRIMARY KEY, der BLOB NOT NULL) STRICT;"

    "CREATE TABLE rev ("
    " db TEXT NOT NULL, doc TEXT NOT NULL, rev TEXT NOT NULL,"
    " PRIMARY KEY (db, doc, rev)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE local_doc ("
    " db TEXT NOT NULL, doc TEXT NOT NULL, rev INTEGER NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY (db, doc)) STRICT;"

    "CREATE TABLE refusal ("
    " number INTEGER PRIMARY KEY AUTOINCREMENT," /* never given twice: people write them down */
    " source TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL, batch BLOB NOT NULL,"
    " db TEXT NOT NULL, doc TEXT NOT NULL, rev TEXT NOT NULL,"
    " error TEXT NOT NULL, reason TEXT NOT NULL, retry INTEGER NOT NULL,"
    " UNIQUE (source, db, doc, rev)) STRICT;"
    "CREATE INDEX refusal_batch ON refusal (batch);"
    "CREATE INDEX refusal_source ON refusal (source, epoch, number);"
    "CREATE INDEX refusal_retry ON refusal (number) WHERE retry = 1;"

    "CREATE TABLE refused_login ("
    " user TEXT PRIMARY KEY, mark BLOB NOT NULL CHECK (length(mark) = 32)"
    ") STRICT, WITHOUT ROWID;";

/* The way down (docs/down.md).  At the dock: the listing, what a tablet holds, what is under way, what was
 * withdrawn.  At the tablet: the shelf, the view; `rev.here`: held on this tablet, and not only known to be at the
 * server. */
static const char STEP_2[] =
    "CREATE TABLE listed ("
    " tablet TEXT NOT NULL, db TEXT NOT NULL, doc TEXT NOT NULL, rev TEXT NOT NULL,"
    " PRIMARY KEY (tablet, db, doc, rev)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE listing ("
    " tablet TEXT NOT NULL, db TEXT NOT NULL, since TEXT NOT NULL, view_due INTEGER NOT NULL,"
    " PRIMARY KEY (tablet, db)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE holding ("
    " tablet TEXT NOT NULL, db TEXT NOT NULL, doc TEXT NOT NULL, rev TEXT NOT NULL,"
    " PRIMARY KEY (tablet, db, doc, rev)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE under_way ("
    " tablet TEXT NOT NULL, db TEXT NOT NULL, doc TEXT NOT NULL, rev TEXT NOT NULL, batch BLOB NOT NULL,"
    " PRIMARY KEY (tablet, db, doc, rev)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX under_way_batch ON under_way (tablet, batch);"
    "CREATE TABLE withdrawn ("
    " tablet TEXT NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, size INTEGER NOT NULL,"
    " PRIMARY KEY (tablet, seq)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE view_made (" /* the newest view of each listing */
    " tablet TEXT NOT NULL, db TEXT NOT NULL, batch BLOB NOT NULL,"
    " PRIMARY KEY (tablet, db)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE shelf ("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT," /* never given twice: clients remember it */
    " db TEXT NOT NULL, doc TEXT NOT NULL, rev TEXT NOT NULL, deleted INTEGER NOT NULL,"
    " batch INTEGER NOT NULL REFERENCES batch (key), at INTEGER NOT NULL, size INTEGER NOT NULL,"
    " latest INTEGER NOT NULL DEFAULT 0," /* 1: of the rows of its document the one with the highest seq */
    " UNIQUE (db, doc, rev)) STRICT;"
    "CREATE INDEX shelf_batch ON shelf (batch);"
    "CREATE INDEX shelf_latest ON shelf (db) WHERE latest = 1;"
    /* Applied, and its bytes are kept: for the shelf, or for documents that were refused. */
    "CREATE INDEX batch_kept ON batch (source) WHERE state = 3 AND here > 0;"
    "CREATE TABLE view ("
    " db TEXT PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL,"
    " server TEXT NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE view_doc ("
    " db TEXT NOT NULL, doc TEXT NOT NULL, rev TEXT NOT NULL,"
    " PRIMARY KEY (db, doc, rev)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE view_gone ("
    " db TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (db, doc)) STRICT, WITHOUT ROWID;"
    "ALTER TABLE rev ADD COLUMN here INTEGER NOT NULL DEFAULT 1;"
    /* The tablets whose mail the peer was offered, up to its cursor; '*': all. */
    "ALTER TABLE peer ADD COLUMN tablets TEXT NOT NULL DEFAULT '*';"
    "CREATE INDEX batch_partial ON batch (source) WHERE state = 0;";

/* Step N brings a database of user_version N - 1 to N.  Steps that were released are never changed. */
static const char *const STEPS[] = {STEP_1, STEP_2};
#define VERSION ((int64_t)(sizeof STEPS / sizeof STEPS[0]))

static const char *const SMALL_TABLES[] = {
    "store",        "batch",       "usage",     "own_stream", "own_receipt",
    "receipt_seen", "receipt_due", "peer",      "carried",    "crl",
    "certificate",  "rev",         "local_doc", "refusal",    "refused_login",
    "listed",       "listing",     "holding",   "under_way",  "withdrawn",
    "view_made",    "shelf",       "view",      "view_doc",   "view_gone",
};

int schema_look(struct store *store, enum schema_found *found, struct error *error)
{
    int64_t application, version, objects;

    if (statement_number(store, "SELECT count(*) FROM sqlite_schema", &objects, error) != 0 ||
        statement_number(store, "PRAGMA application_id", &application, error) != 0 ||
        statement_number(store, "PRAGMA user_version", &version, error) != 0)
        return -1;
    if (objects == 0 && version == 0 && application == 0)
        *found = SCHEMA_NONE;
    else if (application != SCHEMA_APPLICATION)
        *found = SCHEMA_FOREIGN;
    else if (version > VERSION)
        *found = SCHEMA_NEWER;
    else
        *found = version < VERSION ? SCHEMA_OLDER : SCHEMA_CURRENT;
    return 0;
}

static int random_hex(char *text, size_t bytes, struct error *error)
{
    unsigned char random[16];

    if (RAND_bytes(random, (int)bytes) != 1)
        return error_set(error, ERROR_FAILED, "store: no random bytes from OpenSSL");
    hex_encode(random, bytes, text);
    return 0;
}

static int write_station(struct store *store, const char *station, const char *role,
                         struct error *error)
{
    static const char INSERT[] =
        "INSERT INTO store (one, uuid, epoch, station, role) VALUES (1, ?1, ?2, ?3, ?4)";
    char uuid[STORE_UUID_BYTES], epoch[STORE_EPOCH_BYTES];
    struct statement s;

    if (random_hex(uuid, 16, error) != 0 || random_hex(epoch, 8, error) != 0)
        return -1;
    s = statement_start(store, INSERT);
    statement_text(&s, 1, uuid);
    statement_text(&s, 2, epoch);
    statement_text(&s, 3, station);
    statement_text(&s, 4, role);
    return statement_run(&s, error);
}

static int take_steps(struct store *store, int64_t version, struct error *error)
{
    char pragma[64];

    for (; version < VERSION; version++) {
        if (statement_script(store, STEPS[version], error) != 0)
            return -1;
    }
    /* Both pragmas write to the database's header, within the transaction. */
    (void)sqlite3_snprintf((int)sizeof pragma, pragma, "PRAGMA user_version = %lld",
                           (long long)VERSION);
    if (statement_script(store, pragma, error) != 0)
        return -1;
    (void)sqlite3_snprintf((int)sizeof pragma, pragma, "PRAGMA application_id = %d",
                           SCHEMA_APPLICATION);
    return statement_script(store, pragma, error);
}

int schema_build(struct store *store, const char *station, const char *role, struct error *error)
{
    enum schema_found found;
    int64_t version;

    if (store_begin(store, error) != 0)
        return -1;
    /* Looked at again: another program may have been faster. */
    if (schema_look(store, &found, error) != 0 ||
        statement_number(store, "PRAGMA user_version", &version, error) != 0)
        goto fail;
    if (found == SCHEMA_NONE || found == SCHEMA_OLDER) {
        if (take_steps(store, version, error) != 0)
            goto fail;
    }
    if (found == SCHEMA_NONE && write_station(store, station, role, error) != 0)
        goto fail;
    return store_commit(store, error);

fail:
    store_rollback(store);
    return -1;
}

/* Run a checking pragma; each row that is not "ok" is a fault, the first one is told. */
static int check(struct store *store, const char *pragma, bool any_row, struct error *error)
{
    sqlite3_stmt *handle = NULL;
    const unsigned char *words;
    int status, result = 0;

    status = sqlite3_prepare_v2(store->db, pragma, -1, &handle, NULL);
    if (status == SQLITE_OK)
        status = sqlite3_step(handle);
    if (status == SQLITE_ROW) {
        words = sqlite3_column_text(handle, 0);
        if (any_row || words == NULL || strcmp((const char *)words, "ok") != 0)
            result = error_set(error, ERROR_CORRUPT, "store %s: is damaged: %s", store->directory,
                               words == NULL ? "no words" : (const char *)words);
    } else if (status != SQLITE_DONE) {
        result = statement_fail(store, status, error);
    }
    (void)sqlite3_finalize(handle);
    return result;
}

int schema_check_quickly(struct store *store, bool all, struct error *error)
{
    char pragma[64];
    size_t i;

    if (all)
        return check(store, "PRAGMA quick_check(1)", false, error);
    for (i = 0; i < sizeof SMALL_TABLES / sizeof SMALL_TABLES[0]; i++) {
        (void)sqlite3_snprintf((int)sizeof pragma, pragma, "PRAGMA quick_check(%Q)",
                               SMALL_TABLES[i]);
        if (check(store, pragma, false, error) != 0)
            return -1;
    }
    return 0;
}

int schema_check_fully(struct store *store, struct error *error)
{
    if (check(store, "PRAGMA integrity_check(1)", false, error) != 0)
        return -1;
    return check(store, "PRAGMA foreign_key_check", true, error);
}
