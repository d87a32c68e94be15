/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/inbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/receipt.h"

struct inbox {
    const struct identity *identity;
    int64_t looked_at; /* position up to which each held batch was looked at by this run */
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
static int take_receipt(struct store *store, const struct opened_batch *opened,
                        const struct label *label, struct error *error)
{
    uint64_t freed;

    if (store_begin(store, error) != 0)
        return -1;
    if (receipt_apply(store, opened, label, &freed, error) != 0) {
        struct error reason;

        store_rollback(store);
        if (error->kind != ERROR_CORRUPT)
            return -1;
        reason = *error;
        return set_aside(store, label, &reason, error);
    }
    if (store_commit(store, error) != 0)
        return -1;
    log_info("inbox: a receipt of %s: %llu batches are with the server and freed here", label->from,
             (unsigned long long)freed);
    return 1;
}

/* 1 applied, 0 not, -1. */
static int look_at(struct inbox *inbox, struct store *store, struct trust *trust,
                   const struct label *label, struct error *error)
{
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
    if (strcmp(opened.manifest.from, SERVER_NAME) != 0) {
        (void)error_set(&reason, ERROR_REFUSED, "batch of %s: only the server writes to tablets",
                        opened.manifest.from);
        result = set_aside(store, label, &reason, error);
    } else if (strcmp(opened.manifest.kind, "receipt") == 0) {
        result = take_receipt(store, &opened, label, error);
    } else {
        log_info("inbox: a batch of kind '%s' from %s is kept: this version has no use for it",
                 opened.manifest.kind, label->from);
    }
    opened_batch_free(&opened);
    return result;
}

int inbox_work(struct inbox *inbox, struct store *store, struct trust *trust, struct error *error)
{
    const struct batch_filter ours = {.to = identity_name(inbox->identity), .state = BATCH_HELD};
    struct batch batch;
    int applied = 0, found, result;

    while ((found = batches_next(store, &ours, inbox->looked_at, &batch, error)) == 1) {
        result = look_at(inbox, store, trust, &batch.label, error);
        if (result < 0)
            return -1;
        if (result == 1)
            applied = 1;
        inbox->looked_at = batch.position;
    }
    return found < 0 ? -1 : applied;
}
