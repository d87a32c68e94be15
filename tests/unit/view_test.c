/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/view: what the dock makes of a listing is what the tablet answers from; malformed and older views change
 * nothing; what is gone, outdated or withdrawn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <valgrind/valgrind.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "store/holdings.h"
#include "store/shelf.h"
#include "store/streams.h"
#include "store/view.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

#define SERVER "0123456789abcdef0123456789abcdef"
#define OK(f, call) STORES_OK((call) == 0, &(f)->error)

struct fixture {
    struct deployment *deployment;
    struct trust *trust;
    char *folders[2];
    struct store *tablet, *dock;
    struct error error;
};

static struct store *open_store(struct fixture *f, int which, const char *station, const char *role)
{
    const struct store_options options = {
        .directory = f->folders[which], .station = station, .role = role, .reserve_bytes = 4096};
    struct store *store = store_open(&options, &f->error);

    STORES_OK(store != NULL, &f->error);
    return store;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->deployment = deployment_new();
    f->trust = deployment_trust(f->deployment, false);
    f->folders[0] = folder_new();
    f->folders[1] = folder_new();
    f->tablet = open_store(f, 0, "t1", "tablet");
    f->dock = open_store(f, 1, "dock", "dock");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    store_close(f->tablet);
    store_close(f->dock);
    folder_remove(f->folders[0]);
    folder_remove(f->folders[1]);
    trust_free(f->trust);
    deployment_free(f->deployment);
    free(f);
    return 0;
}

/* ---- the dock ---- */

/* The listing is IDS, one letter each, of this revision. */
static void list(struct fixture *f, const char *ids, const char *rev)
{
    char id[2] = "";

    OK(f, holdings_list_begin(f->dock, &f->error));
    for (; *ids != '\0'; ids++) {
        id[0] = *ids;
        OK(f, holdings_list(f->dock, id, rev, &f->error));
    }
    OK(f, holdings_listed_all(f->dock, "t1", "medic", NULL, &f->error));
}

static int make(struct fixture *f, const char *const *gone, size_t count)
{
    const struct view_making making = {.tablet = "t1",
                                       .db = "medic",
                                       .user = "chw1",
                                       .server = SERVER,
                                       .at = 7,
                                       .gone = gone,
                                       .gone_count = count};
    int result;

    OK(f, store_begin(f->dock, &f->error));
    result = view_make(f->dock, f->deployment->server, identity_certificate(f->deployment->tablet),
                       &making, &f->error);
    OK(f, store_commit(f->dock, &f->error));
    return result;
}

/* Open what the dock holds for the tablet: its only batch.  The caller frees it. */
static void open_made(struct fixture *f, struct opened_batch *opened, struct label *label)
{
    const struct batch_filter held = {.to = "t1", .state = BATCH_HELD};
    struct buffer bytes = {0};
    struct batch batch = {0};

    STORES_OK(batches_next(f->dock, &held, 0, &batch, &f->error) == 1, &f->error);
    *label = batch.label;
    assert_int_equal(batches_next(f->dock, &held, batch.position, &batch, &f->error), 0);
    OK(f, batches_load(f->dock, label->id, &bytes, &f->error));
    OK(f, batch_open(f->deployment->tablet, f->trust, label, bytes.data, bytes.length, opened, NULL,
                     &f->error));
    buffer_free(&bytes);
}

/* ---- the tablet ---- */

static int apply(struct fixture *f, const struct opened_batch *view, const struct label *label)
{
    int result;

    OK(f, store_begin(f->tablet, &f->error));
    result = view_apply(f->tablet, view, label, &f->error);
    if (result < 0)
        store_rollback(f->tablet);
    else
        OK(f, store_commit(f->tablet, &f->error));
    return result;
}

/* Apply LINES as the view number SEQ of EPOCH. */
static int apply_lines(struct fixture *f, const char *epoch, uint64_t seq, const char *lines)
{
    struct opened_batch view = {.lines = lines, .lines_bytes = strlen(lines)};
    struct label label;

    free(stores_batch(&label, SERVER_NAME, "t1", seq, (unsigned)seq + (unsigned)epoch[15], 50));
    (void)snprintf(label.epoch, sizeof label.epoch, "%s", epoch);
    view.manifest.seq = seq;
    (void)snprintf(view.manifest.kind, sizeof view.manifest.kind, "view");
    (void)snprintf(view.manifest.db, sizeof view.manifest.db, "medic");
    (void)snprintf(view.manifest.from, sizeof view.manifest.from, "%s", SERVER_NAME);
    (void)snprintf(view.manifest.to, sizeof view.manifest.to, "t1");
    (void)snprintf(view.manifest.epoch, sizeof view.manifest.epoch, "%s", epoch);
    return apply(f, &view, &label);
}

/* The view of the tablet says "ID REV ID REV ". */
static void expect_listing(struct fixture *f, const char *expected)
{
    char text[4096] = "", id[DOC_ID_BYTES] = "", rev[DOC_REV_BYTES];
    int found;

    while ((found = view_next(f->tablet, "medic", id, id, rev, &f->error)) == 1)
        (void)strcat(strcat(strcat(strcat(text, id), " "), rev), " ");
    OK(f, found);
    assert_string_equal(text, expected);
}

static void put(struct fixture *f, struct label *label, const char *id, const char *rev)
{
    struct shelf_doc doc = {.size = 4};

    (void)snprintf(doc.id, sizeof doc.id, "%s", id);
    (void)snprintf(doc.rev, sizeof doc.rev, "%s", rev);
    memcpy(doc.batch, label->id, BATCH_ID_BYTES);
    OK(f, store_begin(f->tablet, &f->error));
    OK(f, shelf_put(f->tablet, "medic", &doc, NULL, 0, &f->error));
    OK(f, store_commit(f->tablet, &f->error));
}

static struct batch find(struct fixture *f, struct store *store, const unsigned char *id)
{
    struct batch batch = {0};

    STORES_OK(batches_find(store, id, &batch, &f->error) == 1, &f->error);
    return batch;
}

/* ---- tests ---- */

/* What the dock has listed is what the tablet answers from; the next view takes its place, and the one before is
 * withdrawn, unless it was receipted. */
static void test_made_and_applied(void **state)
{
    struct fixture *f = *state;
    const char *const gone[] = {"a", "z"};
    struct opened_batch view;
    struct label first, second, third;
    int64_t count;

    OK(f, view_count(f->tablet, "medic", &count, &f->error));
    assert_int_equal(count, -1);
    list(f, "abc", "1-a");
    assert_int_equal(make(f, NULL, 0), 1);
    open_made(f, &view, &first);
    assert_string_equal(view.manifest.kind, "view");
    assert_string_equal(view.manifest.user, "chw1");
    assert_int_equal(apply(f, &view, &first), 1);
    expect_listing(f, "a 1-a b 1-a c 1-a ");
    assert_int_equal(apply(f, &view, &first), 1); /* replayed */
    opened_batch_free(&view);
    list(f, "bcd", "2-a");
    assert_int_equal(make(f, gone, 2), 1);
    open_made(f, &view, &second); /* it is the only one */
    assert_int_equal(second.seq, 2);
    assert_int_equal(apply(f, &view, &second), 1);
    opened_batch_free(&view);
    expect_listing(f, "b 2-a c 2-a d 2-a ");
    OK(f, view_count(f->tablet, "medic", &count, &f->error));
    assert_int_equal(count, 3);
    assert_int_equal(view_gone(f->tablet, "medic", "a", &f->error), 1);
    assert_int_equal(view_gone(f->tablet, "medic", "b", &f->error), 0);
    assert_int_equal(view_gone(f->tablet, "other", "a", &f->error), 0);
    assert_int_equal(find(f, f->dock, first.id).state, BATCH_APPLIED);
    /* Receipted: not named. */
    OK(f, store_begin(f->dock, &f->error));
    OK(f, batches_apply(f->dock, &second, false, &f->error));
    OK(f, store_commit(f->dock, &f->error));
    list(f, "a", "3-a");
    assert_int_equal(make(f, NULL, 0), 1);
    open_made(f, &view, &third);
    assert_int_equal(apply(f, &view, &third), 1);
    opened_batch_free(&view);
    expect_listing(f, "a 3-a ");
    assert_int_equal(view_gone(f->tablet, "medic", "a", &f->error), 0);
    assert_int_equal(view_gone(f->tablet, "medic", "z", &f->error), 1);
}

/* A view is withdrawn before the tablet has seen it: its number is no gap. */
static void test_withdrawn_is_no_gap(void **state)
{
    struct fixture *f = *state;
    const struct batch_filter all = {.from = SERVER_NAME};
    struct batch_counts counts;
    struct opened_batch view;
    struct label label;

    for (int i = 0; i < 3; i++) {
        list(f, &"abc"[i], "1-a");
        assert_int_equal(make(f, NULL, 0), 1);
    }
    open_made(f, &view, &label);
    assert_int_equal(label.seq, 3);
    assert_int_equal(apply(f, &view, &label), 1);
    opened_batch_free(&view);
    OK(f, batches_count(f->tablet, &all, &counts, &f->error));
    assert_int_equal(counts.applied, 3);
}

/* A batch that came whole is used though it was withdrawn; a part of one goes; the shelf's stays. */
static void test_withdrawn_and_here(void **state)
{
    struct fixture *f = *state;
    char lines[1024], hex[3][BATCH_ID_TEXT_BYTES];
    struct label held, kept, partial;
    unsigned char *bytes;

    stores_add(f->tablet, &held, SERVER_NAME, "t1", 1, 1, 50);
    stores_add(f->tablet, &kept, SERVER_NAME, "t1", 2, 2, 50);
    bytes = stores_batch(&partial, SERVER_NAME, "t1", 3, 3, 50);
    OK(f, store_begin(f->tablet, &f->error));
    OK(f, batches_apply(f->tablet, &kept, true, &f->error));
    OK(f, batches_append(f->tablet, &partial, 0, bytes, 20, &f->error));
    OK(f, store_commit(f->tablet, &f->error));
    free(bytes);
    put(f, &kept, "a", "1-a");
    hex_encode(held.id, BATCH_ID_BYTES, hex[0]);
    hex_encode(kept.id, BATCH_ID_BYTES, hex[1]);
    hex_encode(partial.id, BATCH_ID_BYTES, hex[2]);
    (void)snprintf(lines, sizeof lines,
                   "{\"view\":{\"server\":\"\",\"at\":0}}\n"
                   "{\"withdrawn\":[[\"%s\",1,50],[\"%s\",2,50],[\"%s\",3,50]]}\n",
                   hex[0], hex[1], hex[2]);
    assert_int_equal(apply_lines(f, STORES_EPOCH, 4, lines), 1);
    assert_int_equal(find(f, f->tablet, held.id).state, BATCH_HELD);
    assert_int_equal(find(f, f->tablet, kept.id).offset, 50);
    assert_int_equal(find(f, f->tablet, partial.id).state, BATCH_APPLIED);
    assert_int_equal(find(f, f->tablet, partial.id).offset, 0);
}

/* What the view lists is known and not held; what it lists by a higher generation, or calls gone, leaves the shelf and
 * is not held, and a batch of which nothing is left loses its bytes. */
static void test_shelf(void **state)
{
    struct fixture *f = *state;
    struct shelf_doc doc;
    struct rev_here here = {{0}, {0}, {0}};
    struct label label;

    stores_add(f->tablet, &label, SERVER_NAME, "t1", 1, 1, 50);
    OK(f, store_begin(f->tablet, &f->error));
    OK(f, batches_apply(f->tablet, &label, true, &f->error));
    OK(f, revs_add(f->tablet, "medic", "gone", "5-app", &f->error));
    OK(f, store_commit(f->tablet, &f->error));
    put(f, &label, "same", "2-a");
    put(f, &label, "old", "9-a");
    put(f, &label, "gone", "1-a");
    put(f, &label, "two", "2-a");
    put(f, &label, "two", "3-a");
    assert_int_equal(
        apply_lines(
            f, STORES_EPOCH, 2,
            "{\"view\":{\"server\":\"\",\"at\":0}}\n"
            "{\"docs\":[[\"same\",\"2-b\"],[\"old\",\"10-a\"],[\"two\",\"3-a\"],[\"two\",\"2-a\"]]}\n"
            "{\"gone\":[\"gone\",\"same\"]}\n"
            "{\"later\":true}\n"),
        1);
    assert_int_equal(shelf_find(f->tablet, "medic", "same", "2-a", &doc, &f->error), 1);
    assert_int_equal(shelf_find(f->tablet, "medic", "two", "2-a", &doc, &f->error), 1);
    assert_int_equal(shelf_find(f->tablet, "medic", "old", NULL, &doc, &f->error), 0);
    assert_int_equal(shelf_find(f->tablet, "medic", "gone", NULL, &doc, &f->error), 0);
    assert_int_equal(view_gone(f->tablet, "medic", "same", &f->error), 0); /* the listing has it */
    assert_int_equal(revs_known(f->tablet, "medic", "old", "10-a", &f->error), 1);
    assert_int_equal(find(f, f->tablet, label.id).offset, 50);
    assert_int_equal(view_outdates(f->tablet, "medic", "old", "9-a", &f->error), 1);
    assert_int_equal(view_outdates(f->tablet, "medic", "old", "10-z", &f->error), 0);
    assert_int_equal(view_outdates(f->tablet, "medic", "two", "2-x", &f->error), 0);
    assert_int_equal(view_outdates(f->tablet, "medic", "new", "1-x", &f->error), 0);
    assert_int_equal(apply_lines(f, STORES_EPOCH, 3,
                                 "{\"view\":{\"server\":\"\",\"at\":0}}\n"
                                 "{\"gone\":[\"same\",\"two\"]}\n"),
                     1);
    assert_int_equal(find(f, f->tablet, label.id).offset, 0);
    assert_int_equal(revs_next_here(f->tablet, &here, &here, &f->error), 0);
    assert_int_equal(view_gone(f->tablet, "medic", "gone", &f->error), 1);
}

/* Older: of the same epoch a lower number, of another epoch and the same server a lower `at`. */
static void test_older(void **state)
{
    struct fixture *f = *state;
    static const char other[] = "00000000000000e2";
    static const struct {
        const char *epoch;
        uint64_t seq;
        const char *server;
        int at, result;
    } cases[] = {
        {STORES_EPOCH, 5, SERVER, 10, 1}, {STORES_EPOCH, 4, SERVER, 11, 0},
        {STORES_EPOCH, 6, SERVER, 9, 1},  {other, 1, SERVER, 8, 0},
        {other, 1, SERVER, 9, 1},         {STORES_EPOCH, 7, SERVER, 8, 0},
        {STORES_EPOCH, 7, "", 1, 1},      {other, 2, SERVER, 1, 1},
    };
    char lines[256], expected[32];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (void)snprintf(
            lines, sizeof lines,
            "{\"view\":{\"server\":\"%s\",\"at\":%d}}\n{\"docs\":[[\"d%zu\",\"1-a\"]]}\n",
            cases[i].server, cases[i].at, i);
        if (apply_lines(f, cases[i].epoch, cases[i].seq, lines) != cases[i].result)
            fail_msg("case %zu: %s", i, f->error.text);
        (void)snprintf(expected, sizeof expected, "d%zu 1-a ", i);
        if (cases[i].result == 1)
            expect_listing(f, expected);
    }
    assert_int_equal(revs_known(f->tablet, "medic", "d1", "1-a", &f->error), 0);
}

/* A malformed view is refused whole; the one before stays. */
static void test_malformed(void **state)
{
    struct fixture *f = *state;
#define FIRST "{\"view\":{\"server\":\"\",\"at\":1}}\n"
    static const char *const cases[] = {
        "",
        "{}\n",
        "[]\n",
        "nothing\n",
        FIRST FIRST,
        FIRST "{\"docs\":[[\"x\",\"1-a\"]]\n",
        "{\"docs\":[]}\n" FIRST,
        "{\"view\":[]}\n",
        "{\"view\":{\"server\":\"\"}}\n",
        "{\"view\":{\"server\":\"\",\"at\":-1}}\n",
        "{\"view\":{\"server\":\"\",\"at\":1.5}}\n",
        "{\"view\":{\"server\":\"0123\",\"at\":1}}\n",
        "{\"view\":{\"server\":null,\"at\":1}}\n",
        "{\"view\":{\"server\":\"\",\"at\":1,\"at\":2}}\n",
        FIRST "{\"docs\":{}}\n",
        FIRST "{\"docs\":[\"x\"]}\n",
        FIRST "{\"docs\":[[\"x\"]]}\n",
        FIRST "{\"docs\":[[\"x\",\"1-a\",1]]}\n",
        FIRST "{\"docs\":[[\"x\",1]]}\n",
        FIRST "{\"docs\":[[\"\",\"1-a\"]]}\n",
        FIRST "{\"docs\":[[\"x\",\"a\"]]}\n",
        FIRST "{\"docs\":[[\"x\",\"0-a\"]]}\n",
        FIRST "{\"docs\":[[\"x\",\"9999999999999999-a\"]]}\n",
        FIRST "{\"docs\":[[\"x\\u0000y\",\"1-a\"]]}\n",
        FIRST "{\"docs\":[[\"x\",\"1-a\"],[\"y\",\"1-a\"],null]}\n",
        FIRST "{\"gone\":[1]}\n",
        FIRST "{\"gone\":\"x\"}\n",
        FIRST "{\"withdrawn\":[[\"00\",1,1]]}\n",
        FIRST
        "{\"withdrawn\":[[\"0000000000000000000000000000000000000000000000000000000000000000\",0,1]]}\n",
        FIRST
        "{\"withdrawn\":[[\"0000000000000000000000000000000000000000000000000000000000000000\",1,0]]}\n",
        FIRST
        "{\"withdrawn\":[[\"0000000000000000000000000000000000000000000000000000000000000000\",1,99999999]]}\n",
    };

    assert_int_equal(apply_lines(f, STORES_EPOCH, 1, FIRST "{\"docs\":[[\"a\",\"1-a\"]]}\n"), 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f->error.kind = ERROR_FAILED;
        if (apply_lines(f, STORES_EPOCH, i + 2, cases[i]) != -1 || f->error.kind != ERROR_CORRUPT)
            fail_msg("case %zu: %s", i, f->error.text);
    }
    expect_listing(f, "a 1-a ");
    assert_int_equal(view_gone(f->tablet, "medic", "x", &f->error), 0);
    /* The tables that were left behind are not in the way. */
    assert_int_equal(apply_lines(f, STORES_EPOCH, 99, FIRST "{\"docs\":[[\"b\",\"1-a\"]]}\n"), 1);
    expect_listing(f, "b 1-a ");
}

/* 25,000 documents (fewer where each takes long), of which one changes: made, opened, applied. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    const int many = RUNNING_ON_VALGRIND ? 2500 : 25000;
    struct opened_batch view;
    struct label label;
    int64_t count;
    char id[64];

    for (int round = 1; round <= 2; round++) {
        OK(f, holdings_list_begin(f->dock, &f->error));
        for (int i = 0; i < many; i++) {
            (void)snprintf(id, sizeof id, "document-%032d", i);
            OK(f,
               holdings_list(f->dock, id, i == many / 2 && round == 2 ? "2-b" : "1-a", &f->error));
        }
        OK(f, holdings_listed_all(f->dock, "t1", "medic", NULL, &f->error));
        assert_int_equal(make(f, NULL, 0), 1);
        open_made(f, &view, &label);
        assert_int_equal(apply(f, &view, &label), 1);
        assert_int_equal(view.manifest.docs,
                         many / 500 + 1 + (round == 2)); /* one names the first as withdrawn */
        opened_batch_free(&view);
    }
    OK(f, view_count(f->tablet, "medic", &count, &f->error));
    assert_int_equal(count, many);
}

/* A listing that no view can carry makes none, and nothing is withdrawn for it. */
static void test_too_large(void **state)
{
    struct fixture *f = *state;
    struct opened_batch view;
    struct label label;
    char id[DOC_ID_BYTES];

    if (RUNNING_ON_VALGRIND) /* a minute or more; the sanitizers watch it too */
        skip();
    list(f, "abc", "1-a");
    assert_int_equal(make(f, NULL, 0), 1);
    OK(f, holdings_list_begin(f->dock, &f->error));
    memset(id, 'x', sizeof id);
    for (int i = 0; i < 25000; i++) {
        (void)snprintf(id + 1000, sizeof id - 1000, "%d", i);
        OK(f, holdings_list(f->dock, id, "1-a", &f->error));
    }
    OK(f, holdings_listed_all(f->dock, "t1", "medic", NULL, &f->error));
    assert_int_equal(make(f, NULL, 0), 0);
    open_made(f, &view, &label);
    assert_int_equal(label.seq, 1);
    opened_batch_free(&view);
    list(f, "a", "2-a");
    assert_int_equal(make(f, NULL, 0), 1);
    open_made(f, &view, &label);
    assert_int_equal(label.seq, 2); /* no number was lost */
    opened_batch_free(&view);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_made_and_applied),
        TEST(test_withdrawn_is_no_gap),
        TEST(test_withdrawn_and_here),
        TEST(test_shelf),
        TEST(test_older),
        TEST(test_malformed),
        TEST(test_many),
        TEST(test_too_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
