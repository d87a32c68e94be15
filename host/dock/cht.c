/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/cht.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/dock/login.h"
#include "host/dock/outage.h"
#include "host/dock/transfer.h"

#define STOP_POLL_MS 100
#define PARALLEL_MOST 64u
#define GZIP_LEAST_BYTES 1024
#define PROBE_FROM_FAILURES 2 /* a request that failed so often is not the probe any more */
#define LONE_FAILURES_MOST 3  /* see note_failure */

/* A request of the caller, queued or in flight. */
struct job {
    struct job *next;
    struct login *login;
    char *method, *path;
    const void *body;
    size_t size;
    cht_done *done;
    void *context;

    bool plain;                /* the server did not like it gzipped */
    bool gzipped;              /* sent so */
    bool renewed;              /* a 401 has been answered with a new login */
    unsigned session;          /* login->session that it was sent with */
    unsigned failures;         /* how often the server was away for it */
    unsigned lone_failures;    /* how often, while the server answered others */
    uint64_t answers_before;   /* cht->answers when it failed last */
    int64_t failed_ms, due_ms; /* when it failed first; when it may be tried again */
};

enum use { USE_NONE, USE_JOB, USE_LOGIN, USE_PROBE };

struct slot {
    struct transfer *transfer;
    enum use use;
    struct job *job;     /* USE_JOB */
    struct login *login; /* USE_LOGIN */
    struct buffer body;  /* USE_LOGIN */
};

struct cht {
    char *url, *ca_file;
    enum cht_kind kind;
    bool basic;
    bool gzip; /* the server takes it */
    int64_t patience_ms;
    const atomic_bool *stop;

    CURLM *multi;
    struct slot *slots;
    size_t slots_count, busy;
    struct login *logins;
    struct job *first, **last; /* queued, the next one first */
    size_t queued;
    struct outage outage;
    uint64_t answers;  /* from the server */
    uint64_t progress; /* counts what was done for the caller */
    bool broken;
    struct error broken_error; /* why cht_run returns -1 */
};

/* ---- jobs ----------------------------------------------------------------------------------- */

static void free_job(struct job *job)
{
    if (job == NULL)
        return;
    free(job->method);
    free(job->path);
    free(job);
}

static void queue_first(struct cht *cht, struct job *job)
{
    job->next = cht->first;
    cht->first = job;
    if (job->next == NULL)
        cht->last = &job->next;
    cht->queued++;
}

static struct job *unqueue(struct cht *cht, struct job **at)
{
    struct job *job = *at;

    *at = job->next;
    if (cht->last == &job->next)
        cht->last = at;
    job->next = NULL;
    cht->queued--;
    return job;
}

/* The job is over: tell the caller, who may submit others from within. */
static void end_job(struct cht *cht, struct job *job, const struct cht_answer *answer)
{
    cht->progress++;
    job->done(answer, job->context);
    free_job(job);
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
    struct job *job = cht->first;

    cht->first = NULL;
    cht->last = &cht->first;
    cht->queued = 0;
    while (job != NULL) {
        struct job *next = job->next;

        fail_job(cht, job, CHT_UNAVAILABLE, text);
        job = next;
    }
}

int cht_submit(struct cht *cht, const struct cht_user *user, const char *method, const char *path,
               const void *body, size_t size, cht_done *done, void *context, struct error *error)
{
    struct login *login = login_find(&cht->logins, user);
    struct job *job = calloc(1, sizeof *job);

    if (job == NULL || login == NULL || (job->method = strdup(method)) == NULL ||
        (job->path = strdup(path)) == NULL) {
        free_job(job);
        return error_set(error, ERROR_FAILED, "server %s: no memory for a request", cht->url);
    }
    job->login = login;
    job->body = body;
    job->size = size;
    job->done = done;
    job->context = context;
    *cht->last = job;
    cht->last = &job->next;
    cht->queued++;
    if (cht->outage.given_up) {
        cht->outage.given_up = false;
        cht->outage.patient_since_ms = cht->outage.next_ms = clock_ms();
    }
    return 0;
}

size_t cht_pending(const struct cht *cht)
{
    return cht->queued + cht->busy;
}

/* ---- sending -------------------------------------------------------------------------------- */

static bool uses_session(const struct cht *cht)
{
    return cht->kind == CHT_KIND_CHT && !cht->basic;
}

static struct slot *free_slot(struct cht *cht)
{
    for (size_t i = 0; i < cht->slots_count; i++)
        if (cht->slots[i].use == USE_NONE)
            return &cht->slots[i];
    return NULL;
}

static int start(struct cht *cht, struct slot *slot, enum use use, const struct transfer_ask *ask,
                 struct error *error)
{
    if (transfer_start(slot->transfer, ask, error) != 0)
        return -1;
    if (curl_easy_setopt(transfer_handle(slot->transfer), CURLOPT_PRIVATE, slot) != CURLE_OK ||
        curl_multi_add_handle(cht->multi, transfer_handle(slot->transfer)) != CURLM_OK)
        return error_set(error, ERROR_FAILED, "server %s: no memory for a request", cht->url);
    slot->use = use;
    cht->busy++;
    return 0;
}

static void identify(const struct cht *cht, const struct login *login, struct transfer_ask *ask)
{
    if (uses_session(cht))
        ask->cookie = login->cookie;
    else
        ask->basic = &login->user;
}

static int start_login(struct cht *cht, struct slot *slot, struct login *login, struct error *error)
{
    struct transfer_ask ask = {.method = "POST", .path = "/medic/login"};

    if (login_write(login, &slot->body, error) != 0) {
        buffer_cleanse(&slot->body);
        return -1;
    }
    ask.body = slot->body.data;
    ask.size = slot->body.length;
    if (start(cht, slot, USE_LOGIN, &ask, error) != 0) {
        buffer_cleanse(&slot->body);
        return -1;
    }
    slot->login = login;
    login->state = LOGIN_GOING;
    return 0;
}

static int start_job(struct cht *cht, struct slot *slot, struct job *job, struct error *error)
{
    struct transfer_ask ask = {
        .method = job->method, .path = job->path, .body = job->body, .size = job->size};

    ask.gzip = cht->gzip && !job->plain && job->body != NULL && job->size > GZIP_LEAST_BYTES;
    identify(cht, job->login, &ask);
    if (start(cht, slot, USE_JOB, &ask, error) != 0)
        return -1;
    slot->job = job;
    job->gzipped = ask.gzip;
    job->session = job->login->session;
    if (job->login->state == LOGIN_NONE)
        job->login->state =
            LOGIN_GOING; /* Basic: one request alone shows if the password is good */
    return 0;
}

/* A small question in place of JOB, through all of the server down to its database: CHT hands _local on
 * to CouchDB, which answers 404. */
static int start_probe(struct cht *cht, struct slot *slot, const struct job *job,
                       struct error *error)
{
    struct transfer_ask ask = {.method = "GET"};
    struct buffer path = {0};
    int result = -1;

    identify(cht, job->login, &ask);
    if (buffer_printf(&path, error, "/%.*s/_local/boda-probe", (int)strcspn(job->path + 1, "/?"),
                      job->path + 1) == 0 &&
        buffer_append(&path, "", 1, error) == 0) {
        ask.path = (const char *)path.data;
        result = start(cht, slot, USE_PROBE, &ask, error);
    }
    buffer_free(&path);
    return result;
}

static void give_up_if_patience_ends(struct cht *cht, int64_t now_ms)
{
    struct outage *outage = &cht->outage;
    char text[sizeof((struct cht_answer *)NULL)->text];

    if (!outage->on || outage->given_up || cht->busy > 0 || cht->queued == 0 ||
        now_ms - outage->patient_since_ms < cht->patience_ms)
        return;
    (void)snprintf(text, sizeof text, "server %.80s: not reachable (%.120s); try again later",
                   cht->url, outage->cause);
    outage->given_up = true;
    fail_queued(cht, text);
}

/* Start JOB, or what must go ahead of it, or end it: 1 something was done, 0 it has to wait, -1. */
static int advance(struct cht *cht, struct job **at, struct slot *slot, int64_t now_ms,
                   struct error *error)
{
    struct job *job = *at;
    struct login *login = job->login;

    if (login->state == LOGIN_REFUSED) {
        fail_job(cht, unqueue(cht, at), CHT_LOGIN_FAILED, login->why);
        return 1;
    }
    if (login->state == LOGIN_GOING)
        return 0;
    if (cht->outage.on && job->failures >= PROBE_FROM_FAILURES && login->state == LOGIN_GOOD)
        return start_probe(cht, slot, job, error) == 0 ? 1 : -1;
    if (job->due_ms > now_ms)
        return 0;
    if (login->state == LOGIN_NONE && uses_session(cht))
        return start_login(cht, slot, login, error) == 0 ? 1 : -1;
    job = unqueue(cht, at);
    if (start_job(cht, slot, job, error) == 0)
        return 1;
    queue_first(cht, job);
    return -1;
}

/* Fill the free slots; in an outage only one is used, and only when it is time. */
static int dispatch(struct cht *cht, struct error *error)
{
    int64_t now_ms = clock_ms();
    struct job **at;
    struct slot *slot;
    int did;

    give_up_if_patience_ends(cht, now_ms);
    at = &cht->first;
    while (*at != NULL && (slot = free_slot(cht)) != NULL) {
        if (cht->outage.on && (cht->busy > 0 || now_ms < cht->outage.next_ms))
            return 0;
        did = advance(cht, at, slot, now_ms, error);
        if (did < 0)
            return -1;
        if (did == 0)
            at = &(*at)->next;
        else
            at = &cht->first; /* a callback may have changed the queue */
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
        queue_first(cht, job);
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
        queue_first(cht, job);
        return true;
    }
    if (result->status == 401) {
        if (login->state != LOGIN_REFUSED)
            login_refuse(login, "the server refuses the password; correct it in the users file and "
                                "start again. It is not tried again, as five wrong ones lock the "
                                "account");
    } else if (result->status == 403 && cht->kind == CHT_KIND_CHT &&
               strstr(result->body, "temporarily locked") != NULL) {
        login_refuse(login, "the account is locked for some minutes after wrong passwords");
    } else {
        login->state = LOGIN_GOOD;
        return false;
    }
    queue_first(cht, job);
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
        queue_first(cht, job);
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

static void settle(struct cht *cht, struct slot *slot, const struct transfer_result *result)
{
    bool probe = cht->outage.on && cht->busy == 0;
    struct transfer_result seen = *result;
    struct job *job = slot->job;
    enum use use = slot->use;

    slot->use = USE_NONE;
    slot->job = NULL;
    buffer_cleanse(&slot->body);
    if (use == USE_PROBE && seen.end == TRANSFER_ANSWERED && seen.status >= 500)
        seen.end = TRANSFER_AWAY;
    if (seen.end == TRANSFER_AWAY) {
        outage_failed(&cht->outage, cht->url, seen.cause, probe, seen.retry_after_ms, clock_ms());
    } else if (seen.end == TRANSFER_ANSWERED) {
        cht->answers++;
        outage_answered(&cht->outage, cht->url, clock_ms());
        for (struct job *waiting = cht->first; use == USE_PROBE && waiting != NULL;
             waiting = waiting->next)
            waiting->due_ms = 0; /* the probe did their waiting */
    } else {
        set_broken(cht, &seen);
    }
    if (use == USE_JOB && cht->broken) {
        queue_first(cht, job); /* to be ended with the others */
    } else if (use == USE_JOB) {
        settle_job(cht, job, &seen);
    } else if (use == USE_LOGIN) {
        slot->login->state = LOGIN_NONE;
        if (seen.end == TRANSFER_ANSWERED)
            login_answered(slot->login, &seen);
    }
}

static void collect(struct cht *cht)
{
    struct transfer_result result;
    struct slot *slot;
    CURLMsg *message;
    CURLcode code;
    CURL *easy;
    int left;

    while ((message = curl_multi_info_read(cht->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        easy = message->easy_handle;
        code = message->data.result;
        if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, &slot) != CURLE_OK)
            continue;
        (void)curl_multi_remove_handle(cht->multi, easy);
        cht->busy--;
        transfer_finish(slot->transfer, code, &result);
        settle(cht, slot, &result);
    }
}

/* End everything: what is in flight is cut off. */
static void end_all(struct cht *cht, const char *text)
{
    for (size_t i = 0; i < cht->slots_count; i++) {
        struct slot *slot = &cht->slots[i];

        if (slot->use == USE_NONE)
            continue;
        (void)curl_multi_remove_handle(cht->multi, transfer_handle(slot->transfer));
        cht->busy--;
        if (slot->use == USE_LOGIN)
            slot->login->state = LOGIN_NONE;
        if (slot->use == USE_JOB) {
            if (slot->job->login->state == LOGIN_GOING)
                slot->job->login->state = LOGIN_NONE;
            queue_first(cht, slot->job);
        }
        slot->use = USE_NONE;
        slot->job = NULL;
        buffer_cleanse(&slot->body);
    }
    fail_queued(cht, text);
}

int cht_run(struct cht *cht, int timeout_ms, struct error *error)
{
    uint64_t before = cht->progress;
    int64_t end_ms = clock_ms() + timeout_ms, left_ms;
    int running;

    while (cht_pending(cht) > 0) {
        if (cht->stop != NULL && atomic_load(cht->stop)) {
            end_all(cht, "server: stopped");
            return 0;
        }
        if (dispatch(cht, &cht->broken_error) != 0)
            cht->broken = true;
        if (curl_multi_perform(cht->multi, &running) != CURLM_OK) {
            (void)error_set(&cht->broken_error, ERROR_FAILED, "server %s: no memory", cht->url);
            cht->broken = true;
        }
        collect(cht);
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
        if (curl_multi_poll(cht->multi, NULL, 0,
                            left_ms < STOP_POLL_MS ? (int)left_ms : STOP_POLL_MS, NULL) != CURLM_OK)
            return error_set(error, ERROR_FAILED, "server %s: cannot wait for it", cht->url);
    }
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int open_slots(struct cht *cht, unsigned count, struct error *error)
{
    cht->slots = calloc(count, sizeof *cht->slots);
    if (cht->slots == NULL)
        return error_set(error, ERROR_FAILED, "server %s: no memory", cht->url);
    for (; cht->slots_count < count; cht->slots_count++) {
        struct slot *slot = &cht->slots[cht->slots_count];

        slot->transfer = transfer_new(cht->url, cht->ca_file, error);
        if (slot->transfer == NULL)
            return -1;
    }
    return 0;
}

struct cht *cht_new(const struct cht_options *options, struct error *error)
{
    unsigned count = options->most_parallel;
    struct cht *cht = calloc(1, sizeof *cht);

    if (cht == NULL || (cht->url = strdup(options->url)) == NULL ||
        (options->ca_file != NULL && (cht->ca_file = strdup(options->ca_file)) == NULL) ||
        curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        (void)error_set(error, ERROR_FAILED, "server %s: no memory", options->url);
        goto fail;
    }
    for (size_t n = strlen(cht->url); n > 0 && cht->url[n - 1] == '/'; n--)
        cht->url[n - 1] = '\0';
    cht->kind = options->kind;
    cht->basic = options->basic;
    cht->gzip = options->kind == CHT_KIND_COUCHDB && !options->plain;
    cht->patience_ms = (int64_t)options->patience_s * 1000;
    cht->stop = options->stop;
    cht->last = &cht->first;
    cht->multi = curl_multi_init();
    count = count == 0 ? 1 : count < PARALLEL_MOST ? count : PARALLEL_MOST;
    if (cht->multi == NULL ||
        curl_multi_setopt(cht->multi, CURLMOPT_MAXCONNECTS, (long)count) != CURLM_OK ||
        curl_multi_setopt(cht->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)count) != CURLM_OK) {
        (void)error_set(error, ERROR_FAILED, "server %s: no memory", cht->url);
        goto fail;
    }
    if (open_slots(cht, count, error) != 0)
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
    for (size_t i = 0; i < cht->slots_count; i++) {
        struct slot *slot = &cht->slots[i];

        if (slot->use != USE_NONE)
            (void)curl_multi_remove_handle(cht->multi, transfer_handle(slot->transfer));
        transfer_free(slot->transfer);
        buffer_cleanse(&slot->body);
        free_job(slot->job);
    }
    free(cht->slots);
    while (cht->first != NULL) {
        struct job *next = cht->first->next;

        free_job(cht->first);
        cht->first = next;
    }
    (void)curl_multi_cleanup(cht->multi);
    login_free_all(cht->logins);
    free(cht->url);
    free(cht->ca_file);
    free(cht);
}
