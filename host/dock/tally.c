/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/holdings.h"
#include "store/streams.h"

#define FLUSH_MS 500
#define FLUSH_REQUESTS 8
#define FLUSH_BATCHES 200

/* Small, for there is one for each batch that waits: a million take 40 MB. */
struct entry {
    unsigned char id[BATCH_ID_BYTES];
    uint32_t open; /* documents not settled */
    bool refused;  /* documents were refused in this run */
    bool in_ledger;
    bool withheld;
    bool given;   /* all its documents are with the sender */
    bool applied; /* in this run or before */
};

struct tally {
    struct store *store;
    struct entry *entries;
    uint32_t count, capacity;

    struct request **requests; /* that have ended and are not written yet */
    size_t requests_count, requests_capacity;
    uint32_t *ready; /* batches to apply with the next flush */
    size_t ready_count, ready_capacity;
    int64_t since_ms; /* when the first of both was taken */

    bool failed;      /* a transaction failed: the counts above are not those of the store */
    bool ledger_used; /* it may have refusals of documents that are proven now */
    bool retrying;
    uint32_t *sorted; /* entries with refusals, by id */
    uint32_t sorted_count;

    /* In this transaction: the source that was marked last, the batch that was looked for last. */
    char due[STORE_NAME_BYTES];
    struct batch found;
    uint32_t found_number; /* 1 + its index, 0: none */
    struct tally_counts counts;
};

struct tally *tally_new(struct store *store, struct error *error)
{
    struct tally *t = calloc(1, sizeof *t);
    struct refusal refusal;
    int found;

    if (t == NULL) {
        (void)error_set(error, ERROR_FAILED, "replay: no memory");
        return NULL;
    }
    t->store = store;
    found = ledger_next(store, 0, false, &refusal, error);
    t->ledger_used = found == 1;
    if (found < 0) {
        tally_free(t);
        return NULL;
    }
    return t;
}

void tally_free(struct tally *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->requests_count; i++)
        request_free(t->requests[i]);
    free(t->requests);
    free(t->ready);
    free(t->sorted);
    free(t->entries);
    free(t);
}

const struct tally_counts *tally_counts(const struct tally *t)
{
    return &t->counts;
}

uint32_t tally_batches(const struct tally *t)
{
    return t->count;
}

const unsigned char *tally_id(const struct tally *t, uint32_t batch)
{
    return t->entries[batch].id;
}

uint32_t tally_open(const struct tally *t, uint32_t batch)
{
    return t->entries[batch].open;
}

void tally_withhold(struct tally *t, uint32_t batch)
{
    t->entries[batch].withheld = true;
}

bool tally_withheld(const struct tally *t, uint32_t batch)
{
    return t->entries[batch].withheld;
}

void tally_set_given(struct tally *t, uint32_t batch)
{
    t->entries[batch].given = true;
}

bool tally_given(const struct tally *t, uint32_t batch)
{
    return t->entries[batch].given;
}

/* ---- batches ------------------------------------------------------------------------------- */

/* Double an array that is full; NULL without memory. */
static void *grown(void *array, size_t count, size_t *capacity, size_t size, struct error *error)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    array = realloc(array, *capacity * size);
    if (array == NULL)
        (void)error_set(error, ERROR_FAILED, "replay: no memory for %zu batches", *capacity);
    return array;
}

static int make_ready(struct tally *t, uint32_t batch, struct error *error)
{
    uint32_t *ready = grown(t->ready, t->ready_count, &t->ready_capacity, sizeof *ready, error);

    if (ready == NULL)
        return -1;
    t->ready = ready;
    if (t->ready_count == 0 && t->requests_count == 0)
        t->since_ms = clock_ms();
    t->ready[t->ready_count++] = batch;
    return 0;
}

int tally_add(struct tally *t, const unsigned char *id, uint64_t docs, uint32_t *batch,
              struct error *error)
{
    size_t capacity = t->capacity;
    struct entry *entries = grown(t->entries, t->count, &capacity, sizeof *entries, error);

    if (entries == NULL)
        return -1;
    t->entries = entries;
    t->capacity = (uint32_t)capacity;
    if (t->count >= UINT32_MAX / 4 || docs > UINT32_MAX / 2)
        return error_set(error, ERROR_FAILED, "replay: too many batches");
    *batch = t->count++;
    memset(&t->entries[*batch], 0, sizeof *entries);
    memcpy(t->entries[*batch].id, id, BATCH_ID_BYTES);
    t->entries[*batch].open = (uint32_t)docs;
    return docs == 0 ? make_ready(t, *batch, error) : 0;
}

int tally_add_applied(struct tally *t, const unsigned char *id, uint32_t *batch,
                      struct error *error)
{
    if (tally_add(t, id, 1, batch, error) != 0)
        return -1;
    t->entries[*batch].open = 0;
    t->entries[*batch].applied = true;
    return 0;
}

int tally_take(struct tally *t, struct request *request, struct error *error)
{
    struct request **requests =
        grown(t->requests, t->requests_count, &t->requests_capacity, sizeof *requests, error);

    if (requests == NULL) {
        request_free(request);
        return -1;
    }
    t->requests = requests;
    if (t->ready_count == 0 && t->requests_count == 0)
        t->since_ms = clock_ms();
    t->requests[t->requests_count++] = request;
    return 0;
}

/* ---- writing ------------------------------------------------------------------------------- */

static int set_due(struct tally *t, const char *from, struct error *error)
{
    if (strcmp(t->due, from) == 0)
        return 0;
    (void)snprintf(t->due, sizeof t->due, "%s", from);
    return streams_set_due(t->store, from, true, error);
}

static int find(struct tally *t, uint32_t batch, struct batch *out, struct error *error)
{
    int found = batches_find(t->store, t->entries[batch].id, out, error);

    if (found == 0)
        return error_set(error, ERROR_CORRUPT, "store: a batch went away while it was replayed");
    return found < 0 ? -1 : 0;
}

static int write_refusal(struct tally *t, const struct outcome *outcome, const char *db,
                         const struct label *label, struct error *error)
{
    struct refusal refusal = {.seq = label->seq, .retry = !t->retrying};

    (void)snprintf(refusal.from, sizeof refusal.from, "%s", label->from);
    (void)snprintf(refusal.epoch, sizeof refusal.epoch, "%s", label->epoch);
    memcpy(refusal.batch, label->id, sizeof refusal.batch);
    (void)snprintf(refusal.db, sizeof refusal.db, "%s", db);
    (void)snprintf(refusal.id, sizeof refusal.id, "%s", outcome->id);
    (void)snprintf(refusal.rev, sizeof refusal.rev, "%s", outcome->rev);
    (void)snprintf(refusal.error, sizeof refusal.error, "%s", outcome->word);
    (void)snprintf(refusal.reason, sizeof refusal.reason, "%s", outcome->reason);
    log_debug("document %s %s of %s: refused, %s", outcome->id, outcome->rev, label->from,
              outcome->word);
    if (ledger_refuse(t->store, &refusal, error) != 0)
        return -1;
    return t->retrying ? set_due(t, label->from, error) : 0;
}

/* The label of the batch that OUTCOME's document came in; NULL: it failed. */
static const struct label *label_of(struct tally *t, const struct outcome *outcome,
                                    struct error *error)
{
    if (t->found_number != outcome->batch + 1) {
        t->found_number = 0;
        if (find(t, outcome->batch, &t->found, error) != 0)
            return NULL;
        t->found_number = outcome->batch + 1;
    }
    return &t->found.label;
}

/* It is at the server, and so need not come down again to whom it came from. */
static int write_proof(struct tally *t, const struct outcome *outcome, const char *db,
                       const struct label *label, struct error *error)
{
    if (holdings_sent_up(t->store, label->from, label->epoch, db, outcome->id, outcome->rev,
                         error) != 0)
        return -1;
    if (!t->ledger_used)
        return 0;
    if (ledger_accept(t->store, label->from, db, outcome->id, outcome->rev, error) != 0)
        return -1;
    return set_due(t, label->from, error);
}

static int write_outcome(struct tally *t, const struct outcome *outcome, const char *db,
                         struct error *error)
{
    struct entry *entry = &t->entries[outcome->batch];
    bool refused = outcome->state == OUTCOME_REFUSED;
    const struct label *label;

    if (outcome->state == OUTCOME_OPEN || (refused && outcome->asked_only))
        return 0;
    label = label_of(t, outcome, error);
    if (label == NULL)
        return -1;
    t->ledger_used = t->ledger_used || refused;
    if ((refused ? write_refusal(t, outcome, db, label, error)
                 : write_proof(t, outcome, db, label, error)) != 0)
        return -1;
    entry->refused = entry->refused || refused;
    t->counts.refused_docs += refused && t->retrying;
    t->counts.proven_docs += !refused && !outcome->asked_only;
    if (outcome->asked_only || entry->open == 0)
        return 0;
    entry->open--;
    if (entry->open != 0 || entry->refused || entry->applied || entry->withheld)
        return 0;
    return make_ready(t, outcome->batch, error);
}

static int apply(struct tally *t, uint32_t batch, struct error *error)
{
    struct entry *entry = &t->entries[batch];
    struct batch found;

    if (find(t, batch, &found, error) != 0)
        return -1;
    entry->applied = true;
    if (found.state != BATCH_HELD)
        return 0; /* another program's doing */
    if (batches_apply(t->store, &found.label, entry->in_ledger, error) != 0)
        return -1;
    t->counts.applied_batches++;
    return set_due(t, found.label.from, error);
}

static int write_all(struct tally *t, struct error *error)
{
    struct outcome outcome;

    t->due[0] = '\0';
    t->found_number = 0;
    for (size_t i = 0; i < t->requests_count; i++) {
        const struct request *request = t->requests[i];

        for (size_t at = 0; request_outcome(request, at, &outcome); at++) {
            if (write_outcome(t, &outcome, request_db(request), error) != 0)
                return -1;
        }
    }
    for (size_t i = 0; i < t->ready_count; i++) {
        if (apply(t, t->ready[i], error) != 0)
            return -1;
    }
    return 0;
}

int tally_flush(struct tally *t, bool all, struct error *error)
{
    if (t->requests_count == 0 && t->ready_count == 0)
        return 0;
    if (!all && t->requests_count < FLUSH_REQUESTS && t->ready_count < FLUSH_BATCHES &&
        clock_ms() - t->since_ms < FLUSH_MS)
        return 0;
    if (t->failed)
        return error_set(error, ERROR_FAILED, "replay: the store failed before in this run");
    t->failed = true;
    if (store_begin(t->store, error) != 0)
        return -1;
    if (write_all(t, error) != 0) {
        store_rollback(t->store);
        return -1;
    }
    if (store_commit(t->store, error) != 0)
        return -1;
    t->failed = false;
    for (size_t i = 0; i < t->requests_count; i++)
        request_free(t->requests[i]);
    t->requests_count = 0;
    t->ready_count = 0;
    return 0;
}

/* ---- the last wave --------------------------------------------------------------------------- */

static int by_id(const void *left, const void *right, void *context)
{
    const struct entry *entries = context;

    return memcmp(entries[*(const uint32_t *)left].id, entries[*(const uint32_t *)right].id,
                  BATCH_ID_BYTES);
}

int tally_begin_retry(struct tally *t, struct error *error)
{
    uint32_t refused = 0;

    if (tally_flush(t, true, error) != 0)
        return -1;
    t->retrying = true;
    for (uint32_t i = 0; i < t->count; i++)
        refused += t->entries[i].refused;
    free(t->sorted);
    t->sorted_count = 0;
    t->sorted = calloc(refused == 0 ? 1 : refused, sizeof *t->sorted);
    if (t->sorted == NULL)
        return error_set(error, ERROR_FAILED, "replay: no memory for %u batches", refused);
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->entries[i].refused)
            t->sorted[t->sorted_count++] = i;
    }
    qsort_r(t->sorted, t->sorted_count, sizeof *t->sorted, by_id, t->entries);
    return 0;
}

int tally_find(const struct tally *t, const unsigned char *id, uint32_t *batch)
{
    uint32_t low = 0, high = t->sorted_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = memcmp(t->entries[t->sorted[middle]].id, id, BATCH_ID_BYTES);

        if (order == 0) {
            *batch = t->sorted[middle];
            return 1;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

void tally_reopen(struct tally *t, uint32_t batch)
{
    t->entries[batch].open++;
}

int tally_end_retry(struct tally *t, struct error *error)
{
    struct refusal refusal = {0};
    uint32_t batch;
    int found;

    if (tally_flush(t, true, error) != 0)
        return -1;
    while ((found = ledger_next(t->store, refusal.number, false, &refusal, error)) == 1) {
        if (tally_find(t, refusal.batch, &batch) == 1)
            t->entries[batch].in_ledger = true;
    }
    if (found < 0)
        return -1;
    for (uint32_t i = 0; i < t->sorted_count; i++) {
        const struct entry *entry = &t->entries[t->sorted[i]];

        if (entry->open != 0 || entry->withheld || entry->applied)
            continue;
        if (make_ready(t, t->sorted[i], error) != 0 || tally_flush(t, false, error) != 0)
            return -1;
    }
    return tally_flush(t, true, error);
}
