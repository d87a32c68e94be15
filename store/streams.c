/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/streams.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "store/holdings.h"
#include "store/statement.h"

/* ---- counters ------------------------------------------------------------------------------------- */

/* Step an INSERT ... RETURNING number to its end. */
static int returned(struct statement *s, uint64_t *number, struct error *error)
{
    int result;

    if (statement_need_transaction(s->store, error) != 0) {
        statement_end(s);
        return -1;
    }
    result = statement_step(s, error);
    if (result != 1)
        return -1;
    *number = (uint64_t)sqlite3_column_int64(s->handle, 0);
    return statement_step(s, error) == 0 ? 0 : -1;
}

int streams_next_seq(struct store *store, const char *from, const char *to, uint64_t *seq,
                     struct error *error)
{
    static const char NEXT[] =
        "INSERT INTO own_stream (source, destination, seq) VALUES (?1, ?2, 1)"
        " ON CONFLICT (source, destination) DO UPDATE SET seq = seq + 1 RETURNING seq";
    struct statement s = statement_start(store, NEXT);

    statement_text(&s, 1, from);
    statement_text(&s, 2, to);
    return returned(&s, seq, error);
}

int streams_next_receipt(struct store *store, const char *to, uint64_t *number, struct error *error)
{
    static const char NEXT[] =
        "INSERT INTO own_receipt (destination, number) VALUES (?1, 1)"
        " ON CONFLICT (destination) DO UPDATE SET number = number + 1 RETURNING number";
    struct statement s = statement_start(store, NEXT);

    statement_text(&s, 1, to);
    return returned(&s, number, error);
}

int streams_later_receipt(struct store *store, const char *from, const char *epoch, uint64_t number,
                          struct error *error)
{
    static const char SEE[] = "INSERT INTO receipt_seen (source, epoch, number) VALUES (?1, ?2, ?3)"
                              " ON CONFLICT (source, epoch) DO UPDATE SET number = excluded.number"
                              " WHERE excluded.number > number";
    struct statement s = statement_start(store, SEE);

    if (number > INT64_MAX) {
        statement_end(&s);
        return error_set(error, ERROR_FAILED, "receipt of %s: its number is too large", from);
    }
    statement_text(&s, 1, from);
    statement_text(&s, 2, epoch);
    statement_integer(&s, 3, (int64_t)number);
    if (statement_run(&s, error) != 0)
        return -1;
    return sqlite3_changes(store->db) == 1 ? 1 : 0;
}

int streams_raise_receipt(struct store *store, const char *to, uint64_t number, struct error *error)
{
    static const char RAISE[] =
        "INSERT INTO own_receipt (destination, number) VALUES (?1, ?2) ON CONFLICT (destination)"
        " DO UPDATE SET number = excluded.number WHERE excluded.number > number";
    struct statement s = statement_start(store, RAISE);

    statement_text(&s, 1, to);
    statement_integer(&s, 2, (int64_t)number);
    if (statement_run(&s, error) != 0)
        return -1;
    return sqlite3_changes(store->db) == 1 ? 1 : 0;
}

int streams_set_due(struct store *store, const char *from, bool due, struct error *error)
{
    static const char SET[] =
        "INSERT INTO receipt_due (source) VALUES (?1) ON CONFLICT (source) DO NOTHING";
    static const char CLEAR[] = "DELETE FROM receipt_due WHERE source = ?1";
    struct statement s = statement_start(store, due ? SET : CLEAR);

    statement_text(&s, 1, from);
    return statement_run(&s, error);
}

int streams_next_due(struct store *store, const char *after, char from[STORE_NAME_BYTES],
                     struct error *error)
{
    static const char NEXT[] =
        "SELECT source FROM receipt_due WHERE source > ?1 ORDER BY source LIMIT 1";
    struct statement s = statement_start(store, NEXT);
    char name[STORE_NAME_BYTES];
    int result;

    statement_text(&s, 1, after == NULL ? "" : after);
    result = statement_step(&s, error);
    if (result == 1) {
        /* FROM and AFTER may be one array. */
        statement_get_text(&s, 0, name, sizeof name);
        statement_end(&s);
        memcpy(from, name, sizeof name);
    }
    return result;
}

int streams_is_due(struct store *store, const char *from, struct error *error)
{
    static const char DUE[] = "SELECT EXISTS (SELECT 1 FROM receipt_due WHERE source = ?1)"
                              " OR NOT EXISTS (SELECT 1 FROM own_receipt WHERE destination = ?1)";
    struct statement s = statement_start(store, DUE);
    int result;

    statement_text(&s, 1, from);
    result = statement_step(&s, error);
    if (result == 1) {
        result = sqlite3_column_int(s.handle, 0);
        statement_end(&s);
    }
    return result;
}

/* ---- runs ----------------------------------------------------------------------------------------- */

static int hash_failed(struct error *error)
{
    return error_set(error, ERROR_FAILED, "SHA-256: OpenSSL cannot hash");
}

static int finish_digest(EVP_MD_CTX *hash, unsigned char digest[32], struct error *error)
{
    unsigned length = 32;

    return EVP_DigestFinal_ex(hash, digest, &length) == 1 ? 0 : hash_failed(error);
}

static int digest_of_one(EVP_MD_CTX *hash, const unsigned char *id, unsigned char digest[32],
                         struct error *error)
{
    if (EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(hash, id, BATCH_ID_BYTES) != 1)
        return hash_failed(error);
    return finish_digest(hash, digest, error);
}

/* Where a walk over applied batches stands: behind (seq, key). */
struct place {
    uint64_t seq;
    int64_t key;
};

/* One run, from the first applied batch behind PLACE, which moves to its last: 1, 0 no more, -1.
 *
 * A number that several applied batches have (a source put back from an old copy gives numbers twice)
 * would make the digest of a longer run one that the source cannot have: each of those batches is a run
 * of its own. */
static int next_run(struct store *store, const char *from, const char *epoch, const char *to,
                    struct place *place, EVP_MD_CTX *hash, struct stream_run *run,
                    struct error *error)
{
    static const char WALK[] =
        "SELECT seq, key, id FROM batch INDEXED BY batch_stream WHERE seq > 0 AND state = 3"
        " AND source = ?1 AND epoch = ?2 AND destination = ?3 AND seq >= ?4"
        " AND (seq > ?4 OR key > ?5) ORDER BY seq, key";
    struct statement s = statement_start(store, WALK);
    unsigned char id[BATCH_ID_BYTES], next_id[BATCH_ID_BYTES];
    bool first = true, twice = false;
    struct place at, next = {0, 0};
    int result;

    statement_text(&s, 1, from);
    statement_text(&s, 2, epoch);
    statement_text(&s, 3, to);
    statement_integer(&s, 4, (int64_t)place->seq);
    statement_integer(&s, 5, place->key);
    result = statement_step(&s, error);
    if (result != 1)
        return result;
    at.seq = (uint64_t)sqlite3_column_int64(s.handle, 0);
    at.key = sqlite3_column_int64(s.handle, 1);
    statement_get_blob(&s, 2, id, BATCH_ID_BYTES);
    twice = at.seq == place->seq;
    run->first = at.seq;
    if (EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1) {
        statement_end(&s);
        return hash_failed(error);
    }
    for (;;) {
        /* Look one ahead: AT belongs to the run only if the next has another number, or if AT is the
         * run's first. */
        result = statement_step(&s, error);
        if (result < 0)
            return -1;
        if (result == 1) {
            next.seq = (uint64_t)sqlite3_column_int64(s.handle, 0);
            next.key = sqlite3_column_int64(s.handle, 1);
            statement_get_blob(&s, 2, next_id, BATCH_ID_BYTES);
            twice = twice || next.seq == at.seq;
        }
        if (twice && !first)
            break;
        if (EVP_DigestUpdate(hash, id, BATCH_ID_BYTES) != 1) {
            statement_end(&s);
            return hash_failed(error);
        }
        first = false;
        *place = at;
        if (result == 0 || twice || next.seq != at.seq + 1)
            break;
        at = next;
        memcpy(id, next_id, BATCH_ID_BYTES);
    }
    statement_end(&s);
    run->last = place->seq;
    return finish_digest(hash, run->digest, error) == 0 ? 1 : -1;
}

int streams_applied_runs(struct store *store, const char *from, const char *epoch, const char *to,
                         unsigned most, int (*show)(const struct stream_run *run, void *context),
                         void *context, struct error *error)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    struct place place = {0, 0};
    struct stream_run run;
    int result = 0;

    if (hash == NULL)
        return hash_failed(error);
    for (; most > 0; most--) {
        result = next_run(store, from, epoch, to, &place, hash, &run, error);
        if (result != 1)
            break;
        result = show(&run, context);
        if (result != 0)
            break;
    }
    EVP_MD_CTX_free(hash);
    return result;
}

/* Compare RUN with our batches of the stream: 1 it fits, 0 not, -1.  *FREE_FROM: the lowest seq of it
 * that is not applied yet here; beyond the run when all are. */
static int compare_run(struct store *store, const char *from, const char *epoch, const char *to,
                       const struct stream_run *run, EVP_MD_CTX *hash, uint64_t *free_from,
                       struct error *error)
{
    static const char WALK[] =
        "SELECT seq, state, id FROM batch INDEXED BY batch_stream WHERE seq > 0 AND state > 0"
        " AND source = ?1 AND epoch = ?2 AND destination = ?3 AND seq BETWEEN ?4 AND ?5"
        " ORDER BY seq, key";
    struct statement s = statement_start(store, WALK);
    unsigned char id[BATCH_ID_BYTES], digest[32];
    uint64_t expected = run->first, seq;
    int result;

    *free_from = run->last + 1;
    statement_text(&s, 1, from);
    statement_text(&s, 2, epoch);
    statement_text(&s, 3, to);
    statement_integer(&s, 4, (int64_t)run->first);
    statement_integer(&s, 5, (int64_t)run->last);
    if (EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1) {
        statement_end(&s);
        return hash_failed(error);
    }
    while ((result = statement_step(&s, error)) == 1) {
        seq = (uint64_t)sqlite3_column_int64(s.handle, 0);
        if (seq != expected)
            break;
        expected++;
        if (sqlite3_column_int(s.handle, 1) != BATCH_APPLIED && seq < *free_from)
            *free_from = seq;
        statement_get_blob(&s, 2, id, BATCH_ID_BYTES);
        if (EVP_DigestUpdate(hash, id, BATCH_ID_BYTES) != 1) {
            statement_end(&s);
            return hash_failed(error);
        }
    }
    statement_end(&s);
    if (result < 0)
        return -1;
    if (result == 1 || expected != run->last + 1)
        return 0;
    if (finish_digest(hash, digest, error) != 0)
        return -1;
    return memcmp(digest, run->digest, sizeof digest) == 0;
}

/* Free the batches of RUN, which fits, from seq AT on that are not applied yet. */
static int free_run(struct store *store, const char *from, const char *epoch, const char *to,
                    const struct stream_run *run, uint64_t at, uint64_t *freed, struct error *error)
{
    static const char NEXT[] =
        "SELECT id, seq FROM batch INDEXED BY batch_stream WHERE seq > 0 AND state IN (1, 2)"
        " AND source = ?1 AND epoch = ?2 AND destination = ?3 AND seq BETWEEN ?4 AND ?5"
        " ORDER BY seq LIMIT 1";
    struct label label = {0};
    struct statement s;
    int result;

    for (;;) {
        s = statement_start(store, NEXT);
        statement_text(&s, 1, from);
        statement_text(&s, 2, epoch);
        statement_text(&s, 3, to);
        statement_integer(&s, 4, (int64_t)at);
        statement_integer(&s, 5, (int64_t)run->last);
        result = statement_step(&s, error);
        if (result != 1)
            return result;
        statement_get_blob(&s, 0, label.id, BATCH_ID_BYTES);
        at = (uint64_t)sqlite3_column_int64(s.handle, 1);
        statement_end(&s);
        if (batches_apply(store, &label, false, error) != 0)
            return -1;
        ++*freed;
    }
}

/* RUN is a single batch: of those that we have of its number, free the one whose id it tells.  1 it
 * fits, 0 not, -1. */
static int free_one(struct store *store, const char *from, const char *epoch, const char *to,
                    const struct stream_run *run, EVP_MD_CTX *hash, uint64_t *freed,
                    struct error *error)
{
    static const char WALK[] =
        "SELECT id, state FROM batch INDEXED BY batch_stream WHERE seq > 0 AND state > 0"
        " AND source = ?1 AND epoch = ?2 AND destination = ?3 AND seq = ?4";
    struct statement s = statement_start(store, WALK);
    unsigned char digest[32];
    struct label label = {0};
    int result, state = BATCH_APPLIED;

    statement_text(&s, 1, from);
    statement_text(&s, 2, epoch);
    statement_text(&s, 3, to);
    statement_integer(&s, 4, (int64_t)run->first);
    while ((result = statement_step(&s, error)) == 1) {
        statement_get_blob(&s, 0, label.id, BATCH_ID_BYTES);
        state = sqlite3_column_int(s.handle, 1);
        if (digest_of_one(hash, label.id, digest, error) != 0)
            result = -1;
        if (result < 0 || memcmp(digest, run->digest, sizeof digest) == 0)
            break;
    }
    statement_end(&s);
    if (result != 1 || state == BATCH_APPLIED)
        return result;
    if (batches_apply(store, &label, false, error) != 0)
        return -1;
    ++*freed;
    return 1;
}

int streams_receipted(struct store *store, const char *from, const char *epoch, const char *to,
                      const struct stream_run *run, uint64_t *freed, struct error *error)
{
    uint64_t free_from = run->first;
    EVP_MD_CTX *hash;
    int result;
    bool own;

    *freed = 0;
    if (run->first == 0 || run->last < run->first || run->last >= INT64_MAX)
        return error_set(error, ERROR_FAILED, "receipt from %s: the numbers of a run are wrong",
                         to);
    if (statement_need_transaction(store, error) != 0)
        return -1;
    hash = EVP_MD_CTX_new();
    if (hash == NULL)
        return hash_failed(error);
    if (run->first == run->last) {
        result = free_one(store, from, epoch, to, run, hash, freed, error);
    } else {
        result = compare_run(store, from, epoch, to, run, hash, &free_from, error);
        if (result == 1 && free_run(store, from, epoch, to, run, free_from, freed, error) != 0)
            result = -1;
    }
    EVP_MD_CTX_free(hash);
    /* Of an epoch that is not ours there is another store of our name, whose batches we do not know. */
    own = strcmp(epoch, store_epoch(store)) == 0;
    if (result == 1 && own && holdings_receipted(store, to, run->first, run->last, error) != 0)
        return -1;
    if (result == 0 && own)
        log_warning("receipt from %s: batches %llu to %llu are not those sent; none is freed", to,
                    (unsigned long long)run->first, (unsigned long long)run->last);
    return result < 0 ? -1 : 0;
}
