/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Streams: numbers, receipts, runs; and that a receipt frees what it proves and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/statement.h"
#include "store/streams.h"
#include "tests/unit/support/world.h"

#define MOST_SEQ 60

/* Numbers count up by one for each destination, are given back by a rollback, and outlive the store's
 * closing. */
static void test_numbers(void **state)
{
    struct world *world = *state;
    uint64_t number;
    unsigned i;

    for (i = 1; i <= 3; i++) {
        BEGIN(world);
        OK(world, streams_next_seq(world->store, "c1", "server", &number, &world->error));
        assert_int_equal(number, i);
        OK(world, streams_next_receipt(world->store, "t1", &number, &world->error));
        assert_int_equal(number, i);
        COMMIT(world);
        BEGIN(world);
        OK(world, streams_next_seq(world->store, "c1", "server", &number, &world->error));
        assert_int_equal(number, i + 1);
        store_rollback(world->store);
        store_close(world->store);
        world->store = stores_open(world->folder);
    }
    BEGIN(world);
    OK(world, streams_next_seq(world->store, "c1", "t1", &number, &world->error));
    assert_int_equal(number, 1);
    OK(world, streams_next_seq(world->store, "server", "t1", &number, &world->error));
    assert_int_equal(number, 1);
    COMMIT(world);
    assert_int_equal(streams_next_seq(world->store, "c1", "t1", &number, &world->error), -1);
}

/* Only a later receipt of the same source and epoch is taken. */
static void test_later_receipt(void **state)
{
    struct world *world = *state;
    struct store *s = world->store;

    BEGIN(world);
    assert_int_equal(streams_later_receipt(s, "server", "e1", 3, &world->error), 1);
    assert_int_equal(streams_later_receipt(s, "server", "e1", 3, &world->error), 0);
    assert_int_equal(streams_later_receipt(s, "server", "e1", 2, &world->error), 0);
    assert_int_equal(streams_later_receipt(s, "server", "e2", 1, &world->error), 1);
    assert_int_equal(streams_later_receipt(s, "server", "e1", 4, &world->error), 1);
    COMMIT(world);
}

static void test_due(void **state)
{
    struct world *world = *state;
    char name[STORE_NAME_BYTES];

    assert_int_equal(streams_next_due(world->store, NULL, name, &world->error), 0);
    BEGIN(world);
    OK(world, streams_set_due(world->store, "t2", true, &world->error));
    OK(world, streams_set_due(world->store, "t1", true, &world->error));
    OK(world, streams_set_due(world->store, "t1", true, &world->error));
    COMMIT(world);
    assert_int_equal(streams_next_due(world->store, NULL, name, &world->error), 1);
    assert_string_equal(name, "t1");
    assert_int_equal(streams_next_due(world->store, name, name, &world->error), 1);
    assert_string_equal(name, "t2");
    assert_int_equal(streams_next_due(world->store, name, name, &world->error), 0);
    BEGIN(world);
    OK(world, streams_set_due(world->store, "t1", false, &world->error));
    COMMIT(world);
    assert_int_equal(streams_next_due(world->store, "", name, &world->error), 1);
    assert_string_equal(name, "t2");
}

static int keep_stream(const struct stream *stream, void *context)
{
    *(struct stream *)context = *stream;
    return 0;
}

/* Add number SEQ when the clock says NOW; whole, or only a part of it. */
static struct label add_at(struct world *world, uint64_t seq, int64_t now, bool whole)
{
    struct label label;
    unsigned char *bytes = stores_batch(&label, "server", "t1", seq, (unsigned)seq, 20);

    BEGIN(world);
    world->store->now = now;
    OK(world, batches_append(world->store, &label, 0, bytes, whole ? 20 : 10, &world->error));
    if (whole)
        OK(world, batches_complete(world->store, label.id, &world->error));
    COMMIT(world);
    free(bytes);
    return label;
}

static struct stream only_stream(struct world *world)
{
    struct stream stream = {0};

    OK(world, streams_each(world->store, keep_stream, &stream, &world->error));
    return stream;
}

/* Numbers of which nothing has come whole are missing, since the first came that is behind them; a tombstone, as of a
 * withdrawn batch, fills its place. */
static void test_gaps(void **state)
{
    struct world *world = *state;
    struct label label;
    unsigned char *bytes;

    (void)add_at(world, 1, 1000, true);
    assert_int_equal(only_stream(world).missing, 0);
    assert_string_equal(only_stream(world).missing_since, "");
    (void)add_at(world, 7, 2000, true);
    (void)add_at(world, 4, 3000, true); /* the oldest behind the gap is 7 */
    assert_int_equal(only_stream(world).missing, 4);
    assert_string_equal(only_stream(world).missing_since, "1970-01-01T00:33:20Z");
    (void)add_at(world, 3, 4000, false);
    assert_int_equal(only_stream(world).missing, 4);
    (void)add_at(world, 2, 5000, true);
    assert_int_equal(only_stream(world).missing, 3); /* 3, 5, 6 */
    bytes = stores_batch(&label, "server", "t1", 3, 3, 20);
    CHANGE(world, batches_apply(world->store, &label, false, &world->error));
    free(bytes);
    assert_int_equal(only_stream(world).missing, 2);
    (void)add_at(world, 5, 6000, true);
    (void)add_at(world, 6, 7000, true);
    assert_int_equal(only_stream(world).missing, 0);
    assert_string_equal(only_stream(world).missing_since, "");
}

/* A receipt is due until the first was made, and whenever something says so. */
static void test_is_due(void **state)
{
    struct world *world = *state;
    uint64_t number;

    assert_int_equal(streams_is_due(world->store, "server", &world->error), 1);
    CHANGE(world, streams_next_receipt(world->store, "server", &number, &world->error));
    assert_int_equal(streams_is_due(world->store, "server", &world->error), 0);
    CHANGE(world, streams_set_due(world->store, "server", true, &world->error));
    assert_int_equal(streams_is_due(world->store, "server", &world->error), 1);
    CHANGE(world, streams_set_due(world->store, "server", false, &world->error));
    assert_int_equal(streams_is_due(world->store, "server", &world->error), 0);
}

/* ---- runs against a model ------------------------------------------------------------------------- */

/* What both stores hold of the stream, as the model has it. */
struct model {
    unsigned char id[MOST_SEQ + 1][32];
    bool applied[MOST_SEQ + 1]; /* at the destination */
    bool freed[MOST_SEQ + 1];   /* at the source */
};

struct runs {
    struct stream_run run[MOST_SEQ + 1];
    unsigned count;
};

static int take_run(const struct stream_run *run, void *context)
{
    struct runs *runs = context;

    assert_true(runs->count <= MOST_SEQ);
    runs->run[runs->count++] = *run;
    return 0;
}

static void check_runs(const struct model *model, const struct runs *runs)
{
    unsigned seq, run = 0;

    for (seq = 1; seq <= MOST_SEQ; seq++) {
        unsigned first = seq;
        unsigned char ids[MOST_SEQ * 32], digest[32];

        if (!model->applied[seq])
            continue;
        for (; seq <= MOST_SEQ && model->applied[seq]; seq++)
            memcpy(ids + (seq - first) * 32, model->id[seq], 32);
        assert_true(run < runs->count);
        assert_int_equal(runs->run[run].first, first);
        assert_int_equal(runs->run[run].last, seq - 1);
        assert_int_equal(EVP_Digest(ids, (seq - first) * 32, digest, NULL, EVP_sha256(), NULL), 1);
        assert_memory_equal(runs->run[run].digest, digest, 32);
        run++;
    }
    assert_int_equal(run, runs->count);
}

static int check_stream(const struct stream *stream, void *context)
{
    const struct model *model = context;
    unsigned seq, contiguous = 0, applied = 0;

    for (seq = 1; seq <= MOST_SEQ; seq++) {
        applied += model->applied[seq];
        if (model->applied[seq] && contiguous == seq - 1)
            contiguous = seq;
    }
    assert_string_equal(stream->from, "t1");
    assert_string_equal(stream->to, "server");
    assert_int_equal(stream->applied, applied);
    assert_int_equal(stream->contiguous, contiguous);
    assert_int_equal(stream->highest, MOST_SEQ);
    assert_int_equal(stream->waiting, MOST_SEQ - applied);
    assert_int_equal(strlen(stream->oldest_waiting), applied == MOST_SEQ ? 0 : 20);
    return 0;
}

/* Whatever is applied in whatever order, with receipts made and lost at random: the runs say exactly
 * what is applied, and the source frees exactly that. */
static void test_runs_against_model(void **state)
{
    struct world *world = *state;
    uint64_t seed = stores_seed(), freed, expected;
    char *folder = folder_path(world->folder, "destination");
    struct store *destination = stores_open(folder);
    struct model *model = calloc(1, sizeof *model);
    struct label labels[MOST_SEQ + 1], none;
    unsigned i, seq, left = MOST_SEQ;
    struct batch batch;

    assert_non_null(model);
    stores_add(destination, &none, "t1", "server", 0, 5000, 20); /* unnumbered: in no stream */
    for (i = 1; i <= MOST_SEQ; i++) {
        stores_add(world->store, &labels[i], "t1", "server", i, i, 20);
        memcpy(model->id[i], labels[i].id, 32);
    }
    for (i = MOST_SEQ; i > 0; i--)
        stores_add(destination, &labels[i], "t1", "server", i, i, 20);
    while (left > 0) {
        struct runs runs = {.count = 0};

        STORES_OK(store_begin(destination, &world->error) == 0, &world->error);
        for (i = 0; i < 8; i++) {
            seq = (unsigned)(stores_random(&seed) % MOST_SEQ) + 1;
            left -= !model->applied[seq];
            model->applied[seq] = true;
            OK(world, batches_apply(destination, &labels[seq], seq % 7 == 0, &world->error));
        }
        OK(world, store_commit(destination, &world->error));
        OK(world, streams_applied_runs(destination, "t1", STORES_EPOCH, "server", MOST_SEQ,
                                       take_run, &runs, &world->error));
        check_runs(model, &runs);
        OK(world, streams_each(destination, check_stream, model, &world->error));
        if (stores_random(&seed) % 3 == 0)
            continue; /* this receipt is lost */
        BEGIN(world);
        for (i = 0; i < runs.count; i++) {
            for (expected = 0, seq = (unsigned)runs.run[i].first; seq <= runs.run[i].last; seq++) {
                expected += !model->freed[seq];
                model->freed[seq] = true;
            }
            OK(world, streams_receipted(world->store, "t1", STORES_EPOCH, "server", &runs.run[i],
                                        &freed, &world->error));
            assert_int_equal(freed, expected);
        }
        COMMIT(world);
        for (seq = 1; seq <= MOST_SEQ; seq++) {
            assert_int_equal(batches_find(world->store, labels[seq].id, &batch, &world->error), 1);
            assert_int_equal(batch.state, model->freed[seq] ? BATCH_APPLIED : BATCH_HELD);
            assert_int_equal(batch.offset, model->freed[seq] ? 0 : 20);
        }
    }
    store_close(destination);
    free(folder);
    free(model);
}

static void receipt(struct world *world, uint64_t first, uint64_t last, const struct label *labels,
                    uint64_t expected)
{
    struct stream_run run = {.first = first, .last = last};
    unsigned char ids[32 * 32];
    uint64_t i, freed = 77;

    for (i = first; i <= last; i++)
        memcpy(ids + (i - first) * 32, labels[i].id, 32);
    assert_int_equal(EVP_Digest(ids, (last - first + 1) * 32, run.digest, NULL, EVP_sha256(), NULL),
                     1);
    BEGIN(world);
    OK(world,
       streams_receipted(world->store, "t1", STORES_EPOCH, "server", &run, &freed, &world->error));
    COMMIT(world);
    assert_int_equal(freed, expected);
}

/* A run whose digest is of other batches, or that we do not have whole, frees nothing. */
static void test_foreign_receipts(void **state)
{
    struct world *world = *state;
    struct label ours[8] = {0}, theirs[8] = {0};
    struct stream_run wrong = {.first = 5, .last = 4};
    unsigned char *bytes;
    uint64_t freed;
    unsigned i;

    for (i = 1; i <= 6; i++) {
        if (i != 5)
            stores_add(world->store, &ours[i], "t1", "server", i, i, 20);
        free(stores_batch(&theirs[i], "t1", "server", i, 100 + i, 20));
    }
    receipt(world, 1, 3, theirs, 0);
    receipt(world, 2, 2, theirs, 0);
    receipt(world, 3, 6, ours, 0); /* 5 is not here */
    receipt(world, 6, 7, ours, 0);
    bytes = stores_batch(&ours[5], "t1", "server", 5, 5, 20);
    BEGIN(world);
    OK(world, batches_append(world->store, &ours[5], 0, bytes, 10, &world->error));
    COMMIT(world);
    receipt(world, 3, 6, ours, 0); /* 5 is here in part only */
    receipt(world, 1, 4, ours, 4);
    receipt(world, 1, 4, ours, 0);
    receipt(world, 6, 6, ours, 1);
    BEGIN(world);
    assert_int_equal(streams_receipted(world->store, "t1", STORES_EPOCH, "server", &wrong, &freed,
                                       &world->error),
                     -1);
    store_rollback(world->store);
    free(bytes);
}

/* A source put back from an old copy gives numbers twice.  Each of the two batches is told and freed on
 * its own, and the numbers around them too. */
static void test_numbers_given_twice(void **state)
{
    struct world *world = *state;
    char *folder = folder_path(world->folder, "destination");
    struct store *destination = stores_open(folder);
    struct label labels[8], again;
    struct runs runs = {.count = 0};
    uint64_t freed, sum = 0;
    unsigned i;

    for (i = 1; i <= 5; i++)
        stores_add(destination, &labels[i], "t1", "server", i, i, 20);
    stores_add(destination, &again, "t1", "server", 3, 33, 20);
    /* The source has the second 3 only. */
    for (i = 1; i <= 5; i++)
        stores_add(world->store, &labels[i], "t1", "server", i, i == 3 ? 33 : i, 20);
    STORES_OK(store_begin(destination, &world->error) == 0, &world->error);
    for (i = 1; i <= 5; i++) {
        struct label label;

        free(stores_batch(&label, "t1", "server", i, i, 20));
        OK(world, batches_apply(destination, &label, false, &world->error));
    }
    OK(world, batches_apply(destination, &again, false, &world->error));
    OK(world, store_commit(destination, &world->error));
    OK(world, streams_applied_runs(destination, "t1", STORES_EPOCH, "server", 9, take_run, &runs,
                                   &world->error));
    assert_int_equal(runs.count, 4); /* 1-2, 3, 3, 4-5 */
    BEGIN(world);
    for (i = 0; i < runs.count; i++) {
        OK(world, streams_receipted(world->store, "t1", STORES_EPOCH, "server", &runs.run[i],
                                    &freed, &world->error));
        sum += freed;
    }
    COMMIT(world);
    assert_int_equal(sum, 5);
    store_close(destination);
    free(folder);
}

/* At most as many runs as asked for, and SHOW's result ends the walk. */
static int stop_at_once(const struct stream_run *run, void *context)
{
    (void)run;
    ++*(unsigned *)context;
    return 9;
}

static void test_bounds_of_walk(void **state)
{
    struct world *world = *state;
    struct runs runs = {.count = 0};
    struct label label;
    unsigned i, calls = 0;

    for (i = 1; i <= 9; i += 2) {
        stores_add(world->store, &label, "t1", "server", i, i, 20);
        BEGIN(world);
        OK(world, batches_apply(world->store, &label, false, &world->error));
        COMMIT(world);
    }
    OK(world, streams_applied_runs(world->store, "t1", STORES_EPOCH, "server", 3, take_run, &runs,
                                   &world->error));
    assert_int_equal(runs.count, 3);
    assert_int_equal(runs.run[2].first, 5);
    assert_int_equal(streams_applied_runs(world->store, "t1", STORES_EPOCH, "server", 3,
                                          stop_at_once, &calls, &world->error),
                     9);
    assert_int_equal(calls, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_numbers),
        TEST(test_later_receipt),
        TEST(test_gaps),
        TEST(test_is_due),
        TEST(test_due),
        TEST(test_foreign_receipts),
        TEST(test_runs_against_model),
        TEST(test_bounds_of_walk),
        TEST(test_numbers_given_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
