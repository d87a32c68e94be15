/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/wire.h"

#include <stdlib.h>
#include <string.h>

#define STALE_MOST 4

struct sending {
    const unsigned char *bytes;
    size_t length, at;
    bool flying;
};

struct receiving {
    unsigned char *bytes;
    size_t length;
    bool flying;
};

struct side {
    struct wire *wire;
    struct side *other;
    struct bulk *bulk;
    struct sending out[BULK_SLOTS];
    struct receiving in[BULK_SLOTS];
    unsigned out_at, in_at; /* whose turn it is */
    struct sending stale[STALE_MOST];
    unsigned stale_count, stale_at;
    int closed;
};

struct wire {
    struct side sides[2];
    unsigned packet_bytes;
    uint64_t state;
    bool pulled;
    int close_answer;
};

static unsigned draw(struct wire *wire, unsigned below)
{
    wire->state = wire->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(wire->state >> 33) % below;
}

/* One packet of WHAT to the side that receives; true when it was taken. */
static bool move_packet(struct side *to, struct sending *what)
{
    struct receiving *in = &to->in[to->in_at];
    size_t part = what->length - what->at, room = BULK_TRANSFER_BYTES - in->length;

    if (!in->flying)
        return false;
    if (part > to->wire->packet_bytes)
        part = to->wire->packet_bytes;
    if (part > room)
        abort(); /* a babble: packets divide a transfer */
    memcpy(in->bytes + in->length, what->bytes + what->at, part);
    in->length += part;
    what->at += part;
    if (part < to->wire->packet_bytes || in->length == BULK_TRANSFER_BYTES) {
        in->flying = false;
        bulk_received(to->bulk, to->in_at, in->length);
        to->in_at = (to->in_at + 1) % BULK_SLOTS;
    }
    return true;
}

static bool move(struct side *from)
{
    struct side *to = from->other;
    struct sending *what = &from->out[from->out_at];

    if (to->bulk == NULL)
        return false;
    if (to->stale_at < to->stale_count) {
        struct sending *stale = &to->stale[to->stale_at];

        if (!move_packet(to, stale))
            return false;
        if (stale->at == stale->length)
            to->stale_at++;
        return true;
    }
    if (!what->flying || !move_packet(to, what))
        return false;
    if (what->at == what->length) {
        unsigned slot = from->out_at;

        what->flying = false;
        from->out_at = (slot + 1) % BULK_SLOTS;
        bulk_sent(from->bulk, slot);
    }
    return true;
}

static int port_send(void *context, unsigned slot, const unsigned char *bytes, size_t length,
                     struct error *error)
{
    struct side *side = context;

    if (side->wire->pulled)
        return error_set(error, ERROR_CLOSED, "cable: unplugged");
    if (length == 0 || length > BULK_TRANSFER_BYTES || side->out[slot].flying)
        abort();
    side->out[slot] = (struct sending){.bytes = bytes, .length = length, .flying = true};
    return 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): it is written to later */
static int port_receive(void *context, unsigned slot, unsigned char *bytes, struct error *error)
{
    struct side *side = context;

    if (side->wire->pulled)
        return error_set(error, ERROR_CLOSED, "cable: unplugged");
    if (side->in[slot].flying)
        abort();
    side->in[slot] = (struct receiving){.bytes = bytes, .flying = true};
    return 0;
}

static int port_turn(void *context, int timeout_ms, struct error *error)
{
    struct side *side = context;
    unsigned packets = 1 + draw(side->wire, 64);

    (void)timeout_ms;
    if (side->wire->pulled)
        return error_set(error, ERROR_CLOSED, "cable: unplugged");
    while (packets-- > 0)
        (void)move(draw(side->wire, 2) != 0 ? side : side->other);
    return 0;
}

static int port_close(void *context)
{
    struct side *side = context;

    side->closed++;
    side->bulk = NULL;
    memset(side->in, 0, sizeof side->in);
    memset(side->out, 0, sizeof side->out);
    return side->wire->close_answer;
}

struct wire *wire_new(unsigned packet_bytes, uint64_t seed)
{
    struct wire *wire = calloc(1, sizeof *wire);

    if (wire == NULL)
        abort();
    wire->packet_bytes = packet_bytes;
    wire->state = seed;
    for (int i = 0; i < 2; i++) {
        wire->sides[i].wire = wire;
        wire->sides[i].other = &wire->sides[1 - i];
    }
    return wire;
}

void wire_free(struct wire *wire)
{
    free(wire);
}

struct link *wire_link(struct wire *wire, enum bulk_side side,
                       const unsigned char nonce[BULK_NONCE_BYTES])
{
    static const struct bulk_port port = {
        .send = port_send, .receive = port_receive, .turn = port_turn, .close = port_close};

    return bulk_new(&port, &wire->sides[side], side, nonce, &wire->sides[side].bulk, NULL);
}

void wire_put_stale(struct wire *wire, enum bulk_side side, const void *bytes, size_t size)
{
    struct side *to = &wire->sides[side];

    if (to->stale_count == STALE_MOST)
        abort();
    to->stale[to->stale_count++] = (struct sending){.bytes = bytes, .length = size};
}

void wire_pull(struct wire *wire)
{
    wire->pulled = true;
}

void wire_keep(struct wire *wire, int answer)
{
    wire->close_answer = answer;
}

int wire_closed(const struct wire *wire, enum bulk_side side)
{
    return wire->sides[side].closed;
}
