/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/cable.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "host/usb.h"
#include "host/usb_address.h"
#include "link/socket.h"

#define FIRST_PAUSE_MS 100
#define LAST_PAUSE_MS 2000
#define LAST_SOCKET_PAUSE_MS 200 /* looking for a socket costs nothing */
#define SAID 4 /* faults in turn, of as many couriers that are plugged in at a time */

/* One cable_run. */
struct cable {
    const struct cable_options *options;
    struct store *store;
    struct trust *trust;
    struct usb *usb;                   /* NULL: a Unix socket */
    bool met;                          /* a session came about */
    char said[SAID][ERROR_TEXT_BYTES]; /* the last faults, so that each is logged once in a row */
    unsigned said_next;

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
    cable->met = true;
    memset(cable->said, 0, sizeof cable->said);
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
    struct exchange_counts counts;
    int result;

    /* A list may have come as a file. */
    if (trust_refresh(cable->trust, cable->store, error) != 0)
        log_warning("%s", error->text);
    cable->idle_told = false;
    memset(&cable->counts, 0, sizeof cable->counts);
    result = visit_run(link, &visit_options, &counts, error);
    if (cable->courier[0] != '\0')
        log_info("courier %s: gone; %llu bytes out, %llu in", cable->courier,
                 (unsigned long long)counts.sent_bytes, (unsigned long long)counts.taken_bytes);
    else if (result != 0 && cable->usb != NULL)
        (void)error_prefix(error, "%s", usb_name(cable->usb)); /* it has no other name yet */
    return result;
}

/* A cable that is pulled in the middle is how visits end; any other fault is told, once in a row. */
static void tell_fault(struct cable *cable, const struct error *fault)
{
    if (fault->kind == ERROR_CLOSED && cable->courier[0] != '\0')
        return;
    for (unsigned i = 0; i < SAID; i++) {
        if (strcmp(fault->text, cable->said[i]) == 0)
            return;
    }
    memcpy(cable->said[cable->said_next], fault->text, sizeof cable->said[0]);
    cable->said_next = (cable->said_next + 1) % SAID;
    log_warning("%s", fault->text);
}

/* Wait at most MS, or until a courier may have been plugged in: then true. */
static bool wait_a_little(struct cable *cable, int ms)
{
    static const struct timespec pause = {.tv_nsec = FIRST_PAUSE_MS * 1000000L};

    if (cable->usb != NULL)
        return usb_wait(cable->usb, ms);
    for (int waited = 0; waited < ms && !stopped(cable); waited += FIRST_PAUSE_MS)
        (void)nanosleep(&pause, NULL); /* a signal may cut it short */
    return false;
}

/* A courier's link; NULL with *NOBODY when trying again is all that can be done, *FATAL when that will
 * not mend it. */
static struct link *connect_to(struct cable *cable, bool *nobody, bool *fatal, struct error *error)
{
    struct link *link;

    *nobody = *fatal = false;
    if (cable->usb == NULL) {
        link = socket_connect(cable->options->address, error);
        if (link == NULL) {
            *nobody = error->kind == ERROR_TEMPORARY;
            *fatal = !*nobody;
        }
        return link;
    }
    link = usb_connect(cable->usb, error);
    if (link == NULL) {
        *nobody = error->kind == ERROR_CLOSED || error->kind == ERROR_TEMPORARY;
        if (error->kind == ERROR_TEMPORARY)
            tell_fault(cable, error); /* one is there, but cannot be used now */
    }
    return link;
}

/* One attempt: 1 a visit took place, 0 nobody was there, -1 as visit_run; *FATAL when trying again
 * will not mend it. */
static int attempt(struct cable *cable, bool *fatal, struct error *error)
{
    struct link *link;
    bool nobody;

    cable->courier[0] = '\0';
    link = connect_to(cable, &nobody, fatal, error);
    if (link != NULL)
        return visit(cable, link, error) == 0 ? 1 : -1;
    return nobody ? 0 : -1;
}

/* The one device that was asked for is no more. */
static int end_of_device(const struct cable *cable, struct error *error)
{
    if (cable->met)
        return 0;
    return error_set(error, ERROR_TEMPORARY,
                     "cable %s: the courier has gone before it could be visited; plug it in again",
                     cable->options->address);
}

static int visit_again_and_again(struct cable *cable, struct error *error)
{
    const int last_ms = cable->usb != NULL ? LAST_PAUSE_MS : LAST_SOCKET_PAUSE_MS;
    int pause_ms = FIRST_PAUSE_MS;
    bool fatal;

    while (!stopped(cable)) {
        int result = attempt(cable, &fatal, error), waited = 0;

        if (fatal)
            return -1;
        if (cable->usb != NULL && usb_gone(cable->usb))
            return end_of_device(cable, error);
        if (cable->options->once && result != 0)
            return result > 0 ? 0 : -1;
        if (result >= 0 && cable->options->waiting != NULL)
            waited =
                cable->options->waiting(cable->store, cable->trust, cable->options->context, error);
        if (result < 0 || waited < 0)
            tell_fault(cable, error);
        if (result > 0 || (result < 0 && cable->courier[0] != '\0'))
            pause_ms = FIRST_PAUSE_MS;
        if (wait_a_little(cable, pause_ms))
            pause_ms = FIRST_PAUSE_MS;
        else if (result <= 0)
            pause_ms = pause_ms * 2 > last_ms ? last_ms : pause_ms * 2;
    }
    return cable->options->once
               ? error_set(error, ERROR_TEMPORARY, "cable %s: stopped", cable->options->address)
               : 0;
}

static int open_cable(struct cable *cable, struct error *error)
{
    const struct cable_options *options = cable->options;

    if (usb_address_is(options->address)) {
        cable->usb = usb_open(options->address, options->stop, error);
        if (cable->usb == NULL)
            return -1;
    }
    cable->store = store_open(options->store, error);
    if (cable->store == NULL)
        return -1;
    cable->trust = trust_open(options->identity, cable->store, error);
    return cable->trust != NULL ? 0 : -1;
}

int cable_run(const struct cable_options *options, struct error *error)
{
    struct cable cable = {.options = options};
    struct error own;
    int result;

    if (error == NULL)
        error = &own;
    result = open_cable(&cable, error);
    if (result == 0)
        result = visit_again_and_again(&cable, error);
    trust_free(cable.trust);
    store_close(cable.store);
    usb_close(cable.usb);
    return result;
}
