/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * GET and PUT /{db}/_local/{id}: checkpoints of replications.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "host/tablet/route.h"
#include "store/revs.h"

#define REV_TEXT_BYTES 24 /* "0-" and 20 digits */

static void answer_value(struct request *request, unsigned status, json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
    const struct error none = {.kind = ERROR_FAILED, .text = "_local: no memory"};

    if (text != NULL)
        answer_json(&request->answer, status, text);
    else
        answer_fault(&request->answer, &none);
    free(text);
    json_decref(value);
}

static json_t *named(const struct request *request, uint64_t rev, const char *id_member,
                     const char *rev_member)
{
    char rev_text[REV_TEXT_BYTES];

    (void)snprintf(rev_text, sizeof rev_text, "0-%llu", (unsigned long long)rev);
    return json_pack("{s:s+, s:s}", id_member, "_local/", request->id, rev_member, rev_text);
}

void local_get(struct request *request)
{
    struct buffer body = {0};
    struct error error;
    json_t *value, *fields;
    uint64_t rev;
    int found =
        revs_local_get(request->service->store, request->db, request->id, &rev, &body, &error);

    if (found < 0)
        answer_fault(&request->answer, &error);
    else if (found == 0)
        answer_error(&request->answer, 404, "not_found", "missing");
    if (found == 1) {
        value = named(request, rev, "_id", "_rev");
        fields = json_loadb((const char *)body.data, body.length, 0, NULL);
        if (value != NULL && fields != NULL)
            (void)json_object_update(value, fields);
        json_decref(fields);
        answer_value(request, 200, value);
    }
    buffer_free(&body);
}

void local_begin(struct request *request)
{
    struct buffer *body = calloc(1, sizeof *body);

    if (body == NULL)
        answer_json(&request->answer, 500, "");
    else
        body->limit = ROUTES_LOCAL_BYTES;
    request->state = body;
}

void local_body(struct request *request, const void *bytes, size_t size)
{
    struct error error;

    if (buffer_append(request->state, bytes, size, &error) != 0)
        answer_fault(&request->answer, &error);
}

/* The number of `_rev` "0-N"; 0 when there is none, -1 when it is not of that form. */
static int read_rev(json_t *value, uint64_t *rev)
{
    json_t *given = json_object_get(value, "_rev");
    const char *text = json_string_value(given);
    char *end;

    *rev = 0;
    if (given == NULL)
        return 0;
    if (text == NULL || strncmp(text, "0-", 2) != 0 || text[2] < '0' || text[2] > '9')
        return -1;
    errno = 0;
    *rev = strtoull(text + 2, &end, 10);
    return errno == 0 && *end == '\0' ? 0 : -1;
}

static int put(struct request *request, uint64_t rev, const char *text, struct error *error)
{
    struct store *store = request->service->store;
    int result;

    if (store_begin(store, error) != 0)
        return -1;
    result = revs_local_put(store, request->db, request->id, rev, text, strlen(text), error);
    if (result == 1 && store_commit(store, error) != 0)
        return -1;
    store_rollback(store);
    return result;
}

void local_put(struct request *request)
{
    const struct buffer *body = request->state;
    json_t *value = json_loadb((const char *)body->data, body->length, 0, NULL);
    char *text = NULL;
    struct error error;
    uint64_t rev;
    int result;

    if (!json_is_object(value)) {
        answer_error(&request->answer, 400, "bad_request",
                     value == NULL ? "invalid UTF-8 JSON" : "Document must be a JSON object");
        goto out;
    }
    if (read_rev(value, &rev) != 0) {
        answer_error(&request->answer, 400, "bad_request", "Invalid rev format");
        goto out;
    }
    (void)json_object_del(value, "_id");
    (void)json_object_del(value, "_rev");
    text = json_dumps(value, JSON_COMPACT);
    if (text == NULL) {
        (void)error_set(&error, ERROR_FAILED, "_local: no memory");
        result = -1;
    } else {
        result = put(request, rev, text, &error);
    }
    if (result < 0) {
        answer_fault(&request->answer, &error);
    } else if (result == 0) {
        answer_error(&request->answer, 409, "conflict", "Document update conflict.");
    } else {
        json_t *done = named(request, rev + 1, "id", "rev");

        if (done != NULL)
            (void)json_object_set_new(done, "ok", json_true());
        answer_value(request, 201, done);
    }

out:
    free(text);
    json_decref(value);
}

void local_free(struct request *request)
{
    if (request->state != NULL)
        buffer_free(request->state);
    free(request->state);
}
