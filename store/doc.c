/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/doc.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#define DEPTH_MAX 500
#define REVISIONS_MAX_BYTES (256u << 10)
#define DEPTH_ATTACHMENT 3 /* the document, its `_attachments`, one of them */

enum member {
    MEMBER_OTHER,
    MEMBER_ID,
    MEMBER_REV,
    MEMBER_TYPE,
    MEMBER_CONTACT_TYPE,
    MEMBER_DELETED,
    MEMBER_PURGED,
    MEMBER_FORM,
    MEMBER_REVISIONS,
    MEMBER_ATTACHMENTS
};

static const struct {
    const char *name;
    enum member member;
} names[] = {
    {"_id", MEMBER_ID},
    {"_rev", MEMBER_REV},
    {"type", MEMBER_TYPE},
    {"contact_type", MEMBER_CONTACT_TYPE},
    {"_deleted", MEMBER_DELETED},
    {"purged", MEMBER_PURGED},
    {"form", MEMBER_FORM},
    {"_revisions", MEMBER_REVISIONS},
    {"_attachments", MEMBER_ATTACHMENTS},
};

struct reader {
    struct doc *doc;
    yajl_handle parser;
    const char *fault;  /* why a callback gave up; NULL: yajl's own words */
    enum member member; /* of the outermost object, whose value comes next */
    unsigned depth;
    bool stub; /* the last key was `stub` of an attachment */
    bool has_id, has_rev;
};

static int fail(struct reader *reader, const char *fault)
{
    reader->fault = fault;
    return 0; /* yajl: stop */
}

/* A string into a field of SIZE bytes; without CUT one that does not fit, is empty, or has a NUL
 * within is a fault. */
static int keep_text(struct reader *reader, char *field, size_t size, bool cut,
                     const unsigned char *text, size_t length, const char *fault)
{
    if (!cut && (length == 0 || length >= size || memchr(text, '\0', length) != NULL))
        return fail(reader, fault);
    if (length >= size)
        length = size - 1;
    memcpy(field, text, length);
    field[length] = '\0';
    return 1;
}

static int on_string(void *context, const unsigned char *text, size_t length)
{
    struct reader *reader = context;
    struct doc *doc = reader->doc;

    if (reader->depth == 0)
        return fail(reader, "is not an object");
    if (reader->depth > 1)
        return 1;
    switch (reader->member) {
    case MEMBER_ID:
        return keep_text(reader, doc->id, sizeof doc->id, false, text, length,
                         "its _id is empty, too long or has a NUL");
    case MEMBER_REV:
        return keep_text(reader, doc->rev, sizeof doc->rev, false, text, length,
                         "its _rev is empty, too long or has a NUL");
    case MEMBER_TYPE:
        return keep_text(reader, doc->type, sizeof doc->type, true, text, length, NULL);
    case MEMBER_CONTACT_TYPE:
        return keep_text(reader, doc->contact_type, sizeof doc->contact_type, true, text, length,
                         NULL);
    default:
        return 1;
    }
}

/* A value that is no string. */
static int on_value(struct reader *reader)
{
    if (reader->depth == 0)
        return fail(reader, "is not an object");
    if (reader->depth == 1 && reader->member == MEMBER_ID)
        return fail(reader, "its _id is not a string");
    if (reader->depth == 1 && reader->member == MEMBER_REV)
        return fail(reader, "its _rev is not a string");
    return 1;
}

static int on_null(void *context)
{
    return on_value(context);
}

static int on_boolean(void *context, int value)
{
    struct reader *reader = context;

    if (reader->depth == 1 && reader->member == MEMBER_DELETED)
        reader->doc->deleted = value != 0;
    if (reader->depth == DEPTH_ATTACHMENT && reader->stub && value != 0)
        reader->doc->has_stub = true;
    return on_value(reader);
}

/* As text: a number of any size passes untouched. */
static int on_number(void *context, const char *text, size_t length)
{
    (void)text;
    (void)length;
    return on_value(context);
}

static int on_key(void *context, const unsigned char *key, size_t length)
{
    struct reader *reader = context;
    struct doc *doc = reader->doc;

    reader->stub = reader->depth == DEPTH_ATTACHMENT && reader->member == MEMBER_ATTACHMENTS &&
                   length == 4 && memcmp(key, "stub", 4) == 0;
    if (reader->depth != 1)
        return 1;
    doc->members++;
    reader->member = MEMBER_OTHER;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (length == strlen(names[i].name) && memcmp(key, names[i].name, length) == 0)
            reader->member = names[i].member;
    switch (reader->member) {
    case MEMBER_ID:
        if (reader->has_id)
            return fail(reader, "has two members _id");
        reader->has_id = true;
        break;
    case MEMBER_REV:
        if (reader->has_rev)
            return fail(reader, "has two members _rev");
        reader->has_rev = true;
        break;
    case MEMBER_PURGED:
        doc->purged = true;
        break;
    case MEMBER_FORM:
        doc->has_form = true;
        break;
    case MEMBER_REVISIONS:
        doc->has_revisions = true;
        break;
    default:
        break;
    }
    return 1;
}

static int on_open(void *context, bool object)
{
    struct reader *reader = context;

    if (reader->depth == 0 ? !object : !on_value(reader))
        return reader->fault != NULL ? 0 : fail(reader, "is not an object");
    if (++reader->depth > DEPTH_MAX)
        return fail(reader, "is nested more than 500 deep");
    return 1;
}

static int on_object(void *context)
{
    struct reader *reader = context;

    if (reader->depth == 1 && reader->member == MEMBER_REVISIONS)
        reader->doc->revisions_at = yajl_get_bytes_consumed(reader->parser) - 1;
    return on_open(context, true);
}

static int on_array(void *context)
{
    return on_open(context, false);
}

static int on_close(void *context)
{
    struct reader *reader = context;

    reader->depth--;
    return 1;
}

static int on_object_end(void *context)
{
    struct reader *reader = context;
    struct doc *doc = reader->doc;

    (void)on_close(context);
    if (reader->depth == 1 && reader->member == MEMBER_REVISIONS)
        doc->revisions_bytes = yajl_get_bytes_consumed(reader->parser) - doc->revisions_at;
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_object_end,
    .yajl_start_array = on_array,
    .yajl_end_array = on_close,
};

/* yajl's words on one line, without its picture of the text, which may be a patient's. */
static int syntax_fault(yajl_handle parser, struct error *error)
{
    unsigned char *words = yajl_get_error(parser, 0, NULL, 0);

    if (words == NULL)
        return error_set(error, ERROR_FAILED, "document: no memory to read it");
    (void)error_set(error, ERROR_FAILED, "document: at byte %zu: %.*s",
                    yajl_get_bytes_consumed(parser), (int)strcspn((char *)words, "\n"),
                    (char *)words);
    yajl_free_error(parser, words);
    return -1;
}

int doc_read(const char *json, size_t size, struct doc *doc, struct error *error)
{
    struct reader reader = {.doc = doc};
    yajl_handle parser = yajl_alloc(&callbacks, NULL, &reader);
    yajl_status status;
    int result = -1;

    memset(doc, 0, sizeof *doc);
    if (parser == NULL)
        return error_set(error, ERROR_FAILED, "document: no memory to read it");
    reader.parser = parser;
    status = yajl_parse(parser, (const unsigned char *)json, size);
    if (status == yajl_status_ok)
        status = yajl_complete_parse(parser);
    if (status == yajl_status_client_canceled)
        (void)error_set(error, ERROR_FAILED, "document: %s",
                        reader.fault != NULL ? reader.fault : "cannot be read");
    else if (status != yajl_status_ok)
        (void)syntax_fault(parser, error);
    else if (!reader.has_id)
        (void)error_set(error, ERROR_FAILED, "document: has no _id");
    else
        result = 0;
    yajl_free(parser);
    if (result != 0)
        memset(doc, 0, sizeof *doc);
    return result;
}

/* "START-DIGEST" into REV.  false: it is none. */
static bool make_rev(json_int_t start, const json_t *digest, char rev[DOC_REV_BYTES])
{
    const char *text = json_string_value(digest);
    int length;

    if (start < 1 || text == NULL || text[0] == '\0')
        return false;
    length = snprintf(rev, DOC_REV_BYTES, "%lld-%s", (long long)start, text);
    return length > 0 && length < DOC_REV_BYTES;
}

void doc_ancestors(const char *json, const struct doc *doc, struct doc_ancestors *ancestors)
{
    json_t *revisions = NULL;
    const json_t *ids;
    json_int_t start;
    char *rev;

    ancestors->count = 0;
    if (doc->revisions_bytes > 0 && doc->revisions_bytes <= REVISIONS_MAX_BYTES)
        revisions = json_loadb(json + doc->revisions_at, doc->revisions_bytes, 0, NULL);
    ids = json_object_get(revisions, "ids");
    start = json_integer_value(json_object_get(revisions, "start"));
    if (make_rev(start, json_array_get(ids, 0), ancestors->text[0]) &&
        strcmp(ancestors->text[0], doc->rev) == 0) {
        for (size_t i = 1; i < json_array_size(ids) && i <= DOC_ANCESTORS_MOST; i++) {
            rev = ancestors->text[i - 1];
            if (!make_rev(start - (json_int_t)i, json_array_get(ids, i), rev))
                break;
            ancestors->revs[ancestors->count++] = rev;
        }
    }
    json_decref(revisions);
}

bool doc_is_contact(const struct doc *doc)
{
    static const char *const types[] = {"contact", "person", "clinic", "health_center",
                                        "district_hospital"};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(doc->type, types[i]) == 0)
            return true;
    return false;
}

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(word, *words) == 0)
            return true;
    return false;
}

bool doc_never_goes_up(const struct doc *doc)
{
    static const char *const types[] = {"form", "translations", "ui-extension", NULL};
    static const char *const ids[] = {"resources",      "branding", "service-worker-meta",
                                      "zscore-charts",  "settings", "partners",
                                      "extension-libs", NULL};
    unsigned stub = 4u + (doc->has_revisions ? 1u : 0u);

    return is_one_of(doc->type, types) || is_one_of(doc->id, ids) ||
           strncmp(doc->id, "_design/", 8) == 0 ||
           (doc->purged && doc->deleted && doc->rev[0] != '\0' && doc->members == stub);
}
