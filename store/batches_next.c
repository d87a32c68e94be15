/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/rows.h"

static int step_row(struct statement *s, struct batch *out, struct error *error)
{
    struct row row;
    int result = statement_step(s, error);

    if (result == 1) {
        rows_read(s, &row);
        *out = row.batch;
        statement_end(s);
    }
    return result;
}

int batches_next(struct store *store, const struct batch_filter *filter, int64_t after,
                 struct batch *out, struct error *error)
{
    /* The indexes are named, so that a query that cannot use one fails in the tests. */
    static const char HELD_TO[] =
        "SELECT " ROWS_COLUMNS " FROM batch INDEXED BY batch_held_to WHERE state = 1"
        " AND destination = ?3 AND position > ?1 AND (?2 IS NULL OR source = ?2)"
        " ORDER BY position LIMIT 1";
    static const char HELD_FROM[] =
        "SELECT " ROWS_COLUMNS " FROM batch INDEXED BY batch_held_from WHERE state = 1"
        " AND source = ?2 AND position > ?1 ORDER BY position LIMIT 1";
    static const char ASIDE[] =
        "SELECT " ROWS_COLUMNS
        " FROM batch INDEXED BY batch_aside WHERE state = 2 AND position > ?1"
        " AND (?2 IS NULL OR source = ?2) AND (?3 IS NULL OR destination = ?3)"
        " ORDER BY position LIMIT 1";
    static const char ANY[] =
        "SELECT " ROWS_COLUMNS " FROM batch WHERE position > ?1 AND state = ?4"
        " AND (?2 IS NULL OR source = ?2) AND (?3 IS NULL OR destination = ?3)"
        " ORDER BY position LIMIT 1";
    const char *sql = ANY;
    struct statement s;

    if (filter->state == BATCH_HELD && rows_given(filter->to) != NULL)
        sql = HELD_TO;
    else if (filter->state == BATCH_HELD && rows_given(filter->from) != NULL)
        sql = HELD_FROM;
    else if (filter->state == BATCH_ASIDE)
        sql = ASIDE;
    s = statement_start(store, sql);
    statement_integer(&s, 1, after);
    statement_text(&s, 2, rows_given(filter->from));
    if (sql != HELD_FROM)
        statement_text(&s, 3, rows_given(filter->to));
    if (sql == ANY)
        statement_integer(&s, 4, filter->state);
    return step_row(&s, out, error);
}

int batches_next_partial(struct store *store, const char *from, struct batch *out,
                         struct error *error)
{
    /* Rare: no index is worth it. */
    static const char PARTIAL[] =
        "SELECT " ROWS_COLUMNS " FROM batch WHERE state = 0 AND source = ?1 LIMIT 1";
    struct statement s = statement_start(store, PARTIAL);

    statement_text(&s, 1, from);
    return step_row(&s, out, error);
}

int batches_next_in_stream(struct store *store, const char *to, const struct label *after,
                           struct batch *out, struct error *error)
{
    /* Unnumbered batches of one source and epoch have one seq: their key tells them apart. */
    static const char NEXT[] =
        "SELECT " ROWS_COLUMNS " FROM batch INDEXED BY batch_held_stream WHERE state = 1"
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

int batches_next_aside(struct store *store, int64_t after, struct batch *out,
                       char reason[ERROR_TEXT_BYTES], struct error *error)
{
    static const char NEXT[] = "SELECT " ROWS_COLUMNS ", reason FROM batch INDEXED BY batch_aside"
                               " WHERE state = 2 AND position > ?1 ORDER BY position LIMIT 1";
    struct statement s = statement_start(store, NEXT);
    struct row row;
    int result;

    statement_integer(&s, 1, after);
    result = statement_step(&s, error);
    if (result == 1) {
        rows_read(&s, &row);
        *out = row.batch;
        statement_get_text(&s, 11, reason, ERROR_TEXT_BYTES);
        statement_end(&s);
    }
    return result;
}
