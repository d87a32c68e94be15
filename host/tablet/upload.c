/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * POST /{db}/_bulk_docs
 */
#include "host/tablet/bulk_docs.h"
#include "host/tablet/route.h"

static int take(const char *json, size_t size, void *context, struct error *error)
{
    return outbox_add(context, json, size, error);
}

void upload_begin(struct request *request)
{
    struct error error;

    request->state = bulk_docs_new(take, request->service->outbox, &error);
    if (request->state == NULL)
        answer_fault(&request->answer, &error);
}

static void release_outbox(struct request *request)
{
    if (request->service->outbox_user != request)
        return;
    outbox_abandon(request->service->outbox); /* harmless after its commit */
    request->service->outbox_user = NULL;
}

static void refuse(struct request *request, const struct error *error)
{
    release_outbox(request);
    if (error->kind == ERROR_REFUSED)
        answer_error(&request->answer, 412, "missing_stub", error->text);
    else if (error->kind == ERROR_USAGE)
        answer_error(&request->answer, 400, "bad_request", error->text);
    else
        answer_fault(&request->answer, error);
}

/* With the first bytes the outbox becomes this request's; nobody else has it (routes_must_wait). */
static int hold_outbox(struct request *request, struct error *error)
{
    struct service *service = request->service;

    if (service->outbox_user == request)
        return 0;
    service->outbox_user = request;
    return outbox_begin(service->outbox, request->db, error);
}

void upload_body(struct request *request, const void *bytes, size_t size)
{
    struct error error;

    if (hold_outbox(request, &error) != 0) {
        answer_fault(&request->answer, &error);
        return;
    }
    if (bulk_docs_feed(request->state, bytes, size, &error) != 0)
        refuse(request, &error);
}

void upload_end(struct request *request)
{
    struct error error;

    if (bulk_docs_end(request->state, &error) != 0) {
        refuse(request, &error);
        return;
    }
    if (outbox_commit(request->service->outbox, &error) != 0) {
        release_outbox(request);
        answer_fault(&request->answer, &error);
        return;
    }
    release_outbox(request);
    /* With new_edits:false only failures are listed. */
    answer_json(&request->answer, 201, "[]\n");
}

void upload_free(struct request *request)
{
    release_outbox(request);
    bulk_docs_free(request->state);
}
