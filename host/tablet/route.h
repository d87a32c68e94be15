/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Inside of host/tablet only: the functions of a route, and those that have a file of their own.
 */
#ifndef BODA_HOST_TABLET_ROUTE_H
#define BODA_HOST_TABLET_ROUTE_H

#include "host/tablet/routes.h"

enum route_kind {
    ROUTE_SERVER,     /* `path` is the whole path */
    ROUTE_DATABASE,   /* "/" a database, or "/_revs_diff" below one */
    ROUTE_LOCAL,      /* a _local document: request->id */
    ROUTE_DOC,        /* a document */
    ROUTE_ATTACHMENT, /* request->attachment of a document */
};

struct route {
    const char *method; /* HEAD goes with GET */
    enum route_kind kind;
    const char *path; /* "" for the last three kinds */
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

void changes_begin(struct request *request);
void changes_body(struct request *request, const void *bytes, size_t size);
void changes_end(struct request *request);
void changes_free(struct request *request);

void bulk_get_begin(struct request *request);
void bulk_get_body(struct request *request, const void *bytes, size_t size);
void bulk_get_end(struct request *request);
void bulk_get_free(struct request *request);

void document_get(struct request *request);
void document_free(struct request *request);

void attachment_get(struct request *request);
void attachment_free(struct request *request);

void cht_api_poll(struct request *request);
void cht_api_info(struct request *request);
void cht_api_get_ids(struct request *request);
void cht_api_deletes_begin(struct request *request);
void cht_api_deletes_body(struct request *request, const void *bytes, size_t size);
void cht_api_deletes_end(struct request *request);
void cht_api_free(struct request *request);

void report_get(struct request *request);

void page_get(struct request *request);

#endif
