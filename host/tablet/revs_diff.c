/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * POST /{db}/_revs_diff: which of the offered revisions are not known here.  The body is read and the
 * answer written as a stream, so only the answer is held.
 *
 * What is offered the app has, also what it was given past us: it becomes held, so that the server's dock need not
 * send it, and asks whether it is gone (docs/down.md).
 */
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_gen.h>
#include <yajl/yajl_parse.h>

#include "base/log.h"
#include "host/tablet/route.h"
#include "host/tablet/taken.h"
#include "store/revs.h"
#include "store/streams.h"

#define MOST_ANCESTORS 50        /* a hint for the client, which does not need them all */
#define ANSWER_BYTES (16u << 20) /* the body has at most 8 MiB */

struct diff {
    struct request *request;
    yajl_handle parser;
    yajl_gen answer;
    char id[DOC_ID_BYTES];
    unsigned depth;
    bool missing; /* a missing rev of this id has been written */
    bool over;
    unsigned long highest; /* generation among the missing revs */
    unsigned ancestors;
    struct taken *offered; /* known, and not held as far as we knew */
};

static unsigned long generation(const char *rev)
{
    return strtoul(rev, NULL, 10); /* of no number: 0 */
}

static int fail(struct diff *diff, const char *reason)
{
    answer_error(&diff->request->answer, 400, "bad_request", reason);
    return 0;
}

static int fault(struct diff *diff, const struct error *error)
{
    answer_fault(&diff->request->answer, error);
    return 0;
}

static void write_text(struct diff *diff, const char *text, size_t size)
{
    (void)yajl_gen_string(diff->answer, (const unsigned char *)text, size);
}

static void write_word(struct diff *diff, const char *text)
{
    write_text(diff, text, strlen(text));
}

/* ---- yajl's callbacks: 1 go on, 0 stop ---- */

static int no_object(struct diff *diff)
{
    return fail(diff, diff->depth == 0 ? "Request body must be a JSON object"
                                       : "each document id must have an array of revisions");
}

static int on_null(void *context)
{
    return no_object(context);
}

static int on_boolean(void *context, int value)
{
    (void)value;
    return no_object(context);
}

static int on_number(void *context, const char *text, size_t size)
{
    (void)text;
    (void)size;
    return no_object(context);
}

static int on_start_map(void *context)
{
    struct diff *diff = context;

    if (diff->depth != 0)
        return no_object(diff);
    diff->depth++;
    return 1;
}

static int on_start_array(void *context)
{
    struct diff *diff = context;

    if (diff->depth != 1)
        return no_object(diff);
    diff->depth++;
    diff->missing = false;
    diff->highest = 0;
    return 1;
}

static int on_key(void *context, const unsigned char *key, size_t size)
{
    struct diff *diff = context;

    if (size == 0 || size >= sizeof diff->id || memchr(key, '\0', size) != NULL)
        return fail(diff, "a document id is empty or longer than 1024 bytes");
    memcpy(diff->id, key, size);
    diff->id[size] = '\0';
    return 1;
}

static int offer(struct diff *diff, const char *rev)
{
    struct store *store = diff->request->service->store;
    struct error error;
    int here = revs_is_here(store, diff->request->db, diff->id, rev, &error);

    if (here < 0 || (here == 0 && taken_add(diff->offered, diff->id, rev, &error) != 0))
        return fault(diff, &error);
    return 1;
}

static int on_string(void *context, const unsigned char *text, size_t size)
{
    struct diff *diff = context;
    char rev[DOC_REV_BYTES];
    struct error error;
    int known;

    if (diff->depth != 2)
        return no_object(diff);
    if (size == 0 || size >= sizeof rev || memchr(text, '\0', size) != NULL)
        return fail(diff, "Invalid rev format");
    memcpy(rev, text, size);
    rev[size] = '\0';
    known = revs_known(diff->request->service->store, diff->request->db, diff->id, rev, &error);
    if (known < 0)
        return fault(diff, &error);
    if (known == 1)
        return offer(diff, rev);
    if (!diff->missing) {
        write_word(diff, diff->id);
        (void)yajl_gen_map_open(diff->answer);
        write_word(diff, "missing");
        (void)yajl_gen_array_open(diff->answer);
        diff->missing = true;
    }
    write_word(diff, rev);
    if (generation(rev) > diff->highest)
        diff->highest = generation(rev);
    return 1;
}

static int on_known(const char *rev, void *context)
{
    struct diff *diff = context;

    if (generation(rev) >= diff->highest)
        return 0;
    if (diff->ancestors == MOST_ANCESTORS)
        return 1;
    if (diff->ancestors++ == 0) {
        write_word(diff, "possible_ancestors");
        (void)yajl_gen_array_open(diff->answer);
    }
    write_word(diff, rev);
    return 0;
}

static int on_end_array(void *context)
{
    struct diff *diff = context;
    struct error error;

    diff->depth--;
    if (!diff->missing)
        return 1;
    (void)yajl_gen_array_close(diff->answer);
    diff->ancestors = 0;
    if (revs_each(diff->request->service->store, diff->request->db, diff->id, on_known, diff,
                  &error) < 0)
        return fault(diff, &error);
    if (diff->ancestors > 0)
        (void)yajl_gen_array_close(diff->answer);
    (void)yajl_gen_map_close(diff->answer);
    return 1;
}

static int on_end_map(void *context)
{
    struct diff *diff = context;

    diff->depth--;
    diff->over = true;
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end_map,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end_array,
};

/* ---- the route ---- */

/* yajl_gen's printer: the answer's body, with its limit. */
static void print(void *context, const char *text, size_t size)
{
    struct diff *diff = context;
    struct answer *answer = &diff->request->answer;
    struct error error;

    if (answer->status == 0 && buffer_append(&answer->body, text, size, &error) != 0)
        (void)fault(diff, &error);
}

void revs_diff_begin(struct request *request)
{
    const struct error none = {.kind = ERROR_FAILED, .text = "_revs_diff: no memory"};
    struct diff *diff = calloc(1, sizeof *diff);
    struct error error;

    request->state = diff;
    if (diff != NULL) {
        diff->request = request;
        diff->parser = yajl_alloc(&callbacks, NULL, diff);
        diff->answer = yajl_gen_alloc(NULL);
        diff->offered = taken_new(&error);
    }
    if (diff == NULL || diff->offered == NULL || diff->parser == NULL || diff->answer == NULL ||
        yajl_gen_config(diff->answer, yajl_gen_print_callback, print, diff) == 0) {
        answer_fault(&request->answer, &none);
        return;
    }
    request->answer.body.limit = ANSWER_BYTES;
    (void)yajl_gen_map_open(diff->answer);
}

void revs_diff_body(struct request *request, const void *bytes, size_t size)
{
    struct diff *diff = request->state;
    yajl_status status = yajl_parse(diff->parser, bytes, size);

    if (status != yajl_status_ok && request->answer.status == 0)
        answer_error(&request->answer, 400, "bad_request", "invalid UTF-8 JSON");
}

struct holding {
    struct request *request;
    struct error error;
};

static int add_offered(const char *id, const char *rev, const char *ancestors, void *context)
{
    struct holding *holding = context;
    struct request *request = holding->request;

    (void)ancestors;
    return revs_add(request->service->store, request->db, id, rev, &holding->error);
}

/* The answer is right without it: a fault is logged. */
static void hold_offered(struct request *request, const struct taken *offered)
{
    struct store *store = request->service->store;
    struct holding holding = {.request = request};

    if (taken_count(offered) == 0)
        return;
    if (store_begin(store, &holding.error) == 0) {
        if (taken_each(offered, add_offered, &holding) == 0 &&
            streams_set_due(store, SERVER_NAME, true, &holding.error) == 0 &&
            store_commit(store, &holding.error) == 0)
            return;
        store_rollback(store);
    }
    log_warning("_revs_diff: what the app has is not noted: %s", holding.error.text);
}

void revs_diff_end(struct request *request)
{
    struct diff *diff = request->state;

    if ((yajl_complete_parse(diff->parser) != yajl_status_ok || !diff->over) &&
        request->answer.status == 0)
        answer_error(&request->answer, 400, "bad_request", "invalid UTF-8 JSON");
    if (request->answer.status != 0)
        return;
    (void)yajl_gen_map_close(diff->answer);
    hold_offered(request, diff->offered);
    if (request->answer.status == 0)
        request->answer.status = 200;
}

void revs_diff_free(struct request *request)
{
    struct diff *diff = request->state;

    if (diff == NULL)
        return;
    if (diff->parser != NULL)
        yajl_free(diff->parser);
    if (diff->answer != NULL)
        yajl_gen_free(diff->answer);
    taken_free(diff->offered);
    free(diff);
}
