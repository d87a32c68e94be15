/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/holdings: what is needed is what is listed, less what the tablet holds and what is under way, whatever came in
 * which order; and nothing is written where nothing has changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/holdings.h"
#include "store/peers.h"
#include "store/streams.h"
#include "tests/unit/support/world.h"

/* ---- against a model ---- */

enum { TABLETS = 2, DBS = 2, DOCS = 6, REVS = 3, BATCHES = 400 };

static const char *const tablets[TABLETS] = {"t1", "t2"};
static const char *const dbs[DBS] = {"medic", "medic-user-chw1-meta"};
static const char *const docs[DOCS] = {"a",    "a b",      "person:1",
                                       "z\"'", "\xc3\xa4", "\xf0\x9f\x98\x80"};
static const char *const revs[REVS] = {"1-a", "10-b", "2-c"}; /* in the order of their bytes */

struct model {
    struct world *world;
    uint64_t random;
    bool listed[TABLETS][DBS][DOCS][REVS], held[TABLETS][DBS][DOCS][REVS];
    int under_way[TABLETS][DBS][DOCS][REVS]; /* 1 + the batch; 0: not */
    bool known[TABLETS][DBS], view_due[TABLETS][DBS];
    int batches; /* made */
    struct {
        struct label label;
        bool withdrawn, over;
    } batch[BATCHES];
};

static int below(struct model *model, int end)
{
    return (int)(stores_random(&model->random) % (uint64_t)end);
}

static void list_all(struct model *model, int t, int d)
{
    struct world *world = model->world;
    bool now[DOCS][REVS], changed = false, expected = !model->known[t][d];

    OK(world, holdings_list_begin(world->store, &world->error));
    for (int i = 0; i < DOCS; i++)
        for (int r = 0; r < REVS; r++) {
            now[i][r] = below(model, 4) == 0 ? below(model, 2) == 0 : model->listed[t][d][i][r];
            expected = expected || now[i][r] != model->listed[t][d][i][r];
            for (int times = now[i][r] ? 1 + below(model, 2) : 0; times > 0; times--)
                OK(world, holdings_list(world->store, docs[i], revs[r], &world->error));
        }
    OK(world, holdings_listed_all(world->store, tablets[t], dbs[d], &changed, &world->error));
    assert_int_equal(changed, expected);
    memcpy(model->listed[t][d], now, sizeof now);
    model->known[t][d] = true;
    model->view_due[t][d] = model->view_due[t][d] || expected;
}

static void list_leaves(struct model *model, int t, int d)
{
    struct world *world = model->world;
    const char *leaves[REVS];
    size_t count = 0;
    int i = below(model, DOCS);

    for (int r = 0; r < REVS; r++) {
        model->listed[t][d][i][r] = below(model, 2) == 0;
        if (model->listed[t][d][i][r])
            leaves[count++] = revs[r];
    }
    CHANGE(world, holdings_list_leaves(world->store, tablets[t], dbs[d], docs[i], leaves, count,
                                       &world->error));
}

static void receive_receipt(struct model *model, int t)
{
    struct world *world = model->world;
    bool complete = below(model, 3) > 0;

    BEGIN(world);
    OK(world, holdings_begin(world->store, tablets[t], &world->error));
    for (int d = 0; d < DBS; d++)
        for (int i = 0; i < DOCS; i++)
            for (int r = 0; r < REVS; r++) {
                bool now = below(model, 3) == 0;

                if (now)
                    OK(world, holdings_hold(world->store, tablets[t], dbs[d], docs[i], revs[r],
                                            &world->error));
                model->held[t][d][i][r] = now || (!complete && model->held[t][d][i][r]);
            }
    OK(world, holdings_end(world->store, tablets[t], complete, &world->error));
    if (below(model, 8) == 0) { /* as if the rest of the receipt were malformed */
        store_rollback(world->store);
        BEGIN(world);
        OK(world, holdings_begin(world->store, tablets[t], &world->error));
        for (int d = 0; d < DBS; d++)
            for (int i = 0; i < DOCS; i++)
                for (int r = 0; r < REVS; r++)
                    if (model->held[t][d][i][r])
                        OK(world, holdings_hold(world->store, tablets[t], dbs[d], docs[i], revs[r],
                                                &world->error));
        OK(world, holdings_end(world->store, tablets[t], true, &world->error));
    }
    COMMIT(world);
}

/* Some of what is needed goes into a batch. */
static void send(struct model *model, int t, int d)
{
    struct world *world = model->world;
    struct label *label;
    unsigned char *bytes;

    if (model->batches == BATCHES)
        return;
    label = &model->batch[model->batches].label;
    bytes = stores_batch(label, "server", tablets[t], 0, (unsigned)model->batches, 20);
    memcpy(label->epoch, store_epoch(world->store), sizeof label->epoch);
    BEGIN(world);
    OK(world, streams_next_seq(world->store, "server", tablets[t], &label->seq, &world->error));
    OK(world, batches_add(world->store, label, bytes, 20, &world->error));
    for (int i = 0; i < DOCS; i++)
        for (int r = 0; r < REVS; r++)
            if (model->listed[t][d][i][r] && !model->held[t][d][i][r] &&
                model->under_way[t][d][i][r] == 0 && below(model, 2) == 0) {
                OK(world, holdings_send(world->store, tablets[t], dbs[d], docs[i], revs[r],
                                        label->id, &world->error));
                model->under_way[t][d][i][r] = 1 + model->batches;
            }
    COMMIT(world);
    free(bytes);
    model->batches++;
}

static void end_batch(struct model *model, int b)
{
    model->batch[b].over = true;
    for (int t = 0; t < TABLETS; t++)
        for (int d = 0; d < DBS; d++)
            for (int i = 0; i < DOCS; i++)
                for (int r = 0; r < REVS; r++)
                    if (model->under_way[t][d][i][r] == 1 + b)
                        model->under_way[t][d][i][r] = 0;
}

static void withdraw_or_apply(struct model *model)
{
    struct world *world = model->world;
    int b = model->batches > 0 ? below(model, model->batches) : -1;

    if (b < 0)
        return;
    if (below(model, 2) == 0) {
        CHANGE(world, batches_apply(world->store, &model->batch[b].label, false, &world->error));
    } else {
        CHANGE(world, holdings_withdraw(world->store, model->batch[b].label.to,
                                        model->batch[b].label.id, &world->error));
        model->batch[b].withdrawn = model->batch[b].withdrawn || !model->batch[b].over;
    }
    end_batch(model, b);
}

/* At least half of its documents are listed no more. */
static bool stale(const struct model *model, int b)
{
    int all = 0, gone = 0;

    for (int t = 0; t < TABLETS; t++)
        for (int d = 0; d < DBS; d++)
            for (int i = 0; i < DOCS; i++)
                for (int r = 0; r < REVS; r++)
                    if (model->under_way[t][d][i][r] == 1 + b) {
                        all++;
                        gone += !model->listed[t][d][i][r];
                    }
    return all > 0 && 2 * gone >= all;
}

static void withdraw_stale(struct model *model, int t)
{
    struct world *world = model->world;
    unsigned char id[BATCH_ID_BYTES];
    int found, b;

    while ((found = holdings_next_stale(world->store, tablets[t], id, &world->error)) == 1) {
        for (b = 0; b < model->batches; b++)
            if (memcmp(id, model->batch[b].label.id, sizeof id) == 0)
                break;
        assert_true(b < model->batches && stale(model, b));
        assert_string_equal(model->batch[b].label.to, tablets[t]);
        CHANGE(world, holdings_withdraw(world->store, tablets[t], id, &world->error));
        model->batch[b].withdrawn = true;
        end_batch(model, b);
    }
    assert_int_equal(found, 0);
    for (b = 0; b < model->batches; b++)
        assert_false(strcmp(model->batch[b].label.to, tablets[t]) == 0 && stale(model, b));
}

/* Walk what is listed (NEEDED false) or needed and compare. */
static void check_walk(struct model *model, int t, int d, bool needed)
{
    int (*walk)(struct store *, const char *, const char *, const struct holding *,
                struct holding *, struct error *) =
        needed ? holdings_next_needed : holdings_next_listed;
    struct world *world = model->world;
    struct holding at;
    bool first = true;

    for (int i = 0; i < DOCS; i++)
        for (int r = 0; r < REVS; r++) {
            if (!model->listed[t][d][i][r] ||
                (needed && (model->held[t][d][i][r] || model->under_way[t][d][i][r] != 0)))
                continue;
            assert_int_equal(
                walk(world->store, tablets[t], dbs[d], first ? NULL : &at, &at, &world->error), 1);
            first = false;
            assert_string_equal(at.id, docs[i]);
            assert_string_equal(at.rev, revs[r]);
        }
    assert_int_equal(walk(world->store, tablets[t], dbs[d], first ? NULL : &at, &at, &world->error),
                     0);
}

static void check_unlisted(struct model *model, int t, int d)
{
    struct world *world = model->world;
    struct holding at;
    char after[DOC_ID_BYTES] = "";

    for (int i = 0; i < DOCS; i++) {
        bool held = false, listed = false;

        for (int r = 0; r < REVS; r++) {
            held = held || model->held[t][d][i][r];
            listed = listed || model->listed[t][d][i][r];
        }
        if (!held || listed)
            continue;
        assert_int_equal(holdings_next_unlisted(world->store, tablets[t], dbs[d],
                                                after[0] == '\0' ? NULL : after, &at,
                                                &world->error),
                         1);
        assert_string_equal(at.id, docs[i]);
        assert_string_equal(at.rev, "");
        memcpy(after, at.id, sizeof after);
    }
    assert_int_equal(
        holdings_next_unlisted(world->store, tablets[t], dbs[d], after, &at, &world->error), 0);
}

static void check(struct model *model)
{
    struct world *world = model->world;
    struct listing listing;
    struct label label;

    for (int t = 0; t < TABLETS; t++) {
        uint64_t seq = 0;

        for (int d = 0; d < DBS; d++) {
            check_walk(model, t, d, false);
            check_walk(model, t, d, true);
            check_unlisted(model, t, d);
            OK(world, holdings_listing(world->store, tablets[t], dbs[d], &listing, &world->error));
            assert_int_equal(listing.view_due, model->view_due[t][d]);
        }
        for (int b = 0; b < model->batches; b++) { /* made in the order of their numbers */
            if (!model->batch[b].withdrawn || strcmp(model->batch[b].label.to, tablets[t]) != 0)
                continue;
            assert_int_equal(
                holdings_next_withdrawn(world->store, tablets[t], seq, &label, &world->error), 1);
            assert_true(label_same(&label, &model->batch[b].label));
            assert_memory_equal(label.id, model->batch[b].label.id, BATCH_ID_BYTES);
            seq = label.seq;
        }
        assert_int_equal(
            holdings_next_withdrawn(world->store, tablets[t], seq, &label, &world->error), 0);
    }
}

static void test_model(void **state)
{
    struct model *model = calloc(1, sizeof *model);

    assert_non_null(model);
    model->world = *state;
    model->random = stores_seed();
    for (int step = 0; step < 1500; step++) {
        int t = below(model, TABLETS), d = below(model, DBS);

        switch (below(model, 7)) {
        case 0:
            list_all(model, t, d);
            break;
        case 1:
            list_leaves(model, t, d);
            break;
        case 2:
            receive_receipt(model, t);
            break;
        case 3:
        case 4:
            send(model, t, d);
            break;
        case 5:
            withdraw_or_apply(model);
            break;
        default:
            withdraw_stale(model, t);
        }
        check(model);
    }
    free(model);
}

/* ---- alone ---- */

/* A listing that says what the last one said is not written, and nobody is woken by it. */
static void test_unchanged(void **state)
{
    struct world *world = *state;
    struct store *other = store_another(world->store, &world->error);
    int64_t before[2], after[2];
    bool changed = true;

    assert_non_null(other);
    for (int times = 0; times < 2; times++) {
        OK(world, store_version(world->store, &before[0], &world->error));
        OK(world, store_version(other, &before[1], &world->error));
        OK(world, holdings_list_begin(world->store, &world->error));
        for (int i = DOCS - 1; i >= 0; i--)
            OK(world, holdings_list(world->store, docs[i], "1-a", &world->error));
        OK(world, holdings_listed_all(world->store, "t1", "medic", &changed, &world->error));
        OK(world, store_version(world->store, &after[0], &world->error));
        OK(world, store_version(other, &after[1], &world->error));
        assert_int_equal(changed, times == 0);
        assert_int_equal(before[0] == after[0], times == 1);
        assert_int_equal(before[1] == after[1], times == 1);
    }
    store_close(other);
}

/* What was cut before its end changes nothing, and is not mixed with what comes next. */
static void test_cut_listing(void **state)
{
    struct world *world = *state;
    struct holding at;

    OK(world, holdings_list_begin(world->store, &world->error));
    OK(world, holdings_list(world->store, "half", "1-a", &world->error));
    OK(world, holdings_list_begin(world->store, &world->error));
    OK(world, holdings_list(world->store, "whole", "1-a", &world->error));
    OK(world, holdings_listed_all(world->store, "t1", "medic", NULL, &world->error));
    assert_int_equal(holdings_next_listed(world->store, "t1", "medic", NULL, &at, &world->error),
                     1);
    assert_string_equal(at.id, "whole");
    assert_int_equal(holdings_next_listed(world->store, "t1", "medic", &at, &at, &world->error), 0);
}

/* `since` is kept as it is, a long one too; an empty first listing asks for a view. */
static void test_since(void **state)
{
    struct world *world = *state;
    struct listing listing, got;

    OK(world, holdings_listing(world->store, "t1", "medic", &listing, &world->error));
    assert_string_equal(listing.since, "");
    assert_false(listing.view_due);
    memset(listing.since, 'x', sizeof listing.since - 1);
    CHANGE(world, holdings_set_listing(world->store, "t1", "medic", &listing, &world->error));
    OK(world, holdings_listing(world->store, "t1", "medic", &got, &world->error));
    assert_string_equal(got.since, listing.since);
    OK(world, holdings_list_begin(world->store, &world->error));
    OK(world, holdings_listed_all(world->store, "t2", "medic", NULL, &world->error));
    OK(world, holdings_listing(world->store, "t2", "medic", &got, &world->error));
    assert_true(got.view_due);
}

/* Only what this store has numbered can be withdrawn, by a receipt's run it is forgotten, and couriers hear of it. */
static void test_withdraw(void **state)
{
    struct world *world = *state;
    unsigned char *bytes, ids[2][BATCH_ID_BYTES];
    struct label label, other;
    struct stream_run run = {1, 1, {0}};
    uint64_t freed;
    size_t count;

    stores_add(world->store, &other, "server", "t1", 1, 7, 20); /* of another epoch */
    bytes = stores_batch(&label, "server", "t1", 1, 8, 20);
    memcpy(label.epoch, store_epoch(world->store), sizeof label.epoch);
    CHANGE(world, batches_add(world->store, &label, bytes, 20, &world->error));
    free(bytes);
    CHANGE(world, peers_carries(world->store, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", label.id,
                                &world->error));
    BEGIN(world);
    assert_int_equal(holdings_withdraw(world->store, "t1", other.id, &world->error), -1);
    assert_int_equal(holdings_withdraw(world->store, "t2", label.id, &world->error), -1);
    OK(world, holdings_withdraw(world->store, "t1", label.id, &world->error));
    OK(world, holdings_withdraw(world->store, "t1", label.id, &world->error));
    COMMIT(world);
    OK(world, peers_applied(world->store, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ids, 2, &count,
                            &world->error));
    assert_int_equal(count, 1);
    assert_int_equal(holdings_next_withdrawn(world->store, "t1", 0, &other, &world->error), 1);
    /* A digest of something else proves nothing. */
    CHANGE(world, streams_receipted(world->store, "server", label.epoch, "t1", &run, &freed,
                                    &world->error));
    assert_int_equal(holdings_next_withdrawn(world->store, "t1", 0, &other, &world->error), 1);
}

static int sent_up(struct world *world, const char *epoch, const char *id)
{
    return holdings_sent_up(world->store, "t1", epoch, "medic", id, "1-a", &world->error);
}

static int needed_count(struct world *world)
{
    struct holding at;
    int count = 0,
        found = holdings_next_needed(world->store, "t1", "medic", NULL, &at, &world->error);

    for (; found == 1; count++)
        found = holdings_next_needed(world->store, "t1", "medic", &at, &at, &world->error);
    assert_int_equal(found, 0);
    return count;
}

/* What is too large is not needed, and nothing that could be withdrawn; another revision of it is needed. */
static void test_left_out(void **state)
{
    static const char *const both[] = {"1-a", "2-b"};
    unsigned char batch[BATCH_ID_BYTES];
    struct world *world = *state;

    BEGIN(world);
    OK(world, holdings_list_leaves(world->store, "t1", "medic", docs[0], both, 1, &world->error));
    OK(world, holdings_list_leaves(world->store, "t1", "medic", docs[1], both, 1, &world->error));
    OK(world, holdings_leave_out(world->store, "t1", "medic", docs[0], "1-a", &world->error));
    COMMIT(world);
    assert_int_equal(needed_count(world), 1);
    CHANGE(world,
           holdings_list_leaves(world->store, "t1", "medic", docs[0], &both[1], 1, &world->error));
    assert_int_equal(needed_count(world), 2);
    assert_int_equal(holdings_next_stale(world->store, "t1", batch, &world->error), 0);
    CHANGE(world, holdings_leave_out(world->store, "t1", "medic", docs[0], "2-b", &world->error));
    assert_int_equal(needed_count(world), 1);
    /* The earlier one is forgotten. */
    CHANGE(world,
           holdings_list_leaves(world->store, "t1", "medic", docs[0], both, 1, &world->error));
    assert_int_equal(needed_count(world), 2);
}

/* What came up is not sent down again, before the receipt that says so and without one; the receipt has the last word, and
 * what an earlier self of a tablet sent up is not taken for what it holds. */
static void test_sent_up(void **state)
{
    struct world *world = *state;

    OK(world, holdings_list_begin(world->store, &world->error));
    for (int i = 0; i < 3; i++)
        OK(world, holdings_list(world->store, docs[i], "1-a", &world->error));
    OK(world, holdings_listed_all(world->store, "t1", "medic", NULL, &world->error));
    assert_int_equal(sent_up(world, "0123456789abcdef", docs[0]), -1); /* in no transaction */
    CHANGE(world, sent_up(world, "0123456789abcdef", docs[0]));
    CHANGE(world, sent_up(world, "0123456789abcdef", docs[0]));
    assert_int_equal(needed_count(world), 2);
    BEGIN(world);
    assert_int_equal(
        streams_later_receipt(world->store, "t1", "0123456789abcdef", 1, &world->error), 1);
    OK(world, sent_up(world, "0123456789abcdef", docs[1]));
    COMMIT(world);
    assert_int_equal(needed_count(world), 1);
    BEGIN(world);
    OK(world, holdings_begin(world->store, "t1", &world->error));
    OK(world, holdings_end(world->store, "t1", true, &world->error));
    COMMIT(world);
    assert_int_equal(needed_count(world), 3);
    CHANGE(world, sent_up(world, "fedcba9876543210", docs[2]));
    assert_int_equal(needed_count(world), 3);
}

/* The cost of a user with 25,000 documents, for people to read; a walk that searches would take minutes. */
static void test_many(void **state)
{
    enum { MANY = 25000 };
    struct world *world = *state;
    struct holding at;
    char id[64];
    int64_t began;
    int found, needed = 0;

    for (int times = 0; times < 2; times++) {
        began = clock_ms();
        OK(world, holdings_list_begin(world->store, &world->error));
        for (int i = 0; i < MANY; i++) {
            (void)snprintf(id, sizeof id, "%08x-person-%d", (unsigned)i * 2654435761u, i);
            OK(world, holdings_list(world->store, id, "3-0123456789abcdef0123456789abcdef",
                                    &world->error));
        }
        OK(world, holdings_listed_all(world->store, "t1", "medic", NULL, &world->error));
        print_message("listing of %d: %lld ms\n", MANY, (long long)(clock_ms() - began));
    }
    began = clock_ms();
    BEGIN(world);
    OK(world, holdings_begin(world->store, "t1", &world->error));
    for (int i = 0; i < MANY; i += 2) {
        (void)snprintf(id, sizeof id, "%08x-person-%d", (unsigned)i * 2654435761u, i);
        OK(world, holdings_hold(world->store, "t1", "medic", id,
                                "3-0123456789abcdef0123456789abcdef", &world->error));
    }
    OK(world, holdings_end(world->store, "t1", true, &world->error));
    COMMIT(world);
    print_message("receipt of %d: %lld ms\n", MANY / 2, (long long)(clock_ms() - began));
    began = clock_ms();
    found = holdings_next_needed(world->store, "t1", "medic", NULL, &at, &world->error);
    for (; found == 1; needed++)
        found = holdings_next_needed(world->store, "t1", "medic", &at, &at, &world->error);
    assert_int_equal(found, 0);
    assert_int_equal(needed, MANY / 2);
    print_message("walk over %d needed of %d: %lld ms\n", needed, MANY,
                  (long long)(clock_ms() - began));
    assert_int_equal(holdings_next_unlisted(world->store, "t1", "medic", NULL, &at, &world->error),
                     0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_model),    TEST(test_unchanged), TEST(test_cut_listing), TEST(test_since),
        TEST(test_withdraw), TEST(test_left_out),  TEST(test_sent_up),     TEST(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
