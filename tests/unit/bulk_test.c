/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Streams over two bulk pipes: what is written is read, whole and in order, with packets of every speed;
 * nothing waits for bytes that may never come; a dead session's bytes are dropped; a pulled cable.
 */
#include "link/bulk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support/wire.h"

#define STREAM_BYTES 1500000u

static const unsigned char nonce[BULK_NONCE_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8};
static const unsigned char other_nonce[BULK_NONCE_BYTES] = {1, 2, 3, 4, 5, 6, 7, 9};
static const unsigned packets[] = {64, 512, 1024};

struct ends {
    struct wire *wire;
    struct link *links[2];
};

static void open_ends(struct ends *ends, unsigned packet_bytes, uint64_t seed)
{
    ends->wire = wire_new(packet_bytes, seed);
    ends->links[BULK_HOST] = wire_link(ends->wire, BULK_HOST, nonce);
    ends->links[BULK_GADGET] = wire_link(ends->wire, BULK_GADGET, nonce);
    assert_non_null(ends->links[BULK_HOST]);
    assert_non_null(ends->links[BULK_GADGET]);
}

static void close_ends(struct ends *ends)
{
    for (int i = 0; i < 2; i++)
        ends->links[i]->operations->close(ends->links[i]);
    assert_int_equal(wire_closed(ends->wire, BULK_HOST), 1);
    assert_int_equal(wire_closed(ends->wire, BULK_GADGET), 1);
    wire_free(ends->wire);
}

static unsigned char byte_at(size_t at, int from)
{
    return (unsigned char)((at * 2654435761u >> 13) + (unsigned)from);
}

/* One end's stream: writes up to MOST bytes, reads what is there and checks it. */
struct stream {
    struct link *link;
    int side;
    size_t written, read;
};

static bool step(struct stream *stream, size_t most, uint64_t random)
{
    static unsigned char bytes[70000];
    struct error error;
    size_t size = random % sizeof bytes;
    ssize_t done;
    bool moved = false;

    if (size > most - stream->written)
        size = most - stream->written;
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(stream->written + i, stream->side);
    done = size > 0 ? stream->link->operations->write(stream->link, bytes, size, &error) : 0;
    assert_true(done >= 0);
    stream->written += (size_t)done;
    moved = done > 0;
    done = stream->link->operations->read(stream->link, bytes, 1 + random % sizeof bytes, &error);
    assert_true(done >= 0);
    for (ssize_t i = 0; i < done; i++)
        assert_int_equal(bytes[i], byte_at(stream->read + (size_t)i, 1 - stream->side));
    stream->read += (size_t)done;
    return moved || done > 0;
}

static void test_streams(void **state)
{
    (void)state;
    for (size_t p = 0; p < sizeof packets / sizeof packets[0]; p++) {
        for (uint64_t seed = 1; seed <= 8; seed++) {
            struct ends ends;
            struct stream streams[2] = {0};
            uint64_t random = seed;
            int idle = 0;

            open_ends(&ends, packets[p], seed);
            for (int i = 0; i < 2; i++)
                streams[i] = (struct stream){.link = ends.links[i], .side = i};
            while (streams[0].read < STREAM_BYTES || streams[1].read < STREAM_BYTES) {
                struct stream *stream = &streams[random >> 40 & 1];

                random = random * 6364136223846793005u + 1442695040888963407u;
                idle = step(stream, STREAM_BYTES, random >> 33) ? 0 : idle + 1;
                assert_true(idle < 1000);
                if (idle > 0)
                    (void)stream->link->operations->wait(stream->link, true, 0, NULL);
            }
            assert_int_equal(streams[0].read, STREAM_BYTES);
            assert_int_equal(streams[1].read, STREAM_BYTES);
            close_ends(&ends);
        }
    }
}

/* Also a piece that ends at the edge of a packet arrives whole, with nothing after it. */
static void test_nothing_waits_for_more(void **state)
{
    static const size_t sizes[] = {1,    63,    64,    65,    128,   512,   1024,  1536,
                                   4096, 16320, 16383, 16384, 16385, 16448, 32768, 65536};
    static unsigned char bytes[65536], got[65536];
    struct error error;

    (void)state;
    for (size_t p = 0; p < sizeof packets / sizeof packets[0]; p++) {
        struct ends ends;

        open_ends(&ends, packets[p], 3);
        assert_int_equal(ends.links[0]->operations->flush(ends.links[0], 1000, &error), 0);
        for (size_t s = 0; s < 2 * sizeof sizes / sizeof sizes[0]; s++) {
            size_t size = sizes[s / 2], put = 0, have = 0;
            struct link *from = ends.links[s % 2], *to = ends.links[1 - s % 2];
            int turns = 0;

            for (size_t i = 0; i < size; i++)
                bytes[i] = byte_at(i, (int)s);
            while (have < size && turns++ < 10000) {
                ssize_t done = from->operations->write(from, bytes + put, size - put, &error);

                assert_true(done >= 0);
                put += (size_t)done;
                (void)from->operations->wait(from, put < size, 0, &error);
                done = to->operations->read(to, got + have, sizeof got - have, &error);
                assert_true(done >= 0);
                have += (size_t)done;
            }
            assert_int_equal(have, size);
            assert_memory_equal(bytes, got, size);
            assert_int_equal(from->operations->flush(from, 1000, &error), 0);
        }
        close_ends(&ends);
    }
}

/* Stale bytes ahead of the greeting never reach the stream: neither noise, nor another session's
 * greeting and what followed it. */
static void test_stale_bytes(void **state)
{
    static const unsigned char noise[700] = {0x16, 3, 1};
    unsigned char greeting[16] = {'B', 'O', 'D', 'A', ' ', 'U', 'S', 'B'}, got[8];
    struct error error;

    (void)state;
    memcpy(greeting + 8, other_nonce, 8);
    for (int side = 0; side < 2; side++) {
        struct wire *wire = wire_new(512, 5);
        struct link *links[2];
        ssize_t have = 0;

        wire_put_stale(wire, (enum bulk_side)side, noise, sizeof noise);
        wire_put_stale(wire, (enum bulk_side)side, greeting, sizeof greeting);
        wire_put_stale(wire, (enum bulk_side)side, "stale", 5);
        links[0] = wire_link(wire, BULK_HOST, nonce);
        links[1] = wire_link(wire, BULK_GADGET, nonce);
        for (int i = 0; i < 2000 && have == 0; i++) {
            ssize_t put = i == 0 || have != 0 ? 0 : 1;

            if (put != 0 &&
                links[1 - side]->operations->write(links[1 - side], "fresh", 5, &error) == 5)
                (void)links[1 - side]->operations->flush(links[1 - side], 1000, &error);
            (void)links[1 - side]->operations->read(links[1 - side], got, 1, &error);
            have = links[side]->operations->read(links[side], got, 5, &error);
        }
        assert_int_equal(have, 5);
        assert_memory_equal(got, "fresh", 5);
        links[0]->operations->close(links[0]);
        links[1]->operations->close(links[1]);
        wire_free(wire);
    }
}

/* A gadget says nothing before it was greeted: a host may never come. */
static void test_the_gadget_is_silent(void **state)
{
    struct wire *wire = wire_new(512, 5);
    struct link *gadget = wire_link(wire, BULK_GADGET, nonce);
    struct error error;

    (void)state;
    assert_int_equal(gadget->operations->write(gadget, "x", 1, &error), 0);
    assert_int_equal(gadget->operations->wait(gadget, true, 0, &error), 0);
    assert_int_equal(gadget->operations->flush(gadget, 0, &error), 0);
    gadget->operations->close(gadget);
    wire_free(wire);
}

/* What came before the cable was pulled is read, then the error; writing fails at once. */
static void test_pulled(void **state)
{
    struct ends ends;
    struct error error;
    unsigned char got[16];
    ssize_t have = 0;

    (void)state;
    open_ends(&ends, 512, 9);
    assert_int_equal(ends.links[0]->operations->write(ends.links[0], "last words", 10, &error), 10);
    assert_int_equal(ends.links[0]->operations->flush(ends.links[0], 1000, &error), 0);
    wire_pull(ends.wire);
    have = ends.links[1]->operations->read(ends.links[1], got, sizeof got, &error);
    assert_int_equal(have, 10);
    assert_memory_equal(got, "last words", 10);
    assert_int_equal(ends.links[1]->operations->wait(ends.links[1], false, 1000, &error), 1);
    assert_int_equal(ends.links[1]->operations->read(ends.links[1], got, sizeof got, &error), -1);
    assert_int_equal(error.kind, ERROR_CLOSED);
    assert_string_equal(error.text, "cable: unplugged");
    assert_int_equal(ends.links[1]->operations->write(ends.links[1], "x", 1, &error), -1);
    assert_int_equal(error.kind, ERROR_CLOSED);
    assert_int_equal(ends.links[1]->operations->flush(ends.links[1], 1000, &error), -1);
    close_ends(&ends);
}

/* Nobody reads: the writer is stopped by the transfers in flight, and flush by its time-out. */
static void test_nobody_reads(void **state)
{
    static unsigned char bytes[1000000];
    struct wire *wire = wire_new(512, 5);
    struct link *host = wire_link(wire, BULK_HOST, nonce);
    struct error error;
    ssize_t put = host->operations->write(host, bytes, sizeof bytes, &error);

    (void)state;
    assert_in_range(put, 1, BULK_SLOTS * BULK_TRANSFER_BYTES);
    assert_int_equal(host->operations->write(host, bytes, 1, &error), 0);
    assert_int_equal(host->operations->flush(host, 20, &error), -1);
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    host->operations->close(host);
    wire_free(wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),     cmocka_unit_test(test_nothing_waits_for_more),
        cmocka_unit_test(test_stale_bytes), cmocka_unit_test(test_the_gadget_is_silent),
        cmocka_unit_test(test_pulled),      cmocka_unit_test(test_nobody_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
