/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "store/holdings.h"
#include "store/statement.h"
#include "store/streams.h"
#include "store/view.h"

struct writing {
    struct store *store;
    const struct view_making *making;
    struct buffer lines;
    uint64_t count;
    const char *name; /* of the line at hand: "docs", "gone", "withdrawn" */
    json_t *values;   /* in it */
    bool too_large;
    struct error *error;
};

/* ---- lines ---- */

static int failed(const struct writing *writing)
{
    return error_set(writing->error, ERROR_FAILED, "view of tablet %s: a line cannot be made",
                     writing->making->tablet);
}

/* Append VALUE, whose reference is taken, as a line. */
static int write_line(struct writing *writing, json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
    int result = -1;

    if (text == NULL)
        (void)failed(writing);
    else if (writing->lines.length + strlen(text) + 1 > VIEW_PLAIN_BYTES)
        writing->too_large = true;
    else if (buffer_append(&writing->lines, text, strlen(text), writing->error) == 0 &&
             buffer_append(&writing->lines, "\n", 1, writing->error) == 0)
        result = 0;
    writing->count++;
    free(text);
    json_decref(value);
    return result;
}

/* The line at hand is over. */
static int end_line(struct writing *writing)
{
    json_t *values = writing->values;

    writing->values = NULL;
    return values == NULL ? 0 : write_line(writing, json_pack("{so}", writing->name, values));
}

/* VALUE, whose reference is taken, goes into a line of NAME. */
static int write_value(struct writing *writing, const char *name, json_t *value)
{
    if (writing->name != name || json_array_size(writing->values) == VIEW_LINE_MOST) {
        if (end_line(writing) != 0) {
            json_decref(value);
            return -1;
        }
        writing->name = name;
    }
    if (writing->values == NULL)
        writing->values = json_array();
    return json_array_append_new(writing->values, value) == 0 ? 0 : failed(writing);
}

static int write_withdrawn(struct writing *writing, const char *name, const struct label *label)
{
    char id[BATCH_ID_TEXT_BYTES];

    hex_encode(label->id, BATCH_ID_BYTES, id);
    return write_value(writing, name,
                       json_pack("[sII]", id, (json_int_t)label->seq, (json_int_t)label->size));
}

/* All lines; EARLIER (may be NULL) is about to be withdrawn. */
static int write_lines(struct writing *writing, const struct label *earlier)
{
    static const char DOCS[] = "docs", GONE[] = "gone", WITHDRAWN[] = "withdrawn";
    const struct view_making *making = writing->making;
    const struct holding *after = NULL;
    struct label label = {.seq = 0};
    struct holding doc;
    int found;

    if (write_line(writing, json_pack("{s{sssI}}", "view", "server", making->server, "at",
                                      (json_int_t)making->at)) != 0)
        return -1;
    while ((found = holdings_next_listed(writing->store, making->tablet, making->db, after, &doc,
                                         writing->error)) == 1) {
        if (write_value(writing, DOCS, json_pack("[ss]", doc.id, doc.rev)) != 0)
            return -1;
        after = &doc;
    }
    if (found != 0)
        return -1;
    for (size_t i = 0; i < making->gone_count; i++)
        if (write_value(writing, GONE, json_string(making->gone[i])) != 0)
            return -1;
    while ((found = holdings_next_withdrawn(writing->store, making->tablet, label.seq, &label,
                                            writing->error)) == 1)
        if (write_withdrawn(writing, WITHDRAWN, &label) != 0)
            return -1;
    if (found != 0 || (earlier != NULL && write_withdrawn(writing, WITHDRAWN, earlier) != 0))
        return -1;
    return end_line(writing);
}

/* ---- the batch ---- */

/* The newest view of this listing, if it is not receipted yet: 1, 0, -1. */
static int find_earlier(struct store *store, const struct view_making *making,
                        struct label *earlier, struct error *error)
{
    static const char NEWEST[] = "SELECT batch FROM view_made WHERE tablet = ?1 AND db = ?2";
    unsigned char id[BATCH_ID_BYTES];
    struct batch batch = {0};
    struct statement s;
    int result;

    s = statement_start(store, NEWEST);
    statement_text(&s, 1, making->tablet);
    statement_text(&s, 2, making->db);
    result = statement_step(&s, error);
    if (result != 1)
        return result;
    statement_get_blob(&s, 0, id, sizeof id);
    statement_end(&s);
    result = batches_find(store, id, &batch, error);
    *earlier = batch.label;
    return result == 1 ? batch.state == BATCH_HELD : result;
}

static int remember(struct store *store, const struct view_making *making, const unsigned char *id,
                    struct error *error)
{
    static const char REMEMBER[] = "INSERT INTO view_made (tablet, db, batch) VALUES (?1, ?2, ?3)"
                                   " ON CONFLICT (tablet, db) DO UPDATE SET batch = excluded.batch";
    struct statement s = statement_start(store, REMEMBER);

    statement_text(&s, 1, making->tablet);
    statement_text(&s, 2, making->db);
    statement_blob(&s, 3, id, BATCH_ID_BYTES);
    return statement_run(&s, error);
}

static int seal(struct writing *writing, const struct identity *signer, X509 *recipient)
{
    const struct view_making *making = writing->making;
    struct manifest manifest = {.kind = "view", .docs = writing->count};
    struct error *error = writing->error;
    struct buffer batch = {0};
    struct label label;
    int result = -1;

    (void)snprintf(manifest.from, sizeof manifest.from, "%s", SERVER_NAME);
    (void)snprintf(manifest.to, sizeof manifest.to, "%s", making->tablet);
    (void)snprintf(manifest.epoch, sizeof manifest.epoch, "%s", store_epoch(writing->store));
    (void)snprintf(manifest.db, sizeof manifest.db, "%s", making->db);
    (void)snprintf(manifest.user, sizeof manifest.user, "%s", making->user);
    clock_text(manifest.created);
    if (streams_next_seq(writing->store, SERVER_NAME, making->tablet, &manifest.seq, error) == 0 &&
        batch_seal(signer, recipient, &manifest, writing->lines.data, writing->lines.length, &batch,
                   &label, error) == 0 &&
        batches_add(writing->store, &label, batch.data, batch.length, error) == 0)
        result = remember(writing->store, making, label.id, error);
    buffer_free(&batch);
    return result;
}

int view_make(struct store *store, const struct identity *signer, X509 *recipient,
              const struct view_making *making, struct error *error)
{
    struct writing writing = {.store = store, .making = making, .error = error};
    struct label earlier;
    int result = -1, again;

    again = find_earlier(store, making, &earlier, error);
    if (again < 0)
        return -1;
    if (write_lines(&writing, again == 1 ? &earlier : NULL) != 0) {
        if (writing.too_large) {
            log_warning("view of tablet %s: the listing of %s has more than %u MiB and cannot be "
                        "told to the tablet",
                        making->tablet, making->db, VIEW_PLAIN_BYTES >> 20);
            result = 0;
        }
        goto out;
    }
    if (again == 1 && holdings_withdraw(store, making->tablet, earlier.id, error) != 0)
        goto out;
    if (seal(&writing, signer, recipient) == 0)
        result = 1;

out:
    json_decref(writing.values);
    buffer_cleanse(&writing.lines);
    return result;
}
