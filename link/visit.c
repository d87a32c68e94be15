/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/visit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

#define READ_BYTES (64u << 10)
/* DATA is not begun above the first, and nothing is read above the second: what the peer can make
 * this side say is bounded too. */
#define SEND_BYTES (128u << 10)
#define STOP_READING_BYTES (256u << 10)
#define TICK_MS 100
#define FAREWELL_MS 1000

struct visit {
    const struct visit_options *options;
    struct session *session;
    struct exchange *exchange;
    struct buffer in, out;
    size_t sent; /* how much of `out` the session has taken */
    enum exchange_phase phase;
    int64_t heard_ms, tick_ms, finish_ms; /* finish_ms: when BYE was asked for, 0: not yet */
    bool cannot_write;                    /* the peer has gone; what it said last is still read */
    size_t lost_bytes;                    /* of `out`, when that was seen */
};

static size_t pending(const struct visit *visit)
{
    return visit->out.length - visit->sent;
}

/* ---- moving bytes: each returns 1 when something moved, 0 when not, -1 ---- */

static int write_out(struct visit *visit, struct error *error)
{
    int moved = 0;
    ssize_t put;

    while (pending(visit) > 0 && !visit->cannot_write) {
        put = session_write(visit->session, visit->out.data + visit->sent, pending(visit), error);
        if (put < 0 && error->kind != ERROR_CLOSED)
            return -1;
        if (put < 0)
            visit->cannot_write = true;
        if (put <= 0)
            break;
        visit->sent += (size_t)put;
        moved = 1;
    }
    if (visit->cannot_write || pending(visit) == 0) {
        visit->lost_bytes += pending(visit);
        visit->out.length = 0;
        visit->sent = 0;
    } else if (visit->sent > SEND_BYTES) {
        buffer_consume(&visit->out, visit->sent);
        visit->sent = 0;
    }
    return moved;
}

static int feed(struct visit *visit, struct error *error)
{
    struct frame frame;
    size_t at = 0, used;
    int got;

    while ((got = frame_decode(visit->in.data + at, visit->in.length - at, &frame, &used, error)) ==
           1) {
        at += used;
        if (exchange_receive(visit->exchange, &frame, error) != 0)
            return -1;
        if (exchange_phase(visit->exchange) == EXCHANGE_OVER)
            break;
    }
    buffer_consume(&visit->in, at);
    /* A frame of a megabyte is rare: its memory is given back. */
    if (visit->in.length == 0 && visit->in.capacity > 4 * READ_BYTES)
        buffer_free(&visit->in);
    return got < 0 ? -1 : 0;
}

static int read_in(struct visit *visit, struct error *error)
{
    ssize_t got;
    int moved = 0;

    if (pending(visit) >= STOP_READING_BYTES)
        return 0;
    if (buffer_reserve(&visit->in, READ_BYTES, error) != 0)
        return -1;
    /* Record after record, so that frames are moved once a read and not once a record. */
    for (size_t room = READ_BYTES; room > 0; room -= (size_t)got) {
        got = session_read(visit->session, visit->in.data + visit->in.length, room, error);
        if (got < 0 && moved == 0)
            return -1;
        if (got <= 0)
            break;
        visit->in.length += (size_t)got;
        moved = 1;
    }
    if (moved == 0)
        return 0;
    visit->heard_ms = clock_ms();
    return feed(visit, error) != 0 ? -1 : 1;
}

/* ---- what the caller is told and asked ---- */

static void tell_phase(struct visit *visit)
{
    const struct visit_hooks *hooks = &visit->options->hooks;
    enum exchange_phase phase = exchange_phase(visit->exchange);

    if (phase == visit->phase)
        return;
    visit->phase = phase;
    if (hooks->phase != NULL)
        hooks->phase(phase, exchange_counts(visit->exchange), hooks->context);
}

/* Idle has begun: let the host work with what came. */
static int work(struct visit *visit, struct error *error)
{
    const struct visit_hooks *hooks = &visit->options->hooks;
    int more = 0;

    if (visit->options->side != SESSION_HOST)
        return 0;
    if (hooks->idle != NULL) {
        more = hooks->idle(hooks->context, error);
        visit->heard_ms = clock_ms(); /* nobody listened during that */
    }
    if (more < 0)
        return -1;
    if (more > 0)
        exchange_again(visit->exchange);
    else if (visit->options->once)
        exchange_finish(visit->exchange);
    return 0;
}

static int tick(struct visit *visit, int64_t now_ms, bool silent, struct error *error)
{
    const struct visit_hooks *hooks = &visit->options->hooks;
    int silence_ms =
        visit->options->silence_ms != 0 ? visit->options->silence_ms : VISIT_SILENCE_MS;

    visit->tick_ms = now_ms;
    if (visit->finish_ms == 0 && hooks->stop != NULL && hooks->stop(hooks->context)) {
        visit->finish_ms = now_ms;
        exchange_finish(visit->exchange);
    }
    /* Only when nothing was there to be read: a slow disk of our own is not the peer's silence. */
    if (silent && now_ms - visit->heard_ms > silence_ms)
        return error_set(error, ERROR_CLOSED, "%s %s: said nothing for %d ms",
                         role_name(session_peer(visit->session)->role),
                         session_peer(visit->session)->name, silence_ms);
    return exchange_tick(visit->exchange, now_ms, error);
}

/* ---- the pump ---- */

/* The last bytes out; what still comes is read, so that the peer is free to read ours. */
static void farewell(struct visit *visit)
{
    int64_t until = clock_ms() + FAREWELL_MS;
    unsigned char ignored[4096];
    struct error error;

    /* Control frames only: a limit of 0 lets no DATA be begun. */
    if (!visit->cannot_write)
        (void)exchange_send(visit->exchange, &visit->out, 0, &error);
    while (pending(visit) > 0 && !visit->cannot_write && clock_ms() < until) {
        int moved = write_out(visit, &error);

        if (moved < 0 || session_read(visit->session, ignored, sizeof ignored, &error) < 0)
            break;
        if (moved == 0 && session_wait(visit->session, true, 10, &error) < 0)
            break;
    }
}

static int rest(struct visit *visit, struct error *error)
{
    static const struct timespec moment = {.tv_nsec = 2000000};

    /* The wait would return at once for bytes that are not to be read now. */
    if (pending(visit) >= STOP_READING_BYTES) {
        nanosleep(&moment, NULL);
        return 0;
    }
    return session_wait(visit->session, pending(visit) > 0, TICK_MS, error) < 0 ? -1 : 0;
}

/* Bytes both ways until the exchange is over; then 0, or -1 with the fault. */
static int pump(struct visit *visit, struct error *error)
{
    for (;;) {
        int moved = read_in(visit, error), wrote;
        int64_t now_ms = clock_ms();

        if (moved < 0)
            return -1;
        if (exchange_phase(visit->exchange) == EXCHANGE_OVER)
            return 0;
        if (visit->finish_ms != 0 && now_ms - visit->finish_ms > FAREWELL_MS)
            return 0; /* asked to stop, and the peer does not answer */
        if ((moved == 0 || now_ms - visit->tick_ms >= TICK_MS) &&
            tick(visit, now_ms, moved == 0, error) != 0)
            return -1;
        if (!visit->cannot_write &&
            exchange_send(visit->exchange, &visit->out, visit->sent + SEND_BYTES, error) != 0)
            return -1;
        wrote = write_out(visit, error);
        if (wrote < 0)
            return -1;
        if (exchange_phase(visit->exchange) != visit->phase) {
            tell_phase(visit);
            if (visit->phase == EXCHANGE_IDLE && work(visit, error) != 0)
                return -1;
            continue;
        }
        if (moved == 0 && wrote == 0 && rest(visit, error) != 0)
            return -1;
    }
}

static int run(struct visit *visit, struct error *error)
{
    const struct visit_options *options = visit->options;
    const struct visit_hooks *hooks = &options->hooks;
    const struct station *peer = session_peer(visit->session);
    struct station self = {.role = identity_role(options->identity)};
    struct exchange_options exchange_options = {
        .store = options->store,
        .trust = options->trust,
        .self = &self,
        .peer = peer,
        .peer_certificate = session_certificate(visit->session),
        .own_mail = options->own_mail,
    };
    struct error lost;
    bool at_fault;
    int result;

    strncpy(self.name, identity_name(options->identity), sizeof self.name - 1);
    strncpy(self.user, identity_user(options->identity), sizeof self.user - 1);
    if (options->tablets != NULL)
        exchange_options.tablets = options->tablets(peer->name, hooks->context);
    visit->exchange = options->side == SESSION_HOST ? exchange_host_new(&exchange_options, error)
                                                    : exchange_gadget_new(&exchange_options, error);
    if (visit->exchange == NULL)
        return -1;
    if (hooks->peer != NULL)
        hooks->peer(peer, hooks->context);
    visit->phase = EXCHANGE_GREETING;
    visit->heard_ms = clock_ms();
    result = pump(visit, error);
    /* Exchange faults have put an ERROR frame into its output; a good-bye its BYE.  A fault is told
     * first: a store that is at fault may take long over what follows, and the peer would give up. */
    at_fault = result != 0 && error->kind != ERROR_CLOSED;
    if (at_fault) {
        farewell(visit);
        (void)session_flush(visit->session, FAREWELL_MS, &lost);
    }
    if (exchange_keep(visit->exchange, &lost) != 0)
        log_warning("%s %s: what came last was not kept: %s", role_name(peer->role), peer->name,
                    lost.text);
    if (!at_fault)
        farewell(visit);
    if (visit->lost_bytes + pending(visit) > 0)
        log_debug("frame: %zu bytes did not go any more", visit->lost_bytes + pending(visit));
    tell_phase(visit);
    return result;
}

int visit_run(struct link *link, const struct visit_options *options,
              struct exchange_counts *counts, struct error *error)
{
    struct visit visit = {.options = options};
    struct error own;
    int result;

    if (error == NULL)
        error = &own;
    if (counts != NULL)
        memset(counts, 0, sizeof *counts);
    visit.session = session_open(
        link, options->side, options->identity, options->trust, options->roles,
        options->handshake_ms != 0 ? options->handshake_ms : VISIT_HANDSHAKE_MS, error);
    if (visit.session == NULL)
        return -1;
    result = run(&visit, error);
    if (counts != NULL && visit.exchange != NULL)
        *counts = *exchange_counts(visit.exchange);
    exchange_free(visit.exchange);
    session_close(visit.session);
    buffer_free(&visit.in);
    buffer_free(&visit.out);
    return result;
}
