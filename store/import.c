/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/import.h"

#include <libgen.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "store/crypto.h"
#include "store/envelope.h"
#include "store/file_name.h"
#include "store/medium.h"
#include "store/peers.h"
#include "store/readme.h"
#include "store/station.h"
#include "store/streams.h"
#include "store/trust.h"

#define GROUP_BYTES (4u << 20) /* in memory until they are committed; one larger batch goes alone */
#define GROUP_FILES 512u
#define ARENA_KEPT_BYTES (8u << 20)
#define LINES_MOST 50u /* files that were left, in the log; all are counted */

struct pending {
    struct label label;
    size_t start; /* in the arena */
};

struct import {
    struct import_options options;
    struct trust *noted; /* what stands in for options.trust; freed here */
    struct import_counts counts;
    bool full_told;

    /* The batches that are not committed yet, and behind them the bytes of the file that is looked at. */
    struct buffer arena;
    struct pending pending[GROUP_FILES];
    size_t pending_count;

    /* Where the import is, for its words. */
    struct medium *medium;
    const char *folder; /* of the medium, or NULL */
    const char *to;     /* the station of that folder, or NULL */
    const char *path;
    bool named; /* on the command line */
};

struct import *import_new(const struct import_options *options, struct error *error)
{
    struct import *import = calloc(1, sizeof *import);

    if (import == NULL) {
        (void)error_set(error, ERROR_FAILED, "import: no memory");
        return NULL;
    }
    import->options = *options;
    if (options->trust == NULL) {
        if (trust_noted(options->store, &import->noted, error) < 0) {
            free(import);
            return NULL;
        }
        import->options.trust = import->noted;
    }
    return import;
}

void import_free(struct import *import)
{
    if (import == NULL)
        return;
    trust_free(import->noted);
    buffer_free(&import->arena);
    free(import);
}

const struct import_counts *import_counts(const struct import *import)
{
    return &import->counts;
}

/* ---- what is left --------------------------------------------------------------------------------- */

/* The file NAME is left, as WORDS say.  Returns 0: the import goes on. */
static int leave(struct import *import, const char *name, const char *words)
{
    import->counts.wrong++;
    if (import->counts.wrong <= LINES_MOST)
        log_warning("%s%s%s%s%s: %s", import->path == NULL ? "" : import->path,
                    import->path == NULL || import->named ? "" : "/",
                    import->folder == NULL ? "" : import->folder, import->folder == NULL ? "" : "/",
                    import->named ? "" : name, words);
    else if (import->counts.wrong == LINES_MOST + 1)
        log_warning("import: more files are left, which are only counted");
    return 0;
}

/* ---- into the store ------------------------------------------------------------------------------- */

static int write_range(struct import *import, size_t first, size_t end, struct error *error)
{
    struct store *store = import->options.store;

    if (store_begin(store, error) != 0)
        return -1;
    for (size_t i = first; i < end; i++) {
        const struct pending *pending = &import->pending[i];

        if (batches_add(store, &pending->label, import->arena.data + pending->start,
                        (size_t)pending->label.size, error) != 0) {
            store_rollback(store);
            return -1;
        }
    }
    if (store_commit(store, error) != 0)
        return -1;
    import->counts.taken += end - first;
    for (size_t i = first; i < end; i++)
        import->counts.taken_bytes += import->pending[i].label.size;
    return 0;
}

static void say_full(struct import *import, const struct error *error)
{
    import->counts.full++;
    if (!import->full_told)
        log_warning("import: no room: %s", error->text);
    import->full_told = true;
}

/* The disk had no room for all: what still finds room, one by one. */
static int write_what_fits(struct import *import, struct error *error)
{
    for (size_t i = 0; i < import->pending_count; i++) {
        if (write_range(import, i, i + 1, error) == 0)
            continue;
        if (error->kind != ERROR_FULL)
            return -1;
        say_full(import, error);
    }
    return 0;
}

/* Commit what is pending.  KEEP bytes at the arena's end belong to the file that is looked at. */
static int commit(struct import *import, size_t keep, struct error *error)
{
    int result = 0;

    if (import->pending_count > 0) {
        result = write_range(import, 0, import->pending_count, error);
        if (result != 0 && error->kind == ERROR_FULL)
            result = write_what_fits(import, error);
    }
    import->pending_count = 0;
    buffer_consume(&import->arena, import->arena.length - keep);
    if (keep == 0 && import->arena.capacity > ARENA_KEPT_BYTES)
        buffer_free(&import->arena);
    return result;
}

int import_commit(struct import *import, struct error *error)
{
    return commit(import, 0, error);
}

/* Room for LABEL beside what is pending: 1, 0 (then it is counted), -1. */
static int find_room(struct import *import, const struct label *label, struct error *error)
{
    struct store *store = import->options.store;
    uint64_t pending = import->arena.length - label->size;

    if (store_room(store, label->from, pending + label->size, error) == 0)
        return 1;
    if (error->kind == ERROR_FULL && pending > 0) {
        if (commit(import, (size_t)label->size, error) != 0)
            return -1;
        if (store_room(store, label->from, label->size, error) == 0)
            return 1;
    }
    if (error->kind != ERROR_FULL)
        return -1;
    say_full(import, error);
    return 0;
}

/* ---- one batch ------------------------------------------------------------------------------------ */

static bool is_courier(const struct store *store)
{
    return strcmp(store_role(store), "courier") == 0;
}

/* A batch that is here already: another label is a reason to look at one that is aside again, and a source that hands
 * over what is applied here has no receipt. */
static int take_again(struct import *import, const struct batch *here, const struct label *label,
                      struct error *error)
{
    struct store *store = import->options.store;
    int result = 0;

    import->counts.had++;
    if (here->state != BATCH_ASIDE && (here->state != BATCH_APPLIED || label->seq == 0 ||
                                       !batches_is_destination(store, label->to)))
        return 0;
    if (store_begin(store, error) != 0)
        return -1;
    if (here->state == BATCH_ASIDE)
        result = batches_relabel(store, label, error) < 0 ? -1 : 0;
    else
        result = streams_set_due(store, here->label.from, true, error);
    if (result == 0)
        return store_commit(store, error);
    store_rollback(store);
    return -1;
}

static bool is_pending(const struct import *import, const unsigned char *id)
{
    for (size_t i = 0; i < import->pending_count; i++)
        if (memcmp(import->pending[i].label.id, id, BATCH_ID_BYTES) == 0)
            return true;
    return false;
}

/* LABEL's bytes are the last ones of the arena: 1 they stay there, pending; 0; -1. */
static int take_labelled(struct import *import, const struct label *label, struct error *error)
{
    struct store *store = import->options.store;
    struct batch here;
    int result;

    if (!is_courier(store) && !batches_is_destination(store, label->to)) {
        import->counts.others++;
        return 0;
    }
    if (is_pending(import, label->id)) {
        import->counts.had++;
        return 0;
    }
    result = batches_find(store, label->id, &here, error);
    if (result == 1 && here.state != BATCH_PARTIAL)
        return take_again(import, &here, label, error);
    if (result < 0)
        return -1;
    result = find_room(import, label, error);
    if (result != 1)
        return result;
    import->pending[import->pending_count++] =
        (struct pending){*label, import->arena.length - (size_t)label->size};
    return 1;
}

/* The label that the file's place and name give, or the signed manifest: 1, 0 it is left. */
static int find_label(struct import *import, const char *name, const unsigned char *id,
                      const void *bytes, size_t size, struct label *label)
{
    struct file_name read;
    bool said = file_name_read(name, &read);
    struct error error;

    if (said && memcmp(read.id, id, sizeof read.id) != 0)
        return leave(import, name,
                     "was altered or cut: its bytes are not those of its name; copy it again");
    if (!envelope_is_sealed(bytes, size))
        return leave(import, name, "is no batch, or was altered or cut");
    if (file_name_label(said ? &read : NULL, import->to, id, size, label))
        return 1;
    if (is_courier(import->options.store))
        return leave(import, name,
                     "its name and folder do not say for whom it is; name it as it was, in the "
                     "folder of its station");
    if (import->options.open == NULL)
        return leave(import, name,
                     "its name and folder do not say what it is; give --identity, to open it");
    if (import->options.open(import->options.context, bytes, size, label, &error) != 0)
        return leave(import, name, error.text);
    return 1;
}

/* The file NAME, whose SIZE bytes are the last ones of the arena; they go unless they are pending then. */
static int take_last(struct import *import, const char *name, size_t size, struct error *error)
{
    const unsigned char *bytes = import->arena.data + import->arena.length - size;
    unsigned char id[BATCH_ID_BYTES];
    struct label label = {0};
    int result;

    if (EVP_Digest(bytes, size, id, NULL, EVP_sha256(), NULL) != 1)
        return crypto_error(error, ERROR_FAILED, "SHA-256: OpenSSL cannot hash");
    result = find_label(import, name, id, bytes, size, &label);
    if (result == 1)
        result = take_labelled(import, &label, error);
    if (result == 0)
        import->arena.length -= size;
    if (result < 0)
        return -1;
    if (import->pending_count == GROUP_FILES || import->arena.length >= GROUP_BYTES)
        return commit(import, 0, error);
    return 0;
}

/* ---- the revocation list -------------------------------------------------------------------------- */

static int keep_list(struct import *import, uint64_t number, const void *der, size_t size,
                     struct error *error)
{
    struct store *store = import->options.store;

    if (store_begin(store, error) != 0)
        return -1;
    if (peers_set_crl(store, number, der, size, error) != 0) {
        store_rollback(store);
        return -1;
    }
    if (store_commit(store, error) != 0)
        return -1;
    import->counts.list = true;
    return 0;
}

static int take_list(struct import *import, const char *name, const void *der, size_t size,
                     struct error *error)
{
    struct error fault;
    uint64_t number;
    int result;

    if (import->options.trust == NULL)
        return leave(import, name,
                     "whose list it is cannot be told before this station has started once");
    result = trust_update(import->options.trust, der, size, &number, &fault);
    if (result < 0)
        return leave(import, name, fault.text);
    return result == 1 ? keep_list(import, number, der, size, error) : 0;
}

/* ---- files and folders ---------------------------------------------------------------------------- */

static int take_file(struct import *import, const char *name, struct error *error)
{
    size_t limit = file_name_is_list(name) ? TRUST_LIST_MAX_BYTES : BATCH_MAX_BYTES;
    size_t before = import->arena.length, size;
    struct error fault;
    int result;

    result = medium_read(import->medium, import->folder, name, limit, &import->arena, &fault);
    if (result == 0)
        return leave(import, name, fault.text);
    if (result < 0) {
        *error = fault;
        return -1;
    }
    size = import->arena.length - before;
    if (!file_name_is_list(name))
        return take_last(import, name, size, error);
    result = take_list(import, name, import->arena.data + before, size, error);
    import->arena.length = before;
    return result;
}

static int visit_file(const char *name, enum medium_kind kind, void *context, struct error *error)
{
    struct import *import = context;

    if (name[0] == '.' || strcasecmp(name, README_NAME) == 0)
        return 0;
    if (kind == MEDIUM_FOLDER || (!file_name_has_suffix(name) && !file_name_is_list(name))) {
        import->counts.ignored++;
        return 0;
    }
    return take_file(import, name, error);
}

static int visit(const char *name, enum medium_kind kind, void *context, struct error *error)
{
    struct import *import = context;
    char station[STORE_NAME_BYTES];
    int result;

    if (kind != MEDIUM_FOLDER || !file_name_station(name, station))
        return visit_file(name, kind, context, error);
    import->folder = name;
    import->to = station;
    result = medium_each(import->medium, name, visit_file, import, error);
    import->folder = NULL;
    import->to = NULL;
    return result;
}

/* A file that somebody named: its folder's name may say for whom it is, and may be anything. */
static int take_named(struct import *import, const char *path, struct error *error)
{
    char copy[PATH_MAX], parent[PATH_MAX], station[STORE_NAME_BYTES];
    char *folder;
    int result;

    if (strlen(path) >= sizeof copy)
        return error_set(error, ERROR_USAGE, "%s: the path is too long", path);
    (void)snprintf(copy, sizeof copy, "%s", path);
    folder = dirname(copy);
    if (realpath(folder, parent) != NULL && file_name_station(basename(parent), station) &&
        (is_courier(import->options.store) ||
         batches_is_destination(import->options.store, station)))
        import->to = station;
    import->medium = medium_open(folder, error);
    if (import->medium == NULL)
        return -1;
    import->named = true;
    (void)snprintf(copy, sizeof copy, "%s", path);
    result = take_file(import, basename(copy), error);
    import->named = false;
    import->to = NULL;
    return result;
}

int import_path(struct import *import, const char *path, struct error *error)
{
    struct stat status;
    int result = -1;

    import->path = path;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        import->medium = medium_open(path, error);
        if (import->medium != NULL)
            result = medium_each(import->medium, NULL, visit, import, error);
    } else {
        result = take_named(import, path, error);
    }
    medium_close(import->medium);
    import->medium = NULL;
    import->path = NULL;
    return result;
}

int import_bytes(struct import *import, const char *name, const char *to, const void *bytes,
                 size_t size, struct error *error)
{
    int result;

    if (size == 0 || size > BATCH_MAX_BYTES)
        return leave(import, name, "is empty, or larger than a batch can be");
    if (file_name_is_list(name))
        return take_list(import, name, bytes, size, error);
    if (buffer_append(&import->arena, bytes, size, error) != 0)
        return -1;
    import->to = to;
    result = take_last(import, name, size, error);
    import->to = NULL;
    return result;
}
