/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/receipt.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "store/holdings.h"
#include "store/ledger.h"
#include "store/streams.h"

#define NUMBER_MAX ((UINT64_C(1) << 53) - 1)

struct applying {
    struct store *store;
    const struct manifest *manifest;
    uint64_t number; /* of this receipt; 0 until its line has come */
    bool use;        /* false: only look whether all is well-formed */
    bool later;      /* than those applied before */
    uint64_t freed;
    uint64_t holds; /* how many revisions the tablet has listed */
    bool held;      /* the line that ends them has come */
    struct error *error;
};

static int malformed(const struct applying *applying, const char *what)
{
    return error_set(applying->error, ERROR_CORRUPT, "receipt from %s: %s",
                     applying->manifest->from, what);
}

static bool from_server(const struct applying *applying)
{
    return strcmp(applying->manifest->from, SERVER_NAME) == 0;
}

/* Its number is known: what does the receipt take the place of? */
static int begin_use(struct applying *applying)
{
    const char *from = applying->manifest->from, *epoch = applying->manifest->epoch;
    int later =
        streams_later_receipt(applying->store, from, epoch, applying->number, applying->error);

    if (later < 0)
        return -1;
    applying->later = later == 1;
    if (from_server(applying))
        return applying->later ? ledger_clear(applying->store, from, epoch, applying->error) : 0;
    /* A tablet that was put back from an old copy uses numbers again: it is to hear of it. */
    return applying->later ? 0 : streams_set_due(applying->store, from, true, applying->error);
}

static int take_number(struct applying *applying, const json_t *line)
{
    json_int_t number = json_integer_value(json_object_get(line, "receipt"));

    if (applying->number != 0 || number < 1 || (uint64_t)number > NUMBER_MAX)
        return malformed(applying, "its number is wrong");
    applying->number = (uint64_t)number;
    return applying->use ? begin_use(applying) : 0;
}

static int read_run(const json_t *value, struct stream_run *run)
{
    const json_t *first = json_array_get(value, 0), *last = json_array_get(value, 1);
    const char *digest = json_string_value(json_array_get(value, 2));

    if (json_array_size(value) != 3 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 1 || json_integer_value(last) < json_integer_value(first) ||
        (uint64_t)json_integer_value(last) > NUMBER_MAX || digest == NULL ||
        hex_decode(digest, run->digest, sizeof run->digest) != 0)
        return -1;
    run->first = (uint64_t)json_integer_value(first);
    run->last = (uint64_t)json_integer_value(last);
    return 0;
}

/* The string VALUE if it and its zero fit into SIZE bytes, else NULL. */
static const char *word(const json_t *value, size_t size)
{
    return json_is_string(value) && json_string_length(value) < size ? json_string_value(value)
                                                                     : NULL;
}

static const char *member(const json_t *object, const char *name, size_t size)
{
    return word(json_object_get(object, name), size);
}

static bool epoch_ok(const char *epoch)
{
    return epoch != NULL && strlen(epoch) == STORE_EPOCH_BYTES - 1 &&
           strspn(epoch, "0123456789abcdef") == STORE_EPOCH_BYTES - 1;
}

static int take_stream(struct applying *applying, const json_t *line)
{
    const json_t *stream = json_object_get(line, "stream"), *runs = json_object_get(line, "runs");
    const char *from = member(stream, "from", STORE_NAME_BYTES);
    const char *to = member(stream, "to", STORE_NAME_BYTES);
    const char *epoch = member(stream, "epoch", STORE_EPOCH_BYTES);
    struct stream_run run;
    uint64_t freed;

    if (from == NULL || to == NULL || !epoch_ok(epoch) || !json_is_array(runs) ||
        json_array_size(runs) > RECEIPT_RUNS_MAX)
        return malformed(applying, "a stream is malformed");
    if (strcmp(from, applying->manifest->to) != 0 || strcmp(to, applying->manifest->from) != 0)
        return malformed(applying, "names a stream that is not between the two");
    for (size_t i = 0; i < json_array_size(runs); i++) {
        if (read_run(json_array_get(runs, i), &run) != 0)
            return malformed(applying, "a run is malformed");
        freed = 0;
        if (applying->use &&
            streams_receipted(applying->store, from, epoch, to, &run, &freed, applying->error) != 0)
            return -1;
        applying->freed += freed;
    }
    return 0;
}

/* Refusals come from the server alone: a tablet's would stand beside the dock's own ledger. */
static int take_refusal(struct applying *applying, const json_t *line)
{
    const json_t *refused = json_object_get(line, "refused");
    const json_t *seq = json_object_get(refused, "seq");
    const char *epoch = member(refused, "epoch", STORE_EPOCH_BYTES);
    const char *db = member(refused, "db", DOC_DB_BYTES), *id = member(refused, "id", DOC_ID_BYTES);
    const char *rev = member(refused, "rev", DOC_REV_BYTES);
    const char *fault = member(refused, "error", LEDGER_WORDS_BYTES);
    const char *reason = member(refused, "reason", LEDGER_WORDS_BYTES);
    struct refusal refusal = {0};

    if (!epoch_ok(epoch) || !json_is_integer(seq) || json_integer_value(seq) < 0 || db == NULL ||
        id == NULL || rev == NULL || fault == NULL || reason == NULL || !from_server(applying))
        return malformed(applying, "a refusal is malformed");
    if (!applying->use || !applying->later)
        return 0;
    /* Under the receipt's own sender and epoch: another dock's receipts do not disturb it. */
    (void)snprintf(refusal.from, sizeof refusal.from, "%s", applying->manifest->from);
    (void)snprintf(refusal.epoch, sizeof refusal.epoch, "%s", applying->manifest->epoch);
    refusal.seq = (uint64_t)json_integer_value(seq);
    (void)snprintf(refusal.db, sizeof refusal.db, "%s", db);
    (void)snprintf(refusal.id, sizeof refusal.id, "%s", id);
    (void)snprintf(refusal.rev, sizeof refusal.rev, "%s", rev);
    (void)snprintf(refusal.error, sizeof refusal.error, "%s", fault);
    (void)snprintf(refusal.reason, sizeof refusal.reason, "%s", reason);
    return ledger_refuse(applying->store, &refusal, applying->error);
}

/* Holdings are used by a dock, and only those of a later receipt. */
static bool uses_holdings(const struct applying *applying)
{
    return applying->use && applying->later && strcmp(store_role(applying->store), "dock") == 0;
}

static int take_pair(struct applying *applying, const char *db, const json_t *pair)
{
    const char *id = word(json_array_get(pair, 0), DOC_ID_BYTES);
    const char *rev = word(json_array_get(pair, 1), DOC_REV_BYTES);

    if (json_array_size(pair) != 2 || id == NULL || rev == NULL || *id == '\0' || *rev == '\0')
        return malformed(applying, "what it holds is malformed");
    applying->holds++;
    if (!uses_holdings(applying))
        return 0;
    return holdings_hold(applying->store, applying->manifest->from, db, id, rev, applying->error);
}

static int take_holds(struct applying *applying, const json_t *line)
{
    const json_t *holds = json_object_get(line, "holds"), *docs = json_object_get(holds, "docs");
    const char *db = member(holds, "db", DOC_DB_BYTES);

    if (db == NULL || *db == '\0' || !json_is_array(docs) ||
        json_array_size(docs) > RECEIPT_HOLDS_MAX || from_server(applying) || applying->held)
        return malformed(applying, "what it holds is malformed");
    if (uses_holdings(applying) && applying->holds == 0 &&
        holdings_begin(applying->store, applying->manifest->from, applying->error) != 0)
        return -1;
    for (size_t i = 0; i < json_array_size(docs); i++)
        if (take_pair(applying, db, json_array_get(docs, i)) != 0)
            return -1;
    return 0;
}

static int take_held(struct applying *applying, const json_t *line)
{
    const json_t *held = json_object_get(line, "held"), *whole = json_object_get(line, "complete");

    if (!json_is_integer(held) || !json_is_boolean(whole) || from_server(applying) ||
        applying->held)
        return malformed(applying, "the end of what it holds is malformed");
    if (json_integer_value(held) < 0 || (uint64_t)json_integer_value(held) != applying->holds)
        return malformed(applying, "holds more or less than it says");
    applying->held = true;
    if (!uses_holdings(applying))
        return 0;
    if (applying->holds == 0 &&
        holdings_begin(applying->store, applying->manifest->from, applying->error) != 0)
        return -1;
    return holdings_end(applying->store, applying->manifest->from, json_is_true(whole),
                        applying->error);
}

/* What the server has applied of our receipts. */
static int take_seen(struct applying *applying, const json_t *line)
{
    const json_t *seen = json_object_get(line, "seen");
    const char *epoch = member(seen, "epoch", STORE_EPOCH_BYTES);
    json_int_t number = json_integer_value(json_object_get(seen, "number"));
    int raised;

    if (!epoch_ok(epoch) || number < 1 || (uint64_t)number > NUMBER_MAX || !from_server(applying))
        return malformed(applying, "what it has seen is malformed");
    if (!applying->use || strcmp(epoch, store_epoch(applying->store)) != 0)
        return 0;
    raised = streams_raise_receipt(applying->store, applying->manifest->from, (uint64_t)number,
                                   applying->error);
    if (raised <= 0)
        return raised;
    return streams_set_due(applying->store, applying->manifest->from, true, applying->error);
}

static int take_line(struct applying *applying, const char *bytes, size_t length)
{
    json_t *line = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, NULL);
    int result;

    if (!json_is_object(line))
        result = malformed(applying, "a line is not a JSON object");
    else if (json_object_get(line, "receipt") != NULL)
        result = take_number(applying, line);
    else if (applying->number == 0)
        result = malformed(applying, "does not begin with its number");
    else if (json_object_get(line, "stream") != NULL)
        result = take_stream(applying, line);
    else if (json_object_get(line, "refused") != NULL)
        result = take_refusal(applying, line);
    else if (json_object_get(line, "holds") != NULL)
        result = take_holds(applying, line);
    else if (json_object_get(line, "held") != NULL)
        result = take_held(applying, line);
    else if (json_object_get(line, "seen") != NULL)
        result = take_seen(applying, line);
    else
        result = 0; /* of a later version */
    json_decref(line);
    return result;
}

static int take_lines(struct applying *applying, const struct opened_batch *receipt)
{
    const char *line;
    size_t at = 0, length;

    applying->number = 0;
    applying->holds = 0;
    applying->held = false;
    while (opened_batch_line(receipt, &at, &line, &length) == 1)
        if (take_line(applying, line, length) != 0)
            return -1;
    if (applying->number == 0)
        return malformed(applying, "has no number");
    if (applying->holds > 0 && !applying->held)
        return malformed(applying, "what it holds has no end");
    return 0;
}

int receipt_apply(struct store *store, const struct opened_batch *receipt,
                  const struct label *label, uint64_t *freed, struct error *error)
{
    struct applying applying = {.store = store, .manifest = &receipt->manifest, .error = error};

    *freed = 0;
    if (strcmp(receipt->manifest.kind, "receipt") != 0 || receipt->manifest.seq != 0)
        return malformed(&applying, "is not a receipt");
    if (take_lines(&applying, receipt) != 0)
        return -1;
    applying.use = true;
    if (take_lines(&applying, receipt) != 0 || batches_apply(store, label, false, error) != 0)
        return -1;
    *freed = applying.freed;
    return 0;
}
