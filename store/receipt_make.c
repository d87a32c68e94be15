/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/receipt.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "store/ledger.h"
#include "store/revs.h"
#include "store/streams.h"

#define REFUSALS_MAX 5000
#define SEEN_MAX 100 /* epochs: a tablet that begins anew so often is not told of all */

/* Room for the longest of each in JSON: a byte takes at most six. */
#define REFUSAL_LINE_BYTES \
    (6u * (DOC_DB_BYTES + DOC_ID_BYTES + DOC_REV_BYTES + 2u * LEDGER_WORDS_BYTES) + 256u)
#define RUNS_LINE_BYTES (RECEIPT_RUNS_MAX * 128u)
#define HELD_LINE_BYTES 64u

struct making {
    struct store *store;
    const char *source, *destination;
    bool tablet; /* it is one that makes it */
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
    if (making->lines.length + RUNS_LINE_BYTES > BATCH_PLAIN_BYTES)
        return 0;
    making->runs = json_array();
    if (making->runs == NULL)
        return error_set(making->error, ERROR_FAILED, "receipt to %s: no memory", making->source);
    if (streams_applied_runs(making->store, stream->from, stream->epoch, stream->to,
                             RECEIPT_RUNS_MAX, add_run, making, making->error) != 0) {
        json_decref(making->runs);
        return -1;
    }
    if (add_line(making, json_pack("{s{ssssss}so}", "stream", "from", stream->from, "to",
                                   stream->to, "epoch", stream->epoch, "runs", making->runs)) != 0)
        return -1;
    /* A tablet's ledger has the server's refusals of its own documents, which are nothing to tell the server. */
    return making->tablet ? 0 : add_refusals(making, stream->epoch);
}

/* ---- which of the source's own receipts were applied ---- */

static int add_seen(const char *epoch, uint64_t number, void *context)
{
    struct making *making = context;

    making->told++;
    return add_line(making,
                    json_pack("{s{sssI}}", "seen", "epoch", epoch, "number", (json_int_t)number));
}

/* ---- what a tablet holds ---- */

/* One `holds` line in the making. */
struct holds {
    char db[DOC_DB_BYTES];
    json_t *pairs;
    size_t most_bytes; /* what they may take as a line */
};

static int end_holds(struct making *making, struct holds *holds)
{
    json_t *pairs = holds->pairs;

    holds->pairs = NULL;
    if (pairs == NULL)
        return 0;
    return add_line(making, json_pack("{s{ssso}}", "holds", "db", holds->db, "docs", pairs));
}

/* 1 added, 0 the receipt has no room for it, -1. */
static int add_held(struct making *making, struct holds *holds, const struct rev_here *rev)
{
    size_t pair_bytes = 6u * (strlen(rev->id) + strlen(rev->rev)) + 8u;

    if (holds->pairs != NULL &&
        (json_array_size(holds->pairs) == RECEIPT_HOLDS_MAX || strcmp(holds->db, rev->db) != 0) &&
        end_holds(making, holds) != 0)
        return -1;
    if (holds->pairs == NULL) {
        (void)snprintf(holds->db, sizeof holds->db, "%s", rev->db);
        holds->pairs = json_array();
        holds->most_bytes = 6u * strlen(rev->db) + HELD_LINE_BYTES;
    }
    holds->most_bytes += pair_bytes;
    if (making->lines.length + holds->most_bytes + HELD_LINE_BYTES > BATCH_LIST_BYTES)
        return 0;
    if (json_array_append_new(holds->pairs, json_pack("[ss]", rev->id, rev->rev)) != 0)
        return error_set(making->error, ERROR_FAILED,
                         "receipt to %s: no memory, or an id that is not UTF-8", making->source);
    return 1;
}

static int add_holdings(struct making *making)
{
    struct rev_here rev = {0};
    struct holds holds = {0};
    json_int_t count = 0;
    int found, added = 1;

    while ((found = revs_next_here(making->store, &rev, &rev, making->error)) == 1) {
        added = add_held(making, &holds, &rev);
        if (added != 1)
            break;
        count++;
    }
    if (found < 0 || added < 0) {
        json_decref(holds.pairs);
        return -1;
    }
    if (added == 0)
        log_warning("receipt to %s: has no room for all that is held here; it says so",
                    making->source);
    if (end_holds(making, &holds) != 0)
        return -1;
    return add_line(making, json_pack("{sIsb}", "held", count, "complete", added == 1));
}

/* ---- the batch ---- */

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
        (making->tablet || batches_set_fleeting(making->store, label.id, making->error) == 0))
        result = 0;
    buffer_free(&batch);
    return result;
}

int receipt_make(struct store *store, const struct identity *signer, const char *source,
                 X509 *recipient, struct error *error)
{
    struct making making = {.store = store,
                            .source = source,
                            .destination = identity_name(signer),
                            .tablet = identity_role(signer) == ROLE_TABLET,
                            .error = error};
    uint64_t number;
    bool some;
    int result = -1;

    if (streams_next_receipt(store, source, &number, error) != 0 ||
        add_line(&making, json_pack("{sI}", "receipt", (json_int_t)number)) != 0 ||
        streams_each(store, add_stream, &making, error) != 0 ||
        (making.tablet ? add_holdings(&making)
                       : streams_each_seen(store, source, SEEN_MAX, add_seen, &making, error)) != 0)
        goto done;
    some = making.told > 0 || making.tablet;
    if ((some && seal(&making, signer, recipient) != 0) ||
        streams_set_due(store, source, false, error) != 0)
        goto done;
    result = some ? 1 : 0;
done:
    buffer_cleanse(&making.lines);
    return result;
}
