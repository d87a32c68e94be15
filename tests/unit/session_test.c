/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * link/session and link/visit: only stations of the deployment in their roles are met, each refusal
 * says why at both ends; whatever happens to the bytes on the cable, a visit ends, and what it took
 * is whole.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "link/pair.h"
#include "link/visit.h"
#include "tests/unit/support/ends.h"
#include "tests/unit/support/folder.h"

#define HANDSHAKE_MS 3000

static struct deployment *deployment;

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

/* ---- one end in a thread ---- */

struct side {
    struct link *link;
    enum session_side side;
    const struct identity *identity;
    struct trust *trust;
    unsigned roles;
    struct store *store; /* NULL: the handshake and one read, no visit */
    struct exchange_counts counts;
    struct error error;
    int result;
    char peer[STORE_NAME_BYTES];
};

/* The handshake; then, as the verdict on a client's certificate comes with the first read, one. */
static void *shake(void *context)
{
    struct side *side = context;
    struct session *session = session_open(side->link, side->side, side->identity, side->trust,
                                           side->roles, HANDSHAKE_MS, &side->error);
    int64_t until = clock_ms() + HANDSHAKE_MS;
    ssize_t got = 0;
    char byte = 'x';

    side->result = -1;
    if (session == NULL)
        return NULL;
    snprintf(side->peer, sizeof side->peer, "%s", session_peer(session)->name);
    if (session_write(session, &byte, 1, &side->error) >= 0)
        while ((got = session_read(session, &byte, 1, &side->error)) == 0 && clock_ms() < until)
            session_wait(session, false, 50, &side->error);
    else
        got = session_read(session, &byte, 1, &side->error);
    side->result = got == 1 ? 0 : -1;
    session_close(session);
    return NULL;
}

static void *visit(void *context)
{
    struct side *side = context;
    const struct visit_options options = {
        .store = side->store,
        .identity = side->identity,
        .trust = side->trust,
        .side = side->side,
        .roles = side->roles,
        .own_mail = side->side == SESSION_HOST ? identity_name(side->identity) : NULL,
        .once = true,
        .handshake_ms = HANDSHAKE_MS,
        .silence_ms = 700,
    };

    side->result = visit_run(side->link, &options, &side->counts, &side->error);
    return NULL;
}

static void run(struct side sides[2])
{
    void *(*body)(void *) = sides[0].store != NULL ? visit : shake;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, body, &sides[0]), 0);
    body(&sides[1]);
    pthread_join(thread, NULL);
}

static void set_sides(struct side sides[2], const struct pair_faults *faults,
                      const struct identity *host, const struct identity *gadget)
{
    struct link *ends[2];
    struct error error;

    memset(sides, 0, 2 * sizeof *sides);
    STORES_OK(pair_new(faults, ends, &error) == 0, &error);
    sides[0] = (struct side){.link = ends[0],
                             .side = SESSION_HOST,
                             .identity = host,
                             .trust = deployment_trust(deployment, true),
                             .roles = 1u << ROLE_COURIER};
    sides[1] = (struct side){.link = ends[1],
                             .side = SESSION_GADGET,
                             .identity = gadget,
                             .trust = deployment_trust(deployment, true),
                             .roles = 1u << ROLE_TABLET | 1u << ROLE_DOCK};
}

static void clear_sides(struct side sides[2])
{
    trust_free(sides[0].trust);
    trust_free(sides[1].trust);
}

static void expect(const struct side *side, enum error_kind kind, const char *words)
{
    if (side->result == 0 || side->error.kind != kind || strstr(side->error.text, words) == NULL)
        fail_msg("result %d, kind %d: %s; expected: %s", side->result, side->error.kind,
                 side->error.text, words);
}

/* ---- who is met ---- */

static void test_meets(void **state)
{
    static const struct pair_faults whole;
    struct side sides[2];

    (void)state;
    set_sides(sides, &whole, deployment->tablet, deployment->courier);
    run(sides);
    assert_int_equal(sides[0].result, 0);
    assert_int_equal(sides[1].result, 0);
    assert_string_equal(sides[0].peer, "c1");
    assert_string_equal(sides[1].peer, "t1");
    clear_sides(sides);
}

/* A revoked station is refused by either side, and learns why. */
static void test_revoked(void **state)
{
    static const struct pair_faults whole;
    struct deployment *other = deployment;
    struct identity *tablet = deployment_enroll(other, ROLE_TABLET, "gone", "chw8");
    struct identity *courier = deployment_enroll(other, ROLE_COURIER, "stolen", "");
    struct side sides[2];

    (void)state;
    deployment_revoke(other, tablet);
    deployment_revoke(other, courier);
    set_sides(sides, &whole, tablet, deployment->courier);
    run(sides);
    expect(&sides[1], ERROR_REFUSED, "tablet gone: refused: its certificate is revoked");
    expect(&sides[0], ERROR_REFUSED, "courier c1 refuses this station: certificate revoked");
    clear_sides(sides);
    set_sides(sides, &whole, deployment->tablet, courier);
    run(sides);
    expect(&sides[0], ERROR_REFUSED, "courier stolen: refused: its certificate is revoked");
    expect(&sides[1], ERROR_REFUSED, "refuses this station: certificate revoked");
    clear_sides(sides);
    identity_free(tablet);
    identity_free(courier);
}

static void test_wrong_role(void **state)
{
    static const struct pair_faults whole;
    struct side sides[2];

    (void)state;
    set_sides(sides, &whole, deployment->tablet, deployment->tablet2);
    run(sides);
    expect(&sides[0], ERROR_REFUSED, "tablet t2: refused: a tablet is not to be met");
    expect(&sides[1], ERROR_REFUSED, "refuses this station: its role");
    clear_sides(sides);
    set_sides(sides, &whole, deployment->courier2, deployment->courier);
    run(sides);
    expect(&sides[1], ERROR_REFUSED, "courier c2: refused: a courier is not to be met");
    expect(&sides[0], ERROR_REFUSED, "courier c1 refuses this station: its role");
    clear_sides(sides);
}

static void test_foreign(void **state)
{
    static const struct pair_faults whole;
    struct deployment *foreign = deployment_new();
    struct side sides[2];

    (void)state;
    set_sides(sides, &whole, foreign->tablet, deployment->courier);
    trust_free(sides[0].trust); /* it has been told to trust ours: only the courier refuses */
    sides[0].trust = deployment_trust(deployment, false);
    run(sides);
    expect(&sides[1], ERROR_REFUSED, "was not issued by this deployment");
    expect(&sides[0], ERROR_REFUSED, "refuses this station: certificate not issued");
    clear_sides(sides);
    set_sides(sides, &whole, deployment->tablet, foreign->courier);
    run(sides);
    expect(&sides[0], ERROR_REFUSED, "was not issued by this deployment");
    clear_sides(sides);
    deployment_free(foreign);
}

/* Bytes that are not TLS, at either end; and silence. */
static void test_garbage(void **state)
{
    static const char words[][64] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                     "\x01\x00\x00\x00\x00\x02{}plain frames, no TLS at all",
                                     "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\x00\x00"};
    struct pair_faults whole = {0};
    struct link *ends[2];
    struct error error;

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        enum session_side side = i % 2 == 0 ? SESSION_HOST : SESSION_GADGET;
        struct trust *trust = deployment_trust(deployment, false);

        STORES_OK(pair_new(&whole, ends, &error) == 0, &error);
        assert_true(ends[0]->operations->write(ends[0], words[i / 2], sizeof words[0], &error) > 0);
        assert_null(session_open(ends[1], side,
                                 side == SESSION_HOST ? deployment->tablet : deployment->courier,
                                 trust, ~0u, 300, &error));
        if (error.kind != ERROR_CORRUPT && error.kind != ERROR_TEMPORARY)
            fail_msg("kind %d: %s", error.kind, error.text);
        ends[0]->operations->close(ends[0]);
        trust_free(trust);
    }
    struct trust *trust = deployment_trust(deployment, false);
    int64_t start = clock_ms();

    STORES_OK(pair_new(&whole, ends, &error) == 0, &error);
    assert_null(
        session_open(ends[1], SESSION_GADGET, deployment->courier, trust, ~0u, 200, &error));
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    assert_true(clock_ms() - start < 2000);
    ends[0]->operations->close(ends[0]);
    trust_free(trust);
}

/* ---- visits over a bad cable ---- */

struct stores {
    struct end host, gadget;
    struct label labels[8];
    uint64_t seq;
};

static void open_stores(struct stores *stores)
{
    memset(stores, 0, sizeof *stores);
    end_open(&stores->host, deployment->tablet, deployment, NULL);
    end_open(&stores->gadget, deployment->courier, deployment, NULL);
}

static void close_stores(struct stores *stores)
{
    end_close(&stores->host);
    end_close(&stores->gadget);
}

static void add(struct stores *stores, size_t size)
{
    struct label label;

    stores->seq++;
    stores_add(stores->host.store, &label, "t1", "server", stores->seq, (unsigned)stores->seq,
               size);
}

static void run_visit(struct stores *stores, const struct pair_faults *faults, struct side sides[2])
{
    set_sides(sides, faults, deployment->tablet, deployment->courier);
    sides[0].store = stores->host.store;
    sides[1].store = stores->gadget.store;
    run(sides);
    clear_sides(sides);
}

/* Through a link that moves seven bytes at a time, or stalls every other call: slow, but whole. */
static void test_slow(void **state)
{
    const struct pair_faults faults[] = {
        {.most_bytes = 7},
        {.stall_one_in = 2, .seed = 5},
        {.capacity_bytes = 100, .most_bytes = 33, .stall_one_in = 3, .seed = 6}};
    struct stores stores;
    struct side sides[2];

    (void)state;
    open_stores(&stores);
    for (unsigned i = 0; i < 3; i++) {
        add(&stores, 30000);
        run_visit(&stores, &faults[i], sides);
        STORES_OK(sides[0].result == 0, &sides[0].error);
        STORES_OK(sides[1].result == 0, &sides[1].error);
        assert_int_equal(sides[1].counts.taken_batches, 1);
        assert_int_equal(sides[0].counts.sent_batches, 1);
    }
    close_stores(&stores);
}

/* Cut at any byte, handshake included: both ends notice, and a few visits later all is there. */
static void test_cuts(void **state)
{
    const char *often = getenv("BODA_TEST_CUTS");
    unsigned cuts = often != NULL ? (unsigned)atoi(often) : 40;
    uint64_t random = stores_seed() * 2 + 1;
    struct stores stores;
    struct side sides[2];

    (void)state;
    open_stores(&stores);
    for (unsigned i = 0; i < cuts; i++) {
        struct pair_faults faults = {.cut_at_byte =
                                         1 + stores_random(&random) % (i % 2 == 0 ? 4000 : 400000)};

        add(&stores, 1 + (size_t)(stores_random(&random) % 300000));
        run_visit(&stores, &faults, sides);
        if (sides[0].result != 0 && sides[0].error.kind != ERROR_CLOSED)
            fail_msg("host: %s", sides[0].error.text);
        if (sides[1].result != 0 && sides[1].error.kind != ERROR_CLOSED)
            fail_msg("gadget: %s", sides[1].error.text);
    }
    run_visit(&stores, &(struct pair_faults){0}, sides);
    STORES_OK(sides[0].result == 0, &sides[0].error);
    assert_int_equal(ends_count(&stores.gadget, BATCH_HELD), cuts);
    assert_int_equal(ends_count(&stores.gadget, BATCH_PARTIAL), 0);
    close_stores(&stores);
}

/* A bit flipped or a byte lost on the way is noticed by TLS; nothing wrong is stored. */
static void test_altered(void **state)
{
    uint64_t random = stores_seed() * 2 + 1;
    struct stores stores;
    struct side sides[2];

    (void)state;
    open_stores(&stores);
    for (unsigned i = 0; i < 16; i++) {
        uint64_t at = 1 + stores_random(&random) % (i < 6 ? 2000 : 90000);
        struct pair_faults faults = {.seed = i};

        if (i % 2 == 0)
            faults.flip_at_byte = at;
        else
            faults.drop_at_byte = at;
        add(&stores, 80000);
        run_visit(&stores, &faults, sides);
    }
    run_visit(&stores, &(struct pair_faults){0}, sides);
    STORES_OK(sides[0].result == 0, &sides[0].error);
    assert_int_equal(ends_count(&stores.gadget, BATCH_HELD), 16);
    assert_int_equal(ends_count(&stores.gadget, BATCH_PARTIAL), 0);
    close_stores(&stores);
}

/* A peer that shakes hands and then says nothing is left alone after the time-out. */
static void test_silent_peer(void **state)
{
    struct pair_faults whole = {0};
    struct stores stores;
    struct side sides[2];
    struct session *session;
    pthread_t thread;
    int64_t start = clock_ms();

    (void)state;
    open_stores(&stores);
    set_sides(sides, &whole, deployment->tablet, deployment->courier);
    sides[1].store = stores.gadget.store;
    assert_int_equal(pthread_create(&thread, NULL, visit, &sides[1]), 0);
    session = session_open(sides[0].link, SESSION_HOST, sides[0].identity, sides[0].trust,
                           sides[0].roles, HANDSHAKE_MS, &sides[0].error);
    STORES_OK(session != NULL, &sides[0].error);
    pthread_join(thread, NULL);
    expect(&sides[1], ERROR_CLOSED, "said nothing");
    assert_in_range(clock_ms() - start, 600, 6000);
    session_close(session);
    clear_sides(sides);
    close_stores(&stores);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meets),       cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_wrong_role),  cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_garbage),     cmocka_unit_test(test_slow),
        cmocka_unit_test(test_cuts),        cmocka_unit_test(test_altered),
        cmocka_unit_test(test_silent_peer),
    };

    return cmocka_run_group_tests_name("session", tests, make, drop);
}
