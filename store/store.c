/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "store/chunks.h"
#include "store/salvage.h"
#include "store/schema.h"
#include "store/statement.h"

#define BUSY_MS 10000
#define RESERVE_BYTES (32u << 20)
#define CHECK_WHOLE_BYTES (16 << 20) /* a database up to this size is checked whole at each start */
#define LOCK_STEP_MS 20

/* 2 MiB of cache keep a courier small; the log is moved to the database every 8 MiB, so that bulk
 * writes pay few of the two fsyncs that this takes, and its file is cut back to 16 MiB after a larger
 * transaction (sqlite.org/wal.html, "Avoiding Excessively Large WAL Files"). */
static const char SETTINGS[] = "PRAGMA synchronous = FULL;"
                               "PRAGMA foreign_keys = ON;"
                               "PRAGMA cache_size = -2048;"
                               "PRAGMA temp_store = MEMORY;"
                               "PRAGMA wal_autocheckpoint = 2000;"
                               "PRAGMA journal_size_limit = 16777216;"
                               "PRAGMA trusted_schema = OFF;";

/* ---- opening -------------------------------------------------------------------------------------- */

static struct store *new_store(const struct store_options *options, struct error *error)
{
    struct store *store;
    int length;

    if ((options->station == NULL) != (options->role == NULL) || options->directory == NULL) {
        (void)error_set(error, ERROR_FAILED, "store: station and role must be given together");
        return NULL;
    }
    store = calloc(1, sizeof *store);
    if (store == NULL) {
        (void)error_set(error, ERROR_FAILED, "store %s: no memory", options->directory);
        return NULL;
    }
    store->lock = -1;
    store->read_only = options->read_only;
    store->busy_ms = options->busy_ms > 0 ? options->busy_ms : BUSY_MS;
    store->quota_bytes = options->quota_bytes;
    store->reserve_bytes = options->reserve_bytes != 0 ? options->reserve_bytes : RESERVE_BYTES;
    length = snprintf(store->directory, sizeof store->directory, "%s", options->directory);
    if (length < 0 || (size_t)length >= sizeof store->directory) {
        (void)error_set(error, ERROR_FAILED, "store %s: the path is too long", options->directory);
        free(store);
        return NULL;
    }
    (void)snprintf(store->path, sizeof store->path, "%s/boda.db", store->directory);
    return store;
}

/* Whether the folder has a database of more than zero bytes: a power cut at its creation leaves an
 * empty file, which is a fresh store. */
static bool has_database(const struct store *store, int64_t *size)
{
    struct stat status;

    *size = stat(store->path, &status) == 0 ? (int64_t)status.st_size : 0;
    return *size > 0;
}

/* boda.lock: held shared by every connection, whole by one that is the first.  Only that one checks
 * the database, and only it may move it aside.  flock(2) locks do not meet SQLite's own, which are on
 * boda.db and of another kind. */
static int take_lock(struct store *store, struct error *error)
{
    int64_t until = clock_ms() + store->busy_ms, size;
    char path[PATH_MAX];

    (void)snprintf(path, sizeof path, "%s/boda.lock", store->directory);
    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock < 0)
        return error_errno(error, errno,
                           "%s: user %u cannot write in this folder; check its owner and mode, and "
                           "that the disk is not read-only",
                           path, (unsigned)geteuid());
    for (;;) {
        if (flock(store->lock, LOCK_EX | LOCK_NB) == 0) {
            store->alone = true;
            return 0;
        }
        if (errno == EWOULDBLOCK && flock(store->lock, LOCK_SH | LOCK_NB) == 0) {
            if (has_database(store, &size))
                return 0;
            (void)flock(store->lock, LOCK_UN);
        }
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_errno(error, errno, "%s: cannot be locked", path);
        if (clock_ms() >= until)
            return error_set(error, ERROR_TEMPORARY,
                             "store %s: another program is starting on it; try again",
                             store->directory);
        (void)poll(NULL, 0, LOCK_STEP_MS);
    }
}

/* Make an empty boda.db, so that it has our mode: SQLite gives its -wal and -shm the same one.  Never
 * done while a connection may be open, as closing a file drops this process's locks on it. */
static int touch_database(const struct store *store, struct error *error)
{
    int fd = open(store->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_errno(error, errno, "%s: cannot be created", store->path);
    (void)close(fd);
    return file_sync_folder_of(store->path, error);
}

/* As a URI, so that a copy on a read-only disk can be read: without write access SQLite cannot make the
 * -shm that WAL needs (sqlite.org/wal.html, "Read-Only Databases"). */
static int connect_immutable(struct store *store, struct error *error)
{
    char uri[3 * PATH_MAX + 32];
    size_t used = (size_t)snprintf(uri, sizeof uri, "file:");
    const char *at;
    int status;

    for (at = store->path; *at != '\0'; at++)
        used += (size_t)snprintf(uri + used, sizeof uri - used,
                                 strchr("%?#", *at) != NULL ? "%%%02X" : "%c", (unsigned char)*at);
    (void)snprintf(uri + used, sizeof uri - used, "?immutable=1");
    (void)sqlite3_close(store->db);
    status = sqlite3_open_v2(uri, &store->db,
                             SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    return status == SQLITE_OK ? 0 : statement_fail(store, status, error);
}

static bool has_log(const struct store *store)
{
    char path[PATH_MAX];
    struct stat status;

    (void)snprintf(path, sizeof path, "%s-wal", store->path);
    return stat(path, &status) == 0 && status.st_size > 0;
}

static int connect_database(struct store *store, struct error *error)
{
    int flags = store->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    int64_t number;
    int status;

    status = sqlite3_open_v2(store->path, &store->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (status != SQLITE_OK)
        return statement_fail(store, status, error);
    (void)sqlite3_extended_result_codes(store->db, 1);
    (void)sqlite3_busy_timeout(store->db, store->busy_ms);
    if (store->read_only) {
        if (statement_number(store, "PRAGMA user_version", &number, error) == 0)
            return 0;
        status = sqlite3_errcode(store->db) & 0xff;
        if ((status != SQLITE_CANTOPEN && status != SQLITE_READONLY) || has_log(store))
            return -1;
        statement_close_all(store);
        return connect_immutable(store, error);
    }
    if (sqlite3_db_readonly(store->db, "main") == 1)
        return statement_fail(store, SQLITE_READONLY, error);
    if (statement_script(store, "PRAGMA journal_mode = WAL", error) != 0)
        return -1;
    return statement_script(store, SETTINGS, error);
}

/* Read who the store says it is, and compare. */
static int read_station(struct store *store, const struct store_options *options,
                        struct error *error)
{
    struct statement s = statement_start(store, "SELECT uuid, epoch, station, role FROM store");
    int result = statement_step(&s, error);

    if (result < 0)
        return -1;
    if (result == 0)
        return error_set(error, ERROR_CORRUPT, "store %s: is damaged: it does not say whose it is",
                         store->directory);
    statement_get_text(&s, 0, store->uuid, sizeof store->uuid);
    statement_get_text(&s, 1, store->epoch, sizeof store->epoch);
    statement_get_text(&s, 2, store->station, sizeof store->station);
    statement_get_text(&s, 3, store->role, sizeof store->role);
    statement_end(&s);
    if (options->station != NULL &&
        (strcmp(options->station, store->station) != 0 || strcmp(options->role, store->role) != 0))
        return error_set(error, ERROR_FAILED,
                         "store %s: belongs to %s %s, not to %s %s; give the folder of that one",
                         store->directory, store->role, store->station, options->role,
                         options->station);
    return 0;
}

static int examine(struct store *store, bool unclean, int64_t size, struct error *error)
{
    bool suspect;

    if (!store->alone)
        return 0;
    suspect = salvage_is_suspect(store->path);
    if (suspect || size <= CHECK_WHOLE_BYTES || unclean) {
        if (schema_check_quickly(store, suspect || size <= CHECK_WHOLE_BYTES, error) != 0)
            return -1;
    }
    if (suspect)
        salvage_cleared(store->path);
    return 0;
}

static int no_store(const struct store *store, const struct store_options *options,
                    const char *where, struct error *error)
{
    if (options->none != NULL)
        *options->none = true;
    return error_set(error, ERROR_FAILED, "store %s: there is no store %s", store->directory,
                     where);
}

/* Connect, bring the schema up to date, check, read whose it is. */
static int set_up(struct store *store, const struct store_options *options, struct error *error)
{
    enum schema_found found;
    bool unclean = has_log(store);
    int64_t size;

    (void)has_database(store, &size);
    if (connect_database(store, error) != 0 || schema_look(store, &found, error) != 0)
        return -1;
    if (found == SCHEMA_NEWER)
        return error_set(
            error, ERROR_FAILED,
            "store %s: was made by a newer version of this program; update the program",
            store->directory);
    if (found == SCHEMA_FOREIGN)
        return error_set(error, ERROR_FAILED,
                         "%s: is another program's database; give another folder", store->path);
    if (found == SCHEMA_NONE && (options->station == NULL || store->read_only))
        return no_store(store, options, "yet", error);
    if (found == SCHEMA_OLDER && store->read_only)
        return error_set(error, ERROR_FAILED,
                         "store %s: is of an older version; start its station once to update it",
                         store->directory);
    if (found != SCHEMA_NONE && examine(store, unclean, size, error) != 0)
        return -1;
    if (found != SCHEMA_CURRENT && schema_build(store, options->station, options->role, error) != 0)
        return -1;
    return read_station(store, options, error);
}

static int prepare_folder(struct store *store, const struct store_options *options,
                          struct error *error)
{
    int64_t size;

    if (store->read_only || options->station == NULL) {
        if (!has_database(store, &size) && errno != EACCES)
            return no_store(store, options, "in this folder", error);
    } else if (file_make_folder(store->directory, error) != 0) {
        return -1;
    }
    if (store->read_only)
        return 0;
    if (take_lock(store, error) != 0)
        return -1;
    if (store->alone && !has_database(store, &size) &&
        (salvage_orphans(store->path, error) != 0 || touch_database(store, error) != 0))
        return -1;
    return 0;
}

static void disconnect(struct store *store)
{
    statement_close_all(store);
    (void)sqlite3_close(store->db);
    store->db = NULL;
}

struct store *store_open(const struct store_options *options, struct error *error)
{
    struct store *store = new_store(options, error);
    struct error cause = {0};

    if (store == NULL)
        return NULL;
    if (prepare_folder(store, options, &cause) != 0)
        goto fail;
    if (set_up(store, options, &cause) != 0) {
        if (cause.kind == ERROR_CORRUPT && store->alone) {
            disconnect(store);
            if (salvage_move_aside(store->path, cause.text, &cause) == 0)
                (void)error_set(&cause, ERROR_CORRUPT,
                                "store %s: is damaged and was moved aside (see the log); start the "
                                "program again to begin a new store",
                                store->directory);
        }
        goto fail;
    }
    if (store->alone)
        (void)flock(store->lock, LOCK_SH);
    store->alone = false;
    return store;

fail:
    if (error != NULL)
        *error = cause;
    store_close(store);
    return NULL;
}

struct store *store_another(const struct store *store, struct error *error)
{
    const struct store_options options = {.directory = store->directory,
                                          .station = store->station,
                                          .role = store->role,
                                          .quota_bytes = store->quota_bytes,
                                          .reserve_bytes = store->reserve_bytes,
                                          .read_only = store->read_only,
                                          .busy_ms = store->busy_ms};

    return store_open(&options, error);
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    store_rollback(store);
    disconnect(store);
    if (store->lock >= 0)
        (void)close(store->lock);
    free(store);
}

const char *store_uuid(const struct store *store)
{
    return store->uuid;
}

const char *store_epoch(const struct store *store)
{
    return store->epoch;
}

const char *store_station(const struct store *store)
{
    return store->station;
}

const char *store_role(const struct store *store)
{
    return store->role;
}

/* ---- transactions --------------------------------------------------------------------------------- */

static int run_plain(struct store *store, const char *sql, struct error *error)
{
    struct statement s = statement_start(store, sql);

    return statement_step(&s, error) < 0 ? -1 : 0;
}

int store_begin(struct store *store, struct error *error)
{
    if (store->writing)
        return error_set(error, ERROR_FAILED, "store %s: a transaction is open already",
                         store->directory);
    if (store->read_only) /* SQLite would begin a transaction that only reads */
        return error_set(error, ERROR_FAILED, "store %s: was opened to be read only",
                         store->directory);
    if (run_plain(store, "BEGIN IMMEDIATE", error) != 0)
        return -1;
    store->writing = true;
    store->next_position = 0;
    store->usage_bytes = 0;
    store->usage_source[0] = '\0';
    store->changes_before = sqlite3_total_changes(store->db);
    store->now = (int64_t)time(NULL);
    return 0;
}

int store_commit(struct store *store, struct error *error)
{
    if (statement_need_transaction(store, error) != 0 || chunks_settle(store, error) != 0 ||
        run_plain(store, "COMMIT", error) != 0) {
        store_rollback(store);
        return -1;
    }
    store->writing = false;
    if (sqlite3_total_changes(store->db) != store->changes_before)
        store->commits++;
    return 0;
}

void store_rollback(struct store *store)
{
    if (!store->writing)
        return;
    store->writing = false;
    store->usage_bytes = 0;
    if (!sqlite3_get_autocommit(store->db))
        (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

int store_version(struct store *store, int64_t *version, struct error *error)
{
    int64_t others;

    /* data_version changes with other connections' commits alone. */
    if (statement_number(store, "PRAGMA data_version", &others, error) != 0)
        return -1;
    *version = (int64_t)(((uint64_t)others << 32) | store->commits);
    return 0;
}

int store_check(struct store *store, struct error *error)
{
    int result = schema_check_fully(store, error);

    if (result != 0 && !store->read_only)
        salvage_suspect(store->path);
    return result;
}

/* ---- room ----------------------------------------------------------------------------------------- */

/* Bytes of the disk that the store may still use: what the file system has less the reserve, and the
 * database's own free pages. */
static int free_disk(struct store *store, uint64_t *bytes, struct error *error)
{
    int64_t pages, page_bytes;
    struct statvfs disk;
    uint64_t available;

    if (statvfs(store->directory, &disk) != 0)
        return error_errno(error, errno, "store %s: cannot see how full the disk is",
                           store->directory);
    if (statement_number(store, "PRAGMA freelist_count", &pages, error) != 0 ||
        statement_number(store, "PRAGMA page_size", &page_bytes, error) != 0)
        return -1;
    available = (uint64_t)disk.f_bavail * disk.f_frsize;
    available = available > store->reserve_bytes ? available - store->reserve_bytes : 0;
    *bytes = available + (uint64_t)(pages * page_bytes);
    return 0;
}

int store_free_bytes(struct store *store, uint64_t *bytes, struct error *error)
{
    uint64_t stored, left;

    if (free_disk(store, bytes, error) != 0 || chunks_stored(store, NULL, &stored, error) != 0)
        return -1;
    if (store->quota_bytes != 0) {
        left = store->quota_bytes > stored ? store->quota_bytes - stored : 0;
        if (*bytes > left)
            *bytes = left;
    }
    return 0;
}

int store_room(struct store *store, const char *source, uint64_t more_bytes, struct error *error)
{
    uint64_t disk, stored, of_source, share;

    if (free_disk(store, &disk, error) != 0 || chunks_stored(store, NULL, &stored, error) != 0 ||
        chunks_stored(store, source, &of_source, error) != 0)
        return -1;
    if (more_bytes > disk)
        return error_set(
            error, ERROR_FULL,
            "store %s: the disk has %llu bytes to give, %llu are needed (%llu are kept "
            "in reserve); make room on it",
            store->directory, (unsigned long long)disk, (unsigned long long)more_bytes,
            (unsigned long long)store->reserve_bytes);
    if (store->quota_bytes != 0 &&
        (stored > store->quota_bytes || more_bytes > store->quota_bytes - stored))
        return error_set(
            error, ERROR_FULL,
            "store %s: its quota of %llu bytes has %llu stored, no room for %llu more; "
            "carry what it has to its destination, or raise the quota",
            store->directory, (unsigned long long)store->quota_bytes, (unsigned long long)stored,
            (unsigned long long)more_bytes);
    if (strcmp(source, store->station) == 0)
        return 0;
    share = (store->quota_bytes != 0 ? store->quota_bytes : stored + disk) / 2;
    if (of_source > share || more_bytes > share - of_source)
        return error_set(error, ERROR_FULL,
                         "store %s: %s has %llu bytes here, its share is %llu: no room for %llu "
                         "more; carry what it has to its destination",
                         store->directory, source, (unsigned long long)of_source,
                         (unsigned long long)share, (unsigned long long)more_bytes);
    return 0;
}
