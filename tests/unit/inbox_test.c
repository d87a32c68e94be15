/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/tablet/inbox: a receipt frees what it proves, once; what cannot be used is set aside with its
 * reason, and what is not understood is kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/tablet/inbox.h"
#include "host/tablet/outbox.h"
#include "store/receipt.h"
#include "store/streams.h"
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

/* A batch of KIND sealed by SIGNER to RECIPIENT lies in the tablet's store. */
static void receive(struct fixture *f, const struct identity *signer,
                    const struct identity *recipient, const char *kind, const char *lines)
{
    struct manifest manifest = {.to = "t1", .epoch = STORES_EPOCH, .seq = 1};
    struct buffer bytes = {0};
    struct label label;

    strncpy(manifest.from, identity_name(signer), sizeof manifest.from - 1);
    strncpy(manifest.to, identity_name(recipient), sizeof manifest.to - 1);
    strncpy(manifest.user, identity_user(signer), sizeof manifest.user - 1);
    strncpy(manifest.kind, kind, sizeof manifest.kind - 1);
    for (const char *at = lines; *at != '\0'; at++)
        manifest.docs += *at == '\n';
    STORES_OK(batch_seal(signer, identity_certificate(recipient), &manifest, lines, strlen(lines),
                         &bytes, &label, &f->error) == 0,
              &f->error);
    memcpy(label.to, "t1", 3); /* what the courier says */
    STORES_OK(store_begin(f->tablet, &f->error) == 0 &&
                  batches_add(f->tablet, &label, bytes.data, bytes.length, &f->error) == 0 &&
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
    assert_int_equal(work(f), 0);
    carry(f, f->tablet, f->dock, SERVER_NAME);
    apply_at_dock(f);
    carry(f, f->dock, f->tablet, "t1");
    put_document(f, "{\"_id\":\"c\",\"_rev\":\"1-c\"}\n"); /* after it: stays */
    assert_int_equal(work(f), 1);
    assert_int_equal(count(f, SERVER_NAME).applied, 2);
    assert_int_equal(count(f, SERVER_NAME).held, 1);
    assert_int_equal(count(f, "t1").applied, 1);
    assert_int_equal(work(f), 0);
}

static void test_aside_with_its_reason(void **state)
{
    struct fixture *f = *state;
    const struct {
        const struct identity *signer, *recipient;
        const char *kind, *lines, *reason;
    } cases[] = {
        {f->deployment->server, f->deployment->tablet2, "receipt", "", "sealed"},
        {f->deployment->tablet2, f->deployment->tablet, "receipt", "", "only the server"},
        {f->deployment->server, f->deployment->tablet, "receipt", "{\"x\":1}\n", ""},
    };
    char reason[ERROR_TEXT_BYTES];
    struct batch batch = {0};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        receive(f, cases[i].signer, cases[i].recipient, cases[i].kind, cases[i].lines);
        assert_int_equal(work(f), 0);
        assert_int_equal(count(f, "t1").aside, i + 1);
        STORES_OK(batches_next_aside(f->tablet, batch.position, &batch, reason, &f->error) == 1,
                  &f->error);
        if (strstr(reason, cases[i].reason) == NULL)
            fail_msg("case %zu: '%s' has no '%s'", i, reason, cases[i].reason);
    }
    assert_int_equal(count(f, "t1").held, 0);
}

static void test_unknown_kind_is_kept(void **state)
{
    struct fixture *f = *state;

    receive(f, f->deployment->server, f->deployment->tablet, "bundle", "{\"x\":1}\n");
    assert_int_equal(work(f), 0);
    assert_int_equal(work(f), 0);
    assert_int_equal(count(f, "t1").held, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_receipt_frees),
        TEST(test_aside_with_its_reason),
        TEST(test_unknown_kind_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
