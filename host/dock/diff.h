/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The JSON of CouchDB's POST /DB/_revs_diff, which says what the server lacks, and of the answer to
 * POST /DB/_bulk_docs, which says why it refused a document.
 */
#ifndef BODA_HOST_DOCK_DIFF_H
#define BODA_HOST_DOCK_DIFF_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

/* What is not listed as missing counts as stored, so an answer of "{}" from something that is no
 * CouchDB (a proxy, a test page) would prove everything.  Each question therefore names a revision that
 * no server has, too, and an answer that does not list it is none. */
#define DIFF_ABSENT_ID "boda:absent"
#define DIFF_ABSENT_REV "1-00000000000000000000000000000000"

/* An empty question; NULL without memory.  The caller gives it to diff_write. */
json_t *diff_new(void);

/* Ask for a revision too; the same one twice is asked once. */
int diff_ask(json_t *question, const char *id, const char *rev, struct error *error);

/* Append the question's text to OUT. */
int diff_write(const json_t *question, struct buffer *out, struct error *error);

/* The answer: a new reference; NULL with ERROR_TEMPORARY when it is not what CouchDB promises. */
json_t *diff_read(const char *body, size_t size, struct error *error);
bool diff_missing(const json_t *answer, const char *id, const char *rev);

/* The entries of a _bulk_docs answer, a JSON array: a new reference, or NULL when it is none (what the
 * _revs_diff says counts then, too). */
json_t *diff_read_results(const char *body, size_t size);

/* The server's words on a document, found by id, and by rev where the entry has one: the members
 * `error` and `reason` of its entry, owned by RESULTS (may be NULL); reason may be "".  False if there
 * are none. */
bool diff_entry(const json_t *results, const char *id, const char *rev, const char **word,
                const char **reason);

/* The server's words on a request that failed with STATUS: CouchDB's `error` and `reason`, or, when a proxy
 * answered with a page, what the status means; `word` begins with the status. */
struct diff_words {
    char word[128];
    char reason[256];
};
void diff_failure(long status, const char *body, size_t size, struct diff_words *words);

#endif
