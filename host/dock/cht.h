/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The server's HTTP interface as a user of it: requests in flight by libcurl multi, keep-alive, TLS
 * verified always, `Accept: application/json`, login, waiting out of outages (docs/cht.md).
 * Knows nothing of batches.
 */
#ifndef BODA_HOST_DOCK_CHT_H
#define BODA_HOST_DOCK_CHT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/secret.h"

struct cht;
struct passwords;

enum cht_kind { CHT_KIND_CHT, CHT_KIND_COUCHDB };

struct cht_options {
    const char *url; /* "https://host[:port][/prefix]", without the database */
    enum cht_kind
        kind;   /* cht: log in by POST /medic/login, no request gzip; couchdb: Basic, gzip */
    bool basic; /* cht: Basic authentication instead of the login */
    bool plain; /* never gzip: the server is on this machine, where it only costs time */
    const char *ca_file;    /* private CA, or NULL */
    unsigned most_parallel; /* requests in flight at most */
    int patience_s; /* how long an outage (no network, 429, 502, 503, 504) is waited out with
                              jittered back-off before a request fails; long: hours */
    struct passwords *passwords; /* which ones were refused in earlier runs; NULL: not known */
    const atomic_bool *stop;     /* true: everything in flight is ended, requests fail */
};

/* Credentials of one user. The account is locked after five wrong passwords: a refused one is never
 * tried again in the life of this struct cht, nor by a later one with the same `passwords`; every later
 * request of that user fails at once. */
struct cht_user {
    const char *name;
    const struct secret *password;
};

enum cht_result {
    CHT_ANSWERED,     /* the server answered: look at status */
    CHT_UNAVAILABLE,  /* not reachable, or 429/502/503/504, until patience ended, or stopped */
    CHT_LOGIN_FAILED, /* this user's password is wrong, locked, or must be changed first: see text */
};

struct cht_answer {
    enum cht_result result;
    long status;      /* HTTP */
    const char *body; /* decoded; NUL-terminated behind size; valid during the callback */
    size_t size;
    bool json;      /* its content type is JSON */
    char text[256]; /* for people, when it is not a 2xx: cause and what to do */
};

/* Called once for each request, from within cht_run. It may submit further requests. */
typedef void cht_done(const struct cht_answer *answer, void *context);

struct cht *cht_new(const struct cht_options *options, struct error *error);
void cht_free(struct cht *cht); /* requests in flight are dropped without a call */

/* Queue a request. METHOD "GET", "POST", "PUT"; PATH begins with '/'. BODY (SIZE bytes, JSON; NULL:
 * none) is borrowed until DONE is called. Content-Length is always sent, Expect never. With kind
 * couchdb and a body over 1 KiB it is gzipped, until the server refuses one so. A session cookie that
 * has expired (401) is renewed once by a new login, unseen by the caller. */
int cht_submit(struct cht *cht, const struct cht_user *user, const char *method, const char *path,
               const void *body, size_t size, cht_done *done, void *context, struct error *error);

/* As cht_submit, of which it is the longer form. */
struct cht_question {
    const char *method, *path;
    const void *body; /* borrowed until DONE is called */
    size_t size;
    size_t most_bytes; /* of the answer; 0: 16 MB */
};
int cht_ask(struct cht *cht, const struct cht_user *user, const struct cht_question *question,
            cht_done *done, void *context, struct error *error);

/* How many requests are queued or in flight. */
size_t cht_pending(const struct cht *cht);

/* Drive what is in flight for at most TIMEOUT_MS; returns as soon as something was done.  0; -1 for what
 * waiting will not mend (the server's certificate is not to be trusted: ERROR_FAILED; memory): all that
 * was queued or in flight has then been ended with CHT_UNAVAILABLE.  A status of 502 or 504 comes to DONE
 * as CHT_ANSWERED only when this one request fails again and again while the server answers others: cut
 * its body smaller.  A status of 0: the answer was larger than 16 MB, or than was asked for. */
int cht_run(struct cht *cht, int timeout_ms, struct error *error);

#endif
