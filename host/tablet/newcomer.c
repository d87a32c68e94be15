/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/newcomer.h"

#include "store/revs.h"
#include "store/station.h"
#include "store/streams.h"

/* Where it is noted that a database was read on in: beside the clients' `_local` documents, as a database whose name no client
 * can give. */
static const char NOTES[] = "_boda/read";

/* 1, 0, -1. */
static int was_read(struct store *store, const char *db, struct error *error)
{
    struct buffer body = {0};
    uint64_t rev;
    int found = revs_local_get(store, NOTES, db, &rev, &body, error);

    buffer_free(&body);
    return found;
}

static int note(struct store *store, const char *db, struct error *error)
{
    if (store_begin(store, error) != 0)
        return -1;
    if (revs_local_put(store, NOTES, db, 0, "{}", 2, error) >= 0 && store_commit(store, error) == 0)
        return 0;
    store_rollback(store);
    return -1;
}

static int begin_anew(struct store *store, const char *db, struct error *error)
{
    int lost;

    if (store_begin(store, error) != 0)
        return -1;
    lost = revs_lost_off_shelf(store, db, error);
    if (lost == 1 && streams_set_due(store, SERVER_NAME, true, error) == 0 &&
        store_commit(store, error) == 0)
        return 0;
    store_rollback(store);
    return lost == 0 ? 0 : -1;
}

int newcomer_reads(struct store *store, const char *db, int64_t since, struct error *error)
{
    int read = was_read(store, db, error);

    if (read < 0)
        return -1;
    if (since > 0)
        return read == 1 ? 0 : note(store, db, error);
    return read == 1 ? begin_anew(store, db, error) : 0;
}
