/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/chunks.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "store/statement.h"

#define CHUNKS_A_BATCH 1024 /* as schema.c says */
_Static_assert(BATCH_MAX_BYTES / BATCH_CHUNK_BYTES < CHUNKS_A_BATCH, "chunk keys must not overlap");

static int64_t chunk_key(int64_t batch, uint64_t offset)
{
    return batch * CHUNKS_A_BATCH + (int64_t)(offset / BATCH_CHUNK_BYTES);
}

static int write_chunk(struct store *store, int64_t key, const void *bytes, size_t size,
                       struct error *error)
{
    static const char WRITE[] = "INSERT OR REPLACE INTO chunk (key, bytes) VALUES (?1, ?2)";
    struct statement s = statement_start(store, WRITE);

    statement_integer(&s, 1, key);
    statement_blob(&s, 2, bytes, size);
    return statement_run(&s, error);
}

/* Fill the last chunk, of which HAVE bytes are here, with up to SIZE bytes; *TAKEN says how many. */
static int fill_chunk(struct store *store, int64_t key, size_t have, const unsigned char *bytes,
                      size_t size, size_t *taken, struct error *error)
{
    static const char READ[] = "SELECT bytes FROM chunk WHERE key = ?1";
    struct buffer whole = {0};
    struct statement s = statement_start(store, READ);
    int result;

    *taken = size < BATCH_CHUNK_BYTES - have ? size : BATCH_CHUNK_BYTES - have;
    statement_integer(&s, 1, key);
    result = statement_step(&s, error);
    if (result < 0)
        return -1;
    if (result == 0 || (size_t)sqlite3_column_bytes(s.handle, 0) != have) {
        statement_end(&s);
        return error_set(error, ERROR_CORRUPT, "store %s: a batch's last bytes are not there",
                         store->directory);
    }
    result = buffer_append(&whole, sqlite3_column_blob(s.handle, 0), have, error);
    statement_end(&s);
    if (result == 0)
        result = buffer_append(&whole, bytes, *taken, error);
    if (result == 0)
        result = write_chunk(store, key, whole.data, whole.length, error);
    buffer_free(&whole);
    return result;
}

int chunks_append(struct store *store, int64_t key, uint64_t offset, const unsigned char *bytes,
                  size_t size, struct error *error)
{
    size_t have = (size_t)(offset % BATCH_CHUNK_BYTES), taken;

    if (have != 0 && size > 0) {
        if (fill_chunk(store, chunk_key(key, offset), have, bytes, size, &taken, error) != 0)
            return -1;
        offset += taken;
        bytes += taken;
        size -= taken;
    }
    while (size > 0) {
        taken = size < BATCH_CHUNK_BYTES ? size : BATCH_CHUNK_BYTES;
        if (write_chunk(store, chunk_key(key, offset), bytes, taken, error) != 0)
            return -1;
        offset += taken;
        bytes += taken;
        size -= taken;
    }
    return 0;
}

int chunks_drop(struct store *store, int64_t key, struct error *error)
{
    static const char DROP[] = "DELETE FROM chunk WHERE key BETWEEN ?1 AND ?2";
    struct statement s = statement_start(store, DROP);

    statement_integer(&s, 1, key * CHUNKS_A_BATCH);
    statement_integer(&s, 2, key * CHUNKS_A_BATCH + CHUNKS_A_BATCH - 1);
    return statement_run(&s, error);
}

int chunks_walk(struct store *store, const unsigned char *id, uint64_t offset, uint64_t size,
                int (*take)(const void *bytes, size_t size, void *context, struct error *error),
                void *context, struct error *error)
{
    static const char READ[] =
        "SELECT b.here, c.key - b.key * 1024, c.bytes FROM batch b LEFT JOIN chunk c"
        " ON c.key BETWEEN b.key * 1024 + ?2 AND b.key * 1024 + ?3"
        " WHERE b.id = ?1 ORDER BY c.key";
    uint64_t at = offset, end = offset + size, here;
    struct statement s = statement_start(store, READ);
    char text[BATCH_ID_TEXT_BYTES];
    int result;

    hex_encode(id, BATCH_ID_BYTES, text);
    if (size == 0)
        size = 1, end = offset;
    statement_blob(&s, 1, id, BATCH_ID_BYTES);
    statement_integer(&s, 2, (int64_t)(offset / BATCH_CHUNK_BYTES));
    statement_integer(&s, 3, (int64_t)((offset + size - 1) / BATCH_CHUNK_BYTES));
    result = statement_step(&s, error);
    if (result < 0)
        return -1;
    if (result == 0)
        return error_set(error, ERROR_FAILED, "batch %s: is not in this store", text);
    here = (uint64_t)sqlite3_column_int64(s.handle, 0);
    if (end > here)
        end = here;
    while (at < end) {
        size_t skip = (size_t)(at % BATCH_CHUNK_BYTES), have, most = (size_t)(end - at);

        if (result == 0 || sqlite3_column_type(s.handle, 2) == SQLITE_NULL ||
            (uint64_t)sqlite3_column_int64(s.handle, 1) != at / BATCH_CHUNK_BYTES)
            goto gone;
        have = (size_t)sqlite3_column_bytes(s.handle, 2);
        if (have <= skip)
            goto gone;
        if (most > have - skip)
            most = have - skip;
        if (take((const unsigned char *)sqlite3_column_blob(s.handle, 2) + skip, most, context,
                 error) != 0) {
            statement_end(&s);
            return -1;
        }
        at += most;
        if (at < end && (result = statement_step(&s, error)) < 0)
            return -1;
    }
    statement_end(&s);
    return 0;

gone:
    statement_end(&s);
    return error_set(error, ERROR_CORRUPT,
                     "store %s: bytes of batch %s are missing; run a check of the store",
                     store->directory, text);
}

/* ---- accounts: bytes of each source ---------------------------------------------------------------- */

int chunks_settle(struct store *store, struct error *error)
{
    static const char ADD[] = "INSERT INTO usage (source, bytes) VALUES (?1, ?2)"
                              " ON CONFLICT (source) DO UPDATE SET bytes = bytes + excluded.bytes";
    struct statement s;

    if (store->usage_bytes == 0)
        return 0;
    s = statement_start(store, ADD);
    statement_text(&s, 1, store->usage_source);
    statement_integer(&s, 2, store->usage_bytes);
    if (statement_run(&s, error) != 0)
        return -1;
    store->usage_bytes = 0;
    return 0;
}

int chunks_account(struct store *store, const char *source, int64_t bytes, struct error *error)
{
    if (bytes == 0)
        return 0;
    if (strcmp(store->usage_source, source) != 0) {
        if (chunks_settle(store, error) != 0)
            return -1;
        (void)snprintf(store->usage_source, sizeof store->usage_source, "%s", source);
    }
    store->usage_bytes += bytes;
    return 0;
}

int chunks_stored(struct store *store, const char *source, uint64_t *bytes, struct error *error)
{
    static const char ONE[] = "SELECT bytes FROM usage WHERE source = ?1";
    static const char ALL[] = "SELECT total(bytes) FROM usage"; /* one row a source: few */
    struct statement s = statement_start(store, source == NULL ? ALL : ONE);
    int64_t sum;
    int result;

    if (source != NULL)
        statement_text(&s, 1, source);
    result = statement_step(&s, error);
    if (result < 0)
        return -1;
    sum = result == 1 ? sqlite3_column_int64(s.handle, 0) : 0;
    statement_end(&s);
    if (source == NULL || strcmp(source, store->usage_source) == 0)
        sum += store->usage_bytes;
    *bytes = sum < 0 ? 0 : (uint64_t)sum;
    return 0;
}
