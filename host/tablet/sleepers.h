/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Connections of MHD that are suspended: in a queue, and, of those that wait for a change of the store, woken when there is
 * one, or when the time has come that their answer named.
 */
#ifndef BODA_HOST_TABLET_SLEEPERS_H
#define BODA_HOST_TABLET_SLEEPERS_H

#include <microhttpd.h>

#include "host/tablet/answer.h"
#include "store/store.h"

#define SLEEPERS_MOST 48u

/* One of them, within the request that it is of. */
struct sleeper {
    struct MHD_Connection *connection;
    struct answer *answer; /* its `wake_ms` is looked at, its `hurry` is set */
    struct sleeper *next;
};

struct sleepers_queue {
    struct sleeper *first, **end;
    unsigned count;
    bool
        resumed; /* a connection was: MHD has work, though no descriptor says so. The caller sets it back */
};

void sleepers_queue_init(struct sleepers_queue *queue);
void sleepers_suspend(struct sleepers_queue *queue, struct sleeper *sleeper);
void sleepers_resume_first(struct sleepers_queue *queue); /* there is one */

struct sleepers {
    struct sleepers_queue queue;
    struct store *store;
    int64_t look_ms,
        version; /* when the store is looked at next; its version as of the last look */
};

void sleepers_init(struct sleepers *sleepers, struct store *store);

/* Before somebody looks whether there is something for him, and sleeps if not: what is committed from now on wakes
 * him. */
void sleepers_before(struct sleepers *sleepers);

/* He sleeps.  One more than SLEEPERS_MOST, and the first of them is resumed, in a hurry. */
void sleepers_add(struct sleepers *sleepers, struct sleeper *sleeper);

/* Resume everybody, or those whose time has come, and everybody when the store has changed; who still has nothing falls
 * asleep again. */
void sleepers_wake_all(struct sleepers *sleepers);
void sleepers_wake_due(struct sleepers *sleepers);

/* For how long to poll at most until sleepers_wake_due; -1: nobody sleeps. */
int sleepers_timeout_ms(const struct sleepers *sleepers);

#endif
