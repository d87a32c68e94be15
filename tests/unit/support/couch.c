/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/couch.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>
#include <microhttpd.h>

#include "base/buffer.h"

#define FAULTS_MOST 16

struct fault {
    char path[64], who[64];
    unsigned status, times;
    char *body; /* NULL: a page */
    bool do_it, cut;
};

struct couch {
    struct MHD_Daemon *daemon;
    char url[64];
    pthread_mutex_t lock;
    json_t *stored;   /* "DB ID REV": true */
    json_t *dbs;      /* "DB": true */
    json_t *requests; /* lines */
    json_t *tries;    /* "ID": how often it failed */
    struct fault faults[FAULTS_MOST];
    size_t faults_count;
    size_t most_docs, most_bytes;
    unsigned in_flight, most_in_flight, delay_ms;
    struct display *display;
};

struct call {
    struct buffer body;
};

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));

    return text != NULL ? text : "";
}

static char *print(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *print(const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    assert_true(vasprintf(&text, format, arguments) >= 0);
    va_end(arguments);
    return text;
}

static bool stored(const struct couch *c, const char *db, const char *id, const char *rev)
{
    char *key = print("%s %s %s", db, id, rev);
    bool found = json_object_get(c->stored, key) != NULL;

    free(key);
    return found;
}

static void store(struct couch *c, const char *db, const char *id, const char *rev)
{
    char *key = print("%s %s %s", db, id, rev);

    json_object_set_new(c->stored, key, json_true());
    free(key);
}

static bool stored_any(const struct couch *c, const char *db, const char *id)
{
    char *start = print("%s %s ", db, id);
    const char *key;
    json_t *value;
    bool found = false;

    json_object_foreach (c->stored, key, value)
        found = found || strncmp(key, start, strlen(start)) == 0;
    free(start);
    return found;
}

static json_t *revs_diff(const struct couch *c, const char *db, const json_t *asked)
{
    json_t *answer = json_object(), *revs, *rev;
    const char *id;
    size_t at;

    json_object_foreach ((json_t *)(uintptr_t)asked, id, revs) {
        json_t *missing = json_array();

        json_array_foreach (revs, at, rev) {
            if (!stored(c, db, id, json_string_value(rev)))
                json_array_append(missing, rev);
        }
        if (json_array_size(missing) != 0)
            json_object_set_new(answer, id, json_pack("{s:o}", "missing", missing));
        else
            json_decref(missing);
    }
    return answer;
}

/* True while the document still has to fail. */
static bool fails(struct couch *c, const json_t *doc)
{
    const char *id = text_of(doc, "_id");
    json_int_t most = json_integer_value(json_object_get(doc, "x_times"));
    json_int_t so_far = json_integer_value(json_object_get(c->tries, id));

    json_object_set_new(c->tries, id, json_integer(so_far + 1));
    return most == 0 || so_far < most;
}

static bool in_request(const json_t *docs, const char *id)
{
    size_t at;
    const json_t *doc;

    json_array_foreach (docs, at, doc) {
        if (strcmp(text_of(doc, "_id"), id) == 0)
            return true;
    }
    return false;
}

static json_t *bulk_docs(struct couch *c, const char *db, const json_t *docs, unsigned *status)
{
    json_t *answer = json_array();
    const json_t *doc, *number;
    const char *needs;
    size_t at;

    *status = 201;
    json_array_foreach (docs, at, doc) {
        if ((number = json_object_get(doc, "x_fail")) != NULL && fails(c, doc)) {
            *status = (unsigned)json_integer_value(number);
            return answer;
        }
    }
    json_array_foreach (docs, at, doc) {
        const char *id = text_of(doc, "_id");

        needs = text_of(doc, "x_needs");
        if ((number = json_object_get(doc, "x_part")) != NULL) {
            *status = (unsigned)json_integer_value(number);
            return answer;
        }
        if (json_object_get(doc, "x_silent") != NULL)
            continue;
        if (json_object_get(doc, "x_forbidden") != NULL ||
            (*needs != '\0' && !stored_any(c, db, needs) && !in_request(docs, needs))) {
            json_array_append_new(answer, json_pack("{s:s,s:s}", "id", id, "error", "forbidden"));
            continue;
        }
        store(c, db, id, text_of(doc, "_rev"));
    }
    return answer;
}

static void note(struct couch *c, const char *method, const char *path, const json_t *body,
                 size_t size)
{
    struct buffer line = {0};
    const json_t *doc, *docs = json_object_get(body, "docs");
    size_t at;

    (void)buffer_printf(&line, NULL, "%s %s", method, path);
    json_array_foreach (docs, at, doc)
        (void)buffer_printf(&line, NULL, " %s",
                            text_of(doc, json_object_get(doc, "_id") != NULL ? "_id" : "id"));
    json_array_append_new(c->requests, json_stringn((char *)line.data, line.length));
    if (docs != NULL && json_array_size(docs) > c->most_docs)
        c->most_docs = json_array_size(docs);
    if (docs != NULL && size > c->most_bytes)
        c->most_bytes = size;
    buffer_free(&line);
}

static struct fault *strike(struct couch *c, const char *path, const char *who)
{
    for (size_t i = 0; i < c->faults_count; i++) {
        struct fault *fault = &c->faults[i];

        if (fault->times != 0 && strstr(path, fault->path) != NULL &&
            (fault->who[0] == '\0' || strcmp(fault->who, who) == 0)) {
            fault->times--;
            return fault;
        }
    }
    return NULL;
}

static char *answer_to(struct couch *c, struct display_ask *ask, const struct buffer *text,
                       unsigned *status, const char **type, bool *cut)
{
    const char *method = ask->method, *path = ask->path;
    json_t *body = json_loadb((const char *)text->data, text->length, 0, NULL), *answer = NULL;
    struct fault *fault = strike(c, path, ask->who);
    char db[128] = "", *out = NULL;

    note(c, method, path, body, text->length);
    (void)sscanf(path, "/%127[^/]", db);
    *type = "application/json";
    *status = 200;
    *cut = fault != NULL && fault->cut;
    ask->body = body;
    if (fault == NULL || fault->do_it || fault->cut) {
        if ((out = display_answer(c->display, ask, status)) != NULL) {
            answer = NULL;
        } else if (strcmp(path, "/") == 0) {
            answer = json_pack("{s:s}", "couchdb", "Welcome");
        } else if (strcmp(method, "PUT") == 0) {
            json_object_set_new(c->dbs, db, json_true());
            *status = 201;
        } else if (json_object_get(c->dbs, db) == NULL) {
            *status = 404;
        } else if (strstr(path, "/_revs_diff") != NULL) {
            answer = revs_diff(c, db, body);
        } else if (strstr(path, "/_bulk_docs") != NULL) {
            answer = bulk_docs(c, db, json_object_get(body, "docs"), status);
        }
    }
    if (fault != NULL && !fault->cut) {
        free(out);
        *status = fault->status;
        *type = fault->body != NULL ? "application/json" : "text/html";
        out = strdup(fault->body != NULL ? fault->body : "<html>fault</html>");
    } else if (out == NULL && *status >= 400) {
        out = print("{\"error\":\"e%u\",\"reason\":\"asked for\"}", *status);
    } else if (out == NULL) {
        out = answer != NULL ? json_dumps(answer, JSON_COMPACT) : strdup("{\"ok\":true}");
    }
    json_decref(answer);
    json_decref(body);
    return out;
}

/* An answer that ends in its middle. */
struct part {
    char *text;
    size_t size;
};

static ssize_t read_part(void *context, uint64_t at, char *to, size_t most)
{
    const struct part *part = context;
    size_t left = at < part->size ? part->size - (size_t)at : 0;

    if (left == 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    left = left < most ? left : most;
    memcpy(to, part->text + at, left);
    return (ssize_t)left;
}

static void free_part(void *context)
{
    struct part *part = context;

    free(part->text);
    free(part);
}

static struct MHD_Response *make_response(char *text, bool cut)
{
    size_t size = strlen(text);
    struct part *part;

    if (!cut)
        return MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
    part = calloc(1, sizeof *part);
    assert_non_null(part);
    part->text = text;
    part->size = size / 2;
    return MHD_create_response_from_callback(size, 4096, read_part, part, free_part);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **state)
{
    struct couch *c = context;
    struct call *call = *state;
    struct MHD_Response *response;
    const char *type;
    struct display_ask ask = {.method = method, .path = path};
    struct timespec delay = {0};
    char *password = NULL, *who, *out;
    unsigned status;
    bool cut;
    enum MHD_Result result;

    (void)version;
    if (call == NULL) {
        *state = calloc(1, sizeof *call);
        pthread_mutex_lock(&c->lock);
        if (++c->in_flight > c->most_in_flight)
            c->most_in_flight = c->in_flight;
        pthread_mutex_unlock(&c->lock);
        return *state != NULL ? MHD_YES : MHD_NO;
    }
    if (*size != 0) {
        result = buffer_append(&call->body, data, *size, NULL) == 0 ? MHD_YES : MHD_NO;
        *size = 0;
        return result;
    }
    who = MHD_basic_auth_get_username_password(connection, &password);
    ask.who = who != NULL ? who : "";
    ask.since = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "since");
    ask.limit = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "limit");
    pthread_mutex_lock(&c->lock);
    out = answer_to(c, &ask, &call->body, &status, &type, &cut);
    delay.tv_nsec = (long)c->delay_ms * 1000000L;
    pthread_mutex_unlock(&c->lock);
    (void)nanosleep(&delay, NULL);
    MHD_free(who);
    MHD_free(password);
    response = make_response(out, cut);
    (void)MHD_add_response_header(response, "Content-Type", type);
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static void completed(void *context, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode code)
{
    struct couch *c = context;
    struct call *call = *state;

    (void)connection;
    (void)code;
    if (call == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    c->in_flight--;
    pthread_mutex_unlock(&c->lock);
    buffer_free(&call->body);
    free(call);
    *state = NULL;
}

struct couch *couch_new(void)
{
    struct couch *c = calloc(1, sizeof *c);
    struct sockaddr_in address = {.sin_family = AF_INET};
    const union MHD_DaemonInfo *info;

    assert_non_null(c);
    c->stored = json_object();
    c->dbs = json_pack("{s:b}", "medic", 1);
    c->requests = json_array();
    c->tries = json_object();
    c->display = display_new();
    assert_int_equal(pthread_mutex_init(&c->lock, NULL), 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, handle, c,
                                 MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
                                 MHD_OPTION_NOTIFY_COMPLETED, completed, c, MHD_OPTION_END);
    assert_non_null(c->daemon);
    info = MHD_get_daemon_info(c->daemon, MHD_DAEMON_INFO_BIND_PORT);
    assert_non_null(info);
    (void)snprintf(c->url, sizeof c->url, "http://127.0.0.1:%u", info->port);
    return c;
}

void couch_free(struct couch *c)
{
    if (c == NULL)
        return;
    MHD_stop_daemon(c->daemon);
    couch_clear_faults(c);
    json_decref(c->stored);
    json_decref(c->dbs);
    json_decref(c->requests);
    json_decref(c->tries);
    display_free(c->display);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

const char *couch_url(const struct couch *c)
{
    return c->url;
}

bool couch_has(struct couch *c, const char *db, const char *id, const char *rev)
{
    bool found;

    pthread_mutex_lock(&c->lock);
    found = stored(c, db, id, rev);
    pthread_mutex_unlock(&c->lock);
    return found;
}

void couch_put(struct couch *c, const char *db, const char *id, const char *rev)
{
    pthread_mutex_lock(&c->lock);
    store(c, db, id, rev);
    pthread_mutex_unlock(&c->lock);
}

size_t couch_count(struct couch *c)
{
    return json_object_size(c->stored);
}

void couch_fault(struct couch *c, const char *path, const char *who, unsigned status,
                 const char *body, unsigned times, bool do_it)
{
    struct fault *fault;

    pthread_mutex_lock(&c->lock);
    assert_true(c->faults_count < FAULTS_MOST);
    fault = &c->faults[c->faults_count++];
    (void)snprintf(fault->path, sizeof fault->path, "%s", path);
    (void)snprintf(fault->who, sizeof fault->who, "%s", who != NULL ? who : "");
    fault->status = status;
    fault->times = times;
    fault->body = body != NULL ? strdup(body) : NULL;
    fault->do_it = do_it;
    fault->cut = false;
    pthread_mutex_unlock(&c->lock);
}

void couch_cut(struct couch *c, const char *path, unsigned times)
{
    couch_fault(c, path, NULL, 200, NULL, times, true);
    pthread_mutex_lock(&c->lock);
    c->faults[c->faults_count - 1].cut = true;
    pthread_mutex_unlock(&c->lock);
}

void couch_delay(struct couch *c, unsigned ms)
{
    pthread_mutex_lock(&c->lock);
    c->delay_ms = ms;
    pthread_mutex_unlock(&c->lock);
}

struct display *couch_lock_display(struct couch *c)
{
    pthread_mutex_lock(&c->lock);
    return c->display;
}

void couch_unlock_display(struct couch *c)
{
    pthread_mutex_unlock(&c->lock);
}

void couch_clear_faults(struct couch *c)
{
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->faults_count; i++)
        free(c->faults[i].body);
    c->faults_count = 0;
    pthread_mutex_unlock(&c->lock);
}

size_t couch_requests(struct couch *c, const char *text)
{
    size_t at, count = 0;
    const json_t *line;

    pthread_mutex_lock(&c->lock);
    json_array_foreach (c->requests, at, line)
        count += strstr(json_string_value(line), text) != NULL;
    pthread_mutex_unlock(&c->lock);
    return count;
}

long couch_first(struct couch *c, const char *text)
{
    long found = -1;
    size_t at;
    const json_t *line;

    pthread_mutex_lock(&c->lock);
    json_array_foreach (c->requests, at, line) {
        if (strstr(json_string_value(line), text) != NULL) {
            found = (long)at;
            break;
        }
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

size_t couch_sent(struct couch *c, const char *id)
{
    char *text = print(" %s", id);
    size_t count = 0, at, length = strlen(text);
    const json_t *line;

    pthread_mutex_lock(&c->lock);
    json_array_foreach (c->requests, at, line) {
        const char *found = strchr(json_string_value(line), ' ') + 1;

        while ((found = strstr(found, text)) != NULL) {
            found += length;
            count += *found == ' ' || *found == '\0';
        }
    }
    pthread_mutex_unlock(&c->lock);
    free(text);
    return count;
}

void couch_forget_requests(struct couch *c)
{
    pthread_mutex_lock(&c->lock);
    json_array_clear(c->requests);
    c->most_docs = c->most_bytes = 0;
    pthread_mutex_unlock(&c->lock);
}

size_t couch_most_docs(struct couch *c)
{
    return c->most_docs;
}

size_t couch_most_bytes(struct couch *c)
{
    return c->most_bytes;
}

unsigned couch_most_in_flight(struct couch *c)
{
    return c->most_in_flight;
}
