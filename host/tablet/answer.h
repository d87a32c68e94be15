/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What the endpoint answers: a status and a JSON body, in CouchDB's words.  A body that is large is made while it is
 * sent.
 */
#ifndef BODA_HOST_TABLET_ANSWER_H
#define BODA_HOST_TABLET_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

#define ANSWER_PIECE_BYTES (32u << 10) /* about what is made at a time */
#define ANSWER_ETAG_BYTES 160

struct request;

enum answer_step {
    ANSWER_FAILED = -1,
    ANSWER_END,  /* the body is complete */
    ANSWER_MORE, /* more can be made at once */
    ANSWER_WAIT  /* nothing more, until the store changes or `wake_ms` (base/clock) has come */
};

/* The next piece of the body: appended to OUT. */
typedef enum answer_step answer_more(struct request *request, struct buffer *out,
                                     struct error *error);

struct answer {
    unsigned status; /* 0: none yet */
    struct buffer body;
    answer_more *more;    /* what goes on behind `body`; NULL: nothing */
    int64_t length_bytes; /* of the whole body, where `more` makes it; 0: not known */
    int64_t wake_ms;
    bool hurry;                   /* waits are over: others want to wait as well */
    const char *type;             /* NULL: JSON */
    const char *policy;           /* the Content-Security-Policy; NULL: none is needed */
    char etag[ANSWER_ETAG_BYTES]; /* quoted, or "" */
    const char *allow;            /* the methods of a 405, for its Allow header */
};

/* A body of literal JSON. */
void answer_json(struct answer *answer, unsigned status, const char *json);

/* {"error":WORD,"reason":REASON} */
void answer_error(struct answer *answer, unsigned status, const char *word, const char *reason);

/* A fault of this station: 507 when it is full, 503 when trying again will do, else 500; logged, as
 * the app shows nothing of it.  ERROR_USAGE is the client's: 400. */
void answer_fault(struct answer *answer, const struct error *fault);

/* TEXT as a JSON string, appended to OUT.  -1 too when it is not UTF-8. */
int answer_string(struct buffer *out, const char *text, struct error *error);

void answer_free(struct answer *answer);

#endif
