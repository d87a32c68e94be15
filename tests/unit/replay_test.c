/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The replay against a scripted server: order, filling, proof, refusals, splitting, who is held back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        TEST(contacts_go_first),
        TEST(waves_do_not_mix),
        TEST(blocked_between_waves),
        TEST(opened_again),
        TEST(requests_are_filled),
        TEST(bytes_are_limited),
        TEST(known_is_not_sent),
        TEST(sent_once),
        TEST(sent_up_is_held),
        TEST(two_leaves),
        TEST(refused_at_last),
        TEST(changed_and_accepted),
        TEST(accepted_in_the_end),
        TEST(accepted_with_its_contact),
        TEST(one_bad_document),
        TEST(several_bad_documents),
        TEST(a_500_that_passes),
        TEST(a_504_that_stays),
        TEST(a_server_that_is_ill),
        TEST(a_201_that_lies),
        TEST(nonsense_proves_nothing),
        TEST(questions_together),
        TEST(a_question_that_fails),
        TEST(one_user_is_held_back),
        TEST(an_unknown_user),
        TEST(the_server_is_away),
        TEST(stopped),
        TEST(set_aside),
        TEST(own_database),
        TEST(an_interrupted_refusal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
