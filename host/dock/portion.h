/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * One question of CouchDB's _bulk_get: the revisions that it asks for, and what may be used of the answer.
 * A document's bytes are handed on as they came.  Knows nothing of HTTP.
 */
#ifndef BODA_HOST_DOCK_PORTION_H
#define BODA_HOST_DOCK_PORTION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

#define PORTION_DOCS_MOST 500

struct portion;

struct portion *portion_new(struct error *error);
void portion_free(struct portion *portion); /* NULL is harmless */

/* Ask for a revision: in order of id and rev, each once. */
int portion_add(struct portion *portion, const char *id, const char *rev, struct error *error);
size_t portion_count(const struct portion *portion);

/* The first of those that are asked for: id, and *REV; owned by PORTION. */
const char *portion_first(const struct portion *portion, const char **rev);

/* The JSON of the question; owned by PORTION, good until it is cut. */
const struct buffer *portion_body(struct portion *portion, struct error *error);

/* Only what the answer that was read last had not is asked for: how much that is. */
size_t portion_keep_missing(struct portion *portion);

/* Keep the first COUNT revisions; the rest is a new question. */
struct portion *portion_cut(struct portion *portion, size_t count, struct error *error);

/* The documents of an answer.  All zero: none. */
struct portion_answer {
    struct buffer lines; /* one document a line */
    struct portion_line {
        const char *id, *rev; /* owned by the question */
        size_t at, size;      /* with the line feed */
    } * docs;
    size_t count;
    size_t too_large; /* documents of more than 32 MB, which are left out */
};

/* Read an answer of SIZE bytes; or, with CUT, as much of one as we let come.  What was not asked for, comes a second time, or has no `_revisions`, is left
 * out.  -1 with ERROR_TEMPORARY when it is not an answer of _bulk_get as a whole: ANSWER is then empty.  The
 * caller cleanses it with portion_forget, ahead of portion_free. */
int portion_read(struct portion *portion, const char *body, size_t size, bool cut,
                 struct portion_answer *answer, struct error *error);
void portion_forget(struct portion_answer *answer);

#endif
