/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/sleepers.h"

#include "base/clock.h"

#define LOOK_MS 500 /* for a change, while somebody waits for one */

void sleepers_queue_init(struct sleepers_queue *queue)
{
    *queue = (struct sleepers_queue){.end = &queue->first};
}

static void put_last(struct sleepers_queue *queue, struct sleeper *sleeper)
{
    sleeper->next = NULL;
    *queue->end = sleeper;
    queue->end = &sleeper->next;
    queue->count++;
}

void sleepers_suspend(struct sleepers_queue *queue, struct sleeper *sleeper)
{
    put_last(queue, sleeper);
    MHD_suspend_connection(sleeper->connection);
}

static struct sleeper *take_first(struct sleepers_queue *queue)
{
    struct sleeper *sleeper = queue->first;

    queue->first = sleeper->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    queue->count--;
    return sleeper;
}

void sleepers_resume_first(struct sleepers_queue *queue)
{
    struct sleeper *sleeper = take_first(queue);

    queue->resumed = true;
    MHD_resume_connection(sleeper->connection);
}

void sleepers_init(struct sleepers *sleepers, struct store *store)
{
    *sleepers = (struct sleepers){.store = store};
    sleepers_queue_init(&sleepers->queue);
}

void sleepers_before(struct sleepers *sleepers)
{
    /* While somebody sleeps, the version is that of a look before: older, or the same. */
    if (sleepers->queue.count == 0 && store_version(sleepers->store, &sleepers->version, NULL) != 0)
        sleepers->version = -1; /* no version: the next look finds a change */
}

void sleepers_add(struct sleepers *sleepers, struct sleeper *sleeper)
{
    if (sleepers->queue.count == 0)
        sleepers->look_ms = clock_ms() + LOOK_MS;
    sleepers_suspend(&sleepers->queue, sleeper);
    if (sleepers->queue.count > SLEEPERS_MOST) {
        sleepers->queue.first->answer->hurry = true;
        sleepers_resume_first(&sleepers->queue);
    }
}

void sleepers_wake_all(struct sleepers *sleepers)
{
    while (sleepers->queue.first != NULL)
        sleepers_resume_first(&sleepers->queue);
}

/* Whether the store is another than when it was looked at last; it is looked at now and then. */
static bool has_changed(struct sleepers *sleepers)
{
    int64_t version;

    if (clock_ms() < sleepers->look_ms)
        return false;
    sleepers->look_ms = clock_ms() + LOOK_MS;
    if (store_version(sleepers->store, &version, NULL) != 0)
        return true;
    if (version == sleepers->version)
        return false;
    sleepers->version = version;
    return true;
}

void sleepers_wake_due(struct sleepers *sleepers)
{
    struct sleepers_queue *queue = &sleepers->queue;
    unsigned left = queue->count;
    int64_t now_ms = clock_ms();

    if (left == 0)
        return;
    if (has_changed(sleepers)) {
        sleepers_wake_all(sleepers);
        return;
    }
    /* Once around; the order stays. */
    for (; left > 0; left--)
        if (queue->first->answer->wake_ms <= now_ms)
            sleepers_resume_first(queue);
        else
            put_last(queue, take_first(queue));
}

int sleepers_timeout_ms(const struct sleepers *sleepers)
{
    int64_t soonest_ms = sleepers->look_ms, now_ms;

    if (sleepers->queue.count == 0)
        return -1;
    for (const struct sleeper *sleeper = sleepers->queue.first; sleeper != NULL;
         sleeper = sleeper->next)
        if (sleeper->answer->wake_ms < soonest_ms)
            soonest_ms = sleeper->answer->wake_ms;
    now_ms = clock_ms();
    return soonest_ms > now_ms ? (int)(soonest_ms - now_ms) : 0;
}
