/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The courier: serves one host after the other, as a cable does.
 */
#ifndef BODA_GADGET_COURIER_H
#define BODA_GADGET_COURIER_H

#include <signal.h>
#include <stdatomic.h>

#include "gadget/lamp.h"
#include "link/visit.h"

struct courier_options {
    /* Where hosts come in (gadget/door.h, gadget/port.h): wait at most TIMEOUT_MS, or until a signal that
     * the mask WAKE lets through (ppoll(2)), for the next one.  A link, or NULL with ERROR_TEMPORARY;
     * any other error ends courier_run. */
    struct link *(*accept)(void *context, int timeout_ms, const sigset_t *wake,
                           struct error *error);
    void *accept_context;
    struct store *store;
    const struct identity *identity;
    struct trust *trust;
    struct lamp *lamp;
    const atomic_bool *stop; /* true: end the session cleanly and return */
};

/* 0 when stopped; -1 for what trying again will not mend.  A fault of one visit is logged.  SIGTERM and
 * SIGINT, whose handlers set `stop`, reach this thread only while it waits for a host or serves one, so
 * that none comes unseen between a look at `stop` and the wait. */
int courier_run(const struct courier_options *options, struct error *error);

#endif
