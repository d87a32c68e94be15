/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * link/exchange, the way down: a courier is rid of what others delivered and of what was withdrawn, keeps a tablet's
 * newest receipt for every dock, and gets what it may carry from now on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "link/message.h"
#include "store/holdings.h"
#include "store/peers.h"
#include "store/streams.h"
#include "tests/unit/support/ends.h"

static struct deployment *deployment;
static struct error error;

static int make(void **state)
{
    (void)state;
    deployment = deployment_new();
    return 0;
}

static int drop(void **state)
{
    (void)state;
    deployment_free(deployment);
    return 0;
}

#define DO(store, call)                                      \
    do {                                                     \
        STORES_OK(store_begin(store, &error) == 0, &error);  \
        STORES_OK((call) == 0, &error);                      \
        STORES_OK(store_commit(store, &error) == 0, &error); \
    } while (0)

static void apply(const struct end *end, const struct label *label)
{
    DO(end->store, batches_apply(end->store, label, false, &error));
}

/* A batch of END's own epoch. */
static struct label add_own(const struct end *end, const char *from, const char *to, uint64_t seq,
                            unsigned seed)
{
    struct label label;
    unsigned char *bytes = stores_batch(&label, from, to, seq, seed, 2000);

    memcpy(label.epoch, store_epoch(end->store), sizeof label.epoch);
    DO(end->store, batches_add(end->store, &label, bytes, 2000, &error));
    free(bytes);
    return label;
}

static enum batch_state state_at(const struct end *end, const struct label *label)
{
    struct batch batch;

    STORES_OK(batches_find(end->store, label->id, &batch, &error) == 1, &error);
    return batch.state;
}

/* Three stations that visit two couriers in turn. */
struct road {
    struct ends *first, *second; /* courier c1, courier c2 */
    struct end dock, dock2, tablet;
};

static void close_host(struct ends *ends)
{
    const struct end nobody = {0};

    end_close(&ends->host);
    ends->host = nobody;
}

static void road_open(struct road *road)
{
    memset(road, 0, sizeof *road);
    road->first = ends_new(deployment, deployment->dock, deployment->courier);
    road->second = ends_new(deployment, deployment->dock, deployment->courier2);
    close_host(road->first);
    close_host(road->second);
    end_open(&road->dock, deployment->dock, deployment, NULL);
    end_open(&road->dock2, deployment->dock2, deployment, NULL);
    end_open(&road->tablet, deployment->tablet, deployment, NULL);
}

static void road_close(struct road *road)
{
    end_close(&road->dock);
    end_close(&road->dock2);
    end_close(&road->tablet);
    ends_free(road->first);
    ends_free(road->second);
}

static struct exchange_counts visit(struct ends *courier, struct end *host)
{
    struct exchange_counts counts;

    ends_plug(courier, host);
    ends_visit(courier, &counts, NULL);
    ends_plug(courier, host);
    return counts;
}

/* What one courier has delivered, and what was withdrawn, the other one frees at its next visit to the dock that
 * made it. */
static void test_down_by_another(void **state)
{
    struct road road;
    struct label one, two;

    (void)state;
    road_open(&road);
    one = add_own(&road.dock, "server", "t1", 1, 1);
    two = add_own(&road.dock, "server", "t1", 2, 2);
    assert_int_equal(visit(road.first, &road.dock).sent_batches, 2);
    assert_int_equal(visit(road.second, &road.dock).sent_batches, 2);
    assert_int_equal(visit(road.first, &road.tablet).taken_batches, 2);
    assert_int_equal(visit(road.second, &road.dock).freed_batches, 0); /* no receipt yet */
    apply(&road.dock, &one);                                           /* the receipt came by c1 */
    DO(road.dock.store, holdings_withdraw(road.dock.store, "t1", two.id, &error));
    assert_int_equal(visit(road.second, &road.dock).freed_batches, 2);
    assert_int_equal(ends_count(&road.second->gadget, BATCH_HELD), 0);
    assert_int_equal(visit(road.first, &road.dock).freed_batches, 2);
    assert_int_equal(visit(road.first, &road.dock).rounds, 1);
    /* A dock that knows nothing of them says nothing of them. */
    assert_int_equal(visit(road.second, &road.dock2).freed_batches, 0);
    road_close(&road);
}

/* The same for what a tablet sends up. */
static void test_up_by_another(void **state)
{
    struct road road;
    struct label one;

    (void)state;
    road_open(&road);
    one = add_own(&road.tablet, "t1", "server", 1, 1);
    (void)visit(road.first, &road.tablet);
    (void)visit(road.second, &road.tablet);
    (void)visit(road.first, &road.dock);
    apply(&road.dock, &one);
    (void)visit(road.first, &road.dock);
    apply(&road.tablet, &one); /* the receipt came by c1 */
    assert_int_equal(state_at(&road.second->gadget, &one), BATCH_HELD);
    assert_int_equal(visit(road.second, &road.tablet).freed_batches, 1);
    assert_int_equal(state_at(&road.second->gadget, &one), BATCH_APPLIED);
    road_close(&road);
}

/* A courier that was pulled before its STORED was heard, and one that had the batch from before: they hear as well. */
static void test_told_after_cut(void **state)
{
    struct road road;
    struct label one;

    (void)state;
    road_open(&road);
    one = add_own(&road.dock, "server", "t1", 1, 1);
    ends_plug(road.first, &road.dock);
    for (uint64_t at = 200; at < 6000 && ends_count(&road.first->gadget, BATCH_HELD) == 0;
         at += 10) {
        road.first->cut_at_byte = at;
        ends_connect(road.first);
        ends_run(road.first);
        ends_disconnect(road.first);
    }
    road.first->cut_at_byte = 0;
    ends_plug(road.first, &road.dock);
    assert_int_equal(ends_count(&road.first->gadget, BATCH_HELD), 1);
    (void)visit(road.first, &road.dock);
    apply(&road.dock, &one);
    assert_int_equal(visit(road.first, &road.dock).freed_batches, 1);
    road_close(&road);
}

/* A tablet's receipt stays with the courier for every dock, also when one has used it, until a later one takes its
 * place; a dock's is fleeting at the dock, and stays with the courier until the tablet has used it. */
static void test_receipts(void **state)
{
    struct road road;
    struct label up, later, down;

    (void)state;
    road_open(&road);
    up = add_own(&road.tablet, "t1", "server", 0, 1);
    down = add_own(&road.dock, "server", "t1", 0, 2);
    DO(road.dock.store, batches_set_fleeting(road.dock.store, down.id, &error));
    assert_int_equal(visit(road.first, &road.tablet).sent_batches, 1);
    (void)visit(road.first, &road.dock);
    assert_int_equal(state_at(&road.dock, &down), BATCH_APPLIED);
    apply(&road.dock, &up);
    assert_int_equal(visit(road.first, &road.dock).freed_batches, 0);
    assert_int_equal(state_at(&road.first->gadget, &up), BATCH_HELD);
    assert_int_equal(state_at(&road.first->gadget, &down), BATCH_HELD);
    assert_int_equal(visit(road.first, &road.dock2).taken_batches, 1);
    apply(&road.dock2, &up);
    assert_int_equal(visit(road.first, &road.dock2).freed_batches, 0);

    later = add_own(&road.tablet, "t1", "server", 0, 3);
    assert_int_equal(state_at(&road.tablet, &up), BATCH_APPLIED);
    assert_int_equal(visit(road.first, &road.tablet).sent_batches, 1);
    assert_int_equal(state_at(&road.first->gadget, &up), BATCH_APPLIED);
    assert_int_equal(state_at(&road.first->gadget, &later), BATCH_HELD);
    apply(&road.tablet, &down);
    assert_int_equal(visit(road.first, &road.tablet).freed_batches, 1);
    assert_int_equal(state_at(&road.first->gadget, &down), BATCH_APPLIED);
    assert_int_equal(state_at(&road.tablet, &later), BATCH_HELD);
    assert_int_equal(visit(road.first, &road.dock).taken_batches, 1);
    road_close(&road);
}

/* ---- lists of tablets ---- */

static const char *const only_t1[] = {"t1", NULL}, *const both[] = {"t1", "t2", NULL},
                         *const nobody[] = {NULL};

/* A courier that may carry more than before gets what it was not offered, and nothing twice. */
static void test_widened(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->dock, deployment->courier);
    struct exchange_counts host;

    (void)state;
    (void)add_own(&ends->host, "server", "t2", 1, 1);
    (void)add_own(&ends->host, "server", "t1", 1, 2);
    (void)add_own(&ends->host, "server", "t2", 2, 3);
    ends->tablets = only_t1;
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_batches, 1);
    ends->tablets = both;
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_batches, 2);
    assert_int_equal(host.sent_bytes, 2 * 2000);
    ends_connect(ends);
    ends_run(ends);
    assert_true(ends->frames_from_host <= 5); /* nothing is offered again */
    ends_disconnect(ends);
    ends->tablets = nobody;
    (void)add_own(&ends->host, "server", "t1", 2, 4);
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_batches, 0);
    ends->tablets = NULL;
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_batches, 1);
    ends_free(ends);
}

/* Wherever the visit with the wider list is cut, all comes in the end. */
static void test_widened_cut(void **state)
{
    (void)state;
    (void)log_set_level("error");
    for (uint64_t at = 100; at < 9000; at += 150) {
        struct ends *ends = ends_new(deployment, deployment->dock, deployment->courier);

        for (unsigned i = 1; i <= 3; i++) {
            (void)add_own(&ends->host, "server", "t2", i, i);
            (void)add_own(&ends->host, "server", "t1", i, 10 + i);
        }
        ends->tablets = only_t1;
        ends_visit(ends, NULL, NULL);
        ends->tablets = both;
        ends->cut_at_byte = at;
        ends_connect(ends);
        ends_run(ends);
        ends_disconnect(ends);
        ends->cut_at_byte = 0;
        ends_visit(ends, NULL, NULL);
        assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 6);
        ends_free(ends);
    }
}

/* What finds no room when the list is widened, the very first of it, is offered again at the next session. */
static void test_widened_full(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->dock, deployment->courier);
    struct store_options options = {.quota_bytes = 9000}; /* a source's share is half */
    struct label early, late;
    struct exchange_counts host;

    (void)state;
    (void)log_set_level("error");
    end_close(&ends->gadget);
    end_open(&ends->gadget, deployment->courier, deployment, &options);
    (void)add_own(&ends->host, "server", "t2", 1, 1);
    early = add_own(&ends->host, "server", "t1", 1, 2);
    late = add_own(&ends->host, "server", "t1", 2, 3);
    ends->tablets = only_t1;
    ends_visit(ends, NULL, NULL);
    ends->tablets = both;
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_batches, 0);
    apply(&ends->gadget, &early);
    apply(&ends->gadget, &late);
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_batches, 1);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 1);
    ends_free(ends);
}

/* The first DATA of a session is altered. */
static void spoil(struct ends *ends, bool from_host, unsigned char *frame, size_t size)
{
    if (!from_host || frame[0] != FRAME_DATA)
        return;
    frame[size - 1] ^= 1;
    ends->meddle = NULL;
}

/* What came with wrong bytes when the list was widened is offered again at the next session. */
static void test_widened_wrong(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->dock, deployment->courier);
    struct exchange_counts host;

    (void)state;
    (void)log_set_level("error");
    (void)add_own(&ends->host, "server", "t2", 1, 1);
    (void)add_own(&ends->host, "server", "t1", 1, 2);
    ends->tablets = only_t1;
    ends_visit(ends, NULL, NULL);
    ends->tablets = both;
    ends->meddle = spoil;
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_batches, 0);
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_batches, 1);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 2);
    ends_free(ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_down_by_another), cmocka_unit_test(test_up_by_another),
        cmocka_unit_test(test_told_after_cut),  cmocka_unit_test(test_receipts),
        cmocka_unit_test(test_widened),         cmocka_unit_test(test_widened_cut),
        cmocka_unit_test(test_widened_full),    cmocka_unit_test(test_widened_wrong),
    };

    return cmocka_run_group_tests(tests, make, drop);
}
