/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/routes.h"

#include <stdio.h>
#include <string.h>

#include "host/tablet/databases.h"
#include "host/tablet/route.h"

static void welcome(struct request *request)
{
    struct error error;

    /* PouchDB takes the uuid into the name of its checkpoint: another store is offered everything. */
    if (buffer_printf(&request->answer.body, &error,
                      "{\"couchdb\":\"Welcome\",\"version\":\"3.3.3\",\"uuid\":\"%s\","
                      "\"features\":[],\"vendor\":{\"name\":\"Boda\"}}\n",
                      store_uuid(request->service->store)) != 0)
        answer_fault(&request->answer, &error);
    else
        request->answer.status = 200;
}

/* The names of the databases have no character that JSON would escape (STORE_NAME_BYTES). */
static void database_info(struct request *request)
{
    struct store *store = request->service->store;
    struct error error;
    uint64_t docs;
    int64_t seq;

    if (shelf_last(store, request->db, &seq, &error) != 0 ||
        shelf_pending(store, request->db, 0, &docs, &error) != 0 ||
        buffer_printf(&request->answer.body, &error,
                      "{\"db_name\":\"%s\",\"doc_count\":%llu,\"doc_del_count\":0,"
                      "\"update_seq\":%lld,\"purge_seq\":0,\"compact_running\":false,"
                      "\"instance_start_time\":\"0\"}\n",
                      request->db, (unsigned long long)docs, (long long)seq) != 0)
        answer_fault(&request->answer, &error);
    else
        request->answer.status = 200;
}

static void database_exists(struct request *request)
{
    answer_error(&request->answer, 412, "file_exists",
                 "The database could not be created, the file already exists.");
}

static void committed(struct request *request)
{
    answer_json(&request->answer, 201, "{\"ok\":true,\"instance_start_time\":\"0\"}\n");
}

#define NO_BODY ROUTES_LOCAL_BYTES, false, NULL, NULL
#define ASKED ROUTES_ASKED_BYTES, false

static const struct route routes[] = {
    {"GET", ROUTE_SERVER, "/", NO_BODY, welcome, NULL},
    {"GET", ROUTE_SERVER, "/dbinfo", NO_BODY, welcome, NULL},
    {"GET", ROUTE_SERVER, "/setup/poll", NO_BODY, cht_api_poll, NULL},
    {"GET", ROUTE_SERVER, "/api/info", NO_BODY, cht_api_info, NULL},
    {"GET", ROUTE_SERVER, "/api/v1/replication/get-ids", NO_BODY, cht_api_get_ids, cht_api_free},
    {"POST", ROUTE_SERVER, "/api/v1/replication/get-deletes", ASKED, cht_api_deletes_begin,
     cht_api_deletes_body, cht_api_deletes_end, cht_api_free},
    {"GET", ROUTE_SERVER, "/_boda/status", NO_BODY, report_get, NULL},
    {"GET", ROUTE_SERVER, "/_boda/", NO_BODY, page_get, NULL},
    {"GET", ROUTE_SERVER, "/_boda/page.css", NO_BODY, page_get, NULL},
    {"GET", ROUTE_SERVER, "/_boda/page.js", NO_BODY, page_get, NULL},

    {"GET", ROUTE_DATABASE, "/", NO_BODY, database_info, NULL},
    {"PUT", ROUTE_DATABASE, "/", NO_BODY, database_exists, NULL},
    {"POST", ROUTE_DATABASE, "/_ensure_full_commit", NO_BODY, committed, NULL},
    {"POST", ROUTE_DATABASE, "/_revs_diff", ROUTES_REVS_DIFF_BYTES, false, revs_diff_begin,
     revs_diff_body, revs_diff_end, revs_diff_free},
    {"POST", ROUTE_DATABASE, "/_bulk_docs", ROUTES_BODY_BYTES, true, upload_begin, upload_body,
     upload_end, upload_free},
    {"POST", ROUTE_DATABASE, "/_bulk_get", ASKED, bulk_get_begin, bulk_get_body, bulk_get_end,
     bulk_get_free},
    {"GET", ROUTE_DATABASE, "/_changes", ASKED, changes_begin, NULL, changes_end, changes_free},
    {"POST", ROUTE_DATABASE, "/_changes", ASKED, changes_begin, changes_body, changes_end,
     changes_free},

    {"GET", ROUTE_LOCAL, "", NO_BODY, local_get, NULL},
    {"PUT", ROUTE_LOCAL, "", ROUTES_LOCAL_BYTES, false, local_begin, local_body, local_put,
     local_free},
    {"GET", ROUTE_DOC, "", NO_BODY, document_get, document_free},
    {"GET", ROUTE_ATTACHMENT, "", NO_BODY, attachment_get, attachment_free},
};

#define ROUTES (sizeof routes / sizeof *routes)

/* What the path names. */
struct named {
    enum route_kind kind;
    const char *path;
    char below[64]; /* `path` within a database */
};

static bool is_server(const char *path)
{
    for (size_t i = 0; i < ROUTES; i++)
        if (routes[i].kind == ROUTE_SERVER && strcmp(routes[i].path, path) == 0)
            return true;
    return false;
}

/* The id whose first segment is number N, and its attachment's name behind it.  1; 0 there is none; -1. */
static int cut_id(struct request *request, unsigned n, struct named *named)
{
    int found = uri_segment(&request->uri, n, false, request->id, sizeof request->id);

    /* _design%2Fx and _design/x are the same, as CouchDB has it. */
    if (found == 1 && strcmp(request->id, "_design") == 0) {
        memcpy(request->id, "_design/", 9);
        found = uri_segment(&request->uri, ++n, false, request->id + 8, sizeof request->id - 8);
    }
    if (found != 1)
        return found;
    named->kind = ROUTE_DOC;
    found =
        uri_segment(&request->uri, n + 1, true, request->attachment, sizeof request->attachment);
    if (found == 1)
        named->kind = ROUTE_ATTACHMENT;
    return found < 0 ? -1 : 1;
}

/* As uri_segment: 1; 0 or -1 when it can be none of ours. */
static int cut_below(struct request *request, struct named *named)
{
    char first[sizeof named->below];
    int found = uri_segment(&request->uri, 1, false, first, sizeof first);
    size_t prefix = sizeof "_local/" - 1;

    named->path = "";
    if (found == 0) {
        named->kind = ROUTE_DATABASE;
        named->path = "/";
        return 1;
    }
    if (found == 1 && strcmp(first, "_local") == 0) {
        named->kind = ROUTE_LOCAL;
        return uri_segment(&request->uri, 2, true, request->id, sizeof request->id);
    }
    if (found == 1 && first[0] == '_' && strchr(first, '/') == NULL &&
        strcmp(first, "_design") != 0) {
        named->kind = ROUTE_DATABASE;
        (void)snprintf(named->below, sizeof named->below, "/%s", first);
        named->path = named->below;
        return uri_segment(&request->uri, 2, false, first, sizeof first) == 0 ? 1 : 0;
    }
    found = cut_id(request, 1, named);
    if (found == 1 && strncmp(request->id, "_local/", prefix) == 0) {
        named->kind = ROUTE_LOCAL;
        memmove(request->id, request->id + prefix, strlen(request->id) - prefix + 1);
        return request->id[0] != '\0';
    }
    return found;
}

static int cut(struct request *request, struct named *named)
{
    memset(named, 0, sizeof *named);
    if (is_server(request->uri.text)) {
        named->kind = ROUTE_SERVER;
        named->path = request->uri.text;
        memcpy(request->db, "medic", sizeof "medic"); /* CHT's routes are of that */
        return 1;
    }
    if (uri_segment(&request->uri, 0, false, request->db, sizeof request->db) != 1 ||
        !databases_has(request->service->identity, request->db))
        return -2;
    return cut_below(request, named);
}

static bool fits(const struct route *route, const struct named *named)
{
    return route->kind == named->kind && strcmp(route->path, named->path) == 0;
}

/* CouchDB's 405 names what would go. */
static void wrong_method(struct request *request, const struct named *named)
{
    static const struct {
        const char *allow, *reason;
    } words[] = {
        [1] = {"GET,HEAD", "Only GET,HEAD allowed"},           [2] = {"PUT", "Only PUT allowed"},
        [3] = {"GET,HEAD,PUT", "Only GET,HEAD,PUT allowed"},   [4] = {"POST", "Only POST allowed"},
        [5] = {"GET,HEAD,POST", "Only GET,HEAD,POST allowed"},
    };
    unsigned methods = 0;

    for (size_t i = 0; i < ROUTES; i++)
        if (fits(&routes[i], named))
            methods |= routes[i].method[0] == 'G' ? 1u : routes[i].method[1] == 'U' ? 2u : 4u;
    if (methods == 0 || methods >= sizeof words / sizeof *words) {
        answer_error(&request->answer, 404, "not_found", "missing");
        return;
    }
    request->answer.allow = words[methods].allow;
    answer_error(&request->answer, 405, "method_not_allowed", words[methods].reason);
}

void routes_begin(struct request *request, struct service *service, const char *method,
                  const char *uri)
{
    struct named named;
    struct error error;
    int found;

    memset(request, 0, sizeof *request);
    request->service = service;
    if (uri_read(&request->uri, uri, &error) != 0) {
        answer_fault(&request->answer, &error);
        return;
    }
    found = cut(request, &named);
    if (found != 1) {
        answer_error(&request->answer, 404, "not_found",
                     found == -2 ? "Database does not exist." : "missing");
        return;
    }
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < ROUTES && request->route == NULL; i++)
        if (fits(&routes[i], &named) && strcmp(routes[i].method, method) == 0)
            request->route = &routes[i];
    if (request->route == NULL)
        wrong_method(request, &named);
    else if (request->route->begin != NULL)
        request->route->begin(request);
}

uint64_t routes_body_limit(const struct request *request)
{
    return request->route != NULL ? request->route->body_limit_bytes : ROUTES_LOCAL_BYTES;
}

void routes_too_large(struct request *request)
{
    if (request->answer.status != 0)
        return;
    answer_error(&request->answer, 413, "too_large", "the request entity is too large");
}

bool routes_must_wait(const struct request *request)
{
    return request->answer.status == 0 && request->route->takes_outbox &&
           request->service->outbox_user != NULL && request->service->outbox_user != request;
}

void routes_body(struct request *request, const void *bytes, size_t size)
{
    request->received += size;
    if (request->answer.status == 0 && request->received > routes_body_limit(request))
        routes_too_large(request);
    if (request->answer.status == 0 && size > 0 && request->route->body != NULL)
        request->route->body(request, bytes, size);
}

void routes_end(struct request *request)
{
    struct error error;

    if (request->answer.status != 0)
        return;
    request->route->end(request);
    /* A fault that shows at once has a status of its own. */
    if (request->answer.more != NULL && request->answer.body.length == 0 &&
        routes_more(request, &error) == ANSWER_FAILED)
        answer_fault(&request->answer, &error);
}

enum answer_step routes_more(struct request *request, struct error *error)
{
    enum answer_step step = ANSWER_END;

    if (request->answer.more != NULL)
        step = request->answer.more(request, &request->answer.body, error);
    if (step == ANSWER_END)
        request->answer.more = NULL;
    return step;
}

int routes_hold(struct request *request, size_t bytes, struct error *error)
{
    struct service *service = request->service;

    if (bytes > ROUTES_HELD_BYTES - service->held_bytes)
        return error_set(error, ERROR_TEMPORARY,
                         "too much is asked for at the same time; try again");
    service->held_bytes += bytes;
    request->held_bytes += bytes;
    return 0;
}

void routes_release(struct request *request, size_t bytes)
{
    request->service->held_bytes -= bytes;
    request->held_bytes -= bytes;
}

void routes_free(struct request *request)
{
    if (request->route != NULL && request->route->free != NULL)
        request->route->free(request);
    request->route = NULL;
    if (request->service != NULL)
        routes_release(request, request->held_bytes);
    uri_free(&request->uri);
    answer_free(&request->answer);
}
