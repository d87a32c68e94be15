/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/parts.h"

#include <string.h>
#include <yajl/yajl_parse.h>

#define DEPTH_MOST 502
/* Levels of nesting: the document, its `_attachments`, one of them. */
#define DEPTH_DOC 1
#define DEPTH_ATTACHMENTS 2
#define DEPTH_ATTACHMENT 3

enum member { MEMBER_OTHER, MEMBER_REVISIONS, MEMBER_ATTACHMENTS };
enum field { FIELD_OTHER, FIELD_TYPE, FIELD_DIGEST, FIELD_DATA };

struct reader {
    const char *json;
    size_t size;
    yajl_handle parser;
    unsigned depth;
    size_t behind;      /* the token before: where the next one, or a comma, begins */
    size_t key;         /* where the last key of a document or attachment begins, */
    size_t before_key;  /* and where the token before it ends */
    enum member member; /* the document's, whose value comes */
    enum field field;   /* the attachment's, whose value comes */
    struct parts_span *revisions;
    struct parts_attachment attachment;
    parts_show *show;
    void *context;
    struct error *error;
    int result; /* SHOW's */
};

static size_t consumed(const struct reader *reader)
{
    return yajl_get_bytes_consumed(reader->parser);
}

static bool in_attachment(const struct reader *reader)
{
    return reader->depth == DEPTH_ATTACHMENT && reader->member == MEMBER_ATTACHMENTS;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static size_t skip_blanks(const struct reader *reader, size_t at)
{
    while (at < reader->size && is_blank(reader->json[at]))
        at++;
    return at;
}

/* The member that ends here goes with the comma ahead of it, or, as the first one, with that behind it. */
static void take_revisions(struct reader *reader)
{
    size_t end = consumed(reader), comma = skip_blanks(reader, reader->before_key);

    reader->revisions->from = reader->before_key;
    reader->revisions->to = end;
    if (reader->json[comma] == ',')
        return;
    comma = skip_blanks(reader, end);
    if (comma < reader->size && reader->json[comma] == ',')
        reader->revisions->to = comma + 1;
}

/* ---- yajl's callbacks: 1 go on, 0 stop ---- */

static int value_ends(struct reader *reader)
{
    if (reader->depth == DEPTH_DOC && reader->member == MEMBER_REVISIONS)
        take_revisions(reader);
    if (reader->depth == DEPTH_DOC)
        reader->member = MEMBER_OTHER;
    reader->behind = consumed(reader);
    return 1;
}

static int on_null(void *context)
{
    return value_ends(context);
}

static int on_boolean(void *context, int value)
{
    (void)value;
    return value_ends(context);
}

static int on_number(void *context, const char *text, size_t size)
{
    (void)text;
    (void)size;
    return value_ends(context);
}

static void keep_text(char *field, size_t size, const unsigned char *text, size_t length)
{
    if (length >= size || memchr(text, '\0', length) != NULL)
        return;
    memcpy(field, text, length);
    field[length] = '\0';
}

static void take_data(struct reader *reader, const unsigned char *text, size_t length)
{
    struct parts_attachment *attachment = &reader->attachment;
    size_t end = consumed(reader);
    const char *quote;

    /* Behind the key and its colon: the value's first quote. */
    quote = memchr(reader->json + reader->behind, '"', end - reader->behind);
    if (quote == NULL)
        return;
    attachment->member.from = reader->key;
    attachment->member.to = end;
    attachment->base64.from = (size_t)(quote - reader->json) + 1;
    attachment->base64.to = end - 1;
    while (length > 0 && text[length - 1] == '=')
        length--;
    attachment->length_bytes = length / 4 * 3 + (length % 4 > 1 ? length % 4 - 1 : 0);
}

static int on_string(void *context, const unsigned char *text, size_t length)
{
    struct reader *reader = context;
    struct parts_attachment *attachment = &reader->attachment;

    if (in_attachment(reader)) {
        if (reader->field == FIELD_TYPE)
            keep_text(attachment->type, sizeof attachment->type, text, length);
        else if (reader->field == FIELD_DIGEST)
            keep_text(attachment->digest, sizeof attachment->digest, text, length);
        else if (reader->field == FIELD_DATA)
            take_data(reader, text, length);
    }
    return value_ends(reader);
}

static bool is(const unsigned char *key, size_t size, const char *word)
{
    return size == strlen(word) && memcmp(key, word, size) == 0;
}

static int on_key(void *context, const unsigned char *key, size_t size)
{
    struct reader *reader = context;
    const char *quote;

    if (reader->depth == DEPTH_DOC || in_attachment(reader)) {
        quote = memchr(reader->json + reader->behind, '"', consumed(reader) - reader->behind);
        reader->before_key = reader->behind;
        reader->key = quote != NULL ? (size_t)(quote - reader->json) : reader->behind;
    }
    if (reader->depth == DEPTH_DOC)
        reader->member = is(key, size, "_revisions")     ? MEMBER_REVISIONS
                         : is(key, size, "_attachments") ? MEMBER_ATTACHMENTS
                                                         : MEMBER_OTHER;
    else if (in_attachment(reader))
        reader->field = is(key, size, "content_type") ? FIELD_TYPE
                        : is(key, size, "digest")     ? FIELD_DIGEST
                        : is(key, size, "data")       ? FIELD_DATA
                                                      : FIELD_OTHER;
    else if (reader->depth == DEPTH_ATTACHMENTS && reader->member == MEMBER_ATTACHMENTS) {
        memset(&reader->attachment, 0, sizeof reader->attachment);
        keep_text(reader->attachment.name, sizeof reader->attachment.name, key, size);
    }
    reader->behind = consumed(reader);
    return 1;
}

static int on_open(void *context)
{
    struct reader *reader = context;

    reader->behind = consumed(reader);
    return ++reader->depth <= DEPTH_MOST;
}

static int on_end(void *context)
{
    struct reader *reader = context;

    if (in_attachment(reader) && reader->show != NULL && reader->attachment.member.to > 0) {
        reader->result = reader->show(&reader->attachment, reader->context, reader->error);
        if (reader->result != 0)
            return 0;
    }
    reader->depth--;
    return value_ends(reader);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_open,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_open,
    .yajl_end_array = on_end,
};

int parts_read(const char *json, size_t size, struct parts_span *revisions, parts_show *show,
               void *context, struct error *error)
{
    struct reader reader = {.json = json,
                            .size = size,
                            .revisions = revisions,
                            .show = show,
                            .context = context,
                            .error = error};
    yajl_status status;

    memset(revisions, 0, sizeof *revisions);
    reader.parser = yajl_alloc(&callbacks, NULL, &reader);
    if (reader.parser == NULL)
        return error_set(error, ERROR_FAILED, "document: no memory to read it");
    (void)yajl_config(reader.parser, yajl_dont_validate_strings, 1);
    status = yajl_parse(reader.parser, (const unsigned char *)json, size);
    if (status == yajl_status_ok)
        status = yajl_complete_parse(reader.parser);
    yajl_free(reader.parser);
    if (reader.result != 0)
        return reader.result;
    if (status != yajl_status_ok)
        return error_set(error, ERROR_CORRUPT, "document: on the shelf is no JSON");
    return 0;
}
