/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The endpoint's routes (docs/tablet.md), without HTTP: a request has a method, a path, and a body
 * that comes in pieces; at its end it has an answer.  One function a route, in a table.
 */
#ifndef BODA_HOST_TABLET_ROUTES_H
#define BODA_HOST_TABLET_ROUTES_H

#include "host/tablet/answer.h"
#include "host/tablet/opened.h"
#include "host/tablet/outbox.h"
#include "host/tablet/uri.h"

#define ROUTES_BODY_BYTES (32u << 20)     /* of _bulk_docs, as CHT's own server */
#define ROUTES_REVS_DIFF_BYTES (8u << 20) /* of _revs_diff */
#define ROUTES_ASKED_BYTES (2u << 20)     /* of lists of ids: _bulk_get, _changes, get-deletes */
#define ROUTES_LOCAL_BYTES (64u << 10)    /* of a _local document, and of bodies nobody reads */
#define ROUTES_HELD_BYTES \
    (8u << 20) /* what all requests hold in memory at a time, see routes_hold */

/* What all requests of one thread share. */
struct service {
    struct store *store;
    const struct identity *identity;
    struct outbox *outbox;
    const void *outbox_user; /* the request that has the outbox; NULL: free */
    struct opened *opened;
    size_t held_bytes;
};

struct route;

/* A request in the making.  `answer.status` other than 0: it is decided, and what still comes of the
 * body is not looked at. */
struct request {
    struct service *service;
    const struct route *route;
    char db[DOC_DB_BYTES];
    char id[DOC_ID_BYTES]; /* of a document, or of a _local one without that prefix */
    char attachment[DOC_ID_BYTES];
    struct uri uri;
    const char *accept; /* the header, borrowed; NULL: none */
    uint64_t received;  /* bytes of the body */
    size_t held_bytes;
    void *state; /* the route's own */
    struct answer answer;
};

/* Find the route of METHOD and URI (as it came: nothing is decoded); the answer is decided when there is none. */
void routes_begin(struct request *request, struct service *service, const char *method,
                  const char *uri);

/* The most bytes that the request's body may have. */
uint64_t routes_body_limit(const struct request *request);

/* Decide the answer for a body above the limit. */
void routes_too_large(struct request *request);

/* Whether the request must have the outbox for itself before its body is read; and whether another
 * one has it now. */
bool routes_must_wait(const struct request *request);

void routes_body(struct request *request, const void *bytes, size_t size);

/* The body is complete: the answer is decided, and if it is made piece by piece, the first piece is there. */
void routes_end(struct request *request);

/* The next piece of the answer, appended to its `body`, which the caller empties. */
enum answer_step routes_more(struct request *request, struct error *error);

/* The request holds BYTES more in memory: -1 with ERROR_TEMPORARY when that would be too much for all of
 * them.  Given back by routes_release, or at the request's end. */
int routes_hold(struct request *request, size_t bytes, struct error *error);
void routes_release(struct request *request, size_t bytes);

/* Give up what the request holds, whether it was ended or not. */
void routes_free(struct request *request);

#endif
