/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/rows.h"

#include <string.h>

#include "base/hex.h"
#include "store/chunks.h"

int rows_fault(const unsigned char *id, const char *words, struct error *error)
{
    char text[BATCH_ID_TEXT_BYTES];

    hex_encode(id, BATCH_ID_BYTES, text);
    return error_set(error, ERROR_FAILED, "batch %s: %s", text, words);
}

void rows_read(const struct statement *s, struct row *row)
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
    batch->released = sqlite3_column_int(s->handle, 10) != 0;
}

int rows_find(struct store *store, const unsigned char *id, struct row *row, struct error *error)
{
    static const char FIND[] = "SELECT " ROWS_COLUMNS " FROM batch WHERE id = ?1";
    struct statement s = statement_start(store, FIND);
    int result;

    statement_blob(&s, 1, id, BATCH_ID_BYTES);
    result = statement_step(&s, error);
    if (result == 1) {
        rows_read(&s, row);
        statement_end(&s);
    }
    return result;
}

int rows_need(struct store *store, const unsigned char *id, struct row *row, struct error *error)
{
    int result;

    if (statement_need_transaction(store, error) != 0)
        return -1;
    result = rows_find(store, id, row, error);
    if (result == 0)
        return rows_fault(id, "is not in this store", error);
    return result < 0 ? -1 : 0;
}

int rows_take_position(struct store *store, int64_t *position, struct error *error)
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

int rows_insert(struct store *store, const struct label *label, enum batch_state state,
                uint64_t here, int64_t position, int64_t *key, bool *inserted, struct error *error)
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

int rows_update(struct store *store, const struct row *row, enum batch_state state, uint64_t here,
                int64_t position, const char *reason, struct error *error)
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

const char *rows_given(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}
