/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/packer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/batch.h"
#include "store/holdings.h"
#include "store/streams.h"

struct packer {
    struct packer_options options;
    struct buffer lines;
    struct buffer names; /* "ID\0REV\0" of each line */
    uint64_t lines_count;
    uint64_t docs, batches;
};

struct packer *packer_new(const struct packer_options *options, struct error *error)
{
    struct packer *packer = calloc(1, sizeof *packer);

    if (packer == NULL)
        (void)error_set(error, ERROR_FAILED, "tablet %s: no memory for a batch", options->tablet);
    else
        packer->options = *options;
    return packer;
}

void packer_free(struct packer *packer)
{
    if (packer == NULL)
        return;
    buffer_cleanse(&packer->lines);
    buffer_free(&packer->names);
    free(packer);
}

/* Seal LINES as the stream's next batch and add it, within a transaction. */
static int seal(const struct packer_options *o, const char *lines, size_t size, uint64_t docs,
                struct label *label, struct error *error)
{
    struct manifest manifest = {.kind = "docs", .docs = docs};
    struct buffer bytes = {0};
    int result = -1;

    (void)snprintf(manifest.from, sizeof manifest.from, "%s", identity_name(o->server));
    (void)snprintf(manifest.to, sizeof manifest.to, "%s", o->tablet);
    (void)snprintf(manifest.epoch, sizeof manifest.epoch, "%s", store_epoch(o->store));
    (void)snprintf(manifest.db, sizeof manifest.db, "%s", o->db);
    (void)snprintf(manifest.user, sizeof manifest.user, "%s", o->user);
    clock_text(manifest.created);
    if (streams_next_seq(o->store, manifest.from, o->tablet, &manifest.seq, error) == 0 &&
        batch_seal(o->server, o->recipient, &manifest, lines, size, &bytes, label, error) == 0 &&
        store_room(o->store, manifest.from, bytes.length, error) == 0 &&
        batches_add(o->store, label, bytes.data, bytes.length, error) == 0)
        result = 0;
    buffer_free(&bytes);
    return result;
}

/* NAMES (SIZE bytes) are under way in batch ID. */
static int note(const struct packer_options *o, const char *names, size_t size,
                const unsigned char *id, struct error *error)
{
    const char *doc, *rev;

    for (size_t at = 0; at < size; at += strlen(rev) + 1) {
        doc = names + at;
        at += strlen(doc) + 1;
        rev = names + at;
        if (holdings_send(o->store, o->tablet, o->db, doc, rev, id, error) != 0)
            return -1;
    }
    return 0;
}

static int write_batch(struct packer *packer, const char *lines, size_t size,
                       const struct buffer *names, uint64_t docs, struct error *error)
{
    const struct packer_options *o = &packer->options;
    struct label label;

    if (store_begin(o->store, error) != 0)
        return -1;
    if (seal(o, lines, size, docs, &label, error) != 0 ||
        note(o, (const char *)names->data, names->length, label.id, error) != 0) {
        store_rollback(o->store);
        return -1;
    }
    if (store_commit(o->store, error) != 0)
        return -1;
    packer->docs += docs;
    packer->batches++;
    return 0;
}

static int add_names(struct buffer *names, const char *id, const char *rev, struct error *error)
{
    return buffer_append(names, id, strlen(id) + 1, error) == 0
               ? buffer_append(names, rev, strlen(rev) + 1, error)
               : -1;
}

int packer_add(struct packer *packer, const char *id, const char *rev, const char *line,
               size_t size, struct error *error)
{
    struct buffer names = {0};
    int result;

    if (packer->lines.length + size > PACKER_BATCH_BYTES && packer_flush(packer, error) != 0)
        return -1;
    if (size <= PACKER_BATCH_BYTES) {
        packer->lines_count++;
        return add_names(&packer->names, id, rev, error) == 0
                   ? buffer_append(&packer->lines, line, size, error)
                   : -1;
    }
    /* Sealed where it stands: its memory is not needed twice. */
    result = add_names(&names, id, rev, error);
    if (result == 0)
        result = write_batch(packer, line, size, &names, 1, error);
    buffer_free(&names);
    return result;
}

int packer_flush(struct packer *packer, struct error *error)
{
    int result = 0;

    if (packer->lines_count > 0)
        result = write_batch(packer, (const char *)packer->lines.data, packer->lines.length,
                             &packer->names, packer->lines_count, error);
    if (packer->lines.length > 0)
        explicit_bzero(packer->lines.data, packer->lines.length);
    packer->lines.length = packer->names.length = 0;
    packer->lines_count = 0;
    return result;
}

uint64_t packer_docs(const struct packer *packer)
{
    return packer->docs;
}

uint64_t packer_batches(const struct packer *packer)
{
    return packer->batches;
}
