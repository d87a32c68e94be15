/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Opening a store: made, opened again, somebody else's, damaged, newer, locked, read-only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "store/revs.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

static int make_folder(void **state)
{
    *state = folder_new();
    return 0;
}

static int remove_folder(void **state)
{
    folder_remove(*state);
    return 0;
}

static struct store *try_open(const char *directory, const char *station, const char *role,
                              bool read_only, struct error *error)
{
    struct store_options options = {.directory = directory,
                                    .station = station,
                                    .role = role,
                                    .read_only = read_only,
                                    .busy_ms = 200};

    memset(error, 0, sizeof *error);
    return store_open(&options, error);
}

static bool is_there(const char *folder, const char *name)
{
    char *path = folder_path(folder, name);
    bool there = access(path, F_OK) == 0;

    free(path);
    return there;
}

static int64_t size_of(const char *folder, const char *name)
{
    char *path = folder_path(folder, name);
    struct stat status;
    int64_t size = stat(path, &status) == 0 ? (int64_t)status.st_size : -1;

    free(path);
    return size;
}

static void overwrite(const char *folder, const char *name, off_t at, const void *bytes,
                      size_t size)
{
    char *path = folder_path(folder, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, size, at), (ssize_t)size);
    assert_int_equal(close(fd), 0);
    free(path);
}

static void run_sql(const char *folder, const char *sql)
{
    char *path = folder_path(folder, "boda.db");
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    free(path);
}

/* A store keeps its uuid, epoch and owner over closing; two stores differ in both. */
static void test_made_and_opened_again(void **state)
{
    char *other = folder_path(*state, "other"), uuid[STORE_UUID_BYTES], epoch[STORE_EPOCH_BYTES];
    struct store *store = stores_open(*state);
    struct error error;
    struct stat status;
    char *path;

    (void)snprintf(uuid, sizeof uuid, "%s", store_uuid(store));
    (void)snprintf(epoch, sizeof epoch, "%s", store_epoch(store));
    assert_int_equal(strlen(uuid), 32);
    assert_int_equal(strlen(epoch), 16);
    store_close(store);
    store = try_open(*state, NULL, NULL, false, &error);
    STORES_OK(store != NULL, &error);
    assert_string_equal(store_uuid(store), uuid);
    assert_string_equal(store_epoch(store), epoch);
    assert_string_equal(store_station(store), "c1");
    assert_string_equal(store_role(store), "courier");
    STORES_OK(store_check(store, &error) == 0, &error);
    store_close(store);
    path = folder_path(*state, "boda.db");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    free(path);
    store = stores_open(other);
    assert_string_not_equal(store_uuid(store), uuid);
    assert_string_not_equal(store_epoch(store), epoch);
    store_close(store);
    free(other);
    store_close(NULL);
}

/* The store of one station is not taken by another, and the message names both. */
static void test_of_another_station(void **state)
{
    struct error error;

    store_close(stores_open(*state));
    assert_null(try_open(*state, "t1", "tablet", false, &error));
    assert_int_equal(error.kind, ERROR_FAILED);
    assert_non_null(strstr(error.text, "courier c1"));
    assert_non_null(strstr(error.text, "tablet t1"));
    assert_null(try_open(*state, "c1", "dock", false, &error));
    assert_null(try_open(*state, "c1", NULL, false, &error));
}

/* Without a station to make one for, nothing is made. */
static void test_no_store(void **state)
{
    char *missing = folder_path(*state, "missing");
    struct error error;

    assert_null(try_open(*state, NULL, NULL, false, &error));
    assert_null(try_open(*state, "c1", "courier", true, &error));
    assert_null(try_open(missing, NULL, NULL, true, &error));
    assert_int_equal(error.kind, ERROR_FAILED);
    assert_false(is_there(*state, "boda.db"));
    assert_false(is_there(*state, "missing"));
    free(missing);
}

/* What a power cut at the very making leaves is a fresh store, not a damaged one. */
static void test_empty_file(void **state)
{
    overwrite(*state, "boda.db", 0, "", 0);
    store_close(stores_open(*state));
    assert_false(is_there(*state, "boda.db.damaged-1"));
    store_close(stores_open(*state));
}

/* The store says CORRUPT, has moved its file aside whole, and the next start begins a new one. */
static void expect_moved_aside(const char *folder, int number, int64_t size)
{
    char name[64];
    struct error error;

    (void)snprintf(name, sizeof name, "boda.db.damaged-%d", number);
    assert_null(try_open(folder, "c1", "courier", false, &error));
    if (error.kind != ERROR_CORRUPT)
        print_error("%s\n", error.text);
    assert_int_equal(error.kind, ERROR_CORRUPT);
    assert_non_null(strstr(error.text, "moved aside"));
    assert_int_equal(size_of(folder, name), size);
    assert_false(is_there(folder, "boda.db"));
    store_close(stores_open(folder));
}

static void test_random_bytes(void **state)
{
    unsigned char *bytes = stores_bytes(1, 20000);

    overwrite(*state, "boda.db", 0, bytes, 20000);
    expect_moved_aside(*state, 1, 20000);
    run_sql(*state, "SELECT 1");
    overwrite(*state, "boda.db", 0, bytes, 20000);
    free(bytes);
    /* The second is given the next number; the first one is still there. */
    expect_moved_aside(*state, 2, size_of(*state, "boda.db"));
    assert_int_equal(size_of(*state, "boda.db.damaged-1"), 20000);
}

static void fill(const char *folder, unsigned count, size_t size)
{
    struct store *store = stores_open(folder);
    struct label label;
    unsigned i;

    for (i = 0; i < count; i++)
        stores_add(store, &label, "t1", "server", i + 1, i, size);
    store_close(store);
}

static void test_truncated(void **state)
{
    char *path = folder_path(*state, "boda.db");
    int64_t size;

    fill(*state, 50, 3000);
    size = size_of(*state, "boda.db");
    assert_int_equal(truncate(path, size / 2), 0);
    expect_moved_aside(*state, 1, size / 2);
    free(path);
}

/* Whichever page is flipped: either the store is as it was, or it is moved aside; never a crash, never
 * a store that opens without its station. */
static void test_flipped_pages(void **state)
{
    uint64_t seed = stores_seed();
    unsigned found = 0, tried = 0;
    unsigned char page[4096];
    struct error error;
    struct store *store;
    char *path, *copy;
    int64_t at, size;
    FILE *file;

    fill(*state, 30, 3000);
    size = size_of(*state, "boda.db");
    assert_in_range(size, 4096, 1 << 20);
    copy = malloc((size_t)size & 0xffffff);
    path = folder_path(*state, "boda.db");
    file = fopen(path, "rb");
    assert_non_null(copy);
    assert_non_null(file);
    assert_int_equal(fread(copy, 1, (size_t)size, file), size);
    assert_int_equal(fclose(file), 0);
    for (at = 0; at < size; at += 4096) {
        uint64_t i;

        for (i = 0; i < sizeof page; i++)
            page[i] = (unsigned char)stores_random(&seed);
        assert_int_equal(unlink(path), 0);
        overwrite(*state, "boda.db", 0, copy, (size_t)size);
        overwrite(*state, "boda.db", at, page, sizeof page);
        store = try_open(*state, "c1", "courier", false, &error);
        tried++;
        if (store == NULL) {
            assert_int_equal(error.kind, ERROR_CORRUPT);
            overwrite(*state, "boda.db", 0, copy, (size_t)size);
            found++;
        }
        store_close(store);
    }
    /* An overflow page that holds nothing but a batch's bytes is not told by SQLite: that is what the
     * batch's hash is for.  Batches of 3000 bytes have none. */
    assert_true(tried > 20);
    assert_int_equal(found, tried);
    free(copy);
    free(path);
}

/* A store of a later program is left as it is, byte for byte. */
static void test_newer(void **state)
{
    struct error error;
    int64_t size;

    store_close(stores_open(*state));
    run_sql(*state, "PRAGMA user_version = 99");
    size = size_of(*state, "boda.db");
    assert_null(try_open(*state, "c1", "courier", false, &error));
    assert_int_equal(error.kind, ERROR_FAILED);
    assert_non_null(strstr(error.text, "update the program"));
    assert_int_equal(size_of(*state, "boda.db"), size);
    run_sql(*state, "PRAGMA user_version = 2");
    store_close(stores_open(*state));
}

/* A store of the first version is brought to the present one with all that it has: what the tablet knew is here. */
static void test_older(void **state)
{
    struct store *store = stores_open(*state);
    struct rev_here at = {0};
    struct error error;

    STORES_OK(store_begin(store, &error) == 0, &error);
    STORES_OK(revs_add(store, "medic", "d1", "1-a", &error) == 0, &error);
    STORES_OK(store_commit(store, &error) == 0, &error);
    store_close(store);
    run_sql(*state,
            "DROP TABLE listed; DROP TABLE listing; DROP TABLE holding; DROP TABLE under_way;"
            "DROP TABLE withdrawn; DROP TABLE view_made; DROP TABLE shelf; DROP TABLE view;"
            "DROP TABLE view_doc; DROP TABLE view_gone; DROP INDEX batch_kept;"
            "DROP INDEX batch_partial; ALTER TABLE rev DROP COLUMN here;"
            "ALTER TABLE peer DROP COLUMN tablets; PRAGMA user_version = 1");
    store = stores_open(*state);
    assert_int_equal(revs_next_here(store, &at, &at, &error), 1);
    assert_string_equal(at.id, "d1");
    STORES_OK(store_check(store, &error) == 0, &error);
    store_close(store);
}

static void test_foreign(void **state)
{
    struct error error;

    run_sql(*state, "CREATE TABLE t (a); PRAGMA application_id = 7");
    assert_null(try_open(*state, "c1", "courier", false, &error));
    assert_int_equal(error.kind, ERROR_FAILED);
    assert_non_null(strstr(error.text, "another program's"));
    assert_true(is_there(*state, "boda.db"));
}

/* Damage that is met while the store is in use is examined at the next start, even when the page is one
 * that this start would not have looked at. */
static void test_suspect(void **state)
{
    store_close(stores_open(*state));
    overwrite(*state, "boda.db.suspect", 0, "", 0);
    store_close(stores_open(*state));
    assert_false(is_there(*state, "boda.db.suspect"));
}

/* A log without its database (power cut while moving aside) is kept. */
static void test_orphaned_log(void **state)
{
    overwrite(*state, "boda.db.damaged-1", 0, "x", 1);
    overwrite(*state, "boda.db-wal", 0, "orphan", 6);
    store_close(stores_open(*state));
    assert_int_equal(size_of(*state, "boda.db.damaged-1-wal"), 6);
}

/* Another process holds the write lock: TEMPORARY after the time-out, and it goes on afterwards; reading
 * goes on all the time, also by a read-only connection. */
static void test_locked(void **state)
{
    struct store *store, *reader;
    struct error error = {0};
    struct batch batch;
    int ready[2], done[2], status;
    char byte = 0;
    pid_t child;

    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(done), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct store *other;

        (void)close(done[1]); /* so that the end of the test ends this process */
        other = stores_open(*state);
        if (store_begin(other, &error) != 0 || write(ready[1], "r", 1) != 1 ||
            read(done[0], &byte, 1) != 1)
            _exit(1);
        store_close(other);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    store = stores_open(*state);
    assert_int_equal(store_begin(store, &error), -1);
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    assert_non_null(strstr(error.text, "another program holds it"));
    assert_int_equal(batches_find(store, (const unsigned char[32]){0}, &batch, &error), 0);
    reader = try_open(*state, NULL, NULL, true, &error);
    STORES_OK(reader != NULL, &error);
    assert_int_equal(store_begin(reader, &error), -1);
    store_close(reader);
    assert_int_equal(write(done[1], "d", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    STORES_OK(store_begin(store, &error) == 0, &error);
    STORES_OK(store_commit(store, &error) == 0, &error);
    store_close(store);
    (void)close(ready[0]), (void)close(ready[1]), (void)close(done[0]), (void)close(done[1]);
}

/* On a disk mounted read-only: the station says which file and which user; status still reads. */
static void test_read_only(void **state)
{
    struct error error = {0};
    struct store *store;
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        if (folder_mount_small(*state, 8 << 20) != 0)
            _exit(77);
        fill(*state, 3, 100);
        if (folder_remount_read_only(*state) != 0)
            _exit(77);
        store = try_open(*state, "c1", "courier", false, &error);
        if (store != NULL || error.kind != ERROR_FAILED || strstr(error.text, "user") == NULL)
            _exit(2);
        store = try_open(*state, NULL, NULL, true, &error);
        if (store == NULL) {
            fprintf(stderr, "%s\n", error.text);
            _exit(3);
        }
        if (strcmp(store_station(store), "c1") != 0)
            _exit(4);
        store_close(store);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("skipped: this kernel gives no mount namespace to put a read-only disk in\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The number changes with commits of this and of other connections, and only then. */
static void test_version(void **state)
{
    struct store *one = stores_open(*state), *two = stores_open(*state);
    int64_t first, second, third;
    struct error error = {0};
    struct label label;

    assert_int_equal(store_version(one, &first, &error), 0);
    assert_int_equal(store_version(one, &second, &error), 0);
    assert_int_equal(first, second);
    assert_int_equal(store_begin(one, &error), 0);
    assert_int_equal(store_commit(one, &error), 0);
    assert_int_equal(store_version(one, &second, &error), 0);
    assert_int_equal(first, second);
    stores_add(one, &label, "t1", "server", 1, 1, 10);
    assert_int_equal(store_version(one, &second, &error), 0);
    assert_int_not_equal(first, second);
    stores_add(two, &label, "t1", "server", 2, 2, 10);
    assert_int_equal(store_version(one, &third, &error), 0);
    assert_int_not_equal(second, third);
    assert_int_not_equal(first, third);
    store_close(one);
    store_close(two);
}

/* Transactions do not nest, changes outside one are refused, rolling back twice is harmless. */
static void test_transactions(void **state)
{
    struct store *store = stores_open(*state);
    struct error error = {0};
    struct label label;
    struct batch batch;
    unsigned char *bytes = stores_batch(&label, "t1", "server", 1, 1, 10);

    assert_int_equal(batches_add(store, &label, bytes, 10, &error), -1);
    assert_non_null(strstr(error.text, "transaction"));
    assert_int_equal(store_commit(store, &error), -1);
    assert_int_equal(store_begin(store, &error), 0);
    assert_int_equal(store_begin(store, &error), -1);
    assert_int_equal(batches_add(store, &label, bytes, 10, &error), 0);
    store_rollback(store);
    store_rollback(store);
    assert_int_equal(batches_find(store, label.id, &batch, &error), 0);
    store_close(store);
    free(bytes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_made_and_opened_again),
        TEST(test_of_another_station),
        TEST(test_no_store),
        TEST(test_empty_file),
        TEST(test_random_bytes),
        TEST(test_truncated),
        TEST(test_flipped_pages),
        TEST(test_newer),
        TEST(test_older),
        TEST(test_foreign),
        TEST(test_suspect),
        TEST(test_orphaned_log),
        TEST(test_locked),
        TEST(test_read_only),
        TEST(test_version),
        TEST(test_transactions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
