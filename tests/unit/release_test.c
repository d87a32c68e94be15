/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Batches of a revoked station at the dock: they are kept aside until the administrator releases them;
 * what is released then passes for its revoked signer, and for nothing else that is wrong with it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support/replaying.h"
#include "tests/unit/support/stores.h"

#define REPORT "data_record"

/* The dock learns that the station is revoked. */
static void revoke(struct replaying *r, const struct identity *identity)
{
    struct buffer list = {0};

    deployment_revoke(r->deployment, identity);
    deployment_list(r->deployment, &list);
    STORES_OK(trust_update(r->trust, list.data, list.length, NULL, &r->error) == 1, &r->error);
    buffer_free(&list);
}

static void release(struct replaying *r, const struct label *label)
{
    STORES_OK(store_begin(r->store, &r->error) == 0, &r->error);
    STORES_OK(batches_release(r->store, label->id, &r->error) == 0, &r->error);
    STORES_OK(store_commit(r->store, &r->error) == 0, &r->error);
}

/* The batch is aside, for a reason with these WORDS. */
static void expect_aside(struct replaying *r, const struct label *label, const char *words)
{
    char reason[ERROR_TEXT_BYTES];
    struct batch batch = {0};

    while (batches_next_aside(r->store, batch.position, &batch, reason, &r->error) == 1)
        if (memcmp(batch.label.id, label->id, BATCH_ID_BYTES) == 0) {
            if (strstr(reason, words) == NULL)
                fail_msg("\"%s\" does not say \"%s\"", reason, words);
            return;
        }
    fail_msg("the batch is not aside");
}

static enum batch_state state_of(struct replaying *r, const struct label *label)
{
    struct batch batch;

    STORES_OK(batches_find(r->store, label->id, &batch, &r->error) == 1, &r->error);
    return batch.state;
}

static void add_doc(struct replaying *r, const struct identity *signer, const char *type,
                    const char *id, const char *more, struct label *label)
{
    char rev[DOC_REV_BYTES], *text;

    (void)snprintf(rev, sizeof rev, "1-%s", id);
    text = replaying_text(type, id, rev, more);
    replaying_add(r, signer, "medic", text, label);
    free(text);
}

/* Proves: of two batches of a revoked tablet only the released one is applied, once; the other stays
 * aside, as does what comes of that tablet later. A store that is opened anew still knows it. */
static void only_the_released_one(void **state)
{
    struct replaying *r = *state;
    struct label one, two, later;

    add_doc(r, r->deployment->tablet2, "person", "p", "", &one);
    add_doc(r, r->deployment->tablet2, REPORT, "a", "", &two);
    revoke(r, r->deployment->tablet2);
    replaying_run(r, 0);
    assert_int_equal(r->counts.aside_batches, 2);
    expect_aside(r, &one, "signer t2 is revoked");
    assert_int_equal(couch_count(r->couch), 0);

    release(r, &one);
    add_doc(r, r->deployment->tablet2, REPORT, "b", "", &later);
    couch_fault(r->couch, "_bulk_docs", NULL, 503, NULL, 1000, false);
    replaying_run(r, -1);
    assert_int_equal(state_of(r, &one), BATCH_HELD);
    couch_clear_faults(r->couch);
    replaying_run(r, 0);
    assert_int_equal(state_of(r, &one), BATCH_APPLIED);
    assert_true(couch_has(r->couch, "medic", "p", "1-p"));
    assert_int_equal(couch_count(r->couch), 1);
    expect_aside(r, &two, "signer t2 is revoked");
    expect_aside(r, &later, "signer t2 is revoked");
}

/* Proves: a batch so large that it is opened once for contacts and once for the rest passes both times. */
static void opened_twice(void **state)
{
    struct replaying *r = *state;
    struct buffer lines = {0};
    struct label label;
    char rev[80], id[64], *text;

    /* More documents than one run keeps from the first wave for the second. */
    for (int i = 0; i < 1200; i++) {
        (void)snprintf(id, sizeof id, "d%d", i);
        (void)snprintf(rev, sizeof rev, "1-d%d", i);
        text = replaying_text(i == 0 ? "person" : REPORT, id, rev, "");
        assert_int_equal(buffer_append(&lines, text, strlen(text), &r->error), 0);
        free(text);
    }
    assert_int_equal(buffer_append(&lines, "", 1, &r->error), 0);
    r->options.most_bytes = 8192;
    replaying_add(r, r->deployment->tablet2, "medic", (const char *)lines.data, &label);
    buffer_free(&lines);
    revoke(r, r->deployment->tablet2);
    replaying_run(r, 0);
    expect_aside(r, &label, "is revoked");
    release(r, &label);
    replaying_run(r, 0);
    assert_int_equal(state_of(r, &label), BATCH_APPLIED);
    assert_int_equal(couch_count(r->couch), 1200);
}

/* Proves: a document that the server refused can be retried although the batch's signer is revoked. */
static void its_refused_documents(void **state)
{
    struct replaying *r = *state;
    struct refusal refusal;
    struct label label;
    uint64_t count;

    add_doc(r, r->deployment->tablet2, REPORT, "a", ",\"x_needs\":\"p\"", &label);
    revoke(r, r->deployment->tablet2);
    replaying_run(r, 0);
    release(r, &label);
    replaying_run(r, 0);
    assert_int_equal(state_of(r, &label), BATCH_APPLIED);
    assert_true(replaying_refusal(r, "a", &refusal));
    replaying_doc(r, "person", "p", "");
    STORES_OK(store_begin(r->store, &r->error) == 0, &r->error);
    STORES_OK(ledger_retry(r->store, refusal.number, &count, &r->error) == 0, &r->error);
    STORES_OK(store_commit(r->store, &r->error) == 0, &r->error);
    replaying_run(r, 0);
    assert_true(couch_has(r->couch, "medic", "a", "1-a"));
    assert_int_equal(replaying_refusals(r), 0);
}

/* Proves: released or not, a batch of another deployment, an altered one, one that its signer may not
 * write and one with a damaged document go aside again, each for what is wrong with it. */
static void nothing_else_passes(void **state)
{
    struct replaying *r = *state;
    struct deployment *other = deployment_new();
    struct manifest manifest = {.from = "t2",
                                .to = SERVER_NAME,
                                .epoch = "00000000000000e1",
                                .seq = 77,
                                .kind = "docs",
                                .db = "medic",
                                .user = "chw2",
                                .docs = 1};
    char *text = replaying_text(REPORT, "a", "1-a", "");
    struct label foreign, altered, elsewhere, damaged;
    struct buffer bytes = {0};

    STORES_OK(batch_seal(other->tablet2, identity_certificate(r->deployment->server), &manifest,
                         text, strlen(text), &bytes, &foreign, &r->error) == 0,
              &r->error);
    STORES_OK(store_begin(r->store, &r->error) == 0, &r->error);
    STORES_OK(batches_add(r->store, &foreign, bytes.data, bytes.length, &r->error) == 0, &r->error);
    bytes.data[bytes.length / 2] ^= 1;
    altered = foreign;
    altered.id[0] ^= 1;
    STORES_OK(batches_add(r->store, &altered, bytes.data, bytes.length, &r->error) == 0, &r->error);
    STORES_OK(store_commit(r->store, &r->error) == 0, &r->error);
    replaying_add(r, r->deployment->tablet2, "_users", text, &elsewhere);
    replaying_add(r, r->deployment->tablet2, "medic", "{\"_id\":\"x\",\n", &damaged);
    revoke(r, r->deployment->tablet2);
    for (int turn = 0; turn < 2; turn++) {
        replaying_run(r, 0);
        assert_int_equal(r->counts.aside_batches, 4);
        expect_aside(r, &foreign, "was not issued by this deployment");
        expect_aside(r, &altered, "does not match its id");
        expect_aside(r, &elsewhere, turn == 0 ? "is revoked" : "database _users");
        expect_aside(r, &damaged, turn == 0 ? "is revoked" : "its document 1");
        release(r, &foreign);
        release(r, &altered);
        release(r, &elsewhere);
        release(r, &damaged);
    }
    assert_int_equal(couch_count(r->couch), 0);
    deployment_free(other);
    buffer_free(&bytes);
    free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, replaying_setup, replaying_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_the_released_one),
        TEST(opened_twice),
        TEST(its_refused_documents),
        TEST(nothing_else_passes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
