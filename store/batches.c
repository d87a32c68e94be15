/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/batches.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "store/chunks.h"
#include "store/statement.h"

#define SEQ_LIMIT (UINT64_C(1) << 53) /* JSON numbers are exact below it */

/* The columns that read_row reads, in its order. */
#define COLUMNS "key, id, source, destination, epoch, seq, size, state, position, here"

struct row {
    int64_t key;
    struct batch batch;
};

/* ---- labels --------------------------------------------------------------------------------------- */

static bool is_name(const char *name)
{
    size_t length = strnlen(name, STORE_NAME_BYTES);

    if (length == 0 || length == STORE_NAME_BYTES)
        return false;
    return strchr("._-", name[0]) == NULL &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

int label_check(const struct label *label, struct error *error)
{
    char text[BATCH_ID_TEXT_BYTES];
    const char *fault = NULL;

    if (!is_name(label->from))
        fault = "`from` is not a station's name";
    else if (!is_name(label->to))
        fault = "`to` is not a station's name";
    else if (strnlen(label->epoch, STORE_EPOCH_BYTES) != STORE_EPOCH_BYTES - 1 ||
             strspn(label->epoch, "0123456789abcdef") != STORE_EPOCH_BYTES - 1)
        fault = "`epoch` is not 16 hexadecimal digits";
    else if (label->seq >= SEQ_LIMIT)
        fault = "`seq` is too large";
    else if (label->size == 0 || label->size > BATCH_MAX_BYTES)
        fault = "`size` is out of bounds";
    if (fault == NULL)
        return 0;
    hex_encode(label->id, BATCH_ID_BYTES, text);
    return error_set(error, ERROR_FAILED, "batch %s: its label is wrong: %s", text, fault);
}

/* -1 with "batch ID: WORDS". */
static int fault(const unsigned char *id, const char *words, struct error *error)
{
    char text[BATCH_ID_TEXT_BYTES];

    hex_encode(id, BATCH_ID_BYTES, text);
    return error_set(error, ERROR_FAILED, "batch %s: %s", text, words);
}

/* ---- rows ----------------------------------------------------------------------------------------- */

static void read_row(const struct statement *s, struct row *row)
{
    struct batch *batch = &row->batch;

    memset(row, 0, sizeof *row);
    row->key = sqlite3_column_int64(s->handle, 0);
    statement_get_blob(s, 1, batch->label.id, BATCH_ID_BYTES);
    statement_get_text(s, 2, batch->label.from, sizeof batch->label.from);
    statement_get_text(s, 3, batch->label.to, sizeof batch->label.to);
    statement_get_text(s, 4, batch->label.epoch, sizeof batch->label.epoch);
    batch->label.seq = (uint64_t)sqlite3_column_int64(s->handle, 5);
    batch->label.size = (uint64_t)sqlite3_column_int64(s->handle, 6);
    batch->state = (enum batch_state)sqlite3_column_int(s->handle, 7);
    batch->position = sqlite3_column_int64(s->handle, 8);
    batch->offset = (uint64_t)sqlite3_column_int64(s->handle, 9);
}

static int find_row(struct store *store, const unsigned char *id, struct row *row,
                    struct error *error)
{
    static const char FIND[] = "SELECT " COLUMNS " FROM batch WHERE id = ?1";
    struct statement s = statement_start(store, FIND);
    int result;

    statement_blob(&s, 1, id, BATCH_ID_BYTES);
    result = statement_step(&s, error);
    if (result == 1) {
        read_row(&s, row);
        statement_end(&s);
    }
    return result;
}

/* As find_row, but -1 when it is not there. */
static int need_row(struct store *store, const unsigned char *id, struct row *row,
                    struct error *error)
{
    int result;

    if (statement_need_transaction(store, error) != 0)
        return -1;
    result = find_row(store, id, row, error);
    if (result == 0)
        return fault(id, "is not in this store", error);
    return result < 0 ? -1 : 0;
}

/* The next position, in this transaction, which holds the write lock. */
static int take_position(struct store *store, int64_t *position, struct error *error)
{
    static const char LAST[] = "SELECT max(position) FROM batch";

    if (store->next_position == 0) {
        if (statement_number(store, LAST, &store->next_position, error) != 0)
            return -1;
        store->next_position++;
    }
    *position = store->next_position++;
    return 0;
}

/* Insert a row unless its id is there; *INSERTED says which.  POSITION 0: none. */
static int insert_row(struct store *store, const struct label *label, enum batch_state state,
                      uint64_t here, int64_t position, int64_t *key, bool *inserted,
                      struct error *error)
{
    static const char INSERT[] =
        "INSERT INTO batch (id, source, destination, epoch, seq, size, here, state, position, came)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, nullif(?9, 0), ?10)"
        " ON CONFLICT (id) DO NOTHING";
    struct statement s = statement_start(store, INSERT);

    statement_blob(&s, 1, label->id, BATCH_ID_BYTES);
    statement_text(&s, 2, label->from);
    statement_text(&s, 3, label->to);
    statement_text(&s, 4, label->epoch);
    statement_integer(&s, 5, (int64_t)label->seq);
    statement_integer(&s, 6, (int64_t)label->size);
    statement_integer(&s, 7, (int64_t)here);
    statement_integer(&s, 8, state);
    statement_integer(&s, 9, position);
    statement_integer(&s, 10, store->now);
    if (statement_run(&s, error) != 0)
        return -1;
    *inserted = sqlite3_changes(store->db) == 1;
    *key = sqlite3_last_insert_rowid(store->db);
    return 0;
}

/* ROW gets STATE, HERE bytes and POSITION (0: as it is), and the source's account the difference. */
static int update_row(struct store *store, const struct row *row, enum batch_state state,
                      uint64_t here, int64_t position, const char *reason, struct error *error)
{
    static const char UPDATE[] = "UPDATE batch SET state = ?2, here = ?3,"
                                 " position = coalesce(nullif(?4, 0), position), reason = ?5"
                                 " WHERE key = ?1";
    struct statement s = statement_start(store, UPDATE);

    statement_integer(&s, 1, row->key);
    statement_integer(&s, 2, state);
    statement_integer(&s, 3, (int64_t)here);
    statement_integer(&s, 4, position);
    statement_text(&s, 5, reason);
    if (statement_run(&s, error) != 0)
        return -1;
    return chunks_account(store, row->batch.label.from, (int64_t)here - (int64_t)row->batch.offset,
                          error);
}

int batches_find(struct store *store, const unsigned char *id, struct batch *out,
                 struct error *error)
{
    struct row row;
    int result = find_row(store, id, &row, error);

    if (result == 1)
        *out = row.batch;
    return result;
}

/* ---- coming in ------------------------------------------------------------------------------------ */

static int complete_row(struct store *store, const struct row *row, struct error *error)
{
    int64_t position;

    if (take_position(store, &position, error) != 0)
        return -1;
    return update_row(store, row, BATCH_HELD, row->batch.label.size, position, NULL, error);
}

int batches_add(struct store *store, const struct label *label, const void *bytes, size_t size,
                struct error *error)
{
    const unsigned char *rest = bytes;
    int64_t position, key;
    struct row row;
    bool inserted;

    if (size != label->size || size == 0 || size > BATCH_MAX_BYTES)
        return fault(label->id, "its size is not what its label says", error);
    if (take_position(store, &position, error) != 0 ||
        insert_row(store, label, BATCH_HELD, size, position, &key, &inserted, error) != 0)
        return -1;
    if (inserted) {
        if (chunks_append(store, key, 0, rest, size, error) != 0)
            return -1;
        return chunks_account(store, label->from, (int64_t)size, error);
    }
    store->next_position--; /* not used */
    if (need_row(store, label->id, &row, error) != 0)
        return -1;
    if (row.batch.state != BATCH_PARTIAL)
        return 0;
    if (row.batch.label.size != size)
        return fault(label->id, "its size is not that of the part that is here", error);
    rest += row.batch.offset;
    if (chunks_append(store, row.key, row.batch.offset, rest, size - (size_t)row.batch.offset,
                      error) != 0)
        return -1;
    return complete_row(store, &row, error);
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
        return fault(label->id, "more bytes came than its label says", error);
    if (offset == 0) {
        if (insert_row(store, label, BATCH_PARTIAL, size, 0, &key, &inserted, error) != 0)
            return -1;
        if (inserted) {
            if (chunks_append(store, key, 0, bytes, size, error) != 0)
                return -1;
            return chunks_account(store, label->from, (int64_t)size, error);
        }
    }
    result = find_row(store, label->id, &row, error);
    if (result < 0)
        return -1;
    if (result == 0 || row.batch.state != BATCH_PARTIAL || row.batch.offset != offset)
        return fault(label->id, "bytes came that do not continue what is here", error);
    if (row.batch.label.size != label->size)
        return fault(label->id, "its size is not that of the part that is here", error);
    if (chunks_append(store, row.key, offset, bytes, size, error) != 0)
        return -1;
    return grow_row(store, &row, size, error);
}

int batches_complete(struct store *store, const unsigned char *id, struct error *error)
{
    struct row row;

    if (need_row(store, id, &row, error) != 0)
        return -1;
    if (row.batch.state != BATCH_PARTIAL)
        return 0;
    if (row.batch.offset != row.batch.label.size)
        return fault(id, "is not complete", error);
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
    result = find_row(store, id, &row, error);
    if (result <= 0)
        return result;
    if (row.batch.state != BATCH_PARTIAL)
        return fault(id, "is complete and cannot be discarded", error);
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
        return fault(id, "is not in this store", error);
    if (batch.offset != batch.label.size)
        return fault(id, "its bytes are not all here", error);
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
        return fault(id, "fewer bytes are here than are to be hashed", error);
    return chunks_walk(store, id, 0, size, take_hash, hash, error);
}

/* ---- states --------------------------------------------------------------------------------------- */

int batches_set_aside(struct store *store, const unsigned char *id, const char *reason,
                      struct error *error)
{
    struct row row;

    if (need_row(store, id, &row, error) != 0)
        return -1;
    if (row.batch.state != BATCH_HELD && row.batch.state != BATCH_ASIDE)
        return fault(id, "is not held here and cannot be set aside", error);
    return update_row(store, &row, BATCH_ASIDE, row.batch.offset, 0, reason, error);
}

int batches_release(struct store *store, const unsigned char *id, struct error *error)
{
    int64_t position;
    struct row row;

    if (need_row(store, id, &row, error) != 0)
        return -1;
    if (row.batch.state != BATCH_ASIDE)
        return fault(id, "is not set aside and cannot be released", error);
    if (take_position(store, &position, error) != 0)
        return -1;
    return update_row(store, &row, BATCH_HELD, row.batch.offset, position, NULL, error);
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
    return update_row(store, row, BATCH_APPLIED, keep ? row->batch.offset : 0, 0, NULL, error);
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
    result = find_row(store, label->id, &row, error);
    if (result < 0)
        return -1;
    if (result == 1)
        result = apply_row(store, &row, keep_bytes, error);
    else
        result = insert_row(store, label, BATCH_APPLIED, 0, 0, &key, &inserted, error);
    return result != 0 ? -1 : tell_carriers(store, label->id, error);
}

int batches_drop_bytes(struct store *store, const unsigned char *id, struct error *error)
{
    struct row row;

    if (need_row(store, id, &row, error) != 0)
        return -1;
    if (row.batch.state != BATCH_APPLIED)
        return fault(id, "is not applied, its bytes are not dropped", error);
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

    if (need_row(store, id, &row, error) != 0)
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

/* ---- walking -------------------------------------------------------------------------------------- */

static int step_row(struct statement *s, struct batch *out, struct error *error)
{
    struct row row;
    int result = statement_step(s, error);

    if (result == 1) {
        read_row(s, &row);
        *out = row.batch;
        statement_end(s);
    }
    return result;
}

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

int batches_next(struct store *store, const struct batch_filter *filter, int64_t after,
                 struct batch *out, struct error *error)
{
    /* The indexes are named, so that a query that cannot use one fails in the tests. */
    static const char HELD_TO[] =
        "SELECT " COLUMNS " FROM batch INDEXED BY batch_held_to WHERE state = 1"
        " AND destination = ?3 AND position > ?1 AND (?2 IS NULL OR source = ?2)"
        " ORDER BY position LIMIT 1";
    static const char HELD_FROM[] =
        "SELECT " COLUMNS " FROM batch INDEXED BY batch_held_from WHERE state = 1"
        " AND source = ?2 AND position > ?1 ORDER BY position LIMIT 1";
    static const char ASIDE[] =
        "SELECT " COLUMNS " FROM batch INDEXED BY batch_aside WHERE state = 2 AND position > ?1"
        " AND (?2 IS NULL OR source = ?2) AND (?3 IS NULL OR destination = ?3)"
        " ORDER BY position LIMIT 1";
    static const char ANY[] =
        "SELECT " COLUMNS " FROM batch WHERE position > ?1 AND state = ?4"
        " AND (?2 IS NULL OR source = ?2) AND (?3 IS NULL OR destination = ?3)"
        " ORDER BY position LIMIT 1";
    const char *sql = ANY;
    struct statement s;

    if (filter->state == BATCH_HELD && is_given(filter->to))
        sql = HELD_TO;
    else if (filter->state == BATCH_HELD && is_given(filter->from))
        sql = HELD_FROM;
    else if (filter->state == BATCH_ASIDE)
        sql = ASIDE;
    s = statement_start(store, sql);
    statement_integer(&s, 1, after);
    if (is_given(filter->from))
        statement_text(&s, 2, filter->from);
    if (is_given(filter->to) && sql != HELD_FROM)
        statement_text(&s, 3, filter->to);
    if (sql == ANY)
        statement_integer(&s, 4, filter->state);
    return step_row(&s, out, error);
}

int batches_next_partial(struct store *store, const char *from, struct batch *out,
                         struct error *error)
{
    /* Rare: no index is worth it. */
    static const char PARTIAL[] =
        "SELECT " COLUMNS " FROM batch WHERE state = 0 AND source = ?1 LIMIT 1";
    struct statement s = statement_start(store, PARTIAL);

    statement_text(&s, 1, from);
    return step_row(&s, out, error);
}

int batches_next_in_stream(struct store *store, const char *to, const struct label *after,
                           struct batch *out, struct error *error)
{
    /* Unnumbered batches of one source and epoch have one seq: their key tells them apart. */
    static const char NEXT[] =
        "SELECT " COLUMNS " FROM batch INDEXED BY batch_held_stream WHERE state = 1"
        " AND destination = ?1 AND (source, epoch, seq, key) >"
        " (?2, ?3, ?4, coalesce((SELECT key FROM batch WHERE id = ?5), 9223372036854775807))"
        " ORDER BY source, epoch, seq, key LIMIT 1";
    static const unsigned char none[BATCH_ID_BYTES];
    struct statement s = statement_start(store, NEXT);

    statement_text(&s, 1, to);
    statement_text(&s, 2, after == NULL ? "" : after->from);
    statement_text(&s, 3, after == NULL ? "" : after->epoch);
    statement_integer(&s, 4, after == NULL ? -1 : (int64_t)after->seq);
    statement_blob(&s, 5, after == NULL ? none : after->id, BATCH_ID_BYTES);
    return step_row(&s, out, error);
}

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
        "SELECT state, count(*), sum(here), sum(handed) FROM batch"
        " WHERE (?1 IS NULL OR source = ?1) AND (?2 IS NULL OR destination = ?2) GROUP BY state";
    struct statement s = statement_start(store, COUNT);
    uint64_t count;
    int result;

    memset(counts, 0, sizeof *counts);
    if (filter != NULL && is_given(filter->from))
        statement_text(&s, 1, filter->from);
    if (filter != NULL && is_given(filter->to))
        statement_text(&s, 2, filter->to);
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
            break;
        case BATCH_ASIDE:
            counts->aside = count;
            break;
        case BATCH_APPLIED:
            counts->applied = count;
            break;
        }
    }
    return result;
}

int batches_next_aside(struct store *store, int64_t after, struct batch *out,
                       char reason[ERROR_TEXT_BYTES], struct error *error)
{
    static const char NEXT[] = "SELECT " COLUMNS ", reason FROM batch INDEXED BY batch_aside"
                               " WHERE state = 2 AND position > ?1 ORDER BY position LIMIT 1";
    struct statement s = statement_start(store, NEXT);
    struct row row;
    int result;

    statement_integer(&s, 1, after);
    result = statement_step(&s, error);
    if (result == 1) {
        read_row(&s, &row);
        *out = row.batch;
        statement_get_text(&s, 10, reason, ERROR_TEXT_BYTES);
        statement_end(&s);
    }
    return result;
}
