/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/front.h"

#include <ctype.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "base/buffer.h"

#define FAULTS_MOST 32
#define LINES_MOST 4096
#define WRONG_MOST 5

struct fault {
    const char *path, *name, *value, *body;
    unsigned status, times; /* status 0: cut */
};

struct front {
    struct MHD_Daemon *daemon;
    unsigned port;
    char url[64];
    pthread_mutex_t mutex;
    struct fault faults[FAULTS_MOST];
    size_t faults_count;
    char *lines[LINES_MOST];
    size_t lines_count, connections, in_flight, most_in_flight;
    unsigned wrong, session, delay_ms;
    bool refuse_gzip, broken;
};

struct exchange {
    struct buffer line, body;
};

static void must(bool good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "front: %s failed\n", what);
        abort();
    }
}

static void append(struct buffer *to, const void *bytes, size_t size)
{
    must(buffer_append(to, bytes, size, NULL) == 0, "memory");
}

static enum MHD_Result note_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct buffer *line = context;

    (void)kind;
    append(line, "|", 1);
    for (; *name != '\0'; name++) {
        char lower = (char)tolower((unsigned char)*name);

        append(line, &lower, 1);
    }
    append(line, ": ", 2);
    append(line, value, value == NULL ? 0 : strlen(value));
    return MHD_YES;
}

static void note_body(struct exchange *e, bool gzipped)
{
    unsigned char *text = malloc(e->body.length * 1100 + 1000);
    z_stream z = {0};

    must(text != NULL, "memory");
    append(&e->line, "|body:", 6);
    if (gzipped) {
        z.next_in = e->body.data;
        z.avail_in = (uInt)e->body.length;
        z.next_out = text;
        z.avail_out = (uInt)(e->body.length * 1100 + 1000);
        must(inflateInit2(&z, 15 + 16) == Z_OK && inflate(&z, Z_FINISH) == Z_STREAM_END, "gunzip");
        (void)inflateEnd(&z);
        append(&e->line, text, z.total_out);
    } else {
        append(&e->line, e->body.data, e->body.length);
    }
    append(&e->line, "|", 2); /* with a zero */
    free(text);
}

static struct MHD_Response *text_response(const char *body)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(body), (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    const char *type = body[0] == '<' ? "text/html" : "application/json";

    must(response != NULL && MHD_add_response_header(response, "Content-Type", type) == MHD_YES,
         "response");
    return response;
}

static unsigned answer_login(struct front *f, struct MHD_Connection *connection, struct exchange *e,
                             struct MHD_Response **response)
{
    const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type");
    json_t *body = json_loadb((const char *)e->body.data, e->body.length, 0, NULL);
    const char *user = json_string_value(json_object_get(body, "user"));
    const char *password = json_string_value(json_object_get(body, "password"));
    unsigned status = 302;
    char cookie[64];

    must(user != NULL && password != NULL, "login");
    if (type == NULL || strcmp(type, "application/json") != 0) {
        status = 400;
        *response = text_response("{\"error\":\"Bad request\"}");
    } else if (f->wrong >= WRONG_MOST) {
        status = 500;
        *response = text_response("{\"error\":\"Server error\"}");
    } else if (strcmp(password, "good") != 0) {
        f->wrong++;
        status = 401;
        *response = text_response("{\"error\":\"Not logged in\"}");
    } else if (strcmp(user, "new") == 0) {
        *response = text_response("/medic/password-reset");
    } else {
        *response = text_response("/");
        (void)snprintf(cookie, sizeof cookie, "AuthSession=s%u; Path=/; HttpOnly",
                       f->broken ? f->session + 1 : f->session);
        must(MHD_add_response_header(*response, "Set-Cookie", cookie) == MHD_YES, "cookie");
    }
    json_decref(body);
    return status;
}

/* 0, or the status of a refusal. */
static unsigned check_user(struct front *f, struct MHD_Connection *connection)
{
    const char *cookie = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Cookie");
    char *name, *password = NULL, session[32];
    bool good = false;

    name = MHD_basic_auth_get_username_password(connection, &password);
    if (name != NULL) {
        if (f->wrong >= WRONG_MOST)
            return 403;
        good = password != NULL && strcmp(password, "good") == 0;
        f->wrong += !good;
    } else if (cookie != NULL) {
        (void)snprintf(session, sizeof session, "AuthSession=s%u", f->session);
        good = strcmp(cookie, session) == 0;
    }
    MHD_free(name);
    MHD_free(password);
    return good ? 0 : 401;
}

static struct fault *find_fault(struct front *f, const char *path)
{
    for (size_t i = 0; i < f->faults_count; i++)
        if (f->faults[i].times > 0 && strstr(path, f->faults[i].path) != NULL) {
            f->faults[i].times--;
            return &f->faults[i];
        }
    return NULL;
}

static ssize_t half_answer(void *context, uint64_t at, char *to, size_t most)
{
    static const char half[] = {'{', '"', 'h', 'a', 'l', 'f', '"', ':'};

    (void)context;
    if (at > 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    must(most >= sizeof half, "room");
    memcpy(to, half, sizeof half);
    return sizeof half;
}

static unsigned answer(struct front *f, struct MHD_Connection *connection, const char *path,
                       struct exchange *e, bool gzipped, struct MHD_Response **response)
{
    struct fault *fault = find_fault(f, path);
    unsigned status;

    if (fault != NULL && fault->status == 0) {
        *response = MHD_create_response_from_callback(1000, 64, half_answer, NULL, NULL);
        must(*response != NULL, "response");
        return 200;
    }
    if (fault != NULL) {
        *response = text_response(fault->body);
        if (fault->name != NULL)
            must(MHD_add_response_header(*response, fault->name, fault->value) == MHD_YES,
                 "header");
        return fault->status;
    }
    if (strcmp(path, "/medic/login") == 0)
        return answer_login(f, connection, e, response);
    status = check_user(f, connection);
    if (status != 0) {
        *response = text_response(status == 403 ? "{\"reason\":\"Account is temporarily locked\"}"
                                                : "{\"error\":\"unauthorized\"}");
        return status;
    }
    if (gzipped && f->refuse_gzip) {
        *response = text_response("{\"error\":\"bad_request\"}");
        return 400;
    }
    *response = text_response("{\"ok\":true}");
    return 200;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *bytes, size_t *size, void **own)
{
    struct front *f = context;
    struct exchange *e = *own;
    struct MHD_Response *response = NULL;
    const char *encoding;
    struct timespec pause;
    enum MHD_Result result;
    unsigned status;
    bool gzipped;

    (void)version;
    if (e == NULL) {
        *own = calloc(1, sizeof *e);
        return *own != NULL ? MHD_YES : MHD_NO;
    }
    if (*size > 0) {
        append(&e->body, bytes, *size);
        *size = 0;
        return MHD_YES;
    }
    encoding = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Encoding");
    gzipped = encoding != NULL && strcmp(encoding, "gzip") == 0;
    append(&e->line, method, strlen(method));
    append(&e->line, " ", 1);
    append(&e->line, path, strlen(path));
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, note_header, &e->line);
    note_body(e, gzipped);
    (void)pthread_mutex_lock(&f->mutex);
    must(f->lines_count < LINES_MOST, "lines");
    f->lines[f->lines_count++] = strdup((const char *)e->line.data);
    if (++f->in_flight > f->most_in_flight)
        f->most_in_flight = f->in_flight;
    pause = (struct timespec){0, (long)f->delay_ms * 1000000};
    (void)pthread_mutex_unlock(&f->mutex);
    (void)nanosleep(&pause, NULL);
    (void)pthread_mutex_lock(&f->mutex);
    status = answer(f, connection, path, e, gzipped, &response);
    f->in_flight--;
    (void)pthread_mutex_unlock(&f->mutex);
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static void on_end(void *context, struct MHD_Connection *connection, void **own,
                   enum MHD_RequestTerminationCode code)
{
    struct exchange *e = *own;

    (void)context;
    (void)connection;
    (void)code;
    if (e == NULL)
        return;
    buffer_free(&e->line);
    buffer_free(&e->body);
    free(e);
    *own = NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **own,
                          enum MHD_ConnectionNotificationCode code)
{
    struct front *f = context;

    (void)connection;
    (void)own;
    (void)pthread_mutex_lock(&f->mutex);
    f->connections += code == MHD_CONNECTION_NOTIFY_STARTED;
    (void)pthread_mutex_unlock(&f->mutex);
}

struct front *front_new(unsigned port, const char *certificate, const char *key)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD;
    struct front *f = calloc(1, sizeof *f);

    must(f != NULL && pthread_mutex_init(&f->mutex, NULL) == 0, "memory");
    if (certificate != NULL)
        f->daemon = MHD_start_daemon(flags | MHD_USE_TLS, 0, NULL, NULL, on_request, f,
                                     MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_NOTIFY_COMPLETED,
                                     on_end, NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection, f,
                                     MHD_OPTION_HTTPS_MEM_KEY, key, MHD_OPTION_HTTPS_MEM_CERT,
                                     certificate, MHD_OPTION_END);
    else
        f->daemon =
            MHD_start_daemon(flags, 0, NULL, NULL, on_request, f, MHD_OPTION_SOCK_ADDR, &address,
                             MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL,
                             MHD_OPTION_NOTIFY_CONNECTION, on_connection, f, MHD_OPTION_END);
    must(f->daemon != NULL, "MHD_start_daemon");
    f->port = MHD_get_daemon_info(f->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    (void)snprintf(f->url, sizeof f->url, "%s://127.0.0.1:%u",
                   certificate != NULL ? "https" : "http", f->port);
    return f;
}

void front_free(struct front *f)
{
    if (f == NULL)
        return;
    MHD_stop_daemon(f->daemon);
    for (size_t i = 0; i < f->lines_count; i++)
        free(f->lines[i]);
    (void)pthread_mutex_destroy(&f->mutex);
    free(f);
}

const char *front_url(const struct front *f)
{
    return f->url;
}

unsigned front_port(const struct front *f)
{
    return f->port;
}

void front_fault(struct front *f, const char *path, unsigned status, const char *name,
                 const char *value, const char *body, unsigned times)
{
    (void)pthread_mutex_lock(&f->mutex);
    must(f->faults_count < FAULTS_MOST, "faults");
    f->faults[f->faults_count++] = (struct fault){path, name, value, body, status, times};
    (void)pthread_mutex_unlock(&f->mutex);
}

void front_cut(struct front *f, const char *path, unsigned times)
{
    front_fault(f, path, 0, NULL, NULL, "", times);
}

void front_refuse_gzip(struct front *f)
{
    (void)pthread_mutex_lock(&f->mutex);
    f->refuse_gzip = true;
    (void)pthread_mutex_unlock(&f->mutex);
}

void front_expire(struct front *f, bool broken)
{
    (void)pthread_mutex_lock(&f->mutex);
    f->session++;
    f->broken = broken;
    (void)pthread_mutex_unlock(&f->mutex);
}

void front_delay(struct front *f, unsigned ms)
{
    (void)pthread_mutex_lock(&f->mutex);
    f->delay_ms = ms;
    (void)pthread_mutex_unlock(&f->mutex);
}

size_t front_count(struct front *f, const char *text)
{
    size_t count = 0;

    (void)pthread_mutex_lock(&f->mutex);
    for (size_t i = 0; i < f->lines_count; i++)
        count += strstr(f->lines[i], text) != NULL;
    (void)pthread_mutex_unlock(&f->mutex);
    return count;
}

static size_t get(struct front *f, const size_t *number)
{
    size_t value;

    (void)pthread_mutex_lock(&f->mutex);
    value = *number;
    (void)pthread_mutex_unlock(&f->mutex);
    return value;
}

size_t front_connections(struct front *f)
{
    return get(f, &f->connections);
}

size_t front_most_in_flight(struct front *f)
{
    return get(f, &f->most_in_flight);
}
