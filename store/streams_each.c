/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/streams.h"

#include <string.h>

#include "store/statement.h"

/* The wall clock's text of the earliest of some rows: keys grow with time, and the clock may have been wrong. */
static void note_earliest(const struct statement *s, int64_t *earliest, char text[32])
{
    int64_t key = sqlite3_column_int64(s->handle, 2);

    if (key < *earliest) {
        *earliest = key;
        statement_get_text(s, 3, text, 32);
    }
}

/* Fill in what STREAM's rows say, in one walk of its index. */
static int measure(struct store *store, struct stream *stream, struct error *error)
{
    static const char WALK[] =
        "SELECT seq, state, key, strftime('%Y-%m-%dT%H:%M:%SZ', came, 'unixepoch')"
        " FROM batch INDEXED BY batch_stream"
        " WHERE seq > 0 AND source = ?1 AND epoch = ?2 AND destination = ?3 ORDER BY seq";
    struct statement s = statement_start(store, WALK);
    int64_t waiting = INT64_MAX, behind = INT64_MAX;
    uint64_t whole = 0; /* the last number of which a batch is whole */
    int result;

    statement_text(&s, 1, stream->from);
    statement_text(&s, 2, stream->epoch);
    statement_text(&s, 3, stream->to);
    while ((result = statement_step(&s, error)) == 1) {
        uint64_t seq = (uint64_t)sqlite3_column_int64(s.handle, 0);
        int state = sqlite3_column_int(s.handle, 1);

        stream->highest = seq;
        if (state == BATCH_PARTIAL)
            continue;
        if (seq > whole + 1)
            stream->missing += seq - whole - 1;
        whole = seq;
        if (stream->missing > 0)
            note_earliest(&s, &behind, stream->missing_since);
        if (state == BATCH_APPLIED) {
            stream->applied++;
            if (seq == stream->contiguous + 1)
                stream->contiguous = seq;
        } else {
            stream->waiting++;
            note_earliest(&s, &waiting, stream->oldest_waiting);
        }
    }
    return result;
}

int streams_each(struct store *store, int (*show)(const struct stream *stream, void *context),
                 void *context, struct error *error)
{
    /* The next stream by one search of the index: no statement is open while SHOW runs. */
    static const char NEXT[] =
        "SELECT source, epoch, destination FROM batch INDEXED BY batch_stream WHERE seq > 0"
        " AND (source, epoch, destination) > (?1, ?2, ?3)"
        " ORDER BY source, epoch, destination LIMIT 1";
    struct stream stream = {0}, next;
    struct statement s;
    int result;

    for (;;) {
        s = statement_start(store, NEXT);
        statement_text(&s, 1, stream.from);
        statement_text(&s, 2, stream.epoch);
        statement_text(&s, 3, stream.to);
        result = statement_step(&s, error);
        if (result != 1)
            return result;
        memset(&next, 0, sizeof next);
        statement_get_text(&s, 0, next.from, sizeof next.from);
        statement_get_text(&s, 1, next.epoch, sizeof next.epoch);
        statement_get_text(&s, 2, next.to, sizeof next.to);
        statement_end(&s);
        stream = next;
        if (measure(store, &stream, error) != 0)
            return -1;
        result = show(&stream, context);
        if (result != 0)
            return result;
    }
}

int streams_each_seen(struct store *store, const char *from, unsigned most,
                      int (*show)(const char *epoch, uint64_t number, void *context), void *context,
                      struct error *error)
{
    static const char EACH[] =
        "SELECT epoch, number FROM receipt_seen WHERE source = ?1 ORDER BY epoch LIMIT ?2";
    struct statement s = statement_start(store, EACH);
    char epoch[STORE_EPOCH_BYTES];
    int result;

    statement_text(&s, 1, from);
    statement_integer(&s, 2, most);
    while ((result = statement_step(&s, error)) == 1) {
        statement_get_text(&s, 0, epoch, sizeof epoch);
        result = show(epoch, (uint64_t)sqlite3_column_int64(s.handle, 1), context);
        if (result != 0)
            break;
    }
    statement_end(&s);
    return result;
}
