/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/tablet/taken.h"
#include "store/shelf.h"
#include "store/streams.h"

/* A batch that is sealed already and waits in the store as a partial one. */
struct sealed {
    struct label label;
    struct sealed *next;
};

struct outbox {
    struct store *store;
    const struct identity *identity;
    char db[DOC_DB_BYTES];
    struct buffer lines; /* documents not yet sealed */
    uint64_t lines_docs;
    struct taken *taken;            /* the revisions of the request */
    struct doc_ancestors ancestors; /* of the document at hand */
    uint64_t first_seq;             /* of the request's first batch; 0: not asked yet */
    uint64_t batches;               /* sealed in this request */
    uint64_t docs;                  /* carried in this request */
    struct sealed *waiting, **waiting_end;
};

/* ---- a run that was killed ---- */

static int discard_remains(struct outbox *outbox, struct error *error)
{
    struct batch batch;
    uint64_t count = 0;
    int found;

    if (store_begin(outbox->store, error) != 0)
        return -1;
    while ((found = batches_next_partial(outbox->store, identity_name(outbox->identity), &batch,
                                         error)) == 1) {
        if (batches_discard(outbox->store, batch.label.id, error) != 0)
            break;
        count++;
    }
    if (found != 0) {
        store_rollback(outbox->store);
        return -1;
    }
    if (count > 0)
        log_info("outbox: %llu batches of a request that was cut off are discarded; the app sends "
                 "its documents again",
                 (unsigned long long)count);
    return store_commit(outbox->store, error);
}

struct outbox *outbox_new(struct store *store, const struct identity *identity, struct error *error)
{
    struct outbox *outbox;

    if (identity_server(identity) == NULL) {
        (void)error_set(error, ERROR_FAILED,
                        "identity of %s: has no server certificate to seal to; "
                        "enrol the tablet again",
                        identity_name(identity));
        return NULL;
    }
    outbox = calloc(1, sizeof *outbox);
    if (outbox == NULL) {
        (void)error_set(error, ERROR_FAILED, "outbox: no memory");
        return NULL;
    }
    outbox->store = store;
    outbox->identity = identity;
    outbox->waiting_end = &outbox->waiting;
    outbox->taken = taken_new(error);
    if (outbox->taken == NULL || discard_remains(outbox, error) != 0) {
        outbox_free(outbox);
        return NULL;
    }
    return outbox;
}

void outbox_free(struct outbox *outbox)
{
    if (outbox == NULL)
        return;
    if (outbox->taken != NULL)
        outbox_abandon(outbox);
    taken_free(outbox->taken);
    buffer_cleanse(&outbox->lines);
    free(outbox);
}

/* ---- one request ---- */

int outbox_begin(struct outbox *outbox, const char *db, struct error *error)
{
    size_t length = strlen(db);

    outbox_abandon(outbox);
    if (length >= sizeof outbox->db)
        return error_set(error, ERROR_FAILED, "database %s: the name is too long", db);
    memcpy(outbox->db, db, length + 1);
    return 0;
}

static void forget_waiting(struct outbox *outbox)
{
    while (outbox->waiting != NULL) {
        struct sealed *sealed = outbox->waiting;

        outbox->waiting = sealed->next;
        free(sealed);
    }
    outbox->waiting_end = &outbox->waiting;
}

static void forget_request(struct outbox *outbox)
{
    forget_waiting(outbox);
    taken_clear(outbox->taken);
    if (outbox->lines.length > 0)
        explicit_bzero(outbox->lines.data, outbox->lines.length);
    outbox->lines.length = 0;
    outbox->lines_docs = outbox->first_seq = outbox->batches = outbox->docs = 0;
}

void outbox_abandon(struct outbox *outbox)
{
    struct error error;

    if (outbox->waiting != NULL) {
        bool failed = store_begin(outbox->store, &error) != 0;

        for (struct sealed *sealed = outbox->waiting; sealed != NULL && !failed;
             sealed = sealed->next)
            failed = batches_discard(outbox->store, sealed->label.id, &error) != 0;
        if (failed || store_commit(outbox->store, &error) != 0) {
            store_rollback(outbox->store);
            log_warning("outbox: what a failed request left is discarded at the next start: %s",
                        error.text);
        }
    }
    forget_request(outbox);
}

/* The number that the request's first batch will have; taken only when it is committed. */
static int ask_seq(struct outbox *outbox, struct error *error)
{
    int result;

    if (outbox->first_seq != 0)
        return 0;
    if (store_begin(outbox->store, error) != 0)
        return -1;
    result = streams_next_seq(outbox->store, identity_name(outbox->identity), SERVER_NAME,
                              &outbox->first_seq, error);
    store_rollback(outbox->store);
    return result;
}

/* Seal SIZE bytes of lines as the request's next batch. */
static int seal(struct outbox *outbox, const char *lines, size_t size, uint64_t docs,
                struct buffer *out, struct label *label, struct error *error)
{
    struct manifest manifest = {.kind = "docs", .docs = docs};

    if (ask_seq(outbox, error) != 0)
        return -1;
    strncpy(manifest.from, identity_name(outbox->identity), sizeof manifest.from - 1);
    strncpy(manifest.to, SERVER_NAME, sizeof manifest.to - 1);
    strncpy(manifest.epoch, store_epoch(outbox->store), sizeof manifest.epoch - 1);
    memcpy(manifest.db, outbox->db, sizeof manifest.db);
    strncpy(manifest.user, identity_user(outbox->identity), sizeof manifest.user - 1);
    manifest.seq = outbox->first_seq + outbox->batches;
    clock_text(manifest.created);
    if (batch_seal(outbox->identity, identity_server(outbox->identity), &manifest, lines, size, out,
                   label, error) != 0 ||
        store_room(outbox->store, identity_name(outbox->identity), out->length, error) != 0)
        return -1;
    outbox->batches++;
    return 0;
}

/* Seal lines while the request goes on: the batch waits in the store as a partial one. */
static int put_by(struct outbox *outbox, const char *lines, size_t size, uint64_t docs,
                  struct error *error)
{
    struct sealed *sealed = calloc(1, sizeof *sealed);
    struct buffer bytes = {0};
    int result = -1;

    if (sealed == NULL)
        return error_set(error, ERROR_FAILED, "outbox: no memory");
    if (seal(outbox, lines, size, docs, &bytes, &sealed->label, error) != 0 ||
        store_begin(outbox->store, error) != 0)
        goto out;
    if (batches_append(outbox->store, &sealed->label, 0, bytes.data, bytes.length, error) != 0) {
        store_rollback(outbox->store);
        goto out;
    }
    if (store_commit(outbox->store, error) != 0)
        goto out;
    *outbox->waiting_end = sealed;
    outbox->waiting_end = &sealed->next;
    sealed = NULL;
    result = 0;

out:
    buffer_free(&bytes);
    free(sealed);
    return result;
}

static int put_by_lines(struct outbox *outbox, struct error *error)
{
    if (outbox->lines_docs == 0)
        return 0;
    if (put_by(outbox, (const char *)outbox->lines.data, outbox->lines.length, outbox->lines_docs,
               error) != 0)
        return -1;
    explicit_bzero(outbox->lines.data, outbox->lines.length);
    outbox->lines.length = 0;
    outbox->lines_docs = 0;
    return 0;
}

static int carry(struct outbox *outbox, const char *json, size_t size, struct error *error)
{
    outbox->docs++;
    if (outbox->lines.length + size + 1 > BATCH_PLAIN_BYTES && put_by_lines(outbox, error) != 0)
        return -1;
    /* A large document is sealed where it stands: its memory is not needed twice. */
    if (size + 1 > BATCH_PLAIN_BYTES)
        return put_by(outbox, json, size + 1, 1, error);
    outbox->lines_docs++;
    return buffer_append(&outbox->lines, json, size + 1, error);
}

int outbox_add(struct outbox *outbox, const char *json, size_t size, struct error *error)
{
    struct doc doc;
    int known;

    if (size > BATCH_DOC_MAX_BYTES)
        return error_set(error, ERROR_USAGE, "a document is larger than 32 MB");
    if (doc_read(json, size, &doc, error) != 0) {
        if (error != NULL)
            error->kind = ERROR_USAGE;
        return -1;
    }
    if (doc.rev[0] == '\0')
        return error_set(
            error, ERROR_USAGE,
            "this endpoint only takes replication: each document must have its _rev, and new_edits must be false");
    if (doc.has_stub)
        return error_set(
            error, ERROR_REFUSED,
            "Invalid attachment stub: this endpoint takes attachments with their data");
    known = taken_has(outbox->taken, doc.id, doc.rev);
    if (known == 0)
        known = revs_known(outbox->store, outbox->db, doc.id, doc.rev, error);
    if (known != 0)
        return known > 0 ? 0 : -1;
    doc_ancestors(json, &doc, &outbox->ancestors);
    if (taken_add_with(outbox->taken, doc.id, doc.rev, &outbox->ancestors, error) != 0)
        return -1;
    return doc_never_goes_up(&doc) ? 0 : carry(outbox, json, size, error);
}

/* ---- the last transaction ---- */

struct adding {
    struct outbox *outbox;
    struct error *error;
};

/* The revision is here, and its ancestors are leaves no more. */
static int add_rev(const char *id, const char *rev, const char *ancestors, void *context)
{
    const struct adding *adding = context;
    struct store *store = adding->outbox->store;
    const char *db = adding->outbox->db;

    for (; *ancestors != '\0'; ancestors += strlen(ancestors) + 1)
        if (shelf_replaced(store, db, id, &ancestors, 1, adding->error) != 0)
            return -1;
    return revs_add(store, db, id, rev, adding->error);
}

/* Take the numbers that are in the sealed batches. */
static int claim_seqs(struct outbox *outbox, struct error *error)
{
    uint64_t seq;

    for (uint64_t i = 0; i < outbox->batches; i++) {
        if (streams_next_seq(outbox->store, identity_name(outbox->identity), SERVER_NAME, &seq,
                             error) != 0)
            return -1;
        if (seq != outbox->first_seq + i)
            return error_set(error, ERROR_TEMPORARY,
                             "store of %s: another program wrote to its "
                             "stream meanwhile; only one boda-tablet may use it",
                             identity_name(outbox->identity));
    }
    return 0;
}

static int write_all(struct outbox *outbox, const struct buffer *last, const struct label *label,
                     struct error *error)
{
    struct adding adding = {outbox, error};

    if (claim_seqs(outbox, error) != 0)
        return -1;
    for (struct sealed *sealed = outbox->waiting; sealed != NULL; sealed = sealed->next)
        if (batches_complete(outbox->store, sealed->label.id, error) != 0)
            return -1;
    if (last->length > 0 && batches_add(outbox->store, label, last->data, last->length, error) != 0)
        return -1;
    if (taken_each(outbox->taken, add_rev, &adding) != 0)
        return -1;
    return streams_set_due(outbox->store, SERVER_NAME, true, error);
}

int outbox_commit(struct outbox *outbox, struct error *error)
{
    struct buffer last = {0};
    struct label label;
    int result = -1;

    if (taken_count(outbox->taken) == 0)
        return 0;
    if (outbox->lines_docs > 0 &&
        seal(outbox, (const char *)outbox->lines.data, outbox->lines.length, outbox->lines_docs,
             &last, &label, error) != 0)
        goto out;
    if (store_begin(outbox->store, error) != 0)
        goto out;
    if (write_all(outbox, &last, &label, error) != 0) {
        store_rollback(outbox->store);
        goto out;
    }
    if (store_commit(outbox->store, error) != 0)
        goto out;
    log_debug("outbox: %llu documents in %llu batches", (unsigned long long)outbox->docs,
              (unsigned long long)outbox->batches);
    forget_request(outbox);
    result = 0;

out:
    buffer_free(&last);
    return result;
}
