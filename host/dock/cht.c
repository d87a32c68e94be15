/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/cht.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/dock/outage.h"
#include "host/dock/slots.h"

#define STOP_POLL_MS 100
#define PARALLEL_MOST 64u
#define GZIP_LEAST_BYTES 1024
#define PROBE_FROM_FAILURES 2 /* a request that failed so often is not the probe any more */
#define LONE_FAILURES_MOST 3  /* see note_failure */

struct cht {
    char *url, *ca_file;
    enum cht_kind kind;
    bool basic;
    bool gzip; /* the server takes it */
    int64_t patience_ms;
    struct passwords *passwords;
    const atomic_bool *stop;

    struct slots *slots;
    struct login *logins;
    struct jobs queue;
    struct outage outage;
    uint64_t answers;  /* from the server */
    uint64_t progress; /* counts what was done for the caller */
    bool broken;
    struct error broken_error; /* why cht_run returns -1 */
};

/* ---- jobs ----------------------------------------------------------------------------------- */

/* The job is over: tell the caller, who may submit others from within. */
static void end_job(struct cht *cht, struct job *job, const struct cht_answer *answer)
{
    cht->progress++;
    job->done(answer, job->context);
    jobs_free_one(job);
}

static void fail_job(struct cht *cht, struct job *job, enum cht_result result, const char *text)
{
    struct cht_answer answer = {.result = result, .body = ""};

    (void)snprintf(answer.text, sizeof answer.text, "%s", text);
    end_job(cht, job, &answer);
}

/* End what is queued now, not what the callbacks submit meanwhile. */
static void fail_queued(struct cht *cht, const char *text)
{
    struct job *job = cht->queue.first;

    jobs_init(&cht->queue);
    while (job != NULL) {
        struct job *next = job->next;

        fail_job(cht, job, CHT_UNAVAILABLE, text);
        job = next;
    }
}

int cht_ask(struct cht *cht, const struct cht_user *user, const struct cht_question *question,
            cht_done *done, void *context, struct error *error)
{
    struct login *login = login_find(&cht->logins, user);
    struct job *job = jobs_new(question->method, question->path);

    if (job == NULL || login == NULL) {
        jobs_free_one(job);
        return error_set(error, ERROR_FAILED, "server %s: no memory for a request", cht->url);
    }
    job->login = login;
    job->body = question->body;
    job->size = question->size;
    job->most_bytes = question->most_bytes;
    job->done = done;
    job->context = context;
    /* The first after all others have failed, together or each by its own patience: a new patience. */
    if (cht_pending(cht) == 0)
        cht->outage.given_up = true;
    jobs_add_last(&cht->queue, job);
    if (cht->outage.given_up) {
        cht->outage.given_up = cht->outage.tried = false;
        cht->outage.patient_since_ms = cht->outage.next_ms = clock_ms();
    }
    return 0;
}

int cht_submit(struct cht *cht, const struct cht_user *user, const char *method, const char *path,
               const void *body, size_t size, cht_done *done, void *context, struct error *error)
{
    const struct cht_question question = {method, path, body, size, 0};

    return cht_ask(cht, user, &question, done, context, error);
}

size_t cht_pending(const struct cht *cht)
{
    return cht->queue.count + slots_busy(cht->slots);
}

/* ---- sending -------------------------------------------------------------------------------- */

static bool uses_session(const struct cht *cht)
{
    return cht->kind == CHT_KIND_CHT && !cht->basic;
}

static void identify(const struct cht *cht, const struct login *login, struct transfer_ask *ask)
{
    if (uses_session(cht))
        ask->cookie = login->cookie;
    else
        ask->basic = &login->user;
}

static int start_login(struct cht *cht, struct login *login, struct error *error)
{
    struct flight flight = {.use = FLIGHT_LOGIN, .login = login};
    struct transfer_ask ask = {.method = "POST", .path = "/medic/login"};

    if (login_write(login, &flight.body, error) != 0) {
        buffer_cleanse(&flight.body);
        return -1;
    }
    ask.body = flight.body.data;
    ask.size = flight.body.length;
    if (slots_start(cht->slots, &flight, &ask, error) != 0) {
        buffer_cleanse(&flight.body);
        return -1;
    }
    login->state = LOGIN_GOING;
    return 0;
}

static int start_job(struct cht *cht, struct job *job, struct error *error)
{
    struct flight flight = {.use = FLIGHT_JOB, .job = job};
    struct transfer_ask ask = {
        .method = job->method,
        .path = job->path,
        .body = job->body,
        .size = job->size,
        .most_bytes = job->most_bytes,
    };

    ask.gzip = cht->gzip && !job->plain && job->body != NULL && job->size > GZIP_LEAST_BYTES;
    identify(cht, job->login, &ask);
    if (slots_start(cht->slots, &flight, &ask, error) != 0)
        return -1;
    job->gzipped = ask.gzip;
    job->session = job->login->session;
    if (job->login->state == LOGIN_NONE)
        job->login->state =
            LOGIN_GOING; /* Basic: one request alone shows if the password is good */
    return 0;
}

/* A small question in place of JOB, through all of the server down to its database: CHT hands _local on
 * to CouchDB, which answers 404. */
static int start_probe(struct cht *cht, const struct job *job, struct error *error)
{
    struct flight flight = {.use = FLIGHT_PROBE};
    struct transfer_ask ask = {.method = "GET"};
    struct buffer path = {0};
    int result = -1;

    identify(cht, job->login, &ask);
    if (buffer_printf(&path, error, "/%.*s/_local/boda-probe", (int)strcspn(job->path + 1, "/?"),
                      job->path + 1) == 0 &&
        buffer_append(&path, "", 1, error) == 0) {
        ask.path = (const char *)path.data;
        result = slots_start(cht->slots, &flight, &ask, error);
    }
    buffer_free(&path);
    return result;
}

static void give_up_if_patience_ends(struct cht *cht, int64_t now_ms)
{
    struct outage *outage = &cht->outage;
    char text[sizeof((struct cht_answer *)NULL)->text];

    if (!outage->on || outage->given_up || !outage->tried || slots_busy(cht->slots) > 0 ||
        cht->queue.count == 0 || now_ms - outage->patient_since_ms < cht->patience_ms)
        return;
    (void)snprintf(text, sizeof text, "server %.80s: not reachable (%.120s); try again later",
                   cht->url, outage->cause);
    outage->given_up = true;
    fail_queued(cht, text);
}

/* Start JOB, or what must go ahead of it, or end it: 1 something was done, 0 it has to wait, -1. */
static int advance(struct cht *cht, struct job **at, int64_t now_ms, struct error *error)
{
    struct job *job = *at;
    struct login *login = job->login;

    if (!login->looked_up && login_look_up(login, cht->passwords, error) != 0)
        return -1;
    if (login->state == LOGIN_REFUSED) {
        fail_job(cht, jobs_take(&cht->queue, at), CHT_LOGIN_FAILED, login->why);
        return 1;
    }
    if (login->state == LOGIN_GOING)
        return 0;
    if (cht->outage.on && job->failures >= PROBE_FROM_FAILURES && login->state == LOGIN_GOOD)
        return start_probe(cht, job, error) == 0 ? 1 : -1;
    if (job->due_ms > now_ms)
        return 0;
    if (login->state == LOGIN_NONE && uses_session(cht))
        return start_login(cht, login, error) == 0 ? 1 : -1;
    job = jobs_take(&cht->queue, at);
    if (start_job(cht, job, error) == 0)
        return 1;
    jobs_add_first(&cht->queue, job);
    return -1;
}

/* Send what may be sent; in an outage only one, and only when it is time. */
static int dispatch(struct cht *cht, struct error *error)
{
    int64_t now_ms = clock_ms();
    struct job **at;
    int did;

    give_up_if_patience_ends(cht, now_ms);
    at = &cht->queue.first;
    while (*at != NULL && !slots_full(cht->slots)) {
        if (cht->outage.on && (slots_busy(cht->slots) > 0 || now_ms < cht->outage.next_ms))
            return 0;
        did = advance(cht, at, now_ms, error);
        if (did < 0)
            return -1;
        if (did == 0)
            at = &(*at)->next;
        else
            at = &cht->queue.first; /* a callback may have changed the queue */
    }
    return 0;
}

/* ---- answers -------------------------------------------------------------------------------- */

static void fill_answer(const struct cht *cht, const struct job *job,
                        const struct transfer_result *result, struct cht_answer *answer)
{
    memset(answer, 0, sizeof *answer);
    answer->result = CHT_ANSWERED;
    answer->status = result->status;
    answer->body = result->body;
    answer->size = result->size;
    answer->json = result->json;
    if (result->cause[0] != '\0')
        (void)snprintf(answer->text, sizeof answer->text, "server %.80s: %s %.60s: %.80s", cht->url,
                       job->method, job->path, result->cause);
}

/* The server was away for JOB.  It is tried again later; but when the server answers all others and
 * only this one always fails, then it is this one's body (a proxy's time-out, a worker that dies of
 * it), and the caller gets to know, to cut it smaller. */
static void note_failure(struct cht *cht, struct job *job, const struct transfer_result *result)
{
    int64_t now_ms = clock_ms();
    struct cht_answer answer;

    if (job->failures++ == 0)
        job->failed_ms = now_ms;
    if (result->may_be_body && job->failures > 1 && cht->answers > job->answers_before)
        job->lone_failures++;
    job->answers_before = cht->answers;
    job->due_ms = now_ms + outage_delay_ms(job->failures, result->retry_after_ms);
    if (job->lone_failures >= LONE_FAILURES_MOST) {
        fill_answer(cht, job, result, &answer);
        answer.status = result->status >= 500 ? result->status : 504;
        (void)snprintf(answer.text, sizeof answer.text,
                       "server %.80s: %s %.60s fails again and again (%.60s), others do not",
                       cht->url, job->method, job->path, result->cause);
        end_job(cht, job, &answer);
    } else if (now_ms - job->failed_ms >= cht->patience_ms && cht->patience_ms > 0) {
        fill_answer(cht, job, result, &answer);
        fail_job(cht, job, CHT_UNAVAILABLE, answer.text);
    } else {
        jobs_add_first(&cht->queue, job);
    }
}

/* True if the answer is about who asks, and is dealt with. */
static bool settle_login(struct cht *cht, struct job *job, const struct transfer_result *result)
{
    struct login *login = job->login;

    if (uses_session(cht)) {
        if (result->session[0] != '\0' && login->state == LOGIN_GOOD)
            (void)snprintf(login->cookie, sizeof login->cookie, "%s", result->session);
        if (result->status != 401)
            return false;
        if (job->renewed && job->session == login->session && login->state == LOGIN_GOOD)
            login_refuse(login, "the server does not take the session that it has just given; look "
                                "at the server's log");
        else if (job->session == login->session && login->state == LOGIN_GOOD)
            login->state = LOGIN_NONE; /* expired, or the server's secret has changed */
        job->renewed = true;
        jobs_add_first(&cht->queue, job);
        return true;
    }
    if (result->status == 401) {
        if (login->state != LOGIN_REFUSED) {
            login_refuse_password(login);
            login_note(login, cht->passwords);
        }
    } else if (result->status == 403 && cht->kind == CHT_KIND_CHT &&
               strstr(result->body, "temporarily locked") != NULL) {
        login_refuse(login, "the account is locked for some minutes after wrong passwords");
    } else {
        if (login->state != LOGIN_GOOD) {
            login->state = LOGIN_GOOD;
            login_note(login, cht->passwords);
        }
        return false;
    }
    jobs_add_first(&cht->queue, job);
    return true;
}

static void settle_job(struct cht *cht, struct job *job, const struct transfer_result *result)
{
    struct cht_answer answer;

    if (result->end == TRANSFER_AWAY) {
        if (!uses_session(cht) && job->login->state == LOGIN_GOING)
            job->login->state = LOGIN_NONE;
        note_failure(cht, job, result);
        return;
    }
    job->failures = job->lone_failures = 0;
    if (settle_login(cht, job, result))
        return;
    if (job->gzipped && (result->status == 400 || result->status == 415)) {
        job->plain = true; /* it may be the documents, it may be gzip: without, it will show */
        jobs_add_first(&cht->queue, job);
        return;
    }
    if (job->plain && cht->gzip && result->status != 400 && result->status != 415) {
        log_info("server %s: takes no compressed requests, going on without", cht->url);
        cht->gzip = false;
    }
    fill_answer(cht, job, result, &answer);
    end_job(cht, job, &answer);
}

/* Nothing more can come of this server: end everything, then cht_run fails. */
static void set_broken(struct cht *cht, const struct transfer_result *result)
{
    if (cht->broken)
        return;
    cht->broken = true;
    if (result->end != TRANSFER_UNTRUSTED)
        (void)error_set(&cht->broken_error, ERROR_FAILED, "server %s: %s", cht->url, result->cause);
    else
        (void)error_set(
            &cht->broken_error, ERROR_FAILED,
            "server %s: its TLS certificate is not to be trusted: %s; nothing was sent. "
            "%s",
            cht->url, result->cause,
            cht->ca_file == NULL ? "If it has one of a private CA, name that CA's file by ca="
                                 : "Check that ca= names the CA that issued it, and url= its host");
}

static void settle(struct cht *cht, const struct flight *flight,
                   const struct transfer_result *result)
{
    bool probe = cht->outage.on && slots_busy(cht->slots) == 0;
    struct transfer_result seen = *result;

    if (flight->use == FLIGHT_PROBE && seen.end == TRANSFER_ANSWERED && seen.status >= 500)
        seen.end = TRANSFER_AWAY;
    if (seen.end == TRANSFER_AWAY) {
        outage_failed(&cht->outage, cht->url, seen.cause, probe, seen.retry_after_ms, clock_ms());
    } else if (seen.end == TRANSFER_ANSWERED) {
        cht->answers++;
        outage_answered(&cht->outage, cht->url, clock_ms());
        for (struct job *waiting = cht->queue.first; flight->use == FLIGHT_PROBE && waiting != NULL;
             waiting = waiting->next)
            waiting->due_ms = 0; /* the probe did their waiting */
    } else {
        set_broken(cht, &seen);
    }
    if (flight->use == FLIGHT_JOB && cht->broken) {
        jobs_add_first(&cht->queue, flight->job); /* to be ended with the others */
    } else if (flight->use == FLIGHT_JOB) {
        settle_job(cht, flight->job, &seen);
    } else if (flight->use == FLIGHT_LOGIN) {
        flight->login->state = LOGIN_NONE;
        if (seen.end == TRANSFER_ANSWERED) {
            login_answered(flight->login, &seen);
            login_note(flight->login, cht->passwords);
        }
    }
}

/* End everything: what is in flight is cut off. */
static void end_all(struct cht *cht, const char *text)
{
    struct flight flight;

    while (slots_cut(cht->slots, &flight)) {
        if (flight.use == FLIGHT_LOGIN)
            flight.login->state = LOGIN_NONE;
        if (flight.use != FLIGHT_JOB)
            continue;
        if (flight.job->login->state == LOGIN_GOING)
            flight.job->login->state = LOGIN_NONE;
        jobs_add_first(&cht->queue, flight.job);
    }
    fail_queued(cht, text);
}

int cht_run(struct cht *cht, int timeout_ms, struct error *error)
{
    uint64_t before = cht->progress;
    int64_t end_ms = clock_ms() + timeout_ms, left_ms;
    struct transfer_result result;
    struct flight flight;

    while (cht_pending(cht) > 0) {
        if (cht->stop != NULL && atomic_load(cht->stop)) {
            end_all(cht, "server: stopped");
            return 0;
        }
        if (dispatch(cht, &cht->broken_error) != 0 ||
            slots_perform(cht->slots, &cht->broken_error) != 0)
            cht->broken = true;
        while (slots_end(cht->slots, &flight, &result))
            settle(cht, &flight, &result);
        if (cht->broken) {
            cht->broken = false;
            end_all(cht, cht->broken_error.text);
            if (error != NULL)
                *error = cht->broken_error;
            return -1;
        }
        left_ms = end_ms - clock_ms();
        if (cht->progress != before || left_ms <= 0)
            break;
        if (slots_wait(cht->slots, left_ms < STOP_POLL_MS ? (int)left_ms : STOP_POLL_MS, error) !=
            0)
            return -1;
    }
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------ */

struct cht *cht_new(const struct cht_options *options, struct error *error)
{
    unsigned count = options->most_parallel;
    struct cht *cht = calloc(1, sizeof *cht);

    if (cht == NULL || (cht->url = strdup(options->url)) == NULL ||
        (options->ca_file != NULL && (cht->ca_file = strdup(options->ca_file)) == NULL)) {
        (void)error_set(error, ERROR_FAILED, "server %s: no memory", options->url);
        goto fail;
    }
    for (size_t n = strlen(cht->url); n > 0 && cht->url[n - 1] == '/'; n--)
        cht->url[n - 1] = '\0';
    cht->kind = options->kind;
    cht->basic = options->basic;
    cht->gzip = options->kind == CHT_KIND_COUCHDB && !options->plain;
    cht->patience_ms = (int64_t)options->patience_s * 1000;
    cht->passwords = options->passwords;
    cht->stop = options->stop;
    jobs_init(&cht->queue);
    count = count == 0 ? 1 : count < PARALLEL_MOST ? count : PARALLEL_MOST;
    cht->slots = slots_new(cht->url, cht->ca_file, count, error);
    if (cht->slots == NULL)
        goto fail;
    return cht;

fail:
    cht_free(cht);
    return NULL;
}

void cht_free(struct cht *cht)
{
    if (cht == NULL)
        return;
    slots_free(cht->slots);
    jobs_free_all(&cht->queue);
    login_free_all(cht->logins);
    free(cht->url);
    free(cht->ca_file);
    free(cht);
}
