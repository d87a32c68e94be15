/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The replay against a scripted server: what it refuses, and when that is tried again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/streams.h"
#include "tests/unit/support/replaying.h"
#include "tests/unit/support/stores.h"

#define REPORT "data_record"

static void bytes_kept(struct replaying *r, const unsigned char *id, bool expected)
{
    struct batch batch;

    assert_int_equal(batches_find(r->store, id, &batch, &r->error), 1);
    assert_int_equal(batch.state, BATCH_APPLIED);
    assert_int_equal(batch.offset != 0, expected);
}

/* Proves: what the server refuses is tried twice, recorded with its words, its batch applied with its
 * bytes kept; that it is not tried again by itself, but at the administrator's word; and that it leaves the
 * ledger when the server has it by other ways. */
static void refused_at_last(void **state)
{
    struct replaying *r = *state;
    struct refusal refusal;
    uint64_t count;

    replaying_doc(r, REPORT, "bad", ",\"x_forbidden\":true");
    replaying_doc(r, REPORT, "mute", ",\"x_silent\":true");
    replaying_doc(r, REPORT, "good", "");
    replaying_run(r, 0);
    assert_int_equal(couch_sent(r->couch, "bad"), 2);
    assert_int_equal(r->counts.sent_docs, 3);
    assert_int_equal(r->counts.refused_docs, 2);
    assert_int_equal(r->counts.proven_docs, 1);
    assert_int_equal(r->counts.applied_batches, 3);
    assert_true(replaying_refusal(r, "bad", &refusal));
    assert_string_equal(refusal.error, "forbidden");
    assert_string_equal(refusal.rev, "1-bad");
    assert_string_equal(refusal.from, "t1");
    assert_false(refusal.retry);
    bytes_kept(r, refusal.batch, true);
    assert_true(replaying_refusal(r, "mute", &refusal));
    assert_string_equal(refusal.error, "not stored");

    couch_forget_requests(r->couch);
    replaying_doc(r, REPORT, "later", "");
    replaying_run(r, 0);
    assert_int_equal(couch_sent(r->couch, "bad"), 0);
    assert_int_equal(replaying_refusals(r), 2);

    assert_true(replaying_refusal(r, "bad", &refusal));
    assert_int_equal(store_begin(r->store, &r->error), 0);
    assert_int_equal(ledger_retry(r->store, refusal.number, &count, &r->error), 0);
    assert_int_equal(store_commit(r->store, &r->error), 0);
    replaying_run(r, 0);
    assert_int_equal(couch_sent(r->couch, "bad"), 1);
    assert_int_equal(couch_sent(r->couch, "mute"), 0);
    assert_true(replaying_refusal(r, "bad", &refusal));
    assert_false(refusal.retry);

    couch_put(r->couch, "medic", "bad", "1-bad");
    replaying_doc(r, REPORT, "last", "");
    replaying_run(r, 0);
    bytes_kept(r, refusal.batch, false);
    assert_false(replaying_refusal(r, "bad", &refusal));
    assert_int_equal(replaying_refusals(r), 1);
}

/* Proves: a refused document that was changed and then taken is off the list, its tablet is to be told, its batch's
 * bytes go; one of which an earlier revision is proven stays. */
static void changed_and_accepted(void **state)
{
    struct replaying *r = *state;
    char *earlier = replaying_text(REPORT, "d", "2-a", ",\"x_forbidden\":true");
    char *changed = replaying_text(REPORT, "d", "3-b", "");
    char due[STORE_NAME_BYTES];
    struct refusal refusal;
    struct label label;

    replaying_add(r, r->deployment->tablet, "medic", earlier, &label);
    replaying_run(r, 0);
    assert_int_equal(replaying_refusals(r), 1);
    replaying_doc(r, REPORT, "d", ""); /* 1-d, which came by another courier */
    replaying_run(r, 0);
    assert_true(replaying_refusal(r, "d", &refusal));
    bytes_kept(r, label.id, true);
    assert_int_equal(store_begin(r->store, &r->error), 0);
    assert_int_equal(streams_set_due(r->store, "t1", false, &r->error), 0);
    assert_int_equal(store_commit(r->store, &r->error), 0);
    replaying_add(r, r->deployment->tablet, "medic", changed, NULL);
    replaying_run(r, 0);
    assert_int_equal(replaying_refusals(r), 0);
    assert_int_equal(streams_next_due(r->store, "", due, &r->error), 1);
    bytes_kept(r, label.id, false);
    free(earlier);
    free(changed);
}

/* Proves: what is refused because of something that comes later is accepted at the end of the same run. */
static void accepted_in_the_end(void **state)
{
    struct replaying *r = *state;

    r->options.most_docs = 1;
    r->options.parallel = 1;
    replaying_doc(r, REPORT, "early", ",\"x_needs\":\"late\"");
    replaying_doc(r, REPORT, "late", "");
    replaying_run(r, 0);
    assert_int_equal(couch_sent(r->couch, "early"), 2);
    assert_int_equal(r->counts.proven_docs, 2);
    assert_int_equal(r->counts.refused_docs, 0);
    assert_int_equal(replaying_refusals(r), 0);
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 2);
}

/* Proves: a report that came by an earlier visit than its patient, and was refused for good, goes in by itself
 * when the patient comes; not with other reports, and one that is forbidden all the same stays refused. */
static void accepted_with_its_contact(void **state)
{
    struct replaying *r = *state;
    struct refusal refusal;

    replaying_doc(r, REPORT, "early", ",\"x_needs\":\"patient\"");
    replaying_doc(r, REPORT, "bad", ",\"x_forbidden\":true");
    replaying_run(r, 0);
    assert_int_equal(replaying_refusals(r), 2);
    assert_true(replaying_refusal(r, "early", &refusal));
    assert_false(refusal.retry);

    couch_forget_requests(r->couch);
    replaying_doc(r, REPORT, "other", "");
    replaying_run(r, 0);
    assert_int_equal(couch_sent(r->couch, "early"), 0);

    replaying_doc(r, "person", "patient", "");
    replaying_run(r, 0);
    assert_int_equal(couch_sent(r->couch, "early"), 1);
    assert_true(couch_has(r->couch, "medic", "early", "1-early"));
    bytes_kept(r, refusal.batch, false);
    assert_int_equal(couch_sent(r->couch, "bad"), 1);
    assert_int_equal(replaying_refusals(r), 1);
    assert_true(replaying_refusal(r, "bad", &refusal));
    assert_false(refusal.retry);
    bytes_kept(r, refusal.batch, true);
}

/* Proves: for each way in which one bad document fails a whole request, the others arrive and it alone is
 * refused, in the server's words. */
static void one_bad_document(void **state)
{
    struct replaying *r = *state;
    static const char *const MORE[] = {",\"x_fail\":400", ",\"x_fail\":412", ",\"x_fail\":413",
                                       ",\"x_fail\":500", ",\"x_part\":412"};
    static const char *const WORDS[] = {"400 e400", "412 e412", "413 e413", "500 e500", "412 e412"};
    struct refusal refusal;
    char id[32];

    for (int kind = 0; kind < 5; kind++) {
        (void)snprintf(id, sizeof id, "k%d-", kind);
        replaying_docs(r, REPORT, id, 40, 40, 7 * kind + 3, MORE[kind]);
        replaying_run(r, 0);
        assert_int_equal(r->counts.proven_docs, 39);
        assert_int_equal(r->counts.refused_docs, 1);
        (void)snprintf(id, sizeof id, "k%d-%d", kind, 7 * kind + 3);
        assert_true(replaying_refusal(r, id, &refusal));
        assert_string_equal(refusal.error, WORDS[kind]);
        assert_string_equal(refusal.reason, "asked for");
        assert_int_equal(couch_count(r->couch), (size_t)(39 * (kind + 1)));
    }
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 5);
}

/* Proves: several bad ones in one request, and a page of a proxy (no JSON) as the server's words. */
static void several_bad_documents(void **state)
{
    struct replaying *r = *state;
    struct refusal refusal;

    replaying_docs(r, REPORT, "d", 100, 30, 0, ",\"x_fail\":500");
    replaying_run(r, 0);
    assert_int_equal(r->counts.refused_docs, 4);
    assert_int_equal(r->counts.proven_docs, 96);

    replaying_doc(r, REPORT, "large", "");
    couch_fault(r->couch, "_bulk_docs", NULL, 413, NULL, 2, false);
    replaying_run(r, 0);
    assert_true(replaying_refusal(r, "large", &refusal));
    assert_string_equal(refusal.error, "413 too large");
}

/* Proves: what cannot be opened or used is set aside with the reason, and the rest goes on: a batch sealed
 * to another station, one with a damaged document, one without a rev, one for a database that is none of
 * the tablet's, one whose signer was revoked. An unknown kind stays held. */
static void set_aside(void **state)
{
    struct replaying *r = *state;
    struct manifest manifest = {.from = "t1",
                                .to = SERVER_NAME,
                                .epoch = "00000000000000e1",
                                .kind = "docs",
                                .db = "medic",
                                .user = "chw1",
                                .docs = 1};
    struct buffer bytes = {0}, list = {0};
    struct label label;
    struct batch batch = {0};
    char *text = replaying_text(REPORT, "a", "1-a", ""), reason[ERROR_TEXT_BYTES];
    uint64_t number;

    manifest.seq = ++r->seq;
    STORES_OK(batch_seal(r->deployment->tablet, identity_certificate(r->deployment->tablet2),
                         &manifest, text, strlen(text), &bytes, &label, &r->error) == 0,
              &r->error);
    assert_int_equal(store_begin(r->store, &r->error), 0);
    STORES_OK(batches_add(r->store, &label, bytes.data, bytes.length, &r->error) == 0, &r->error);
    assert_int_equal(store_commit(r->store, &r->error), 0);
    buffer_free(&bytes);
    replaying_add(r, r->deployment->tablet, "medic", "{\"_id\":\"x\",\n", NULL);
    replaying_add(r, r->deployment->tablet, "medic", "{\"_id\":\"x\"}\n", NULL);
    replaying_add(r, r->deployment->tablet, "_users", text, NULL);
    replaying_add(r, r->deployment->tablet, "medic-user-chw2-meta", text, NULL);
    replaying_add(r, r->deployment->tablet2, "medic", text, NULL);
    replaying_doc(r, REPORT, "b", "");
    deployment_revoke(r->deployment, r->deployment->tablet2);
    deployment_list(r->deployment, &list);
    assert_int_equal(trust_update(r->trust, list.data, list.length, &number, &r->error), 1);
    buffer_free(&list);
    replaying_run(r, 0);
    assert_int_equal(r->counts.aside_batches, 6);
    assert_int_equal(replaying_batches(r, BATCH_ASIDE), 6);
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 1);
    assert_int_equal(couch_count(r->couch), 1);
    while (batches_next_aside(r->store, batch.position, &batch, reason, &r->error) == 1) {
        assert_true(reason[0] != '\0');
        if (strcmp(batch.label.from, "t2") == 0)
            assert_non_null(strstr(reason, "revoked"));
    }
    free(text);
}

/* Proves: a run that ended between refusal and second try leaves all held, and the next one, which finds
 * the document on the server by then, leaves no refusal behind. */
static void an_interrupted_refusal(void **state)
{
    struct replaying *r = *state;

    replaying_doc(r, REPORT, "a", ",\"x_forbidden\":true");
    couch_fault(r->couch, "_bulk_docs", NULL, 201, "[]", 1, false);
    couch_fault(r->couch, "_bulk_docs", NULL, 503, NULL, 1000, false);
    replaying_run(r, -1);
    assert_int_equal(replaying_batches(r, BATCH_HELD), 1);
    assert_int_equal(replaying_refusals(r), 1);
    couch_clear_faults(r->couch);
    couch_put(r->couch, "medic", "a", "1-a");
    replaying_run(r, 0);
    assert_int_equal(replaying_refusals(r), 0);
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, replaying_setup, replaying_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(refused_at_last),     TEST(changed_and_accepted),
        TEST(accepted_in_the_end), TEST(accepted_with_its_contact),
        TEST(one_bad_document),    TEST(several_bad_documents),
        TEST(set_aside),           TEST(an_interrupted_refusal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
