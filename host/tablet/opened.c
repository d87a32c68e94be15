/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/opened.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/batch.h"
#include "store/trust.h"

#define ENTRIES 16

struct entry {
    unsigned char id[BATCH_ID_BYTES];
    struct opened_batch batch;
    uint64_t used; /* the turn it was used last; 0: the entry is free */
};

struct opened {
    struct store *store;
    const struct identity *identity;
    struct trust *trust;
    struct entry entries[ENTRIES];
    size_t bytes; /* of plaintext, in all */
    uint64_t turn, count;
};

struct opened *opened_new(struct store *store, const struct identity *identity, struct error *error)
{
    struct opened *opened = calloc(1, sizeof *opened);

    if (opened == NULL) {
        (void)error_set(error, ERROR_FAILED, "shelf: no memory");
        return NULL;
    }
    opened->store = store;
    opened->identity = identity;
    /* Without a revocation list: who may sign was judged when the batch came to the shelf. */
    opened->trust = trust_new(identity_ca(identity), error);
    if (opened->trust == NULL) {
        free(opened);
        return NULL;
    }
    return opened;
}

static void drop(struct opened *opened, struct entry *entry)
{
    opened->bytes -= entry->batch.plain.length;
    opened_batch_free(&entry->batch);
    entry->used = 0;
}

void opened_free(struct opened *opened)
{
    if (opened == NULL)
        return;
    for (size_t i = 0; i < ENTRIES; i++)
        if (opened->entries[i].used != 0)
            drop(opened, &opened->entries[i]);
    trust_free(opened->trust);
    free(opened);
}

struct opened_place opened_place(const struct shelf_doc *doc)
{
    struct opened_place place = {.at = doc->at, .size = doc->size};

    memcpy(place.batch, doc->batch, sizeof place.batch);
    return place;
}

static struct entry *find(struct opened *opened, const unsigned char *id)
{
    for (size_t i = 0; i < ENTRIES; i++)
        if (opened->entries[i].used != 0 && memcmp(opened->entries[i].id, id, BATCH_ID_BYTES) == 0)
            return &opened->entries[i];
    return NULL;
}

/* Free entries until MORE bytes fit, at least one of them. */
static struct entry *make_room(struct opened *opened, size_t more)
{
    for (;;) {
        struct entry *oldest = NULL, *unused = NULL;

        for (size_t i = 0; i < ENTRIES; i++) {
            struct entry *entry = &opened->entries[i];

            if (entry->used == 0)
                unused = entry;
            else if (oldest == NULL || entry->used < oldest->used)
                oldest = entry;
        }
        if (oldest == NULL || (unused != NULL && opened->bytes + more <= OPENED_MOST_BYTES))
            return unused;
        drop(opened, oldest);
    }
}

/* 1; 0 it cannot be opened; -1. */
static int open_batch(struct opened *opened, const unsigned char *id, struct entry **out,
                      struct error *error)
{
    struct buffer bytes = {0};
    struct opened_batch batch;
    struct batch found;
    int result = batches_find(opened->store, id, &found, error);

    if (result != 1)
        return result < 0
                   ? -1
                   : error_set(error, ERROR_FAILED, "shelf: a batch of it is not in the store");
    /* The plaintext is not known yet: it is taken for as large as what is sealed. */
    (void)make_room(opened, found.label.size);
    if (batches_load(opened->store, id, &bytes, error) != 0) {
        buffer_free(&bytes);
        return -1;
    }
    opened->count++;
    result = batch_open(opened->identity, opened->trust, &found.label, bytes.data, bytes.length,
                        &batch, NULL, error);
    buffer_free(&bytes);
    if (result != 0 && error->kind != ERROR_CORRUPT && error->kind != ERROR_REFUSED)
        return -1;
    if (result != 0) {
        log_error("shelf: %s; its documents are asked for anew", error->text);
        return 0;
    }
    *out = make_room(opened, batch.plain.length);
    memcpy((*out)->id, id, BATCH_ID_BYTES);
    (*out)->batch = batch;
    opened->bytes += batch.plain.length;
    return 1;
}

int opened_doc(struct opened *opened, const struct opened_place *place, const char **json,
               struct error *error)
{
    struct entry *entry = find(opened, place->batch);
    int result = entry != NULL ? 1 : open_batch(opened, place->batch, &entry, error);

    if (result != 1)
        return result;
    entry->used = ++opened->turn;
    if (place->size > entry->batch.lines_bytes ||
        place->at > entry->batch.lines_bytes - place->size)
        return error_set(error, ERROR_FAILED, "shelf: a place beyond its batch");
    *json = entry->batch.lines + place->at;
    return 1;
}

uint64_t opened_count(const struct opened *opened)
{
    return opened->count;
}
