/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/routes.h"

#include <stdio.h>
#include <string.h>

#include "host/tablet/route.h"

#define LOCAL "/_local/" /* the one path with a name behind it */

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
    struct error error;

    if (buffer_printf(
            &request->answer.body, &error,
            "{\"db_name\":\"%s\",\"doc_count\":0,\"doc_del_count\":0,\"update_seq\":\"0\","
            "\"purge_seq\":\"0\",\"compact_running\":false,"
            "\"instance_start_time\":\"0\"}\n",
            request->db) != 0)
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

static const struct route routes[] = {
    {"GET", "", ROUTES_LOCAL_BYTES, false, NULL, NULL, welcome, NULL},
    {"GET", "/", ROUTES_LOCAL_BYTES, false, NULL, NULL, database_info, NULL},
    {"PUT", "/", ROUTES_LOCAL_BYTES, false, NULL, NULL, database_exists, NULL},
    {"GET", LOCAL, ROUTES_LOCAL_BYTES, false, NULL, NULL, local_get, NULL},
    {"PUT", LOCAL, ROUTES_LOCAL_BYTES, false, local_begin, local_body, local_put, local_free},
    {"POST", "/_revs_diff", ROUTES_REVS_DIFF_BYTES, false, revs_diff_begin, revs_diff_body,
     revs_diff_end, revs_diff_free},
    {"POST", "/_bulk_docs", ROUTES_BODY_BYTES, true, upload_begin, upload_body, upload_end,
     upload_free},
    {"POST", "/_ensure_full_commit", ROUTES_LOCAL_BYTES, false, NULL, NULL, committed, NULL},
};

#define ROUTES (sizeof routes / sizeof *routes)

static bool is_ours(const struct service *service, const char *db)
{
    char meta[DOC_DB_BYTES];

    (void)snprintf(meta, sizeof meta, "medic-user-%s-meta", identity_user(service->identity));
    return strcmp(db, "medic") == 0 ||
           (identity_user(service->identity)[0] != '\0' && strcmp(db, meta) == 0);
}

/* Cut PATH into the database, what is behind it ("/", "/_revs_diff", LOCAL), and a _local document's
 * id.  0, or -1 when it can be none of ours. */
static int cut(struct request *request, const char *path, const char **rest)
{
    size_t length;

    path++;
    if (*path == '\0' || strcmp(path, "dbinfo") == 0) {
        *rest = "";
        return 0;
    }
    length = strcspn(path, "/");
    *rest = path[length] != '\0' ? path + length : "/";
    if (length >= sizeof request->db)
        return -1;
    memcpy(request->db, path, length);
    request->db[length] = '\0';
    if (strncmp(*rest, LOCAL, sizeof LOCAL - 1) != 0)
        return 0;
    length = strlen(*rest + sizeof LOCAL - 1);
    if (length == 0 || length >= sizeof request->id)
        return -1;
    memcpy(request->id, *rest + sizeof LOCAL - 1, length + 1);
    *rest = LOCAL;
    return 0;
}

/* CouchDB's 405 names what would go. */
static void wrong_method(struct request *request, const char *rest)
{
    bool get = false, put = false, post = false;

    for (size_t i = 0; i < ROUTES; i++) {
        if (strcmp(routes[i].path, rest) != 0)
            continue;
        get = get || strcmp(routes[i].method, "GET") == 0;
        put = put || strcmp(routes[i].method, "PUT") == 0;
        post = post || strcmp(routes[i].method, "POST") == 0;
    }
    if (!get && !put && !post) {
        answer_error(&request->answer, 404, "not_found", "missing");
        return;
    }
    request->answer.allow = put ? "GET,HEAD,PUT" : get ? "GET,HEAD" : "POST";
    answer_error(&request->answer, 405, "method_not_allowed",
                 put   ? "Only GET,HEAD,PUT allowed"
                 : get ? "Only GET,HEAD allowed"
                       : "Only POST allowed");
}

void routes_begin(struct request *request, struct service *service, const char *method,
                  const char *path)
{
    const char *rest = "";

    memset(request, 0, sizeof *request);
    request->service = service;
    if (path[0] != '/' || cut(request, path, &rest) != 0) {
        answer_error(&request->answer, 404, "not_found", "missing");
        return;
    }
    if (rest[0] != '\0' && !is_ours(service, request->db)) {
        answer_error(&request->answer, 404, "not_found", "Database does not exist.");
        return;
    }
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < ROUTES && request->route == NULL; i++)
        if (strcmp(routes[i].path, rest) == 0 && strcmp(routes[i].method, method) == 0)
            request->route = &routes[i];
    if (request->route == NULL)
        wrong_method(request, rest);
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
    if (request->answer.status == 0)
        request->route->end(request);
}

void routes_free(struct request *request)
{
    if (request->route != NULL && request->route->free != NULL)
        request->route->free(request);
    request->route = NULL;
    answer_free(&request->answer);
}
