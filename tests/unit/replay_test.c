/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The replay against a scripted server: in which order what is sent, and once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/holdings.h"
#include "store/streams.h"
#include "tests/unit/support/replaying.h"
#include "tests/unit/support/stores.h"

#define CONTACT "person"
#define REPORT "data_record"

/* Proves: a report in an earlier batch than its patient arrives, for contacts go first; all of it once. */
static void contacts_go_first(void **state)
{
    struct replaying *r = *state;

    r->options.most_docs = 1;
    r->options.parallel = 1;
    replaying_doc(r, REPORT, "visit", ",\"x_needs\":\"patient\"");
    replaying_doc(r, CONTACT, "patient", "");
    replaying_run(r, 0);
    assert_true(couch_has(r->couch, "medic", "visit", "1-visit"));
    assert_true(couch_first(r->couch, "_bulk_docs patient") <
                couch_first(r->couch, "_bulk_docs visit"));
    assert_int_equal(couch_sent(r->couch, "visit"), 1);
    assert_int_equal(r->counts.docs, 2);
    assert_int_equal(r->counts.sent_docs, 2);
    assert_int_equal(r->counts.proven_docs, 2);
    assert_int_equal(r->counts.refused_docs, 0);
    assert_int_equal(r->counts.applied_batches, 2);
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 2);
}

/* Proves: with several requests in flight, too, no report goes before every contact is answered, though the
 * server is asked for reports earlier: one that came too early would be refused, and sent a second time. */
static void waves_do_not_mix(void **state)
{
    struct replaying *r = *state;
    char prefix[16], id[16];

    r->options.most_docs = 10;
    r->options.parallel = 4;
    for (int i = 0; i < 8; i++) {
        (void)snprintf(prefix, sizeof prefix, "v%d-", i);
        replaying_docs(r, REPORT, prefix, 20, 1, 0, ",\"x_needs\":\"p7-9\"");
        (void)snprintf(prefix, sizeof prefix, "p%d-", i);
        replaying_docs(r, CONTACT, prefix, 10, 1, 0, "");
    }
    replaying_run(r, 0);
    assert_int_equal(r->counts.proven_docs, 240);
    assert_int_equal(couch_requests(r->couch, "_bulk_docs"), 24);
    assert_in_range(couch_most_in_flight(r->couch), 1, 4);
    for (int i = 0; i < 160; i++) {
        (void)snprintf(id, sizeof id, "v%d-%d", i / 20, i % 20);
        assert_int_equal(couch_sent(r->couch, id), 1);
    }
    assert_true(couch_first(r->couch, "_bulk_docs p7-0") < couch_first(r->couch, "_bulk_docs v"));
}

/* Proves: what a user waits with for the next wave is not sent when the server does not let them write any
 * more by then; it stays held, and goes when they may. */
static void blocked_between_waves(void **state)
{
    struct replaying *r = *state;

    r->options.most_docs = 5;
    replaying_docs(r, CONTACT, "p", 5, 1, 0, "");
    replaying_docs(r, REPORT, "v", 20, 1, 0, "");
    couch_fault(r->couch, "_bulk_docs", "chw1", 403, "{\"error\":\"no\"}", 1, false);
    replaying_run(r, -1);
    assert_int_equal(r->error.kind, ERROR_REFUSED);
    assert_int_equal(couch_count(r->couch), 0);
    assert_int_equal(couch_requests(r->couch, "_bulk_docs"), 1);
    assert_int_equal(replaying_batches(r, BATCH_HELD), 2);
    replaying_run(r, 0);
    assert_int_equal(couch_count(r->couch), 25);
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 2);
}

/* Proves: the same when not all fits in memory and batches are opened again for the second wave. */
static void opened_again(void **state)
{
    struct replaying *r = *state;
    char prefix[16], id[16];

    r->options.most_bytes = 2048;
    r->options.most_docs = 7;
    for (int i = 0; i < 20; i++) {
        (void)snprintf(prefix, sizeof prefix, "v%d-", i);
        replaying_docs(r, REPORT, prefix, 5, 1, 0, ",\"x_needs\":\"p3\"");
        (void)snprintf(prefix, sizeof prefix, "p%d", i);
        replaying_doc(r, CONTACT, prefix, "");
    }
    replaying_run(r, 0);
    assert_int_equal(r->counts.proven_docs, 120);
    assert_int_equal(r->counts.sent_docs, 120);
    assert_int_equal(r->counts.applied_batches, 40);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(id, sizeof id, "v%d-%d", i / 5, i % 5);
        assert_int_equal(couch_sent(r->couch, id), 1);
    }
}

/* Proves: requests are filled across batches to the limit of documents, and no further; several go side by
 * side, not more than allowed; a receipt is due. */
static void requests_are_filled(void **state)
{
    struct replaying *r = *state;
    char prefix[16], from[STORE_NAME_BYTES];

    r->options.most_docs = 50;
    r->options.parallel = 3;
    for (int i = 0; i < 15; i++) {
        (void)snprintf(prefix, sizeof prefix, "b%d-", i);
        replaying_docs(r, REPORT, prefix, 8, 1, 1, "");
    }
    replaying_run(r, 0);
    assert_int_equal(couch_requests(r->couch, "_bulk_docs"), 3);
    assert_int_equal(couch_most_docs(r->couch), 50);
    assert_in_range(couch_most_in_flight(r->couch), 1, 3);
    assert_int_equal(couch_count(r->couch), 120);
    assert_int_equal(r->counts.applied_batches, 15);
    assert_int_equal(streams_next_due(r->store, NULL, from, &r->error), 1);
    assert_string_equal(from, "t1");
}

/* Proves: requests keep to the limit of bytes, but for a larger document, which goes alone. */
static void bytes_are_limited(void **state)
{
    struct replaying *r = *state;
    char more[3000], large[40000], id[16];

    r->options.most_bytes = 16384;
    (void)snprintf(more, sizeof more, ",\"n\":\"%02500d\"", 0);
    (void)snprintf(large, sizeof large, ",\"n\":\"%030000d\"", 0);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(id, sizeof id, "d%d", i);
        replaying_doc(r, REPORT, id, i == 10 ? large : more);
    }
    replaying_run(r, 0);
    assert_int_equal(couch_count(r->couch), 20);
    assert_in_range(couch_most_bytes(r->couch), 30000, 31000);
    assert_int_equal(couch_requests(r->couch, "_bulk_docs d10"), 1);
    assert_int_equal(couch_requests(r->couch, " d10 "), 0);
    assert_in_range(couch_requests(r->couch, "_bulk_docs"), 5, 7);
}

/* Proves: what the server has is not sent, and a second run of the same costs no _bulk_docs. */
static void known_is_not_sent(void **state)
{
    struct replaying *r = *state;

    couch_put(r->couch, "medic", "a", "1-a");
    replaying_doc(r, REPORT, "a", "");
    replaying_doc(r, REPORT, "b", "");
    replaying_run(r, 0);
    assert_int_equal(couch_sent(r->couch, "a"), 0);
    assert_int_equal(couch_sent(r->couch, "b"), 1);
    assert_int_equal(r->counts.proven_docs, 2);
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 2);
    couch_forget_requests(r->couch);
    replaying_run(r, 0);
    assert_int_equal(r->counts.requests, 0);
}

/* Proves: a revision that is in several batches is sent once, and all of them are applied. */
static void sent_once(void **state)
{
    struct replaying *r = *state;
    char id[16];

    r->options.most_docs = 10;
    for (int i = 0; i < 4; i++)
        replaying_docs(r, REPORT, "d", 15, 1, 1, "");
    replaying_run(r, 0);
    for (int i = 0; i < 15; i++) {
        (void)snprintf(id, sizeof id, "d%d", i);
        assert_int_equal(couch_sent(r->couch, id), 1);
    }
    assert_int_equal(r->counts.proven_docs, 60);
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 4);
}

/* Proves: what a tablet sent up is held by it, so that it is not fetched for it; what was refused is not. */
static void sent_up_is_held(void **state)
{
    static const char *const listed[][2] = {{"bad", "1-bad"}, {"d0", "1-d0"}, {"d1", "2-x"}};
    struct replaying *r = *state;
    struct holding at;

    replaying_docs(r, REPORT, "d", 2, 1, 1, "");
    replaying_doc(r, REPORT, "bad", ",\"x_forbidden\":true");
    replaying_run(r, 0);
    STORES_OK(holdings_list_begin(r->store, &r->error) == 0, &r->error);
    for (size_t i = 0; i < 3; i++)
        STORES_OK(holdings_list(r->store, listed[i][0], listed[i][1], &r->error) == 0, &r->error);
    STORES_OK(holdings_listed_all(r->store, "t1", "medic", NULL, &r->error) == 0, &r->error);
    assert_int_equal(holdings_next_needed(r->store, "t1", "medic", NULL, &at, &r->error), 1);
    assert_string_equal(at.id, "bad");
    assert_int_equal(holdings_next_needed(r->store, "t1", "medic", &at, &at, &r->error), 1);
    assert_string_equal(at.rev, "2-x");
    assert_int_equal(holdings_next_needed(r->store, "t1", "medic", &at, &at, &r->error), 0);
}

/* Proves: two leaves of one document go in one request and are both proven. */
static void two_leaves(void **state)
{
    struct replaying *r = *state;
    char *one = replaying_text(REPORT, "d", "2-a", ""),
         *two = replaying_text(REPORT, "d", "2-b", "");
    char *both;

    assert_true(asprintf(&both, "%s%s", one, two) > 0);
    replaying_add(r, r->deployment->tablet, "medic", both, NULL);
    replaying_run(r, 0);
    assert_true(couch_has(r->couch, "medic", "d", "2-a"));
    assert_true(couch_has(r->couch, "medic", "d", "2-b"));
    assert_int_equal(couch_requests(r->couch, "_bulk_docs d d"), 1);
    free(one);
    free(two);
    free(both);
}

/* Proves: the questions of several requests go as one, and when that is refused each goes alone. */
static void questions_together(void **state)
{
    struct replaying *r = *state;

    r->options.most_docs = 5;
    r->options.parallel = 1;
    replaying_docs(r, REPORT, "d", 40, 1, 0, "");
    replaying_run(r, 0);
    assert_int_equal(couch_requests(r->couch, "_bulk_docs"), 8);
    assert_in_range(couch_requests(r->couch, "_revs_diff"), 2, 6);

    couch_forget_requests(r->couch);
    couch_fault(r->couch, "_revs_diff", NULL, 400, "{\"error\":\"bad_request\"}", 1, false);
    replaying_docs(r, REPORT, "e", 40, 1, 0, "");
    replaying_run(r, 0);
    assert_int_equal(couch_count(r->couch), 80);
    assert_int_equal(replaying_refusals(r), 0);
    assert_in_range(couch_requests(r->couch, "_revs_diff"), 10, 17);
}

/* Proves: a user's own database is made when it is not there yet, as the app does. */
static void own_database(void **state)
{
    struct replaying *r = *state;
    char *text = replaying_text("feedback", "f", "1-f", "");

    replaying_add(r, r->deployment->tablet, "medic-user-chw1-meta", text, NULL);
    r->options.db = "medic-district";
    replaying_run(r, 0);
    assert_true(couch_has(r->couch, "medic-user-chw1-meta", "f", "1-f"));
    assert_int_equal(replaying_batches(r, BATCH_APPLIED), 1);
    r->options.db = "medic";
    free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, replaying_setup, replaying_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(contacts_go_first), TEST(waves_do_not_mix),    TEST(blocked_between_waves),
        TEST(opened_again),      TEST(requests_are_filled), TEST(bytes_are_limited),
        TEST(known_is_not_sent), TEST(sent_once),           TEST(sent_up_is_held),
        TEST(two_leaves),        TEST(questions_together),  TEST(own_database),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
