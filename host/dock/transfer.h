/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * One request and its answer by one libcurl easy handle that is used again and again: options, headers,
 * gzip, caps, and what a failure means.
 */
#ifndef BODA_HOST_DOCK_TRANSFER_H
#define BODA_HOST_DOCK_TRANSFER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/dock/cht.h"

#define TRANSFER_JSON_BYTES (16u << 20) /* largest answer that is taken, unless asked otherwise */
#define TRANSFER_COOKIE_BYTES 4096

struct transfer;

struct transfer_ask {
    const char *method, *path;
    const void *body; /* borrowed until the end, NULL: none */
    size_t size;
    size_t most_bytes;            /* of the answer; 0: TRANSFER_JSON_BYTES */
    bool gzip;                    /* compress the body */
    const char *cookie;           /* "AuthSession=...", or NULL; copied */
    const struct cht_user *basic; /* Basic authentication as this user, or NULL; copied */
};

enum transfer_end {
    TRANSFER_ANSWERED,
    TRANSFER_AWAY,      /* no network, or 429, 502, 503, 504 */
    TRANSFER_UNTRUSTED, /* TLS: not the server that it should be */
    TRANSFER_BROKEN     /* our own fault: memory, ... */
};

struct transfer_result {
    enum transfer_end end;
    long status;      /* 0: no usable answer */
    bool json;        /* the content type is JSON */
    bool may_be_body; /* away, in a way that this one request may cause: cut, 502, 504 */
    bool too_large;   /* the answer was over most_bytes */
    const char *body; /* NUL-terminated behind size; until transfer_forget or the next start */
    size_t size;
    const char *session;    /* "AuthSession=VALUE" that the answer sets, or "" */
    int64_t retry_after_ms; /* 0: none */
    char cause[256];        /* why it is no 2xx, for people */
};

/* URL's host is this machine: 127.0.0.0/8, ::1 or localhost. */
bool transfer_is_local(const char *url);

/* URL and CA_FILE (may be NULL) are borrowed. */
struct transfer *transfer_new(const char *url, const char *ca_file, struct error *error);
void transfer_free(struct transfer *transfer); /* not while within a multi; NULL is harmless */

/* The easy handle, whose CURLOPT_PRIVATE is the caller's. */
CURL *transfer_handle(struct transfer *transfer);

/* Set the handle up for ASK; the caller then adds it to its multi. */
int transfer_start(struct transfer *transfer, const struct transfer_ask *ask, struct error *error);

/* The multi has said CODE of it, and it is out of the multi. */
void transfer_finish(struct transfer *transfer, CURLcode code, struct transfer_result *result);

/* The result is not needed any more: a large answer does not stay in memory until the next start. */
void transfer_forget(struct transfer *transfer);

#endif
