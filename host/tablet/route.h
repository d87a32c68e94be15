/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Inside of host/tablet only: the functions of a route, and those that have a file of their own.
 */
#ifndef BODA_HOST_TABLET_ROUTE_H
#define BODA_HOST_TABLET_ROUTE_H

#include "host/tablet/routes.h"

struct route {
    const char *method; /* HEAD goes with GET */
    const char *path;   /* "" the root, "/" a database, "/_revs_diff" below one */
    uint64_t body_limit_bytes;
    bool takes_outbox;
    /* Each may be NULL but `end`. */
    void (*begin)(struct request *request);
    void (*body)(struct request *request, const void *bytes, size_t size);
    void (*end)(struct request *request);
    void (*free)(struct request *request);
};

void local_get(struct request *request);
void local_begin(struct request *request);
void local_body(struct request *request, const void *bytes, size_t size);
void local_put(struct request *request);
void local_free(struct request *request);

void revs_diff_begin(struct request *request);
void revs_diff_body(struct request *request, const void *bytes, size_t size);
void revs_diff_end(struct request *request);
void revs_diff_free(struct request *request);

void upload_begin(struct request *request);
void upload_body(struct request *request, const void *bytes, size_t size);
void upload_end(struct request *request);
void upload_free(struct request *request);

#endif
