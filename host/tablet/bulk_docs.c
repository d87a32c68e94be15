/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/bulk_docs.h"

#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "base/buffer.h"
#include "store/batch.h"

/* Levels of nesting: the body, `docs`, a document, its `_attachments`, one of them. */
#define DEPTH_BODY 1
#define DEPTH_DOCS 2
#define DEPTH_DOC 3
#define DEPTH_ATTACHMENTS 4
#define DEPTH_ATTACHMENT 5
#define DEPTH_MOST 502 /* doc_read takes 500 within a document */

enum member { MEMBER_OTHER, MEMBER_DOCS, MEMBER_NEW_EDITS };

struct bulk_docs {
    bulk_docs_receive *receive;
    void *context;
    yajl_handle parser;
    struct buffer doc; /* the bytes of the document in hand */
    size_t start;      /* where they go on in the present chunk */
    const char *chunk; /* the present one */
    unsigned depth;
    enum member member;   /* the body's member whose value comes */
    bool in_docs, in_doc; /* within `docs`; within an element of it */
    bool attachments,
        stub; /* the last key was `_attachments` of a document, `stub` of an attachment */
    bool docs_seen, no_new_edits, over;
    enum bulk_docs_fault fault;
    struct error error; /* filled when a callback stops the parser */
};

static int refuse(struct bulk_docs *bulk, const char *why)
{
    bulk->fault = BULK_DOCS_MALFORMED;
    (void)error_set(&bulk->error, ERROR_CORRUPT, "%s", why);
    return 0;
}

/* ---- the bytes of a document ---- */

static int keep(struct bulk_docs *bulk, size_t end)
{
    size_t size = end - bulk->start;

    if (bulk->doc.length + size > BATCH_DOC_MAX_BYTES)
        return refuse(bulk, "a document is larger than 32 MB");
    if (buffer_append(&bulk->doc, bulk->chunk + bulk->start, size, &bulk->error) == 0)
        return 1;
    bulk->fault = BULK_DOCS_RECEIVER;
    return 0;
}

/* Outside of strings a raw line break is white space; inside, JSON does not allow it. */
static void flatten(char *bytes, size_t size, char unwanted)
{
    char *at = bytes, *end = bytes + size;

    while ((at = memchr(at, unwanted, (size_t)(end - at))) != NULL)
        *at++ = ' ';
}

static int doc_done(struct bulk_docs *bulk)
{
    size_t size;

    if (!keep(bulk, yajl_get_bytes_consumed(bulk->parser)))
        return 0;
    bulk->in_doc = false;
    size = bulk->doc.length;
    flatten((char *)bulk->doc.data, size, '\n');
    flatten((char *)bulk->doc.data, size, '\r');
    bulk->fault = BULK_DOCS_RECEIVER;
    if (buffer_append(&bulk->doc, "\n", 1, &bulk->error) != 0 ||
        bulk->receive((const char *)bulk->doc.data, size, bulk->context, &bulk->error) != 0)
        return 0;
    bulk->doc.length = 0;
    if (bulk->doc.capacity > BATCH_PLAIN_BYTES)
        buffer_cleanse(&bulk->doc);
    return 1;
}

/* ---- yajl's callbacks: 1 go on, 0 stop ---- */

/* A value that is no container: refused where only certain ones may stand. */
static int scalar(struct bulk_docs *bulk)
{
    if (bulk->depth == 0)
        return refuse(bulk, "Request body must be a JSON object");
    if (bulk->in_docs && !bulk->in_doc)
        return refuse(bulk, "Document must be a JSON object");
    if (bulk->depth == DEPTH_BODY && bulk->member == MEMBER_DOCS)
        return refuse(bulk, "`docs` parameter must be an array.");
    if (bulk->depth == DEPTH_BODY && bulk->member == MEMBER_NEW_EDITS)
        return refuse(bulk, "`new_edits` parameter must be a boolean.");
    return 1;
}

static int on_null(void *context)
{
    return scalar(context);
}

static int on_boolean(void *context, int value)
{
    struct bulk_docs *bulk = context;

    if (bulk->depth == DEPTH_BODY && bulk->member == MEMBER_NEW_EDITS) {
        bulk->no_new_edits = !value;
        return 1;
    }
    if (bulk->stub && value && bulk->depth == DEPTH_ATTACHMENT) {
        bulk->fault = BULK_DOCS_MISSING_STUB;
        (void)error_set(&bulk->error, ERROR_CORRUPT,
                        "Invalid attachment stub: this endpoint takes attachments with their data");
        return 0;
    }
    return scalar(bulk);
}

static int on_number(void *context, const char *text, size_t size)
{
    (void)text;
    (void)size;
    return scalar(context);
}

static int on_string(void *context, const unsigned char *text, size_t size)
{
    (void)text;
    (void)size;
    return scalar(context);
}

static int open_container(struct bulk_docs *bulk, bool map)
{
    if (bulk->depth == 0 && !map)
        return refuse(bulk, "Request body must be a JSON object");
    if (bulk->depth == DEPTH_MOST)
        return refuse(bulk, "the body is nested too deep");
    if (bulk->depth == DEPTH_BODY && bulk->member == MEMBER_NEW_EDITS)
        return refuse(bulk, "`new_edits` parameter must be a boolean.");
    if (bulk->depth == DEPTH_BODY && bulk->member == MEMBER_DOCS) {
        if (map)
            return refuse(bulk, "`docs` parameter must be an array.");
        bulk->in_docs = true;
    } else if (bulk->depth == DEPTH_DOCS && bulk->in_docs) {
        if (!map)
            return refuse(bulk, "Document must be a JSON object");
        bulk->in_doc = true;
        bulk->attachments = false;
        bulk->start = yajl_get_bytes_consumed(bulk->parser) - 1; /* the brace is one byte */
    } else if (bulk->depth == DEPTH_DOC) {
        bulk->attachments = bulk->attachments && map;
    }
    bulk->stub = false;
    bulk->depth++;
    return 1;
}

static int close_container(struct bulk_docs *bulk)
{
    bulk->depth--;
    if (bulk->depth == DEPTH_BODY)
        bulk->in_docs = false;
    if (bulk->depth == 0)
        bulk->over = true;
    if (bulk->depth == DEPTH_DOC)
        bulk->attachments = false;
    return bulk->depth == DEPTH_DOCS && bulk->in_doc ? doc_done(bulk) : 1;
}

static int on_start_map(void *context)
{
    return open_container(context, true);
}

static int on_start_array(void *context)
{
    return open_container(context, false);
}

static int on_end(void *context)
{
    return close_container(context);
}

static bool is(const unsigned char *key, size_t size, const char *word)
{
    return size == strlen(word) && memcmp(key, word, size) == 0;
}

static int on_key(void *context, const unsigned char *key, size_t size)
{
    struct bulk_docs *bulk = context;

    if (bulk->in_doc && bulk->depth == DEPTH_DOC)
        bulk->attachments = is(key, size, "_attachments");
    else if (bulk->in_doc && bulk->depth == DEPTH_ATTACHMENT)
        bulk->stub = bulk->attachments && is(key, size, "stub");
    if (bulk->depth != DEPTH_BODY)
        return 1;
    bulk->member = is(key, size, "docs")        ? MEMBER_DOCS
                   : is(key, size, "new_edits") ? MEMBER_NEW_EDITS
                                                : MEMBER_OTHER;
    if (bulk->member == MEMBER_DOCS && bulk->docs_seen)
        return refuse(bulk, "`docs` is there twice");
    bulk->docs_seen = bulk->docs_seen || bulk->member == MEMBER_DOCS;
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end,
};

/* ---- the body ---- */

struct bulk_docs *bulk_docs_new(bulk_docs_receive *receive, void *context, struct error *error)
{
    struct bulk_docs *bulk = calloc(1, sizeof *bulk);

    if (bulk != NULL)
        bulk->parser = yajl_alloc(&callbacks, NULL, bulk);
    if (bulk == NULL || bulk->parser == NULL) {
        free(bulk);
        (void)error_set(error, ERROR_FAILED, "_bulk_docs: no memory");
        return NULL;
    }
    /* Whoever reads the document itself checks its UTF-8. */
    (void)yajl_config(bulk->parser, yajl_dont_validate_strings, 1);
    bulk->receive = receive;
    bulk->context = context;
    return bulk;
}

void bulk_docs_free(struct bulk_docs *bulk)
{
    if (bulk == NULL)
        return;
    yajl_free(bulk->parser);
    buffer_cleanse(&bulk->doc);
    free(bulk);
}

static int finish(struct bulk_docs *bulk, yajl_status status, struct error *error)
{
    if (status == yajl_status_ok)
        return 0;
    if (status == yajl_status_error)
        (void)refuse(bulk, "invalid UTF-8 JSON");
    if (error != NULL)
        *error = bulk->error;
    return -1;
}

int bulk_docs_feed(struct bulk_docs *bulk, const void *bytes, size_t size, struct error *error)
{
    yajl_status status;

    bulk->chunk = bytes;
    bulk->start = 0;
    status = yajl_parse(bulk->parser, bytes, size);
    if (status == yajl_status_ok && bulk->in_doc && !keep(bulk, size))
        status = yajl_status_client_canceled;
    return finish(bulk, status, error);
}

int bulk_docs_end(struct bulk_docs *bulk, struct error *error)
{
    yajl_status status = yajl_complete_parse(bulk->parser);

    if (status == yajl_status_ok && !bulk->over)
        status = yajl_status_error;
    if (status == yajl_status_ok && !bulk->docs_seen) {
        (void)refuse(bulk, "POST body must include `docs` parameter.");
        status = yajl_status_client_canceled;
    } else if (status == yajl_status_ok && !bulk->no_new_edits) {
        (void)refuse(bulk, "this endpoint only takes replication: `new_edits` must be false");
        status = yajl_status_client_canceled;
    }
    return finish(bulk, status, error);
}

enum bulk_docs_fault bulk_docs_fault(const struct bulk_docs *bulk)
{
    return bulk->fault;
}
