/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * link/exchange against a peer that does not keep to the protocol, and on a disk that is full: each
 * fault is refused in words at both ends, nothing wrong is stored, the next visit is well.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "base/log.h"
#include "link/frame.h"
#include "tests/unit/support/ends.h"

#define ID "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define ID2 "01112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define LABEL(n, position, id, from, to, size)                                                    \
    "{\"n\":" n ",\"position\":" position ",\"id\":\"" id "\",\"from\":\"" from "\",\"to\":\"" to \
    "\",\"epoch\":\"00000000000000e1\",\"seq\":1,\"size\":" size "}"
#define OFFER(labels) "{\"offers\":[" labels "],\"more\":false}"
#define HELLO(protocol)                                        \
    "{\"protocol\":" protocol ",\"software\":\"x\",\"store\":" \
    "\"00112233445566778899aabbccddeeff\",\"free_bytes\":1,\"crl\":0}"

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

enum to { TO_HOST, TO_GADGET };

struct bad_frame {
    const char *what;
    enum to to;
    uint8_t type;
    const char *payload;
    size_t size; /* 0: the string's */
    enum error_kind kind;
};

static const struct bad_frame bad_frames[] = {
    {"unknown type below 0x80", TO_GADGET, 0x0e, "{}", 0, ERROR_CORRUPT},
    {"unknown type below 0x80", TO_HOST, 0x7f, "", 0, ERROR_CORRUPT},
    {"type 0", TO_GADGET, 0x00, "", 0, ERROR_CORRUPT},
    {"a second HELLO", TO_GADGET, FRAME_HELLO, HELLO("1"), 0, ERROR_CORRUPT},
    {"a second HELLO", TO_HOST, FRAME_HELLO, HELLO("1"), 0, ERROR_CORRUPT},
    {"no JSON", TO_GADGET, FRAME_OFFER, "offers", 0, ERROR_CORRUPT},
    {"an array", TO_GADGET, FRAME_OFFER, "[]", 0, ERROR_CORRUPT},
    {"a member twice", TO_GADGET, FRAME_OFFER, "{\"offers\":[],\"offers\":[],\"more\":false}", 0,
     ERROR_CORRUPT},
    {"bytes behind the JSON", TO_GADGET, FRAME_OFFER, OFFER("") "x", 0, ERROR_CORRUPT},
    {"no more", TO_GADGET, FRAME_OFFER, "{\"offers\":[]}", 0, ERROR_CORRUPT},
    {"a label that is none", TO_GADGET, FRAME_OFFER, OFFER("7"), 0, ERROR_CORRUPT},
    {"n 0", TO_GADGET, FRAME_OFFER, OFFER(LABEL("0", "1", ID, "t1", "server", "9")), 0,
     ERROR_CORRUPT},
    {"n out of order", TO_GADGET, FRAME_OFFER, OFFER(LABEL("2", "1", ID, "t1", "server", "9")), 0,
     ERROR_CORRUPT},
    {"n twice", TO_GADGET, FRAME_OFFER,
     OFFER(LABEL("1", "1", ID, "t1", "server", "9") "," LABEL("1", "2", ID2, "t1", "server", "9")),
     0, ERROR_CORRUPT},
    {"position backwards", TO_GADGET, FRAME_OFFER,
     OFFER(LABEL("1", "2", ID, "t1", "server", "9") "," LABEL("2", "1", ID2, "t1", "server", "9")),
     0, ERROR_CORRUPT},
    {"a batch twice", TO_GADGET, FRAME_OFFER,
     OFFER(LABEL("1", "1", ID, "t1", "server", "9") "," LABEL("2", "2", ID, "t1", "server", "9")),
     0, ERROR_CORRUPT},
    {"size 0", TO_GADGET, FRAME_OFFER, OFFER(LABEL("1", "1", ID, "t1", "server", "0")), 0,
     ERROR_CORRUPT},
    {"size beyond the cap", TO_GADGET, FRAME_OFFER,
     OFFER(LABEL("1", "1", ID, "t1", "server", "41943041")), 0, ERROR_CORRUPT},
    {"a negative size", TO_GADGET, FRAME_OFFER, OFFER(LABEL("1", "1", ID, "t1", "server", "-1")), 0,
     ERROR_CORRUPT},
    {"a name that is a path", TO_GADGET, FRAME_OFFER,
     OFFER(LABEL("1", "1", ID, "../t1", "server", "9")), 0, ERROR_CORRUPT},
    {"a batch of another tablet", TO_GADGET, FRAME_OFFER,
     OFFER(LABEL("1", "1", ID, "t2", "server", "9")), 0, ERROR_REFUSED},
    {"a batch of the server, by a tablet", TO_GADGET, FRAME_OFFER,
     OFFER(LABEL("1", "1", ID, "server", "t2", "9")), 0, ERROR_REFUSED},
    {"a batch to another tablet", TO_GADGET, FRAME_OFFER,
     OFFER(LABEL("1", "1", ID, "t1", "t2", "9")), 0, ERROR_REFUSED},
    {"an offer out of turn", TO_HOST, FRAME_OFFER, OFFER(LABEL("1", "1", ID, "server", "t1", "9")),
     0, ERROR_CORRUPT},
    {"DATA that nobody wants", TO_GADGET, FRAME_DATA, "\0\0\0\1\0\0\0\0\0\0\0\0x", 13,
     ERROR_CORRUPT},
    {"DATA without bytes", TO_GADGET, FRAME_DATA, "\0\0\0\1\0\0\0\0\0\0\0\0", 12, ERROR_CORRUPT},
    {"DATA cut short", TO_HOST, FRAME_DATA, "\0\0\0", 3, ERROR_CORRUPT},
    {"WANT out of turn", TO_GADGET, FRAME_WANT, "{\"want\":[],\"have\":[],\"full\":[]}", 0,
     ERROR_CORRUPT},
    {"WANT out of turn", TO_HOST, FRAME_WANT, "{\"want\":[],\"have\":[],\"full\":[]}", 0,
     ERROR_CORRUPT},
    {"STORED out of turn", TO_HOST, FRAME_STORED, "{\"stored\":[1],\"wrong\":[],\"full\":[]}", 0,
     ERROR_CORRUPT},
    {"FREED out of turn", TO_HOST, FRAME_FREED, "{\"applied\":[]}", 0, ERROR_CORRUPT},
    {"FREED to a gadget", TO_GADGET, FRAME_FREED, "{\"applied\":[]}", 0, ERROR_CORRUPT},
    {"PULL to a host", TO_HOST, FRAME_PULL, "{\"cursor\":{\"position\":0,\"id\":\"" ID "\"}}", 0,
     ERROR_CORRUPT},
    {"PULL without a cursor", TO_GADGET, FRAME_PULL, "{}", 0, ERROR_CORRUPT},
    {"APPLIED to a host", TO_HOST, FRAME_APPLIED, "{\"applied\":[]}", 0, ERROR_CORRUPT},
    {"APPLIED with half an id", TO_GADGET, FRAME_APPLIED, "{\"applied\":[\"0011\"]}", 0,
     ERROR_CORRUPT},
    {"PING to a host", TO_HOST, FRAME_PING, "", 0, ERROR_CORRUPT},
    {"PONG to a gadget", TO_GADGET, FRAME_PONG, "", 0, ERROR_CORRUPT},
    {"a list that is none", TO_GADGET, FRAME_REVOKED, "no DER", 0, ERROR_REFUSED},
    {"a list that is none", TO_HOST, FRAME_REVOKED, "\x30\x00", 2, ERROR_REFUSED},
};

/* Deliver one frame to an end; what it answers stays in its `out`. */
static int deliver(struct end *end, uint8_t type, const void *payload, size_t size)
{
    struct frame frame = {.type = type, .payload = payload, .size = size};
    int result = exchange_receive(end->exchange, &frame, &end->error);
    struct error ignored;

    (void)exchange_send(end->exchange, &end->out, 65536, &ignored);
    return result;
}

/* The last frame of END's output is an ERROR. */
static void assert_said_error(const struct end *end, const char *what)
{
    struct frame frame = {0};
    size_t at = 0, used;

    while (frame_decode(end->out.data + at, end->out.length - at, &frame, &used, NULL) == 1)
        at += used;
    if (frame.type != FRAME_ERROR)
        fail_msg("%s: the peer was not told", what);
}

static void test_bad_frames(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);

    (void)state;
    for (size_t i = 0; i < sizeof bad_frames / sizeof bad_frames[0]; i++) {
        const struct bad_frame *bad = &bad_frames[i];
        struct end *end = bad->to == TO_HOST ? &ends->host : &ends->gadget;

        ends_connect(ends);
        ends_run(ends);
        assert_false(ends->host.failed || ends->gadget.failed);
        if (deliver(end, bad->type, bad->payload,
                    bad->size != 0 ? bad->size : strlen(bad->payload)) == 0)
            fail_msg("%s: was taken", bad->what);
        if (end->error.kind != bad->kind)
            fail_msg("%s: kind %d: %s", bad->what, end->error.kind, end->error.text);
        assert_int_equal(exchange_phase(end->exchange), EXCHANGE_OVER);
        assert_said_error(end, bad->what);
        ends_disconnect(ends);
    }
    ends_visit(ends, NULL, NULL);
    ends_free(ends);
}

/* Types of 0x80 and above may be skipped. */
static void test_skipped(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);

    (void)state;
    ends_connect(ends);
    assert_int_equal(deliver(&ends->gadget, 0x80, "xyz", 3), 0);
    ends_run(ends);
    assert_int_equal(deliver(&ends->gadget, 0xff, "xyz", 3), 0);
    assert_int_equal(deliver(&ends->host, 0x93, "", 0), 0);
    ends_run(ends);
    assert_false(ends->host.failed || ends->gadget.failed);
    ends_disconnect(ends);
    ends_free(ends);
}

/* Before HELLO nothing else is heard, and another protocol version is refused. */
static void test_greeting(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);

    (void)state;
    ends_connect(ends);
    assert_int_equal(deliver(&ends->gadget, FRAME_OFFER, OFFER(""), strlen(OFFER(""))), -1);
    assert_int_equal(ends->gadget.error.kind, ERROR_CORRUPT);
    ends_disconnect(ends);
    ends_connect(ends);
    assert_int_equal(deliver(&ends->gadget, FRAME_HELLO, HELLO("2"), strlen(HELLO("2"))), -1);
    assert_non_null(strstr(ends->gadget.error.text, "protocol version 2"));
    assert_non_null(strstr((char *)ends->gadget.out.data + FRAME_HEADER_BYTES, "version"));
    ends_disconnect(ends);
    ends_free(ends);
}

/* JSON nested 10,000 deep, and a control frame above its cap. */
static void test_deep(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    static char deep[300000];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        size_t size = i == 2 ? sizeof deep : 20000;

        memset(deep, i == 0 ? '[' : ' ', sizeof deep);
        if (i == 0)
            memset(deep + 10000, ']', 10000);
        if (i == 1)
            size = (size_t)snprintf(deep, sizeof deep, "{\"a\":[[[[[[[[[[1]]]]]]]]]]}");
        ends_connect(ends);
        ends_run(ends);
        assert_int_equal(deliver(&ends->gadget, FRAME_OFFER, deep, size), -1);
        assert_int_equal(ends->gadget.error.kind, ERROR_CORRUPT);
        ends_disconnect(ends);
    }
    ends_free(ends);
}

/* A station may say applied only of what is addressed to it. */
static void test_applied_of_others(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    char text[BATCH_ID_TEXT_BYTES + 40];
    struct label label;
    unsigned used;

    (void)state;
    stores_add(ends->gadget.store, &label, "server", "t2", 1, 1, 100);
    used = (unsigned)snprintf(text, sizeof text, "{\"applied\":[\"");
    for (unsigned i = 0; i < BATCH_ID_BYTES; i++)
        used += (unsigned)snprintf(text + used, sizeof text - used, "%02x", label.id[i]);
    snprintf(text + used, sizeof text - used, "\"]}");
    ends_connect(ends);
    ends_run(ends);
    assert_int_equal(deliver(&ends->gadget, FRAME_APPLIED, text, strlen(text)), -1);
    assert_int_equal(ends->gadget.error.kind, ERROR_REFUSED);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 1);
    ends_disconnect(ends);
    /* One that it does not know is confirmed. */
    memset(text + 13, '7', 64);
    ends_connect(ends);
    ends_run(ends);
    assert_int_equal(deliver(&ends->gadget, FRAME_APPLIED, text, strlen(text)), 0);
    ends_disconnect(ends);
    ends_free(ends);
}

/* ---- bytes altered on the way, with no TLS to notice ---- */

struct meddling {
    uint64_t random, one_in;
};

static struct meddling meddling;

static void flip(struct ends *ends, bool from_host, unsigned char *frame, size_t size)
{
    size_t at;

    (void)ends;
    (void)from_host;
    if (stores_random(&meddling.random) % meddling.one_in != 0)
        return;
    do
        at = stores_random(&meddling.random) % size;
    while (at >= 2 && at < FRAME_HEADER_BYTES); /* the length is the decoder's matter */
    frame[at] ^= (unsigned char)(1u << stores_random(&meddling.random) % 8);
}

/* However frames are altered, an exchange ends, and the store holds no wrong bytes. */
static void test_altered(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    struct batch_filter filter = {.state = BATCH_HELD};
    const char *often = getenv("BODA_TEST_CUTS");
    unsigned visits = often != NULL ? (unsigned)atoi(often) : 150;
    struct batch batch = {0};
    struct label label;
    struct error error;

    (void)state;
    (void)log_set_level("error");
    meddling.random = stores_seed() * 2 + 1;
    ends->may_stall = true;
    ends->meddle = flip;
    for (unsigned i = 0; i < visits; i++) {
        meddling.one_in = 2 + i % 10;
        stores_add(ends->host.store, &label, "t1", "server", i + 1, i, 1 + i * 997 % 90000);
        stores_add(ends->gadget.store, &label, "server", "t1", i + 1, 1000000 + i, 700);
        ends_connect(ends);
        ends_run(ends);
        ends_disconnect(ends);
    }
    ends->meddle = NULL;
    ends_visit(ends, NULL, NULL);
    (void)log_set_level("info");
    while (batches_next(ends->gadget.store, &filter, batch.position, &batch, &error) == 1) {
        struct buffer bytes = {0};
        unsigned char digest[BATCH_ID_BYTES];
        unsigned length;

        STORES_OK(batches_load(ends->gadget.store, batch.label.id, &bytes, &error) == 0, &error);
        assert_int_equal(EVP_Digest(bytes.data, bytes.length, digest, &length, EVP_sha256(), NULL),
                         1);
        assert_memory_equal(digest, batch.label.id, BATCH_ID_BYTES);
        buffer_free(&bytes);
    }
    ends_free(ends);
}

/* ---- a full disk ---- */

/* Writing fails in mid-batch as on a full disk: what fits is kept, the session stays well, and with
 * room the rest comes. */
static void test_disk_full(void **state)
{
    struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
    struct rlimit before, small;
    struct exchange_counts host, gadget;
    struct label label;
    uint64_t stored;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    for (unsigned i = 0; i < 12; i++)
        stores_add(ends->host.store, &label, "t1", "server", i + 1, i, 700000);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4000000; /* its write-ahead log cannot hold it all */
    ends_connect(ends);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    ends_run(ends);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    STORES_OK(!ends->gadget.failed, &ends->gadget.error);
    STORES_OK(!ends->host.failed, &ends->host.error);
    gadget = *exchange_counts(ends->gadget.exchange);
    ends_disconnect(ends);
    stored = ends_count(&ends->gadget, BATCH_HELD);
    assert_int_equal(gadget.taken_batches, stored);
    assert_in_range(stored, 1, 11);
    ends_visit(ends, &host, NULL);
    assert_int_equal(host.sent_batches, 12 - stored);
    assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), 12);
    ends_free(ends);
}

/* The same wherever it fails: batches of many sizes, some of which lie across what is written at once,
 * and each amount of room.  Nothing is said to be stored that is not, nothing comes to harm. */
static void test_disk_full_anywhere(void **state)
{
    static const size_t sizes[] = {900, 700000, 2600000, 65536, 40000, 1500000, 3000, 1048576};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    (void)log_set_level("error");
    for (rlim_t room = 300000; room < 9000000; room += 1900000) {
        struct ends *ends = ends_new(deployment, deployment->tablet, deployment->courier);
        struct rlimit before, small;
        struct exchange_counts gadget;
        struct label label;

        for (unsigned i = 0; i < COUNT; i++)
            stores_add(ends->host.store, &label, "t1", "server", i + 1, i, sizes[i]);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        small = before;
        small.rlim_cur = room;
        ends_connect(ends);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        ends_run(ends);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        STORES_OK(!ends->gadget.failed, &ends->gadget.error);
        STORES_OK(!ends->host.failed, &ends->host.error);
        gadget = *exchange_counts(ends->gadget.exchange);
        ends_disconnect(ends);
        assert_int_equal(gadget.taken_batches, ends_count(&ends->gadget, BATCH_HELD));
        ends_visit(ends, NULL, NULL);
        assert_int_equal(ends_count(&ends->gadget, BATCH_HELD), COUNT);
        assert_int_equal(ends_count(&ends->gadget, BATCH_PARTIAL), 0);
        ends_free(ends);
    }
    (void)log_set_level("info");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_frames),        cmocka_unit_test(test_skipped),
        cmocka_unit_test(test_greeting),          cmocka_unit_test(test_deep),
        cmocka_unit_test(test_applied_of_others), cmocka_unit_test(test_altered),
        cmocka_unit_test(test_disk_full),         cmocka_unit_test(test_disk_full_anywhere),
    };

    return cmocka_run_group_tests_name("exchange_faults", tests, make, drop);
}
