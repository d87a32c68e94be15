/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The gadget's role: it answers (docs/protocol.md, "Exchange").
 */
#include "link/exchange_internal.h"

#include <string.h>

struct gadget {
    bool pulled; /* offers are under way since the last PULL */
};

/* Whose mail the host takes in, and whose batches it gives: its own, or the server's at a dock. */
static const char *host_mail(const struct exchange *exchange)
{
    const struct station *peer = exchange->options.peer;

    return peer->role == ROLE_DOCK ? SERVER_NAME : peer->name;
}

static struct offering_options offers(const struct exchange *exchange)
{
    return (struct offering_options){.store = exchange->options.store,
                                     .to = host_mail(exchange),
                                     .counts = (struct exchange_counts *)&exchange->counts};
}

static struct taking_options takes(const struct exchange *exchange)
{
    const struct station *peer = exchange->options.peer;
    bool dock = peer->role == ROLE_DOCK;

    return (struct taking_options){.store = exchange->options.store,
                                   .peer = peer->name,
                                   .uuid = exchange->peer_hello.store,
                                   .from = host_mail(exchange),
                                   .to = dock ? NULL : SERVER_NAME,
                                   .counts = (struct exchange_counts *)&exchange->counts};
}

static int greeted(struct exchange *exchange, struct error *error)
{
    struct cursor cursor;

    if (peers_cursor(exchange->options.store, exchange->peer_hello.store, &cursor, error) != 0 ||
        exchange_hello(exchange, &cursor, error) != 0)
        return -1;
    return exchange_give_list(exchange, error);
}

static int pull(struct exchange *exchange, const struct frame *frame, struct error *error)
{
    struct gadget *gadget = exchange->state;
    struct cursor cursor;

    if (!offering_settled(exchange->offering) || !taking_settled(exchange->taking))
        return exchange_unexpected(frame, error);
    if (message_read_pull(frame, &cursor, error) != 0)
        return -1;
    gadget->pulled = true;
    return offering_begin(exchange->offering, &cursor, error);
}

/* Drop one batch that the host says is applied; in a transaction. */
static int apply(struct exchange *exchange, const unsigned char *id, struct error *error)
{
    struct store *store = exchange->options.store;
    struct batch batch;
    int found = batches_find(store, id, &batch, error);

    if (found <= 0) /* one that is not known here needs no tombstone: who said it has it */
        return found;
    if (strcmp(batch.label.to, host_mail(exchange)) != 0 &&
        strcmp(batch.label.from, host_mail(exchange)) != 0)
        return error_set(error, ERROR_REFUSED,
                         "peer: says that a batch is applied which %s has sent to %s",
                         batch.label.from, batch.label.to);
    if (batch.state == BATCH_APPLIED)
        return 0;
    if (batches_apply(store, &batch.label, false, error) != 0)
        return -1;
    exchange->counts.freed_batches++;
    return 0;
}

static int applied(struct exchange *exchange, const struct frame *frame, struct error *error)
{
    struct store *store = exchange->options.store;
    unsigned char ids[MESSAGE_PAGE_IDS][BATCH_ID_BYTES];
    uint64_t freed_before = exchange->counts.freed_batches;
    size_t count;

    if (!offering_settled(exchange->offering) || !taking_settled(exchange->taking))
        return exchange_unexpected(frame, error);
    if (message_read_ids(frame, ids, &count, error) != 0 || store_begin(store, error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (apply(exchange, ids[i], error) != 0) {
            store_rollback(store);
            exchange->counts.freed_batches = freed_before;
            return -1;
        }
    if (store_commit(store, error) != 0) {
        exchange->counts.freed_batches = freed_before;
        return -1;
    }
    exchange->phase = EXCHANGE_BUSY;
    return message_ids(&exchange->out, FRAME_FREED, ids, count, error);
}

static int offer(struct exchange *exchange, const struct frame *frame, struct error *error)
{
    if (!offering_settled(exchange->offering))
        return exchange_unexpected(frame, error);
    if (taking_offer(exchange->taking, frame, &exchange->out, error) != 0)
        return -1;
    if (taking_moved(exchange->taking))
        exchange->phase = EXCHANGE_BUSY;
    return 0;
}

static int receive(struct exchange *exchange, const struct frame *frame, struct error *error)
{
    switch (frame->type) {
    case FRAME_OFFER:
        return offer(exchange, frame, error);
    case FRAME_PULL:
        return pull(exchange, frame, error);
    case FRAME_APPLIED:
        return applied(exchange, frame, error);
    case FRAME_PING:
        /* The host is idle, so this end is. */
        if (offering_settled(exchange->offering) && taking_settled(exchange->taking))
            exchange->phase = EXCHANGE_IDLE;
        return frame_encode(&exchange->out, FRAME_PONG, 0, NULL, 0, error);
    default:
        return exchange_unexpected(frame, error);
    }
}

static int step(struct exchange *exchange, struct error *error)
{
    struct gadget *gadget = exchange->state;

    (void)error;
    if (!gadget->pulled)
        return 0;
    if (offering_moved(exchange->offering))
        exchange->phase = EXCHANGE_BUSY;
    if (offering_settled(exchange->offering)) {
        gadget->pulled = false;
        exchange->counts.rounds++;
    }
    return 0;
}

static int tick(struct exchange *exchange, int64_t now_ms, struct error *error)
{
    (void)now_ms;
    return exchange->phase == EXCHANGE_IDLE ? exchange_note_visit(exchange, error) : 0;
}

/* The host drives; there is nothing to begin here. */
static void again(struct exchange *exchange)
{
    (void)exchange;
}

static const struct exchange_role role = {
    .greeted = greeted,
    .receive = receive,
    .step = step,
    .tick = tick,
    .again = again,
    .offers = offers,
    .takes = takes,
};

struct exchange *exchange_gadget_new(const struct exchange_options *options, struct error *error)
{
    return exchange_new(options, &role, sizeof(struct gadget), error);
}
