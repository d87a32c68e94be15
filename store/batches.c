/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/batches.h"

#include <openssl/evp.h>
#include <string.h>

#include "store/chunks.h"
#include "store/holdings.h"
#include "store/rows.h"
#include "store/station.h"

int batches_find(struct store *store, const unsigned char *id, struct batch *out,
                 struct error *error)
{
    struct row row;
    int result = rows_find(store, id, &row, error);

    if (result == 1)
        *out = row.batch;
    return result;
}

bool batches_is_destination(const struct store *store, const char *to)
{
    return strcmp(to, strcmp(store->role, "dock") == 0 ? SERVER_NAME : store->station) == 0;
}

/* ---- unnumbered batches --------------------------------------------------------------------------- */

/* Another unnumbered batch of LABEL's source, epoch and destination that is here by SQL: 1, 0, -1. */
static int find_earlier(struct store *store, const char *sql, const struct label *label,
                        struct label *out, struct error *error)
{
    struct statement s = statement_start(store, sql);
    int result;

    memset(out, 0, sizeof *out);
    statement_text(&s, 1, label->to);
    statement_text(&s, 2, label->from);
    statement_text(&s, 3, label->epoch);
    statement_blob(&s, 4, label->id, BATCH_ID_BYTES);
    result = statement_step(&s, error);
    if (result == 1) {
        statement_get_blob(&s, 0, out->id, BATCH_ID_BYTES);
        statement_end(&s);
    }
    return result;
}

/* The batch of LABEL has become held: if it is unnumbered, those that came before it make way. */
static int replace_earlier(struct store *store, const struct label *label, struct error *error)
{
    static const char HELD[] =
        "SELECT id FROM batch INDEXED BY batch_held_stream WHERE state = 1 AND destination = ?1"
        " AND source = ?2 AND epoch = ?3 AND seq = 0 AND id <> ?4 LIMIT 1";
    static const char PARTIAL[] =
        "SELECT id FROM batch INDEXED BY batch_partial WHERE state = 0 AND destination = ?1"
        " AND source = ?2 AND epoch = ?3 AND seq = 0 AND id <> ?4 LIMIT 1";
    struct label earlier;
    int found;

    /* At its destination a batch is judged by what is in it, and not by a label that a courier may have made up. */
    if (label->seq != 0 || batches_is_destination(store, label->to))
        return 0;
    while ((found = find_earlier(store, HELD, label, &earlier, error)) == 1)
        if (batches_apply(store, &earlier, false, error) != 0)
            return -1;
    while (found == 0 && (found = find_earlier(store, PARTIAL, label, &earlier, error)) == 1)
        found = batches_discard(store, earlier.id, error);
    return found;
}

/* ---- coming in ------------------------------------------------------------------------------------ */

static int complete_row(struct store *store, const struct row *row, struct error *error)
{
    int64_t position;

    if (rows_take_position(store, &position, error) != 0 ||
        rows_update(store, row, BATCH_HELD, row->batch.label.size, position, NULL, error) != 0)
        return -1;
    return replace_earlier(store, &row->batch.label, error);
}

/* 1 added, 0 a row is there already, -1. */
static int add_row(struct store *store, const struct label *label, const void *bytes, size_t size,
                   struct error *error)
{
    int64_t position, key;
    bool inserted;

    if (rows_take_position(store, &position, error) != 0 ||
        rows_insert(store, label, BATCH_HELD, size, position, &key, &inserted, error) != 0)
        return -1;
    if (!inserted) {
        store->next_position--; /* not used */
        return 0;
    }
    if (chunks_append(store, key, 0, bytes, size, error) != 0 ||
        chunks_account(store, label->from, (int64_t)size, error) != 0 ||
        replace_earlier(store, label, error) != 0)
        return -1;
    return 1;
}

int batches_add(struct store *store, const struct label *label, const void *bytes, size_t size,
                struct error *error)
{
    struct row row;
    int result;

    if (size != label->size || size == 0 || size > BATCH_MAX_BYTES)
        return rows_fault(label->id, "its size is not what its label says", error);
    result = add_row(store, label, bytes, size, error);
    if (result != 0)
        return result < 0 ? -1 : 0;
    if (rows_need(store, label->id, &row, error) != 0)
        return -1;
    if (row.batch.state != BATCH_PARTIAL)
        return 0;
    /* Nobody has checked the part that is here, which another peer may have sent under another label. */
    if (batches_discard(store, label->id, error) != 0)
        return -1;
    return add_row(store, label, bytes, size, error) == 1 ? 0 : -1;
}

static int grow_row(struct store *store, const struct row *row, size_t size, struct error *error)
{
    static const char GROW[] = "UPDATE batch SET here = here + ?2 WHERE key = ?1";
    struct statement s = statement_start(store, GROW);

    statement_integer(&s, 1, row->key);
    statement_integer(&s, 2, (int64_t)size);
    if (statement_run(&s, error) != 0)
        return -1;
    return chunks_account(store, row->batch.label.from, (int64_t)size, error);
}

int batches_append(struct store *store, const struct label *label, uint64_t offset,
                   const void *bytes, size_t size, struct error *error)
{
    struct row row;
    bool inserted;
    int64_t key;
    int result;

    if (statement_need_transaction(store, error) != 0)
        return -1;
    if (label->size > BATCH_MAX_BYTES || offset > label->size || size > label->size - offset)
        return rows_fault(label->id, "more bytes came than its label says", error);
    if (offset == 0) {
        if (rows_insert(store, label, BATCH_PARTIAL, size, 0, &key, &inserted, error) != 0)
            return -1;
        if (inserted) {
            if (chunks_append(store, key, 0, bytes, size, error) != 0)
                return -1;
            return chunks_account(store, label->from, (int64_t)size, error);
        }
    }
    result = rows_find(store, label->id, &row, error);
    if (result < 0)
        return -1;
    if (result == 0 || row.batch.state != BATCH_PARTIAL || row.batch.offset != offset)
        return rows_fault(label->id, "bytes came that do not continue what is here", error);
    if (row.batch.label.size != label->size)
        return rows_fault(label->id, "its size is not that of the part that is here", error);
    if (chunks_append(store, row.key, offset, bytes, size, error) != 0)
        return -1;
    return grow_row(store, &row, size, error);
}

int batches_complete(struct store *store, const unsigned char *id, struct error *error)
{
    struct row row;

    if (rows_need(store, id, &row, error) != 0)
        return -1;
    if (row.batch.state != BATCH_PARTIAL)
        return 0;
    if (row.batch.offset != row.batch.label.size)
        return rows_fault(id, "is not complete", error);
    return complete_row(store, &row, error);
}

int batches_discard(struct store *store, const unsigned char *id, struct error *error)
{
    static const char DISCARD[] = "DELETE FROM batch WHERE key = ?1";
    struct statement s;
    struct row row;
    int result;

    if (statement_need_transaction(store, error) != 0)
        return -1;
    result = rows_find(store, id, &row, error);
    if (result <= 0)
        return result;
    if (row.batch.state != BATCH_PARTIAL)
        return rows_fault(id, "is complete and cannot be discarded", error);
    if (chunks_drop(store, row.key, error) != 0)
        return -1;
    s = statement_start(store, DISCARD);
    statement_integer(&s, 1, row.key);
    if (statement_run(&s, error) != 0)
        return -1;
    return chunks_account(store, row.batch.label.from, -(int64_t)row.batch.offset, error);
}

/* ---- bytes ---------------------------------------------------------------------------------------- */

struct target {
    unsigned char *bytes;
    size_t used;
};

static int take_copy(const void *bytes, size_t size, void *context, struct error *error)
{
    struct target *target = context;

    (void)error;
    memcpy(target->bytes + target->used, bytes, size);
    target->used += size;
    return 0;
}

static int take_buffer(const void *bytes, size_t size, void *context, struct error *error)
{
    return buffer_append(context, bytes, size, error);
}

static int take_hash(const void *bytes, size_t size, void *context, struct error *error)
{
    if (EVP_DigestUpdate(context, bytes, size) != 1)
        return error_set(error, ERROR_FAILED, "SHA-256: OpenSSL cannot hash");
    return 0;
}

int batches_read(struct store *store, const unsigned char *id, uint64_t offset, void *bytes,
                 size_t size, size_t *got, struct error *error)
{
    struct target target = {.bytes = bytes};
    int result = chunks_walk(store, id, offset, size, take_copy, &target, error);

    *got = target.used;
    return result;
}

int batches_load(struct store *store, const unsigned char *id, struct buffer *buffer,
                 struct error *error)
{
    size_t start = buffer->length;
    struct batch batch = {0};
    int result;

    result = batches_find(store, id, &batch, error);
    if (result < 0)
        return -1;
    if (result == 0)
        return rows_fault(id, "is not in this store", error);
    if (batch.offset != batch.label.size)
        return rows_fault(id, "its bytes are not all here", error);
    if (buffer_reserve(buffer, (size_t)batch.offset, error) != 0)
        return -1;
    result = chunks_walk(store, id, 0, batch.offset, take_buffer, buffer, error);
    if (result != 0)
        buffer->length = start;
    return result;
}

int batches_hash(struct store *store, const unsigned char *id, uint64_t size,
                 struct evp_md_ctx_st *hash, struct error *error)
{
    struct batch batch = {0};
    int result = batches_find(store, id, &batch, error);

    if (result < 0)
        return -1;
    if (result == 0 || batch.offset < size)
        return rows_fault(id, "fewer bytes are here than are to be hashed", error);
    return chunks_walk(store, id, 0, size, take_hash, hash, error);
}

/* ---- states --------------------------------------------------------------------------------------- */

int batches_set_aside(struct store *store, const unsigned char *id, const char *reason,
                      struct error *error)
{
    struct row row;

    if (rows_need(store, id, &row, error) != 0)
        return -1;
    if (row.batch.state != BATCH_HELD && row.batch.state != BATCH_ASIDE)
        return rows_fault(id, "is not held here and cannot be set aside", error);
    return rows_update(store, &row, BATCH_ASIDE, row.batch.offset, 0, reason, error);
}

int batches_release(struct store *store, const unsigned char *id, struct error *error)
{
    static const char MARK[] = "UPDATE batch SET released = 1 WHERE key = ?1";
    struct statement s;
    int64_t position;
    struct row row;

    if (rows_need(store, id, &row, error) != 0)
        return -1;
    if (row.batch.state != BATCH_ASIDE)
        return rows_fault(id, "is not set aside and cannot be released", error);
    if (rows_take_position(store, &position, error) != 0 ||
        rows_update(store, &row, BATCH_HELD, row.batch.offset, position, NULL, error) != 0)
        return -1;
    s = statement_start(store, MARK);
    statement_integer(&s, 1, row.key);
    return statement_run(&s, error);
}

int batches_relabel(struct store *store, const struct label *label, struct error *error)
{
    static const char RELABEL[] =
        "UPDATE batch SET source = ?2, destination = ?3, epoch = ?4, seq = ?5 WHERE key = ?1";
    struct statement s;
    int64_t position;
    struct row row;

    if (rows_need(store, label->id, &row, error) != 0)
        return -1;
    if (row.batch.state != BATCH_ASIDE || row.batch.label.size != label->size ||
        label_same(&row.batch.label, label))
        return 0;
    s = statement_start(store, RELABEL);
    statement_integer(&s, 1, row.key);
    statement_text(&s, 2, label->from);
    statement_text(&s, 3, label->to);
    statement_text(&s, 4, label->epoch);
    statement_integer(&s, 5, (int64_t)label->seq);
    /* Whose bytes they are has changed too. */
    if (statement_run(&s, error) != 0 ||
        chunks_account(store, row.batch.label.from, -(int64_t)row.batch.offset, error) != 0 ||
        chunks_account(store, label->from, (int64_t)row.batch.offset, error) != 0 ||
        rows_take_position(store, &position, error) != 0 ||
        rows_update(store, &row, BATCH_HELD, row.batch.offset, position, NULL, error) != 0)
        return -1;
    return 1;
}

/* Couriers that carry it are to hear that it is applied (peers.h). */
static int tell_carriers(struct store *store, const unsigned char *id, struct error *error)
{
    static const char TELL[] = "UPDATE carried SET applied = 1 WHERE id = ?1 AND applied = 0";
    struct statement s = statement_start(store, TELL);

    statement_blob(&s, 1, id, BATCH_ID_BYTES);
    return statement_run(&s, error);
}

static int apply_row(struct store *store, const struct row *row, bool keep_bytes,
                     struct error *error)
{
    bool keep = keep_bytes && row->batch.state != BATCH_PARTIAL;

    if (row->batch.state == BATCH_APPLIED && (keep || row->batch.offset == 0))
        return 0;
    if (!keep && row->batch.offset > 0 && chunks_drop(store, row->key, error) != 0)
        return -1;
    return rows_update(store, row, BATCH_APPLIED, keep ? row->batch.offset : 0, 0, NULL, error);
}

int batches_apply(struct store *store, const struct label *label, bool keep_bytes,
                  struct error *error)
{
    struct row row;
    bool inserted;
    int64_t key;
    int result;

    if (statement_need_transaction(store, error) != 0)
        return -1;
    result = rows_find(store, label->id, &row, error);
    if (result < 0)
        return -1;
    if (result == 0)
        result = rows_insert(store, label, BATCH_APPLIED, 0, 0, &key, &inserted, error);
    else if (apply_row(store, &row, keep_bytes, error) != 0)
        result = -1;
    else
        result = holdings_arrived(store, row.batch.label.to, label->id, error);
    return result != 0 ? -1 : tell_carriers(store, label->id, error);
}

int batches_drop_bytes(struct store *store, const unsigned char *id, struct error *error)
{
    struct row row;

    if (rows_need(store, id, &row, error) != 0)
        return -1;
    if (row.batch.state != BATCH_APPLIED)
        return rows_fault(id, "is not applied, its bytes are not dropped", error);
    return apply_row(store, &row, false, error);
}

int batches_set_fleeting(struct store *store, const unsigned char *id, struct error *error)
{
    static const char SET[] = "UPDATE batch SET fleeting = 1 WHERE id = ?1";
    struct statement s = statement_start(store, SET);

    statement_blob(&s, 1, id, BATCH_ID_BYTES);
    return statement_run(&s, error);
}

int batches_handed_over(struct store *store, const unsigned char *id, struct error *error)
{
    static const char NOTE[] = "UPDATE batch SET handed = 1 WHERE key = ?1 AND handed = 0";
    static const char FLEETING[] = "SELECT fleeting FROM batch WHERE key = ?1";
    struct statement s;
    struct row row;
    int result;

    if (rows_need(store, id, &row, error) != 0)
        return -1;
    s = statement_start(store, NOTE);
    statement_integer(&s, 1, row.key);
    if (statement_run(&s, error) != 0)
        return -1;
    s = statement_start(store, FLEETING);
    statement_integer(&s, 1, row.key);
    result = statement_step(&s, error);
    if (result < 0)
        return -1;
    result = result == 1 && sqlite3_column_int(s.handle, 0) == 1;
    statement_end(&s);
    return result == 1 ? apply_row(store, &row, false, error) : 0;
}

/* ---- questions ------------------------------------------------------------------------------------ */

int batches_is_at(struct store *store, int64_t position, const unsigned char *id,
                  struct error *error)
{
    static const char AT[] = "SELECT id = ?2 FROM batch WHERE position = ?1";
    struct statement s;
    int result;

    if (position <= 0)
        return 0;
    s = statement_start(store, AT);
    statement_integer(&s, 1, position);
    statement_blob(&s, 2, id, BATCH_ID_BYTES);
    result = statement_step(&s, error);
    if (result == 1) {
        result = sqlite3_column_int(s.handle, 0);
        statement_end(&s);
    }
    return result;
}

int batches_count(struct store *store, const struct batch_filter *filter,
                  struct batch_counts *counts, struct error *error)
{
    static const char COUNT[] =
        "SELECT state, sum(state <> 1 OR seq > 0), sum(here), sum(handed AND seq > 0),"
        " sum(state = 1 AND seq = 0), sum(iif(state = 1 AND seq = 0, here, 0)) FROM batch"
        " WHERE (?1 IS NULL OR source = ?1) AND (?2 IS NULL OR destination = ?2) GROUP BY state";
    struct statement s = statement_start(store, COUNT);
    uint64_t count;
    int result;

    memset(counts, 0, sizeof *counts);
    if (filter != NULL) {
        statement_text(&s, 1, rows_given(filter->from));
        statement_text(&s, 2, rows_given(filter->to));
    }
    while ((result = statement_step(&s, error)) == 1) {
        count = (uint64_t)sqlite3_column_int64(s.handle, 1);
        counts->held_bytes += (uint64_t)sqlite3_column_int64(s.handle, 2);
        switch ((enum batch_state)sqlite3_column_int(s.handle, 0)) {
        case BATCH_PARTIAL:
            counts->partial = count;
            break;
        case BATCH_HELD:
            counts->held = count;
            counts->handed_over = (uint64_t)sqlite3_column_int64(s.handle, 3);
            counts->unnumbered = (uint64_t)sqlite3_column_int64(s.handle, 4);
            counts->unnumbered_bytes = (uint64_t)sqlite3_column_int64(s.handle, 5);
            break;
        case BATCH_ASIDE:
            counts->aside = count;
            break;
        case BATCH_APPLIED:
            counts->applied = count;
            counts->kept_bytes = (uint64_t)sqlite3_column_int64(s.handle, 2);
            break;
        }
    }
    return result;
}
