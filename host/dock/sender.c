/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/sender.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define FILLING_MOST 4 /* users and databases whose requests are filled side by side */
#define PARALLEL_MOST 32
#define WAITING_MOST 64
#define ACTIVE_MOST (PARALLEL_MOST + WAITING_MOST)
#define WAITING_BODIES 3 /* so many full requests wait for the next wave at most, by bytes */
#define STEP_MS 100

struct block {
    const struct cht_user *user;
    char db[DOC_DB_BYTES]; /* "": every one */
};

struct sender {
    struct sender_options options;
    struct request_shared shared;
    struct request *filling[FILLING_MOST];
    size_t filling_count;                  /* the oldest first */
    struct request *waiting[WAITING_MOST]; /* for the next wave, not started */
    size_t waiting_count;
    struct request *active[ACTIVE_MOST]; /* started; those of the next wave are held */
    size_t active_count;
    struct request *ended[ACTIVE_MOST]; /* noted in a callback, dealt with behind it */
    size_t ended_count;
    bool next_wave; /* it has come: what is held may go */

    struct block *blocks;
    size_t blocks_count;
    bool has_note;
    struct error note;
    bool abandon; /* end soon, with `fatal` */
    struct error fatal;
};

struct sender *sender_new(const struct sender_options *options, struct error *error)
{
    struct sender *s = calloc(1, sizeof *s);

    if (s == NULL) {
        (void)error_set(error, ERROR_FAILED, "replay: no memory");
        return NULL;
    }
    s->options = *options;
    if (s->options.parallel > PARALLEL_MOST)
        s->options.parallel = PARALLEL_MOST;
    s->shared.cht = options->cht;
    s->shared.parallel = s->options.parallel;
    s->shared.inquiry = request_inquiry(&s->shared, error);
    if (s->shared.inquiry == NULL) {
        free(s);
        return NULL;
    }
    s->shared.abandon = &s->abandon;
    return s;
}

void sender_free(struct sender *s)
{
    if (s == NULL)
        return;
    /* What could not be ended stays borrowed; better lost than freed under curl's feet. */
    for (size_t i = 0; i < s->ended_count; i++)
        request_free(s->ended[i]);
    for (size_t i = 0; i < s->filling_count; i++)
        request_free(s->filling[i]);
    for (size_t i = 0; i < s->waiting_count; i++)
        request_free(s->waiting[i]);
    free(s->blocks);
    if (s->active_count != 0)
        return;
    inquiry_free(s->shared.inquiry);
    free(s);
}

const struct request_shared *sender_counts(const struct sender *s)
{
    return &s->shared;
}

/* ---- who may not send ------------------------------------------------------------------------ */

bool sender_blocked(const struct sender *s, const struct cht_user *user, const char *db)
{
    for (size_t i = 0; i < s->blocks_count; i++) {
        const struct block *block = &s->blocks[i];

        if (block->user == user && (block->db[0] == '\0' || strcmp(block->db, db) == 0))
            return true;
    }
    return false;
}

void sender_note(struct sender *s, const struct error *error)
{
    log_warning("%s", error->text);
    if (!s->has_note)
        s->note = *error;
    s->note.kind = ERROR_REFUSED;
    s->has_note = true;
}

const struct error *sender_noted(const struct sender *s)
{
    return s->has_note ? &s->note : NULL;
}

static void end_run(struct sender *s, const struct error *error)
{
    if (!s->abandon)
        s->fatal = *error;
    s->abandon = true;
}

static void block(struct sender *s, const struct request *request, const char *db)
{
    struct error error;
    struct block *blocks;

    if (sender_blocked(s, request_user(request), request_db(request)))
        return;
    sender_note(s, request_error(request));
    blocks = realloc(s->blocks, (s->blocks_count + 1) * sizeof *blocks);
    if (blocks == NULL) {
        (void)error_set(&error, ERROR_FAILED, "replay: no memory");
        end_run(s, &error);
        return;
    }
    s->blocks = blocks;
    blocks[s->blocks_count].user = request_user(request);
    (void)snprintf(blocks[s->blocks_count].db, sizeof blocks->db, "%s", db);
    s->blocks_count++;
}

/* ---- in flight ------------------------------------------------------------------------------- */

static void on_done(struct request *request, void *context)
{
    struct sender *s = context;

    for (size_t i = 0; i < s->active_count; i++) {
        if (s->active[i] != request)
            continue;
        s->active_count--;
        memmove(&s->active[i], &s->active[i + 1], (s->active_count - i) * sizeof request);
        s->ended[s->ended_count++] = request;
        return;
    }
}

static int collect(struct sender *s, struct error *error)
{
    while (s->ended_count != 0) {
        struct request *request = s->ended[--s->ended_count];

        switch (request_result(request)) {
        case REQUEST_SETTLED:
            break;
        case REQUEST_BLOCKED:
            block(s, request, request_db(request));
            break;
        case REQUEST_LOGIN:
            block(s, request, "");
            break;
        case REQUEST_AWAY:
            end_run(s, request_error(request));
            break;
        case REQUEST_BROKEN:
            end_run(s, request_error(request));
            request_free(request);
            continue;
        }
        if (tally_take(s->options.tally, request, error) != 0)
            return -1;
    }
    return 0;
}

/* HTTP requests under way, and those that will be tried again soon. */
static size_t in_flight(const struct sender *s)
{
    size_t count = s->shared.in_flight;

    for (size_t i = 0; i < s->active_count; i++)
        count += request_waits(s->active[i]);
    return count;
}

/* Those of the next wave, which do not end before this one has. */
static size_t held(const struct sender *s)
{
    size_t count = 0;

    for (size_t i = 0; i < s->active_count && !s->next_wave; i++)
        count += request_held(s->active[i]);
    return count;
}

/* Take the request at WHICH out of LIST and start it. */
static void start_now(struct sender *s, struct request **list, size_t *count, size_t which)
{
    struct request *request = list[which];

    --*count;
    memmove(&list[which], &list[which + 1], (*count - which) * sizeof *list);
    if (sender_blocked(s, request_user(request), request_db(request))) {
        request_free(request);
        return;
    }
    s->active[s->active_count++] = request;
    request_start(request);
}

/* Let go on what is parked and of this wave, in the order of its start. */
static void release(struct sender *s)
{
    size_t i = 0;

    while (i < s->active_count && in_flight(s) < s->options.parallel) {
        struct request *request = s->active[i];

        if (request_parked(request) &&
            sender_blocked(s, request_user(request), request_db(request))) {
            s->active_count--;
            memmove(&s->active[i], &s->active[i + 1],
                    (s->active_count - i) * sizeof(struct request *));
            request_free(request);
            continue;
        }
        if (request_parked(request) && (s->next_wave || !request_held(request)))
            request_release(request);
        if (i < s->active_count && s->active[i] == request)
            i++;
    }
}

/* Hardly another document fits. */
static bool is_full(const struct sender *s, const struct request *request)
{
    return request_docs(request) >= s->options.most_docs ||
           request_bytes(request) >= s->options.most_bytes / 4 * 3;
}

/* While this wave goes on there may be room to ask for what the next one will send: with ALL also for
 * requests that are not full. */
static void ask_ahead(struct sender *s, bool all)
{
    size_t i = 0;

    while (i < s->waiting_count && in_flight(s) < s->options.parallel &&
           s->active_count < ACTIVE_MOST) {
        if (!all && !is_full(s, s->waiting[i])) {
            i++;
            continue;
        }
        if (!s->next_wave)
            request_hold(s->waiting[i]);
        start_now(s, s->waiting, &s->waiting_count, i);
    }
}

static int ask(struct sender *s, bool any, struct error *error)
{
    int sent = 1;

    while (sent == 1 && in_flight(s) < s->options.parallel)
        sent = inquiry_send(s->shared.inquiry, any, error);
    return sent < 0 ? -1 : 0;
}

/* Use the room there is: for large questions, so that what is sent gets its proof; for what can be sent;
 * for small questions, of which the more are put together the longer there is none. */
static int advance(struct sender *s, struct error *error)
{
    if (ask(s, false, error) != 0)
        return -1;
    release(s);
    ask_ahead(s, s->next_wave);
    return ask(s, true, error);
}

void sender_abandon(struct sender *s)
{
    struct error error = {0};

    s->abandon = true;
    while (s->active_count != 0) {
        inquiry_drop(s->shared.inquiry);
        if (cht_pending(s->options.cht) != 0 && cht_run(s->options.cht, STEP_MS, &error) != 0)
            break;
        for (size_t i = s->active_count; i-- > 0;)
            request_tick(s->active[i], clock_ms());
    }
    if (s->active_count != 0)
        log_error("replay: %zu requests could not be ended: %s", s->active_count, error.text);
    if (collect(s, &error) != 0 || tally_flush(s->options.tally, true, &error) != 0)
        log_warning("replay: what was settled last is not written, the next run finds it again: %s",
                    error.text);
}

int sender_step(struct sender *s, int timeout_ms, struct error *error)
{
    int64_t now_ms;

    if (s->options.stop != NULL && atomic_load(s->options.stop)) {
        (void)error_set(error, ERROR_TEMPORARY, "replay: stopped; what is held stays held");
        end_run(s, error);
    }
    if (cht_pending(s->options.cht) != 0) {
        if (cht_run(s->options.cht, timeout_ms, error) != 0)
            return -1;
    } else if (s->active_count != 0 && timeout_ms > 0) {
        (void)poll(NULL, 0, timeout_ms); /* all wait for their next try */
    }
    now_ms = clock_ms();
    for (size_t i = s->active_count; i-- > 0;)
        request_tick(s->active[i], now_ms);
    if (collect(s, error) != 0)
        return -1;
    if (!s->abandon && advance(s, error) != 0)
        return -1;
    if (tally_flush(s->options.tally, false, error) != 0)
        return -1;
    if (s->abandon) {
        *error = s->fatal;
        return -1;
    }
    return 0;
}

/* Start what is filled, when there is room. */
static int start_filling(struct sender *s, size_t which, struct error *error)
{
    while (in_flight(s) >= s->options.parallel || s->active_count + s->ended_count == ACTIVE_MOST) {
        if (sender_step(s, STEP_MS, error) != 0)
            return -1;
    }
    start_now(s, s->filling, &s->filling_count, which);
    return 0;
}

int sender_drain(struct sender *s, struct error *error)
{
    while (s->filling_count != 0) {
        if (start_filling(s, 0, error) != 0)
            return -1;
    }
    while (s->active_count + s->ended_count + s->waiting_count != 0) {
        if (sender_step(s, STEP_MS, error) != 0)
            return -1;
    }
    return tally_flush(s->options.tally, true, error);
}

/* ---- filling ----------------------------------------------------------------------------------- */

static bool is_for(const struct request *request, const struct cht_user *user, const char *db)
{
    return request_user(request) == user && strcmp(request_db(request), db) == 0;
}

/* The document is under way already, from another batch: 1 when it shares that one's fate. */
static int share(struct sender *s, const struct cht_user *user, const char *db, uint32_t batch,
                 const char *id, const char *rev, struct error *error)
{
    struct request *const *const lists[] = {s->active, s->filling, s->waiting};
    const size_t counts[] = {s->active_count, s->filling_count, s->waiting_count};
    uint32_t hash = parcel_hash(id, rev);

    for (size_t list = 0; list < 3; list++) {
        for (size_t i = 0; i < counts[list]; i++) {
            int shared = is_for(lists[list][i], user, db)
                             ? request_share(lists[list][i], hash, batch, id, rev, error)
                             : 0;

            if (shared != 0)
                return shared;
        }
    }
    return 0;
}

static size_t bytes_of(struct request *const *requests, size_t count)
{
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += request_bytes(requests[i]);
    return bytes;
}

/* Wait until LENGTH bytes more are within the bound, which only one single document may exceed. */
static int make_room(struct sender *s, size_t length, struct error *error)
{
    size_t most = (s->options.parallel + 1) * s->options.most_bytes;

    for (;;) {
        size_t used = bytes_of(s->active, s->active_count) +
                      bytes_of(s->filling, s->filling_count) +
                      bytes_of(s->waiting, s->waiting_count);

        size_t under_way = s->active_count + s->ended_count - held(s);

        if (used + length <= most || under_way + s->filling_count == 0)
            return 0;
        if (under_way != 0 ? sender_step(s, STEP_MS, error) != 0 : start_filling(s, 0, error) != 0)
            return -1;
    }
}

static bool fits(const struct sender *s, const struct request *request, size_t length)
{
    return request_docs(request) == 0 ||
           (request_docs(request) < s->options.most_docs &&
            request_bytes(request) + length + 1 <= s->options.most_bytes);
}

static const char *server_name(const struct sender *s, const char *db)
{
    return strcmp(db, "medic") == 0 ? s->options.db : db;
}

/* The request that is being filled for USER and DB, with room for LENGTH bytes; NULL: error. */
static struct request *filling(struct sender *s, const struct cht_user *user, const char *db,
                               size_t length, struct error *error)
{
    struct request *request;

    for (size_t i = 0; i < s->filling_count; i++) {
        if (!is_for(s->filling[i], user, db))
            continue;
        if (fits(s, s->filling[i], length))
            return s->filling[i];
        if (start_filling(s, i, error) != 0)
            return NULL;
        break;
    }
    if (s->filling_count == FILLING_MOST && start_filling(s, 0, error) != 0)
        return NULL;
    request = request_new(&s->shared, user, db, server_name(s, db), on_done, s, error);
    if (request != NULL)
        s->filling[s->filling_count++] = request;
    return request;
}

int sender_add(struct sender *s, const struct cht_user *user, const char *db, uint32_t batch,
               const char *id, const char *rev, const char *json, size_t length,
               struct error *error)
{
    struct request *request;
    int shared;

    if (s->abandon) {
        *error = s->fatal;
        return -1;
    }
    if (sender_blocked(s, user, db))
        return 0;
    shared = share(s, user, db, batch, id, rev, error);
    if (shared != 0)
        return shared < 0 ? -1 : 0;
    if (make_room(s, length, error) != 0)
        return -1;
    request = filling(s, user, db, length, error);
    if (request == NULL)
        return -1;
    return request_add(request, batch, id, rev, json, length, error) < 0 ? -1 : 0;
}

/* ---- the next wave ------------------------------------------------------------------------------ */

bool sender_may_defer(const struct sender *s, uint64_t docs, size_t length)
{
    /* At worst each document but those beyond the limits begins a request. */
    uint64_t requests = 2 + docs / s->options.most_docs + 2 * length / s->options.most_bytes;
    size_t bytes = bytes_of(s->waiting, s->waiting_count);

    for (size_t i = 0; i < s->active_count; i++)
        bytes += request_held(s->active[i]) ? request_bytes(s->active[i]) : 0;
    return held(s) + s->waiting_count + requests <= WAITING_MOST &&
           bytes + length <= WAITING_BODIES * s->options.most_bytes;
}

int sender_defer(struct sender *s, const struct cht_user *user, const char *db, uint32_t batch,
                 const char *id, const char *rev, const char *json, size_t length,
                 struct error *error)
{
    struct request *request = NULL;
    int shared = share(s, user, db, batch, id, rev, error);

    if (shared != 0)
        return shared < 0 ? -1 : 0;
    for (size_t i = s->waiting_count; i-- > 0 && request == NULL;) {
        if (is_for(s->waiting[i], user, db) && fits(s, s->waiting[i], length))
            request = s->waiting[i];
    }
    if (request == NULL) {
        if (s->waiting_count == WAITING_MOST)
            return error_set(error, ERROR_FAILED, "replay: too many requests wait");
        request = request_new(&s->shared, user, db, server_name(s, db), on_done, s, error);
        if (request == NULL)
            return -1;
        s->waiting[s->waiting_count++] = request;
    }
    return request_add(request, batch, id, rev, json, length, error) < 0 ? -1 : 0;
}

/* A request of this wave may still have documents to send. */
static bool wave_goes_on(const struct sender *s)
{
    for (size_t i = 0; i < s->active_count; i++) {
        if (!request_held(s->active[i]) && request_may_send(s->active[i]))
            return true;
    }
    return s->filling_count != 0 || s->ended_count != 0;
}

int sender_next_wave(struct sender *s, bool all, struct error *error)
{
    while (s->filling_count != 0) {
        if (start_filling(s, 0, error) != 0)
            return -1;
    }
    while (wave_goes_on(s)) {
        ask_ahead(s, all);
        if (sender_step(s, STEP_MS, error) != 0)
            return -1;
    }
    s->next_wave = true;
    /* The last ones can be filled further. */
    while (!all && s->waiting_count != 0 && s->filling_count < FILLING_MOST)
        s->filling[s->filling_count++] = s->waiting[--s->waiting_count];
    return sender_step(s, 0, error);
}
