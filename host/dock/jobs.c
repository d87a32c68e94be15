/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/jobs.h"

#include <stdlib.h>
#include <string.h>

struct job *jobs_new(const char *method, const char *path)
{
    struct job *job = calloc(1, sizeof *job);

    if (job == NULL || (job->method = strdup(method)) == NULL ||
        (job->path = strdup(path)) == NULL) {
        jobs_free_one(job);
        return NULL;
    }
    return job;
}

void jobs_free_one(struct job *job)
{
    if (job == NULL)
        return;
    free(job->method);
    free(job->path);
    free(job);
}

void jobs_init(struct jobs *jobs)
{
    jobs->first = NULL;
    jobs->last = &jobs->first;
    jobs->count = 0;
}

void jobs_free_all(struct jobs *jobs)
{
    while (jobs->first != NULL)
        jobs_free_one(jobs_take(jobs, &jobs->first));
}

void jobs_add_first(struct jobs *jobs, struct job *job)
{
    job->next = jobs->first;
    jobs->first = job;
    if (job->next == NULL)
        jobs->last = &job->next;
    jobs->count++;
}

void jobs_add_last(struct jobs *jobs, struct job *job)
{
    job->next = NULL;
    *jobs->last = job;
    jobs->last = &job->next;
    jobs->count++;
}

struct job *jobs_take(struct jobs *jobs, struct job **at)
{
    struct job *job = *at;

    *at = job->next;
    if (jobs->last == &job->next)
        jobs->last = at;
    job->next = NULL;
    jobs->count--;
    return job;
}
