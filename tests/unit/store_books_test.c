/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The smaller books of a store: peers, revs, `_local` documents, the ledger of refusals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/ledger.h"
#include "store/peers.h"
#include "store/revs.h"
#include "tests/unit/support/world.h"

#define UUID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define UUID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* A cursor is zeroes for a store never met, then what was set last, each peer its own. */
static void test_cursors(void **state)
{
    struct world *world = *state;
    struct cursor cursor, set = {.position = 17, .id = {1, 2, 3}};

    OK(world, peers_cursor(world->store, UUID_A, &cursor, &world->error));
    assert_int_equal(cursor.position, 0);
    CHANGE(world, peers_set_cursor(world->store, UUID_A, &set, &world->error));
    set.position = 18;
    CHANGE(world, peers_set_cursor(world->store, UUID_A, &set, &world->error));
    OK(world, peers_cursor(world->store, UUID_A, &cursor, &world->error));
    assert_int_equal(cursor.position, 18);
    assert_memory_equal(cursor.id, set.id, 32);
    OK(world, peers_cursor(world->store, UUID_B, &cursor, &world->error));
    assert_int_equal(cursor.position, 0);
}

/* A courier hears of a batch as applied once it is, whichever of offer and application came first, until
 * it confirms; another courier that carries it too hears it on its own. */
static void test_carried(void **state)
{
    struct world *world = *state;
    unsigned char ids[4][BATCH_ID_BYTES];
    struct label early, late;
    size_t count;

    stores_add(world->store, &early, "t1", "c1", 1, 1, 20);
    stores_add(world->store, &late, "t1", "c1", 2, 2, 20);
    CHANGE(world, batches_apply(world->store, &early, false, &world->error));
    CHANGE(world, peers_carries(world->store, UUID_A, early.id, &world->error));
    CHANGE(world, peers_carries(world->store, UUID_A, late.id, &world->error));
    CHANGE(world, peers_carries(world->store, UUID_A, late.id, &world->error));
    CHANGE(world, peers_carries(world->store, UUID_B, late.id, &world->error));
    OK(world, peers_applied(world->store, UUID_A, ids, 4, &count, &world->error));
    assert_int_equal(count, 1);
    assert_memory_equal(ids[0], early.id, 32);
    OK(world, peers_applied(world->store, UUID_B, ids, 4, &count, &world->error));
    assert_int_equal(count, 0);
    /* Not applied yet: a confirmation that nobody asked for changes nothing. */
    CHANGE(world, peers_confirmed(world->store, UUID_A, late.id, &world->error));
    CHANGE(world, batches_apply(world->store, &late, false, &world->error));
    OK(world, peers_applied(world->store, UUID_A, ids, 1, &count, &world->error));
    assert_int_equal(count, 1);
    OK(world, peers_applied(world->store, UUID_A, ids, 4, &count, &world->error));
    assert_int_equal(count, 2);
    CHANGE(world, peers_confirmed(world->store, UUID_A, early.id, &world->error));
    CHANGE(world, peers_confirmed(world->store, UUID_A, late.id, &world->error));
    OK(world, peers_applied(world->store, UUID_A, ids, 4, &count, &world->error));
    assert_int_equal(count, 0);
    OK(world, peers_applied(world->store, UUID_B, ids, 4, &count, &world->error));
    assert_int_equal(count, 1);
}

/* The list with the highest number stays. */
static void test_crl(void **state)
{
    struct world *world = *state;
    struct buffer der = {0};
    uint64_t number = 9;

    OK(world, peers_crl(world->store, &number, &der, &world->error));
    assert_int_equal(number, 0);
    CHANGE(world, peers_set_crl(world->store, 3, "three", 5, &world->error));
    CHANGE(world, peers_set_crl(world->store, 2, "two", 3, &world->error));
    OK(world, peers_crl(world->store, &number, &der, &world->error));
    assert_int_equal(number, 3);
    assert_int_equal(der.length, 5);
    assert_memory_equal(der.data, "three", 5);
    buffer_free(&der);
}

static void test_certificates(void **state)
{
    struct world *world = *state;
    struct buffer der = {0};

    assert_int_equal(peers_certificate(world->store, "t1", &der, &world->error), 0);
    CHANGE(world, peers_set_certificate(world->store, "t1", "old", 3, &world->error));
    CHANGE(world, peers_set_certificate(world->store, "t1", "newer", 5, &world->error));
    assert_int_equal(peers_certificate(world->store, "t1", &der, &world->error), 1);
    assert_int_equal(der.length, 5);
    buffer_free(&der);
}

static int note_visit(const struct peer_visit *visit, void *context)
{
    (void)strcat(context, visit->name);
    assert_int_equal(strlen(visit->last_visit), 20);
    return 0;
}

/* The latest first, by order of visits and not by the clock; peers known by a cursor only are not
 * shown. */
static void test_visits(void **state)
{
    struct world *world = *state;
    struct cursor cursor = {.position = 1};
    char names[64] = "";

    CHANGE(world, peers_set_cursor(world->store, "x", &cursor, &world->error));
    CHANGE(world, peers_visited(world->store, UUID_A, "a", "courier", &world->error));
    CHANGE(world, peers_visited(world->store, UUID_B, "b", "courier", &world->error));
    OK(world, peers_each(world->store, note_visit, names, &world->error));
    assert_string_equal(names, "ba");
    CHANGE(world, peers_visited(world->store, UUID_A, "a", "courier", &world->error));
    names[0] = '\0';
    OK(world, peers_each(world->store, note_visit, names, &world->error));
    assert_string_equal(names, "ab");
}

static int note_rev(const char *rev, void *context)
{
    (void)strcat(strcat(context, rev), " ");
    return 0;
}

/* Revs are known by database, document and rev, all three. */
static void test_revs(void **state)
{
    struct world *world = *state;
    struct store *s = world->store;
    char revs[64] = "";

    CHANGE(world, revs_add(s, "medic", "d1", "1-a", &world->error));
    CHANGE(world, revs_add(s, "medic", "d1", "2-b", &world->error));
    CHANGE(world, revs_add(s, "medic", "d1", "2-b", &world->error));
    assert_int_equal(revs_known(s, "medic", "d1", "2-b", &world->error), 1);
    assert_int_equal(revs_known(s, "medic", "d1", "2-c", &world->error), 0);
    assert_int_equal(revs_known(s, "medic", "d2", "2-b", &world->error), 0);
    assert_int_equal(revs_known(s, "meta", "d1", "2-b", &world->error), 0);
    OK(world, revs_each(s, "medic", "d1", note_rev, revs, &world->error));
    assert_string_equal(revs, "1-a 2-b ");
    assert_int_equal(revs_add(s, "medic", "d3", "1-a", &world->error), -1); /* no transaction */
}

/* What is here is walked in order, over all databases; what only the server has is known and not walked; what the
 * app lost, and ancestors, stay known. */
static void test_revs_here(void **state)
{
    struct world *world = *state;
    struct store *s = world->store;
    struct rev_here at = {0};

    assert_int_equal(revs_next_here(s, &at, &at, &world->error), 0);
    CHANGE(world, revs_at_server(s, "medic", "d0", "1-a", &world->error));
    CHANGE(world, revs_add(s, "medic", "d1", "1-a", &world->error));
    CHANGE(world, revs_add(s, "medic", "d1", "2-b", &world->error));
    CHANGE(world, revs_add(s, "a-meta", "d2", "1-c", &world->error));
    CHANGE(world, revs_at_server(s, "medic", "d1", "2-b", &world->error)); /* stays here */
    CHANGE(world, revs_forget(s, "medic", "d1", "1-a", &world->error));
    CHANGE(world, revs_forget(s, "medic", "d9", "1-a", &world->error)); /* never heard of */
    assert_int_equal(revs_next_here(s, &at, &at, &world->error), 1);
    assert_string_equal(at.db, "a-meta");
    assert_string_equal(at.id, "d2");
    assert_string_equal(at.rev, "1-c");
    assert_int_equal(revs_next_here(s, &at, &at, &world->error), 1);
    assert_string_equal(at.db, "medic");
    assert_string_equal(at.rev, "2-b");
    assert_int_equal(revs_next_here(s, &at, &at, &world->error), 0);
    assert_int_equal(revs_known(s, "medic", "d1", "1-a", &world->error), 1);
    assert_int_equal(revs_known(s, "medic", "d0", "1-a", &world->error), 1);
    assert_int_equal(revs_known(s, "medic", "d9", "1-a", &world->error), 0);

    CHANGE_IS(world, revs_lost(s, "medic", "d1", "2-b", &world->error), 1);
    CHANGE_IS(world, revs_lost(s, "medic", "d1", "2-b", &world->error), 0);
    CHANGE_IS(world, revs_lost(s, "medic", "d0", "1-a", &world->error), 0);
    memset(&at, 0, sizeof at);
    assert_int_equal(revs_next_here(s, &at, &at, &world->error), 1);
    assert_int_equal(revs_next_here(s, &at, &at, &world->error), 0);
    /* The shelf gets it anew. */
    CHANGE(world, revs_add(s, "medic", "d1", "2-b", &world->error));
    CHANGE(world, revs_add(s, "medic", "d0", "1-a", &world->error));
    assert_int_equal(revs_next_here(s, &at, &at, &world->error), 1);
    assert_string_equal(at.id, "d0");
    assert_int_equal(revs_next_here(s, &at, &at, &world->error), 1);
}

/* `_local` documents: put at the present rev alone, as CouchDB does. */
static void test_local_docs(void **state)
{
    struct world *world = *state;
    struct store *s = world->store;
    struct buffer body = {0};
    uint64_t rev = 0;

    assert_int_equal(revs_local_get(s, "medic", "x", &rev, &body, &world->error), 0);
    CHANGE_IS(world, revs_local_put(s, "medic", "x", 1, "{}", 2, &world->error), 0);
    CHANGE_IS(world, revs_local_put(s, "medic", "x", 0, "{}", 2, &world->error), 1);
    CHANGE_IS(world, revs_local_put(s, "medic", "x", 0, "{}", 2, &world->error), 0);
    CHANGE_IS(world, revs_local_put(s, "medic", "x", 1, "{\"a\":1}", 7, &world->error), 1);
    CHANGE_IS(world, revs_local_put(s, "medic", "x", 1, "{}", 2, &world->error), 0);
    assert_int_equal(revs_local_get(s, "medic", "x", &rev, &body, &world->error), 1);
    assert_int_equal(rev, 2);
    assert_int_equal(body.length, 7);
    assert_memory_equal(body.data, "{\"a\":1}", 7);
    assert_int_equal(revs_local_get(s, "meta", "x", &rev, &body, &world->error), 0);
    buffer_free(&body);
}

/* ---- the ledger ----------------------------------------------------------------------------------- */

static struct refusal refusal_of(const struct label *label, const char *id, const char *rev)
{
    struct refusal refusal = {.seq = label->seq, .retry = true};

    (void)snprintf(refusal.from, sizeof refusal.from, "%s", label->from);
    (void)snprintf(refusal.epoch, sizeof refusal.epoch, "%s", label->epoch);
    memcpy(refusal.batch, label->id, BATCH_ID_BYTES);
    (void)snprintf(refusal.db, sizeof refusal.db, "medic");
    (void)snprintf(refusal.id, sizeof refusal.id, "%s", id);
    (void)snprintf(refusal.rev, sizeof refusal.rev, "%s", rev);
    (void)snprintf(refusal.error, sizeof refusal.error, "forbidden");
    (void)snprintf(refusal.reason, sizeof refusal.reason, "no parent");
    return refusal;
}

static uint64_t bytes_here(struct world *world, const struct label *label)
{
    struct batch batch;

    assert_int_equal(batches_find(world->store, label->id, &batch, &world->error), 1);
    return batch.offset;
}

/* A batch's kept bytes go with its last open refusal, by acceptance or dismissal, not before. */
static void test_refusals_keep_bytes(void **state)
{
    struct world *world = *state;
    struct store *s = world->store;
    struct refusal refusal, out;
    struct label label;

    stores_add(s, &label, "t1", "server", 1, 1, 500);
    refusal = refusal_of(&label, "d1", "1-a");
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    refusal = refusal_of(&label, "d1", "2-b");
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    refusal = refusal_of(&label, "d2", "1-a");
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    CHANGE(world, batches_apply(s, &label, true, &world->error));
    CHANGE(world, ledger_accept(s, "t2", "medic", "d1", "", &world->error));
    CHANGE(world, ledger_accept(s, "t1", "medic", "d1", "1-x", &world->error));
    assert_int_equal(bytes_here(world, &label), 500);
    assert_int_equal(ledger_next(s, 0, false, &out, &world->error), 1);
    assert_string_equal(out.rev, "1-a");
    assert_string_equal(out.error, "forbidden");
    assert_string_equal(out.reason, "no parent");
    assert_memory_equal(out.batch, label.id, 32);
    CHANGE(world, ledger_accept(s, "t1", "medic", "d1", "", &world->error));
    assert_int_equal(bytes_here(world, &label), 500);
    assert_int_equal(ledger_next(s, 0, false, &out, &world->error), 1);
    assert_string_equal(out.id, "d2");
    CHANGE_IS(world, ledger_dismiss(s, out.number + 100, &world->error), 0);
    CHANGE_IS(world, ledger_dismiss(s, out.number, &world->error), 1);
    assert_int_equal(bytes_here(world, &label), 0);
    assert_int_equal(ledger_next(s, 0, false, &out, &world->error), 0);
    OK(world, store_check(s, &world->error));
}

/* A document that was changed and then taken is off the list, also by generations of two digits; another branch of the
 * same generation, later changes, other documents and other tablets' stay. */
static void test_changed_and_accepted(void **state)
{
    static const char *const revs[] = {"2-a", "9-b", "10-c", "11-d"};
    struct world *world = *state;
    struct store *s = world->store;
    struct refusal refusal, out = {0};
    struct label label, other;

    stores_add(s, &label, "t1", "server", 1, 1, 500);
    stores_add(s, &other, "t2", "server", 1, 2, 500);
    for (size_t i = 0; i < sizeof revs / sizeof revs[0]; i++) {
        refusal = refusal_of(&label, "d1", revs[i]);
        CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    }
    refusal = refusal_of(&label, "d2", "1-a");
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    refusal = refusal_of(&other, "d1", "1-a");
    (void)snprintf(refusal.from, sizeof refusal.from, "t2");
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    CHANGE(world, ledger_accept(s, "t1", "medic", "d1", "10-x", &world->error));
    assert_int_equal(ledger_next(s, out.number, false, &out, &world->error), 1);
    assert_string_equal(out.rev, "10-c");
    assert_int_equal(ledger_next(s, out.number, false, &out, &world->error), 1);
    assert_string_equal(out.rev, "11-d");
    assert_int_equal(ledger_next(s, out.number, false, &out, &world->error), 1);
    assert_string_equal(out.id, "d2");
    assert_int_equal(ledger_next(s, out.number, false, &out, &world->error), 1);
    assert_string_equal(out.from, "t2");
    assert_int_equal(ledger_next(s, out.number, false, &out, &world->error), 0);
}

/* The same document refused again keeps its number, has the newer words; its older batch is let go. */
static void test_refused_again(void **state)
{
    struct world *world = *state;
    struct store *s = world->store;
    struct refusal refusal, out;
    struct label old, newer;
    int64_t number;

    stores_add(s, &old, "t1", "server", 1, 1, 500);
    stores_add(s, &newer, "t1", "server", 2, 2, 500);
    refusal = refusal_of(&old, "d1", "1-a");
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    CHANGE(world, batches_apply(s, &old, true, &world->error));
    assert_int_equal(ledger_next(s, 0, true, &out, &world->error), 1);
    number = out.number;
    refusal.retry = false;
    (void)snprintf(refusal.reason, sizeof refusal.reason, "still no parent");
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    assert_int_equal(ledger_next(s, 0, true, &out, &world->error), 0);
    assert_int_equal(bytes_here(world, &old), 500);
    memcpy(refusal.batch, newer.id, 32);
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    CHANGE(world, batches_apply(s, &newer, true, &world->error));
    assert_int_equal(bytes_here(world, &old), 0);
    assert_int_equal(bytes_here(world, &newer), 500);
    assert_int_equal(ledger_next(s, 0, false, &out, &world->error), 1);
    assert_int_equal(out.number, number);
    assert_string_equal(out.reason, "still no parent");
    assert_int_equal(ledger_next(s, number, false, &out, &world->error), 0);
}

/* Retry marks one or all; numbers are never given twice; clearing takes one source and epoch alone. */
static void test_retry_and_clear(void **state)
{
    struct world *world = *state;
    struct store *s = world->store;
    struct label one = {.from = "t1", .epoch = STORES_EPOCH, .seq = 1};
    struct label two = {.from = "t2", .epoch = STORES_EPOCH, .seq = 1};
    struct refusal refusal, out;
    uint64_t count;

    refusal = refusal_of(&one, "d1", "1-a");
    refusal.retry = false;
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    (void)snprintf(refusal.id, sizeof refusal.id, "d2");
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    refusal = refusal_of(&two, "d1", "1-a");
    refusal.retry = false;
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    CHANGE(world, ledger_retry(s, 2, &count, &world->error));
    assert_int_equal(count, 1);
    assert_int_equal(ledger_next(s, 0, true, &out, &world->error), 1);
    assert_string_equal(out.id, "d2");
    assert_int_equal(ledger_next(s, out.number, true, &out, &world->error), 0);
    CHANGE(world, ledger_retry(s, 0, &count, &world->error));
    assert_int_equal(count, 3);
    CHANGE(world, ledger_retry(s, 99, &count, &world->error));
    assert_int_equal(count, 0);
    assert_int_equal(ledger_next_of(s, "t2", STORES_EPOCH, 0, &out, &world->error), 1);
    assert_int_equal(out.number, 3);
    CHANGE(world, ledger_clear(s, "t2", STORES_EPOCH, &world->error));
    assert_int_equal(ledger_next_of(s, "t2", STORES_EPOCH, 0, &out, &world->error), 0);
    assert_int_equal(ledger_next_of(s, "t1", STORES_EPOCH, 1, &out, &world->error), 1);
    CHANGE(world, ledger_refuse(s, &refusal, &world->error));
    assert_int_equal(ledger_next_of(s, "t2", STORES_EPOCH, 0, &out, &world->error), 1);
    assert_int_equal(out.number, 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_cursors),
        TEST(test_carried),
        TEST(test_crl),
        TEST(test_certificates),
        TEST(test_visits),
        TEST(test_revs),
        TEST(test_revs_here),
        TEST(test_local_docs),
        TEST(test_refusals_keep_bytes),
        TEST(test_changed_and_accepted),
        TEST(test_refused_again),
        TEST(test_retry_and_clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
