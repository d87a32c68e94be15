/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * link/exchange: batches arrive whole, once, and durably; cuts, full disks, several couriers and
 * restored stores lose nothing; a visit with nothing new is a few frames.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "link/message.h"
#include "store/peers.h"
#include "store/streams.h"
#include "tests/unit/support/ends.h"
#include "tests/unit/support/folder.h"

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

/* The store has the deployment's newest revocation list, and the trust too. */
static void give_list(struct end *end)
{
    struct buffer der = {0};
    struct error error;

    trust_free(end->trust);
    end->trust = deployment_trust(deployment, true);
    deployment_list(deployment, &der);
    STORES_OK(store_begin(end->store, &error) == 0, &error);
    STORES_OK(peers_set_crl(end->store, trust_number(end->trust), der.data, der.length, &error) ==
                  0,
              &error);
    STORES_OK(store_commit(end->store, &error) == 0, &error);
    buffer_free(&der);
}

static void assert_same_bytes(const struct end *end, const struct label *label, unsigned seed)
{
    unsigned char *expected = stores_bytes(seed, label->size);
    struct buffer bytes = {0};
    struct batch batch;
    struct error error;

    STORES_OK(batches_find(end->store, label->id, &batch, &error) == 1, &error);
    assert_int_equal(batch.state, BATCH_HELD);
    STORES_OK(batches_load(end->store, label->id, &bytes, &error) == 0, &error);
    assert_int_equal(bytes.length, label->size);
    assert_memory_equal(bytes.data, expected, bytes.length);
    buffer_free(&bytes);
    free(expected);
}

/* Mark a batch applied at END, as the dock's replay does. */
static void apply(const struct end *end, const struct label *label)
{
    struct error error;

    STORES_OK(store_begin(end->store, &error) == 0, &error);
    STORES_OK(batches_apply(end->store, label, false, &error) == 0, &error);
    STORES_OK(store_commit(end->store, &error) == 0, &error);
}

static void apply_all(const struct end *end, const char *to)
{
    struct batch_filter filter = {.to = to, .state = BATCH_HELD};
    struct batch batch;
    struct error error;

    while (batches_next(end->store, &filter, 0, &batch, &error) == 1)
        apply(end, &batch.label);
}

/* A batch of each size from one byte to several chunks comes over, byte for byte, in one visit. */
static void test_push(void **state)
{
    static const size_t sizes[] = {1, 100, 65535, 65536, 65537, 131072, 300000, 3000000};
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    struct label labels[COUNT];
    struct exchange_counts host, gadget;

    (void)state;
    for (unsigned i = 0; i < COUNT; i++)
        stores_add(ends->host.store, &labels[i], "t1", "server", i + 1, i, sizes[i]);
    ends_visit(ends, &host, &gadget);
    assert_int_equal(host.sent_batches, COUNT);
    assert_int_equal(gadget.taken_batches, COUNT);
    assert_int_equal(gadget.taken_bytes, host.sent_bytes);
    for (unsigned i = 0; i < COUNT; i++)
        assert_same_bytes(&ends->gadget, &labels[i], i);
    ends_free(ends);
}

/* Up to the dock and applied there: the courier frees it, keeps a tombstone, and does not take it
 * again from a tablet that has no receipt. */
static void test_journey(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    struct end dock = {0};
    struct exchange_counts host, gadget;
    struct label label;

    (void)state;
    end_open(&dock, deployment->dock, deployment, NULL);
    for (unsigned i = 0; i < 5; i++)
        stores_add(ends->host.store, &label, "t1", "server", i + 1, i, 1000);
    ends_visit(ends, NULL, NULL);
    ends_plug(ends, &dock);
    ends_visit(ends, &host, &gadget);
    assert_int_equal(host.taken_batches, 5);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 5);
    apply_all(&ends->host, SERVER_NAME);
    ends_visit(ends, &host, &gadget);
    assert_int_equal(host.taken_batches, 0);
    assert_int_equal(host.freed_batches, 5);
    assert_int_equal(gadget.freed_batches, 5);
    assert_int_equal(ends_count(&ends->gadget, BATCH_APPLIED), 5);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 0);
    ends_plug(ends, &dock);
    ends_visit(ends, &host, &gadget);
    assert_int_equal(gadget.taken_bytes, 0);
    assert_int_equal(ends_count(&ends->host, BATCH_HELD), 5); /* until the receipt */
    end_close(&dock);
    ends_free(ends);
}

/* Down: a dock's batches go to the courier, each tablet gets its own and nothing else's; a courier
 * that may not carry t2's mail is not offered it. */
static void test_mail(void **state)
{
    static const char *const only_t1[] = {"t1", NULL};
    struct ends *ends = ends_new(deployment, deployment->dock, deployment->courier);
    struct end tablet = {0};
    struct exchange_counts host;
    struct label label;

    (void)state;
    end_open(&tablet, deployment->tablet, deployment, NULL);
    stores_add(ends->host.store, &label, "server", "t1", 1, 1, 2000);
    stores_add(ends->host.store, &label, "server", "t2", 1, 2, 2000);
    stores_add(ends->host.store, &label, "server", "t1", 2, 3, 2000);
    stores_add(ends->host.store, &label, "t1", "server", 9, 4, 2000); /* not its own: it stays */
    ends->tablets = only_t1;
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_batches, 2);
    ends->tablets = NULL;
    ends_plug(ends, &tablet);
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.taken_batches, 2);
    assert_int_equal(ends_count(&ends->host, BATCH_HELD), 2);
    end_close(&tablet);
    ends_free(ends);
}

/* 1,234 batches need three pages each way; a visit after that is a handful of frames. */
static void test_pages(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    struct exchange_counts host;
    struct label label;
    struct error error;

    (void)state;
    STORES_OK(store_begin(ends->host.store, &error) == 0, &error);
    for (unsigned i = 0; i < 1234; i++) {
        unsigned char *bytes = stores_batch(&label, "t1", "server", i + 1, i, 200);

        STORES_OK(batches_add(ends->host.store, &label, bytes, 200, &error) == 0, &error);
        free(bytes);
    }
    STORES_OK(store_commit(ends->host.store, &error) == 0, &error);
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_batches, 1234);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 1234);
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_bytes, 0);
    assert_int_equal(host.rounds, 1);
    assert_true(ends->frames_from_host <= 4); /* HELLO, OFFER, PULL, PING */
    assert_true(ends->frames_from_gadget <= 4);
    ends_free(ends);
}

/* New batches flow while the cable is in: the host's store changes, a round begins by itself. */
static void test_flow(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    struct label label;

    (void)state;
    ends_connect(ends);
    ends_run(ends);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 0);
    stores_add(ends->host.store, &label, "t1", "server", 1, 1, 5000);
    ends_run(ends);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 1);
    exchange_finish(ends->host.exchange);
    ends_run(ends);
    assert_int_equal(exchange_phase(ends->host.exchange), EXCHANGE_OVER);
    assert_int_equal(exchange_phase(ends->gadget.exchange), EXCHANGE_OVER);
    assert_false(ends->host.failed || ends->gadget.failed);
    ends_disconnect(ends);
    ends_free(ends);
}

/* Cut at any byte, as often as you like: in the end all is there, and no cut costs more than a
 * MiB. */
static void test_cuts(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    const char *often = getenv("BODA_TEST_CUTS");
    unsigned cuts = often != NULL ? (unsigned)atoi(often) : 120;
    uint64_t seed = stores_seed(), random = seed * 2 + 1, seq = 0, sent = 0, sizes = 0;
    unsigned done = 0;

    (void)state;
    for (unsigned round = 0; done < cuts; round++) {
        struct label labels[6];
        bool complete = false;

        for (unsigned i = 0; i < 6; i++) {
            size_t size = 1 + (size_t)(stores_random(&random) % (i == 0 ? 2500000 : 60000));

            seq++;
            stores_add(ends->host.store, &labels[i], "t1", "server", seq, (unsigned)seq, size);
            sizes += size;
        }
        for (unsigned visit = 0; !complete; visit++) {
            struct exchange_counts counts;

            /* Some cuts in the first control frames, most in the data. */
            ends->cut_at_byte = visit > 8 ? 0
                                : stores_random(&random) % 4 == 0
                                    ? 1 + stores_random(&random) % 3000
                                    : 1 + stores_random(&random) % 1500000;
            ends_connect(ends);
            ends_run(ends);
            STORES_OK(!ends->host.failed, &ends->host.error);
            STORES_OK(!ends->gadget.failed, &ends->gadget.error);
            complete = !ends->cut;
            counts = *exchange_counts(ends->gadget.exchange);
            sent += counts.taken_bytes;
            done += ends->cut ? 1 : 0;
            ends_disconnect(ends);
        }
        for (unsigned i = 0; i < 6; i++)
            assert_same_bytes(&ends->gadget, &labels[i], (unsigned)(seq - 5 + i));
    }
    assert_int_equal(ends_count(&ends->gadget, BATCH_PARTIAL), 0);
    /* What came was kept at each cut, so nothing came twice. */
    assert_int_equal(sent, sizes);
    ends_free(ends);
}

/* The hash of a batch that was resumed covers what came in the session before. */
static void test_resume_wrong(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    struct exchange_counts gadget;
    struct label label;
    struct error error;
    unsigned char *other = stores_bytes(99, 70000);

    (void)state;
    stores_add(ends->host.store, &label, "t1", "server", 1, 1, 200000);
    /* The first 70,000 bytes here are others, as if they had been altered. */
    STORES_OK(store_begin(ends->gadget.store, &error) == 0, &error);
    STORES_OK(batches_append(ends->gadget.store, &label, 0, other, 70000, &error) == 0, &error);
    STORES_OK(store_commit(ends->gadget.store, &error) == 0, &error);
    ends_visit(ends, NULL, &gadget);
    assert_int_equal(gadget.taken_bytes, 130000);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 0);
    assert_int_equal(ends_count(&ends->gadget, BATCH_PARTIAL), 0);
    ends_visit(ends, NULL, &gadget);
    assert_int_equal(gadget.taken_bytes, 200000);
    assert_same_bytes(&ends->gadget, &label, 1);
    free(other);
    ends_free(ends);
}

/* Two couriers carried the same batches: the dock takes each once, both couriers free them, and the
 * one that comes second makes a receipt due. */
static void test_two_couriers(void **state)
{
    struct ends *first = ends_new(deployment, deployment->tablet, deployment->courier);
    struct ends *second = ends_new(deployment, deployment->tablet, deployment->courier2);
    struct end dock = {0}, nobody = {0};
    struct exchange_counts host;
    struct label label;
    struct error error;
    char due[STORE_NAME_BYTES];

    (void)state;
    end_open(&dock, deployment->dock, deployment, NULL);
    for (unsigned i = 0; i < 10; i++)
        stores_add(first->host.store, &label, "t1", "server", i + 1, i, 3000);
    ends_visit(first, NULL, NULL);
    end_close(&second->host);
    second->host = nobody;
    ends_plug(second, &first->host); /* the same tablet at the second courier */
    ends_visit(second, NULL, NULL);
    ends_plug(second, &first->host);
    ends_plug(first, &dock);
    ends_visit(first, &host, NULL);
    assert_int_equal(host.taken_batches, 10);
    apply_all(&first->host, SERVER_NAME);
    ends_visit(first, &host, NULL);
    assert_int_equal(host.freed_batches, 10);
    STORES_OK(store_begin(first->host.store, &error) == 0, &error);
    STORES_OK(streams_set_due(first->host.store, "t1", false, &error) == 0, &error);
    STORES_OK(store_commit(first->host.store, &error) == 0, &error);
    ends_plug(first, &dock);
    ends_plug(second, &dock);
    ends_visit(second, &host, NULL);
    assert_int_equal(host.taken_bytes, 0);
    assert_int_equal(host.freed_batches, 10);
    assert_int_equal(ends_count(&second->gadget, BATCH_HELD), 0);
    assert_int_equal(streams_next_due(second->host.store, "", due, &error), 1);
    assert_string_equal(due, "t1");
    ends_plug(second, &dock);
    end_close(&dock);
    ends_free(second);
    ends_free(first);
}

/* A batch under a label that lies, as a hostile courier may offer it. */
static void add_falsely(const struct end *end, struct label *label, unsigned seed)
{
    unsigned char *bytes = stores_batch(label, "t1", SERVER_NAME, 1, seed, 2000);
    struct label lie = *label;
    struct error error;

    strcpy(lie.from, "t9");
    lie.seq = 5;
    STORES_OK(store_begin(end->store, &error) == 0, &error);
    STORES_OK(batches_add(end->store, &lie, bytes, label->size, &error) == 0, &error);
    STORES_OK(store_commit(end->store, &error) == 0, &error);
    free(bytes);
}

static struct batch batch_at(const struct end *end, const struct label *label)
{
    struct batch batch;
    struct error error;

    STORES_OK(batches_find(end->store, label->id, &batch, &error) == 1, &error);
    return batch;
}

/* What was set aside for a false label is held again under the true one that an honest courier brings,
 * without its bytes coming twice; a held one keeps its label whatever is offered. */
static void test_false_label(void **state)
{
    struct ends *liar = ends_new(deployment, deployment->dock, deployment->courier);
    struct ends *honest = ends_new(deployment, deployment->dock, deployment->courier2);
    struct exchange_counts host;
    struct label aside, held;
    struct batch now;
    struct error error;
    int64_t position;

    (void)state;
    add_falsely(&liar->gadget, &aside, 1);
    ends_visit(liar, NULL, NULL);
    STORES_OK(store_begin(liar->host.store, &error) == 0, &error);
    STORES_OK(batches_set_aside(liar->host.store, aside.id, "its label lies", &error) == 0, &error);
    STORES_OK(store_commit(liar->host.store, &error) == 0, &error);
    add_falsely(&liar->gadget, &held, 2);
    ends_visit(liar, NULL, NULL);
    position = batch_at(&liar->host, &held).position;
    stores_add(honest->gadget.store, &aside, "t1", SERVER_NAME, 1, 1, 2000);
    stores_add(honest->gadget.store, &held, "t1", SERVER_NAME, 1, 2, 2000);
    ends_plug(honest, &liar->host); /* the same dock */
    ends_visit(honest, &host, NULL);
    assert_int_equal(host.taken_bytes, 0);
    assert_int_equal(batch_at(&honest->host, &aside).state, BATCH_HELD);
    assert_true(batch_at(&honest->host, &aside).position > position);
    now = batch_at(&honest->host, &aside);
    assert_true(label_same(&now.label, &aside));
    assert_int_equal(batch_at(&honest->host, &held).position, position);
    assert_int_equal(batch_at(&honest->host, &held).label.seq, 5);
    ends_plug(honest, &liar->host);
    ends_free(honest);
    ends_free(liar);
}

/* Every batch that STORED names is in the store by then, for other programs to see. */
static struct {
    struct store *store;
    struct label labels[20];
    unsigned named;
} witness;

static void check_stored(struct ends *ends, bool from_host, unsigned char *bytes, size_t size)
{
    struct answer answers[20];
    struct frame frame;
    struct batch batch;
    struct error error;
    size_t used;

    (void)ends;
    if (from_host || bytes[0] != FRAME_STORED)
        return;
    assert_int_equal(frame_decode(bytes, size, &frame, &used, &error), 1);
    memset(answers, 0, sizeof answers);
    STORES_OK(message_read_stored(&frame, 1, answers, 20, &error) == 0, &error);
    for (unsigned i = 0; i < 20; i++)
        if (answers[i].verdict == VERDICT_STORED) {
            STORES_OK(batches_find(witness.store, witness.labels[i].id, &batch, &error) == 1,
                      &error);
            assert_int_equal(batch.state, BATCH_HELD);
            witness.named++;
        }
}

static void test_stored_is_durable(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    struct error error;

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        stores_add(ends->host.store, &witness.labels[i], "t1", "server", i + 1, i, 1 + i * 60000);
    witness.named = 0;
    witness.store = store_another(ends->gadget.store, &error);
    STORES_OK(witness.store != NULL, &error);
    ends->meddle = check_stored;
    ends_visit(ends, NULL, NULL);
    assert_int_equal(witness.named, 20);
    store_close(witness.store);
    ends_free(ends);
}

/* A cursor that speaks of another batch than ours (a store put back from a copy) is not believed:
 * all is offered anew, and nothing is sent that is there. */
static void test_restored_store(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    struct exchange_counts host;
    struct cursor cursor;
    struct label label;
    struct error error;

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        stores_add(ends->host.store, &label, "t1", "server", i + 1, i, 3000);
    ends_visit(ends, NULL, NULL);
    STORES_OK(peers_cursor(ends->gadget.store, store_uuid(ends->host.store), &cursor, &error) == 0,
              &error);
    assert_true(cursor.position > 0);
    cursor.position += 100;
    cursor.id[0] ^= 1;
    STORES_OK(store_begin(ends->gadget.store, &error) == 0, &error);
    STORES_OK(peers_set_cursor(ends->gadget.store, store_uuid(ends->host.store), &cursor, &error) ==
                  0,
              &error);
    STORES_OK(store_commit(ends->gadget.store, &error) == 0, &error);
    stores_add(ends->host.store, &label, "t1", "server", 4, 4, 3000);
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_bytes, 3000);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 4);
    ends_free(ends);
}

/* The courier has stored a receipt, but the cable was pulled before it could say so: its cursor does. */
static void test_stored_unheard(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->dock, deployment->courier);
    struct exchange_counts gadget;
    struct cursor cursor;
    struct batch batch;
    struct label label;
    struct error error;

    (void)state;
    stores_add(ends->host.store, &label, SERVER_NAME, "t1", 0, 1, 1000);
    STORES_OK(store_begin(ends->host.store, &error) == 0, &error);
    STORES_OK(batches_set_fleeting(ends->host.store, label.id, &error) == 0, &error);
    STORES_OK(store_commit(ends->host.store, &error) == 0, &error);
    STORES_OK(batches_find(ends->host.store, label.id, &batch, &error) == 1, &error);
    cursor.position = batch.position;
    memcpy(cursor.id, label.id, sizeof cursor.id);
    STORES_OK(store_begin(ends->gadget.store, &error) == 0, &error);
    STORES_OK(peers_set_cursor(ends->gadget.store, store_uuid(ends->host.store), &cursor, &error) ==
                  0,
              &error);
    STORES_OK(store_commit(ends->gadget.store, &error) == 0, &error);
    ends_visit(ends, NULL, &gadget);
    assert_int_equal(gadget.taken_bytes, 0);
    assert_int_equal(ends_count(&ends->host, BATCH_HELD), 0);
    ends_free(ends);
}

/* A quota that is full: what fits is taken, the rest is offered again once there is room, in the same
 * session too; the session stays well. */
static void test_quota(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    struct store_options options = {.quota_bytes = 1000000}; /* a source's share is half */
    struct exchange_counts host;
    struct label label;
    struct batch batch;
    struct error error;
    struct batch_filter filter = {.state = BATCH_HELD};

    (void)state;
    end_close(&ends->gadget);
    end_open(&ends->gadget, deployment->courier, deployment, &options);
    for (unsigned i = 0; i < 10; i++)
        stores_add(ends->host.store, &label, "t1", "server", i + 1, i, 100000);
    ends_connect(ends);
    ends_run(ends);
    STORES_OK(!ends->host.failed, &ends->host.error);
    host = *exchange_counts(ends->host.exchange);
    assert_in_range(host.sent_batches, 3, 5);
    /* Room is made by the way; a new round takes what was refused. */
    STORES_OK(batches_next(ends->gadget.store, &filter, 0, &batch, &error) == 1, &error);
    apply(&ends->gadget, &batch.label);
    exchange_again(ends->host.exchange);
    ends_run(ends);
    STORES_OK(!ends->host.failed, &ends->host.error);
    assert_int_equal(exchange_counts(ends->host.exchange)->sent_batches, host.sent_batches + 1);
    ends_disconnect(ends);
    for (unsigned i = 0; i < 10; i++) {
        while (batches_next(ends->gadget.store, &filter, 0, &batch, &error) == 1)
            apply(&ends->gadget, &batch.label);
        ends_visit(ends, &host, NULL);
    }
    assert_int_equal(
        ends_count(&ends->gadget, BATCH_HELD) + ends_count(&ends->gadget, BATCH_APPLIED), 10);
    ends_free(ends);
}

/* A revocation list goes to the side that has the older one, which keeps it; when it names the very
 * peer, the session ends. */
static void test_revocation(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->dock, deployment->courier);
    struct identity *lost = deployment_enroll(deployment, ROLE_TABLET, "lost", "chw9");
    struct end tablet = {0}, thief = {0};
    uint64_t number;

    (void)state;
    deployment_revoke(deployment, lost);
    give_list(&ends->host);
    number = trust_number(ends->host.trust);
    ends_visit(ends, NULL, NULL);
    assert_int_equal(trust_number(ends->gadget.trust), number);
    /* From the courier on to a tablet. */
    end_open(&tablet, deployment->tablet, deployment, NULL);
    ends_plug(ends, &tablet);
    assert_int_equal(trust_number(ends->host.trust), 0);
    ends_visit(ends, NULL, NULL);
    assert_int_equal(trust_number(ends->host.trust), number);
    ends_plug(ends, &tablet);
    /* A courier that knew of nothing hears of it from the revoked station itself. */
    end_open(&thief, lost, deployment, NULL);
    give_list(&thief);
    trust_free(ends->gadget.trust);
    ends->gadget.trust = deployment_trust(deployment, false);
    ends_plug(ends, &thief);
    ends_connect(ends);
    ends_run(ends);
    assert_true(ends->gadget.failed);
    assert_int_equal(ends->gadget.error.kind, ERROR_REFUSED);
    assert_non_null(strstr(ends->gadget.error.text, "revoked"));
    ends_disconnect(ends);
    ends_plug(ends, &thief);
    end_close(&thief);
    end_close(&tablet);
    ends_free(ends);
    identity_free(lost);
}

/* The 200 ms rule: what comes without COMMIT is stored soon all the same. */
static void clear_commit(struct ends *ends, bool from_host, unsigned char *frame, size_t size)
{
    (void)ends;
    (void)size;
    if (from_host && frame[0] == FRAME_DATA)
        frame[1] = 0;
}

static void test_commit_by_time(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    struct label label;

    (void)state;
    ends->meddle = clear_commit;
    stores_add(ends->host.store, &label, "t1", "server", 1, 1, 70000);
    ends_visit(ends, NULL, NULL);
    assert_in_range(ends->now_ms, 200, 400);
    assert_same_bytes(&ends->gadget, &label, 1);
    ends_free(ends);
}

/* Another connection to the host's store: the app's documents come at any moment. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type of `meddle` */
static void write_beside(struct ends *ends, bool from_host, unsigned char *frame, size_t size)
{
    const struct store_options options = {
        .directory = ends->host.folder, .role = "tablet", .station = "t1"};
    struct store *beside;
    struct label label;
    struct error error;

    (void)size;
    if (!from_host || frame[0] != FRAME_PULL)
        return;
    ends->meddle = NULL;
    beside = store_open(&options, &error);
    STORES_OK(beside != NULL, &error);
    stores_add(beside, &label, "t1", "server", 1, 1, 1000);
    store_close(beside);
}

/* What is committed when all has been offered already, but idle has not begun, is offered too. */
static void test_written_late(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    struct exchange_counts host;

    (void)state;
    ends->meddle = write_beside;
    ends_visit(ends, &host, NULL);
    assert_null(ends->meddle);
    assert_int_equal(host.sent_batches, 1);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 1);
    ends_free(ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push),           cmocka_unit_test(test_journey),
        cmocka_unit_test(test_mail),           cmocka_unit_test(test_pages),
        cmocka_unit_test(test_flow),           cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_resume_wrong),   cmocka_unit_test(test_two_couriers),
        cmocka_unit_test(test_restored_store), cmocka_unit_test(test_quota),
        cmocka_unit_test(test_revocation),     cmocka_unit_test(test_commit_by_time),
        cmocka_unit_test(test_false_label),    cmocka_unit_test(test_stored_is_durable),
        cmocka_unit_test(test_written_late),   cmocka_unit_test(test_stored_unheard),
    };

    return cmocka_run_group_tests_name("exchange", tests, make, drop);
}
