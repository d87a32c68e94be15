/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/bulk_docs.h"

#include <stdlib.h>
#include <string.h>

#include "base/pick.h"
#include "store/batch.h"

enum { PLACE_DOC, PLACE_NEW_EDITS, PLACES };

static const struct pick_place places[PLACES] = {
    [PLACE_DOC] = {"docs[]", BATCH_DOC_MAX_BYTES},
    [PLACE_NEW_EDITS] = {"new_edits", 64},
};

struct bulk_docs {
    bulk_docs_receive *receive;
    void *context;
    struct pick *pick;
    bool no_new_edits;
};

static int take(unsigned place, const char *json, size_t size, void *context, struct error *error)
{
    struct bulk_docs *bulk = context;

    if (place == PLACE_DOC)
        return json[0] == '{' ? bulk->receive(json, size, bulk->context, error)
                              : error_set(error, ERROR_USAGE, "Document must be a JSON object");
    bulk->no_new_edits = size == 5 && memcmp(json, "false", 5) == 0;
    if (bulk->no_new_edits || (size == 4 && memcmp(json, "true", 4) == 0))
        return 0;
    return error_set(error, ERROR_USAGE, "`new_edits` parameter must be a boolean.");
}

struct bulk_docs *bulk_docs_new(bulk_docs_receive *receive, void *context, struct error *error)
{
    struct bulk_docs *bulk = calloc(1, sizeof *bulk);

    if (bulk == NULL) {
        (void)error_set(error, ERROR_FAILED, "_bulk_docs: no memory");
        return NULL;
    }
    bulk->receive = receive;
    bulk->context = context;
    bulk->pick = pick_new(places, PLACES, take, bulk, error);
    if (bulk->pick == NULL) {
        free(bulk);
        return NULL;
    }
    return bulk;
}

void bulk_docs_free(struct bulk_docs *bulk)
{
    if (bulk == NULL)
        return;
    pick_free(bulk->pick);
    free(bulk);
}

static int finish(const struct bulk_docs *bulk, int result, struct error *error)
{
    if (result != 0 && error != NULL && pick_fault(bulk->pick) == PICK_MALFORMED)
        error->kind = ERROR_USAGE;
    return result;
}

int bulk_docs_feed(struct bulk_docs *bulk, const void *bytes, size_t size, struct error *error)
{
    return finish(bulk, pick_feed(bulk->pick, bytes, size, error), error);
}

int bulk_docs_end(struct bulk_docs *bulk, struct error *error)
{
    if (pick_end(bulk->pick, error) != 0)
        return finish(bulk, -1, error);
    if (!pick_seen(bulk->pick, PLACE_DOC))
        return error_set(error, ERROR_USAGE, "POST body must include `docs` parameter.");
    if (!bulk->no_new_edits)
        return error_set(error, ERROR_USAGE,
                         "this endpoint only takes replication: `new_edits` must be false");
    return 0;
}
