/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/tablet/inbox: documents come to the shelf, a view into use, a receipt frees what it proves, in whatever order
 * and however often they come; what cannot be used is set aside with its reason, whole; what is not understood is kept;
 * a receipt of the tablet's own is made when something has changed, and only then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/tablet/inbox.h"
#include "host/tablet/outbox.h"
#include "store/receipt.h"
#include "store/shelf.h"
#include "store/statement.h"
#include "store/streams.h"
#include "store/view.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

struct fixture {
    struct deployment *deployment;
    struct trust *trust;
    char *folders[2];
    struct store *tablet, *dock;
    struct inbox *inbox;
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
    f->inbox = inbox_new(f->deployment->tablet, &f->error);
    STORES_OK(f->inbox != NULL, &f->error);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    inbox_free(f->inbox);
    store_close(f->tablet);
    store_close(f->dock);
    folder_remove(f->folders[0]);
    folder_remove(f->folders[1]);
    trust_free(f->trust);
    deployment_free(f->deployment);
    free(f);
    return 0;
}

static void put_document(struct fixture *f, const char *line)
{
    struct outbox *outbox = outbox_new(f->tablet, f->deployment->tablet, &f->error);

    STORES_OK(outbox != NULL && outbox_begin(outbox, "medic", &f->error) == 0 &&
                  outbox_add(outbox, line, strlen(line) - 1, &f->error) == 0 &&
                  outbox_commit(outbox, &f->error) == 0,
              &f->error);
    outbox_free(outbox);
}

/* Copy the batches held for TO from one store to another, as a courier does. */
static void carry(struct fixture *f, struct store *from, struct store *to, const char *mail)
{
    const struct batch_filter held = {.to = mail, .state = BATCH_HELD};
    struct batch batch = {0};
    int found;

    while ((found = batches_next(from, &held, batch.position, &batch, &f->error)) == 1) {
        struct buffer bytes = {0};

        STORES_OK(batches_load(from, batch.label.id, &bytes, &f->error) == 0 &&
                      store_begin(to, &f->error) == 0 &&
                      batches_add(to, &batch.label, bytes.data, bytes.length, &f->error) == 0 &&
                      store_commit(to, &f->error) == 0,
                  &f->error);
        buffer_free(&bytes);
    }
    STORES_OK(found == 0, &f->error);
}

/* Everything that the dock has is applied, and it makes a receipt for t1. */
static void apply_at_dock(struct fixture *f)
{
    const struct batch_filter held = {.to = SERVER_NAME, .state = BATCH_HELD};
    struct batch batch;

    STORES_OK(store_begin(f->dock, &f->error) == 0, &f->error);
    while (batches_next(f->dock, &held, 0, &batch, &f->error) == 1)
        STORES_OK(batches_apply(f->dock, &batch.label, false, &f->error) == 0, &f->error);
    STORES_OK(streams_set_due(f->dock, "t1", true, &f->error) == 0 &&
                  receipt_make(f->dock, f->deployment->server, "t1",
                               identity_certificate(f->deployment->tablet), &f->error) == 1 &&
                  store_commit(f->dock, &f->error) == 0,
              &f->error);
}

struct sending {
    const struct identity *signer, *recipient; /* NULL: the server, t1 */
    const char *kind, *db, *epoch;             /* NULL: "docs", "medic", STORES_EPOCH */
    uint64_t seq;
    const char *lines;
};

/* Such a batch lies in the tablet's store. */
static void receive(struct fixture *f, const struct sending *sending, struct label *label)
{
    const struct identity *signer =
        sending->signer != NULL ? sending->signer : f->deployment->server;
    const struct identity *recipient =
        sending->recipient != NULL ? sending->recipient : f->deployment->tablet;
    struct manifest manifest = {.seq = sending->seq};
    struct buffer bytes = {0};

#define FIELD(name, text) (void)snprintf(manifest.name, sizeof manifest.name, "%s", text)
    FIELD(from, identity_name(signer));
    FIELD(to, identity_name(recipient));
    FIELD(user, identity_user(signer));
    FIELD(kind, sending->kind != NULL ? sending->kind : "docs");
    FIELD(db, sending->db != NULL ? sending->db : "medic");
    FIELD(epoch, sending->epoch != NULL ? sending->epoch : STORES_EPOCH);
    for (const char *at = sending->lines; *at != '\0'; at++)
        manifest.docs += *at == '\n';
    STORES_OK(batch_seal(signer, identity_certificate(recipient), &manifest, sending->lines,
                         strlen(sending->lines), &bytes, label, &f->error) == 0,
              &f->error);
    memcpy(label->to, "t1", 3); /* what the courier says */
    STORES_OK(store_begin(f->tablet, &f->error) == 0 &&
                  batches_add(f->tablet, label, bytes.data, bytes.length, &f->error) == 0 &&
                  store_commit(f->tablet, &f->error) == 0,
              &f->error);
    buffer_free(&bytes);
}

static int work(struct fixture *f)
{
    int result = inbox_work(f->inbox, f->tablet, f->trust, &f->error);

    STORES_OK(result >= 0, &f->error);
    return result;
}

static struct batch_counts count(struct fixture *f, const char *to)
{
    const struct batch_filter filter = {.to = to};
    struct batch_counts counts;

    STORES_OK(batches_count(f->tablet, &filter, &counts, &f->error) == 0, &f->error);
    return counts;
}

static void test_receipt_frees(void **state)
{
    struct fixture *f = *state;

    put_document(f, "{\"_id\":\"a\",\"_rev\":\"1-a\"}\n");
    put_document(f, "{\"_id\":\"b\",\"_rev\":\"1-b\"}\n");
    assert_int_equal(work(f), 1); /* its first receipt is made */
    assert_int_equal(count(f, SERVER_NAME).held, 2);
    assert_int_equal(count(f, SERVER_NAME).unnumbered, 1);
    assert_int_equal(work(f), 0);
    carry(f, f->tablet, f->dock, SERVER_NAME);
    apply_at_dock(f);
    carry(f, f->dock, f->tablet, "t1");
    put_document(f, "{\"_id\":\"c\",\"_rev\":\"1-c\"}\n"); /* after it: stays */
    assert_int_equal(work(f), 1);
    assert_int_equal(count(f, SERVER_NAME).applied,
                     3); /* an earlier receipt made way for a later one */
    assert_int_equal(count(f, SERVER_NAME).held, 1);
    assert_int_equal(count(f, "t1").applied, 1);
    assert_int_equal(work(f), 0);
}

/* ---- documents ---- */

#define A1 "{\"_id\":\"a\",\"_rev\":\"1-a\",\"_revisions\":{\"start\":1,\"ids\":[\"a\"]}}\n"
#define A2 "{\"_id\":\"a\",\"_rev\":\"2-b\",\"_revisions\":{\"start\":2,\"ids\":[\"b\",\"a\"]}}\n"
#define B1 "{\"_id\":\"b\",\"_rev\":\"1-b\",\"_deleted\":true}\n"
#define VIEW "{\"view\":{\"server\":\"\",\"at\":0}}\n"

/* The revisions on the shelf are "ID REV ID REV ", in the order of seq, of documents with one leaf each. */
static void expect_shelf(struct fixture *f, const char *expected)
{
    struct shelf_doc doc = {0};
    char text[256] = "";
    int found;

    while ((found = shelf_next(f->tablet, "medic", doc.seq, false, &doc, &f->error)) == 1)
        (void)strcat(strcat(strcat(strcat(text, doc.id), " "), doc.rev), " ");
    STORES_OK(found == 0, &f->error);
    assert_string_equal(text, expected);
}

/* The document of the shelf is LINE of its batch, in the sealed bytes that are kept. */
static void expect_line(struct fixture *f, const char *id, const char *line)
{
    struct opened_batch opened = {0};
    struct buffer bytes = {0};
    struct shelf_doc doc;

    assert_int_equal(shelf_find(f->tablet, "medic", id, NULL, &doc, &f->error), 1);
    STORES_OK(batches_load(f->tablet, doc.batch, &bytes, &f->error) == 0 &&
                  batch_open(f->deployment->tablet, f->trust, NULL, bytes.data, bytes.length,
                             &opened, NULL, &f->error) == 0,
              &f->error);
    assert_int_equal(doc.size, strlen(line) - 1);
    assert_true(doc.at + doc.size < opened.lines_bytes);
    assert_memory_equal(opened.lines + doc.at, line, doc.size);
    opened_batch_free(&opened);
    buffer_free(&bytes);
}

static struct batch find(struct fixture *f, const struct label *label)
{
    struct batch batch = {0};

    STORES_OK(batches_find(f->tablet, label->id, &batch, &f->error) == 1, &f->error);
    return batch;
}

/* Each line has its place; what is replaced leaves, and takes the bytes of its batch with it. */
static void test_documents(void **state)
{
    struct fixture *f = *state;
    struct shelf_doc doc;
    struct label first, second;

    receive(f, &(struct sending){.seq = 1, .lines = A1 B1}, &first);
    assert_int_equal(work(f), 1);
    expect_shelf(f, "a 1-a b 1-b ");
    expect_line(f, "a", A1);
    expect_line(f, "b", B1);
    assert_int_equal(shelf_find(f->tablet, "medic", "b", "1-b", &doc, &f->error), 1);
    assert_true(doc.deleted);
    assert_int_equal(revs_known(f->tablet, "medic", "a", "1-a", &f->error), 1);
    assert_int_equal(find(f, &first).state, BATCH_APPLIED);
    receive(f, &(struct sending){.seq = 2, .lines = A2}, &second);
    assert_int_equal(work(f), 1);
    expect_shelf(f, "b 1-b a 2-b ");
    assert_true(find(f, &first).offset > 0);
    receive(f,
            &(struct sending){.seq = 3,
                              .lines = "{\"_id\":\"b\",\"_rev\":\"2-c\","
                                       "\"_revisions\":{\"start\":2,\"ids\":[\"c\",\"b\"]}}\n"},
            &second);
    assert_int_equal(work(f), 1);
    assert_int_equal(find(f, &first).offset, 0);
    assert_int_equal(work(f), 0);
}

/* A replayed batch, the same documents in another one, two docks' streams, a gap: all of it is used. */
static void test_any_order(void **state)
{
    struct fixture *f = *state;
    struct label first, again, other;

    receive(f, &(struct sending){.seq = 3, .lines = A1}, &first); /* 1 and 2 never come */
    assert_int_equal(work(f), 1);
    assert_int_equal(work(f), 0);
    receive(f, &(struct sending){.seq = 1, .epoch = "00000000000000e2", .lines = A1 B1}, &other);
    receive(f, &(struct sending){.seq = 2, .epoch = "00000000000000e2", .lines = A1}, &again);
    assert_int_equal(work(f), 1);
    expect_shelf(f, "a 1-a b 1-b ");
    assert_true(find(f, &first).offset > 0);
    assert_true(find(f, &other).offset > 0);
    assert_int_equal(find(f, &again).offset, 0); /* all of it was there */
    assert_int_equal(find(f, &again).state, BATCH_APPLIED);
}

/* What a view has outdated before it came keeps no bytes, and is known and not held; an older view is not used. */
static void test_views(void **state)
{
    struct fixture *f = *state;
    struct rev_here here = {{0}, {0}, {0}};
    struct label view, older, docs;
    int64_t count;

    receive(
        f,
        &(struct sending){.kind = "view", .seq = 5, .lines = VIEW "{\"docs\":[[\"a\",\"2-b\"]]}\n"},
        &view);
    receive(f,
            &(struct sending){.kind = "view", .seq = 4, .lines = VIEW "{\"gone\":[\"a\",\"b\"]}\n"},
            &older);
    receive(f, &(struct sending){.seq = 1, .lines = A1}, &docs);
    assert_int_equal(work(f), 1);
    expect_shelf(f, "");
    assert_int_equal(find(f, &docs).offset, 0);
    assert_int_equal(find(f, &docs).state, BATCH_APPLIED);
    assert_int_equal(find(f, &older).state, BATCH_APPLIED);
    assert_int_equal(revs_known(f->tablet, "medic", "a", "1-a", &f->error), 1);
    assert_int_equal(revs_next_here(f->tablet, &here, &here, &f->error), 0);
    assert_int_equal(view_gone(f->tablet, "medic", "b", &f->error), 0);
    STORES_OK(view_count(f->tablet, "medic", &count, &f->error) == 0, &f->error);
    assert_int_equal(count, 1);
    receive(f, &(struct sending){.seq = 3, .lines = A2}, &docs);
    assert_int_equal(work(f), 1);
    expect_shelf(f, "a 2-b ");
}

/* Of a batch with a fault nothing is used; it is set aside with words. */
static void test_aside_with_its_reason(void **state)
{
    struct fixture *f = *state;
    const struct {
        struct sending sending;
        const char *reason;
    } cases[] = {
        {{.recipient = f->deployment->tablet2, .lines = A1}, "sealed"},
        {{.signer = f->deployment->tablet2, .lines = A1}, "only the server"},
        {{.signer = f->deployment->tablet2, .kind = "view", .lines = VIEW}, "only the server"},
        {{.signer = f->deployment->tablet2, .kind = "receipt", .lines = ""}, "only the server"},
        {{.kind = "receipt", .lines = "{\"x\":1}\n"}, ""},
        {{.kind = "view", .lines = "{\"docs\":[[\"a\",\"1-a\"]]}\n"}, "view from server"},
        {{.db = "medic-user-chw2-meta", .lines = A1}, "medic-user-chw2-meta"},
        {{.lines = A1 "{\"_id\":\"b\"}\n"}, "line 2: document: has no _rev"},
        {{.lines = A1 B1 "{\"_rev\":\"1-b\"}\n"}, "line 3: document: has no _id"},
        {{.lines = A1 "[]\n"}, "line 2: document: is not an object"},
        {{.lines = A1 "\n"}, "line 2"},
        {{.lines = A1 "{\"_id\":\"b\",\"_rev\":\"1-b\"\n"}, "line 2"},
    };
    char reason[ERROR_TEXT_BYTES];
    struct batch batch = {0};
    struct label label;

    assert_int_equal(work(f), 1); /* its first receipt */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sending sending = cases[i].sending;

        sending.seq = i + 1;
        receive(f, &sending, &label);
        assert_int_equal(work(f), 0);
        assert_int_equal(count(f, "t1").aside, i + 1);
        STORES_OK(batches_next_aside(f->tablet, batch.position, &batch, reason, &f->error) == 1,
                  &f->error);
        if (strstr(reason, cases[i].reason) == NULL)
            fail_msg("case %zu: '%s' has no '%s'", i, reason, cases[i].reason);
    }
    expect_shelf(f, "");
    assert_int_equal(revs_known(f->tablet, "medic", "a", "1-a", &f->error), 0);
    assert_int_equal(count(f, "t1").held, 0);
}

static void test_unknown_kind_is_kept(void **state)
{
    struct fixture *f = *state;
    struct label label;

    assert_int_equal(work(f), 1);
    receive(f, &(struct sending){.kind = "bundle", .seq = 1, .lines = "{\"x\":1}\n"}, &label);
    assert_int_equal(work(f), 0);
    assert_int_equal(work(f), 0);
    assert_int_equal(count(f, "t1").held, 1);
}

/* COUNT documents of the server's. */
static char *make_lines(int count)
{
    char *lines = malloc((size_t)count * 128 + 1);
    size_t used = 0;

    assert_non_null(lines);
    for (int i = 0; i < count; i++)
        used += (size_t)sprintf(lines + used, "{\"_id\":\"document-%060d\",\"_rev\":\"1-a\"}\n", i);
    return lines;
}

/* The disk is full in the middle of a batch: nothing of it is used, it stays, and is used once there is room. */
static void test_full(void **state)
{
    struct fixture *f = *state;
    char *lines = make_lines(2000), pragma[64];
    struct shelf_doc doc;
    struct label label;
    int64_t pages;

    receive(f, &(struct sending){.seq = 1, .lines = lines}, &label);
    STORES_OK(statement_number(f->tablet, "PRAGMA page_count", &pages, &f->error) == 0, &f->error);
    (void)snprintf(pragma, sizeof pragma, "PRAGMA max_page_count = %lld", (long long)pages + 20);
    assert_int_equal(sqlite3_exec(f->tablet->db, pragma, NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(inbox_work(f->inbox, f->tablet, f->trust, &f->error), -1);
        assert_int_equal(f->error.kind, ERROR_FULL);
        assert_int_equal(find(f, &label).state, BATCH_HELD);
        expect_shelf(f, "");
    }
    assert_int_equal(
        sqlite3_exec(f->tablet->db, "PRAGMA max_page_count = 1000000", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(work(f), 1);
    assert_int_equal(find(f, &label).state, BATCH_APPLIED);
    assert_int_equal(shelf_next(f->tablet, "medic", 1999, false, &doc, &f->error), 1);
    free(lines);
}

/* ---- the tablet's receipt ---- */

/* All batches for the server that there ever were. */
static uint64_t made(struct fixture *f)
{
    struct batch_counts counts = count(f, SERVER_NAME);

    return counts.held + counts.applied + counts.unnumbered;
}

/* One is made at first, then after each change, and none when nothing has changed. */
static void test_own_receipt(void **state)
{
    struct fixture *f = *state;
    struct label label;

    for (int i = 0; i < 3; i++)
        (void)work(f);
    assert_int_equal(made(f), 1);
    receive(f, &(struct sending){.seq = 1, .lines = A1}, &label);
    for (int i = 0; i < 3; i++)
        (void)work(f);
    assert_int_equal(made(f), 2);
    receive(f, &(struct sending){.kind = "view", .seq = 2, .lines = VIEW}, &label);
    for (int i = 0; i < 3; i++)
        (void)work(f);
    assert_int_equal(made(f), 3);
    assert_int_equal(count(f, SERVER_NAME).unnumbered, 1);
    put_document(f, "{\"_id\":\"c\",\"_rev\":\"1-c\"}\n");
    for (int i = 0; i < 3; i++)
        (void)work(f);
    assert_int_equal(made(f), 3 + 1 + 1);
    /* The server's receipt says nothing that ours has to tell. */
    carry(f, f->tablet, f->dock, SERVER_NAME);
    apply_at_dock(f);
    carry(f, f->dock, f->tablet, "t1");
    assert_int_equal(work(f), 1);
    assert_int_equal(made(f), 5);
    assert_int_equal(work(f), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_receipt_frees),
        TEST(test_documents),
        TEST(test_any_order),
        TEST(test_views),
        TEST(test_aside_with_its_reason),
        TEST(test_unknown_kind_is_kept),
        TEST(test_full),
        TEST(test_own_receipt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
