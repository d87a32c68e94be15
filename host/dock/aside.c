/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/aside.h"

#include <stdio.h>
#include <string.h>

#include "host/dock/numbers.h"
#include "store/batches.h"
#include "store/streams.h"

static int list(struct store *store, struct error *error)
{
    struct batch batch = {0};
    char reason[ERROR_TEXT_BYTES];
    unsigned long count = 0;
    int found;

    while ((found = batches_next_aside(store, batch.position, &batch, reason, error)) == 1) {
        (void)printf("%lld tablet %s batch %llu, %llu bytes: %s\n", (long long)batch.position,
                     batch.label.from, (unsigned long long)batch.label.seq,
                     (unsigned long long)batch.label.size, reason);
        count++;
    }
    if (found == 0 && count == 0)
        (void)printf("no batches set aside\n");
    return found;
}

/* A dropped batch counts as applied: couriers and its source free their copies as well. */
static int change_one(struct store *store, const struct batch *batch, bool drop,
                      struct error *error)
{
    if (!drop)
        return batches_release(store, batch->label.id, error);
    if (batches_apply(store, &batch->label, false, error) != 0)
        return -1;
    return streams_set_due(store, batch->label.from, true, error);
}

static int change_numbers(struct store *store, char *const *words, int count, bool drop,
                          struct error *error)
{
    char reason[ERROR_TEXT_BYTES];
    struct batch batch;
    int64_t number;
    int found;

    for (int i = 0; i < count; i++) {
        if (numbers_read(words[i], &number, error) != 0)
            return -1;
        found = batches_next_aside(store, number - 1, &batch, reason, error);
        if (found < 0)
            return -1;
        if (found == 0 || batch.position != number)
            return error_set(error, ERROR_FAILED,
                             "aside: there is no number %lld; see boda-dock "
                             "aside list",
                             (long long)number);
        if (change_one(store, &batch, drop, error) != 0)
            return -1;
    }
    return 0;
}

static int change_all(struct store *store, bool drop, uint64_t *count, struct error *error)
{
    char reason[ERROR_TEXT_BYTES];
    struct batch batch = {0};
    int found;

    /* A released batch has a new position, but it is not aside any more. */
    while ((found = batches_next_aside(store, batch.position, &batch, reason, error)) == 1) {
        if (change_one(store, &batch, drop, error) != 0)
            return -1;
        ++*count;
    }
    return found;
}

int aside_run(struct dock *dock, char *const *words, int count, bool all, bool yes,
              struct error *error)
{
    bool drop = count > 0 && strcmp(words[0], "drop") == 0;
    uint64_t changed = count > 0 ? (uint64_t)count - 1 : 0;
    int result;

    if (count == 1 && strcmp(words[0], "list") == 0 && !all)
        return list(dock->store, error);
    if (count == 0 || (!drop && strcmp(words[0], "release") != 0) || (count == 1) != all)
        return error_set(error, ERROR_USAGE,
                         "aside: say list, or release or drop with numbers or --all");
    if (drop && !yes)
        return error_set(
            error, ERROR_USAGE,
            "aside drop: the records in a dropped batch are gone for good, at the dock, "
            "the couriers and the tablet; if that is meant, add --yes");
    if (store_begin(dock->store, error) != 0)
        return -1;
    result = all ? change_all(dock->store, drop, &changed, error)
                 : change_numbers(dock->store, words + 1, count - 1, drop, error);
    if (result != 0) {
        store_rollback(dock->store);
        return -1;
    }
    if (store_commit(dock->store, error) != 0)
        return -1;
    (void)printf(drop ? "%llu dropped\n"
                      : "%llu released, to be tried by the next boda-dock run or upload\n",
                 (unsigned long long)changed);
    return 0;
}
