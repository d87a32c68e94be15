/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/refused.h"

#include <stdio.h>
#include <string.h>

#include "host/dock/numbers.h"
#include "store/ledger.h"
#include "store/streams.h"

static int list(struct store *store, struct error *error)
{
    struct refusal refusal = {0};
    unsigned long count = 0;
    int found;

    while ((found = ledger_next(store, refusal.number, false, &refusal, error)) == 1) {
        (void)printf("%lld tablet %s batch %llu: %s %s %s: %s%s%s%s\n", (long long)refusal.number,
                     refusal.from, (unsigned long long)refusal.seq, refusal.db, refusal.id,
                     refusal.rev, refusal.error, refusal.reason[0] != '\0' ? ": " : "",
                     refusal.reason, refusal.retry ? " (to be tried again)" : "");
        count++;
    }
    if (found == 0 && count == 0)
        (void)printf("no refused documents\n");
    return found;
}

static int retry(struct store *store, int64_t number, uint64_t *count, struct error *error)
{
    uint64_t marked = 0;

    if (ledger_retry(store, number, &marked, error) != 0)
        return -1;
    *count += marked;
    return marked > 0;
}

/* The tablet is told by a new receipt, in which the document is not named any more. */
static int dismiss(struct store *store, int64_t number, uint64_t *count, struct error *error)
{
    struct refusal refusal;
    int found = ledger_next(store, number - 1, false, &refusal, error);

    if (found == 1 && refusal.number != number)
        found = 0;
    if (found != 1)
        return found;
    found = ledger_dismiss(store, number, error);
    if (found == 1 && streams_set_due(store, refusal.from, true, error) != 0)
        return -1;
    *count += found == 1;
    return found;
}

static int dismiss_all(struct store *store, uint64_t *count, struct error *error)
{
    struct refusal refusal = {0};
    int found;

    while ((found = ledger_next(store, refusal.number, false, &refusal, error)) == 1)
        if (dismiss(store, refusal.number, count, error) < 0)
            return -1;
    return found;
}

/* In one transaction: a wrong number changes nothing. */
static int change(struct store *store, bool again, char *const *words, int words_count, bool all,
                  uint64_t *count, struct error *error)
{
    int64_t number;
    int found;

    if (all)
        return again ? (retry(store, 0, count, error) < 0 ? -1 : 0)
                     : dismiss_all(store, count, error);
    for (int i = 0; i < words_count; i++) {
        if (numbers_read(words[i], &number, error) != 0)
            return -1;
        found = again ? retry(store, number, count, error) : dismiss(store, number, count, error);
        if (found == 0)
            return error_set(error, ERROR_FAILED,
                             "refused: there is no number %lld; see boda-dock "
                             "refused list",
                             (long long)number);
        if (found < 0)
            return -1;
    }
    return 0;
}

int refused_run(struct dock *dock, char *const *words, int count, bool all, struct error *error)
{
    bool again = count > 0 && strcmp(words[0], "retry") == 0;
    uint64_t changed = 0;

    if (count == 1 && strcmp(words[0], "list") == 0 && !all)
        return list(dock->store, error);
    if (count == 0 || (!again && strcmp(words[0], "dismiss") != 0) || (count == 1) != all)
        return error_set(error, ERROR_USAGE,
                         "refused: say list, or retry or dismiss with numbers or --all");
    if (store_begin(dock->store, error) != 0)
        return -1;
    if (change(dock->store, again, words + 1, count - 1, all, &changed, error) != 0) {
        store_rollback(dock->store);
        return -1;
    }
    if (store_commit(dock->store, error) != 0)
        return -1;
    (void)printf(again ? "%llu marked, to be tried by the next boda-dock run or upload\n"
                       : "%llu dismissed\n",
                 (unsigned long long)changed);
    return 0;
}
