/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Batches: bytes in and out at every size that cuts differently, states, positions, selections.
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

#include "store/chunks.h"
#include "tests/unit/support/world.h"

static struct batch found(struct world *world, const struct label *label)
{
    struct batch batch;

    assert_int_equal(batches_find(world->store, label->id, &batch, &world->error), 1);
    return batch;
}

static void expect_bytes(struct world *world, const struct label *label, const void *bytes)
{
    struct buffer buffer = {0};
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned char id[32];

    OK(world, batches_load(world->store, label->id, &buffer, &world->error));
    assert_int_equal(buffer.length, label->size);
    assert_memory_equal(buffer.data, bytes, label->size);
    buffer_free(&buffer);
    assert_non_null(hash);
    assert_int_equal(EVP_DigestInit_ex(hash, EVP_sha256(), NULL), 1);
    OK(world, batches_hash(world->store, label->id, label->size, hash, &world->error));
    assert_int_equal(EVP_DigestFinal_ex(hash, id, NULL), 1);
    assert_memory_equal(id, label->id, 32);
    EVP_MD_CTX_free(hash);
}

/* Whole batches of all sizes around the cuts come out as they went in, in any slice. */
static void test_sizes(void **state)
{
    static const size_t sizes[] = {1, 2, 1500, 65535, 65536, 65537, 131071, 131072, 131073, 400000};
    struct world *world = *state;
    struct label label;
    size_t i, got;

    for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *bytes = stores_batch(&label, "t1", "server", i + 1, (unsigned)i, sizes[i]);
        unsigned char *out = malloc(sizes[i] + 10);
        uint64_t at, seed = i;

        assert_non_null(out);
        CHANGE(world, batches_add(world->store, &label, bytes, sizes[i], &world->error));
        expect_bytes(world, &label, bytes);
        for (at = 0; at < 20; at++) {
            size_t from = (size_t)(stores_random(&seed) % (sizes[i] + 2));
            size_t most = (size_t)(stores_random(&seed) % (sizes[i] + 10));
            size_t expected = from >= sizes[i] ? 0 : sizes[i] - from;

            if (expected > most)
                expected = most;
            OK(world, batches_read(world->store, label.id, from, out, most, &got, &world->error));
            assert_int_equal(got, expected);
            if (got > 0)
                assert_memory_equal(out, bytes + from, got);
        }
        assert_int_equal(found(world, &label).position, (int64_t)i + 1);
        free(out);
        free(bytes);
    }
}

/* A batch that comes in pieces of any size, over several openings of the store, is resumed at its
 * offset, is not offered before it is complete, and is the same at the end. */
static void test_partial(void **state)
{
    struct world *world = *state;
    uint64_t seed = stores_seed();
    struct batch_filter held = {.state = BATCH_HELD};
    struct label label;
    struct batch batch;
    unsigned char *bytes = stores_batch(&label, "t1", "server", 1, 7, 300000);
    size_t at = 0, piece;

    while (at < label.size) {
        piece = (size_t)(stores_random(&seed) % 90000 + 1);
        if (piece > label.size - at)
            piece = label.size - at;
        CHANGE(world, batches_append(world->store, &label, at, bytes + at, piece, &world->error));
        at += piece;
        batch = found(world, &label);
        assert_int_equal(batch.state, BATCH_PARTIAL);
        assert_int_equal(batch.offset, at);
        assert_int_equal(batch.position, 0);
        assert_int_equal(batches_next(world->store, &held, 0, &batch, &world->error), 0);
        if (stores_random(&seed) % 3 == 0) {
            store_close(world->store);
            world->store = stores_open(world->folder);
        }
        if (at < label.size) {
            OK(world, store_begin(world->store, &world->error));
            /* Neither the same bytes again, nor a gap, nor completion now. */
            assert_int_equal(batches_append(world->store, &label, 0, bytes, 10, &world->error), -1);
            assert_int_equal(batches_append(world->store, &label, at + 1, bytes, 1, &world->error),
                             -1);
            assert_int_equal(batches_complete(world->store, label.id, &world->error), -1);
            store_rollback(world->store);
        }
    }
    CHANGE(world, batches_complete(world->store, label.id, &world->error));
    CHANGE(world, batches_complete(world->store, label.id, &world->error));
    batch = found(world, &label);
    assert_int_equal(batch.state, BATCH_HELD);
    assert_int_equal(batch.position, 1);
    expect_bytes(world, &label, bytes);
    free(bytes);
}

/* More bytes than the label says are refused before anything is written. */
static void test_too_many_bytes(void **state)
{
    struct world *world = *state;
    struct label label;
    unsigned char *bytes = stores_batch(&label, "t1", "server", 1, 7, 1000);
    struct batch batch;

    label.size = 999;
    OK(world, store_begin(world->store, &world->error));
    assert_int_equal(batches_append(world->store, &label, 0, bytes, 1000, &world->error), -1);
    assert_int_equal(batches_add(world->store, &label, bytes, 1000, &world->error), -1);
    OK(world, batches_append(world->store, &label, 0, bytes, 999, &world->error));
    assert_int_equal(batches_append(world->store, &label, 999, bytes, 1, &world->error), -1);
    OK(world, store_commit(world->store, &world->error));
    CHANGE(world, batches_discard(world->store, label.id, &world->error));
    CHANGE(world, batches_discard(world->store, label.id, &world->error));
    assert_int_equal(batches_find(world->store, label.id, &batch, &world->error), 0);
    free(bytes);
}

/* What another peer has sent of the batch by then, under whatever label, may be anything: of a batch that
 * is added whole nothing of it is left. */
static void test_add_over_a_false_part(void **state)
{
    struct world *world = *state;
    struct batch_counts counts;
    struct label label, lie;
    struct batch batch;
    unsigned char *bytes = stores_batch(&label, "t1", "server", 1, 7, 100000);
    unsigned char *others = stores_bytes(8, 70000);

    lie = label;
    (void)strcpy(lie.from, "t2");
    lie.size = 200000;
    CHANGE(world, batches_append(world->store, &lie, 0, others, 70000, &world->error));
    CHANGE(world, batches_add(world->store, &label, bytes, 100000, &world->error));
    assert_int_equal(found(world, &label).state, BATCH_HELD);
    batch = found(world, &label);
    assert_true(label_same(&batch.label, &label));
    assert_int_equal(batch.position, 1);
    expect_bytes(world, &label, bytes);
    OK(world, batches_count(world->store, NULL, &counts, &world->error));
    assert_int_equal(counts.held_bytes, 100000);
    free(others);
    free(bytes);
}

/* batches_add replaces a partial batch and leaves complete, aside and applied ones alone. */
static void test_add_again(void **state)
{
    struct world *world = *state;
    struct label label;
    unsigned char *bytes = stores_batch(&label, "t1", "server", 1, 7, 100000);

    CHANGE(world, batches_append(world->store, &label, 0, bytes, 70000, &world->error));
    CHANGE(world, batches_add(world->store, &label, bytes, 100000, &world->error));
    assert_int_equal(found(world, &label).state, BATCH_HELD);
    assert_int_equal(found(world, &label).position, 1);
    expect_bytes(world, &label, bytes);
    CHANGE(world, batches_add(world->store, &label, bytes, 100000, &world->error));
    assert_int_equal(found(world, &label).position, 1);
    CHANGE(world, batches_set_aside(world->store, label.id, "signer revoked", &world->error));
    CHANGE(world, batches_add(world->store, &label, bytes, 100000, &world->error));
    assert_int_equal(found(world, &label).state, BATCH_ASIDE);
    CHANGE(world, batches_apply(world->store, &label, false, &world->error));
    CHANGE(world, batches_add(world->store, &label, bytes, 100000, &world->error));
    assert_int_equal(found(world, &label).state, BATCH_APPLIED);
    assert_int_equal(found(world, &label).offset, 0);
    free(bytes);
}

/* Aside keeps its reason and position; released it gets a new, higher position: a peer whose cursor
 * stands beyond the old one is offered it.  It is marked as released, and no other batch is. */
static void test_aside_and_release(void **state)
{
    struct world *world = *state;
    struct batch_filter filter = {.to = "server", .state = BATCH_HELD};
    char reason[ERROR_TEXT_BYTES];
    struct label one, two;
    struct batch batch;

    stores_add(world->store, &one, "t1", "server", 1, 1, 100);
    stores_add(world->store, &two, "t1", "server", 2, 2, 100);
    CHANGE(world, batches_set_aside(world->store, one.id, "signer t1 is revoked", &world->error));
    assert_int_equal(batches_next_aside(world->store, 0, &batch, reason, &world->error), 1);
    assert_string_equal(reason, "signer t1 is revoked");
    assert_memory_equal(batch.label.id, one.id, 32);
    assert_int_equal(batch.position, 1);
    assert_int_equal(batches_next_aside(world->store, 1, &batch, reason, &world->error), 0);
    assert_int_equal(batches_next(world->store, &filter, 0, &batch, &world->error), 1);
    assert_memory_equal(batch.label.id, two.id, 32);
    filter.state = BATCH_ASIDE;
    assert_int_equal(batches_next(world->store, &filter, 0, &batch, &world->error), 1);
    CHANGE(world, batches_release(world->store, one.id, &world->error));
    assert_int_equal(found(world, &one).position, 3);
    assert_true(found(world, &one).released);
    assert_false(found(world, &two).released);
    filter.state = BATCH_HELD;
    assert_int_equal(batches_next(world->store, &filter, 2, &batch, &world->error), 1);
    assert_memory_equal(batch.label.id, one.id, 32);
    assert_int_equal(batches_is_at(world->store, 3, one.id, &world->error), 1);
    assert_int_equal(batches_is_at(world->store, 1, one.id, &world->error), 0);
    assert_int_equal(batches_is_at(world->store, 0, one.id, &world->error), 0);
    OK(world, store_begin(world->store, &world->error));
    assert_int_equal(batches_release(world->store, one.id, &world->error), -1);
    store_rollback(world->store);
}

/* An aside batch that comes under another label takes it, is held again behind all others, and its bytes
 * count as the new source's; the same label, another size, and a batch that is held change nothing. */
static void test_relabel(void **state)
{
    struct world *world = *state;
    struct label label, right, held;
    struct batch now;
    uint64_t bytes;

    stores_add(world->store, &label, "t9", "server", 7, 1, 100);
    stores_add(world->store, &held, "t1", "server", 2, 2, 100);
    CHANGE(world, batches_set_aside(world->store, label.id, "its label lies", &world->error));
    right = label;
    right.size = 99;
    OK(world, store_begin(world->store, &world->error));
    assert_int_equal(batches_relabel(world->store, &label, &world->error), 0);
    assert_int_equal(batches_relabel(world->store, &right, &world->error), 0);
    assert_int_equal(found(world, &label).state, BATCH_ASIDE);
    right = label;
    strcpy(right.from, "t1");
    strcpy(right.epoch, "00000000000000ff");
    right.seq = 1;
    assert_int_equal(batches_relabel(world->store, &right, &world->error), 1);
    OK(world, store_commit(world->store, &world->error));
    assert_int_equal(found(world, &label).state, BATCH_HELD);
    assert_int_equal(found(world, &label).position, 3);
    now = found(world, &label);
    assert_true(label_same(&now.label, &right));
    OK(world, chunks_stored(world->store, "t9", &bytes, &world->error));
    assert_int_equal(bytes, 0);
    OK(world, chunks_stored(world->store, "t1", &bytes, &world->error));
    assert_int_equal(bytes, 200);
    right = held;
    right.seq = 5;
    OK(world, store_begin(world->store, &world->error));
    assert_int_equal(batches_relabel(world->store, &right, &world->error), 0);
    store_rollback(world->store);
    assert_int_equal(found(world, &held).label.seq, 2);
}

/* Applying frees the bytes unless they are to be kept, leaves a tombstone, makes one for a batch that
 * never came, and its position is never given again. */
static void test_apply(void **state)
{
    struct world *world = *state;
    struct label one, two, unknown, bare = {.id = {9}};
    struct batch_filter filter = {.state = BATCH_APPLIED};
    struct buffer buffer = {0};
    struct batch batch;
    unsigned char *bytes;

    stores_add(world->store, &one, "t1", "server", 1, 1, 70000);
    stores_add(world->store, &two, "t1", "server", 2, 2, 70000);
    CHANGE(world, batches_apply(world->store, &one, false, &world->error));
    CHANGE(world, batches_apply(world->store, &one, false, &world->error));
    CHANGE(world, batches_apply(world->store, &two, true, &world->error));
    assert_int_equal(found(world, &one).offset, 0);
    assert_int_equal(batches_load(world->store, one.id, &buffer, &world->error), -1);
    assert_int_equal(found(world, &two).offset, 70000);
    assert_int_equal(batches_next(world->store, &filter, 1, &batch, &world->error), 1);
    assert_memory_equal(batch.label.id, two.id, 32);
    CHANGE(world, batches_drop_bytes(world->store, two.id, &world->error));
    assert_int_equal(found(world, &two).offset, 0);

    bytes = stores_batch(&unknown, "t2", "server", 5, 3, 100);
    CHANGE(world, batches_apply(world->store, &unknown, false, &world->error));
    batch = found(world, &unknown);
    assert_int_equal(batch.state, BATCH_APPLIED);
    assert_string_equal(batch.label.from, "t2");
    assert_int_equal(batch.position, 0);
    CHANGE(world, batches_add(world->store, &unknown, bytes, 100, &world->error));
    assert_int_equal(found(world, &unknown).state, BATCH_APPLIED);
    free(bytes);
    CHANGE(world, batches_apply(world->store, &bare, false, &world->error));
    assert_int_equal(found(world, &bare).state, BATCH_APPLIED);

    stores_add(world->store, &one, "t1", "server", 3, 4, 10);
    assert_int_equal(found(world, &one).position, 3);
    OK(world, store_check(world->store, &world->error));
}

/* A fleeting batch goes when it is handed over; an ordinary one is only noted. */
static void test_handed_over(void **state)
{
    struct world *world = *state;
    struct batch_counts counts;
    struct label one, two;

    stores_add(world->store, &one, "server", "t1", 0, 1, 100);
    stores_add(world->store, &two, "server", "t1", 1, 2, 100);
    CHANGE(world, batches_set_fleeting(world->store, one.id, &world->error));
    CHANGE(world, batches_handed_over(world->store, one.id, &world->error));
    CHANGE(world, batches_handed_over(world->store, two.id, &world->error));
    CHANGE(world, batches_handed_over(world->store, two.id, &world->error));
    assert_int_equal(found(world, &one).state, BATCH_APPLIED);
    assert_int_equal(found(world, &one).offset, 0);
    assert_int_equal(found(world, &two).state, BATCH_HELD);
    OK(world, batches_count(world->store, NULL, &counts, &world->error));
    assert_int_equal(counts.held, 1);
    assert_int_equal(counts.handed_over, 1);
    assert_int_equal(counts.applied, 1);
    assert_int_equal(counts.held_bytes, 100);
}

/* Selections by source and destination give each held batch once, in order of position. */
static void test_selections(void **state)
{
    static const char *const names[] = {"t1", "t2", "server"};
    struct world *world = *state;
    struct label label;
    struct batch batch;
    unsigned i, f, t, expected, got;
    int64_t after;

    for (i = 0; i < 60; i++) {
        stores_add(world->store, &label, names[i % 3], names[i / 3 % 3], i + 1, i, 20);
        if (i % 5 == 0)
            CHANGE(world, batches_apply(world->store, &label, false, &world->error));
    }
    for (f = 0; f < 4; f++) {
        for (t = 0; t < 4; t++) {
            struct batch_filter filter = {
                .from = f < 3 ? names[f] : NULL, .to = t < 3 ? names[t] : "", .state = BATCH_HELD};
            struct batch_counts counts;

            for (expected = 0, i = 0; i < 60; i++)
                expected += i % 5 != 0 && (f == 3 || i % 3 == f) && (t == 3 || i / 3 % 3 == t);
            for (got = 0, after = 0;; got++, after = batch.position) {
                int result = batches_next(world->store, &filter, after, &batch, &world->error);

                assert_true(result >= 0);
                if (result == 0)
                    break;
                assert_true(batch.position > after);
                assert_int_equal(batch.state, BATCH_HELD);
                assert_true(f == 3 || strcmp(batch.label.from, names[f]) == 0);
                assert_true(t == 3 || strcmp(batch.label.to, names[t]) == 0);
            }
            assert_int_equal(got, expected);
            OK(world, batches_count(world->store, &filter, &counts, &world->error));
            assert_int_equal(counts.held, expected);
        }
    }
}

/* Stream order is source, epoch, number, however they came; of unnumbered ones the newest comes. */
static void test_stream_order(void **state)
{
    static const unsigned arrival[] = {3, 1, 0, 2, 0, 4};
    struct world *world = *state;
    struct label label, last = {0};
    struct batch batch;
    unsigned i, count = 0;

    for (i = 0; i < 6; i++) {
        stores_add(world->store, &label, "t2", "server", arrival[i], i, 20);
        stores_add(world->store, &label, "t1", "server", arrival[i], 100 + i, 20);
        stores_add(world->store, &label, "t1", "t2", arrival[i], 200 + i, 20);
    }
    while (batches_next_in_stream(world->store, "server", count == 0 ? NULL : &last, &batch,
                                  &world->error) == 1) {
        static const unsigned order[] = {0, 1, 2, 3, 4};

        assert_string_equal(batch.label.from, count < 5 ? "t1" : "t2");
        assert_int_equal(batch.label.seq, order[count % 5]);
        assert_memory_not_equal(batch.label.id, last.id, 32);
        last = batch.label;
        count++;
        /* Applying while walking does not upset the walk. */
        CHANGE(world, batches_apply(world->store, &last, false, &world->error));
    }
    assert_int_equal(count, 10);
}

static struct label add_unnumbered(struct world *world, struct store *store, const char *from,
                                   const char *to, unsigned seed)
{
    struct label label;
    unsigned char *bytes = stores_batch(&label, from, to, 0, seed, 20);

    OK(world, store_begin(store, &world->error));
    OK(world, batches_add(store, &label, bytes, 20, &world->error));
    OK(world, store_commit(store, &world->error));
    free(bytes);
    return label;
}

static enum batch_state state_in(struct world *world, struct store *store,
                                 const struct label *label)
{
    struct batch batch;

    assert_int_equal(batches_find(store, label->id, &batch, &world->error), 1);
    return batch.state;
}

/* An unnumbered batch replaces what came before it of the same source and destination, whole or in parts, however it
 * became held; no other batch is touched, and it is counted apart. */
static void test_unnumbered_replaced(void **state)
{
    struct world *world = *state;
    struct label first, second, third, partial, other, numbered;
    struct batch_counts counts;
    struct batch batch;
    unsigned char *bytes = stores_batch(&second, "t1", "server", 0, 2, 20), *cut;

    first = add_unnumbered(world, world->store, "t1", "server", 1);
    other = add_unnumbered(world, world->store, "t2", "server", 10);
    stores_add(world->store, &numbered, "t1", "server", 1, 11, 20);
    CHANGE(world, batches_append(world->store, &second, 0, bytes, 20, &world->error));
    assert_int_equal(state_in(world, world->store, &first), BATCH_HELD); /* not by a part */
    CHANGE(world, batches_complete(world->store, second.id, &world->error));
    assert_int_equal(state_in(world, world->store, &first), BATCH_APPLIED);
    free(bytes);
    cut = stores_batch(&partial, "t1", "server", 0, 3, 20);
    CHANGE(world, batches_append(world->store, &partial, 0, cut, 10, &world->error));
    free(cut);
    third = add_unnumbered(world, world->store, "t1", "server", 4);
    assert_int_equal(batches_find(world->store, partial.id, &batch, &world->error), 0);
    assert_int_equal(state_in(world, world->store, &second), BATCH_APPLIED);
    assert_int_equal(state_in(world, world->store, &third), BATCH_HELD);
    assert_int_equal(state_in(world, world->store, &other), BATCH_HELD);
    assert_int_equal(state_in(world, world->store, &numbered), BATCH_HELD);
    /* One that comes again replaces nothing. */
    (void)add_unnumbered(world, world->store, "t1", "server", 1);
    assert_int_equal(state_in(world, world->store, &third), BATCH_HELD);
    OK(world, batches_count(world->store, NULL, &counts, &world->error));
    assert_int_equal(counts.held, 1);
    assert_int_equal(counts.unnumbered, 2);
    assert_int_equal(counts.unnumbered_bytes, 40);
    assert_int_equal(counts.held_bytes, 60);
    assert_int_equal(counts.kept_bytes, 0);
}

/* At its destination a false label must not do away with a batch that nobody has looked into. */
static void test_unnumbered_at_destination(void **state)
{
    struct world *world = *state;
    char *folder = folder_new();
    struct store_options options = {.directory = folder, .station = "dock", .role = "dock"};
    struct store *dock = store_open(&options, &world->error);
    struct label first, second, ours, newer;

    assert_non_null(dock);
    first = add_unnumbered(world, dock, "t1", "server", 1);
    second = add_unnumbered(world, dock, "t1", "server", 2);
    assert_int_equal(state_in(world, dock, &first), BATCH_HELD);
    assert_int_equal(state_in(world, dock, &second), BATCH_HELD);
    ours = add_unnumbered(world, dock, "server", "t1", 3);
    newer = add_unnumbered(world, dock, "server", "t1", 4);
    assert_int_equal(state_in(world, dock, &ours), BATCH_APPLIED);
    assert_int_equal(state_in(world, dock, &newer), BATCH_HELD);
    store_close(dock);
    folder_remove(folder);
    first = add_unnumbered(world, world->store, "server", "c1", 5); /* a courier's own */
    (void)add_unnumbered(world, world->store, "server", "c1", 6);
    assert_int_equal(state_in(world, world->store, &first), BATCH_HELD);
}

/* A rollback gives back positions of that transaction, and no other connection saw them. */
static void test_positions_rolled_back(void **state)
{
    struct world *world = *state;
    struct label label;
    unsigned char *bytes = stores_batch(&label, "t1", "server", 1, 1, 10);

    OK(world, store_begin(world->store, &world->error));
    OK(world, batches_add(world->store, &label, bytes, 10, &world->error));
    assert_int_equal(found(world, &label).position, 1);
    store_rollback(world->store);
    CHANGE(world, batches_add(world->store, &label, bytes, 10, &world->error));
    assert_int_equal(found(world, &label).position, 1);
    free(bytes);
}

static void test_label_check(void **state)
{
    const struct label good = {
        .from = "t1", .to = "server", .epoch = STORES_EPOCH, .seq = 0, .size = 1};
    struct error error;
    struct label label = good;

    (void)state;
    assert_int_equal(label_check(&label, &error), 0);
#define WRONG(change)                                      \
    do {                                                   \
        label = good;                                      \
        change;                                            \
        assert_int_equal(label_check(&label, &error), -1); \
    } while (0)
    WRONG(label.from[0] = '\0');
    WRONG(strcpy(label.from, "T1"));
    WRONG(strcpy(label.from, ".t1"));
    WRONG(strcpy(label.to, "a/b"));
    WRONG(memset(label.to, 'a', sizeof label.to));
    WRONG(strcpy(label.epoch, "0000"));
    WRONG(label.epoch[3] = 'G');
    WRONG(label.epoch[3] = 'A');
    WRONG(label.seq = UINT64_C(1) << 53);
    WRONG(label.size = 0);
    WRONG(label.size = BATCH_MAX_BYTES + 1);
    label = good;
    memset(label.from, 'a', sizeof label.from - 1);
    label.size = BATCH_MAX_BYTES;
    label.seq = (UINT64_C(1) << 53) - 1;
    assert_int_equal(label_check(&label, &error), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_sizes),
        TEST(test_partial),
        TEST(test_too_many_bytes),
        TEST(test_add_over_a_false_part),
        TEST(test_add_again),
        TEST(test_aside_and_release),
        TEST(test_relabel),
        TEST(test_apply),
        TEST(test_handed_over),
        TEST(test_selections),
        TEST(test_stream_order),
        TEST(test_unnumbered_replaced),
        TEST(test_unnumbered_at_destination),
        TEST(test_positions_rolled_back),
        cmocka_unit_test(test_label_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
