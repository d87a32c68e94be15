/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What the endpoint answers: a status and a JSON body, in CouchDB's words.
 */
#ifndef BODA_HOST_TABLET_ANSWER_H
#define BODA_HOST_TABLET_ANSWER_H

#include "base/buffer.h"

struct answer {
    unsigned status; /* 0: none yet */
    struct buffer body;
    const char *allow; /* the methods of a 405, for its Allow header */
};

/* A body of literal JSON. */
void answer_json(struct answer *answer, unsigned status, const char *json);

/* {"error":WORD,"reason":REASON} */
void answer_error(struct answer *answer, unsigned status, const char *word, const char *reason);

/* A fault of this station: 507 when it is full, 503 when trying again will do, else 500; logged, as
 * the app shows nothing of it. */
void answer_fault(struct answer *answer, const struct error *fault);

void answer_free(struct answer *answer);

#endif
