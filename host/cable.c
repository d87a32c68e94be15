/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/cable.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "link/socket.h"

#define FIRST_PAUSE_MS 100
#define LAST_PAUSE_MS 2000

/* One cable_run. */
struct cable {
    const struct cable_options *options;
    struct store *store;
    struct trust *trust;
    char said
        [ERROR_TEXT_BYTES]; /* the fault of the last visit, so that it is logged once in a row */

    /* of the present visit */
    char courier[STORE_NAME_BYTES]; /* "" until the handshake is done */
    struct exchange_counts counts, told;
    bool idle_told;
};

static bool stopped(const struct cable *cable)
{
    return cable->options->stop != NULL && atomic_load(cable->options->stop);
}

static void on_peer(const struct station *peer, void *context)
{
    struct cable *cable = context;

    (void)snprintf(cable->courier, sizeof cable->courier, "%s", peer->name);
    cable->said[0] = '\0';
    log_info("courier %s: connected", cable->courier);
}

static void on_phase(enum exchange_phase phase, const struct exchange_counts *counts, void *context)
{
    struct cable *cable = context;

    (void)phase;
    cable->counts = *counts;
}

static void tell_idle(struct cable *cable)
{
    const struct exchange_counts *counts = &cable->counts, *told = &cable->told;

    if (cable->idle_told && counts->sent_batches == told->sent_batches &&
        counts->taken_batches == told->taken_batches &&
        counts->freed_batches == told->freed_batches)
        return;
    cable->idle_told = true;
    cable->told = *counts;
    log_info("courier %s: sent %llu batches, took %llu, freed %llu; safe to unplug", cable->courier,
             (unsigned long long)counts->sent_batches, (unsigned long long)counts->taken_batches,
             (unsigned long long)counts->freed_batches);
}

/* The station's own work comes first: what it makes of what came goes out before it is safe. */
static int on_idle(void *context, struct error *error)
{
    struct cable *cable = context;
    const struct cable_options *options = cable->options;
    int more = 0;

    if (options->idle != NULL)
        more = options->idle(cable->store, cable->trust, options->context, error);
    if (more == 0)
        tell_idle(cable);
    return more;
}

static bool on_stop(void *context)
{
    return stopped(context);
}

static const char *const *tablets_of(const char *courier, void *context)
{
    const struct cable *cable = context;

    return cable->options->tablets(courier, cable->options->context);
}

static int visit(struct cable *cable, struct link *link, struct error *error)
{
    const struct cable_options *options = cable->options;
    const struct visit_options visit_options = {
        .store = cable->store,
        .identity = options->identity,
        .trust = cable->trust,
        .side = SESSION_HOST,
        .roles = 1u << ROLE_COURIER,
        .own_mail = options->own_mail,
        .tablets = options->tablets != NULL ? tablets_of : NULL,
        .once = options->once,
        .hooks = {.peer = on_peer,
                  .phase = on_phase,
                  .idle = on_idle,
                  .stop = on_stop,
                  .context = cable},
    };
    int result;

    cable->courier[0] = '\0';
    cable->idle_told = false;
    memset(&cable->counts, 0, sizeof cable->counts);
    result = visit_run(link, &visit_options, NULL, error);
    if (cable->courier[0] != '\0')
        log_info("courier %s: gone", cable->courier);
    return result;
}

/* A cable that is pulled in the middle is how visits end; any other fault is told, once in a row. */
static void tell_fault(struct cable *cable, const struct error *fault)
{
    if (fault->kind == ERROR_CLOSED && cable->courier[0] != '\0')
        return;
    if (strcmp(fault->text, cable->said) == 0)
        return;
    memcpy(cable->said, fault->text, sizeof cable->said);
    log_warning("%s", fault->text);
}

static void wait_a_little(int ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    (void)nanosleep(&pause, NULL); /* a signal may cut it short */
}

/* One attempt: 1 a visit took place, 0 nobody was there, -1 as visit_run; *FATAL when trying again
 * will not mend it. */
static int attempt(struct cable *cable, bool *fatal, struct error *error)
{
    struct link *link = socket_connect(cable->options->address, error);

    *fatal = false;
    if (link != NULL)
        return visit(cable, link, error) == 0 ? 1 : -1;
    if (error->kind == ERROR_TEMPORARY)
        return 0;
    *fatal = true;
    return -1;
}

static int visit_again_and_again(struct cable *cable, struct error *error)
{
    int pause_ms = FIRST_PAUSE_MS;
    bool fatal;

    while (!stopped(cable)) {
        int result = attempt(cable, &fatal, error);

        if (fatal)
            return -1;
        if (cable->options->once && result != 0)
            return result > 0 ? 0 : -1;
        if (result < 0)
            tell_fault(cable, error);
        if (result > 0 || (result < 0 && cable->courier[0] != '\0'))
            pause_ms = FIRST_PAUSE_MS;
        for (int waited = 0; waited < pause_ms && !stopped(cable); waited += FIRST_PAUSE_MS)
            wait_a_little(FIRST_PAUSE_MS);
        if (result <= 0)
            pause_ms = pause_ms * 2 > LAST_PAUSE_MS ? LAST_PAUSE_MS : pause_ms * 2;
    }
    return cable->options->once
               ? error_set(error, ERROR_TEMPORARY, "cable %s: stopped", cable->options->address)
               : 0;
}

int cable_run(const struct cable_options *options, struct error *error)
{
    struct cable cable = {.options = options};
    struct error own;
    int result = -1;

    if (error == NULL)
        error = &own;
    cable.store = store_open(options->store, error);
    if (cable.store != NULL)
        cable.trust = trust_open(options->identity, cable.store, error);
    if (cable.trust != NULL)
        result = visit_again_and_again(&cable, error);
    trust_free(cable.trust);
    store_close(cable.store);
    return result;
}
