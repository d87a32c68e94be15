/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The host's end of the cable: connect again and again until a courier is there, and visit it.  What
 * boda-tablet and boda-dock share.
 */
#ifndef BODA_HOST_CABLE_H
#define BODA_HOST_CABLE_H

#include <stdatomic.h>

#include "link/visit.h"

struct cable_options {
    const char *address;               /* "unix:PATH", or one of host/usb.h */
    const struct store_options *store; /* opened here: the cable runs in a thread of its own */
    const struct identity *identity;   /* read only: shared with other threads */
    const char *own_mail;              /* as exchange_options */
    const char *const *(*tablets)(const char *courier, void *context); /* dock only, may be NULL */

    /* Called with the cable's own store when a round is over, as visit_hooks.idle. May be NULL. */
    int (*idle)(struct store *store, struct trust *trust, void *context, struct error *error);
    /* The same while nobody is plugged in, every 2 s at the least: what came by another way. May be NULL; a fault of
     * it is logged as one of a visit. */
    int (*waiting)(struct store *store, struct trust *trust, void *context, struct error *error);
    void *context;

    bool once;               /* return after one visit in which a last round moved nothing */
    const atomic_bool *stop; /* true: end the session cleanly and return */
};

/* With `once`: 0 after a clean visit, -1 with ERROR_CLOSED when the cable went in the middle.
 * Without: visits couriers one after the other until *stop, waiting 100 ms to 2 s between attempts,
 * on USB less if one is plugged in; a fault of one visit is logged (the same one only once in a row)
 * and the next is tried; 0 when stopped; -1 only for what trying again will not mend (store, identity,
 * address).
 * An address of one device ("usb:BUS:DEV", "usb-fd:N") ends, too, when that has gone for good: 0 if a
 * session with it had come about, else -1 with ERROR_TEMPORARY.
 * Logs for each visit: "courier NAME: connected", "courier NAME: sent N batches, took M, freed K; safe
 * to unplug" when idle begins, "courier NAME: gone; B bytes out, C in" with all bytes of batches that
 * went and came. */
int cable_run(const struct cable_options *options, struct error *error);

#endif
