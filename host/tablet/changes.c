/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * GET and POST /{db}/_changes: the shelf in the order of its numbers.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/pick.h"
#include "host/tablet/delivery.h"
#include "host/tablet/newcomer.h"
#include "host/tablet/route.h"
#include "host/tablet/shown.h"
#include "host/tablet/taken.h"

#define WAIT_MS 60000          /* of a longpoll that names no time, as CouchDB */
#define HEARTBEAT_LEAST_MS 100 /* faster is taken for this */
#define LONGEST_MS (24 * 3600 * 1000)

static const struct pick_place asked = {"doc_ids[]", 8192};

struct changes {
    struct request *request;
    /* What was asked for. */
    int64_t since, limit;
    bool main_only, descending, include_docs, longpoll;
    struct shown_options options;
    int64_t heartbeat_ms; /* 0: none */
    bool only_ids;
    struct taken *ids; /* those, as pairs without a rev */
    struct pick *pick; /* the body */
    /* How far it is. */
    int64_t at;           /* the number that was looked at last */
    int64_t rows;         /* written */
    bool begun, complete; /* the head is written; there is nothing behind `at` for now */
    struct shown shown;
    bool showing;
    int64_t until_ms, beat_ms; /* when a wait ends; when the next heartbeat is due */
};

/* ---- parameters ---- */

static int take_id(unsigned place, const char *json, size_t size, void *context,
                   struct error *error)
{
    struct changes *changes = context;
    json_t *value = json_loadb(json, size, JSON_DECODE_ANY, NULL);
    const char *id = json_string_value(value);
    int result = 0;

    (void)place;
    if (id == NULL)
        result = error_set(error, ERROR_USAGE, "`doc_ids` must be an array of strings");
    else if (!taken_has(changes->ids, id, ""))
        result = routes_hold(changes->request, strlen(id) + 16, error) != 0
                     ? -1
                     : taken_add(changes->ids, id, "", error);
    json_decref(value);
    return result;
}

static int feed(struct changes *changes, const char *bytes, size_t size, struct error *error)
{
    if (pick_feed(changes->pick, bytes, size, error) == 0)
        return 0;
    if (pick_fault(changes->pick) == PICK_MALFORMED)
        error->kind = ERROR_USAGE;
    return -1;
}

static int read_since(struct changes *changes, struct error *error)
{
    const struct uri *uri = &changes->request->uri;
    const char *since = uri_param(uri, "since");

    if (since != NULL && strcmp(since, "now") == 0)
        return shelf_last(changes->request->service->store, changes->request->db, &changes->since,
                          error);
    return uri_number(uri, "since", INT64_MAX, &changes->since, error);
}

static int read_filter(struct changes *changes, struct error *error)
{
    const char *filter = uri_param(&changes->request->uri, "filter");

    if (filter == NULL)
        return 0;
    if (strcmp(filter, "_doc_ids") != 0)
        return error_set(error, ERROR_USAGE, "this endpoint has no `filter` but _doc_ids");
    changes->only_ids = true;
    return 0;
}

static int read_style_and_feed(struct changes *changes, struct error *error)
{
    const char *style = uri_param(&changes->request->uri, "style");
    const char *kind = uri_param(&changes->request->uri, "feed");

    changes->main_only = style == NULL || strcmp(style, "main_only") == 0;
    if (!changes->main_only && strcmp(style, "all_docs") != 0)
        return error_set(error, ERROR_USAGE, "`style` must be all_docs or main_only");
    changes->longpoll = kind != NULL && strcmp(kind, "longpoll") == 0;
    if (kind != NULL && !changes->longpoll && strcmp(kind, "normal") != 0)
        return error_set(error, ERROR_USAGE, "`feed` must be normal or longpoll");
    return 0;
}

static int read_times(struct changes *changes, struct error *error)
{
    const struct uri *uri = &changes->request->uri;
    const char *heartbeat = uri_param(uri, "heartbeat");
    int64_t wait_ms = WAIT_MS;

    if (heartbeat != NULL && strcmp(heartbeat, "true") == 0)
        changes->heartbeat_ms = WAIT_MS;
    else if (heartbeat != NULL && strcmp(heartbeat, "false") != 0 &&
             uri_number(uri, "heartbeat", LONGEST_MS, &changes->heartbeat_ms, error) != 0)
        return -1;
    if (changes->heartbeat_ms > 0) {
        wait_ms = LONGEST_MS; /* as CouchDB: who is told that we live can wait */
        if (changes->heartbeat_ms < HEARTBEAT_LEAST_MS)
            changes->heartbeat_ms = HEARTBEAT_LEAST_MS;
    }
    if (uri_number(uri, "timeout", LONGEST_MS, &wait_ms, error) != 0)
        return -1;
    changes->until_ms = clock_ms() + wait_ms;
    changes->beat_ms = clock_ms() + changes->heartbeat_ms;
    return 0;
}

static int read_parameters(struct changes *changes, struct error *error)
{
    const struct uri *uri = &changes->request->uri;

    changes->limit = INT64_MAX;
    if (read_since(changes, error) != 0 || read_filter(changes, error) != 0 ||
        read_style_and_feed(changes, error) != 0 || read_times(changes, error) != 0 ||
        uri_number(uri, "limit", INT64_MAX, &changes->limit, error) != 0 ||
        uri_flag(uri, "descending", &changes->descending, error) != 0 ||
        uri_flag(uri, "include_docs", &changes->include_docs, error) != 0 ||
        uri_flag(uri, "attachments", &changes->options.attachments, error) != 0)
        return -1;
    if (changes->limit == 0)
        changes->limit = 1; /* as CouchDB */
    /* From the end, down to the first: as CouchDB, which takes no `since` then. */
    changes->at = changes->descending ? 0 : changes->since;
    return 0;
}

/* ---- rows ---- */

struct revs {
    struct buffer *out;
    struct error *error;
    bool all, wrote;
};

static int write_rev(const struct shelf_doc *doc, void *context)
{
    struct revs *revs = context;

    if (buffer_printf(revs->out, revs->error, "%s{\"rev\":", revs->wrote ? "," : "") != 0 ||
        answer_string(revs->out, doc->rev, revs->error) != 0 ||
        buffer_append(revs->out, "}", 1, revs->error) != 0)
        return -1;
    revs->wrote = true;
    return 0;
}

static int write_row(struct changes *changes, const struct shelf_doc *doc, struct buffer *out,
                     struct error *error)
{
    const struct request *request = changes->request;
    struct revs revs = {.out = out, .error = error};

    if (buffer_printf(out, error, "%s{\"seq\":%lld,\"id\":", changes->rows > 0 ? ",\n" : "",
                      (long long)doc->seq) != 0 ||
        answer_string(out, doc->id, error) != 0 || buffer_printf(out, error, ",\"changes\":[") != 0)
        return -1;
    if (changes->main_only ? write_rev(doc, &revs) != 0
                           : shelf_each(request->service->store, request->db, doc->id, write_rev,
                                        &revs, error) != 0)
        return -1;
    if (buffer_printf(out, error, "]%s", doc->deleted ? ",\"deleted\":true" : "") != 0)
        return -1;
    changes->rows++;
    return 0;
}

/* 1 its bytes follow; 0 there are none: the row goes without; -1. */
static int begin_doc(struct changes *changes, const struct shelf_doc *doc, struct buffer *out,
                     struct error *error)
{
    struct opened *opened = changes->request->service->opened;
    const struct opened_place place = opened_place(doc);
    const char *json;
    int result = opened_doc(opened, &place, &json, error);

    if (result == 0)
        return delivery_give_up(changes->request, doc->id, error);
    if (result != 1)
        return result;
    if (shown_begin(&changes->shown, opened, &place, json, &changes->options, NULL, error) != 0)
        return -1;
    changes->showing = true;
    return buffer_printf(out, error, ",\"doc\":") != 0 ? -1 : 1;
}

/* The next document that was asked for: 1, 0 no more for now, -1. */
static int next(struct changes *changes, struct shelf_doc *doc, struct error *error)
{
    const struct request *request = changes->request;
    int found;

    do {
        found = shelf_next(request->service->store, request->db, changes->at, changes->descending,
                           doc, error);
        if (found == 1)
            changes->at = doc->seq;
    } while (found == 1 && changes->only_ids && !taken_has(changes->ids, doc->id, ""));
    return found;
}

/* One row, or a piece of its document: 1, 0 no more for now, -1. */
static int write_some(struct changes *changes, struct buffer *out, struct error *error)
{
    struct shelf_doc doc;
    int result;

    if (changes->showing) {
        result = shown_more(&changes->shown, NULL, out, ANSWER_PIECE_BYTES, error);
        if (result != 0)
            return result;
        shown_end(&changes->shown);
        changes->showing = false;
        return buffer_append(out, "}", 1, error) != 0 ? -1 : 1;
    }
    result = changes->rows < changes->limit ? next(changes, &doc, error) : 0;
    if (result != 1)
        return result;
    if (write_row(changes, &doc, out, error) != 0)
        return -1;
    result = changes->include_docs ? begin_doc(changes, &doc, out, error) : 0;
    if (result == 0)
        result = buffer_append(out, "}", 1, error) != 0 ? -1 : 1;
    return result;
}

/* ---- the answer ---- */

/* The client goes on behind the number told here: that of the last document that was looked at, or, when the client
 * has a higher number than there is, the latest. */
static enum answer_step finish(struct changes *changes, struct buffer *out, struct error *error)
{
    const struct request *request = changes->request;
    int64_t last;
    uint64_t pending = 0;

    if (shelf_last(request->service->store, request->db, &last, error) != 0)
        return ANSWER_FAILED;
    if (last > changes->at && !(changes->descending && changes->rows == 0))
        last = changes->at;
    if (!changes->descending &&
        shelf_pending(request->service->store, request->db, last, &pending, error) != 0)
        return ANSWER_FAILED;
    if (buffer_printf(out, error, "\n],\n\"last_seq\":%lld,\"pending\":%llu}\n", (long long)last,
                      (unsigned long long)pending) != 0)
        return ANSWER_FAILED;
    return ANSWER_END;
}

static enum answer_step wait(struct changes *changes, struct buffer *out, struct error *error)
{
    struct answer *answer = &changes->request->answer;
    int64_t now_ms = clock_ms();

    if (answer->hurry || now_ms >= changes->until_ms)
        return finish(changes, out, error);
    answer->wake_ms = changes->until_ms;
    if (changes->heartbeat_ms > 0) {
        if (now_ms >= changes->beat_ms) {
            changes->beat_ms = now_ms + changes->heartbeat_ms;
            if (buffer_append(out, "\n", 1, error) != 0)
                return ANSWER_FAILED;
        }
        if (changes->beat_ms < answer->wake_ms)
            answer->wake_ms = changes->beat_ms;
    }
    return ANSWER_WAIT;
}

static enum answer_step more(struct request *request, struct buffer *out, struct error *error)
{
    struct changes *changes = request->state;
    size_t until = out->length + ANSWER_PIECE_BYTES;
    int result = 1;

    if (!changes->begun && buffer_printf(out, error, "{\"results\":[\n") != 0)
        return ANSWER_FAILED;
    changes->begun = true;
    while (result == 1 && out->length < until)
        result = write_some(changes, out, error);
    if (result < 0)
        return ANSWER_FAILED;
    if (result == 1)
        return ANSWER_MORE;
    if (changes->longpoll && changes->rows == 0)
        return wait(changes, out, error);
    return finish(changes, out, error);
}

/* ---- the route ---- */

static int start(struct request *request, struct changes *changes, struct error *error)
{
    changes->request = request;
    if (read_parameters(changes, error) != 0)
        return -1;
    changes->ids = taken_new(error);
    if (changes->ids == NULL)
        return -1;
    changes->pick = pick_new(&asked, 1, take_id, changes, error);
    return changes->pick != NULL ? 0 : -1;
}

void changes_begin(struct request *request)
{
    struct changes *changes = calloc(1, sizeof *changes);
    struct error error;
    int result;

    request->state = changes;
    if (changes == NULL)
        result = error_set(&error, ERROR_FAILED, "_changes: no memory");
    else
        result = start(request, changes, &error);
    if (result != 0)
        answer_fault(&request->answer, &error);
}

void changes_body(struct request *request, const void *bytes, size_t size)
{
    struct error error;

    if (feed(request->state, bytes, size, &error) != 0)
        answer_fault(&request->answer, &error);
}

/* The ids are in the body or in the query. */
static int read_ids(struct request *request, struct changes *changes, struct error *error)
{
    const char *ids = uri_param(&request->uri, "doc_ids");

    if (request->received == 0) {
        const char *text = ids != NULL ? ids : "[]";

        if (feed(changes, "{\"doc_ids\":", 11, error) != 0 ||
            feed(changes, text, strlen(text), error) != 0 || feed(changes, "}", 1, error) != 0)
            return -1;
    }
    if (pick_end(changes->pick, error) != 0)
        return error_set(error, ERROR_USAGE, "invalid UTF-8 JSON");
    if (changes->only_ids && (request->received > 0 ? !pick_seen(changes->pick, 0) : ids == NULL))
        return error_set(error, ERROR_USAGE, "`doc_ids` must be an array of strings");
    return 0;
}

void changes_end(struct request *request)
{
    const struct changes *changes = request->state;
    struct error error;

    if (read_ids(request, request->state, &error) != 0 ||
        (!changes->descending && !changes->only_ids &&
         newcomer_reads(request->service->store, request->db, changes->since, &error) != 0)) {
        answer_fault(&request->answer, &error);
        return;
    }
    request->answer.status = 200;
    request->answer.more = more;
}

void changes_free(struct request *request)
{
    struct changes *changes = request->state;

    if (changes == NULL)
        return;
    shown_end(&changes->shown);
    taken_free(changes->ids);
    pick_free(changes->pick);
    free(changes);
}
