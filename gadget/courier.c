/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/courier.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define WAIT_MS 1000

struct visit_state {
    const struct courier_options *options;
    char host[STORE_NAME_BYTES + 16]; /* "tablet t1"; "" until the handshake is done */
    uint64_t told_batches;            /* so that an idle that follows nothing is not told again */
    bool told;
};

static uint64_t moved(const struct exchange_counts *counts)
{
    return counts->taken_batches + counts->sent_batches + counts->freed_batches;
}

static void on_peer(const struct station *peer, void *context)
{
    struct visit_state *state = context;

    snprintf(state->host, sizeof state->host, "%s %s", role_name(peer->role), peer->name);
    log_info("%s: connected", state->host);
}

static void tell_counts(const struct visit_state *state, const struct exchange_counts *counts,
                        const char *behind)
{
    log_info("%s: took %llu batches (%llu bytes), gave %llu, freed %llu%s", state->host,
             (unsigned long long)counts->taken_batches, (unsigned long long)counts->taken_bytes,
             (unsigned long long)counts->sent_batches, (unsigned long long)counts->freed_batches,
             behind);
}

static void on_phase(enum exchange_phase phase, const struct exchange_counts *counts, void *context)
{
    struct visit_state *state = context;

    lamp_show(state->options->lamp, phase == EXCHANGE_IDLE   ? LAMP_READY
                                    : phase == EXCHANGE_OVER ? LAMP_OFF
                                                             : LAMP_BUSY);
    if (phase != EXCHANGE_IDLE || (state->told && state->told_batches == moved(counts)))
        return;
    state->told = true;
    state->told_batches = moved(counts);
    tell_counts(state, counts, "; safe to unplug");
}

static bool on_stop(void *context)
{
    const struct visit_state *state = context;

    return atomic_load(state->options->stop);
}

static void serve(const struct courier_options *options, struct link *link)
{
    struct visit_state state = {.options = options};
    const struct visit_options visit = {
        .store = options->store,
        .identity = options->identity,
        .trust = options->trust,
        .side = SESSION_GADGET,
        .roles = 1u << ROLE_TABLET | 1u << ROLE_DOCK,
        .hooks = {.peer = on_peer, .phase = on_phase, .stop = on_stop, .context = &state},
    };
    struct exchange_counts counts;
    struct error error;
    int result;

    lamp_show(options->lamp, LAMP_BUSY);
    /* A list may have come as a file. */
    if (trust_refresh(options->trust, options->store, &error) != 0)
        log_warning("%s", error.text);
    result = visit_run(link, &visit, &counts, &error);
    if (state.host[0] != '\0' && (!state.told || state.told_batches != moved(&counts)))
        tell_counts(&state, &counts,
                    result != 0 ? "; cut off, the next visit goes on" : "; safe to unplug");
    if (result != 0 && (error.kind != ERROR_CLOSED || state.host[0] == '\0'))
        log_warning("%s", error.text);
    if (state.host[0] != '\0')
        log_info("%s: gone", state.host);
    lamp_show(options->lamp, result != 0 && error.kind != ERROR_CLOSED ? LAMP_FAULT : LAMP_OFF);
}

/* The next host served, if one comes within WAIT_MS. */
static int turn(const struct courier_options *options, const sigset_t *usual, struct error *error)
{
    struct link *link = options->accept(options->accept_context, WAIT_MS, usual, error);
    sigset_t blocked;

    if (link == NULL)
        return error->kind == ERROR_TEMPORARY ? 0 : -1;
    pthread_sigmask(SIG_SETMASK, usual, &blocked);
    serve(options, link);
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    return 0;
}

int courier_run(const struct courier_options *options, struct error *error)
{
    sigset_t stopping, usual;
    int result = 0;

    sigemptyset(&stopping);
    sigaddset(&stopping, SIGTERM);
    sigaddset(&stopping, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stopping, &usual);
    while (result == 0 && !atomic_load(options->stop))
        result = turn(options, &usual, error);
    pthread_sigmask(SIG_SETMASK, &usual, NULL);
    if (result == 0)
        log_info("courier %s: stopped", identity_name(options->identity));
    return result;
}
