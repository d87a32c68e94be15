/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The host's role: it drives the rounds (docs/protocol.md, "Exchange").
 */
#include "link/exchange_internal.h"

#include <string.h>

#define PING_MS 1000

enum step {
    GREETING, /* until the courier's HELLO */
    CONFIRM,  /* tell what is applied, page by page, then push */
    CONFIRMING,
    PUSH,
    PULL,
    IDLE
};

struct host {
    enum step step;
    bool hello_said, again;
    uint64_t moved_before; /* what `moved` was when the round began */
    int64_t version;       /* of our store, when the round or idle began */
    int64_t ping_ms;       /* when the last PING went out */
    bool ping;             /* one is due at once */
    size_t ids_count;
    unsigned char ids[MESSAGE_PAGE_IDS][BATCH_ID_BYTES]; /* named in the APPLIED that is out */
};

static struct offering_options offers(const struct exchange *exchange)
{
    const struct exchange_options *options = &exchange->options;
    bool dock = options->self->role == ROLE_DOCK;

    return (struct offering_options){.store = options->store,
                                     .uuid = exchange->peer_hello.store,
                                     .from = dock ? SERVER_NAME : options->self->name,
                                     .tablets = dock ? options->tablets : NULL,
                                     .counts = (struct exchange_counts *)&exchange->counts};
}

static struct taking_options takes(const struct exchange *exchange)
{
    const struct exchange_options *options = &exchange->options;

    return (struct taking_options){.store = options->store,
                                   .peer = options->peer->name,
                                   .uuid = exchange->peer_hello.store,
                                   .to = options->own_mail,
                                   .own_mail = options->own_mail,
                                   .counts = (struct exchange_counts *)&exchange->counts};
}

static uint64_t moved(const struct exchange *exchange)
{
    return exchange->counts.sent_batches + exchange->counts.taken_batches +
           exchange->counts.freed_batches;
}

static int greeted(struct exchange *exchange, struct error *error)
{
    struct host *host = exchange->state;

    host->step = CONFIRM;
    host->moved_before = moved(exchange);
    if (store_version(exchange->options.store, &host->version, error) != 0)
        return -1;
    return exchange_give_list(exchange, error);
}

/* ---- the steps of a round ---- */

static int begin_round(struct exchange *exchange, struct error *error)
{
    struct host *host = exchange->state;

    host->again = false;
    host->moved_before = moved(exchange);
    host->step = CONFIRM;
    exchange->phase = EXCHANGE_BUSY;
    return store_version(exchange->options.store, &host->version, error);
}

static int confirm(struct exchange *exchange, struct error *error)
{
    struct host *host = exchange->state;

    if (peers_applied(exchange->options.store, exchange->peer_hello.store, host->ids,
                      MESSAGE_PAGE_IDS, &host->ids_count, error) != 0)
        return -1;
    if (host->ids_count > 0) {
        host->step = CONFIRMING;
        return message_ids(&exchange->out, FRAME_APPLIED, host->ids, host->ids_count, error);
    }
    host->step = PUSH;
    return offering_begin(exchange->offering, &exchange->peer_hello.cursor, error);
}

static int pull(struct exchange *exchange, struct error *error)
{
    struct host *host = exchange->state;
    struct cursor cursor;

    if (offering_end(exchange->offering, error) != 0 ||
        peers_cursor(exchange->options.store, exchange->peer_hello.store, &cursor, error) != 0)
        return -1;
    host->step = PULL;
    taking_expect(exchange->taking);
    return message_pull(&exchange->out, &cursor, error);
}

/* Another round if this one moved something, if what came shows that the courier carries what is
 * applied here already, or if others have committed since it began, behind what was offered; else
 * idle. */
static int end_round(struct exchange *exchange, struct error *error)
{
    struct host *host = exchange->state;
    int64_t began = host->version;
    size_t count = 0;

    exchange->counts.rounds++;
    if (peers_applied(exchange->options.store, exchange->peer_hello.store, host->ids, 1, &count,
                      error) != 0)
        return -1;
    if (count > 0 || host->again || moved(exchange) != host->moved_before)
        return begin_round(exchange, error);
    if (exchange_note_visit(exchange, error) != 0 ||
        store_version(exchange->options.store, &host->version, error) != 0)
        return -1;
    if (host->version >> 32 != began >> 32)
        return begin_round(exchange, error);
    host->step = IDLE;
    host->ping = true;
    exchange->phase = EXCHANGE_IDLE;
    return 0;
}

static int step(struct exchange *exchange, struct error *error)
{
    static const struct cursor nowhere;
    struct host *host = exchange->state;

    if (!host->hello_said) {
        host->hello_said = true;
        return exchange_hello(exchange, &nowhere, error);
    }
    if (host->step == IDLE && host->again && begin_round(exchange, error) != 0)
        return -1;
    if (host->step == CONFIRM)
        return confirm(exchange, error);
    if (host->step == PUSH && offering_settled(exchange->offering))
        return pull(exchange, error);
    if (host->step == PULL && taking_settled(exchange->taking))
        return end_round(exchange, error);
    return 0;
}

/* ---- what comes ---- */

/* FREED names what APPLIED did. */
static int freed(struct exchange *exchange, const struct frame *frame, struct error *error)
{
    struct host *host = exchange->state;
    struct store *store = exchange->options.store;
    unsigned char ids[MESSAGE_PAGE_IDS][BATCH_ID_BYTES];
    size_t count;

    if (host->step != CONFIRMING)
        return exchange_unexpected(frame, error);
    if (message_read_ids(frame, ids, &count, error) != 0)
        return -1;
    if (count != host->ids_count || memcmp(ids, host->ids, count * sizeof ids[0]) != 0)
        return error_set(error, ERROR_CORRUPT, "peer: confirms other batches than were named");
    if (store_begin(store, error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (peers_confirmed(store, exchange->peer_hello.store, ids[i], error) != 0) {
            store_rollback(store);
            return -1;
        }
    if (store_commit(store, error) != 0)
        return -1;
    exchange->counts.freed_batches += count;
    host->step = CONFIRM;
    return 0;
}

static int receive(struct exchange *exchange, const struct frame *frame, struct error *error)
{
    struct host *host = exchange->state;

    switch (frame->type) {
    case FRAME_OFFER:
        if (host->step != PULL || taking_settled(exchange->taking))
            return exchange_unexpected(frame, error);
        return taking_offer(exchange->taking, frame, &exchange->out, error);
    case FRAME_FREED:
        return freed(exchange, frame, error);
    case FRAME_PONG:
        return 0;
    default:
        return exchange_unexpected(frame, error);
    }
}

static int tick(struct exchange *exchange, int64_t now_ms, struct error *error)
{
    struct host *host = exchange->state;
    int64_t version;

    if (host->step != IDLE)
        return 0;
    if (store_version(exchange->options.store, &version, error) != 0)
        return -1;
    if (version != host->version)
        host->again = true;
    if (!host->ping && now_ms - host->ping_ms < PING_MS)
        return 0;
    host->ping = false;
    host->ping_ms = now_ms;
    return frame_encode(&exchange->out, FRAME_PING, 0, NULL, 0, error);
}

static void again(struct exchange *exchange)
{
    struct host *host = exchange->state;

    host->again = true;
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

struct exchange *exchange_host_new(const struct exchange_options *options, struct error *error)
{
    return exchange_new(options, &role, sizeof(struct host), error);
}
