/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/shelf: against a simple model under random puts and drops; winners as CouchDB chooses them; every walk is an
 * index search; batches of which nothing is left lose their bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/shelf.h"
#include "store/statement.h"
#include "tests/unit/support/world.h"

#define IDS 12
#define BATCHES 5
#define MODEL_MOST 4096

/* ---- the model: what was put and is there, in the order of seq ---- */

struct entry {
    int db, id, generation;
    char digest;
    bool deleted;
    int batch;
    int64_t seq;
};

struct model {
    struct world *world;
    struct label batches[BATCHES];
    struct entry entries[MODEL_MOST];
    size_t count;
    int64_t seq; /* the highest given */
    uint64_t random;
};

static const char *const databases[] = {"medic", "medic-user-chw1-meta"};

static uint64_t draw(struct model *model, uint64_t below)
{
    return stores_random(&model->random) % below;
}

static void name(const struct entry *entry, char id[8], char rev[16])
{
    (void)snprintf(id, 8, "d%d", entry->id);
    (void)snprintf(rev, 16, "%d-%c", entry->generation, entry->digest);
}

static bool same_doc(const struct entry *a, const struct entry *b)
{
    return a->db == b->db && a->id == b->id;
}

static bool same_rev(const struct entry *a, const struct entry *b)
{
    return same_doc(a, b) && a->generation == b->generation && a->digest == b->digest;
}

static void model_remove(struct model *model, size_t at)
{
    memmove(&model->entries[at], &model->entries[at + 1],
            (--model->count - at) * sizeof model->entries[0]);
}

static const struct entry *model_find(const struct model *model, const struct entry *entry)
{
    for (size_t i = 0; i < model->count; i++)
        if (same_rev(&model->entries[i], entry))
            return &model->entries[i];
    return NULL;
}

/* A wins over B, another revision of the same document. */
static bool wins(const struct entry *a, const struct entry *b)
{
    if (a->deleted != b->deleted)
        return b->deleted;
    if (a->generation != b->generation)
        return a->generation > b->generation;
    return a->digest > b->digest;
}

static const struct entry *model_winner(const struct model *model, const struct entry *of)
{
    const struct entry *winner = NULL;

    for (size_t i = 0; i < model->count; i++)
        if (same_doc(&model->entries[i], of) &&
            (winner == NULL || wins(&model->entries[i], winner)))
            winner = &model->entries[i];
    return winner;
}

/* ENTRY has the highest seq of its document. */
static bool model_latest(const struct model *model, const struct entry *entry)
{
    for (size_t i = 0; i < model->count; i++)
        if (same_doc(&model->entries[i], entry) && model->entries[i].seq > entry->seq)
            return false;
    return true;
}

/* ---- operations on both ---- */

static void fill(struct model *model, const struct entry *entry, struct shelf_doc *doc)
{
    char id[8], rev[16];

    memset(doc, 0, sizeof *doc);
    name(entry, id, rev);
    (void)snprintf(doc->id, sizeof doc->id, "%s", id);
    (void)snprintf(doc->rev, sizeof doc->rev, "%s", rev);
    doc->deleted = entry->deleted;
    memcpy(doc->batch, model->batches[entry->batch].id, BATCH_ID_BYTES);
    doc->at = (uint64_t)entry->generation * 10;
    doc->size = (uint64_t)entry->id + 1;
}

static struct entry any_entry(struct model *model)
{
    return (struct entry){.db = (int)draw(model, 2),
                          .id = (int)draw(model, IDS),
                          .generation = 1 + (int)draw(model, 12),
                          .digest = (char)('a' + draw(model, 2)),
                          .deleted = draw(model, 4) == 0,
                          .batch = (int)draw(model, BATCHES)};
}

static void put(struct model *model)
{
    struct entry entry = any_entry(model), ancestor = entry;
    char texts[2][16], id[8];
    const char *ancestors[2] = {texts[0], texts[1]};
    size_t count = draw(model, 3);
    struct shelf_doc doc;

    fill(model, &entry, &doc);
    for (size_t i = 0; i < count; i++) {
        ancestor.generation = entry.generation - 1 - (int)i;
        name(&ancestor, id, texts[i]);
        for (size_t k = model->count; k > 0; k--)
            if (same_rev(&model->entries[k - 1], &ancestor))
                model_remove(model, k - 1);
    }
    OK(model->world, shelf_put(model->world->store, databases[entry.db], &doc, ancestors, count,
                               &model->world->error));
    if (model_find(model, &entry) != NULL)
        return;
    entry.seq = INT64_MAX; /* learned below */
    assert_true(model->count < MODEL_MOST);
    model->entries[model->count++] = entry;
    assert_int_equal(shelf_find(model->world->store, databases[entry.db], doc.id, doc.rev, &doc,
                                &model->world->error),
                     1);
    assert_true(doc.seq > model->seq);
    model->entries[model->count - 1].seq = model->seq = doc.seq;
}

static void drop(struct model *model)
{
    struct entry entry = any_entry(model);
    bool all = draw(model, 3) == 0;
    char id[8], rev[16];

    name(&entry, id, rev);
    OK(model->world, shelf_drop(model->world->store, databases[entry.db], id, all ? NULL : rev,
                                &model->world->error));
    for (size_t i = model->count; i > 0; i--)
        if (same_doc(&model->entries[i - 1], &entry) &&
            (all || model->entries[i - 1].generation < entry.generation))
            model_remove(model, i - 1);
}

/* ---- comparison ---- */

static void expect(struct model *model, const struct entry *entry, const struct shelf_doc *doc)
{
    struct shelf_doc expected;

    fill(model, entry, &expected);
    assert_string_equal(doc->id, expected.id);
    assert_string_equal(doc->rev, expected.rev);
    assert_int_equal(doc->deleted, expected.deleted);
    assert_memory_equal(doc->batch, expected.batch, BATCH_ID_BYTES);
    assert_int_equal(doc->at, expected.at);
    assert_int_equal(doc->size, expected.size);
}

static void compare_walk(struct model *model, int db, bool descending)
{
    struct world *world = model->world;
    struct shelf_doc doc;
    int64_t after = 0;
    uint64_t pending;

    for (size_t k = 0; k < model->count; k++) {
        const struct entry *entry = &model->entries[descending ? model->count - 1 - k : k];

        if (entry->db != db || !model_latest(model, entry))
            continue;
        assert_int_equal(
            shelf_next(world->store, databases[db], after, descending, &doc, &world->error), 1);
        assert_int_equal(doc.seq, entry->seq);
        expect(model, model_winner(model, entry), &doc);
        after = doc.seq;
    }
    if (!descending) {
        OK(world, shelf_last(world->store, databases[db], &doc.seq, &world->error));
        assert_int_equal(doc.seq, after);
        OK(world, shelf_pending(world->store, databases[db], after, &pending, &world->error));
        assert_int_equal(pending, 0);
    }
    if (after != 0 || !descending)
        assert_int_equal(
            shelf_next(world->store, databases[db], after, descending, &doc, &world->error), 0);
}

struct walk {
    struct model *model;
    const struct entry *previous;
    int db;
    size_t count;
};

static int look(const struct shelf_doc *doc, void *context)
{
    struct walk *walk = context;
    struct entry entry = {.db = walk->db};
    const struct entry *found;

    assert_int_equal(sscanf(doc->id, "d%d", &entry.id), 1);
    assert_int_equal(sscanf(doc->rev, "%d-%c", &entry.generation, &entry.digest), 2);
    found = model_find(walk->model, &entry);
    assert_non_null(found);
    expect(walk->model, found, doc);
    assert_true(walk->previous == NULL || wins(walk->previous, found));
    walk->previous = found;
    walk->count++;
    return 0;
}

static void compare(struct model *model)
{
    struct world *world = model->world;
    size_t seen = 0;
    char id[8], rev[16];

    for (int db = 0; db < 2; db++) {
        compare_walk(model, db, false);
        compare_walk(model, db, true);
        for (int i = 0; i < IDS; i++) {
            struct entry entry = {.db = db, .id = i};
            struct walk walk = {.model = model, .db = db};

            name(&entry, id, rev);
            OK(world, shelf_each(world->store, databases[db], id, look, &walk, &world->error));
            seen += walk.count;
        }
    }
    assert_int_equal(seen, model->count);
}

static void model_start(struct model *model, struct world *world)
{
    memset(model, 0, sizeof *model);
    model->world = world;
    for (unsigned i = 0; i < BATCHES; i++) {
        stores_add(world->store, &model->batches[i], "server", "c1", i + 1, i, 50);
        CHANGE(world, batches_apply(world->store, &model->batches[i], true, &world->error));
    }
}

/* After each of many puts and drops, every question has the model's answer. */
static void test_as_the_model(void **state)
{
    struct model *model = malloc(sizeof *model);

    assert_non_null(model);
    model_start(model, *state);
    model->random = stores_seed();
    for (int round = 0; round < 300; round++) {
        BEGIN(model->world);
        for (uint64_t n = draw(model, 8) + 1; n > 0; n--) {
            if (draw(model, 3) == 0)
                drop(model);
            else
                put(model);
        }
        COMMIT(model->world);
        compare(model);
    }
    free(model);
}

/* ---- what is held ---- */

static void put_one(struct world *world, const struct label *batch, const char *id, const char *rev,
                    const char *ancestor)
{
    struct shelf_doc doc = {.at = 3, .size = 4};

    (void)snprintf(doc.id, sizeof doc.id, "%s", id);
    (void)snprintf(doc.rev, sizeof doc.rev, "%s", rev);
    memcpy(doc.batch, batch->id, BATCH_ID_BYTES);
    CHANGE(world,
           shelf_put(world->store, "medic", &doc, &ancestor, ancestor != NULL, &world->error));
}

/* 2 held here, 1 known, 0 neither. */
static int knows(struct world *world, const char *id, const char *rev)
{
    struct rev_here here = {{0}, {0}, {0}};
    int found;

    while ((found = revs_next_here(world->store, &here, &here, &world->error)) == 1)
        if (strcmp(here.id, id) == 0 && strcmp(here.rev, rev) == 0)
            return 2;
    assert_int_equal(found, 0);
    return revs_known(world->store, "medic", id, rev, &world->error);
}

/* What is put is held; its ancestors and what is dropped stay known and are not held. */
static void test_holds(void **state)
{
    struct world *world = *state;
    struct label batch;

    stores_add(world->store, &batch, "server", "c1", 1, 1, 50);
    put_one(world, &batch, "a", "1-x", NULL);
    assert_int_equal(knows(world, "a", "1-x"), 2);
    put_one(world, &batch, "a", "2-x", "1-x");
    assert_int_equal(knows(world, "a", "1-x"), 1);
    assert_int_equal(knows(world, "a", "2-x"), 2);
    CHANGE(world, shelf_drop(world->store, "medic", "a", "3-x", &world->error));
    assert_int_equal(knows(world, "a", "2-x"), 1);
    put_one(world, &batch, "a", "2-x", NULL);
    assert_int_equal(knows(world, "a", "2-x"), 2);
}

/* A document of a batch that is not there is refused. */
static void test_needs_its_batch(void **state)
{
    struct world *world = *state;
    struct shelf_doc doc = {.id = "a", .rev = "1-a"};

    CHANGE_IS(world, shelf_put(world->store, "medic", &doc, NULL, 0, &world->error), -1);
}

static uint64_t bytes_here(struct world *world, const struct label *label)
{
    struct batch batch = {0};

    assert_int_equal(batches_find(world->store, label->id, &batch, &world->error), 1);
    return batch.offset;
}

/* Only batches of the server's that are applied and of which nothing is left lose their bytes. */
static void test_sweep(void **state)
{
    struct world *world = *state;
    struct label batches[4];

    for (unsigned i = 0; i < 4; i++)
        stores_add(world->store, &batches[i], i == 3 ? "t1" : "server", "c1", i + 1, i, 50);
    for (unsigned i = 0; i < 4; i++)
        if (i != 2)
            CHANGE(world, batches_apply(world->store, &batches[i], true, &world->error));
    put_one(world, &batches[0], "a", "1-a", NULL);
    put_one(world, &batches[1], "b", "1-b", NULL);
    CHANGE(world, shelf_sweep(world->store, &world->error));
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(bytes_here(world, &batches[i]), 50);
    CHANGE(world, shelf_drop(world->store, "medic", "a", NULL, &world->error));
    CHANGE(world, shelf_sweep(world->store, &world->error));
    assert_int_equal(bytes_here(world, &batches[0]), 0);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(bytes_here(world, &batches[i]), 50);
}

/* ---- cost ---- */

#define MANY 25000

static void put_many(struct world *world, const struct label *batch)
{
    BEGIN(world);
    for (int i = 0; i < MANY; i++) {
        struct shelf_doc doc = {.size = 4};

        (void)snprintf(doc.id, sizeof doc.id, "document-%d", i * 7919 % MANY);
        (void)snprintf(doc.rev, sizeof doc.rev, "1-%032d", i);
        memcpy(doc.batch, batch->id, BATCH_ID_BYTES);
        OK(world, shelf_put(world->store, "medic", &doc, NULL, 0, &world->error));
    }
    COMMIT(world);
}

/* The most of COUNTER that one run of any statement on the shelf took since the last call. */
static void reset_counters(const struct store *store)
{
    for (size_t i = 0; i < STATEMENT_SLOTS; i++)
        for (int counter = SQLITE_STMTSTATUS_FULLSCAN_STEP;
             store->slots[i].handle != NULL && counter <= SQLITE_STMTSTATUS_VM_STEP; counter++)
            (void)sqlite3_stmt_status(store->slots[i].handle, counter, 1);
}

static int64_t counted(const struct store *store, int counter)
{
    int64_t sum = 0;

    for (size_t i = 0; i < STATEMENT_SLOTS; i++)
        if (store->slots[i].handle != NULL)
            sum += sqlite3_stmt_status(store->slots[i].handle, counter, 0);
    return sum;
}

static void explain(struct world *world, const char *sql)
{
    sqlite3_stmt *plan;
    char text[4096];
    const char *line;

    (void)snprintf(text, sizeof text, "EXPLAIN QUERY PLAN %s", sql);
    assert_int_equal(sqlite3_prepare_v2(world->store->db, text, -1, &plan, NULL), SQLITE_OK);
    while (sqlite3_step(plan) == SQLITE_ROW) {
        line = (const char *)sqlite3_column_text(plan, 3);
        if (strncmp(line, "SCAN", 4) == 0 && strstr(line, "CONSTANT ROW") == NULL)
            fail_msg("%s\n walks a whole table: %s", sql, line);
    }
    (void)sqlite3_finalize(plan);
}

/* With 25,000 documents, a search costs what it costs with a few, and no statement walks a table. */
static void test_costs_an_index_search(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct shelf_doc doc = {0};
    struct label batch;
    uint64_t count;

    stores_add(store, &batch, "server", "c1", 1, 1, 50);
    CHANGE(world, batches_apply(store, &batch, true, &world->error));
    put_many(world, &batch);
    OK(world, shelf_pending(store, "medic", 0, &count, &world->error));
    assert_int_equal(count, MANY);
    CHANGE(world, shelf_sweep(store, &world->error));
    reset_counters(store);
    for (int64_t at = 1; at < 1000; at++)
        assert_int_equal(shelf_next(store, "medic", at * 24, at % 2, &doc, &world->error), 1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(
            shelf_find(store, "medic", doc.id, i % 2 ? doc.rev : NULL, &doc, &world->error), 1);
    assert_int_equal(counted(store, SQLITE_STMTSTATUS_FULLSCAN_STEP), 0);
    assert_int_equal(counted(store, SQLITE_STMTSTATUS_AUTOINDEX), 0);
    assert_true(counted(store, SQLITE_STMTSTATUS_VM_STEP) < 3000 * 100);
    for (size_t i = 0; i < STATEMENT_SLOTS; i++)
        if (store->slots[i].sql != NULL && strstr(store->slots[i].sql, "shelf") != NULL)
            explain(world, store->slots[i].sql);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_as_the_model),          TEST(test_holds),
        TEST(test_needs_its_batch),       TEST(test_sweep),
        TEST(test_costs_an_index_search),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
