/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * GET /_boda/status: what the user and whoever helps should know of this tablet.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "host/tablet/route.h"
#include "store/ledger.h"
#include "store/peers.h"
#include "store/streams.h"
#include "store/view.h"

#define LISTED_MOST 1000 /* of a kind */

struct listing {
    json_t *array;
    struct error *error;
};

/* Append VALUE, whose reference is taken. */
static int append(struct listing *listing, json_t *value)
{
    if (value == NULL || json_array_append_new(listing->array, value) != 0)
        return error_set(listing->error, ERROR_FAILED, "status: no memory");
    return 0;
}

static int show_stream(const struct stream *stream, void *context)
{
    return append(context,
                  json_pack("{ss ss ss sI ss sI ss}", "from", stream->from, "to", stream->to,
                            "epoch", stream->epoch, "waiting", (json_int_t)stream->waiting,
                            "oldest_waiting", stream->oldest_waiting, "missing",
                            (json_int_t)stream->missing, "missing_since", stream->missing_since));
}

static int show_visit(const struct peer_visit *visit, void *context)
{
    struct listing *listing = context;

    if (visit->last_visit[0] == '\0' || json_array_size(listing->array) == LISTED_MOST)
        return 0;
    return append(listing, json_pack("{ss ss ss}", "name", visit->name, "role", visit->role,
                                     "last_visit", visit->last_visit));
}

static int list_refused(struct store *store, struct listing *listing)
{
    struct refusal refusal;
    int64_t after = 0;
    int found = 1;

    while (json_array_size(listing->array) < LISTED_MOST &&
           (found = ledger_next(store, after, false, &refusal, listing->error)) == 1) {
        after = refusal.number;
        if (append(listing,
                   json_pack("{ss ss ss ss ss}", "db", refusal.db, "id", refusal.id, "rev",
                             refusal.rev, "error", refusal.error, "reason", refusal.reason)) != 0)
            return -1;
    }
    return found < 0 ? -1 : 0;
}

static int list_aside(struct store *store, struct listing *listing)
{
    char reason[ERROR_TEXT_BYTES];
    struct batch batch;
    int64_t after = 0;
    int found = 1;

    while (json_array_size(listing->array) < LISTED_MOST &&
           (found = batches_next_aside(store, after, &batch, reason, listing->error)) == 1) {
        after = batch.position;
        if (append(listing, json_pack("{ss sI ss}", "from", batch.label.from, "seq",
                                      (json_int_t)batch.label.seq, "reason", reason)) != 0)
            return -1;
    }
    return found < 0 ? -1 : 0;
}

static int count_docs(struct request *request, json_t *status, struct error *error)
{
    struct store *store = request->service->store;
    uint64_t shelf;
    int64_t view;

    if (view_count(store, request->db, &view, error) != 0 ||
        shelf_pending(store, request->db, 0, &shelf, error) != 0)
        return -1;
    if (json_object_set_new(status, "view_docs", view >= 0 ? json_integer(view) : json_null()) !=
            0 ||
        json_object_set_new(status, "shelf_docs", json_integer((json_int_t)shelf)) != 0)
        return error_set(error, ERROR_FAILED, "status: no memory");
    return 0;
}

static json_t *gather(struct request *request, struct error *error)
{
    struct store *store = request->service->store;
    struct listing refused = {json_array(), error}, streams = {json_array(), error};
    struct listing visits = {json_array(), error}, aside = {json_array(), error};
    json_t *status =
        json_pack("{ss ss so? so? so? so?}", "station", store_station(store), "user",
                  identity_user(request->service->identity), "refused", refused.array, "streams",
                  streams.array, "visits", visits.array, "aside", aside.array);

    /* Its arrays are the status's now, or gone with it. */
    if (status == NULL || refused.array == NULL || streams.array == NULL || visits.array == NULL ||
        aside.array == NULL) {
        (void)error_set(error, ERROR_FAILED, "status: no memory");
    } else if (list_refused(store, &refused) == 0 && list_aside(store, &aside) == 0 &&
               streams_each(store, show_stream, &streams, error) == 0 &&
               peers_each(store, show_visit, &visits, error) == 0 &&
               count_docs(request, status, error) == 0) {
        return status;
    }
    json_decref(status);
    return NULL;
}

void report_get(struct request *request)
{
    struct error error;
    json_t *status = gather(request, &error);
    char *text = status != NULL ? json_dumps(status, JSON_COMPACT) : NULL;

    if (status != NULL && text == NULL)
        (void)error_set(&error, ERROR_FAILED, "status: no memory");
    if (text != NULL)
        answer_json(&request->answer, 200, text);
    else
        answer_fault(&request->answer, &error);
    free(text);
    json_decref(status);
}
