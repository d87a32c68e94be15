/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda status: what a station's store holds.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "host/boda/command.h"
#include "store/batches.h"
#include "store/ledger.h"
#include "store/logins.h"
#include "store/peers.h"
#include "store/store.h"
#include "store/streams.h"

#define LISTED_MAX 10000 /* refusals, batches aside, passwords: more are counted by nobody's eye */

enum { OPTION_STORE = COMMAND_OWN, OPTION_JSON };

static const struct option options[] = {
    COMMAND_OPTIONS,
    {"store", required_argument, NULL, OPTION_STORE},
    {"json", no_argument, NULL, OPTION_JSON},
    {NULL, 0, NULL, 0},
};

/* Append VALUE, whose reference is taken, to ARRAY. */
static int append(json_t *array, json_t *value, struct error *error)
{
    if (value == NULL || json_array_append_new(array, value) != 0)
        return error_set(error, ERROR_FAILED, "status: no memory, or words that are not UTF-8");
    return 0;
}

struct listing {
    json_t *array;
    struct error *error;
};

static int show_stream(const struct stream *stream, void *context)
{
    struct listing *listing = context;

    return append(
        listing->array,
        json_pack("{ss ss ss sI sI sI sI ss sI ss}", "from", stream->from, "to", stream->to,
                  "epoch", stream->epoch, "highest", (json_int_t)stream->highest, "contiguous",
                  (json_int_t)stream->contiguous, "applied", (json_int_t)stream->applied, "waiting",
                  (json_int_t)stream->waiting, "oldest_waiting", stream->oldest_waiting, "missing",
                  (json_int_t)stream->missing, "missing_since", stream->missing_since),
        listing->error);
}

static int show_visit(const struct peer_visit *visit, void *context)
{
    struct listing *listing = context;

    return append(listing->array,
                  json_pack("{ss ss ss ss}", "name", visit->name, "role", visit->role, "uuid",
                            visit->uuid, "last_visit", visit->last_visit),
                  listing->error);
}

static int list_refusals(struct store *store, json_t *array, struct error *error)
{
    struct refusal refusal;
    int64_t after = 0;
    int found = 1;

    while (json_array_size(array) < LISTED_MAX &&
           (found = ledger_next(store, after, false, &refusal, error)) == 1) {
        after = refusal.number;
        if (append(array,
                   json_pack("{sI ss ss ss ss ss ss}", "number", (json_int_t)refusal.number, "from",
                             refusal.from, "db", refusal.db, "id", refusal.id, "rev", refusal.rev,
                             "error", refusal.error, "reason", refusal.reason),
                   error) != 0)
            return -1;
    }
    return found < 0 ? -1 : 0;
}

static int list_aside(struct store *store, json_t *array, struct error *error)
{
    char reason[ERROR_TEXT_BYTES], id[BATCH_ID_TEXT_BYTES];
    struct batch batch;
    int64_t after = 0;
    int found = 1;

    while (json_array_size(array) < LISTED_MAX &&
           (found = batches_next_aside(store, after, &batch, reason, error)) == 1) {
        after = batch.position;
        hex_encode(batch.label.id, sizeof batch.label.id, id);
        if (append(array,
                   json_pack("{ss ss sI ss}", "id", id, "from", batch.label.from, "seq",
                             (json_int_t)batch.label.seq, "reason", reason),
                   error) != 0)
            return -1;
    }
    return found < 0 ? -1 : 0;
}

static int list_passwords(struct store *store, json_t *array, struct error *error)
{
    char user[LOGINS_USER_BYTES] = "", after[LOGINS_USER_BYTES];
    int found = 1;

    while (json_array_size(array) < LISTED_MAX) {
        memcpy(after, user, sizeof after);
        found = logins_next(store, after, user, error);
        if (found != 1)
            break;
        if (append(array, json_string(user), error) != 0)
            return -1;
    }
    return found < 0 ? -1 : 0;
}

static json_t *gather(struct store *store, struct error *error)
{
    const struct batch_filter all = {NULL, NULL, BATCH_HELD};
    struct batch_counts counts;
    struct listing streams = {json_array(), error}, visits = {json_array(), error};
    json_t *refusals = json_array(), *aside = json_array(), *passwords = json_array();
    json_t *status = NULL;

    if (streams.array == NULL || visits.array == NULL || refusals == NULL || aside == NULL ||
        passwords == NULL)
        (void)error_set(error, ERROR_FAILED, "status: no memory");
    else if (batches_count(store, &all, &counts, error) == 0 &&
             streams_each(store, show_stream, &streams, error) == 0 &&
             peers_each(store, show_visit, &visits, error) == 0 &&
             list_refusals(store, refusals, error) == 0 && list_aside(store, aside, error) == 0 &&
             list_passwords(store, passwords, error) == 0)
        status = json_pack(
            "{s{ss ss ss ss} s{sI sI sI sI sI sI sI sI sI} sO sO sO sO sO}", "station", "name",
            store_station(store), "role", store_role(store), "uuid", store_uuid(store), "epoch",
            store_epoch(store), "batches", "partial", (json_int_t)counts.partial, "held",
            (json_int_t)counts.held, "aside", (json_int_t)counts.aside, "applied",
            (json_int_t)counts.applied, "handed_over", (json_int_t)counts.handed_over, "held_bytes",
            (json_int_t)counts.held_bytes, "unnumbered", (json_int_t)counts.unnumbered,
            "unnumbered_bytes", (json_int_t)counts.unnumbered_bytes, "kept_bytes",
            (json_int_t)counts.kept_bytes, "streams", streams.array, "refusals", refusals, "visits",
            visits.array, "aside", aside, "passwords", passwords);
    json_decref(streams.array);
    json_decref(visits.array);
    json_decref(refusals);
    json_decref(aside);
    json_decref(passwords);
    return status;
}

static const char *word(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));

    return text != NULL ? text : "";
}

static long long number(const json_t *object, const char *member)
{
    return (long long)json_integer_value(json_object_get(object, member));
}

static void print_text(const json_t *status)
{
    const json_t *station = json_object_get(status, "station");
    const json_t *batches = json_object_get(status, "batches");
    const json_t *entry;
    size_t i;

    (void)printf("%s %s, store %s, epoch %s\n", word(station, "role"), word(station, "name"),
                 word(station, "uuid"), word(station, "epoch"));
    (void)printf("batches: %lld held (%lld of them handed over), %lld partial, %lld aside, %lld "
                 "applied; %lld bytes\n",
                 number(batches, "held"), number(batches, "handed_over"),
                 number(batches, "partial"), number(batches, "aside"), number(batches, "applied"),
                 number(batches, "held_bytes"));
    json_array_foreach (json_object_get(status, "streams"), i, entry) {
        (void)printf("stream %s to %s (%s): %lld applied, all up to %lld of %lld; %lld waiting",
                     word(entry, "from"), word(entry, "to"), word(entry, "epoch"),
                     number(entry, "applied"), number(entry, "contiguous"),
                     number(entry, "highest"), number(entry, "waiting"));
        if (word(entry, "oldest_waiting")[0] != '\0')
            (void)printf(", the oldest since %s", word(entry, "oldest_waiting"));
        /* A courier has some of the numbers, and others the rest. */
        if (number(entry, "missing") > 0 && strcmp(word(station, "role"), "courier") != 0)
            (void)printf("; %lld have not come, others behind them since %s",
                         number(entry, "missing"), word(entry, "missing_since"));
        (void)putchar('\n');
    }
    json_array_foreach (json_object_get(status, "visits"), i, entry) {
        (void)printf("visit: %s %s, last %s\n", word(entry, "role"), word(entry, "name"),
                     word(entry, "last_visit"));
    }
    json_array_foreach (json_object_get(status, "aside"), i, entry) {
        (void)printf("aside: batch %.12s from %s, number %lld: %s\n", word(entry, "id"),
                     word(entry, "from"), number(entry, "seq"), word(entry, "reason"));
    }
    json_array_foreach (json_object_get(status, "refusals"), i, entry) {
        const char *reason = word(entry, "reason");

        (void)printf("refused %lld: %s/%s %s from %s: %s%s%s\n", number(entry, "number"),
                     word(entry, "db"), word(entry, "id"), word(entry, "rev"), word(entry, "from"),
                     word(entry, "error"), reason[0] != '\0' ? ": " : "", reason);
    }
    json_array_foreach (json_object_get(status, "passwords"), i, entry) {
        (void)printf("password of %s: refused by the server\n", json_string_value(entry));
    }
}

static int show(const char *dir, bool json, struct error *error)
{
    const struct store_options store_options = {.directory = dir, .read_only = true};
    struct store *store = store_open(&store_options, error);
    json_t *status = store != NULL ? gather(store, error) : NULL;
    char *text;
    int result = -1;

    store_close(store);
    if (status == NULL)
        return -1;
    if (json) {
        text = json_dumps(status, JSON_INDENT(1));
        if (text != NULL && puts(text) >= 0)
            result = command_flush(error);
        else
            (void)error_set(error, ERROR_FAILED, "status: cannot be printed");
        free(text);
    } else {
        print_text(status);
        result = command_flush(error);
    }
    json_decref(status);
    return result;
}

static int run(const struct command *command, int argc, char **argv, struct error *error)
{
    const char *dir = NULL;
    bool json = false;
    int option;

    while ((option = command_option(command, argc, argv, options, error)) != -1) {
        if (option == OPTION_STORE)
            dir = optarg;
        else if (option == OPTION_JSON)
            json = true;
        else if (option == '?')
            return -1;
        else
            return error_set(error, ERROR_USAGE, "-o: is not an option of boda status");
    }
    if (optind != argc || dir == NULL)
        return error_set(error, ERROR_USAGE, "status: give --store DIR");
    return show(dir, json, error);
}

const struct command status_command = {
    "status",
    "usage: boda status [--json] --store DIR\n"
    "\n"
    "Show what the store of any station holds, also while the station runs: what waits and since\n"
    "when, what was applied, what the server refused and why, what is set aside, who visited,\n"
    "and at a dock whose password the server refused.\n"
    "Times are those of the station's own clock, which may be wrong.\n"
    "\n"
    "  --store DIR         the station's store\n"
    "  --json              for programs\n"
    "  --log-level LEVEL   error, warning, info, debug\n"
    "  --help, --version\n",
    run,
};
