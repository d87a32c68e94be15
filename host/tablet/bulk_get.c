/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * POST /{db}/_bulk_get
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/pick.h"
#include "host/tablet/delivery.h"
#include "host/tablet/route.h"

#define ASKED_DOC_BYTES 8192 /* id, rev and what else a client may say of a document it wants */

static const struct pick_place asked = {"docs[]", ASKED_DOC_BYTES};

struct bulk_get {
    struct request *request;
    struct pick *pick;
    struct delivery *delivery;
    bool latest, wrote;
};

/* ---- how it looks ---- */

static int begin_result(struct buffer *out, const char *id, bool first, struct error *error)
{
    if (buffer_printf(out, error, "%s{\"id\":", first ? "" : ",\n") != 0 ||
        answer_string(out, id, error) != 0)
        return -1;
    return buffer_printf(out, error, ",\"docs\":[");
}

static int begin(struct buffer *out, const char *id, const char *rev, bool first,
                 struct error *error)
{
    (void)rev;
    return begin_result(out, id, first, error) != 0 ? -1 : buffer_printf(out, error, "{\"ok\":");
}

static int end(struct buffer *out, struct error *error)
{
    return buffer_printf(out, error, "}]}");
}

static int missing(struct buffer *out, const char *id, const char *rev, bool first,
                   struct error *error)
{
    if (begin_result(out, id, first, error) != 0 ||
        buffer_printf(out, error, "{\"error\":{\"id\":") != 0 ||
        answer_string(out, id, error) != 0 || buffer_printf(out, error, ",\"rev\":") != 0)
        return -1;
    if (rev[0] == '\0' ? buffer_printf(out, error, "null") != 0
                       : answer_string(out, rev, error) != 0)
        return -1;
    return buffer_printf(out, error, ",\"error\":\"not_found\",\"reason\":\"missing\"}}]}");
}

static const struct delivery_form form = {begin, end, missing};

/* ---- what is asked for ---- */

struct leaves {
    struct bulk_get *bulk;
    const char *id;
    unsigned count;
    struct error *error;
};

static int add_leaf(const struct shelf_doc *doc, void *context)
{
    struct leaves *leaves = context;

    leaves->count++;
    return delivery_add(leaves->bulk->delivery, leaves->id, doc->rev, false, leaves->error);
}

/* Without a rev: all leaves of it that are here. */
static int add_leaves(struct bulk_get *bulk, const char *id, struct error *error)
{
    struct leaves leaves = {.bulk = bulk, .id = id, .error = error};
    const struct request *request = bulk->request;

    if (shelf_each(request->service->store, request->db, id, add_leaf, &leaves, error) != 0)
        return -1;
    return leaves.count > 0 ? 0 : delivery_add(bulk->delivery, id, NULL, false, error);
}

static int take(unsigned place, const char *json, size_t size, void *context, struct error *error)
{
    struct bulk_get *bulk = context;
    json_t *doc = json_loadb(json, size, 0, NULL);
    const char *id = json_string_value(json_object_get(doc, "id"));
    const char *rev = json_string_value(json_object_get(doc, "rev"));
    int result;

    (void)place;
    if (id == NULL || (rev == NULL && json_object_get(doc, "rev") != NULL))
        result = error_set(error, ERROR_USAGE, "each of `docs` must have an `id` and a `rev`");
    else if (rev == NULL)
        result = add_leaves(bulk, id, error);
    else
        result = delivery_add(bulk->delivery, id, rev, bulk->latest, error);
    json_decref(doc);
    return result;
}

/* ---- the route ---- */

static void refuse(struct request *request, struct error *error)
{
    const struct bulk_get *bulk = request->state;

    if (bulk != NULL && bulk->pick != NULL && pick_fault(bulk->pick) == PICK_MALFORMED)
        error->kind = ERROR_USAGE;
    answer_fault(&request->answer, error);
}

static int start(struct request *request, struct bulk_get *bulk, struct error *error)
{
    struct shown_options options = {0};

    if (uri_flag(&request->uri, "revs", &options.revs, error) != 0 ||
        uri_flag(&request->uri, "attachments", &options.attachments, error) != 0 ||
        uri_flag(&request->uri, "latest", &bulk->latest, error) != 0)
        return -1;
    bulk->request = request;
    bulk->delivery = delivery_new(request, &form, &options, error);
    if (bulk->delivery == NULL)
        return -1;
    bulk->pick = pick_new(&asked, 1, take, bulk, error);
    return bulk->pick != NULL ? 0 : -1;
}

void bulk_get_begin(struct request *request)
{
    struct bulk_get *bulk = calloc(1, sizeof *bulk);
    struct error error;

    request->state = bulk;
    if (bulk == NULL) {
        (void)error_set(&error, ERROR_FAILED, "_bulk_get: no memory");
        answer_fault(&request->answer, &error);
    } else if (start(request, bulk, &error) != 0) {
        answer_fault(&request->answer, &error);
    }
}

void bulk_get_body(struct request *request, const void *bytes, size_t size)
{
    struct bulk_get *bulk = request->state;
    struct error error;

    if (pick_feed(bulk->pick, bytes, size, &error) != 0)
        refuse(request, &error);
}

static enum answer_step more(struct request *request, struct buffer *out, struct error *error)
{
    struct bulk_get *bulk = request->state;
    enum answer_step step;

    if (!bulk->wrote && buffer_printf(out, error, "{\"results\":[\n") != 0)
        return ANSWER_FAILED;
    bulk->wrote = true;
    step = delivery_more(bulk->delivery, out, error);
    if (step == ANSWER_END && buffer_printf(out, error, "\n]}\n") != 0)
        return ANSWER_FAILED;
    return step;
}

void bulk_get_end(struct request *request)
{
    struct bulk_get *bulk = request->state;
    struct error error;

    if (pick_end(bulk->pick, &error) != 0) {
        refuse(request, &error);
    } else if (!pick_seen(bulk->pick, 0)) {
        answer_error(&request->answer, 400, "bad_request", "Missing JSON list of 'docs'.");
    } else if (delivery_settle(bulk->delivery, &error) != 0) {
        answer_fault(&request->answer, &error);
    } else {
        request->answer.status = 200;
        request->answer.more = more;
    }
}

void bulk_get_free(struct request *request)
{
    struct bulk_get *bulk = request->state;

    if (bulk == NULL)
        return;
    pick_free(bulk->pick);
    delivery_free(bulk->delivery);
    free(bulk);
}
