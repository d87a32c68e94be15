/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * GET /{db}/{id}: one document, or with open_revs several of its revisions.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "host/tablet/delivery.h"
#include "host/tablet/route.h"

/* No document has it: within JSON a line break is written as \n (RFC 8259), and this begins with one. */
#define BOUNDARY "boda-b5a9ea1c7cd34e8b"

struct wish {
    const char *rev, *open_revs;
    bool revs, attachments, latest, conflicts, multipart;
};

struct document {
    struct delivery *delivery;
    const char *before, *behind; /* around all of them */
    bool wrote;
};

/* ---- how it looks ---- */

static int plain_begin(struct buffer *out, const char *id, const char *rev, bool first,
                       struct error *error)
{
    (void)out;
    (void)id;
    (void)rev;
    (void)first;
    (void)error;
    return 0;
}

/* Its batch could not be opened: the answer ends in the middle. */
static int plain_missing(struct buffer *out, const char *id, const char *rev, bool first,
                         struct error *error)
{
    (void)out;
    (void)id;
    (void)rev;
    (void)first;
    return error_set(error, ERROR_TEMPORARY,
                     "shelf: the document cannot be opened; it is asked for anew");
}

static const struct delivery_form plain = {plain_begin, NULL, plain_missing};

static int array_begin(struct buffer *out, const char *id, const char *rev, bool first,
                       struct error *error)
{
    (void)id;
    (void)rev;
    return buffer_printf(out, error, "%s{\"ok\":", first ? "" : ",");
}

static int array_end(struct buffer *out, struct error *error)
{
    return buffer_append(out, "}", 1, error);
}

static int array_missing(struct buffer *out, const char *id, const char *rev, bool first,
                         struct error *error)
{
    (void)id;
    if (buffer_printf(out, error, "%s{\"missing\":", first ? "" : ",") != 0 ||
        answer_string(out, rev, error) != 0)
        return -1;
    return array_end(out, error);
}

static const struct delivery_form array = {array_begin, array_end, array_missing};

static int part_begin(struct buffer *out, const char *id, const char *rev, bool first,
                      struct error *error)
{
    (void)id;
    (void)rev;
    (void)first;
    return buffer_printf(out, error,
                         "\r\n--" BOUNDARY "\r\nContent-Type: application/json\r\n\r\n");
}

static int part_missing(struct buffer *out, const char *id, const char *rev, bool first,
                        struct error *error)
{
    (void)id;
    (void)first;
    if (buffer_printf(out, error,
                      "\r\n--" BOUNDARY
                      "\r\nContent-Type: application/json; error=\"true\"\r\n\r\n{\"missing\":") !=
            0 ||
        answer_string(out, rev, error) != 0)
        return -1;
    return buffer_append(out, "}", 1, error);
}

static const struct delivery_form parts = {part_begin, NULL, part_missing};

/* ---- which revisions ---- */

struct leaves {
    struct delivery *delivery;
    struct buffer *conflicts;
    const char *except;
    struct error *error;
};

static int add_leaf(const struct shelf_doc *doc, void *context)
{
    const struct leaves *leaves = context;

    return delivery_add(leaves->delivery, doc->id, doc->rev, false, leaves->error);
}

static int add_open_revs(struct request *request, struct delivery *delivery,
                         const struct wish *wish, struct error *error)
{
    struct leaves leaves = {.delivery = delivery, .error = error};
    json_t *revs, *rev;
    size_t i;
    int result = 0;

    if (strcmp(wish->open_revs, "all") == 0)
        return shelf_each(request->service->store, request->db, request->id, add_leaf, &leaves,
                          error);
    revs = json_loads(wish->open_revs, 0, NULL);
    if (!json_is_array(revs))
        result = error_set(error, ERROR_USAGE, "`open_revs` must be \"all\" or a JSON array");
    json_array_foreach (revs, i, rev) {
        if (result == 0 && !json_is_string(rev))
            result = error_set(error, ERROR_USAGE, "each of `open_revs` must be a string");
        if (result == 0)
            result =
                delivery_add(delivery, request->id, json_string_value(rev), wish->latest, error);
    }
    json_decref(revs);
    return result;
}

static int add_conflict(const struct shelf_doc *doc, void *context)
{
    const struct leaves *leaves = context;
    struct buffer *out = leaves->conflicts;

    if (doc->deleted || strcmp(doc->rev, leaves->except) == 0)
        return 0;
    if (buffer_printf(out, leaves->error, "%s", out->length == 0 ? ",\"_conflicts\":[" : ",") != 0)
        return -1;
    return answer_string(out, doc->rev, leaves->error);
}

static int set_conflicts(struct request *request, struct delivery *delivery, const char *rev,
                         struct error *error)
{
    struct buffer text = {0};
    struct leaves leaves = {.conflicts = &text, .except = rev, .error = error};
    int result =
        shelf_each(request->service->store, request->db, request->id, add_conflict, &leaves, error);

    if (result == 0 && text.length > 0) {
        result = buffer_append(&text, "]", 2, error); /* with its zero */
        if (result == 0)
            result = delivery_set_tail(delivery, (const char *)text.data, error);
    }
    buffer_free(&text);
    return result;
}

/* 1; 0 not on the shelf (answered); -1. */
static int add_one(struct request *request, struct delivery *delivery, const struct wish *wish,
                   struct error *error)
{
    struct shelf_doc doc;
    int found;

    if (wish->rev != NULL)
        return delivery_add(delivery, request->id, wish->rev, wish->latest, error) != 0 ? -1 : 1;
    found = shelf_find(request->service->store, request->db, request->id, NULL, &doc, error);
    if (found < 0)
        return -1;
    if (found == 0 || doc.deleted) {
        answer_error(&request->answer, 404, "not_found", found == 0 ? "missing" : "deleted");
        return 0;
    }
    if (wish->conflicts && set_conflicts(request, delivery, doc.rev, error) != 0)
        return -1;
    return delivery_add(delivery, request->id, doc.rev, false, error) != 0 ? -1 : 1;
}

/* ---- the route ---- */

static enum answer_step more(struct request *request, struct buffer *out, struct error *error)
{
    struct document *document = request->state;
    enum answer_step step;

    if (!document->wrote && buffer_printf(out, error, "%s", document->before) != 0)
        return ANSWER_FAILED;
    document->wrote = true;
    step = delivery_more(document->delivery, out, error);
    if (step == ANSWER_END && buffer_printf(out, error, "%s", document->behind) != 0)
        return ANSWER_FAILED;
    return step;
}

static int read_wish(struct request *request, struct wish *wish, struct error *error)
{
    const struct uri *uri = &request->uri;

    wish->rev = uri_param(uri, "rev");
    wish->open_revs = uri_param(uri, "open_revs");
    wish->multipart =
        wish->open_revs != NULL &&
        (request->accept == NULL || strstr(request->accept, "application/json") == NULL);
    if (uri_flag(uri, "revs", &wish->revs, error) != 0 ||
        uri_flag(uri, "attachments", &wish->attachments, error) != 0 ||
        uri_flag(uri, "latest", &wish->latest, error) != 0)
        return -1;
    /* CouchDB's parts always have their attachments. */
    wish->attachments = wish->attachments || wish->multipart;
    return uri_flag(uri, "conflicts", &wish->conflicts, error);
}

static void shape(struct request *request, struct document *document, const struct wish *wish)
{
    if (wish->multipart)
        request->answer.type = "multipart/mixed; boundary=\"" BOUNDARY "\"";
    document->before = wish->open_revs != NULL && !wish->multipart ? "[" : "";
    document->behind = wish->multipart           ? "\r\n--" BOUNDARY "--"
                       : wish->open_revs != NULL ? "]\n"
                                                 : "\n";
}

/* 1 it can be delivered; 0 answered; -1. */
static int prepare(struct request *request, struct document *document, struct error *error)
{
    struct wish wish = {0};
    struct shown_options options;
    int result;

    if (read_wish(request, &wish, error) != 0)
        return -1;
    options.revs = wish.revs;
    options.attachments = wish.attachments;
    document->delivery = delivery_new(request,
                                      wish.multipart           ? &parts
                                      : wish.open_revs != NULL ? &array
                                                               : &plain,
                                      &options, error);
    if (document->delivery == NULL)
        return -1;
    if (wish.open_revs != NULL)
        result = add_open_revs(request, document->delivery, &wish, error) != 0 ? -1 : 1;
    else
        result = add_one(request, document->delivery, &wish, error);
    if (result != 1)
        return result;
    if (delivery_settle(document->delivery, error) != 0)
        return -1;
    if (delivery_found(document->delivery) == 0 &&
        (wish.open_revs == NULL || strcmp(wish.open_revs, "all") == 0)) {
        answer_error(&request->answer, 404, "not_found", "missing");
        return 0;
    }
    shape(request, document, &wish);
    return 1;
}

void document_get(struct request *request)
{
    struct document *document = calloc(1, sizeof *document);
    struct error error;
    int result;

    request->state = document;
    if (document == NULL)
        result = error_set(&error, ERROR_FAILED, "http: no memory");
    else
        result = prepare(request, document, &error);
    if (result < 0) {
        answer_fault(&request->answer, &error);
    } else if (result == 1) {
        request->answer.status = 200;
        request->answer.more = more;
    }
}

void document_free(struct request *request)
{
    struct document *document = request->state;

    if (document != NULL)
        delivery_free(document->delivery);
    free(document);
}
