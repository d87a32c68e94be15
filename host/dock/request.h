/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * One request's life (docs/replay.md, "A request"): documents of one user for one database, asked for
 * with _revs_diff, sent with _bulk_docs where the server lacks them, asked for again as the proof; split
 * when one bad document fails the whole.  Knows nothing of batches but a number for each document.
 */
#ifndef BODA_HOST_DOCK_REQUEST_H
#define BODA_HOST_DOCK_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/dock/cht.h"
#include "host/dock/inquiry.h"
#include "host/dock/parcel.h"

struct request;

/* Shared by all requests of a run. */
struct request_shared {
    struct cht *cht;
    struct inquiry *inquiry; /* of request_inquiry */
    const bool *abandon;     /* true: go no step further */
    unsigned in_flight;      /* HTTP requests under way */
    unsigned parallel;  /* with so many, documents that could be sent wait for request_release */
    uint64_t requests;  /* HTTP requests made */
    uint64_t sent_docs; /* documents put into a _bulk_docs for the first time */
    unsigned
        lone_500; /* documents that the server answered with 500 (502, 504), one after the other,
                        * without storing another: not the documents but the server is ill */
};

enum request_result {
    REQUEST_SETTLED, /* each document is proven or refused */
    REQUEST_BLOCKED, /* the server does not let this user write this database */
    REQUEST_LOGIN,   /* the user cannot log in */
    REQUEST_AWAY,    /* the server is away, ill, or is not CouchDB */
    REQUEST_BROKEN   /* our own fault: memory, ... */
};

/* The request has come to its end: called once, from within cht_run, request_start or request_tick; it may
 * be looked at and freed when they have returned. */
typedef void request_done(struct request *request, void *context);

/* What the requests of a run ask through: the caller has it sent (inquiry_send) when there is room. */
struct inquiry *request_inquiry(struct request_shared *shared, struct error *error);

/* USER and SHARED are borrowed.  DB is the tablet's name of the database, SERVER_DB the server's.  NULL:
 * no memory. */
struct request *request_new(struct request_shared *shared, const struct cht_user *user,
                            const char *db, const char *server_db, request_done *done,
                            void *context, struct error *error);
void request_free(struct request *request); /* not while it is under way; NULL is harmless */

/* Add a document that belongs to batch BATCH; its bytes are copied.  JSON NULL: the server is only asked
 * for it.  A document that is there already is shared: 1, else 0, or -1. */
int request_add(struct request *request, uint32_t batch, const char *id, const char *rev,
                const char *json, size_t length, struct error *error);

/* As request_add, but only if the document, whose parcel_hash is HASH, is there: 1, 0 if not, -1.  Also
 * while under way. */
int request_share(struct request *request, uint32_t hash, uint32_t batch, const char *id,
                  const char *rev, struct error *error);

const struct cht_user *request_user(const struct request *request);
const char *request_db(const struct request *request);
size_t request_docs(const struct request *request);  /* documents in it */
size_t request_bytes(const struct request *request); /* bytes it would send */

/* Begin.  DONE may be called from within. */
void request_start(struct request *request);

/* Before it is started: it may ask, but nothing may be sent until it is released (the next wave). */
void request_hold(struct request *request);
bool request_held(const struct request *request);

/* It has documents to send and waits to be released: nothing of it is in flight. */
bool request_parked(const struct request *request);
void request_release(struct request *request); /* DONE may be called from within */

/* It may still have documents to send: false when only the proof is out. */
bool request_may_send(const struct request *request);

/* It was answered badly and waits to ask again. */
bool request_waits(const struct request *request);

/* Do what is due by now: a question that was answered badly is asked again after a while. */
void request_tick(struct request *request, int64_t now_ms);

/* What came of it. */
enum request_result request_result(const struct request *request);
const struct error *request_error(const struct request *request); /* unless it is settled */

/* The outcome of each document, shared ones too: true with OUT filled (strings owned by the request)
 * while AT is less than their number. */
bool request_outcome(const struct request *request, size_t at, struct outcome *out);

#endif
