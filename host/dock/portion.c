/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/portion.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pick.h"
#include "store/batch.h"
#include "store/doc.h"

/* An answer without any document is small: errors alone, or nothing. */
#define EMPTY_BYTES_MOST (1u << 20)

struct asked {
    size_t id, rev; /* where in names */
    bool came;
};

struct portion {
    struct buffer names; /* "ID\0REV\0", one behind the other */
    struct asked asked[PORTION_DOCS_MOST];
    size_t count;
    struct buffer body;
};

/* ---- the question --------------------------------------------------------------------------- */

struct portion *portion_new(struct error *error)
{
    struct portion *portion = calloc(1, sizeof *portion);

    if (portion == NULL)
        (void)error_set(error, ERROR_FAILED, "_bulk_get: no memory");
    return portion;
}

void portion_free(struct portion *portion)
{
    if (portion == NULL)
        return;
    buffer_free(&portion->names);
    buffer_free(&portion->body);
    free(portion);
}

int portion_add(struct portion *portion, const char *id, const char *rev, struct error *error)
{
    struct asked asked = {.id = portion->names.length};

    if (portion->count == PORTION_DOCS_MOST)
        return error_set(error, ERROR_FAILED, "_bulk_get: asks for too much");
    if (buffer_append(&portion->names, id, strlen(id) + 1, error) != 0)
        return -1;
    asked.rev = portion->names.length;
    if (buffer_append(&portion->names, rev, strlen(rev) + 1, error) != 0)
        return -1;
    portion->asked[portion->count++] = asked;
    return 0;
}

size_t portion_count(const struct portion *portion)
{
    return portion->count;
}

static const char *name(const struct portion *portion, size_t at)
{
    return (const char *)portion->names.data + at;
}

const char *portion_first(const struct portion *portion, const char **rev)
{
    *rev = name(portion, portion->asked[0].rev);
    return name(portion, portion->asked[0].id);
}

static int dump(const char *text, size_t size, void *context)
{
    return buffer_append(context, text, size, NULL);
}

const struct buffer *portion_body(struct portion *portion, struct error *error)
{
    json_t *docs = json_array(), *json = json_pack("{s:o}", "docs", docs);
    bool failed = json == NULL;

    portion->body.length = 0;
    for (size_t i = 0; i < portion->count && !failed; i++)
        failed = json_array_append_new(docs, json_pack("{s:s,s:s}", "id",
                                                       name(portion, portion->asked[i].id), "rev",
                                                       name(portion, portion->asked[i].rev))) != 0;
    failed = failed || json_dump_callback(json, dump, &portion->body, JSON_COMPACT) != 0;
    json_decref(json);
    if (!failed)
        return &portion->body;
    (void)error_set(error, ERROR_FAILED, "_bulk_get: no memory");
    return NULL;
}

size_t portion_keep_missing(struct portion *portion)
{
    size_t count = 0;

    for (size_t i = 0; i < portion->count; i++)
        if (!portion->asked[i].came)
            portion->asked[count++] = portion->asked[i];
    portion->count = count;
    return count;
}

struct portion *portion_cut(struct portion *portion, size_t count, struct error *error)
{
    struct portion *rest = portion_new(error);

    for (size_t i = count; rest != NULL && i < portion->count; i++)
        if (portion_add(rest, name(portion, portion->asked[i].id),
                        name(portion, portion->asked[i].rev), error) != 0) {
            portion_free(rest);
            rest = NULL;
        }
    if (rest != NULL)
        portion->count = count;
    return rest;
}

/* ---- the answer ----------------------------------------------------------------------------- */

struct reading {
    struct portion *portion;
    struct portion_answer *answer;
};

static struct asked *find(struct portion *portion, const char *id, const char *rev)
{
    size_t low = 0, high = portion->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct asked *asked = &portion->asked[middle];
        int order = strcmp(id, name(portion, asked->id));

        if (order == 0)
            order = strcmp(rev, name(portion, asked->rev));
        if (order == 0)
            return asked;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static int on_doc(unsigned place, const char *json, size_t size, void *context, struct error *error)
{
    struct reading *reading = context;
    struct portion_answer *answer = reading->answer;
    struct portion_line line = {.at = answer->lines.length, .size = size + 1};
    struct asked *asked;
    struct error why;
    struct doc doc;

    (void)place;
    if (size > BATCH_DOC_MAX_BYTES) {
        answer->too_large++;
        return 0;
    }
    if (doc_read(json, size, &doc, &why) != 0) {
        log_warning("_bulk_get: a document cannot be used: %s", why.text);
        return 0;
    }
    asked = find(reading->portion, doc.id, doc.rev);
    if (asked == NULL || asked->came || !doc.has_revisions) {
        log_debug("_bulk_get: document %s %s is %s", doc.id, doc.rev,
                  asked == NULL ? "not what was asked for"
                  : asked->came ? "there twice"
                                : "without _revisions");
        return 0;
    }
    asked->came = true;
    line.id = name(reading->portion, asked->id);
    line.rev = name(reading->portion, asked->rev);
    answer->docs[answer->count++] = line;
    return buffer_append(&answer->lines, json, size + 1, error);
}

/* Without any document: is it an answer all the same? */
static bool is_empty(const char *body, size_t size)
{
    json_t *json = size <= EMPTY_BYTES_MOST ? json_loadb(body, size, 0, NULL) : NULL;
    bool result = json_is_array(json_object_get(json, "results"));

    json_decref(json);
    return result;
}

int portion_read(struct portion *portion, const char *body, size_t size, bool cut,
                 struct portion_answer *answer, struct error *error)
{
    static const struct pick_place places[] = {{"results[].docs[].ok", SIZE_MAX / 2}};
    struct reading reading = {portion, answer};
    struct pick *pick = pick_new(places, 1, on_doc, &reading, error);
    struct error why = {0};
    int result = -1;

    memset(answer, 0, sizeof *answer);
    if (pick == NULL)
        return -1;
    answer->docs = calloc(portion->count, sizeof *answer->docs);
    for (size_t i = 0; i < portion->count; i++)
        portion->asked[i].came = false;
    if (answer->docs == NULL)
        (void)error_set(error, ERROR_FAILED, "_bulk_get: no memory");
    else if (pick_feed(pick, body, size, &why) != 0 || (!cut && pick_end(pick, &why) != 0))
        (void)error_set(error,
                        pick_fault(pick) == PICK_RECEIVER && why.kind == ERROR_FAILED
                            ? ERROR_FAILED
                            : ERROR_TEMPORARY,
                        "the answer to _bulk_get cannot be used: %s", why.text);
    else if (!cut && !pick_seen(pick, 0) && !is_empty(body, size))
        (void)error_set(error, ERROR_TEMPORARY,
                        "the answer to _bulk_get cannot be used: it has no results");
    else
        result = 0;
    pick_free(pick);
    if (result != 0)
        portion_forget(answer);
    return result;
}

void portion_forget(struct portion_answer *answer)
{
    buffer_cleanse(&answer->lines);
    free(answer->docs);
    memset(answer, 0, sizeof *answer);
}
