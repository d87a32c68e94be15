/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/export.h"

#include <stdlib.h>
#include <string.h>

#include "store/file_name.h"
#include "store/inventory.h"
#include "store/leftovers.h"
#include "store/medium.h"
#include "store/peers.h"
#include "store/readme.h"
#include "store/station.h"
#include "store/trust.h"

#define REPLACED_MOST 64u /* unnumbered batches between two looks for older ones */

/* An unnumbered batch of this export: older ones of the same (from, epoch) leave the folders of its destination. */
struct newest {
    char to[STORE_NAME_BYTES];
    char name[FILE_NAME_BYTES];
    struct file_name read;
};

struct export
{
    struct store *store;
    struct medium *medium;
    struct inventory *inventory;
    struct export_counts *counts;
    struct newest newest[REPLACED_MOST];
    size_t newest_count;
};

/* ---- which ---------------------------------------------------------------------------------------- */

/* The only source of what this station hands over; NULL: any. */
static const char *source_of(const struct store *store)
{
    if (strcmp(store_role(store), "courier") == 0)
        return NULL;
    return strcmp(store_role(store), "dock") == 0 ? SERVER_NAME : store_station(store);
}

static int next_in_state(struct store *store, const char *from, enum batch_state state,
                         int64_t after, struct batch *out, struct error *error)
{
    const struct batch_filter filter = {.from = from, .state = state};
    int found;

    do {
        found = batches_next(store, &filter, after, out, error);
        after = out->position;
    } while (found == 1 && out->offset != out->label.size); /* a tombstone */
    return found;
}

int export_next(struct store *store, bool all, int64_t after, struct batch *out,
                struct error *error)
{
    struct batch applied;
    int found, other;

    if (!all)
        return next_in_state(store, source_of(store), BATCH_HELD, after, out, error);
    found = next_in_state(store, NULL, BATCH_HELD, after, out, error);
    other = found < 0 ? -1 : next_in_state(store, NULL, BATCH_APPLIED, after, &applied, error);
    if (other == 1 && (found == 0 || applied.position < out->position))
        *out = applied;
    return other < 0 ? -1 : found | other;
}

/* ---- one batch ------------------------------------------------------------------------------------ */

/* Its bytes into the file that was begun: 1, 0 they are not here any more (a receipt came), -1. */
static int copy(struct export *export, const struct label *label, struct error *error)
{
    unsigned char bytes[BATCH_CHUNK_BYTES];
    uint64_t offset = 0;
    size_t got;

    while (offset < label->size) {
        if (batches_read(export->store, label->id, offset, bytes, sizeof bytes, &got, error) != 0)
            return -1;
        if (got == 0)
            return 0;
        if (medium_write(export->medium, bytes, got, error) != 0)
            return -1;
        offset += got;
    }
    return 1;
}

struct older {
    struct export *export;
    const char *to, *folder;
};

static int remove_older(const char *name, enum medium_kind kind, void *context, struct error *error)
{
    const struct older *older = context;
    struct export *export = older->export;
    struct file_name read;

    if (kind != MEDIUM_FILE || !file_name_is_made(name) || !file_name_read(name, &read) ||
        read.seq != 0)
        return 0;
    for (size_t i = 0; i < export->newest_count; i++) {
        const struct newest *newest = &export->newest[i];

        if (strcmp(newest->to, older->to) == 0 && strcmp(newest->name, name) != 0 &&
            strcmp(newest->read.from, read.from) == 0 &&
            strcmp(newest->read.epoch, read.epoch) == 0)
            return medium_remove(export->medium, older->folder, name, error);
    }
    return 0;
}

/* From all folders of the station TO. */
static int remove_older_of(struct export *export, const char *to, struct error *error)
{
    struct older older = {.export = export, .to = to};
    size_t at = 0;

    while ((older.folder = inventory_folder(export->inventory, to, &at)) != NULL)
        if (medium_each(export->medium, older.folder, remove_older, &older, error) != 0)
            return -1;
    return 0;
}

/* What was written is durable, and then what it replaces goes. */
static int settle(struct export *export, struct error *error)
{
    if (medium_sync(export->medium, error) != 0)
        return -1;
    for (size_t i = 0; i < export->newest_count; i++) {
        bool seen = false;

        for (size_t k = 0; k < i; k++)
            seen = seen || strcmp(export->newest[k].to, export->newest[i].to) == 0;
        if (!seen && remove_older_of(export, export->newest[i].to, error) != 0)
            return -1;
    }
    if (export->newest_count > 0 && medium_sync(export->medium, error) != 0)
        return -1;
    export->newest_count = 0;
    return 0;
}

static int write_batch(struct export *export, const struct label *label, struct error *error)
{
    struct newest *newest = &export->newest[export->newest_count];
    char folder[FILE_NAME_FOLDER_BYTES], name[FILE_NAME_BYTES];
    int result;

    result = inventory_place(export->inventory, label, folder, error);
    if (result != 0) {
        export->counts->had += result == 1;
        return result < 0 ? -1 : 0;
    }
    file_name_make(label, name);
    if (medium_begin(export->medium, folder, name, error) != 0)
        return -1;
    result = copy(export, label, error);
    if (result != 1) {
        medium_abandon(export->medium);
        return result;
    }
    if (medium_end(export->medium, error) != 0)
        return -1;
    /* At their destination there may be several, judged by what is in them, and none is the newest. */
    if (label->seq != 0 || batches_is_destination(export->store, label->to))
        return 0;
    (void)memcpy(newest->to, label->to, sizeof newest->to);
    (void)memcpy(newest->name, name, sizeof name);
    (void)file_name_read(name, &newest->read);
    export->newest_count++;
    return export->newest_count == REPLACED_MOST ? settle(export, error) : 0;
}

/* ---- what goes with them -------------------------------------------------------------------------- */

static int write_file(struct export *export, const char *name, const void *bytes, size_t size,
                      struct error *error)
{
    if (medium_begin(export->medium, NULL, name, error) != 0 ||
        medium_write(export->medium, bytes, size, error) != 0)
        return -1;
    return medium_end(export->medium, error);
}

int export_list(struct store *store, char *name, struct buffer *der, struct error *error)
{
    struct trust *trust = NULL;
    uint64_t number = 0;
    int result = peers_crl(store, &number, der, error);

    if (result == 0 && number > 0)
        result = trust_noted(store, &trust, error);
    if (result == 1 && trust_list_name(trust, name, error) != 0)
        result = -1;
    trust_free(trust);
    return result;
}

/* 1 if the folder's list NAME is one of the deployment, and not older than the store's; 0, -1. */
static int has_list(struct export *export, const char *name, struct error *error)
{
    struct trust *trust = NULL;
    struct buffer there = {0};
    uint64_t theirs = 0;
    struct error unread;
    int result;

    result = medium_has(export->medium, NULL, name, 0, error);
    if (result == 1)
        result = trust_noted(export->store, &trust, error);
    if (result == 1)
        result = medium_read(export->medium, NULL, name, TRUST_LIST_MAX_BYTES, &there, error);
    if (result == 1)
        result = trust_update(trust, there.data, there.length, &theirs, &unread) >= 0 &&
                 theirs >= trust_number(trust);
    trust_free(trust);
    buffer_free(&there);
    return result;
}

/* Somebody else's README.TXT stays. */
static int write_others(struct export *export, struct error *error)
{
    char name[TRUST_LIST_NAME_BYTES];
    struct buffer list = {0};
    int result = export_list(export->store, name, &list, error);

    if (result == 1) {
        result = has_list(export, name, error);
        if (result == 0)
            result = write_file(export, name, list.data, list.length, error);
    }
    buffer_free(&list);
    if (result >= 0)
        result = medium_has(export->medium, NULL, README_NAME, 0, error);
    if (result == 0)
        result = write_file(export, README_NAME, readme(), strlen(readme()), error);
    return result < 0 ? -1 : medium_sync(export->medium, error);
}

/* ---- the whole ------------------------------------------------------------------------------------ */

/* What the medium still had room for is brought there too, before it is told to be full. */
static int full(struct export *export)
{
    struct error unsaid;

    medium_abandon(export->medium);
    (void)settle(export, &unsaid);
    return -1;
}

static int write_all(struct export *export, bool all, struct error *error)
{
    struct batch batch = {0};
    int found;

    while ((found = export_next(export->store, all, batch.position, &batch, error)) == 1)
        if (write_batch(export, &batch.label, error) != 0)
            return error->kind == ERROR_FULL ? full(export) : -1;
    return found < 0 ? -1 : settle(export, error);
}

/* For `boda status`. */
static int note(struct store *store, struct error *error)
{
    if (store_begin(store, error) != 0)
        return -1;
    if (peers_visited(store, "export", "files", "export", error) != 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, error);
}

int export_run(struct store *store, const char *path, bool all, struct export_counts *counts,
               struct error *error)
{
    struct export *export = calloc(1, sizeof *export);
    uint64_t others, others_bytes = 0;
    int result = -1;

    memset(counts, 0, sizeof *counts);
    if (export == NULL)
        return error_set(error, ERROR_FAILED, "export: no memory");
    export->store = store;
    export->counts = counts;
    export->medium = medium_open(path, error);
    if (export->medium != NULL && medium_lock(export->medium, error) == 0 &&
        leftovers_remove(export->medium, error) == 0 && write_others(export, error) == 0 &&
        (export->inventory = inventory_open(export->medium, error)) != NULL) {
        others = medium_written(export->medium, &others_bytes);
        result = write_all(export, all, error);
        counts->written = medium_written(export->medium, &counts->written_bytes) - others;
        counts->written_bytes -= others_bytes;
    }
    inventory_free(export->inventory);
    medium_close(export->medium);
    free(export);
    return result == 0 ? note(store, error) : -1;
}
