/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/dock/diff.h"

#define TRIES_MOST 5       /* of a step that was answered with nonsense */
#define FIRST_PAUSE_MS 100 /* before its second try; doubled each time */
#define LONE_500_MOST 16   /* see request_shared.lone_500 */
#define RANGES_MOST 64     /* halves of halves ...: log2 of the documents, and one each */
#define PATH_BYTES (3 * 128 + 32)

/* Items FROM to TO (not included); `asked`: the server was asked for them, what is open it lacks. */
struct range {
    size_t from, to;
    bool asked;
};

enum step {
    STEP_ASK,    /* _revs_diff, what to send */
    STEP_CHECK,  /* the same without the one document that it failed for */
    STEP_SEND,   /* _bulk_docs */
    STEP_PROVE,  /* _revs_diff after a 201 */
    STEP_AFTER,  /* _revs_diff after a failed _bulk_docs, which may have stored a part */
    STEP_CREATE, /* PUT of a user's own database, which begins to exist when it is first used */
    STEP_END
};

struct request {
    struct request_shared *shared;
    const struct cht_user *user;
    char *db;
    char base[PATH_BYTES]; /* "/DB" */
    char path[PATH_BYTES + 16];
    bool may_create;
    bool held;   /* nothing may be sent yet */
    bool parked; /* it waits to be released */
    bool alone;  /* a question together with others failed: its own are asked alone */

    struct parcel parcel;
    struct range ranges[RANGES_MOST];
    size_t ranges_count;
    struct range at; /* the range under way */
    size_t at_docs;  /* and how many open documents it had when they were sent */

    enum step step;
    unsigned tries;
    int64_t due_ms; /* when the step is tried again; 0: not waiting */
    struct buffer question, part;
    json_t *results;         /* of the last _bulk_docs */
    long status;             /* of the last failure of a _bulk_docs or _revs_diff, */
    struct diff_words words; /* and what the server said of it */

    enum request_result result;
    struct error error;
    request_done *done;
    void *context;
};

static void next(struct request *r);
static void submit(struct request *r, enum step step);

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

struct request *request_new(struct request_shared *shared, const struct cht_user *user,
                            const char *db, const char *server_db, request_done *done,
                            void *context, struct error *error)
{
    struct request *r = calloc(1, sizeof *r);
    size_t used = 0;

    if (r == NULL || (r->db = strdup(db)) == NULL || parcel_open(&r->parcel, error) != 0) {
        request_free(r);
        (void)error_set(error, ERROR_FAILED, "request: no memory");
        return NULL;
    }
    r->shared = shared;
    r->user = user;
    r->done = done;
    r->context = context;
    r->may_create = strcmp(db, server_db) == 0 && strncmp(db, "medic-user-", 11) == 0;
    /* RFC 3986, 2.1; longer names are cut, and the server will not know them. */
    r->base[used++] = '/';
    for (; *server_db != '\0' && used < sizeof r->base - 20; server_db++) {
        if (is_unreserved(*server_db))
            r->base[used++] = *server_db;
        else
            used += (size_t)snprintf(r->base + used, 4, "%%%02X", (unsigned char)*server_db);
    }
    return r;
}

void request_free(struct request *r)
{
    if (r == NULL)
        return;
    parcel_free(&r->parcel);
    buffer_free(&r->question);
    buffer_cleanse(&r->part);
    json_decref(r->results);
    free(r->db);
    free(r);
}

const struct cht_user *request_user(const struct request *r)
{
    return r->user;
}

const char *request_db(const struct request *r)
{
    return r->db;
}

size_t request_docs(const struct request *r)
{
    return r->parcel.count;
}

size_t request_bytes(const struct request *r)
{
    return r->parcel.body.length;
}

enum request_result request_result(const struct request *r)
{
    return r->result;
}

const struct error *request_error(const struct request *r)
{
    return &r->error;
}

int request_share(struct request *r, uint32_t hash, uint32_t batch, const char *id, const char *rev,
                  struct error *error)
{
    long item = parcel_find(&r->parcel, hash, id, rev);

    if (item < 0)
        return 0;
    return parcel_share(&r->parcel, (uint32_t)item, batch, error) == 0 ? 1 : -1;
}

int request_add(struct request *r, uint32_t batch, const char *id, const char *rev,
                const char *json, size_t length, struct error *error)
{
    int shared = request_share(r, parcel_hash(id, rev), batch, id, rev, error);

    if (shared != 0)
        return shared;
    return parcel_add(&r->parcel, batch, id, rev, json, json == NULL ? 0 : length, error);
}

bool request_outcome(const struct request *r, size_t at, struct outcome *out)
{
    return parcel_outcome(&r->parcel, at, out);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void finish(struct request *r, enum request_result result)
{
    r->step = STEP_END;
    r->due_ms = 0;
    r->result = result;
    parcel_free_body(&r->parcel);
    buffer_cleanse(&r->part);
    buffer_free(&r->question);
    json_decref(r->results);
    r->results = NULL;
    r->done(r, r->context);
}

static void broken(struct request *r, const struct error *error)
{
    r->error = *error;
    finish(r, REQUEST_BROKEN);
}

/* The step was answered with nonsense, or with a status that says nothing of a document. */
static void again(struct request *r, const char *text)
{
    if (++r->tries >= TRIES_MOST) {
        (void)error_set(&r->error, ERROR_TEMPORARY, "%s; tried %d times, what is held stays held",
                        text, TRIES_MOST);
        finish(r, REQUEST_AWAY);
        return;
    }
    r->due_ms = clock_ms() + ((int64_t)FIRST_PAUSE_MS << (r->tries - 1));
}

void request_tick(struct request *r, int64_t now_ms)
{
    bool due = r->due_ms != 0 && (r->due_ms <= now_ms || *r->shared->abandon);

    if (!due && !(r->parked && *r->shared->abandon))
        return;
    r->due_ms = 0;
    r->parked = false;
    if (*r->shared->abandon) {
        (void)error_set(&r->error, ERROR_TEMPORARY, "replay: stopped");
        finish(r, REQUEST_AWAY);
        return;
    }
    submit(r, r->step);
}

static void blocked(struct request *r)
{
    (void)error_set(
        &r->error, ERROR_REFUSED,
        "user %s, database %s: the server answers %s%s%s to %s; check the user's rights "
        "and `db=` in the configuration, the batches stay held",
        r->user->name, r->base + 1, r->words.word, r->words.reason[0] ? ", " : "", r->words.reason,
        r->path);
    finish(r, REQUEST_BLOCKED);
}

/* ---- answers ------------------------------------------------------------------------------- */

static void keep_words(struct request *r, const struct cht_answer *answer)
{
    r->status = answer->status;
    diff_failure(answer->status, answer->body, answer->size, &r->words);
}

/* True when the answer is about the user and the database, not about documents; it is dealt with. */
static bool about_database(struct request *r, const struct cht_answer *answer)
{
    if (answer->status != 401 && answer->status != 403 && answer->status != 404)
        return false;
    keep_words(r, answer);
    if (answer->status == 404 && r->may_create && r->step != STEP_PROVE) {
        r->may_create = false;
        if (r->step != STEP_ASK)
            r->ranges[r->ranges_count++] = (struct range){r->at.from, r->at.to, true};
        else
            r->ranges[r->ranges_count++] = r->at;
        submit(r, STEP_CREATE);
        return true;
    }
    blocked(r);
    return true;
}

static void refuse(struct request *r, size_t item, const char *word, const char *reason)
{
    struct error error;

    if (parcel_refuse(&r->parcel, item, word, reason, &error) != 0)
        broken(r, &error);
}

/* A status that may be the server's fault as well as the documents'.  502 and 504 come here only when one
 * request got them again and again and others did not (cht.h): a proxy that gives up on it. */
static bool is_vague(long status)
{
    return status == 500 || status == 502 || status == 504;
}

/* The one open document of the range is refused in the words kept.  A 500 says less than a 400: when
 * document after document gets one, and none is stored in between, the server is ill. */
static void refuse_alone(struct request *r)
{
    size_t item = r->at.from;

    while (r->parcel.items[item].state != OUTCOME_OPEN)
        item++;
    if (is_vague(r->status) && ++r->shared->lone_500 > LONE_500_MOST) {
        (void)error_set(&r->error, ERROR_TEMPORARY,
                        "server: it answered %ld to %d documents one after the other and stored "
                        "none; look at its logs and disk, what is held stays held",
                        r->status, LONE_500_MOST);
        finish(r, REQUEST_AWAY);
        return;
    }
    refuse(r, item, r->words.word, r->words.reason);
    if (r->step != STEP_END)
        next(r);
}

/* Go on with the open documents of the range in halves. */
static void split(struct request *r, bool asked)
{
    size_t open = parcel_open_items(&r->parcel, r->at.from, r->at.to), seen = 0, middle;

    for (middle = r->at.from; seen < open / 2; middle++)
        seen += r->parcel.items[middle].state == OUTCOME_OPEN;
    log_debug("request: %zu documents of database %s failed together (%s), going on in halves",
              open, r->db, r->words.word);
    if (r->ranges_count + 2 > RANGES_MOST) {
        (void)error_set(&r->error, ERROR_FAILED, "request: split too often");
        finish(r, REQUEST_BROKEN);
        return;
    }
    r->ranges[r->ranges_count++] = (struct range){middle, r->at.to, asked};
    if (middle > r->at.from)
        r->ranges[r->ranges_count++] = (struct range){r->at.from, middle, asked};
    next(r);
}

static void on_failed_question(struct request *r, const struct cht_answer *answer)
{
    bool patient = answer->status == 500 && r->tries + 1 < TRIES_MOST;

    if (r->step != STEP_ASK || patient ||
        (answer->status != 400 && answer->status != 413 && !is_vague(answer->status))) {
        again(r, answer->text[0] != '\0' ? answer->text : "_revs_diff: the answer is nonsense");
        return;
    }
    /* An id or rev that the server will not even look for. */
    keep_words(r, answer);
    r->tries = 0;
    if (parcel_open_items(&r->parcel, r->at.from, r->at.to) == 1)
        submit(r, STEP_CHECK);
    else
        split(r, false);
}

/* What the server has of the range is proven. */
static void take_proven(struct request *r, const json_t *diff)
{
    for (size_t i = r->at.from; i < r->at.to; i++) {
        struct item *item = &r->parcel.items[i];

        if (item->state != OUTCOME_OPEN || diff_missing(diff, parcel_name(&r->parcel, item->id),
                                                        parcel_name(&r->parcel, item->rev)))
            continue;
        item->state = OUTCOME_PROVEN;
        if (item->sent)
            r->shared->lone_500 = 0;
    }
}

static void refuse_rest(struct request *r)
{
    for (size_t i = r->at.from; i < r->at.to && r->step != STEP_END; i++) {
        struct item *item = &r->parcel.items[i];
        const char *word = "not stored", *reason = "the server gave no reason";

        if (item->state != OUTCOME_OPEN)
            continue;
        (void)diff_entry(r->results, parcel_name(&r->parcel, item->id),
                         parcel_name(&r->parcel, item->rev), &word, &reason);
        refuse(r, i, word, reason);
    }
    if (r->step != STEP_END)
        next(r);
}

static void after_failure(struct request *r)
{
    size_t open = parcel_open_items(&r->parcel, r->at.from, r->at.to), item = r->at.from;

    if (open == 0) {
        next(r);
        return;
    }
    if (r->at_docs > 1) {
        split(r, true);
        return;
    }
    while (r->parcel.items[item].state != OUTCOME_OPEN)
        item++;
    if (r->status == 500 && !r->parcel.items[item].tried_alone) {
        r->parcel.items[item].tried_alone = true;
        submit(r, STEP_SEND);
        return;
    }
    refuse_alone(r);
}

/* DIFF: what the answer says, if that has been read. */
static void on_diff(struct request *r, const struct cht_answer *answer, const json_t *diff)
{
    struct error error;
    json_t *own = NULL;

    if (answer->status != 200) {
        if (!about_database(r, answer))
            on_failed_question(r, answer);
        return;
    }
    if (diff == NULL)
        diff = own = diff_read(answer->body, answer->size, &error);
    if (diff == NULL) {
        again(r, error.text);
        return;
    }
    r->tries = 0;
    if (r->step != STEP_CHECK)
        take_proven(r, diff);
    json_decref(own);
    switch (r->step) {
    case STEP_CHECK:
        refuse_alone(r);
        break;
    case STEP_PROVE:
        refuse_rest(r);
        break;
    case STEP_AFTER:
        after_failure(r);
        break;
    default:
        for (size_t i = r->at.from; i < r->at.to; i++) {
            struct item *item = &r->parcel.items[i];

            if (item->length == 0 && item->state == OUTCOME_OPEN)
                item->state = OUTCOME_REFUSED;
        }
        r->ranges[r->ranges_count++] = (struct range){r->at.from, r->at.to, true};
        next(r);
    }
}

static void on_sent(struct request *r, const struct cht_answer *answer)
{
    if (answer->status >= 200 && answer->status < 300) {
        r->tries = 0;
        json_decref(r->results);
        r->results = diff_read_results(answer->body, answer->size);
        if (r->ranges_count == 0)
            parcel_free_body(&r->parcel); /* what lacks now is refused, not sent again */
        submit(r, STEP_PROVE);
    } else if (answer->status == 400 || answer->status == 412 || answer->status == 413 ||
               is_vague(answer->status)) {
        r->tries = 0;
        keep_words(r, answer);
        submit(r, STEP_AFTER);
    } else if (!about_database(r, answer)) {
        again(r, answer->text[0] != '\0' ? answer->text : "_bulk_docs: the answer is nonsense");
    }
}

static void take_answer(struct request *r, const struct cht_answer *answer, const json_t *diff)
{
    if (answer->result == CHT_UNAVAILABLE || *r->shared->abandon) {
        (void)error_set(&r->error, ERROR_TEMPORARY, "%s",
                        answer->result == CHT_UNAVAILABLE ? answer->text : "replay: stopped");
        finish(r, REQUEST_AWAY);
    } else if (answer->result == CHT_LOGIN_FAILED) {
        (void)error_set(&r->error, ERROR_REFUSED, "%s", answer->text);
        finish(r, REQUEST_LOGIN);
    } else if (r->step == STEP_SEND) {
        on_sent(r, answer);
    } else if (r->step == STEP_CREATE) {
        /* 201, or 412 when it is there by now; else the next step fails in its own words */
        next(r);
    } else {
        on_diff(r, answer, diff);
    }
}

static void on_answer(const struct cht_answer *answer, void *context)
{
    struct request *r = context;

    r->shared->in_flight--;
    take_answer(r, answer, NULL);
}

/* What fails for several may fail for one of them: each asks for itself from now on. */
static void on_inquiry(void *member, const struct cht_answer *answer, const json_t *diff,
                       bool others)
{
    struct request *r = member;

    if (others && answer->result == CHT_ANSWERED && answer->status != 200 && !*r->shared->abandon) {
        r->alone = true;
        submit(r, r->step);
        return;
    }
    take_answer(r, answer, diff);
}

struct inquiry *request_inquiry(struct request_shared *shared, struct error *error)
{
    return inquiry_new(shared, on_inquiry, error);
}

/* ---- questions ------------------------------------------------------------------------------ */

static void submit(struct request *r, enum step step)
{
    const struct buffer *body = &r->question;
    const char *method = "POST", *route = "/_revs_diff";
    struct error error;
    uint64_t first = 0;
    int failed = 0;

    r->step = step;
    r->parked = step == STEP_SEND && (r->held || r->shared->in_flight >= r->shared->parallel);
    if (r->parked)
        return;
    if (step == STEP_SEND) {
        route = "/_bulk_docs";
        r->at_docs = parcel_open_items(&r->parcel, r->at.from, r->at.to);
        failed = parcel_body(&r->parcel, r->at.from, r->at.to, &r->part, &body, &first, &error);
    } else if (step == STEP_CREATE) {
        method = "PUT";
        route = "";
        body = NULL;
    } else if (step == STEP_CHECK || step == STEP_AFTER || r->alone) {
        failed = parcel_question(&r->parcel, r->at.from, step == STEP_CHECK ? r->at.from : r->at.to,
                                 &r->question, &error);
    }
    (void)snprintf(r->path, sizeof r->path, "%s%s", r->base, route);
    if ((step == STEP_ASK || step == STEP_PROVE) && !r->alone) {
        if (inquiry_add(r->shared->inquiry, r->user, r->path, &r->parcel, r->at.from, r->at.to, r,
                        &error) != 0)
            broken(r, &error);
        return;
    }
    if (failed != 0 ||
        cht_submit(r->shared->cht, r->user, method, r->path, body == NULL ? NULL : body->data,
                   body == NULL ? 0 : body->length, on_answer, r, &error) != 0) {
        broken(r, &error);
        return;
    }
    r->shared->requests++;
    r->shared->in_flight++;
    r->shared->sent_docs += first;
}

/* Take up the next range that has something open. */
static void next(struct request *r)
{
    while (r->ranges_count != 0) {
        r->at = r->ranges[--r->ranges_count];
        if (parcel_open_items(&r->parcel, r->at.from, r->at.to) == 0)
            continue;
        submit(r, r->at.asked ? STEP_SEND : STEP_ASK);
        return;
    }
    finish(r, REQUEST_SETTLED);
}

void request_hold(struct request *r)
{
    r->held = true;
}

bool request_held(const struct request *r)
{
    return r->held;
}

bool request_parked(const struct request *r)
{
    return r->parked;
}

void request_release(struct request *r)
{
    r->held = false;
    if (r->parked)
        submit(r, STEP_SEND);
}

bool request_waits(const struct request *r)
{
    return r->due_ms != 0;
}

bool request_may_send(const struct request *r)
{
    return r->step != STEP_END && (r->step != STEP_PROVE || r->ranges_count != 0);
}

void request_start(struct request *r)
{
    r->ranges[r->ranges_count++] = (struct range){0, r->parcel.count, false};
    next(r);
}
