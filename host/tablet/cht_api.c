/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What CHT's webapp asks of its server beside CouchDB's routes: which documents its user should hold, by the
 * view that the dock made (docs/down.md, section 3).
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/pick.h"
#include "host/tablet/route.h"
#include "store/view.h"

#define CHT_VERSION "4.22.0"
#define WARN_DOCS 10000 /* as CHT: a user who has more is warned */

static const struct pick_place asked = {"doc_ids[]", 8192};

struct cht_api {
    struct request *request;
    bool wrote;
    /* get-ids */
    int64_t count;
    char stamp[VIEW_STAMP_BYTES]; /* of the view that is read */
    char after[DOC_ID_BYTES];
    /* get-deletes */
    struct pick *pick;
    struct buffer ids; /* strings */
    size_t at;
};

static void no_memory(struct request *request)
{
    struct error error;

    (void)error_set(&error, ERROR_FAILED, "http: no memory");
    answer_fault(&request->answer, &error);
}

void cht_api_poll(struct request *request)
{
    answer_json(&request->answer, 200,
                "{\"ready\":true,\"handler\":\"medic-api\",\"version\":\"" CHT_VERSION "\","
                "\"detail\":\"All required services are running normally\"}\n");
}

void cht_api_info(struct request *request)
{
    answer_json(&request->answer, 200, "{\"version\":\"" CHT_VERSION "\"}\n");
}

/* ---- get-ids ---- */

static int write_pair(struct cht_api *api, const char *id, const char *rev, struct buffer *out,
                      struct error *error)
{
    if (buffer_printf(out, error, "%s{\"id\":", api->wrote ? ",\n" : "") != 0 ||
        answer_string(out, id, error) != 0 || buffer_printf(out, error, ",\"rev\":") != 0 ||
        answer_string(out, rev, error) != 0)
        return -1;
    api->wrote = true;
    return buffer_append(out, "}", 1, error);
}

static int write_end(struct cht_api *api, struct buffer *out, struct error *error)
{
    const struct request *request = api->request;
    int64_t last;

    if (shelf_last(request->service->store, request->db, &last, error) != 0)
        return -1;
    return buffer_printf(out, error,
                         "],\"warn_docs\":%lld,\"last_seq\":%lld,\"warn\":%s,\"limit\":%d}\n",
                         (long long)api->count, (long long)last,
                         api->count >= WARN_DOCS ? "true" : "false", WARN_DOCS);
}

/* A view that was replaced meanwhile: half of each would be no list at all, and the app would purge by it. */
static int check_view(const struct cht_api *api, struct error *error)
{
    const struct request *request = api->request;
    char stamp[VIEW_STAMP_BYTES];

    if (view_stamp(request->service->store, request->db, stamp, error) != 0)
        return -1;
    if (strcmp(stamp, api->stamp) == 0)
        return 0;
    return error_set(error, ERROR_TEMPORARY,
                     "get-ids: a newer list came while this one was sent; the app asks again");
}

static enum answer_step more_ids(struct request *request, struct buffer *out, struct error *error)
{
    struct cht_api *api = request->state;
    size_t until = out->length + ANSWER_PIECE_BYTES;
    char id[DOC_ID_BYTES], rev[DOC_REV_BYTES];
    int found = 1;

    if (api->after[0] == '\0' && buffer_printf(out, error, "{\"doc_ids_revs\":[") != 0)
        return ANSWER_FAILED;
    while (found == 1 && out->length < until) {
        found = view_next(request->service->store, request->db,
                          api->after[0] != '\0' ? api->after : NULL, id, rev, error);
        if (found == 1 && write_pair(api, id, rev, out, error) != 0)
            return ANSWER_FAILED;
        if (found == 1)
            memcpy(api->after, id, sizeof api->after);
    }
    if (found < 0 || (found == 0 && write_end(api, out, error) != 0) || check_view(api, error) != 0)
        return ANSWER_FAILED;
    return found == 1 ? ANSWER_MORE : ANSWER_END;
}

void cht_api_get_ids(struct request *request)
{
    struct cht_api *api = calloc(1, sizeof *api);
    struct error error;

    request->state = api;
    if (api == NULL) {
        no_memory(request);
        return;
    }
    api->request = request;
    if (view_stamp(request->service->store, request->db, api->stamp, &error) != 0 ||
        view_count(request->service->store, request->db, &api->count, &error) != 0) {
        answer_fault(&request->answer, &error);
    } else if (api->count < 0) {
        /* An empty list would say that nothing is this user's, and the app would purge what it has. */
        answer_error(
            &request->answer, 503, "service_unavailable",
            "No courier has brought the list of this user's documents yet: try again later");
    } else {
        request->answer.status = 200;
        request->answer.more = more_ids;
    }
}

/* ---- get-deletes ---- */

static int take_id(unsigned place, const char *json, size_t size, void *context,
                   struct error *error)
{
    struct cht_api *api = context;
    json_t *value = json_loadb(json, size, JSON_DECODE_ANY, NULL);
    const char *id = json_string_value(value);
    int result;

    (void)place;
    if (id == NULL || strlen(id) >= DOC_ID_BYTES)
        result = error_set(error, ERROR_USAGE, "`doc_ids` must be an array of ids");
    else
        result = routes_hold(api->request, strlen(id) + 1, error) != 0
                     ? -1
                     : buffer_append(&api->ids, id, strlen(id) + 1, error);
    json_decref(value);
    return result;
}

void cht_api_deletes_begin(struct request *request)
{
    struct cht_api *api = calloc(1, sizeof *api);
    struct error error;

    request->state = api;
    if (api == NULL) {
        no_memory(request);
        return;
    }
    api->request = request;
    api->pick = pick_new(&asked, 1, take_id, api, &error);
    if (api->pick == NULL ||
        view_count(request->service->store, request->db, &api->count, &error) != 0)
        answer_fault(&request->answer, &error);
}

static void refuse(struct request *request, struct error *error)
{
    const struct cht_api *api = request->state;

    if (pick_fault(api->pick) == PICK_MALFORMED)
        error->kind = ERROR_USAGE;
    answer_fault(&request->answer, error);
}

void cht_api_deletes_body(struct request *request, const void *bytes, size_t size)
{
    struct cht_api *api = request->state;
    struct error error;

    if (pick_feed(api->pick, bytes, size, &error) != 0)
        refuse(request, &error);
}

/* By the view; while there is none, by what is on the shelf. */
static int is_gone(const struct cht_api *api, const char *id, struct error *error)
{
    struct store *store = api->request->service->store;
    struct shelf_doc doc;
    int found;

    if (api->count >= 0)
        return view_gone(store, api->request->db, id, error);
    found = shelf_find(store, api->request->db, id, NULL, &doc, error);
    return found == 1 ? doc.deleted : found;
}

static enum answer_step more_deletes(struct request *request, struct buffer *out,
                                     struct error *error)
{
    struct cht_api *api = request->state;
    size_t until = out->length + ANSWER_PIECE_BYTES;

    if (api->at == 0 && buffer_printf(out, error, "{\"doc_ids\":[") != 0)
        return ANSWER_FAILED;
    while (api->at < api->ids.length && out->length < until) {
        const char *id = (const char *)api->ids.data + api->at;
        int gone = is_gone(api, id, error);

        api->at += strlen(id) + 1;
        if (gone < 0 ||
            (gone == 1 && (buffer_printf(out, error, "%s", api->wrote ? "," : "") != 0 ||
                           answer_string(out, id, error) != 0)))
            return ANSWER_FAILED;
        api->wrote = api->wrote || gone == 1;
    }
    if (api->at < api->ids.length)
        return ANSWER_MORE;
    return buffer_printf(out, error, "]}\n") != 0 ? ANSWER_FAILED : ANSWER_END;
}

void cht_api_deletes_end(struct request *request)
{
    const struct cht_api *api = request->state;
    struct error error;

    if (pick_end(api->pick, &error) != 0) {
        refuse(request, &error);
    } else if (!pick_seen(api->pick, 0)) {
        answer_error(&request->answer, 400, "bad_request", "`doc_ids` must be an array of ids");
    } else {
        request->answer.status = 200;
        request->answer.more = more_deletes;
    }
}

void cht_api_free(struct request *request)
{
    struct cht_api *api = request->state;

    if (api == NULL)
        return;
    pick_free(api->pick);
    buffer_free(&api->ids);
    free(api);
}
