/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/statement.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/salvage.h"

static size_t slot_of(const char *sql)
{
    return (size_t)(((uintptr_t)sql >> 3) * 0x9e3779b1u) % STATEMENT_SLOTS;
}

struct statement statement_start(struct store *store, const char *sql)
{
    struct statement s = {.store = store, .status = SQLITE_OK};
    size_t slot = slot_of(sql), tried;

    for (tried = 0; tried < STATEMENT_SLOTS; tried++, slot = (slot + 1) % STATEMENT_SLOTS) {
        if (store->slots[slot].sql == sql || store->slots[slot].sql == NULL)
            break;
    }
    if (tried < STATEMENT_SLOTS && store->slots[slot].sql == sql &&
        !sqlite3_stmt_busy(store->slots[slot].handle)) {
        s.handle = store->slots[slot].handle;
        s.cached = true;
        return s;
    }
    s.status = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s.handle, NULL);
    if (s.status == SQLITE_OK && tried < STATEMENT_SLOTS && store->slots[slot].sql == NULL) {
        store->slots[slot].sql = sql;
        store->slots[slot].handle = s.handle;
        s.cached = true;
    }
    return s;
}

void statement_text(struct statement *statement, int index, const char *text)
{
    if (statement->status == SQLITE_OK)
        statement->status = sqlite3_bind_text(statement->handle, index, text, -1, SQLITE_STATIC);
}

void statement_integer(struct statement *statement, int index, int64_t value)
{
    if (statement->status == SQLITE_OK)
        statement->status = sqlite3_bind_int64(statement->handle, index, value);
}

void statement_blob(struct statement *statement, int index, const void *bytes, size_t size)
{
    /* A NULL pointer would bind SQL's NULL. */
    if (statement->status == SQLITE_OK)
        statement->status = sqlite3_bind_blob64(statement->handle, index,
                                                bytes == NULL ? "" : bytes, size, SQLITE_STATIC);
}

int statement_step(struct statement *statement, struct error *error)
{
    int status = statement->status;

    if (status == SQLITE_OK) {
        errno = 0; /* for statement_fail */
        status = sqlite3_step(statement->handle);
    }
    if (status == SQLITE_ROW)
        return 1;
    if (status == SQLITE_DONE) {
        statement_end(statement);
        return 0;
    }
    (void)statement_fail(statement->store, status, error);
    statement_end(statement);
    return -1;
}

void statement_end(struct statement *statement)
{
    if (statement->handle == NULL)
        return;
    if (statement->cached) {
        (void)sqlite3_reset(statement->handle); /* repeats the error that step has told */
        (void)sqlite3_clear_bindings(statement->handle);
    } else {
        (void)sqlite3_finalize(statement->handle);
    }
    statement->handle = NULL;
}

int statement_need_transaction(struct store *store, struct error *error)
{
    if (store->writing && !sqlite3_get_autocommit(store->db))
        return 0;
    return error_set(
        error, ERROR_FAILED,
        "store %s: cannot be changed: no transaction is open, or a failure has ended it",
        store->directory);
}

int statement_run(struct statement *statement, struct error *error)
{
    int result;

    if (statement_need_transaction(statement->store, error) != 0) {
        statement_end(statement);
        return -1;
    }
    do {
        result = statement_step(statement, error);
    } while (result == 1);
    return result;
}

void statement_get_text(const struct statement *statement, int column, char *text, size_t size)
{
    const unsigned char *value = sqlite3_column_text(statement->handle, column);

    (void)snprintf(text, size, "%s", value == NULL ? "" : (const char *)value);
}

void statement_get_blob(const struct statement *statement, int column, void *bytes, size_t size)
{
    const void *value = sqlite3_column_blob(statement->handle, column);

    if (value != NULL && (size_t)sqlite3_column_bytes(statement->handle, column) == size)
        memcpy(bytes, value, size);
    else
        memset(bytes, 0, size);
}

int statement_script(struct store *store, const char *sql, struct error *error)
{
    int status;

    errno = 0; /* for statement_fail */
    status = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return status == SQLITE_OK ? 0 : statement_fail(store, status, error);
}

int statement_number(struct store *store, const char *sql, int64_t *number, struct error *error)
{
    struct statement s = statement_start(store, sql);
    int result = statement_step(&s, error);

    if (result < 0)
        return -1;
    *number = result == 1 ? sqlite3_column_int64(s.handle, 0) : 0;
    statement_end(&s);
    return 0;
}

static bool is_full(int status, int errnum)
{
    if (errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG)
        return true;
    /* SQLite keeps no errno for the -shm file, which only grows. */
    return (status & 0xff) == SQLITE_FULL || status == SQLITE_IOERR_SHMSIZE;
}

static const char *user_name(char *text, size_t size)
{
    const struct passwd *user = getpwuid(geteuid());

    if (user != NULL)
        (void)snprintf(text, size, "%s", user->pw_name);
    else
        (void)snprintf(text, size, "%u", (unsigned)geteuid());
    return text;
}

static int describe(const struct store *store, int status, int errnum, struct error *error)
{
    const char *words = store->db == NULL ? sqlite3_errstr(status) : sqlite3_errmsg(store->db);
    char user[64];

    if (is_full(status,
                (status & 0xff) == SQLITE_IOERR || (status & 0xff) == SQLITE_CANTOPEN ? errnum : 0))
        return error_set(error, ERROR_FULL,
                         "store %s: the disk is full; nothing was stored; make room and it goes on",
                         store->directory);
    switch (status & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return error_set(error, ERROR_TEMPORARY,
                         "store %s: another program holds it; end that program or try again",
                         store->directory);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return error_set(error, ERROR_CORRUPT,
                         "store %s: is damaged (%s); start the program again to have it examined",
                         store->directory, words);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return error_set(error, ERROR_FAILED,
                         "%s: user %s cannot open it or write to it (%s%s%s); check owner and mode "
                         "of the file and its folder, and that the disk is not read-only",
                         store->path, user_name(user, sizeof user), words, errnum == 0 ? "" : ": ",
                         errnum == 0 ? "" : strerror(errnum));
    case SQLITE_IOERR:
        return error_set(error, ERROR_FAILED, "%s: the disk fails: %s%s%s", store->path, words,
                         errnum == 0 ? "" : ": ", errnum == 0 ? "" : strerror(errnum));
    default:
        return error_set(error, ERROR_FAILED, "store %s: %s", store->directory, words);
    }
}

int statement_fail(struct store *store, int status, struct error *error)
{
    struct error told;
    int errnum = errno, known;

    /* SQLite keeps errno for some failures, not for those of COMMIT; the last one of the thread, which
     * was cleared before, is the next best. */
    known = store->db == NULL ? 0 : sqlite3_system_errno(store->db);
    if (known != 0)
        errnum = known;
    /* Only the extended code tells a full -shm apart. */
    if (store->db != NULL && (sqlite3_extended_errcode(store->db) & 0xff) == (status & 0xff))
        status = sqlite3_extended_errcode(store->db);
    (void)describe(store, status, errnum, &told);
    if (told.kind == ERROR_CORRUPT && !store->read_only)
        salvage_suspect(store->path);
    if (store->writing)
        store_rollback(store);
    /* What the log holds goes to the database, so that the log can be written from its start. */
    if (told.kind == ERROR_FULL && store->db != NULL)
        (void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (error != NULL)
        *error = told;
    return -1;
}

void statement_close_all(struct store *store)
{
    size_t i;

    for (i = 0; i < STATEMENT_SLOTS; i++) {
        (void)sqlite3_finalize(store->slots[i].handle);
        store->slots[i].handle = NULL;
        store->slots[i].sql = NULL;
    }
}
