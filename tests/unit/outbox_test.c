/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/tablet/outbox: one request's documents become batches that the server can open, byte for byte,
 * numbered without gaps, all of them or none; nothing is carried twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/tablet/outbox.h"
#include "store/shelf.h"
#include "store/streams.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

struct fixture {
    struct deployment *deployment;
    struct trust *trust;
    char *folder;
    struct store *store;
    struct outbox *outbox;
    struct error error;
};

static void open_outbox(struct fixture *f, uint64_t quota_bytes)
{
    const struct store_options options = {.directory = f->folder,
                                          .station = "t1",
                                          .role = "tablet",
                                          .quota_bytes = quota_bytes,
                                          .reserve_bytes = 4096};

    f->store = store_open(&options, &f->error);
    STORES_OK(f->store != NULL, &f->error);
    f->outbox = outbox_new(f->store, f->deployment->tablet, &f->error);
    STORES_OK(f->outbox != NULL, &f->error);
}

static void close_outbox(struct fixture *f)
{
    outbox_free(f->outbox);
    store_close(f->store);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->deployment = deployment_new();
    f->trust = deployment_trust(f->deployment, false);
    f->folder = folder_new();
    open_outbox(f, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    close_outbox(f);
    folder_remove(f->folder);
    trust_free(f->trust);
    deployment_free(f->deployment);
    free(f);
    return 0;
}

/* "{"_id":ID,"_rev":"1-ID"MORE,"data":"..."}" with PADDING bytes of data, which hardly compress, as a
 * line without its end. */
static char *make(const char *id, const char *more, size_t padding)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc(padding + strlen(more) + 200);
    uint64_t random = padding + 1;
    int at;

    assert_non_null(text);
    at = sprintf(text, "{\"_id\":\"%s\",\"_rev\":\"1-%s\"%s,\"data\":\"", id, id, more);
    for (size_t i = 0; i < padding; i++)
        text[at++] = letters[stores_random(&random) % 64];
    memcpy(text + at, "\"}\n", sizeof "\"}\n");
    return text;
}

static int add(struct fixture *f, const char *id, const char *more, size_t padding)
{
    char *text = make(id, more, padding);
    int result = outbox_add(f->outbox, text, strlen(text) - 1, &f->error);

    free(text);
    return result;
}

static void begin(struct fixture *f, const char *db)
{
    STORES_OK(outbox_begin(f->outbox, db, &f->error) == 0, &f->error);
}

static void commit(struct fixture *f)
{
    STORES_OK(outbox_commit(f->outbox, &f->error) == 0, &f->error);
}

static struct batch_counts count(struct fixture *f)
{
    const struct batch_filter all = {0};
    struct batch_counts counts;

    STORES_OK(batches_count(f->store, &all, &counts, &f->error) == 0, &f->error);
    return counts;
}

/* Open the batch with this number as the server; the caller frees it. */
static void open_batch(struct fixture *f, uint64_t seq, struct opened_batch *opened)
{
    const struct batch_filter held = {.to = SERVER_NAME, .state = BATCH_HELD};
    struct buffer bytes = {0};
    struct batch batch = {0};

    do
        STORES_OK(batches_next(f->store, &held, batch.position, &batch, &f->error) == 1, &f->error);
    while (batch.label.seq != seq);
    STORES_OK(batches_load(f->store, batch.label.id, &bytes, &f->error) == 0, &f->error);
    STORES_OK(batch_open(f->deployment->server, f->trust, &batch.label, bytes.data, bytes.length,
                         opened, NULL, &f->error) == 0,
              &f->error);
    buffer_free(&bytes);
}

static void test_a_request_is_a_batch(void **state)
{
    struct fixture *f = *state;
    char *lines[2] = {make("a", ",\"_deleted\":true", 3), make("b", "", 50)};
    struct opened_batch opened;

    begin(f, "medic");
    for (int i = 0; i < 2; i++)
        assert_int_equal(outbox_add(f->outbox, lines[i], strlen(lines[i]) - 1, &f->error), 0);
    assert_int_equal(revs_known(f->store, "medic", "a", "1-a", &f->error), 0); /* not yet */
    commit(f);
    assert_int_equal(count(f).held, 1);
    open_batch(f, 1, &opened);
    assert_string_equal(opened.manifest.from, "t1");
    assert_string_equal(opened.manifest.user, "chw1");
    assert_string_equal(opened.manifest.db, "medic");
    assert_string_equal(opened.manifest.kind, "docs");
    assert_string_equal(opened.manifest.epoch, store_epoch(f->store));
    assert_int_equal(opened.manifest.docs, 2);
    assert_int_equal(opened.lines_bytes, strlen(lines[0]) + strlen(lines[1]));
    assert_memory_equal(opened.lines, lines[0], strlen(lines[0]));
    assert_memory_equal(opened.lines + strlen(lines[0]), lines[1], strlen(lines[1]));
    opened_batch_free(&opened);
    assert_int_equal(revs_known(f->store, "medic", "a", "1-a", &f->error), 1);
    assert_int_equal(revs_known(f->store, "medic", "b", "1-b", &f->error), 1);
    free(lines[0]);
    free(lines[1]);
}

static void test_numbers_have_no_gaps(void **state)
{
    struct fixture *f = *state;
    struct opened_batch opened;

    begin(f, "medic");
    assert_int_equal(add(f, "a", "", 10), 0);
    outbox_abandon(f->outbox);
    begin(f, "medic");
    assert_int_equal(add(f, "a", "", 10), 0);
    commit(f);
    begin(f, "medic-user-chw1-meta");
    assert_int_equal(add(f, "a", "", 10), 0); /* the same words in another database */
    commit(f);
    open_batch(f, 1, &opened);
    opened_batch_free(&opened);
    open_batch(f, 2, &opened);
    assert_string_equal(opened.manifest.db, "medic-user-chw1-meta");
    opened_batch_free(&opened);
    assert_int_equal(count(f).held, 2);
}

static void test_large_requests_are_cut(void **state)
{
    struct fixture *f = *state;
    const uint64_t docs[] = {3, 1, 1, 1};
    struct opened_batch opened;
    char id[8];

    begin(f, "medic");
    for (int i = 0; i < 4; i++) { /* the fourth does not fit any more */
        (void)snprintf(id, sizeof id, "d%d", i);
        assert_int_equal(add(f, id, "", 1200000), 0);
    }
    assert_int_equal(count(f).partial, 1);
    assert_int_equal(count(f).held, 0);
    assert_int_equal(add(f, "large", "", BATCH_PLAIN_BYTES), 0);
    assert_int_equal(add(f, "last", "", 10), 0);
    assert_int_equal(revs_known(f->store, "medic", "d0", "1-d0", &f->error), 0);
    commit(f);
    assert_int_equal(count(f).partial, 0);
    assert_int_equal(count(f).held, 4);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        open_batch(f, seq, &opened);
        assert_int_equal(opened.manifest.docs, docs[seq - 1]);
        assert_true(seq == 3 || opened.lines_bytes <= BATCH_PLAIN_BYTES);
        opened_batch_free(&opened);
    }
}

static void test_abandoned_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    begin(f, "medic");
    assert_int_equal(add(f, "large", "", BATCH_PLAIN_BYTES), 0);
    assert_int_equal(add(f, "small", "", 10), 0);
    assert_int_equal(count(f).partial, 1);
    outbox_abandon(f->outbox);
    outbox_abandon(f->outbox);
    assert_int_equal(count(f).partial + count(f).held + count(f).held_bytes, 0);
    assert_int_equal(revs_known(f->store, "medic", "large", "1-large", &f->error), 0);
    begin(f, "medic");
    commit(f); /* of nothing */
    assert_int_equal(count(f).held, 0);
}

/* As after kill -9: what waits in the store belongs to no request, and is gone at the next start. */
static void test_remains_are_discarded_at_start(void **state)
{
    struct fixture *f = *state;
    struct outbox *killed = f->outbox;
    struct store *store = f->store;

    begin(f, "medic");
    for (int i = 0; i < 2; i++)
        assert_int_equal(add(f, i == 0 ? "x" : "y", "", BATCH_PLAIN_BYTES), 0);
    assert_int_equal(count(f).partial, 2);
    open_outbox(f, 0);
    assert_int_equal(count(f).partial, 0);
    assert_int_equal(count(f).held_bytes, 0);
    close_outbox(f);
    f->outbox = killed;
    f->store = store;
    assert_int_equal(outbox_commit(f->outbox, &f->error),
                     -1); /* its parts are gone: nothing comes of it */
    assert_int_equal(count(f).held, 0);
    assert_int_equal(revs_known(f->store, "medic", "x", "1-x", &f->error), 0);
}

static void test_nothing_is_carried_twice(void **state)
{
    struct fixture *f = *state;
    struct opened_batch opened;
    char id[16];

    begin(f, "medic");
    for (int i = 0; i < 6000; i++) { /* each of 3,000 twice: more than the table begins with */
        (void)snprintf(id, sizeof id, "doc-%d", i % 3000);
        assert_int_equal(add(f, id, "", 0), 0);
    }
    commit(f);
    open_batch(f, 1, &opened);
    assert_int_equal(opened.manifest.docs, 3000);
    opened_batch_free(&opened);
    begin(f, "medic");
    assert_int_equal(add(f, "doc-7", "", 0), 0); /* known by now */
    commit(f);
    assert_int_equal(count(f).held, 1);
}

static void test_what_never_goes_up(void **state)
{
    static const char *const lines[] = {
        "{\"_id\":\"form:x\",\"_rev\":\"1-a\",\"type\":\"form\"}\n",
        "{\"_id\":\"settings\",\"_rev\":\"1-a\"}\n",
        "{\"_id\":\"_design/medic\",\"_rev\":\"1-a\"}\n",
        "{\"_id\":\"gone\",\"_rev\":\"2-a\",\"_deleted\":true,\"purged\":true}\n",
    };
    struct fixture *f = *state;

    begin(f, "medic");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_int_equal(outbox_add(f->outbox, lines[i], strlen(lines[i]) - 1, &f->error), 0);
    commit(f);
    assert_int_equal(count(f).held, 0);
    assert_int_equal(revs_known(f->store, "medic", "settings", "1-a", &f->error), 1);
    assert_int_equal(revs_known(f->store, "medic", "gone", "2-a", &f->error), 1);
}

static void test_bad_documents_are_refused(void **state)
{
    static const char *const lines[] = {"{}\n", "{\"_id\":1,\"_rev\":\"1-a\"}\n",
                                        "{\"_id\":\"a\"}\n", "{\"_id\":\"a\",\"_rev\":1}\n",
                                        "{\"_id\":\"\xff\"}\n"};
    struct fixture *f = *state;

    begin(f, "medic");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(outbox_add(f->outbox, lines[i], strlen(lines[i]) - 1, &f->error), -1);
        assert_int_equal(f->error.kind, ERROR_USAGE);
    }
}

static void test_full_quota(void **state)
{
    struct fixture *f = *state;

    close_outbox(f);
    open_outbox(f, 2u << 20);
    begin(f, "medic");
    assert_int_equal(add(f, "large", "", BATCH_PLAIN_BYTES), -1);
    assert_int_equal(f->error.kind, ERROR_FULL);
    outbox_abandon(f->outbox);
    begin(f, "medic");
    assert_int_equal(add(f, "a", "", 4000000), 0);
    assert_int_equal(outbox_commit(f->outbox, &f->error), -1);
    assert_int_equal(f->error.kind, ERROR_FULL);
    outbox_abandon(f->outbox);
    assert_int_equal(count(f).partial + count(f).held + count(f).held_bytes, 0);
    begin(f, "medic");
    assert_int_equal(add(f, "a", "", 1000), 0); /* what fits goes on */
    commit(f);
    assert_int_equal(count(f).held, 1);
}

/* What is uploaded is held in place of its ancestors, on the shelf too, and is told in the next receipt. */
static void test_ancestors_leave(void **state)
{
    struct fixture *f = *state;
    static const char child[] = ",\"_revisions\":{\"start\":3,\"ids\":[\"c\",\"b\",\"a\"]}}\n";
    struct shelf_doc doc = {.id = "d", .rev = "2-b"};
    struct rev_here here = {{0}, {0}, {0}};
    struct label label;
    char line[256];

    stores_add(f->store, &label, SERVER_NAME, "t1", 1, 1, 50);
    memcpy(doc.batch, label.id, BATCH_ID_BYTES);
    STORES_OK(store_begin(f->store, &f->error) == 0 &&
                  shelf_put(f->store, "medic", &doc, NULL, 0, &f->error) == 0 &&
                  streams_set_due(f->store, SERVER_NAME, false, &f->error) == 0 &&
                  store_commit(f->store, &f->error) == 0,
              &f->error);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(line, sizeof line, "{\"_id\":\"%s\",\"_rev\":\"3-c\"%s", i == 0 ? "d" : "e",
                       child);
        begin(f, "medic");
        STORES_OK(outbox_add(f->outbox, line, strlen(line) - 1, &f->error) == 0, &f->error);
        commit(f);
    }
    assert_int_equal(shelf_find(f->store, "medic", "d", NULL, &doc, &f->error), 0);
    assert_int_equal(revs_known(f->store, "medic", "d", "2-b", &f->error), 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(revs_next_here(f->store, &here, &here, &f->error), 1);
        assert_string_equal(here.id, i == 0 ? "d" : "e");
        assert_string_equal(here.rev, "3-c");
    }
    assert_int_equal(revs_next_here(f->store, &here, &here, &f->error), 0);
    assert_int_equal(streams_next_due(f->store, NULL, line, &f->error), 1);
    assert_string_equal(line, SERVER_NAME);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_is_a_batch),
        TEST(test_numbers_have_no_gaps),
        TEST(test_large_requests_are_cut),
        TEST(test_abandoned_leaves_nothing),
        TEST(test_remains_are_discarded_at_start),
        TEST(test_nothing_is_carried_twice),
        TEST(test_what_never_goes_up),
        TEST(test_bad_documents_are_refused),
        TEST(test_full_quota),
        TEST(test_ancestors_leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
