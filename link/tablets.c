/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/tablets.h"

#include <string.h>

bool tablets_have(const char *const *tablets, const char *name)
{
    if (tablets == NULL)
        return true;
    for (; *tablets != NULL; tablets++)
        if (strcmp(*tablets, name) == 0)
            return true;
    return false;
}

/* The list as store/peers.h wants it, with its zero. */
static int join(const char *const *tablets, struct buffer *names, struct error *error)
{
    if (tablets == NULL)
        return buffer_append(names, "*", 2, error);
    for (; *tablets != NULL; tablets++)
        if ((names->length > 0 && buffer_append(names, " ", 1, error) != 0) ||
            buffer_append(names, *tablets, strlen(*tablets), error) != 0)
            return -1;
    return buffer_append(names, "", 1, error);
}

int tablets_same(struct store *store, const char *uuid, const char *const *tablets,
                 struct error *error)
{
    struct buffer names = {0};
    int result = join(tablets, &names, error);

    if (result == 0)
        result = peers_same_tablets(store, uuid, (const char *)names.data, error);
    buffer_free(&names);
    return result;
}

static int keep(struct store *store, const char *uuid, const char *names, struct error *error)
{
    if (store_begin(store, error) != 0)
        return -1;
    if (peers_set_tablets(store, uuid, names, error) != 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, error);
}

int tablets_keep(struct store *store, const char *uuid, const char *const *tablets,
                 struct error *error)
{
    struct buffer names = {0};
    int result = join(tablets, &names, error);

    if (result == 0)
        result = keep(store, uuid, (const char *)names.data, error);
    buffer_free(&names);
    return result;
}
