/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/bulk.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define GREETING_BYTES 16u
#define GREETING_TEXT "BODA USB"
/* A transfer that is not full must not end where a packet of any speed may end. */
#define EDGE_BYTES 64u

_Static_assert(sizeof GREETING_TEXT - 1 + BULK_NONCE_BYTES == GREETING_BYTES,
               "the greeting's parts");

struct transfer {
    unsigned char bytes[BULK_TRANSFER_BYTES];
    size_t length, at; /* what is in it; receiving: how much of that has been read */
    bool flying;
};

/* One way: a ring of transfers.  They are begun in its order, and so they are over in its order. */
struct pipe {
    struct transfer *ring; /* BULK_SLOTS */
    unsigned head; /* sending: the one that is filled now; receiving: the one that is read now */
    unsigned flying;
};

struct bulk {
    struct link link;
    const struct bulk_port *port;
    void *context;
    struct pipe out, in;
    unsigned char greeting[GREETING_BYTES];
    bool has_greeted, was_greeted;
    bool dead;
    struct error fault; /* why */
};

static unsigned next(unsigned slot)
{
    return (slot + 1) % BULK_SLOTS;
}

static int give_fault(const struct bulk *bulk, struct error *error)
{
    if (error != NULL)
        *error = bulk->fault;
    return -1;
}

/* ---- reports ---- */

void bulk_sent(struct bulk *bulk, unsigned slot)
{
    struct transfer *transfer = &bulk->out.ring[slot % BULK_SLOTS];

    if (!transfer->flying)
        return;
    transfer->flying = false;
    transfer->length = 0;
    bulk->out.flying--;
}

void bulk_received(struct bulk *bulk, unsigned slot, size_t length)
{
    struct transfer *transfer = &bulk->in.ring[slot % BULK_SLOTS];

    if (!transfer->flying)
        return;
    transfer->flying = false;
    transfer->length = length < BULK_TRANSFER_BYTES ? length : BULK_TRANSFER_BYTES;
    transfer->at = 0;
    bulk->in.flying--;
}

void bulk_fail(struct bulk *bulk, const struct error *error)
{
    if (bulk->dead)
        return;
    bulk->dead = true;
    bulk->fault = *error;
}

/* Let the port report; its failure is the link's. */
static int turn(struct bulk *bulk, int timeout_ms)
{
    struct error error;

    if (bulk->port->turn(bulk->context, timeout_ms, &error) == 0)
        return 0;
    bulk_fail(bulk, &error);
    return -1;
}

/* ---- sending ---- */

static int begin_to_send(struct bulk *bulk, unsigned slot, size_t length)
{
    struct transfer *transfer = &bulk->out.ring[slot];
    struct error error;

    transfer->length = length;
    transfer->flying = true;
    bulk->out.flying++;
    if (bulk->port->send(bulk->context, slot, transfer->bytes, length, &error) == 0)
        return 0;
    transfer->flying = false;
    bulk->out.flying--;
    bulk_fail(bulk, &error);
    return -1;
}

/* Send what is in the present transfer; where it would end at the edge of a packet, all but its last
 * byte, which begins the next one. */
static void send_present(struct bulk *bulk)
{
    struct transfer *transfer = &bulk->out.ring[bulk->out.head];
    struct transfer *after = &bulk->out.ring[next(bulk->out.head)];
    size_t length = transfer->length;

    if (bulk->dead || transfer->flying || length == 0)
        return;
    if (length < BULK_TRANSFER_BYTES && length % EDGE_BYTES == 0) {
        if (after->flying)
            return; /* no room for the byte yet: with the next completion */
        after->bytes[0] = transfer->bytes[--length];
        after->length = 1;
    }
    if (begin_to_send(bulk, bulk->out.head, length) == 0)
        bulk->out.head = next(bulk->out.head);
}

/* All that has been written is to leave, not only full transfers. */
static void send_all(struct bulk *bulk)
{
    unsigned head;

    do {
        head = bulk->out.head;
        send_present(bulk);
    } while (bulk->out.head != head && bulk->out.ring[bulk->out.head].length > 0);
}

static void greet(struct bulk *bulk)
{
    struct transfer *transfer = &bulk->out.ring[bulk->out.head];

    memcpy(transfer->bytes, bulk->greeting, GREETING_BYTES);
    transfer->length = GREETING_BYTES;
    bulk->has_greeted = true;
    send_present(bulk);
}

static bool has_room(const struct bulk *bulk)
{
    return bulk->has_greeted && !bulk->out.ring[bulk->out.head].flying;
}

static ssize_t bulk_write(struct link *link, const void *bytes, size_t size, struct error *error)
{
    struct bulk *bulk = (struct bulk *)link;
    const unsigned char *from = bytes;
    size_t done = 0;

    if (!has_room(bulk))
        (void)turn(bulk, 0);
    while (done < size && !bulk->dead && has_room(bulk)) {
        struct transfer *transfer = &bulk->out.ring[bulk->out.head];
        size_t part = BULK_TRANSFER_BYTES - transfer->length;

        if (part > size - done)
            part = size - done;
        memcpy(transfer->bytes + transfer->length, from + done, part);
        transfer->length += part;
        done += part;
        if (transfer->length == BULK_TRANSFER_BYTES)
            send_present(bulk);
    }
    if (bulk->dead && done == 0)
        return give_fault(bulk, error);
    return (ssize_t)done;
}

/* ---- receiving ---- */

static void begin_to_receive(struct bulk *bulk, unsigned slot)
{
    struct transfer *transfer = &bulk->in.ring[slot];
    struct error error;

    transfer->length = transfer->at = 0;
    if (bulk->dead)
        return;
    transfer->flying = true;
    bulk->in.flying++;
    if (bulk->port->receive(bulk->context, slot, transfer->bytes, &error) == 0)
        return;
    transfer->flying = false;
    bulk->in.flying--;
    bulk_fail(bulk, &error);
}

/* The present transfer is done with: the next one is read, and it flies again. */
static void next_received(struct bulk *bulk)
{
    unsigned slot = bulk->in.head;

    bulk->in.head = next(slot);
    begin_to_receive(bulk, slot);
}

/* The transfer with bytes to be read now, or NULL.  Empty ones are passed, and all those ahead of the
 * greeting. */
static struct transfer *readable(struct bulk *bulk)
{
    for (unsigned passed = 0; passed <= BULK_SLOTS; passed++) {
        struct transfer *transfer = &bulk->in.ring[bulk->in.head];

        if (transfer->flying)
            return NULL;
        if (bulk->was_greeted && transfer->at < transfer->length)
            return transfer;
        if (!bulk->was_greeted && transfer->length == GREETING_BYTES &&
            memcmp(transfer->bytes, bulk->greeting, GREETING_BYTES) == 0)
            bulk->was_greeted = true;
        if (bulk->dead && transfer->length == 0)
            return NULL; /* none is begun any more: the ring has been read to its end */
        next_received(bulk);
        if (bulk->was_greeted && !bulk->has_greeted)
            greet(bulk);
    }
    return NULL;
}

static ssize_t bulk_read(struct link *link, void *bytes, size_t size, struct error *error)
{
    struct bulk *bulk = (struct bulk *)link;
    unsigned char *to = bytes;
    size_t done = 0;

    if (!bulk->dead && readable(bulk) == NULL) {
        /* Short answers go when nothing else is on its way; a wait sends them in any case. */
        if (bulk->out.flying == 0)
            send_all(bulk);
        (void)turn(bulk, 0);
    }
    while (done < size) {
        struct transfer *transfer = readable(bulk);
        size_t part;

        if (transfer == NULL)
            break;
        part = transfer->length - transfer->at;
        if (part > size - done)
            part = size - done;
        memcpy(to + done, transfer->bytes + transfer->at, part);
        transfer->at += part;
        done += part;
        if (transfer->at == transfer->length)
            next_received(bulk);
    }
    if (done > 0)
        return (ssize_t)done;
    return bulk->dead ? give_fault(bulk, error) : 0;
}

/* ---- waiting ---- */

static bool is_ready(struct bulk *bulk, bool write)
{
    if (bulk->dead || readable(bulk) != NULL)
        return true;
    return write && has_room(bulk);
}

static int bulk_wait(struct link *link, bool write, int timeout_ms, struct error *error)
{
    struct bulk *bulk = (struct bulk *)link;
    int64_t until_ms = clock_ms() + timeout_ms, left_ms = timeout_ms;

    (void)error;
    for (;;) {
        send_all(bulk);
        if (is_ready(bulk, write))
            return 1;
        if (turn(bulk, (int)left_ms) != 0)
            return 1; /* reading tells why */
        if (is_ready(bulk, write))
            return 1;
        left_ms = until_ms - clock_ms();
        if (left_ms <= 0)
            return 0;
    }
}

static int bulk_flush(struct link *link, int timeout_ms, struct error *error)
{
    struct bulk *bulk = (struct bulk *)link;
    int64_t until_ms = clock_ms() + timeout_ms;

    for (;;) {
        int64_t left_ms = until_ms - clock_ms();

        send_all(bulk);
        if (bulk->dead)
            return give_fault(bulk, error);
        if (bulk->out.flying == 0 && bulk->out.ring[bulk->out.head].length == 0)
            return 0;
        if (left_ms <= 0)
            return error_set(error, ERROR_TEMPORARY,
                             "cable: the other side did not take the last bytes within %d ms",
                             timeout_ms);
        (void)turn(bulk, (int)left_ms);
    }
}

/* ---- life ---- */

static void free_rings(struct bulk *bulk)
{
    free(bulk->in.ring);
    free(bulk->out.ring);
}

static void bulk_close(struct link *link)
{
    struct bulk *bulk = (struct bulk *)link;

    if (bulk->port->close(bulk->context) == 0)
        free_rings(bulk);
    free(bulk);
}

static const struct link_operations operations = {
    .read = bulk_read,
    .write = bulk_write,
    .wait = bulk_wait,
    .flush = bulk_flush,
    .close = bulk_close,
};

struct link *bulk_new(const struct bulk_port *port, void *context, enum bulk_side side,
                      const unsigned char nonce[BULK_NONCE_BYTES], struct bulk **bulk_out,
                      struct error *error)
{
    struct bulk *bulk = calloc(1, sizeof *bulk);

    if (bulk != NULL) {
        bulk->in.ring = calloc(BULK_SLOTS, sizeof *bulk->in.ring);
        bulk->out.ring = calloc(BULK_SLOTS, sizeof *bulk->out.ring);
    }
    if (bulk == NULL || bulk->in.ring == NULL || bulk->out.ring == NULL) {
        (void)port->close(context);
        if (bulk != NULL)
            free_rings(bulk);
        free(bulk);
        error_set(error, ERROR_FAILED, "cable: no memory");
        return NULL;
    }
    bulk->link.operations = &operations;
    bulk->port = port;
    bulk->context = context;
    memcpy(bulk->greeting, GREETING_TEXT, sizeof GREETING_TEXT - 1);
    memcpy(bulk->greeting + sizeof GREETING_TEXT - 1, nonce, BULK_NONCE_BYTES);
    if (bulk_out != NULL)
        *bulk_out = bulk;
    for (unsigned slot = 0; slot < BULK_SLOTS; slot++)
        begin_to_receive(bulk, slot);
    if (side == BULK_HOST)
        greet(bulk);
    return &bulk->link;
}
