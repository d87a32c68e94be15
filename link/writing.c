/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/writing.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct writing {
    struct taking_options options;
    struct group_page *page;
    struct group_progress progress; /* as it is in the store */
    struct group *filling, *leaving;
    bool full_told;

    struct store *another; /* the thread's connection; made when it is first needed */
    bool without;          /* no thread can be had */
    bool away;             /* the thread writes LEAVING; what follows is its until it is joined */
    pthread_t thread;
    atomic_bool finished;
    size_t limit;
    struct group_progress reached;
    struct error fault;
    int result;
};

struct writing *writing_new(const struct taking_options *options, struct group_page *page,
                            struct error *error)
{
    struct writing *writing = calloc(1, sizeof *writing);

    if (writing == NULL) {
        error_set(error, ERROR_FAILED, "exchange: no memory");
        return NULL;
    }
    writing->options = *options;
    writing->page = page;
    writing->filling = group_new(error);
    if (writing->filling == NULL ||
        peers_cursor(options->store, options->uuid, &writing->progress.cursor, error) != 0) {
        writing_free(writing);
        return NULL;
    }
    return writing;
}

void writing_free(struct writing *writing)
{
    if (writing == NULL)
        return;
    if (writing->away)
        (void)pthread_join(writing->thread, NULL);
    store_close(writing->another);
    group_free(writing->filling);
    group_free(writing->leaving);
    free(writing);
}

void writing_turn(struct writing *writing)
{
    const struct group_page *page = writing->page;

    writing->progress.walked = 0;
    if (page->count > 0 && page->items[0].offer.position <= writing->progress.blocked_position)
        writing->progress.blocked_position = 0;
}

void writing_add(struct writing *writing, size_t i, const void *bytes, size_t size)
{
    group_add(writing->filling, writing->page, i, bytes, size);
}

bool writing_pending(const struct writing *writing)
{
    return group_pieces(writing->filling) > 0;
}

bool writing_full(const struct writing *writing)
{
    return group_full(writing->filling);
}

/* ---- one transaction ---- */

static struct group_place place(const struct writing *writing, struct store *store)
{
    return (struct group_place){store, writing->options.uuid, writing->options.own_mail};
}

/* The first item that is not to be looked at when GROUP's pieces before END are written: one of a
 * later piece is not whole by then. */
static size_t limit_of(const struct writing *writing, const struct group *group, size_t end)
{
    if (end < group_pieces(group))
        return group_item(group, end);
    if (group != writing->filling && group_pieces(writing->filling) > 0)
        return group_item(writing->filling, 0);
    return writing->page->count;
}

/* GROUP's pieces FIRST up to END are in the store, and REACHED is how far that has brought it. */
static void adopt(struct writing *writing, const struct group *group, size_t first, size_t end,
                  const struct group_progress *reached)
{
    struct group_item *items = writing->page->items;

    for (size_t k = first; k < end; k++)
        if (!items[group_item(group, k)].wrong)
            items[group_item(group, k)].row = true;
    for (size_t i = writing->progress.walked; i < reached->walked; i++)
        if (items[i].verdict == VERDICT_WANTED)
            items[i].verdict = items[i].wrong ? VERDICT_WRONG : VERDICT_STORED;
    writing->progress = *reached;
    writing->options.counts->again_bytes = reached->again_bytes;
}

static int write_pieces(struct writing *writing, const struct group *group, size_t first,
                        size_t end, struct error *error)
{
    const struct group_place here = place(writing, writing->options.store);
    struct group_progress reached = writing->progress;

    if (group_write(group, &here, writing->page, first, end, limit_of(writing, group, end),
                    &reached, error) != 0)
        return -1;
    adopt(writing, group, first, end, &reached);
    return 0;
}

/* ---- a full disk ---- */

/* Keep what still finds room, piece by piece; from the first that does not, all of GROUP is `full`, to
 * be offered again. */
static int write_what_fits(struct writing *writing, struct group *group, struct error *error)
{
    struct group_item *items = writing->page->items;
    size_t i = 0, count = group_pieces(group);

    if (!writing->full_told)
        log_warning("%s: what it brings finds no room: %s", writing->options.peer, error->text);
    writing->full_told = true;
    while (i < count && write_pieces(writing, group, i, i + 1, error) == 0)
        i++;
    if (i < count && error->kind != ERROR_FULL)
        return -1;
    for (; i < count; i++) {
        struct group_item *item = &items[group_item(group, i)];

        if (!item->wrong && item->verdict == VERDICT_WANTED)
            item->verdict = VERDICT_FULL;
    }
    /* Some may have gone on in the group that fills. */
    group_drop_full(writing->filling, writing->page);
    /* The rest, without bytes; when even that finds no room the cursor just stays behind. */
    if (write_pieces(writing, group, count, count, error) != 0 && error->kind != ERROR_FULL)
        return -1;
    return 0;
}

/* What is left of a group that was written with RESULT; ERROR is its fault. */
static int settle(struct writing *writing, struct group *group, int result, struct error *error)
{
    if (result != 0 && error->kind == ERROR_FULL)
        result = write_what_fits(writing, group, error);
    group_clear(group);
    if (result != 0) { /* what was not written must not count as stored */
        group_clear(writing->filling);
        writing->page->count = 0;
        writing->progress.walked = 0;
    }
    return result;
}

/* ---- the thread ---- */

static void *write_away(void *context)
{
    struct writing *writing = context;
    const struct group_place there = place(writing, writing->another);
    const struct group *group = writing->leaving;

    log_debug("exchange: %zu batches are written", group_pieces(group));
    writing->result = group_write(group, &there, writing->page, 0, group_pieces(group),
                                  writing->limit, &writing->reached, &writing->fault);
    atomic_store(&writing->finished, true);
    return NULL;
}

static int join(struct writing *writing, struct error *error)
{
    if (!writing->away)
        return 0;
    (void)pthread_join(writing->thread, NULL); /* as long as the disk takes */
    writing->away = false;
    if (writing->result == 0)
        adopt(writing, writing->leaving, 0, group_pieces(writing->leaving), &writing->reached);
    else
        *error = writing->fault;
    return settle(writing, writing->leaving, writing->result, error);
}

/* Signals are the caller's thread's. */
static int start(struct writing *writing)
{
    sigset_t all, before;
    int result;

    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return -1;
    result = pthread_create(&writing->thread, NULL, write_away, writing);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result == 0 ? 0 : -1;
}

static void prepare(struct writing *writing)
{
    struct error error;

    if (writing->another != NULL || writing->without)
        return;
    writing->leaving = group_new(&error);
    if (writing->leaving != NULL)
        writing->another = store_another(writing->options.store, &error);
    if (writing->another == NULL) {
        log_debug("exchange: writes without a thread: %s", error.text);
        writing->without = true;
    }
}

static int commit_filling(struct writing *writing, struct error *error)
{
    const struct group *group = writing->filling;
    int result;

    log_debug("exchange: %zu batches are written", group_pieces(group));
    result = write_pieces(writing, group, 0, group_pieces(group), error);

    return settle(writing, writing->filling, result, error);
}

int writing_begin(struct writing *writing, struct error *error)
{
    const struct group_page *page = writing->page;
    struct group *group = writing->filling;
    struct error own;

    if (error == NULL)
        error = &own;
    if (join(writing, error) != 0)
        return -1;
    prepare(writing);
    if (writing->without)
        return commit_filling(writing, error);
    writing->filling = writing->leaving;
    writing->leaving = group;
    writing->reached = writing->progress;
    writing->limit = writing->progress.walked;
    while (writing->limit < page->count && group_walkable(&page->items[writing->limit]))
        writing->limit++;
    atomic_store(&writing->finished, false);
    if (start(writing) == 0) {
        writing->away = true;
        return 0;
    }
    writing->leaving = writing->filling;
    writing->filling = group;
    return commit_filling(writing, error);
}

int writing_look(struct writing *writing, struct error *error)
{
    struct error own;

    if (!writing->away || !atomic_load(&writing->finished))
        return 0;
    return join(writing, error != NULL ? error : &own) == 0 ? 1 : -1;
}

int writing_commit(struct writing *writing, struct error *error)
{
    const struct group_page *page = writing->page;
    size_t walked;
    struct error own;

    if (error == NULL)
        error = &own;
    if (join(writing, error) != 0)
        return -1;
    walked = writing->progress.walked;
    if (!writing_pending(writing) &&
        (walked == page->count || !group_walkable(&page->items[walked])))
        return 0;
    return commit_filling(writing, error);
}
