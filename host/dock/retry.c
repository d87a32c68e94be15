/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/retry.h"

#include <string.h>

#include "base/log.h"
#include "store/doc.h"

/* The batch whose refused documents come now, opened once for all that follow each other. */
struct current {
    unsigned char id[BATCH_ID_BYTES];
    bool is_set;
    bool is_open; /* its bytes are here, and can be opened */
    bool has_bytes;
    struct opened_batch opened;
    size_t at;       /* the line behind the one that was found last */
    uint32_t number; /* in the tally */
    bool held;       /* it is not applied yet */
};

static void leave(struct current *c)
{
    if (c->is_open)
        opened_batch_free(&c->opened);
    memset(c, 0, sizeof *c);
}

static int enter(struct walk *w, const struct refusal *refusal, struct current *c,
                 struct error *error)
{
    struct error reason;
    struct batch batch;
    int found;

    if (c->is_set && memcmp(c->id, refusal->batch, sizeof c->id) == 0)
        return 0;
    leave(c);
    memcpy(c->id, refusal->batch, sizeof c->id);
    c->is_set = true;
    found = batches_find(w->options->store, c->id, &batch, error);
    if (found <= 0)
        return found;
    c->held = batch.state == BATCH_HELD;
    c->has_bytes = batch.offset == batch.label.size;
    if (c->held ? tally_find(w->tally, c->id, &c->number) == 0 : batch.state != BATCH_APPLIED)
        return 0; /* it came during this run, or is aside: another time */
    if (!c->held && tally_add_applied(w->tally, c->id, &c->number, error) != 0)
        return -1;
    if (!c->has_bytes)
        return 0;
    found = walk_open(w, &batch.label, &c->opened, &reason, error);
    if (found < 0)
        return -1;
    c->is_open = found == 1;
    if (!c->is_open)
        log_warning("refused document %lld: its batch cannot be opened any more: %s",
                    (long long)refusal->number, reason.text);
    return 0;
}

/* The document's line, looked for from behind the last one on: 1, 0 not there. */
static int find_line(struct current *c, const struct refusal *refusal, const char **line,
                     size_t *length)
{
    size_t from = c->at;
    struct doc doc;

    for (int turn = 0; turn < 2; turn++) {
        while (opened_batch_line(&c->opened, &c->at, line, length) == 1) {
            if (doc_read(*line, *length, &doc, NULL) == 0 && strcmp(doc.id, refusal->id) == 0 &&
                strcmp(doc.rev, refusal->rev) == 0)
                return 1;
            if (turn == 1 && c->at >= from)
                return 0;
        }
        c->at = 0;
    }
    return 0;
}

/* Whether the document is to be sent again, not only asked for: it is marked, or it was forbidden and
 * contacts came in this run.  One of them may be the patient that it names: visits bring a tablet's
 * batches in parts, and by several couriers. */
static bool is_due(const struct walk *w, const struct refusal *refusal)
{
    return refusal->retry || (w->contacts > 0 && strcmp(refusal->error, "forbidden") == 0);
}

/* Hand one refused document to the sender. */
static int retry(struct walk *w, const struct refusal *refusal, struct current *c,
                 struct error *error)
{
    const struct cht_user *user;
    const char *line = NULL;
    size_t length = 0;
    bool due = is_due(w, refusal);

    if (enter(w, refusal, c, error) != 0)
        return -1;
    if (!c->is_open) {
        if (c->held && tally_find(w->tally, c->id, &c->number) == 1)
            tally_withhold(w->tally, c->number);
        return 0;
    }
    user = users_find(w->options->users, c->opened.manifest.user);
    if (user == NULL || sender_blocked(w->sender, user, refusal->db)) {
        if (c->held)
            tally_withhold(w->tally, c->number);
        return 0;
    }
    if (due && find_line(c, refusal, &line, &length) == 0) {
        log_warning("refused document %lld: it is not in its batch", (long long)refusal->number);
        return 0;
    }
    if (due && c->held)
        tally_reopen(w->tally, c->number);
    return sender_add(w->sender, user, refusal->db, c->number, refusal->id, refusal->rev, line,
                      length, error);
}

int retry_run(struct walk *w, struct error *error)
{
    struct store *store = w->options->store;
    struct refusal refusal = {0};
    struct current current = {0};
    bool news;
    int64_t last = 0;
    int found, result = -1;

    if (tally_begin_retry(w->tally, error) != 0)
        return -1;
    news = tally_counts(w->tally)->proven_docs != 0;
    while ((found = ledger_next(store, last, !news, &refusal, error)) == 1)
        last = refusal.number; /* what is added from now on is not for this run */
    if (found < 0)
        return -1;
    refusal.number = 0;
    while (refusal.number < last) {
        found = ledger_next(store, refusal.number, !news, &refusal, error);
        if (found < 0)
            goto done;
        if (found == 0 || refusal.number > last)
            break;
        if (retry(w, &refusal, &current, error) != 0 || sender_step(w->sender, 0, error) != 0)
            goto done;
    }
    if (sender_drain(w->sender, error) != 0)
        goto done;
    result = tally_end_retry(w->tally, error);
done:
    leave(&current);
    return result;
}
