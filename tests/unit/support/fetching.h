/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A dock that fetches, for tests: that of replaying.h, a folder with the certificates of t1 (chw1) and t2 (chw2), a server
 * that shows documents.
 */
#ifndef BODA_TESTS_UNIT_SUPPORT_FETCHING_H
#define BODA_TESTS_UNIT_SUPPORT_FETCHING_H

#include "host/dock/fetch.h"
#include "store/holdings.h"
#include "tests/unit/support/replaying.h"

struct fetching {
    struct replaying *r;
    char *folder; /* with stations/ */
    struct fetch *fetch;
    struct fetch_options options;
    struct fetch_counts counts;
    struct error error;
};

int fetching_setup(void **state);
int fetching_teardown(void **state);

/* As the dock of a CouchDB. */
void fetching_as_couchdb(struct fetching *f);

/* stations/NAME.crt has the certificate of IDENTITY. */
void fetching_know(struct fetching *f, const struct identity *identity, const char *name);

/* The server shows WHO a document "PREFIX<number>" of revision REV with SIZE bytes of text in it, COUNT of them. */
void fetching_show(struct fetching *f, const char *db, const char *who, const char *prefix,
                   int count, const char *rev, size_t size);

/* Run; what is expected of it: EXPECTED is 0 or the error's kind, negated. */
#define FETCHING_OK 1
void fetching_run(struct fetching *f, int expected);

/* All batches of KIND under way to TABLET (t1 or t2) are opened as that tablet does: how many documents (lines) of DB are in
 * them, and the text of all, to be freed (TEXT may be NULL). */
size_t fetching_opened(struct fetching *f, const struct identity *tablet, const char *kind,
                       const char *db, char **text);

/* How many batches are under way to TABLET. */
uint64_t fetching_under_way(struct fetching *f, const char *tablet);

/* TABLET has got all that is under way: its batches are receipted, and its receipt says that it holds what is listed. */
void fetching_deliver(struct fetching *f, const char *tablet);

#endif
