/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * One question of CouchDB's _bulk_get: the revisions that it asks for, and what may be used of the answer.
 * A document's bytes are handed on as they came.  Knows nothing of HTTP.
 */
#ifndef BODA_HOST_DOCK_BULK_GET_H
#define BODA_HOST_DOCK_BULK_GET_H

#include <stddef.h>

#include "base/buffer.h"

#define BULK_GET_DOCS_MOST 500

struct bulk_get;

struct bulk_get *bulk_get_new(struct error *error);
void bulk_get_free(struct bulk_get *bulk); /* NULL is harmless */

/* Ask for a revision: in order of id and rev, each once. */
int bulk_get_add(struct bulk_get *bulk, const char *id, const char *rev, struct error *error);
size_t bulk_get_count(const struct bulk_get *bulk);

/* The JSON of the question; owned by BULK, good until it is cut. */
const struct buffer *bulk_get_body(struct bulk_get *bulk, struct error *error);

/* Keep the first COUNT revisions; the rest is a new question. */
struct bulk_get *bulk_get_cut(struct bulk_get *bulk, size_t count, struct error *error);

/* The documents of an answer.  All zero: none. */
struct bulk_get_answer {
    struct buffer lines; /* one document a line */
    struct bulk_get_line {
        const char *id, *rev; /* owned by the question */
        size_t at, size;      /* with the line feed */
    } * docs;
    size_t count;
    size_t too_large; /* documents of more than 32 MB, which are left out */
};

/* Read an answer of SIZE bytes.  What was not asked for, comes a second time, or has no `_revisions`, is left
 * out.  -1 with ERROR_TEMPORARY when it is not an answer of _bulk_get as a whole: ANSWER is then empty.  The
 * caller cleanses it with bulk_get_forget, ahead of bulk_get_free. */
int bulk_get_read(struct bulk_get *bulk, const char *body, size_t size,
                  struct bulk_get_answer *answer, struct error *error);
void bulk_get_forget(struct bulk_get_answer *answer);

#endif
