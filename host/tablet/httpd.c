/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/httpd.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "host/tablet/door.h"
#include "host/tablet/drain.h"
#include "host/tablet/listen.h"
#include "host/tablet/routes.h"

#define CONNECTIONS_MOST 64u
#define CONNECTION_TIMEOUT_S 60u
#define CONNECTION_BYTES ((size_t)64 << 10)
/* The body of a request that is refused is read and thrown away, so that the client comes to read the
 * answer; up to here. */
#define DRAIN_BYTES (64u << 20)

/* One request on its way. */
struct call {
    struct request request;
    struct MHD_Connection *connection;
    struct call *next_waiting; /* for the outbox */
    bool waiting, preflight;
    const char *origin; /* that may call; NULL: no page */
};

struct httpd {
    struct MHD_Daemon *daemons[LISTEN_MOST]; /* one a socket, all in one thread */
    int daemons_count;
    int wake; /* eventfd */
    bool stopping;
    bool resumed; /* a connection was: MHD has work, though no descriptor says so */
    const char *const *origins;
    const struct identity *identity;
    struct secret secret;
    struct store *store;
    struct service service;
    struct call *waiting, **waiting_end;
    struct drain *drain;
};

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* ---- those who wait for the outbox ---- */

static void wait_for_outbox(struct httpd *httpd, struct call *call)
{
    call->waiting = true;
    call->next_waiting = NULL;
    *httpd->waiting_end = call;
    httpd->waiting_end = &call->next_waiting;
    MHD_suspend_connection(call->connection);
}

static void wake_next(struct httpd *httpd)
{
    struct call *call = httpd->waiting;

    if (call == NULL || httpd->service.outbox_user != NULL)
        return;
    httpd->waiting = call->next_waiting;
    if (httpd->waiting == NULL)
        httpd->waiting_end = &httpd->waiting;
    call->waiting = false;
    httpd->resumed = true;
    MHD_resume_connection(call->connection);
}

/* ---- answers ---- */

static int add_cors(struct MHD_Response *response, const struct call *call)
{
    static const char *const preflight[][2] = {
        {"Access-Control-Allow-Methods", "GET, HEAD, POST, PUT"},
        {"Access-Control-Allow-Headers",
         "accept, authorization, content-type, origin, referer, x-requested-with"},
        {"Access-Control-Max-Age", "600"},
        /* A page from the network that calls the loopback: Private Network Access (WICG). */
        {"Access-Control-Allow-Private-Network", "true"},
    };

    if (MHD_add_response_header(response, "Access-Control-Allow-Origin", call->origin) != MHD_YES ||
        MHD_add_response_header(response, "Access-Control-Allow-Credentials", "true") != MHD_YES ||
        MHD_add_response_header(response, "Vary", "Origin") != MHD_YES)
        return -1;
    for (size_t i = 0; call->preflight && i < sizeof preflight / sizeof *preflight; i++)
        if (MHD_add_response_header(response, preflight[i][0], preflight[i][1]) != MHD_YES)
            return -1;
    return 0;
}

static int add_headers(struct MHD_Response *response, const struct call *call)
{
    const struct answer *answer = &call->request.answer;

    if (MHD_add_response_header(response, "Cache-Control", "must-revalidate") != MHD_YES)
        return -1;
    if (answer->status != 204 &&
        MHD_add_response_header(response, "Content-Type", "application/json") != MHD_YES)
        return -1;
    if (answer->allow != NULL &&
        MHD_add_response_header(response, "Allow", answer->allow) != MHD_YES)
        return -1;
    /* In a browser it would pop up a dialog: not for pages. */
    if (answer->status == 401 && header(call->connection, "Origin") == NULL &&
        MHD_add_response_header(response, "WWW-Authenticate", "Basic realm=\"boda\"") != MHD_YES)
        return -1;
    return call->origin != NULL ? add_cors(response, call) : 0;
}

static enum MHD_Result answer_call(struct call *call)
{
    struct buffer *body = &call->request.answer.body;
    struct MHD_Response *response;
    enum MHD_Result result = MHD_NO;

    response = MHD_create_response_from_buffer(body->length, body->data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        return MHD_NO;
    memset(body, 0, sizeof *body); /* it is the response's now */
    if (add_headers(response, call) == 0)
        result = MHD_queue_response(call->connection, call->request.answer.status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- a request begins ---- */

static bool is_json(const char *type)
{
    static const char json[] = "application/json";

    return type != NULL && strncasecmp(type, json, sizeof json - 1) == 0 &&
           (type[sizeof json - 1] == '\0' || strchr("; \t", type[sizeof json - 1]) != NULL);
}

static bool has_body(struct MHD_Connection *connection)
{
    const char *length = header(connection, "Content-Length");

    return header(connection, "Transfer-Encoding") != NULL ||
           (length != NULL && strcmp(length, "0") != 0);
}

static bool is_known(struct httpd *httpd, struct MHD_Connection *connection)
{
    char *password = NULL, *user = MHD_basic_auth_get_username_password(connection, &password);
    bool known = door_may_enter(user, password, identity_user(httpd->identity), &httpd->secret);

    if (password != NULL)
        explicit_bzero(password, strlen(password));
    MHD_free(password);
    MHD_free(user);
    return known;
}

static void refuse(struct call *call, unsigned status, const char *word, const char *reason)
{
    answer_error(&call->request.answer, status, word, reason);
}

/* Decide the answer if the caller may not come in; it then has a status. */
static void check(struct httpd *httpd, struct call *call, const char *method)
{
    const char *host = header(call->connection, "Host");
    const char *origin = header(call->connection, "Origin");

    if (!door_host_is_here(host)) {
        refuse(call, 421, "forbidden", "Host must be 127.0.0.1, localhost or [::1]");
        return;
    }
    if (origin != NULL && !door_origin_may_call(origin, host, httpd->origins)) {
        refuse(call, 403, "forbidden", "This origin may not call: see --origin of boda-tablet");
        return;
    }
    call->origin = origin;
    if (strcmp(method, "OPTIONS") == 0) { /* a preflight comes without credentials */
        call->preflight = true;
        answer_json(&call->request.answer, 204, "");
    } else if (!is_known(httpd, call->connection)) {
        refuse(call, 401, "unauthorized", "Name or password is incorrect.");
    }
}

static void check_body(struct call *call, const char *method)
{
    const char *length = header(call->connection, "Content-Length");

    if (length != NULL && strtoull(length, NULL, 10) > routes_body_limit(&call->request))
        routes_too_large(&call->request);
    else if (call->request.answer.status == 0 && has_body(call->connection) &&
             (strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) &&
             !is_json(header(call->connection, "Content-Type")))
        refuse(call, 415, "bad_content_type", "Content-Type must be application/json");
}

static struct call *begin(struct httpd *httpd, struct MHD_Connection *connection,
                          const char *method, const char *path)
{
    struct call *call = calloc(1, sizeof *call);

    if (call == NULL)
        return NULL;
    call->connection = connection;
    call->request.service = &httpd->service;
    check(httpd, call, method);
    if (call->request.answer.status == 0) {
        routes_begin(&call->request, &httpd->service, method, path);
        check_body(call, method);
    }
    return call;
}

/* An answer before the body: MHD closes the connection behind it.  The body that the client is
 * sending is read meanwhile, or it would see a reset in place of the answer. */
static enum MHD_Result answer_at_once(struct httpd *httpd, struct call *call)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (info != NULL)
        drain_add(httpd->drain, info->connect_fd);
    return answer_call(call);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *bytes, size_t *size, void **state)
{
    struct httpd *httpd = context;
    struct call *call = *state;

    (void)version;
    if (call == NULL) {
        *state = call = begin(httpd, connection, method, path);
        if (call == NULL)
            return MHD_NO;
        if (call->request.answer.status != 0 && has_body(connection) &&
            (call->request.answer.status == 413 || header(connection, "Expect") != NULL))
            return answer_at_once(httpd, call);
        return MHD_YES;
    }
    if (httpd->stopping)
        return MHD_NO;
    if (*size > 0) {
        if (call->request.answer.status == 0 && routes_must_wait(&call->request)) {
            wait_for_outbox(httpd, call);
            return MHD_YES;
        }
        routes_body(&call->request, bytes, *size);
        *size = 0;
        wake_next(httpd);
        return call->request.received <= DRAIN_BYTES ? MHD_YES : MHD_NO;
    }
    if (call->request.answer.status == 0)
        routes_end(&call->request);
    wake_next(httpd);
    return answer_call(call);
}

static void on_over(void *context, struct MHD_Connection *connection, void **state,
                    enum MHD_RequestTerminationCode how)
{
    struct httpd *httpd = context;
    struct call *call = *state;

    (void)connection;
    (void)how;
    *state = NULL;
    if (call == NULL)
        return;
    routes_free(&call->request);
    free(call);
    wake_next(httpd);
}

/* A zero byte would end the path early: what has one stays as it is, and is found nowhere. */
static size_t on_unescape(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strstr(text, "%00") != NULL ? strlen(text) : MHD_http_unescape(text);
}

/* ---- the endpoint ---- */

static int start_daemon(struct httpd *httpd, int fd, struct error *error)
{
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, httpd,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_over, httpd,
        MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL, MHD_OPTION_CONNECTION_LIMIT,
        CONNECTIONS_MOST, MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, MHD_OPTION_END);

    if (daemon == NULL) {
        (void)close(fd);
        return error_set(error, ERROR_FAILED, "http: libmicrohttpd could not be started");
    }
    httpd->daemons[httpd->daemons_count++] = daemon;
    return 0;
}

static int start_daemons(struct httpd *httpd, const char *address, struct error *error)
{
    int fds[LISTEN_MOST], count = listen_loopback(address, fds, error), at;

    for (at = 0; at < count; at++)
        if (start_daemon(httpd, fds[at], error) != 0)
            break;
    if (count > 0 && at == count)
        return 0;
    for (at++; at < count; at++)
        (void)close(fds[at]);
    return -1;
}

struct httpd *httpd_new(const struct httpd_options *options, struct error *error)
{
    struct httpd *httpd = calloc(1, sizeof *httpd);

    if (httpd == NULL) {
        (void)error_set(error, ERROR_FAILED, "http: no memory");
        return NULL;
    }
    httpd->waiting_end = &httpd->waiting;
    httpd->origins = options->origins;
    httpd->identity = options->identity;
    httpd->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (httpd->wake < 0) {
        (void)error_errno(error, errno, "http: eventfd");
        goto fail;
    }
    httpd->drain = drain_new(error);
    if (httpd->drain == NULL || identity_secret(options->identity, &httpd->secret, error) != 0)
        goto fail;
    httpd->store = store_open(options->store, error);
    if (httpd->store == NULL)
        goto fail;
    httpd->service.store = httpd->store;
    httpd->service.identity = options->identity;
    /* The port first: a second boda-tablet ends there, before it discards the first one's work. */
    if (start_daemons(httpd, options->address, error) != 0)
        goto fail;
    httpd->service.outbox = outbox_new(httpd->store, options->identity, error);
    if (httpd->service.outbox == NULL)
        goto fail;
    return httpd;

fail:
    httpd_free(httpd);
    return NULL;
}

void httpd_free(struct httpd *httpd)
{
    if (httpd == NULL)
        return;
    /* MHD takes a daemon with suspended connections as our bug; on_request refuses them now. */
    httpd->stopping = true;
    httpd->service.outbox_user = NULL;
    while (httpd->waiting != NULL)
        wake_next(httpd);
    for (int i = 0; i < httpd->daemons_count; i++)
        MHD_stop_daemon(httpd->daemons[i]);
    outbox_free(httpd->service.outbox);
    store_close(httpd->store);
    drain_free(httpd->drain);
    if (httpd->wake >= 0)
        (void)close(httpd->wake);
    secret_cleanse(&httpd->secret);
    free(httpd);
}

static int soonest(int timeout_ms, int other_ms)
{
    return timeout_ms < 0 || (other_ms >= 0 && other_ms < timeout_ms) ? other_ms : timeout_ms;
}

static int timeout_of(struct MHD_Daemon *daemon)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;

    if (MHD_get_timeout(daemon, &timeout_ms) != MHD_YES)
        return -1;
    return timeout_ms > 60000 ? 60000 : (int)timeout_ms;
}

int httpd_run(struct httpd *httpd, struct error *error)
{
    struct pollfd polled[1 + LISTEN_MOST + DRAIN_MOST] = {{.fd = httpd->wake, .events = POLLIN}};
    nfds_t fixed = 1 + (nfds_t)httpd->daemons_count;

    for (int i = 0; i < httpd->daemons_count; i++) {
        const union MHD_DaemonInfo *info =
            MHD_get_daemon_info(httpd->daemons[i], MHD_DAEMON_INFO_EPOLL_FD);

        if (info == NULL)
            return error_set(error, ERROR_FAILED, "http: libmicrohttpd has no epoll");
        polled[1 + i].fd = info->epoll_fd;
        polled[1 + i].events = POLLIN;
    }
    for (;;) {
        nfds_t count = fixed + (nfds_t)drain_fill(httpd->drain, polled + fixed);
        int timeout_ms = drain_timeout_ms(httpd->drain);

        for (int i = 0; i < httpd->daemons_count; i++)
            timeout_ms = soonest(timeout_ms, timeout_of(httpd->daemons[i]));
        if (httpd->resumed)
            timeout_ms = 0;
        httpd->resumed = false;
        if (poll(polled, count, timeout_ms) < 0 && errno != EINTR)
            return error_errno(error, errno, "http: poll");
        if ((polled[0].revents & POLLIN) != 0)
            return 0;
        for (int i = 0; i < httpd->daemons_count; i++)
            if (MHD_run(httpd->daemons[i]) != MHD_YES)
                return error_set(error, ERROR_FAILED, "http: libmicrohttpd has stopped");
        drain_read(httpd->drain);
    }
}

void httpd_stop(struct httpd *httpd)
{
    const uint64_t one = 1;

    if (write(httpd->wake, &one, sizeof one) != (ssize_t)sizeof one)
        log_warning("http: could not be told to stop");
}
