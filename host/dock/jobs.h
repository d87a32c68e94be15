/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Inside of cht only: the caller's requests, and the queue of those that are not in flight.
 */
#ifndef BODA_HOST_DOCK_JOBS_H
#define BODA_HOST_DOCK_JOBS_H

#include <stdint.h>

#include "host/dock/login.h"

struct job {
    struct job *next;
    struct login *login;
    char *method, *path;
    const void *body; /* borrowed */
    size_t size;
    size_t most_bytes; /* of the answer; 0: as many as are taken by default */
    cht_done *done;
    void *context;

    bool plain;                /* the server did not like it gzipped */
    bool gzipped;              /* sent so */
    bool renewed;              /* a 401 has been answered with a new login */
    unsigned session;          /* login->session that it was sent with */
    unsigned failures;         /* how often the server was away for it */
    unsigned lone_failures;    /* how often, while the server answered others */
    uint64_t answers_before;   /* of the server, when it failed last */
    int64_t failed_ms, due_ms; /* when it failed first; when it may be tried again */
};

struct jobs {
    struct job *first, **last; /* the next one first */
    size_t count;
};

/* METHOD and PATH are copied.  NULL without memory.  Freed with jobs_free_one. */
struct job *jobs_new(const char *method, const char *path);
void jobs_free_one(struct job *job); /* NULL is harmless */

void jobs_init(struct jobs *jobs);     /* empty; what was in it is somebody else's */
void jobs_free_all(struct jobs *jobs); /* then empty */

void jobs_add_first(struct jobs *jobs, struct job *job);
void jobs_add_last(struct jobs *jobs, struct job *job);

/* Take the job out to which *AT, &jobs->first or some &job->next, points. */
struct job *jobs_take(struct jobs *jobs, struct job **at);

#endif
