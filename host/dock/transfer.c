/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/transfer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define CONNECT_S 15L
#define SILENCE_S 300L /* a filtered _bulk_docs of 8 MB may be worked on for minutes */
#define ERROR_BODY_BYTES (64u << 10)
#define UPLOAD_BYTES \
    (512L << 10) /* libcurl's largest is 2 MB; its default of 64 KB is many turns a request */

struct transfer {
    CURL *easy;
    const char *url, *ca_file;
    bool local; /* on this machine compression only costs time */
    struct curl_slist *headers;
    struct buffer packed; /* the body, gzipped */
    struct buffer answer;
    size_t answer_bytes; /* that came, also those not kept */
    size_t most_bytes;   /* that may come */
    bool too_large, no_memory;
    char session[TRANSFER_COOKIE_BYTES];
    char words[CURL_ERROR_SIZE];
};

/* The body of a 2xx is kept whole or the transfer fails; of an error page the first part will do, and
 * the rest is read so that the connection can be used again. */
static size_t on_body(char *bytes, size_t one, size_t count, void *context)
{
    struct transfer *t = context;
    size_t size = one * count, kept = size;
    long status = 0;

    t->answer_bytes += size;
    if (t->answer_bytes > t->most_bytes) {
        t->too_large = true;
        return 0;
    }
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if ((status < 200 || status > 299) && t->answer.length + kept > ERROR_BODY_BYTES)
        kept = ERROR_BODY_BYTES - t->answer.length;
    if (buffer_append(&t->answer, bytes, kept, NULL) != 0) {
        t->no_memory = true;
        return 0;
    }
    return size;
}

static size_t on_header(char *bytes, size_t one, size_t count, void *context)
{
    static const char wanted[] = "set-cookie: AuthSession=";
    const size_t skipped = sizeof "set-cookie: " - 1;
    struct transfer *t = context;
    size_t size = one * count, length = 0;

    if (size >= 5 && memcmp(bytes, "HTTP/", 5) == 0) {
        t->session[0] = '\0'; /* another answer begins, after a 1xx */
    } else if (size > sizeof wanted - 1 && strncasecmp(bytes, wanted, sizeof wanted - 1) == 0) {
        bytes += skipped;
        while (length < size - skipped && strchr("; \r\n", bytes[length]) == NULL)
            length++;
        if (length < sizeof t->session && length > sizeof "AuthSession=" - 1) {
            memcpy(t->session, bytes, length);
            t->session[length] = '\0';
        }
    }
    return size;
}

bool transfer_is_local(const char *url)
{
    CURLU *parts = curl_url();
    unsigned char address[4];
    char *host = NULL;
    bool local = false;

    if (parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK)
        local = strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
                (inet_pton(AF_INET, host, address) == 1 && address[0] == 127);
    curl_free(host);
    curl_url_cleanup(parts);
    return local;
}

struct transfer *transfer_new(const char *url, const char *ca_file, struct error *error)
{
    struct transfer *t = calloc(1, sizeof *t);

    if (t == NULL || (t->easy = curl_easy_init()) == NULL) {
        free(t);
        (void)error_set(error, ERROR_FAILED, "server %s: no memory for a connection", url);
        return NULL;
    }
    t->url = url;
    t->local = transfer_is_local(url);
    t->ca_file = ca_file;
    return t;
}

static void forget_question(struct transfer *t)
{
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    buffer_cleanse(&t->packed);
}

void transfer_free(struct transfer *t)
{
    if (t == NULL)
        return;
    forget_question(t);
    buffer_cleanse(&t->answer);
    curl_easy_cleanup(t->easy);
    explicit_bzero(t->session, sizeof t->session);
    free(t);
}

CURL *transfer_handle(struct transfer *t)
{
    return t->easy;
}

/* Level 1: on a slow line most of the gain, on a fast one hardly a cost. */
static int pack(struct transfer *t, const void *body, size_t size, struct error *error)
{
    z_stream z = {0};
    int result = -1;

    if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return error_set(error, ERROR_FAILED, "server %s: no memory to compress a request", t->url);
    if (buffer_reserve(&t->packed, deflateBound(&z, size), error) != 0)
        goto done;
    z.next_in = (z_const Bytef *)body;
    z.avail_in = (uInt)size;
    z.next_out = t->packed.data;
    z.avail_out = (uInt)deflateBound(&z, size);
    if (deflate(&z, Z_FINISH) != Z_STREAM_END) {
        (void)error_set(error, ERROR_FAILED, "server %s: a request cannot be compressed", t->url);
        goto done;
    }
    t->packed.length = z.total_out;
    result = 0;
done:
    (void)deflateEnd(&z);
    return result;
}

static int set_headers(struct transfer *t, const struct transfer_ask *ask, struct error *error)
{
    /* Without Accept, CHT answers an authentication failure with a redirect to a page; with Expect, or
     * with a charset behind the content type of a login, it fails. */
    const char *lines[4] = {"Accept: application/json", "Expect:"};
    struct curl_slist *longer;
    size_t count = 2;

    if (ask->body != NULL)
        lines[count++] = "Content-Type: application/json";
    if (ask->gzip)
        lines[count++] = "Content-Encoding: gzip";
    for (size_t i = 0; i < count; i++) {
        longer = curl_slist_append(t->headers, lines[i]);
        if (longer == NULL)
            return error_set(error, ERROR_FAILED, "server %s: no memory", t->url);
        t->headers = longer;
    }
    return 0;
}

#define SET(option, value) (bad |= curl_easy_setopt(t->easy, (option), (value)) != CURLE_OK)

static bool set_safety(struct transfer *t)
{
    bool bad = false;

    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_ERRORBUFFER, t->words);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (t->ca_file != NULL) {
        SET(CURLOPT_CAINFO, t->ca_file);
        SET(CURLOPT_CAPATH, NULL); /* that CA, not one of the system's as well */
    }
    SET(CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, SILENCE_S);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BYTES);
    if (!t->local)
        SET(CURLOPT_ACCEPT_ENCODING, "gzip");
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    return bad;
}

static bool set_request(struct transfer *t, const struct transfer_ask *ask)
{
    bool packed = ask->gzip, bad = false;

    if (ask->body == NULL && strcmp(ask->method, "GET") == 0) {
        SET(CURLOPT_HTTPGET, 1L);
    } else {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(packed ? t->packed.length : ask->size));
        SET(CURLOPT_POSTFIELDS, packed              ? (const char *)t->packed.data
                                : ask->body != NULL ? (const char *)ask->body
                                                    : "");
        if (strcmp(ask->method, "POST") != 0)
            SET(CURLOPT_CUSTOMREQUEST, ask->method);
    }
    SET(CURLOPT_HTTPHEADER, t->headers);
    if (ask->cookie != NULL)
        SET(CURLOPT_COOKIE, ask->cookie);
    if (ask->basic != NULL) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERNAME, ask->basic->name);
        SET(CURLOPT_PASSWORD, ask->basic->password->text);
    }
    return bad;
}

int transfer_start(struct transfer *t, const struct transfer_ask *ask, struct error *error)
{
    struct buffer url = {0};
    bool bad = false;

    curl_easy_reset(t->easy); /* connections are the multi's and stay */
    forget_question(t);
    buffer_cleanse(&t->answer);
    t->answer_bytes = 0;
    t->most_bytes = ask->most_bytes != 0 ? ask->most_bytes : TRANSFER_JSON_BYTES;
    t->too_large = t->no_memory = false;
    t->session[0] = t->words[0] = '\0';
    if (ask->gzip && pack(t, ask->body, ask->size, error) != 0)
        return -1;
    if (set_headers(t, ask, error) != 0 ||
        buffer_printf(&url, error, "%s%s", t->url, ask->path) != 0 ||
        buffer_append(&url, "", 1, error) != 0) {
        buffer_free(&url);
        return -1;
    }
    SET(CURLOPT_URL, (const char *)url.data);
    bad = set_safety(t) || bad;
    bad = set_request(t, ask) || bad;
    buffer_free(&url);
    return bad ? error_set(error, ERROR_FAILED,
                           "server %s: libcurl takes not all options; is it "
                           "7.85 or newer",
                           t->url)
               : 0;
}

/* ---- what came of it ------------------------------------------------------------------------ */

static enum transfer_end meaning_of(const struct transfer *t, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return TRANSFER_ANSWERED;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        return TRANSFER_BROKEN;
    case CURLE_WRITE_ERROR:
        return t->no_memory ? TRANSFER_BROKEN : t->too_large ? TRANSFER_ANSWERED : TRANSFER_AWAY;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return TRANSFER_UNTRUSTED;
    case CURLE_SSL_CONNECT_ERROR:
        /* A connection that is lost in the handshake has the same code as a handshake that fails. */
        return strcasestr(t->words, "SYSCALL") != NULL || strcasestr(t->words, "reset") != NULL ||
                       strcasestr(t->words, "unexpected eof") != NULL
                   ? TRANSFER_AWAY
                   : TRANSFER_UNTRUSTED;
    default:
        return TRANSFER_AWAY;
    }
}

static bool is_cut(const struct transfer *t, CURLcode code)
{
    curl_off_t connected_us = 0;

    if (code == CURLE_OPERATION_TIMEDOUT)
        return curl_easy_getinfo(t->easy, CURLINFO_CONNECT_TIME_T, &connected_us) == CURLE_OK &&
               connected_us > 0;
    return code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
           code == CURLE_PARTIAL_FILE || code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM;
}

static void read_status(struct transfer *t, struct transfer_result *result)
{
    static const struct {
        long status;
        const char *words;
        bool away, may_be_body;
    } known[] = {
        {429, "429 too many requests", true, false},
        {502, "502 bad gateway", true, true},
        {503, "503 service unavailable", true, false},
        {504, "504 gateway time-out", true, true},
        {413, "413 the request is too large", false, false},
        {401, "401 not logged in", false, false},
        {403, "403 forbidden", false, false},
        {404, "404 not found; check url= and db=", false, false},
    };
    curl_off_t retry_after_s = 0;
    const char *type = NULL, *to = NULL;

    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &result->status);
    (void)curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    result->json = type != NULL && strncasecmp(type, "application/json", 16) == 0;
    if (result->status >= 200 && result->status < 300)
        return;
    (void)snprintf(result->cause, sizeof result->cause, "it answers %ld", result->status);
    (void)curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &to);
    if (result->status / 100 == 3 && to != NULL)
        (void)snprintf(result->cause, sizeof result->cause,
                       "it answers %ld and sends on to %.150s; check url=", result->status, to);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].status == result->status) {
            (void)snprintf(result->cause, sizeof result->cause, "it answers %s", known[i].words);
            result->may_be_body = known[i].may_be_body;
            if (known[i].away)
                result->end = TRANSFER_AWAY;
        }
    if (result->end == TRANSFER_AWAY &&
        curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after_s) == CURLE_OK &&
        retry_after_s > 0 && retry_after_s < 1000000)
        result->retry_after_ms = (int64_t)retry_after_s * 1000;
}

void transfer_finish(struct transfer *t, CURLcode code, struct transfer_result *result)
{
    const char *words = t->words[0] != '\0' ? t->words : curl_easy_strerror(code);

    memset(result, 0, sizeof *result);
    result->end = meaning_of(t, code);
    result->session = t->session;
    if (result->end != TRANSFER_ANSWERED) {
        result->may_be_body = result->end == TRANSFER_AWAY && is_cut(t, code);
        (void)snprintf(result->cause, sizeof result->cause, "%s", words);
    } else if (t->too_large) {
        result->too_large = true;
        (void)snprintf(result->cause, sizeof result->cause, "its answer is larger than %zu MB",
                       t->most_bytes >> 20);
    } else {
        read_status(t, result);
    }
    forget_question(t);
    if (buffer_append(&t->answer, "", 1, NULL) != 0) {
        result->end = TRANSFER_BROKEN;
        (void)snprintf(result->cause, sizeof result->cause, "no memory");
        t->answer.length = 0;
        result->body = "";
        return;
    }
    result->body = (const char *)t->answer.data;
    result->size = t->answer.length - 1;
}

void transfer_forget(struct transfer *t)
{
    buffer_cleanse(&t->answer);
}
