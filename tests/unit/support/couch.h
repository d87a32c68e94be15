/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A server for tests of the replay, on 127.0.0.1 in a thread of its own: the part of CouchDB that the
 * dock talks to, with a memory of what it was asked, and faults on demand.  Documents say themselves how
 * they fail:
 *   "x_fail": 400    a request with it is answered so, and nothing of it is stored
 *   "x_part": 412    the same, but what stands before it in the request is stored
 *   "x_times": 1     so many times only (of x_fail)
 *   "x_forbidden"    not stored, {"id","error":"forbidden"} in the answer
 *   "x_silent"       not stored, and no word of it
 *   "x_needs": "id"  forbidden unless that document is stored or in the same request
 */
#ifndef BODA_TESTS_UNIT_SUPPORT_COUCH_H
#define BODA_TESTS_UNIT_SUPPORT_COUCH_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/unit/support/display.h"

struct couch;

struct couch *couch_new(void);
void couch_free(struct couch *couch);
const char *couch_url(const struct couch *couch);

/* The database "medic" exists; others after a PUT. */
bool couch_has(struct couch *couch, const char *db, const char *id, const char *rev);
void couch_put(struct couch *couch, const char *db, const char *id, const char *rev);
size_t couch_count(struct couch *couch);

/* The next TIMES requests whose path contains PATH (and, WHO not NULL, of that user) are answered with
 * STATUS and BODY; BODY NULL: an HTML page.  DO_IT: after they were done. */
void couch_fault(struct couch *couch, const char *path, const char *who, unsigned status,
                 const char *body, unsigned times, bool do_it);
void couch_clear_faults(struct couch *couch);

/* The connection is cut in the middle of the next TIMES answers to PATH. */
void couch_cut(struct couch *couch, const char *path, unsigned times);

/* Every answer takes so long. */
void couch_delay(struct couch *couch, unsigned ms);

/* What it shows, under the server's lock: change it in between. */
struct display *couch_lock_display(struct couch *couch);
void couch_unlock_display(struct couch *couch);

/* How many requests whose "METHOD PATH ids" contains TEXT came, and the largest number of documents in
 * one. ids: of a _bulk_docs, in order, each with a blank before. */
size_t couch_requests(struct couch *couch, const char *text);
size_t couch_most_docs(struct couch *couch);
size_t couch_most_bytes(struct couch *couch);
unsigned couch_most_in_flight(struct couch *couch);

/* Number of the first request whose line contains TEXT, from 0; -1. */
long couch_first(struct couch *couch, const char *text);

/* How often (id) was put into a _bulk_docs. */
size_t couch_sent(struct couch *couch, const char *id);
void couch_forget_requests(struct couch *couch);

#endif
