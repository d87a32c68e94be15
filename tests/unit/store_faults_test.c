/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A store that is full, by quota, share, disk or file size, and one whose process is killed at any
 * moment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/batches.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

#define SKIPPED 77
#define KILLS 25

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

/* In a child: say which line failed. */
#define NEED(condition)                                                                 \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #condition, \
                    error.text);                                                        \
            return 1;                                                                   \
        }                                                                               \
    } while (0)

static struct store *open_with(const char *folder, uint64_t quota)
{
    struct store_options options = {.directory = folder,
                                    .station = "c1",
                                    .role = "courier",
                                    .quota_bytes = quota,
                                    .reserve_bytes = 1};
    struct error error = {0};
    struct store *store = store_open(&options, &error);

    STORES_OK(store != NULL, &error);
    return store;
}

/* The quota holds for all sources together, half of it for one; the store's own station is bound by the
 * quota alone; room comes back when batches are applied, discarded or rolled back. */
static void test_quota_and_share(void **state)
{
    struct store *store = open_with(*state, 10000);
    struct error error = {0};
    struct label label, own, partial;
    unsigned char *bytes;
    uint64_t left;

    assert_int_equal(store_room(store, "t1", 5000, &error), 0);
    assert_int_equal(store_room(store, "t1", 5001, &error), -1);
    assert_int_equal(error.kind, ERROR_FULL);
    assert_non_null(strstr(error.text, "share"));
    assert_int_equal(store_room(store, "c1", 10000, &error), 0);
    assert_int_equal(store_room(store, "c1", 10001, &error), -1);
    assert_int_equal(error.kind, ERROR_FULL);
    assert_non_null(strstr(error.text, "quota"));
    stores_add(store, &label, "t1", "server", 1, 1, 4000);
    stores_add(store, &own, "c1", "server", 1, 2, 3000);
    assert_int_equal(store_room(store, "t1", 1000, &error), 0);
    assert_int_equal(store_room(store, "t1", 1001, &error), -1);
    assert_int_equal(store_room(store, "t2", 3000, &error), 0);
    assert_int_equal(store_room(store, "t2", 3001, &error), -1);
    assert_int_equal(store_free_bytes(store, &left, &error), 0);
    assert_int_equal(left, 3000);
    /* Within a transaction its own bytes count at once. */
    bytes = stores_batch(&partial, "t2", "server", 1, 3, 2000);
    assert_int_equal(store_begin(store, &error), 0);
    assert_int_equal(batches_append(store, &partial, 0, bytes, 1500, &error), 0);
    assert_int_equal(store_free_bytes(store, &left, &error), 0);
    assert_int_equal(left, 1500);
    store_rollback(store);
    assert_int_equal(store_free_bytes(store, &left, &error), 0);
    assert_int_equal(left, 3000);
    assert_int_equal(store_begin(store, &error), 0);
    assert_int_equal(batches_append(store, &partial, 0, bytes, 1500, &error), 0);
    assert_int_equal(batches_apply(store, &label, false, &error), 0);
    assert_int_equal(store_commit(store, &error), 0);
    store_close(store);
    store = open_with(*state, 10000);
    assert_int_equal(store_free_bytes(store, &left, &error), 0);
    assert_int_equal(left, 10000 - 3000 - 1500);
    assert_int_equal(store_begin(store, &error), 0);
    assert_int_equal(batches_discard(store, partial.id, &error), 0);
    assert_int_equal(store_commit(store, &error), 0);
    assert_int_equal(store_room(store, "t1", 5000, &error), 0);
    store_close(store);
    free(bytes);
}

/* Fill the store with batches of 20 KB, in transactions of five, until it is full or COUNT are there;
 * the number that are there and committed, or -1. */
static int fill(struct store *store, int first, int count, struct error *error)
{
    struct label label;
    int done = first, i, result;

    while (done < first + count) {
        if (store_begin(store, error) != 0)
            return error->kind == ERROR_FULL ? done : -1;
        for (i = 0, result = 0; i < 5 && result == 0; i++) {
            unsigned char *bytes = stores_batch(&label, "t1", "server", (uint64_t)(done + i + 1),
                                                (unsigned)(done + i), 20000);

            result = batches_add(store, &label, bytes, 20000, error);
            free(bytes);
        }
        if (result != 0)
            store_rollback(store);
        else
            result = store_commit(store, error);
        if (result != 0)
            return error->kind == ERROR_FULL ? done : -1;
        done += 5;
    }
    return done;
}

/* What was committed is whole, nothing else is there. */
static int check_filled(struct store *store, int count)
{
    struct batch_counts counts;
    struct error error = {0};
    struct buffer buffer = {0};
    struct label label;
    int i, same;

    NEED(store_check(store, &error) == 0);
    NEED(batches_count(store, NULL, &counts, &error) == 0);
    NEED(counts.held == (uint64_t)count && counts.partial == 0);
    for (i = 0; i < count; i++) {
        unsigned char *bytes =
            stores_batch(&label, "t1", "server", (uint64_t)(i + 1), (unsigned)i, 20000);

        buffer.length = 0;
        same = batches_load(store, label.id, &buffer, &error) == 0 && buffer.length == 20000 &&
               memcmp(buffer.data, bytes, 20000) == 0;
        free(bytes);
        NEED(same);
    }
    buffer_free(&buffer);
    return 0;
}

/* A file may not grow beyond a limit: the kind is ERROR_FULL, what was committed stays, and the same
 * connection goes on once the limit is lifted. */
static int hit_file_limit(const char *folder)
{
    struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
    struct store *store = open_with(folder, 0);
    struct error error = {0};
    int done, after;

    (void)signal(SIGXFSZ, SIG_IGN);
    done = fill(store, 0, 5, &error);
    NEED(done == 5);
    NEED(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    done = fill(store, done, 1000, &error);
    NEED(done >= 5 && done < 1000 && error.kind == ERROR_FULL);
    NEED(strstr(error.text, "full") != NULL);
    /* What the log held has gone to the database, so a little more may fit now. */
    done = fill(store, done, 1000, &error);
    NEED(done < 1000 && error.kind == ERROR_FULL);
    NEED(check_filled(store, done) == 0);
    limit.rlim_cur = RLIM_INFINITY;
    NEED(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    after = fill(store, done, 20, &error);
    NEED(after == done + 20);
    NEED(check_filled(store, after) == 0);
    store_close(store);
    store = open_with(folder, 0);
    NEED(check_filled(store, after) == 0);
    store_close(store);
    return 0;
}

static void test_file_limit(void **state)
{
    assert_int_equal(folder_in_child(hit_file_limit, *state), 0);
}

/* A disk that is full to the last byte: as above; once somebody makes room the same connection goes on,
 * and what freed batches leave in the store is used again. */
static int fill_disk(const char *folder)
{
    struct error error = {0};
    struct store *store;
    struct label label;
    struct batch batch;
    uint64_t room;
    int done, after, i, fd;
    char *ballast;

    if (folder_mount_small(folder, 32 << 20) != 0)
        return SKIPPED;
    ballast = folder_path(folder, "ballast");
    NEED((fd = open(ballast, O_WRONLY | O_CREAT, 0600)) >= 0);
    NEED(posix_fallocate(fd, 0, 12 << 20) == 0);
    NEED(close(fd) == 0);
    store = open_with(folder, 0);
    done = fill(store, 0, 5000, &error);
    NEED(done > 0 && done < 5000 && error.kind == ERROR_FULL);
    NEED(check_filled(store, done) == 0);
    NEED(store_room(store, "t1", 4 << 20, &error) == -1 && error.kind == ERROR_FULL);
    after = fill(store, done, 5000, &error);
    NEED(after >= done && after < done + 5000 && error.kind == ERROR_FULL);
    NEED(unlink(ballast) == 0);
    free(ballast);
    NEED(check_filled(store, after) == 0);
    /* A receipt comes: half of what is here is freed. */
    for (i = 0; i < after / 2; i++) {
        free(stores_batch(&label, "t1", "server", (uint64_t)(i + 1), (unsigned)i, 20000));
        NEED(store_begin(store, &error) == 0);
        NEED(batches_apply(store, &label, false, &error) == 0);
        NEED(store_commit(store, &error) == 0);
    }
    NEED(store_free_bytes(store, &room, &error) == 0 && room > (uint64_t)after / 2 * 20000);
    done = after;
    after = fill(store, done, after / 2 / 5 * 5 - 10, &error);
    NEED(after == done + done / 2 / 5 * 5 - 10);
    NEED(batches_find(store, label.id, &batch, &error) == 1 && batch.state == BATCH_APPLIED);
    NEED(store_check(store, &error) == 0);
    store_close(store);
    return 0;
}

static void test_full_disk(void **state)
{
    int status = folder_in_child(fill_disk, *state);

    if (status == SKIPPED) {
        print_message("skipped: this kernel gives no mount namespace to put a small disk in\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* ---- kill -9 -------------------------------------------------------------------------------------- */

/* Batch N of the flow that is killed, and its size. */
static unsigned char *nth(struct label *label, unsigned n)
{
    return stores_batch(label, "t1", "server", n, n, 1 + (size_t)n * 7919 % 100000);
}

/* Take batches in, in pieces and groups, apply every third, and write the number of the last one that
 * is committed to the pipe; for ever. */
static void work(const char *folder, int acknowledge)
{
    struct store *store = stores_open(folder);
    struct error error = {0};
    struct batch_counts counts;
    struct label label, old;
    unsigned n, i;

    if (batches_count(store, NULL, &counts, &error) != 0)
        _exit(2);
    for (n = (unsigned)(counts.held + counts.applied) + 1;; n += 3) {
        if (store_begin(store, &error) != 0)
            _exit(3);
        for (i = 0; i < 3; i++) {
            unsigned char *bytes = nth(&label, n + i);
            size_t half = (size_t)label.size / 2;

            if (i == 1 && half > 0) {
                if (batches_append(store, &label, 0, bytes, half, &error) != 0 ||
                    batches_append(store, &label, half, bytes + half, label.size - half, &error) ||
                    batches_complete(store, label.id, &error) != 0)
                    _exit(4);
            } else if (batches_add(store, &label, bytes, label.size, &error) != 0) {
                _exit(5);
            }
            free(bytes);
        }
        free(nth(&old, n / 2 + 1));
        if (batches_apply(store, &old, false, &error) != 0 || store_commit(store, &error) != 0)
            _exit(6);
        i = n + 2;
        if (write(acknowledge, &i, sizeof i) != sizeof i)
            _exit(7);
    }
}

/* Batches 1..N are there, whole or applied, positions without a gap or a repetition, sums right. */
static unsigned check_after_kill(const char *folder, unsigned acknowledged)
{
    struct store *store = stores_open(folder);
    struct batch_counts counts;
    struct error error = {0};
    struct buffer buffer = {0};
    uint64_t stored = 0, left;
    struct label label;
    struct batch batch;
    unsigned n;

    STORES_OK(store_check(store, &error) == 0, &error);
    assert_int_equal(batches_count(store, NULL, &counts, &error), 0);
    assert_int_equal(counts.partial, 0);
    n = (unsigned)(counts.held + counts.applied);
    assert_int_equal(n % 3, 0);
    assert_true(n >= acknowledged);
    for (; n > 0; n--) {
        unsigned char *bytes = nth(&label, n);

        STORES_OK(batches_find(store, label.id, &batch, &error) == 1, &error);
        assert_int_equal(batch.position, n);
        if (batch.state == BATCH_HELD) {
            buffer.length = 0;
            STORES_OK(batches_load(store, label.id, &buffer, &error) == 0, &error);
            assert_memory_equal(buffer.data, bytes, label.size);
        }
        stored += batch.offset;
        free(bytes);
    }
    buffer_free(&buffer);
    store_close(store);
    /* What the accounts say is what is there. */
    store = open_with(folder, UINT64_C(1) << 40);
    STORES_OK(store_free_bytes(store, &left, &error) == 0, &error);
    assert_int_equal(counts.held_bytes, stored);
    assert_true(store_room(store, "c1", (UINT64_C(1) << 40) - stored + 1, &error) == -1);
    store_close(store);
    return (unsigned)(counts.held + counts.applied);
}

/* Killed at random moments, again and again: all that was acknowledged is there, nothing by halves. */
static void test_killed(void **state)
{
    uint64_t seed = stores_seed();
    unsigned acknowledged = 0, last, kills, reached = 0;
    int ends[2], status;
    pid_t child;

    store_close(stores_open(*state));
    for (kills = 0; kills < KILLS; kills++) {
        struct timespec wait = {.tv_nsec = (long)(stores_random(&seed) % 40000000)};

        assert_int_equal(pipe(ends), 0);
        (void)fflush(NULL);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)alarm(60);
            (void)close(ends[0]);
            work(*state, ends[1]);
        }
        (void)close(ends[1]);
        /* Half of the kills come while the store is being opened. */
        if (kills % 2 == 0 && read(ends[0], &last, sizeof last) == sizeof last)
            acknowledged = last;
        (void)nanosleep(&wait, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        while (read(ends[0], &last, sizeof last) == sizeof last)
            acknowledged = last;
        (void)close(ends[0]);
        reached = check_after_kill(*state, acknowledged);
        if (reached > 600)
            break; /* enough to check each time */
    }
    assert_true(reached >= 9);
    print_message("%u kills, %u batches\n", kills, reached);
}

/* Killed while the store is made: afterwards it opens, as new or as made. */
static void test_killed_at_making(void **state)
{
    uint64_t seed = stores_seed();
    unsigned i;

    for (i = 0; i < 20; i++) {
        struct timespec wait = {.tv_nsec = (long)(stores_random(&seed) % 8000000)};
        char name[32], *folder;
        pid_t child;
        int status;

        (void)snprintf(name, sizeof name, "made-%u", i);
        folder = folder_path(*state, name);
        (void)fflush(NULL);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            store_close(stores_open(folder));
            _exit(0);
        }
        (void)nanosleep(&wait, NULL);
        (void)kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        store_close(stores_open(folder));
        free(folder);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_quota_and_share), TEST(test_file_limit),       TEST(test_full_disk),
        TEST(test_killed),          TEST(test_killed_at_making),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
