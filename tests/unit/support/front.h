/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * An HTTP server for tests of host/dock/cht, on 127.0.0.1 in a thread of its own: CHT's login with its
 * lock, sessions, Basic, faults on demand, and a memory of what it was sent.  The password of every user
 * is "good"; the user "new" must change it first.
 */
#ifndef BODA_TESTS_UNIT_SUPPORT_FRONT_H
#define BODA_TESTS_UNIT_SUPPORT_FRONT_H

#include <stdbool.h>
#include <stddef.h>

struct front;

/* PORT 0: a free one.  With CERTIFICATE and KEY (PEM) it speaks TLS. */
struct front *front_new(unsigned port, const char *certificate, const char *key);
void front_free(struct front *front);
const char *front_url(const struct front *front);
unsigned front_port(const struct front *front);

/* The next TIMES requests whose path contains PATH are answered with STATUS, the header line NAME: VALUE
 * (NULL: none) and BODY. */
void front_fault(struct front *front, const char *path, unsigned status, const char *name,
                 const char *value, const char *body, unsigned times);

/* The connection is cut in the middle of the next TIMES answers to PATH. */
void front_cut(struct front *front, const char *path, unsigned times);

/* Gzipped bodies are answered with 400 from now on. */
void front_refuse_gzip(struct front *front);

/* All sessions end.  BROKEN: those given from now on are not taken either. */
void front_expire(struct front *front, bool broken);

/* Requests whose line contains TEXT.  A line: "METHOD PATH|header: value|...|body:TEXT|", header names in
 * lower case, the body unzipped if it was gzipped. */
size_t front_count(struct front *front, const char *text);
size_t front_connections(struct front *front);
size_t front_most_in_flight(struct front *front);

/* Every answer takes so long. */
void front_delay(struct front *front, unsigned ms);

#endif
