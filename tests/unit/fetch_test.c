/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The fetch against a scripted server: what is asked for, what becomes of it, who holds up whom.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/x509.h>
#include <valgrind/valgrind.h>

#include "store/peers.h"
#include "tests/unit/support/fetching.h"
#include "tests/unit/support/stores.h"

#define TABLET(f) ((f)->r->deployment->tablet)
#define REV_1 "1-aaaa"
#define REV_2 "2-bbbb"

static size_t asked(struct fetching *f, const char *text)
{
    return couch_requests(f->r->couch, text);
}

/* Proves: a tablet gets what its user may see, byte for byte, and a view that lists it; nothing of anybody else's. */
static void a_new_tablet_gets_all(void **state)
{
    struct fetching *f = *state;
    char *text;

    fetching_show(f, "medic", "chw1", "a", 250, REV_1, 10);
    fetching_show(f, "medic", "chw2", "b", 3, REV_1, 10);
    fetching_show(f, "medic-user-chw1-meta", "chw1", "m", 2, REV_1, 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.tablets, 2);
    assert_int_equal(f->counts.docs, 255);
    assert_int_equal(f->counts.batches, 3);
    assert_int_equal(f->counts.views, 2);
    assert_int_equal(fetching_opened(f, TABLET(f), "docs", "medic-user-chw1-meta", NULL), 2);
    assert_int_equal(fetching_opened(f, f->r->deployment->tablet2, "docs", "medic", NULL), 3);
    assert_int_equal(fetching_opened(f, TABLET(f), "docs", "medic", &text), 250);
    assert_non_null(
        strstr(text, "{\"_id\":\"a249\",\"_rev\":\"1-aaaa\",\"n\":1.50e+0,\"text\":\""));
    assert_null(strstr(text, "\"b0\""));
    free(text);
    (void)fetching_opened(f, TABLET(f), "view", "medic", &text);
    assert_non_null(strstr(text, "\"server\":\"0123456789abcdef0123456789abcdef\",\"at\":77"));
    assert_non_null(strstr(text, "[\"a0\",\"1-aaaa\"]"));
    free(text);
}

/* Proves: an unchanged tablet costs one get-ids (and the question for its own database), whether its batches are
 * under way or have arrived; a change costs its document and a view, which takes the place of the one before. */
static void only_what_changes_is_fetched(void **state)
{
    struct fetching *f = *state;

    fetching_show(f, "medic", "chw1", "a", 120, REV_1, 10);
    fetching_run(f, FETCHING_OK);
    for (int i = 0; i < 2; i++) {
        couch_forget_requests(f->r->couch);
        fetching_run(f, FETCHING_OK);
        assert_int_equal(f->counts.requests, 4);
        assert_int_equal(asked(f, "get-ids"), 2);
        assert_int_equal(asked(f, "_changes"), 2);
        assert_int_equal(f->counts.batches + f->counts.views, 0);
        fetching_deliver(f, "t1");
    }
    fetching_show(f, "medic", "chw1", "a", 1, REV_2, 10);
    couch_forget_requests(f->r->couch);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(asked(f, "_bulk_get a0"), 1);
    assert_int_equal(asked(f, "_bulk_get"), 1);
    assert_int_equal(f->counts.docs, 1);
    assert_int_equal(f->counts.views, 1);
    assert_int_equal(fetching_under_way(f, "t1"), 2);
    fetching_show(f, "medic", "chw1", "b", 1, REV_1, 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 1);
    assert_int_equal(fetching_under_way(f, "t1"), 3); /* one view */
}

/* Proves: an answer that is not whole and as it must be is not used; the next run makes up for it. */
static void bad_answers_are_not_used(void **state)
{
    static const struct {
        const char *path;
        unsigned status;
        const char *body;
    } cases[] = {
        {"get-ids", 200, NULL},
        {"get-ids", 200, "{\"error\":\"timeout\",\"reason\":\"x\"}"},
        {"get-ids", 200, "[]"},
        {"get-ids", 200, "{\"doc_ids_revs\":{}}"},
        {"get-ids", 200, "{\"doc_ids_revs\":[{\"id\":\"a0\"}]}"},
        {"get-ids", 200, "{\"doc_ids_revs\":[{\"id\":1,\"rev\":\"1-a\"}]}"},
        {"get-ids", 200, "{\"doc_ids_revs\":[{\"id\":\"\",\"rev\":\"1-a\"}]}"},
        {"get-ids", 200, "{\"doc_ids_revs\":[{\"id\":\"a0\",\"rev\":\"a\"}]}"},
        {"get-ids", 200, "{\"doc_ids_revs\":[{\"id\":\"zz\",\"rev\":\"1-a\"}],\"doc_ids_r"},
        {"get-ids", 200, "{\"doc_ids_revs\":[{\"id\":\"zz\",\"rev\":\"1-a\"}]}{}"},
        {"get-ids", 500, "{\"error\":\"Server error\"}"},
        {"get-ids", 302, NULL},
        {"meta/_changes", 200, "{\"results\":[]}"},
        {"meta/_changes", 200, "{\"last_seq\":5}"},
        {"meta/_changes", 200, "{\"results\":[{\"id\":\"m\",\"changes\":[]}],\"last_seq\":5}"},
        {"meta/_changes", 200, "{\"results\":[{\"id\":\"m\"}],\"last_seq\":5}"},
        {"meta/_changes", 200, "{\"results\":[],\"last_seq\":[5]}"},
        {"meta/_changes", 200, NULL},
        {"_bulk_get", 200, NULL},
        {"_bulk_get", 200, "{\"error\":\"timeout\"}"},
        {"_bulk_get", 200, "{\"results\":{}}"},
        {"_bulk_get", 200, "{\"results\":[{\"docs\":[{\"ok\":{\"_id\":\"a0\""},
        {"_bulk_get", 200, "null"},
    };
    struct fetching *f = *state;

    fetching_show(f, "medic", "chw1", "a", 5, REV_1, 10);
    fetching_show(f, "medic-user-chw1-meta", "chw1", "m", 1, REV_1, 10);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("%s %u %s\n", cases[i].path, cases[i].status,
                      cases[i].body != NULL ? cases[i].body : "(page)");
        couch_clear_faults(f->r->couch);
        couch_fault(f->r->couch, cases[i].path, "chw1", cases[i].status, cases[i].body, 9, false);
        fetching_run(f, -ERROR_TEMPORARY);
        assert_int_equal(fetching_under_way(f, "t1"), 0);
        assert_int_equal(asked(f, "zz"), 0);
    }
    couch_clear_faults(f->r->couch);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(fetching_opened(f, TABLET(f), "docs", "medic", NULL), 5);
}

/* Proves: the same of answers that are cut; the server is waited for and asked again. */
static void cut_answers_are_asked_again(void **state)
{
    struct fetching *f = *state;

    replaying_connect(f->r, 60);
    fetching_show(f, "medic", "chw1", "a", 30, REV_1, 100);
    couch_cut(f->r->couch, "get-ids", 1);
    couch_cut(f->r->couch, "_bulk_get", 1);
    couch_delay(f->r->couch, 20);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(fetching_opened(f, TABLET(f), "docs", "medic", NULL), 30);
}

/* Proves: order does not matter, twice is once, and what was not asked for is dropped. */
static void a_messy_answer_is_a_set(void **state)
{
    struct fetching *f = *state;

    fetching_show(f, "medic", "chw1", "a", 40, REV_1, 10);
    display_put(couch_lock_display(f->r->couch), "medic", "extra", REV_1, "chw1",
                "{\"_id\":\"extra\",\"_rev\":\"1-aaaa\",\"_revisions\":{}}");
    couch_unlock_display(f->r->couch);
    couch_fault(f->r->couch, "get-ids", "chw1", 200,
                "{\"doc_ids_revs\":[{\"id\":\"a3\",\"rev\":\"1-aaaa\"},{\"id\":\"a1\",\"rev\":"
                "\"1-aaaa\"},{\"id\":\"a3\",\"rev\":\"1-aaaa\"}]}",
                1, false);
    display_mess_up(couch_lock_display(f->r->couch));
    couch_unlock_display(f->r->couch);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(fetching_opened(f, TABLET(f), "docs", "medic", NULL), 2);
    assert_int_equal(f->counts.docs, 2);
}

/* Proves: what vanishes, changes or is refused after it was listed is left out, and comes when it is listed again. */
static void sets_change_meanwhile(void **state)
{
    struct fetching *f = *state;
    struct display *display;

    fetching_show(f, "medic", "chw1", "a", 4, REV_1, 10);
    couch_fault(f->r->couch, "get-ids", "chw1", 200,
                "{\"doc_ids_revs\":[{\"id\":\"a0\",\"rev\":\"1-old\"},{\"id\":\"a1\",\"rev\":"
                "\"1-aaaa\"},{\"id\":\"a2\",\"rev\":\"1-aaaa\"},{\"id\":\"never\",\"rev\":"
                "\"1-aaaa\"}]}",
                1, false);
    display = couch_lock_display(f->r->couch);
    display_vanish(display, "medic", "a1");
    display_remove(display, "medic", "a2", true);
    couch_unlock_display(f->r->couch);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 0);
    fetching_show(f, "medic", "chw1", "a", 4, REV_2, 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 4);
}

/* Proves: answers over 8 MB are asked for in parts until they fit; one document may have more, up to 32 MB. */
static void large_documents_come_in_parts(void **state)
{
    struct fetching *f = *state;
    char *text;

    if (RUNNING_ON_VALGRIND) /* a minute; the sanitizers watch it too */
        skip();
    fetching_show(f, "medic", "chw1", "a", 60, REV_1, 300000);
    fetching_show(f, "medic", "chw1", "large", 1, REV_1, 10u << 20);
    fetching_show(f, "medic", "chw1", "huge", 1, REV_1, 33u << 20);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 61);
    assert_int_equal(fetching_opened(f, TABLET(f), "docs", "medic", &text), 61);
    assert_non_null(strstr(text, "\"large0\""));
    assert_null(strstr(text, "\"huge0\""));
    free(text);
}

/* Proves: what is too large to be carried, by a little or by far, is fetched once, and not with each run; a later revision is. */
static void the_largest_cost_once(void **state)
{
    struct fetching *f = *state;

    if (RUNNING_ON_VALGRIND) /* a minute; the sanitizers watch it too */
        skip();
    fetching_show(f, "medic", "chw1", "far", 1, REV_1, 46u << 20);
    fetching_show(f, "medic", "chw1", "little", 1, REV_1, 33u << 20);
    fetching_show(f, "medic", "chw1", "small", 1, REV_1, 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 1);
    couch_forget_requests(f->r->couch);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(asked(f, "_bulk_get"), 0);
    assert_int_equal(f->counts.batches + f->counts.views + f->counts.withdrawn, 0);
    fetching_show(f, "medic", "chw1", "far", 1, REV_2, 33u << 20);
    fetching_show(f, "medic", "chw1", "little", 1, REV_2, 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 1);
    couch_forget_requests(f->r->couch);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(asked(f, "_bulk_get"), 0);
}

/* Proves: one photo among small documents costs one answer that is too large, and what came ahead of it is used. */
static void a_photo_costs_little(void **state)
{
    struct fetching *f = *state;

    fetching_show(f, "medic", "chw1", "a", 50, REV_1, 100);
    fetching_show(f, "medic", "chw1", "b", 1, REV_1, 10u << 20);
    fetching_show(f, "medic", "chw1", "c", 50, REV_1, 100);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 101);
    assert_int_equal(fetching_opened(f, TABLET(f), "docs", "medic", NULL), 101);
    assert_int_equal(asked(f, "_bulk_get"), 4);
    assert_int_equal(asked(f, "_bulk_get b0"), 1);
}

/* Proves: a request that makes the server ill is cut smaller; a lone document that does is left out, with status 75. */
static void ill_answers_are_asked_less(void **state)
{
    struct fetching *f = *state;

    fetching_show(f, "medic", "chw1", "a", 100, REV_1, 10);
    couch_fault(f->r->couch, "_bulk_get", "chw1", 500, "{\"error\":\"x\"}", 2, false);
    couch_fault(f->r->couch, "_bulk_get", "chw1", 413, NULL, 1, false);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 100);
    fetching_show(f, "medic", "chw1", "b", 1, REV_1, 10);
    couch_fault(f->r->couch, "_bulk_get", "chw1", 500, "{\"error\":\"x\"}", 1, false);
    fetching_run(f, -ERROR_TEMPORARY);
    assert_int_equal(f->counts.views, 1);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 1);
}

/* Proves: one whose login is refused, or who is unknown, holds up nobody else. */
static void a_refused_user_holds_up_nobody(void **state)
{
    struct fetching *f = *state;
    struct identity *stranger = deployment_enroll(f->r->deployment, ROLE_TABLET, "t0", "stranger");

    fetching_know(f, stranger, "t0");
    fetching_show(f, "medic", NULL, "a", 10, REV_1, 10);
    couch_fault(f->r->couch, "/", "chw1", 401, "{\"error\":\"unauthorized\"}", 100, false);
    fetching_run(f, -ERROR_REFUSED);
    assert_int_equal(asked(f, "get-ids"), 2); /* the password was sent once */
    assert_int_equal(fetching_under_way(f, "t0") + fetching_under_way(f, "t1"), 0);
    assert_int_equal(fetching_opened(f, f->r->deployment->tablet2, "docs", "medic", NULL), 10);
    couch_clear_faults(f->r->couch);
    couch_fault(f->r->couch, "_changes", "chw1", 403, "{\"error\":\"forbidden\"}", 100, false);
    replaying_connect(f->r, 1);
    fetching_run(f, -ERROR_REFUSED);
    assert_int_equal(fetching_under_way(f, "t1"), 0);
    identity_free(stranger);
}

/* Proves: a revoked tablet is not asked for, and what is under way to it is withdrawn. */
static void nothing_goes_to_the_revoked(void **state)
{
    struct fetching *f = *state;

    fetching_show(f, "medic", NULL, "a", 10, REV_1, 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(fetching_under_way(f, "t1"), 2);
    deployment_revoke(f->r->deployment, TABLET(f));
    trust_free(f->r->trust);
    f->r->trust = deployment_trust(f->r->deployment, true);
    couch_forget_requests(f->r->couch);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.tablets, 1);
    assert_int_equal(f->counts.withdrawn, 2);
    assert_int_equal(asked(f, "get-ids"), 1);
    assert_int_equal(fetching_under_way(f, "t1"), 0);
    assert_int_equal(fetching_under_way(f, "t2"), 2);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.withdrawn, 0);
}

/* Proves: a tablet that was enrolled anew, its old certificate revoked, gets all of it, sealed to the new one. */
static void a_renewed_tablet_begins_anew(void **state)
{
    struct fetching *f = *state;
    struct identity *renewed = deployment_enroll(f->r->deployment, ROLE_TABLET, "t1", "chw1");
    unsigned char *der = NULL;
    int size = i2d_X509(identity_certificate(TABLET(f)), &der);

    assert_true(size > 0);
    STORES_OK(store_begin(f->r->store, &f->error) == 0, &f->error);
    STORES_OK(peers_set_certificate(f->r->store, "t1", der, (size_t)size, &f->error) == 0,
              &f->error);
    STORES_OK(store_commit(f->r->store, &f->error) == 0, &f->error);
    OPENSSL_free(der);
    fetching_know(f, renewed, "t1");
    fetching_show(f, "medic", "chw1", "a", 10, REV_1, 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(fetching_opened(f, TABLET(f), "docs", "medic", NULL), 10);
    deployment_revoke(f->r->deployment, TABLET(f));
    trust_free(f->r->trust);
    f->r->trust = deployment_trust(f->r->deployment, true);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(fetching_opened(f, renewed, "docs", "medic", NULL), 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.batches + f->counts.views + f->counts.withdrawn, 0);
    identity_free(renewed);
}

/* Proves: a batch of which half is not current any more is withdrawn, what is left of it comes again, and a view names it. */
static void what_is_stale_is_withdrawn(void **state)
{
    struct fetching *f = *state;
    char *text;

    fetching_show(f, "medic", "chw1", "a", 10, REV_1, 10);
    fetching_run(f, FETCHING_OK);
    fetching_show(f, "medic", "chw1", "a", 4, REV_2, 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.withdrawn, 0);
    assert_int_equal(f->counts.docs, 4);
    fetching_show(f, "medic", "chw1", "a", 5, "3-cccc", 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.withdrawn, 2);
    assert_int_equal(f->counts.docs, 10);
    assert_int_equal(fetching_opened(f, TABLET(f), "docs", "medic", NULL), 10);
    assert_int_equal(fetching_under_way(f, "t1"), 2);
    (void)fetching_opened(f, TABLET(f), "view", "medic", &text);
    assert_non_null(strstr(text, "{\"withdrawn\":[["));
    free(text);
}

/* Proves: what the tablet holds and is not listed is asked of get-deletes, and told once. */
static void what_is_gone_is_told(void **state)
{
    struct fetching *f = *state;
    char *text;

    fetching_show(f, "medic", "chw1", "a", 10, REV_1, 10);
    fetching_run(f, FETCHING_OK);
    fetching_deliver(f, "t1");
    display_remove(couch_lock_display(f->r->couch), "medic", "a3", true);
    couch_unlock_display(f->r->couch);
    display_remove(couch_lock_display(f->r->couch), "medic", "a4", false);
    couch_unlock_display(f->r->couch);
    couch_fault(f->r->couch, "get-deletes", NULL, 200, "{\"doc_ids\":[1]}", 1, false);
    fetching_run(f, -ERROR_TEMPORARY);
    assert_int_equal(f->counts.views, 0);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.views, 1);
    (void)fetching_opened(f, TABLET(f), "view", "medic", &text);
    assert_non_null(strstr(text, "{\"gone\":[\"a3\"]}"));
    free(text);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.views, 0);
    display_remove(couch_lock_display(f->r->couch), "medic", "a4", true);
    couch_unlock_display(f->r->couch);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.views, 1);
}

/* Proves: a CouchDB's listing is read in pages and goes on where it was; it costs no view, but where something was withdrawn. */
static void a_listing_by_changes_goes_on(void **state)
{
    struct fetching *f = *state;
    char *text;

    fetching_as_couchdb(f);
    fetching_show(f, "medic", NULL, "a", 2300, REV_1, 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 4600);
    assert_int_equal(f->counts.views, 0);
    assert_int_equal(asked(f, "get-ids") + asked(f, "get-deletes") + asked(f, "dbinfo"), 0);
    assert_int_equal(asked(f, "GET /medic/_changes"), 6);
    couch_forget_requests(f->r->couch);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.requests, 4);
    fetching_show(f, "medic", "chw1", "a", 1, REV_2, 10);
    couch_forget_requests(f->r->couch);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(asked(f, "_bulk_get a0"), 1);
    assert_int_equal(f->counts.docs, 1);
    fetching_show(f, "medic", "chw1", "a", 1, "3-cccc", 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.withdrawn, 1);
    assert_int_equal(f->counts.views, 1);
    (void)fetching_opened(f, TABLET(f), "view", "", &text);
    assert_non_null(strstr(text, "{\"withdrawn\":[["));
    free(text);
}

/* Proves: another selector is another listing; so is a database that was begun anew. */
static void another_listing_begins_anew(void **state)
{
    struct fetching *f = *state;

    fetching_as_couchdb(f);
    fetching_show(f, "medic", "chw1", "a", 20, REV_1, 10);
    fetching_run(f, FETCHING_OK);
    f->options.selector = "{\"type\":\"person\"}";
    fetching_run(f, FETCHING_OK);
    assert_int_equal(asked(f, "POST /medic/_changes"), 2);
    assert_int_equal(f->counts.docs, 0);
    display_begin_anew(couch_lock_display(f->r->couch), "medic");
    couch_unlock_display(f->r->couch);
    fetching_show(f, "medic", "chw1", "b", 5, REV_1, 10);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 5);
    assert_int_equal(f->counts.withdrawn, 1);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs + f->counts.withdrawn, 0);
}

/* Proves: while the server is away nothing is half-made, nobody else waits once more, and the next run does it. */
static void the_server_may_be_away(void **state)
{
    struct fetching *f = *state;

    fetching_show(f, "medic", NULL, "a", 10, REV_1, 10);
    couch_fault(f->r->couch, "/", NULL, 503, NULL, 1000, false);
    fetching_run(f, -ERROR_TEMPORARY);
    assert_int_equal(fetching_under_way(f, "t1") + fetching_under_way(f, "t2"), 0);
    couch_clear_faults(f->r->couch);
    couch_fault(f->r->couch, "_bulk_get", NULL, 503, NULL, 1000, false);
    fetching_run(f, -ERROR_TEMPORARY);
    assert_int_equal(fetching_under_way(f, "t1") + fetching_under_way(f, "t2"), 0);
    couch_clear_faults(f->r->couch);
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.docs, 20);
}

/* Proves: with an account nothing is asked of a CHT; a stop ends the run soon. */
static void sometimes_nothing_is_asked(void **state)
{
    struct fetching *f = *state;
    atomic_bool stop = true;

    f->options.account = true;
    fetching_run(f, FETCHING_OK);
    assert_int_equal(f->counts.requests, 0);
    f->options.account = false;
    f->options.stop = &stop;
    fetching_show(f, "medic", NULL, "a", 10, REV_1, 10);
    fetching_run(f, -ERROR_TEMPORARY);
    assert_int_equal(fetching_under_way(f, "t1"), 0);
}

/* Proves: a full store takes nothing by half, and all goes on when there is room. */
static void a_full_store_takes_nothing(void **state)
{
    struct fetching *f = *state;
    char directory[4096];
    struct store_options options = {
        .directory = directory, .station = "dock", .role = "dock", .reserve_bytes = 1};

    (void)snprintf(directory, sizeof directory, "%s/store", f->r->folder);
    options.quota_bytes = 400000;
    f->options.store = store_open(&options, &f->error);
    STORES_OK(f->options.store != NULL, &f->error);
    fetching_show(f, "medic", "chw1", "a", 300, REV_1, 10000);
    fetching_run(f, -ERROR_FULL);
    assert_true(fetching_under_way(f, "t1") < 3);
    store_close(f->options.store);
    f->options.store = f->r->store;
    fetching_run(f, FETCHING_OK);
    assert_int_equal(fetching_opened(f, TABLET(f), "docs", "medic", NULL), 300);
    assert_int_equal(fetching_opened(f, TABLET(f), "view", "medic", NULL) > 0, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fetching_setup, fetching_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_tablet_gets_all),          TEST(only_what_changes_is_fetched),
        TEST(bad_answers_are_not_used),       TEST(cut_answers_are_asked_again),
        TEST(a_messy_answer_is_a_set),        TEST(sets_change_meanwhile),
        TEST(large_documents_come_in_parts),  TEST(a_photo_costs_little),
        TEST(the_largest_cost_once),          TEST(ill_answers_are_asked_less),
        TEST(a_refused_user_holds_up_nobody), TEST(nothing_goes_to_the_revoked),
        TEST(a_renewed_tablet_begins_anew),   TEST(what_is_stale_is_withdrawn),
        TEST(what_is_gone_is_told),           TEST(a_listing_by_changes_goes_on),
        TEST(another_listing_begins_anew),    TEST(the_server_may_be_away),
        TEST(sometimes_nothing_is_asked),     TEST(a_full_store_takes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
