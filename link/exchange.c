/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/exchange_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct exchange *exchange_new(const struct exchange_options *options,
                              const struct exchange_role *role, size_t state_bytes,
                              struct error *error)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);

    if (exchange != NULL)
        exchange->state = calloc(1, state_bytes);
    if (exchange == NULL || exchange->state == NULL) {
        error_set(error, ERROR_FAILED, "exchange: no memory");
        free(exchange);
        return NULL;
    }
    exchange->options = *options;
    exchange->role = role;
    exchange->phase = EXCHANGE_GREETING;
    return exchange;
}

int exchange_keep(struct exchange *exchange, struct error *error)
{
    int result = 0;

    if (exchange->taking != NULL && taking_commit(exchange->taking, &exchange->out, error) != 0)
        result = -1;
    if (exchange->offering != NULL && offering_keep(exchange->offering, error) != 0)
        result = -1;
    return result;
}

int exchange_note_visit(struct exchange *exchange, struct error *error)
{
    const struct station *peer = exchange->options.peer;
    struct store *store = exchange->options.store;
    int result;

    if (exchange->noted || !exchange->greeted)
        return 0;
    exchange->noted = true;
    if (store_begin(store, error) != 0) {
        result = -1;
    } else if (peers_visited(store, exchange->peer_hello.store, peer->name, role_name(peer->role),
                             error) != 0) {
        store_rollback(store);
        result = -1;
    } else {
        result = store_commit(store, error);
    }
    if (result != 0 && error->kind == ERROR_FULL) {
        log_warning("%s", error->text);
        result = 0;
    }
    return result;
}

void exchange_free(struct exchange *exchange)
{
    struct error error;

    if (exchange == NULL)
        return;
    (void)exchange_keep(exchange, NULL);
    if (exchange_note_visit(exchange, &error) != 0)
        log_warning("%s", error.text);
    taking_free(exchange->taking);
    offering_free(exchange->offering);
    buffer_free(&exchange->out);
    free(exchange->state);
    free(exchange);
}

enum exchange_phase exchange_phase(const struct exchange *exchange)
{
    return exchange->phase;
}

const struct exchange_counts *exchange_counts(const struct exchange *exchange)
{
    return &exchange->counts;
}

void exchange_finish(struct exchange *exchange)
{
    exchange->finish = true;
}

void exchange_again(struct exchange *exchange)
{
    exchange->role->again(exchange);
}

/* ---- greeting ---- */

int exchange_hello(struct exchange *exchange, const struct cursor *cursor, struct error *error)
{
    struct hello hello = {.protocol = MESSAGE_PROTOCOL,
                          .crl = trust_number(exchange->options.trust),
                          .cursor = *cursor};

    memcpy(hello.store, store_uuid(exchange->options.store), sizeof hello.store);
    if (store_free_bytes(exchange->options.store, &hello.free_bytes, error) != 0)
        return -1;
    return message_hello(&exchange->out, &hello, error);
}

int exchange_give_list(struct exchange *exchange, struct error *error)
{
    struct buffer der = {.limit = FRAME_PAYLOAD_MAX_BYTES};
    uint64_t number;
    int result = 0;

    if (trust_number(exchange->options.trust) <= exchange->peer_hello.crl)
        return 0;
    if (peers_crl(exchange->options.store, &number, &der, error) != 0)
        result = -1;
    else if (number > exchange->peer_hello.crl)
        result = frame_encode(&exchange->out, FRAME_REVOKED, 0, der.data, der.length, error);
    buffer_free(&der);
    return result;
}

static int keep_list(struct exchange *exchange, const struct frame *frame, uint64_t number,
                     struct error *error)
{
    struct store *store = exchange->options.store;

    if (store_begin(store, error) != 0)
        return -1;
    if (peers_set_crl(store, number, frame->payload, frame->size, error) != 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, error);
}

static int take_list(struct exchange *exchange, const struct frame *frame, struct error *error)
{
    const struct exchange_options *options = &exchange->options;
    struct station station;
    uint64_t number;
    int taken;

    if (exchange->list_came)
        return exchange_unexpected(frame, error);
    exchange->list_came = true;
    taken = trust_update(options->trust, frame->payload, frame->size, &number, error);
    if (taken <= 0)
        return taken;
    if (keep_list(exchange, frame, number, error) != 0) {
        if (error->kind != ERROR_FULL)
            return -1;
        log_warning("%s", error->text); /* it comes again at the next visit */
    }
    log_info("%s %s: brought revocation list %llu", role_name(options->peer->role),
             options->peer->name, (unsigned long long)number);
    if (options->peer_certificate == NULL)
        return 0;
    return trust_check(options->trust, options->peer_certificate, &station, NULL, error);
}

static int greet(struct exchange *exchange, const struct frame *frame, struct error *error)
{
    struct offering_options offers;
    struct taking_options takes;

    if (exchange->greeted)
        return exchange_unexpected(frame, error);
    if (message_read_hello(frame, &exchange->peer_hello, error) != 0)
        return -1;
    if (exchange->peer_hello.protocol != MESSAGE_PROTOCOL)
        return error_set(error, ERROR_FAILED,
                         "%s %s: speaks protocol version %lld, this program version %d; update the "
                         "older of the two",
                         role_name(exchange->options.peer->role), exchange->options.peer->name,
                         (long long)exchange->peer_hello.protocol, MESSAGE_PROTOCOL);
    offers = exchange->role->offers(exchange);
    takes = exchange->role->takes(exchange);
    exchange->offering = offering_new(&offers, error);
    if (exchange->offering == NULL)
        return -1;
    exchange->taking = taking_new(&takes, error);
    if (exchange->taking == NULL)
        return -1;
    exchange->greeted = true;
    exchange->phase = EXCHANGE_BUSY;
    return exchange->role->greeted(exchange, error);
}

/* ---- good-bye ---- */

static int say_bye(struct exchange *exchange, struct error *error)
{
    if (exchange->said_bye)
        return 0;
    exchange->said_bye = true;
    if (exchange->taking != NULL && taking_commit(exchange->taking, &exchange->out, error) != 0)
        return -1;
    return message_bye(&exchange->out, error);
}

static int hear_bye(struct exchange *exchange, struct error *error)
{
    if (say_bye(exchange, error) != 0)
        return -1;
    exchange->phase = EXCHANGE_OVER;
    return 0;
}

/* The exchange ends with ERROR, which the peer is told. */
static int fail(struct exchange *exchange, const struct error *error)
{
    if (exchange->phase != EXCHANGE_OVER)
        (void)message_error(&exchange->out, error, NULL);
    exchange->phase = EXCHANGE_OVER;
    return -1;
}

/* ---- frames in, frames out ---- */

int exchange_unexpected(const struct frame *frame, struct error *error)
{
    return error_set(error, ERROR_CORRUPT, "peer: frame 0x%02x does not belong here", frame->type);
}

static int receive(struct exchange *exchange, const struct frame *frame, struct error *error)
{
    if (frame->type >= 0x80)
        return 0;
    if (frame->type == FRAME_HELLO)
        return greet(exchange, frame, error);
    if (frame->type == FRAME_BYE)
        return hear_bye(exchange, error);
    if (!exchange->greeted)
        return exchange_unexpected(frame, error);
    switch (frame->type) {
    case FRAME_STORED:
        return offering_stored(exchange->offering, frame, error);
    case FRAME_WANT:
        return exchange->said_bye ? 0 : offering_want(exchange->offering, frame, error);
    case FRAME_DATA:
        return exchange->said_bye ? 0 : taking_data(exchange->taking, frame, &exchange->out, error);
    case FRAME_REVOKED:
        return take_list(exchange, frame, error);
    default:
        /* After our BYE only what confirms counts; the rest was on its way. */
        if (exchange->said_bye && frame->type != FRAME_FREED)
            return 0;
        return exchange->role->receive(exchange, frame, error);
    }
}

int exchange_receive(struct exchange *exchange, const struct frame *frame, struct error *error)
{
    char title[STORE_NAME_BYTES + 16];
    struct error own;

    if (error == NULL)
        error = &own;
    if (exchange->phase == EXCHANGE_OVER)
        return 0;
    if (frame->type == FRAME_ERROR) {
        snprintf(title, sizeof title, "%s %s", role_name(exchange->options.peer->role),
                 exchange->options.peer->name);
        exchange->phase = EXCHANGE_OVER;
        return message_read_error(frame, title, error);
    }
    if (receive(exchange, frame, error) != 0)
        return fail(exchange, error);
    return 0;
}

/* Move the control frames that are due to OUT. */
static int flush_control(struct exchange *exchange, struct buffer *out, struct error *error)
{
    if (buffer_append(out, exchange->out.data, exchange->out.length, error) != 0)
        return -1;
    exchange->out.length = 0;
    return 0;
}

static int send_due(struct exchange *exchange, struct buffer *out, size_t limit,
                    struct error *error)
{
    if (exchange->finish && say_bye(exchange, error) != 0)
        return -1;
    /* A round may end, begin, and have nothing to confirm within one call: a step each. */
    for (unsigned steps = 0; steps < 4 && !exchange->said_bye; steps++) {
        if (exchange->role->step(exchange, error) != 0 || flush_control(exchange, out, error) != 0)
            return -1;
        if (exchange->greeted && offering_send(exchange->offering, out, limit, error) != 0)
            return -1;
    }
    return flush_control(exchange, out, error);
}

int exchange_send(struct exchange *exchange, struct buffer *out, size_t limit, struct error *error)
{
    struct error own;

    if (error == NULL)
        error = &own;
    if (exchange->phase == EXCHANGE_OVER)
        return flush_control(exchange, out, error);
    if (send_due(exchange, out, limit, error) != 0) {
        fail(exchange, error);
        (void)flush_control(exchange, out, NULL);
        return -1;
    }
    return 0;
}

int exchange_tick(struct exchange *exchange, int64_t now_ms, struct error *error)
{
    struct error own;

    if (error == NULL)
        error = &own;
    if (exchange->phase == EXCHANGE_OVER || !exchange->greeted || exchange->said_bye)
        return 0;
    if (taking_tick(exchange->taking, now_ms, &exchange->out, error) != 0 ||
        exchange->role->tick(exchange, now_ms, error) != 0)
        return fail(exchange, error);
    return 0;
}
