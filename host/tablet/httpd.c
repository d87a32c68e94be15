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

#include "base/clock.h"
#include "base/log.h"
#include "host/tablet/door.h"
#include "host/tablet/drain.h"
#include "host/tablet/listen.h"
#include "host/tablet/reply.h"
#include "host/tablet/routes.h"
#include "host/tablet/sleepers.h"

#define CONNECTIONS_MOST 64u
#define CONNECTION_TIMEOUT_S 60u
#define CONNECTION_BYTES ((size_t)64 << 10)
/* The body of a request that is refused is read and thrown away, so that the client comes to read the
 * answer; up to here. */
#define DRAIN_BYTES (64u << 20)

/* One request on its way. */
struct call {
    struct httpd *httpd;
    struct request request;
    struct MHD_Connection *connection;
    char *uri; /* as it came */
    bool begun;
    struct sleeper sleeper; /* while it waits: for the outbox, or for a change */
    struct reply reply;
    size_t sent; /* of the answer's present piece */
};

struct httpd {
    struct MHD_Daemon *daemons[LISTEN_MOST]; /* one a socket, all in one thread */
    int daemons_count;
    int wake; /* eventfd */
    bool stopping;
    const char *const *origins;
    const struct identity *identity;
    struct secret secret;
    struct store *store;
    struct service service;
    struct sleepers_queue waiting; /* for the outbox */
    struct sleepers sleepers;
    struct drain *drain;
};

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static void wake_next(struct httpd *httpd)
{
    if (httpd->waiting.first != NULL && httpd->service.outbox_user == NULL)
        sleepers_resume_first(&httpd->waiting);
}

/* ---- answers ---- */

/* The bytes of an answer that is made while it is sent.  A fault closes the connection, so that half an answer never
 * looks like a whole one. */
static ssize_t on_read(void *context, uint64_t position, char *bytes, size_t size)
{
    struct call *call = context;
    struct buffer *body = &call->request.answer.body;
    struct error error;

    (void)position;
    while (call->sent == body->length) {
        enum answer_step step;

        if (call->request.answer.more == NULL)
            return MHD_CONTENT_READER_END_OF_STREAM;
        call->sent = body->length = 0;
        sleepers_before(&call->httpd->sleepers);
        step = call->httpd->stopping ? ANSWER_END : routes_more(&call->request, &error);
        if (call->httpd->stopping)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (step == ANSWER_FAILED) {
            log_error("http: an answer is cut: %s", error.text);
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        if (step == ANSWER_WAIT && body->length == 0) {
            sleepers_add(&call->httpd->sleepers, &call->sleeper);
            return 0;
        }
    }
    if (size > body->length - call->sent)
        size = body->length - call->sent;
    memcpy(bytes, body->data + call->sent, size);
    call->sent += size;
    return (ssize_t)size;
}

static enum MHD_Result answer_call(struct call *call)
{
    call->reply.reader = on_read;
    call->reply.context = call;
    return reply_send(&call->reply, call->connection, &call->request.answer);
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
    call->reply.origin = origin;
    if (strcmp(method, "OPTIONS") == 0) { /* a preflight comes without credentials */
        call->reply.preflight = true;
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

static void begin(struct httpd *httpd, struct call *call, const char *method)
{
    call->begun = true;
    call->request.service = &httpd->service;
    check(httpd, call, method);
    if (call->request.answer.status == 0) {
        routes_begin(&call->request, &httpd->service, method, call->uri);
        call->request.accept = header(call->connection, "Accept");
        check_body(call, method);
    }
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

/* The path as it came: MHD's own is decoded, and what was %2F in an id is then a slash like others. */
static void *on_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct call *call = calloc(1, sizeof *call);

    if (call == NULL)
        return NULL;
    call->httpd = context;
    call->connection = call->sleeper.connection = connection;
    call->sleeper.answer = &call->request.answer;
    call->uri = strdup(uri);
    if (call->uri != NULL)
        return call;
    free(call);
    return NULL;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *bytes, size_t *size, void **state)
{
    struct httpd *httpd = context;
    struct call *call = *state;

    (void)path;
    (void)version;
    if (call == NULL) /* no memory: on_uri */
        return MHD_NO;
    if (!call->begun) {
        begin(httpd, call, method);
        if (call->request.answer.status != 0 && has_body(connection) &&
            (call->request.answer.status == 413 || header(connection, "Expect") != NULL))
            return answer_at_once(httpd, call);
        return MHD_YES;
    }
    if (httpd->stopping)
        return MHD_NO;
    if (*size > 0) {
        if (call->request.answer.status == 0 && routes_must_wait(&call->request)) {
            sleepers_suspend(&httpd->waiting, &call->sleeper);
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
    free(call->uri);
    free(call);
    wake_next(httpd);
}

/* ---- the endpoint ---- */

static int start_daemon(struct httpd *httpd, int fd, struct error *error)
{
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, httpd,
                         MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_over, httpd,
                         MHD_OPTION_URI_LOG_CALLBACK, on_uri, httpd, MHD_OPTION_CONNECTION_LIMIT,
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
    sleepers_queue_init(&httpd->waiting);
    sleepers_init(&httpd->sleepers, NULL);
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
    sleepers_init(&httpd->sleepers, httpd->store);
    httpd->service.store = httpd->store;
    httpd->service.identity = options->identity;
    /* The port first: a second boda-tablet ends there, before it discards the first one's work. */
    if (start_daemons(httpd, options->address, error) != 0)
        goto fail;
    httpd->service.outbox = outbox_new(httpd->store, options->identity, error);
    httpd->service.opened = opened_new(httpd->store, options->identity, error);
    if (httpd->service.outbox == NULL || httpd->service.opened == NULL)
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
    while (httpd->waiting.first != NULL)
        sleepers_resume_first(&httpd->waiting);
    sleepers_wake_all(&httpd->sleepers);
    for (int i = 0; i < httpd->daemons_count; i++)
        MHD_stop_daemon(httpd->daemons[i]);
    opened_free(httpd->service.opened);
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
        int timeout_ms =
            soonest(drain_timeout_ms(httpd->drain), sleepers_timeout_ms(&httpd->sleepers));

        for (int i = 0; i < httpd->daemons_count; i++)
            timeout_ms = soonest(timeout_ms, timeout_of(httpd->daemons[i]));
        if (httpd->waiting.resumed || httpd->sleepers.queue.resumed)
            timeout_ms = 0;
        httpd->waiting.resumed = httpd->sleepers.queue.resumed = false;
        if (poll(polled, count, timeout_ms) < 0 && errno != EINTR)
            return error_errno(error, errno, "http: poll");
        if ((polled[0].revents & POLLIN) != 0)
            return 0;
        sleepers_wake_due(&httpd->sleepers);
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
