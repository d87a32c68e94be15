/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/parcel.h"

#include <stdlib.h>
#include <string.h>

#include "host/dock/diff.h"

/* new_edits:false: the revisions are the tablet's (CouchDB, POST /{db}/_bulk_docs). */
static const char HEAD[] = "{\"new_edits\":false,\"docs\":[";
static const char TAIL[] = "]}";

#define FIRST_CAPACITY 64

int parcel_open(struct parcel *parcel, struct error *error)
{
    /* names[0] is the empty string, which all offsets of 0 mean. */
    if (buffer_append(&parcel->names, "", 1, error) != 0)
        return -1;
    return buffer_append(&parcel->body, HEAD, sizeof HEAD - 1, error);
}

void parcel_free_body(struct parcel *parcel)
{
    buffer_cleanse(&parcel->body);
}

void parcel_free(struct parcel *parcel)
{
    parcel_free_body(parcel);
    buffer_free(&parcel->names);
    free(parcel->items);
    free(parcel->shares);
    free(parcel->slots);
    memset(parcel, 0, sizeof *parcel);
}

const char *parcel_name(const struct parcel *parcel, size_t at)
{
    return (const char *)parcel->names.data + at;
}

/* FNV-1a, 32 bits; a tablet that makes its ids collide slows down only its own request. */
uint32_t parcel_hash(const char *id, const char *rev)
{
    uint32_t value = 2166136261u;

    for (; *id != '\0'; id++)
        value = (value ^ (unsigned char)*id) * 16777619u;
    for (; *rev != '\0'; rev++)
        value = (value ^ (unsigned char)*rev) * 16777619u;
    return value;
}

/* The slot of the document, or the empty one where it would go. */
static size_t slot_of(const struct parcel *parcel, uint32_t hash, const char *id, const char *rev)
{
    size_t slot = hash & (parcel->slots_count - 1);

    while (parcel->slots[slot] != 0) {
        const struct item *item = &parcel->items[parcel->slots[slot] - 1];

        if (item->hash == hash && strcmp(parcel_name(parcel, item->id), id) == 0 &&
            strcmp(parcel_name(parcel, item->rev), rev) == 0)
            break;
        slot = (slot + 1) & (parcel->slots_count - 1);
    }
    return slot;
}

long parcel_find(const struct parcel *parcel, uint32_t hash, const char *id, const char *rev)
{
    if (parcel->slots_count == 0)
        return -1;
    return (long)parcel->slots[slot_of(parcel, hash, id, rev)] - 1;
}

static int grow(struct parcel *parcel, struct error *error)
{
    size_t capacity = parcel->capacity == 0 ? FIRST_CAPACITY : parcel->capacity * 2;
    struct item *items;
    uint32_t *slots;

    if (capacity > UINT32_MAX / 4)
        return error_set(error, ERROR_FAILED, "request: too many documents");
    items = realloc(parcel->items, capacity * sizeof *items);
    if (items == NULL)
        return error_set(error, ERROR_FAILED, "request: no memory for %zu documents", capacity);
    parcel->items = items;
    slots = calloc(capacity * 2, sizeof *slots);
    if (slots == NULL)
        return error_set(error, ERROR_FAILED, "request: no memory for %zu documents", capacity);
    free(parcel->slots);
    parcel->slots = slots;
    parcel->slots_count = capacity * 2;
    parcel->capacity = capacity;
    for (size_t i = 0; i < parcel->count; i++)
        parcel->slots[slot_of(parcel, items[i].hash, parcel_name(parcel, items[i].id),
                              parcel_name(parcel, items[i].rev))] = (uint32_t)i + 1;
    return 0;
}

static int keep_name(struct parcel *parcel, const char *text, size_t *at, struct error *error)
{
    *at = parcel->names.length;
    return buffer_append(&parcel->names, text, strlen(text) + 1, error);
}

static int append_doc(struct buffer *body, const void *json, size_t length, struct error *error)
{
    bool first = body->length == sizeof HEAD - 1;

    /* One reservation, so that a large document's buffer is not copied while it grows. */
    if (buffer_reserve(body, length + 1 + sizeof TAIL, error) != 0)
        return -1;
    if (!first && buffer_append(body, ",", 1, error) != 0)
        return -1;
    return buffer_append(body, json, length, error);
}

int parcel_add(struct parcel *parcel, uint32_t batch, const char *id, const char *rev,
               const char *json, size_t length, struct error *error)
{
    struct item item = {.batch = batch, .length = length, .hash = parcel_hash(id, rev)};

    if (parcel->count == parcel->capacity && grow(parcel, error) != 0)
        return -1;
    if (keep_name(parcel, id, &item.id, error) != 0 ||
        keep_name(parcel, rev, &item.rev, error) != 0)
        return -1;
    if (length != 0 && append_doc(&parcel->body, json, length, error) != 0)
        return -1;
    item.at = parcel->body.length - length;
    parcel->slots[slot_of(parcel, item.hash, id, rev)] = (uint32_t)parcel->count + 1;
    parcel->items[parcel->count++] = item;
    return 0;
}

int parcel_share(struct parcel *parcel, uint32_t item, uint32_t batch, struct error *error)
{
    if (parcel->shares_count == parcel->shares_capacity) {
        size_t capacity =
            parcel->shares_capacity == 0 ? FIRST_CAPACITY : parcel->shares_capacity * 2;
        struct share *shares = realloc(parcel->shares, capacity * sizeof *shares);

        if (shares == NULL)
            return error_set(error, ERROR_FAILED, "request: no memory for %zu documents", capacity);
        parcel->shares = shares;
        parcel->shares_capacity = capacity;
    }
    parcel->shares[parcel->shares_count++] = (struct share){item, batch};
    return 0;
}

int parcel_refuse(struct parcel *parcel, size_t item, const char *word, const char *reason,
                  struct error *error)
{
    struct item *it = &parcel->items[item];

    it->state = OUTCOME_REFUSED;
    if (keep_name(parcel, word, &it->word, error) != 0)
        return -1;
    return keep_name(parcel, reason, &it->reason, error);
}

bool parcel_outcome(const struct parcel *parcel, size_t at, struct outcome *out)
{
    const struct item *item;

    if (at >= parcel->count + parcel->shares_count)
        return false;
    if (at < parcel->count) {
        item = &parcel->items[at];
        out->batch = item->batch;
    } else {
        item = &parcel->items[parcel->shares[at - parcel->count].item];
        out->batch = parcel->shares[at - parcel->count].batch;
    }
    out->state = item->state;
    out->asked_only = item->length == 0;
    out->id = parcel_name(parcel, item->id);
    out->rev = parcel_name(parcel, item->rev);
    out->word = parcel_name(parcel, item->word);
    out->reason = parcel_name(parcel, item->reason);
    return true;
}

size_t parcel_open_items(const struct parcel *parcel, size_t from, size_t to)
{
    size_t open = 0;

    for (size_t i = from; i < to; i++)
        open += parcel->items[i].state == OUTCOME_OPEN;
    return open;
}

int parcel_ask(const struct parcel *parcel, size_t from, size_t to, json_t *question,
               struct error *error)
{
    for (size_t i = from; i < to; i++) {
        const struct item *item = &parcel->items[i];

        if (item->state == OUTCOME_OPEN && diff_ask(question, parcel_name(parcel, item->id),
                                                    parcel_name(parcel, item->rev), error) != 0)
            return -1;
    }
    return 0;
}

int parcel_question(const struct parcel *parcel, size_t from, size_t to, struct buffer *out,
                    struct error *error)
{
    json_t *question = diff_new();
    int result = -1;

    out->length = 0;
    if (question == NULL)
        return error_set(error, ERROR_FAILED, "_revs_diff: no memory");
    if (parcel_ask(parcel, from, to, question, error) == 0)
        result = diff_write(question, out, error);
    json_decref(question);
    return result;
}

int parcel_body(struct parcel *parcel, size_t from, size_t to, struct buffer *part,
                const struct buffer **body, uint64_t *first, struct error *error)
{
    bool whole = from == 0 && parcel_open_items(parcel, from, to) == parcel->count;
    struct buffer *target = whole ? &parcel->body : part;

    *first = 0;
    part->length = 0;
    if (!whole && buffer_append(part, HEAD, sizeof HEAD - 1, error) != 0)
        return -1;
    for (size_t i = from; i < to; i++) {
        struct item *item = &parcel->items[i];

        if (item->state != OUTCOME_OPEN)
            continue;
        *first += !item->sent;
        item->sent = true;
        if (!whole && append_doc(part, parcel->body.data + item->at, item->length, error) != 0)
            return -1;
    }
    if (!(whole && parcel->closed) && buffer_append(target, TAIL, sizeof TAIL - 1, error) != 0)
        return -1;
    parcel->closed = parcel->closed || whole;
    *body = target;
    return 0;
}
