/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The replay against a scripted server that is ill, away or lies: nothing is taken for proven, and nobody holds up others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support/replaying.h"

#define CONTACT "person"
#define REPORT "data_record"

/* Proves: a 500 to a lone document is not taken for the last word: it is tried twice, in both waves. */
static void a_500_that_passes(void **state)
{
    struct replaying *r = *state;

    replaying_doc(r, REPORT, "a", ",\"x_fail\":500,\"x_times\":3");
    replaying_run(r, 0);
    assert_int_equal(r->counts.proven_docs, 1);
    assert_int_equal(replaying_refusals(r), 0);
    assert_int_equal(couch_sent(r->couch, "a"), 4);
}

/* Proves: a request for which a proxy gives up again and again (504) while others pass goes on in halves. */
static void a_504_that_stays(void **state)
{
    struct replaying *r = *state;

    r->options.most_docs = 2;
    replaying_connect(r, 60);
    replaying_docs(r, REPORT, "d", 4, 4, 1, ",\"x_fail\":504,\"x_times\":5");
    replaying_run(r, 0);
    assert_in_range(couch_requests(r->couch, "_bulk_docs d0 d1"), 4, 5);
    assert_in_range(couch_requests(r->couch, "_bulk_docs d1"), 1, 2);
    assert_int_equal(r->counts.proven_docs, 4);
    assert_int_equal(r->counts.sent_docs, 4);
    assert_int_equal(replaying_refusals(r), 0);
}

/* Proves: a server that answers 500 to every write is ill: nothing is refused for good, all stays held, and
 * goes when it is well. */
static void a_server_that_is_ill(void **state)
{
    struct replaying *r = *state;
    struct refusal refusal;

    replaying_docs(r, REPORT, "d", 40, 1, 1, "");
    couch_fault(r->couch, "_bulk_docs", NULL, 500, NULL, 100000, false);
    replaying_run(r, -1);
    assert_int_equal(r->error.kind, ERROR_TEMPORARY);
    assert_int_equal(r->counts.refused_docs, 0);
    assert_int_equal(replaying_batches(r, BATCH_HELD), 1);
    assert_true(!replaying_refusal(r, "d0", &refusal) || refusal.retry);
    couch_clear_faults(r->couch);
    replaying_run(r, 0);
    assert_int_equal(couch_count(r->couch), 40);
    assert_int_equal(replaying_refusals(r), 0);
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 1);
}

/* Proves: a 201 is no proof. With nothing stored behind it the documents are sent again; with something
 * stored, whatever the body says, they count. */
static void a_201_that_lies(void **state)
{
    struct replaying *r = *state;

    replaying_doc(r, REPORT, "a", "");
    replaying_doc(r, REPORT, "b", "");
    couch_fault(r->couch, "_bulk_docs", NULL, 201, "[]", 1, false);
    replaying_run(r, 0);
    assert_int_equal(couch_sent(r->couch, "a"), 2);
    assert_int_equal(r->counts.proven_docs, 2);
    assert_int_equal(replaying_refusals(r), 0);

    replaying_doc(r, REPORT, "c", "");
    couch_clear_faults(r->couch);
    couch_fault(r->couch, "_bulk_docs", NULL, 201, NULL, 1, true);
    replaying_run(r, 0);
    assert_int_equal(couch_sent(r->couch, "c"), 1);
    assert_int_equal(r->counts.proven_docs, 1);
}

/* Proves: a nonsense answer to _revs_diff proves nothing: asked again, and when it stays, all stays held.
 * "{}", which would mean that the server has everything, is nonsense, too. */
static void nonsense_proves_nothing(void **state)
{
    struct replaying *r = *state;

    replaying_doc(r, REPORT, "a", "");
    couch_fault(r->couch, "_revs_diff", NULL, 200, "{\"error\":\"x\"}", 1, false);
    couch_fault(r->couch, "_revs_diff", NULL, 200, NULL, 1, false);
    replaying_run(r, 0);
    assert_int_equal(r->counts.proven_docs, 1);
    assert_true(couch_has(r->couch, "medic", "a", "1-a"));

    replaying_doc(r, REPORT, "b", "");
    couch_fault(r->couch, "_revs_diff", NULL, 200, "{}", 1000, false);
    replaying_run(r, -1);
    assert_int_equal(r->error.kind, ERROR_TEMPORARY);
    assert_int_equal(r->counts.proven_docs, 0);
    assert_int_equal(replaying_batches(r, BATCH_HELD), 1);
}

/* Proves: an id that the server does not even want to be asked for is refused alone. */
static void a_question_that_fails(void **state)
{
    struct replaying *r = *state;

    replaying_doc(r, REPORT, "a", "");
    couch_fault(r->couch, "_revs_diff", NULL, 400, "{\"error\":\"bad_request\"}", 1, false);
    replaying_run(r, 0);
    assert_int_equal(r->counts.proven_docs, 1); /* the second wave takes it */
    assert_int_equal(replaying_refusals(r), 0);

    replaying_doc(r, REPORT, "b", "");
    couch_fault(r->couch, "_revs_diff", NULL, 400, "{\"error\":\"bad_request\"}", 1000, false);
    replaying_run(r, -1); /* it fails for the empty question, too: not the document's fault */
    assert_int_equal(r->error.kind, ERROR_TEMPORARY);
    assert_int_equal(replaying_batches(r, BATCH_HELD), 1);
}

static void add_for_both(struct replaying *r)
{
    char *text = replaying_text(REPORT, "own", "1-own", "");

    replaying_doc(r, REPORT, "a", "");
    replaying_doc(r, REPORT, "b", "");
    replaying_add(r, r->deployment->tablet2, "medic", text, NULL);
    free(text);
}

/* Proves: a user who may not write (403), a database that is not there (404), and a wrong password (401)
 * hold back that user's batches, refuse no document, and nobody else's batches wait. */
static void one_user_is_held_back(void **state)
{
    struct replaying *r = *state;
    static const unsigned STATUS[] = {403, 404, 401};

    for (int i = 0; i < 3; i++) {
        couch_clear_faults(r->couch);
        couch_fault(r->couch, "/medic/", "chw1", STATUS[i], "{\"error\":\"no\"}", 1000, false);
        if (i == 0)
            add_for_both(r);
        replaying_connect(r, 1);
        replaying_run(r, -1);
        assert_int_equal(r->error.kind, ERROR_REFUSED);
        assert_non_null(strstr(r->error.text, "chw1"));
        assert_int_equal(r->counts.refused_docs, 0);
        assert_int_equal(replaying_refusals(r), 0);
        assert_int_equal(replaying_batches(r, BATCH_HELD), 2);
        assert_true(couch_has(r->couch, "medic", "own", "1-own"));
    }
    couch_clear_faults(r->couch);
    replaying_connect(r, 1);
    replaying_run(r, 0);
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 3);
}

/* Proves: the same for a user whom the dock does not know. */
static void an_unknown_user(void **state)
{
    struct replaying *r = *state;
    struct identity *tablet = deployment_enroll(r->deployment, ROLE_TABLET, "t3", "chw3");
    char *text = replaying_text(CONTACT, "own", "1-own", "");

    replaying_add(r, tablet, "medic", text, NULL);
    replaying_doc(r, REPORT, "a", "");
    replaying_run(r, -1);
    assert_int_equal(r->error.kind, ERROR_REFUSED);
    assert_non_null(strstr(r->error.text, "chw3"));
    assert_int_equal(replaying_batches(r, BATCH_HELD), 1);
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 1);
    free(text);
    identity_free(tablet);
}

/* Proves: while the server is away nothing is dropped; what was done before stays done. */
static void the_server_is_away(void **state)
{
    struct replaying *r = *state;

    replaying_doc(r, REPORT, "a", "");
    couch_fault(r->couch, "_bulk_docs", NULL, 503, NULL, 1000, false);
    replaying_run(r, -1);
    assert_int_equal(r->error.kind, ERROR_TEMPORARY);
    assert_int_equal(replaying_batches(r, BATCH_HELD), 1);
    assert_int_equal(replaying_refusals(r), 0);
    couch_clear_faults(r->couch);
    replaying_run(r, 0);
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 1);
}

/* Proves: a run that is told to stop ends soon, with everything held. */
static void stopped(void **state)
{
    struct replaying *r = *state;
    atomic_bool stop = true;

    replaying_doc(r, REPORT, "a", "");
    r->options.stop = &stop;
    replaying_connect(r, 1000);
    replaying_run(r, -1);
    assert_int_equal(r->error.kind, ERROR_TEMPORARY);
    assert_int_equal(replaying_batches(r, BATCH_HELD), 1);
    r->options.stop = NULL;
    replaying_connect(r, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, replaying_setup, replaying_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_500_that_passes),       TEST(a_504_that_stays),
        TEST(a_server_that_is_ill),    TEST(a_201_that_lies),
        TEST(nonsense_proves_nothing), TEST(a_question_that_fails),
        TEST(one_user_is_held_back),   TEST(an_unknown_user),
        TEST(the_server_is_away),      TEST(stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
