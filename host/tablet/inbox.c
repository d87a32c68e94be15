/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/inbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/tablet/databases.h"
#include "store/doc.h"
#include "store/receipt.h"
#include "store/shelf.h"
#include "store/streams.h"
#include "store/view.h"

struct inbox {
    const struct identity *identity;
    int64_t looked_at; /* position up to which each held batch was looked at by this run */
    struct doc_ancestors ancestors;
};

struct inbox *inbox_new(const struct identity *identity, struct error *error)
{
    struct inbox *inbox = calloc(1, sizeof *inbox);

    if (inbox == NULL)
        (void)error_set(error, ERROR_FAILED, "inbox: no memory");
    else
        inbox->identity = identity;
    return inbox;
}

void inbox_free(struct inbox *inbox)
{
    free(inbox);
}

/* ---- documents ---- */

/* Put one LINE of the batch on the shelf, unless the view has a later revision.  ERROR_CORRUPT when it is no
 * document. */
static int shelve(struct inbox *inbox, struct store *store, const struct opened_batch *opened,
                  const struct label *label, const char *line, size_t length, struct error *error)
{
    const char *db = opened->manifest.db;
    struct shelf_doc place = {.at = (uint64_t)(line - opened->lines), .size = length};
    struct doc doc;
    int outdated;

    if (doc_read(line, length, &doc, error) != 0 || doc.rev[0] == '\0') {
        if (doc.id[0] != '\0')
            (void)error_set(error, ERROR_CORRUPT, "document: has no _rev");
        error->kind = ERROR_CORRUPT;
        return -1;
    }
    outdated = view_outdates(store, db, doc.id, doc.rev, error);
    if (outdated != 0)
        return outdated < 0 ? -1 : revs_at_server(store, db, doc.id, doc.rev, error);
    memcpy(place.id, doc.id, sizeof place.id);
    memcpy(place.rev, doc.rev, sizeof place.rev);
    memcpy(place.batch, label->id, BATCH_ID_BYTES);
    place.deleted = doc.deleted;
    doc_ancestors(line, &doc, &inbox->ancestors);
    return shelf_put(store, db, &place, inbox->ancestors.revs, inbox->ancestors.count, error);
}

static int use_docs(struct inbox *inbox, struct store *store, const struct opened_batch *opened,
                    const struct label *label, struct error *error)
{
    unsigned long long number = 0;
    const char *line;
    size_t at = 0, length;

    if (!databases_has(inbox->identity, opened->manifest.db))
        return error_set(error, ERROR_CORRUPT,
                         "batch of documents: is for the database '%s', which is not of user %s",
                         opened->manifest.db, identity_user(inbox->identity));
    while (opened_batch_line(opened, &at, &line, &length) == 1) {
        number++;
        if (shelve(inbox, store, opened, label, line, length, error) != 0)
            return error->kind == ERROR_CORRUPT ? error_prefix(error, "line %llu", number) : -1;
    }
    if (batches_apply(store, label, true, error) != 0 || shelf_sweep(store, error) != 0)
        return -1;
    log_info("inbox: %llu documents of %s have come", number, opened->manifest.db);
    return 0;
}

/* ---- views, receipts ---- */

static int use_view(struct inbox *inbox, struct store *store, const struct opened_batch *opened,
                    const struct label *label, struct error *error)
{
    int used = view_apply(store, opened, label, error);

    (void)inbox;
    if (used < 0)
        return -1;
    log_info("inbox: a view of %s has come%s", opened->manifest.db,
             used == 1 ? "" : " and is not used: a later one came before it");
    return 0;
}

static int use_receipt(struct inbox *inbox, struct store *store, const struct opened_batch *opened,
                       const struct label *label, struct error *error)
{
    uint64_t freed;

    (void)inbox;
    if (receipt_apply(store, opened, label, &freed, error) != 0)
        return -1;
    log_info("inbox: a receipt of %s: %llu batches are with the server and freed here", label->from,
             (unsigned long long)freed);
    return 0;
}

/* ---- any batch ---- */

static const struct kind {
    const char *name;
    /* In one transaction; ERROR_CORRUPT: the batch's own fault, nothing of it is used. */
    int (*use)(struct inbox *inbox, struct store *store, const struct opened_batch *opened,
               const struct label *label, struct error *error);
} kinds[] = {{"docs", use_docs}, {"view", use_view}, {"receipt", use_receipt}};

static int set_aside(struct store *store, const struct label *label, const struct error *reason,
                     struct error *error)
{
    log_warning("inbox: a batch from %s is set aside: %s", label->from, reason->text);
    if (store_begin(store, error) != 0)
        return -1;
    if (batches_set_aside(store, label->id, reason->text, error) != 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, error);
}

/* 1 applied, 0 set aside, -1. */
static int use(struct inbox *inbox, const struct kind *kind, struct store *store,
               const struct opened_batch *opened, const struct label *label, struct error *error)
{
    struct error reason;

    if (store_begin(store, error) != 0)
        return -1;
    /* What is numbered is in the server's books until a receipt of ours has its number. */
    if (kind->use(inbox, store, opened, label, error) == 0 &&
        (label->seq == 0 || streams_set_due(store, SERVER_NAME, true, error) == 0))
        return store_commit(store, error) == 0 ? 1 : -1;
    store_rollback(store);
    if (error->kind != ERROR_CORRUPT)
        return -1;
    reason = *error;
    return set_aside(store, label, &reason, error);
}

/* 1 applied, 0 not, -1. */
static int look_at(struct inbox *inbox, struct store *store, struct trust *trust,
                   const struct label *label, struct error *error)
{
    const struct kind *kind = NULL;
    struct opened_batch opened;
    struct buffer bytes = {0};
    struct error reason;
    int result;

    if (batches_load(store, label->id, &bytes, error) != 0) {
        buffer_free(&bytes);
        return -1;
    }
    result =
        batch_open(inbox->identity, trust, label, bytes.data, bytes.length, &opened, NULL, &reason);
    buffer_free(&bytes);
    if (result != 0)
        return set_aside(store, label, &reason, error);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(opened.manifest.kind, kinds[i].name) == 0)
            kind = &kinds[i];
    if (strcmp(opened.manifest.from, SERVER_NAME) != 0) {
        (void)error_set(&reason, ERROR_REFUSED, "batch of %s: only the server writes to tablets",
                        opened.manifest.from);
        result = set_aside(store, label, &reason, error);
    } else if (kind != NULL) {
        result = use(inbox, kind, store, &opened, label, error);
    } else {
        log_info("inbox: a batch of kind '%s' from %s is kept: this version has no use for it",
                 opened.manifest.kind, label->from);
    }
    opened_batch_free(&opened);
    return result;
}

/* 1 made, 0 none is due, -1. */
static int make_receipt(struct inbox *inbox, struct store *store, struct error *error)
{
    int result = streams_is_due(store, SERVER_NAME, error);

    if (result != 1)
        return result;
    if (store_begin(store, error) != 0)
        return -1;
    result =
        receipt_make(store, inbox->identity, SERVER_NAME, identity_server(inbox->identity), error);
    if (result < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, error) == 0 ? result : -1;
}

int inbox_work(struct inbox *inbox, struct store *store, struct trust *trust, struct error *error)
{
    const struct batch_filter ours = {.to = identity_name(inbox->identity), .state = BATCH_HELD};
    struct batch batch;
    int changed = 0, found, result;

    while ((found = batches_next(store, &ours, inbox->looked_at, &batch, error)) == 1) {
        result = look_at(inbox, store, trust, &batch.label, error);
        if (result < 0)
            return -1;
        if (result == 1)
            changed = 1;
        inbox->looked_at = batch.position;
    }
    if (found < 0)
        return -1;
    result = make_receipt(inbox, store, error);
    return result < 0 ? -1 : changed | result;
}
