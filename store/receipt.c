/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/receipt.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hex.h"
#include "store/ledger.h"
#include "store/streams.h"

#define RUNS_MAX 500
#define REFUSALS_MAX 5000
#define NUMBER_MAX ((UINT64_C(1) << 53) - 1)

/* Room for the longest refusal in JSON: a byte takes at most six. */
#define REFUSAL_LINE_BYTES \
    (6u * (DOC_DB_BYTES + DOC_ID_BYTES + DOC_REV_BYTES + 2u * LEDGER_WORDS_BYTES) + 256u)

/* ---- Make ---- */

struct making {
    struct store *store;
    const char *source, *destination;
    struct buffer lines;
    uint64_t count; /* lines */
    uint64_t told;  /* runs and refusals */
    unsigned refusals;
    json_t *runs; /* of the stream at hand */
    struct error *error;
};

/* Append VALUE, whose reference is taken, as a line. */
static int add_line(struct making *making, json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
    int result = -1;

    if (text == NULL)
        (void)error_set(making->error, ERROR_FAILED, "receipt to %s: a line cannot be made",
                        making->source);
    else if (buffer_append(&making->lines, text, strlen(text), making->error) == 0 &&
             buffer_append(&making->lines, "\n", 1, making->error) == 0)
        result = 0;
    making->count++;
    free(text);
    json_decref(value);
    return result;
}

static int add_run(const struct stream_run *run, void *context)
{
    struct making *making = context;
    char digest[65];

    hex_encode(run->digest, sizeof run->digest, digest);
    making->told++;
    if (json_array_append_new(making->runs, json_pack("[IIs]", (json_int_t)run->first,
                                                      (json_int_t)run->last, digest)) != 0)
        return error_set(making->error, ERROR_FAILED, "receipt to %s: no memory", making->source);
    return 0;
}

/* A word that is not UTF-8 (a server's reason, cut in the middle of a character) loses its end. */
static json_t *text(const char *word)
{
    json_t *value = NULL;

    for (size_t length = strlen(word); value == NULL && length + 4 > strlen(word); length--) {
        value = json_stringn(word, length);
        if (length == 0)
            break;
    }
    return value != NULL ? value : json_string("?");
}

static int add_refusals(struct making *making, const char *epoch)
{
    struct refusal refusal;
    int64_t after = 0;
    int found;

    while (making->refusals < REFUSALS_MAX &&
           making->lines.length + REFUSAL_LINE_BYTES <= BATCH_PLAIN_BYTES) {
        found =
            ledger_next_of(making->store, making->source, epoch, after, &refusal, making->error);
        if (found != 1)
            return found;
        after = refusal.number;
        making->refusals++;
        making->told++;
        if (add_line(making,
                     json_pack("{s{ss sI so so so so so}}", "refused", "epoch", refusal.epoch,
                               "seq", (json_int_t)refusal.seq, "db", text(refusal.db), "id",
                               text(refusal.id), "rev", text(refusal.rev), "error",
                               text(refusal.error), "reason", text(refusal.reason))) != 0)
            return -1;
    }
    return 0;
}

static int add_stream(const struct stream *stream, void *context)
{
    struct making *making = context;

    if (strcmp(stream->from, making->source) != 0 || strcmp(stream->to, making->destination) != 0)
        return 0;
    /* A station that starts anew again and again has many epochs: those that fit. */
    if (making->lines.length + RUNS_MAX * 128u > BATCH_PLAIN_BYTES)
        return 0;
    making->runs = json_array();
    if (making->runs == NULL)
        return error_set(making->error, ERROR_FAILED, "receipt to %s: no memory", making->source);
    if (streams_applied_runs(making->store, stream->from, stream->epoch, stream->to, RUNS_MAX,
                             add_run, making, making->error) != 0) {
        json_decref(making->runs);
        return -1;
    }
    if (add_line(making, json_pack("{s{ssssss}so}", "stream", "from", stream->from, "to",
                                   stream->to, "epoch", stream->epoch, "runs", making->runs)) != 0)
        return -1;
    return add_refusals(making, stream->epoch);
}

/* An earlier receipt that no courier has taken yet: the new one says all that it does. */
static int drop_earlier(struct making *making)
{
    const struct batch_filter filter = {making->destination, making->source, BATCH_HELD};
    struct batch batch;
    int64_t after = 0;
    int found;

    while ((found = batches_next(making->store, &filter, after, &batch, making->error)) == 1) {
        after = batch.position;
        if (batch.label.seq == 0 &&
            batches_apply(making->store, &batch.label, false, making->error) != 0)
            return -1;
    }
    return found;
}

static int seal(struct making *making, const struct identity *signer, X509 *recipient)
{
    struct manifest manifest = {.seq = 0, .kind = "receipt", .docs = making->count};
    struct buffer batch = {0};
    struct label label;
    int result = -1;

    (void)snprintf(manifest.from, sizeof manifest.from, "%s", making->destination);
    (void)snprintf(manifest.to, sizeof manifest.to, "%s", making->source);
    (void)snprintf(manifest.epoch, sizeof manifest.epoch, "%s", store_epoch(making->store));
    (void)snprintf(manifest.user, sizeof manifest.user, "%s", identity_user(signer));
    clock_text(manifest.created);
    if (batch_seal(signer, recipient, &manifest, making->lines.data, making->lines.length, &batch,
                   &label, making->error) == 0 &&
        batches_add(making->store, &label, batch.data, batch.length, making->error) == 0 &&
        batches_set_fleeting(making->store, label.id, making->error) == 0)
        result = 0;
    buffer_free(&batch);
    return result;
}

int receipt_make(struct store *store, const struct identity *signer, const char *source,
                 X509 *recipient, struct error *error)
{
    struct making making = {
        .store = store, .source = source, .destination = identity_name(signer), .error = error};
    uint64_t number;
    int result = -1;

    if (streams_next_receipt(store, source, &number, error) != 0 ||
        add_line(&making, json_pack("{sI}", "receipt", (json_int_t)number)) != 0 ||
        streams_each(store, add_stream, &making, error) != 0)
        goto done;
    if (making.told > 0 && (drop_earlier(&making) != 0 || seal(&making, signer, recipient) != 0))
        goto done;
    if (streams_set_due(store, source, false, error) != 0)
        goto done;
    result = making.told > 0 ? 1 : 0;
done:
    buffer_cleanse(&making.lines);
    return result;
}

/* ---- Apply ---- */

struct applying {
    struct store *store;
    const struct manifest *manifest;
    uint64_t number; /* of this receipt; 0 until its line has come */
    bool use;        /* false: only look whether all is well-formed */
    bool later;      /* than those applied before */
    uint64_t freed;
    struct error *error;
};

static int malformed(const struct applying *applying, const char *what)
{
    return error_set(applying->error, ERROR_CORRUPT, "receipt from %s: %s",
                     applying->manifest->from, what);
}

static int take_number(struct applying *applying, const json_t *line)
{
    json_int_t number = json_integer_value(json_object_get(line, "receipt"));

    if (applying->number != 0 || number < 1 || (uint64_t)number > NUMBER_MAX)
        return malformed(applying, "its number is wrong");
    applying->number = (uint64_t)number;
    if (applying->use) {
        int later =
            streams_later_receipt(applying->store, applying->manifest->from,
                                  applying->manifest->epoch, applying->number, applying->error);

        if (later < 0)
            return -1;
        applying->later = later == 1;
        if (applying->later && strcmp(applying->manifest->from, SERVER_NAME) == 0)
            return ledger_clear(applying->store, applying->manifest->from,
                                applying->manifest->epoch, applying->error);
    }
    return 0;
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

static const char *member(const json_t *object, const char *name, size_t size)
{
    const json_t *value = json_object_get(object, name);

    return json_is_string(value) && json_string_length(value) < size ? json_string_value(value)
                                                                     : NULL;
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
        json_array_size(runs) > RUNS_MAX)
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
    const char *word = member(refused, "error", LEDGER_WORDS_BYTES);
    const char *reason = member(refused, "reason", LEDGER_WORDS_BYTES);
    struct refusal refusal = {0};

    if (!epoch_ok(epoch) || !json_is_integer(seq) || json_integer_value(seq) < 0 || db == NULL ||
        id == NULL || rev == NULL || word == NULL || reason == NULL ||
        strcmp(applying->manifest->from, SERVER_NAME) != 0)
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
    (void)snprintf(refusal.error, sizeof refusal.error, "%s", word);
    (void)snprintf(refusal.reason, sizeof refusal.reason, "%s", reason);
    return ledger_refuse(applying->store, &refusal, applying->error);
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
    while (opened_batch_line(receipt, &at, &line, &length) == 1)
        if (take_line(applying, line, length) != 0)
            return -1;
    return applying->number != 0 ? 0 : malformed(applying, "has no number");
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
