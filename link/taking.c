/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/taking.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "link/message.h"
#include "store/peers.h"
#include "store/streams.h"

#define COMMIT_BYTES (1u << 20)
#define COMMIT_MS 200

struct item {
    struct offer offer;
    enum verdict verdict; /* WANTED until what became of it is durable */
    uint64_t next;        /* bytes that came, those before this session included */
    bool wanted;          /* WANT asked for it, so that DATA may come */
    bool hashing;         /* some has come in this session */
    bool right, wrong;    /* all is here, and has the hash or not */
    bool row;             /* the store holds a partial batch of it */
    bool applied;         /* with HAVE */
    bool told;            /* STORED has named it */
};

struct piece {
    size_t item, start, size; /* START in the arena */
    uint64_t offset;
};

struct taking {
    struct taking_options options;
    struct cursor cursor;     /* as it is in the store */
    int64_t blocked_position; /* the cursor stays before it; 0: nowhere */
    uint32_t next_n;
    int64_t last_position; /* of this round */
    bool in_round, last_page, full_told;

    size_t count, current, walked; /* walked: the items before it are final and in the store */
    struct item items[MESSAGE_PAGE_LABELS];

    size_t pieces_count, used;
    struct piece pieces[MESSAGE_PAGE_LABELS];
    unsigned char *arena; /* COMMIT_BYTES and one DATA frame */
    int64_t since_ms;     /* when a tick first saw something pending; 0: not yet */
    EVP_MD_CTX *hash;     /* of the current item */
};

struct taking *taking_new(const struct taking_options *options, struct error *error)
{
    struct taking *taking = calloc(1, sizeof *taking);

    if (taking == NULL)
        goto fail;
    taking->options = *options;
    taking->next_n = 1;
    taking->arena = malloc(COMMIT_BYTES + MESSAGE_DATA_BYTES);
    taking->hash = EVP_MD_CTX_new();
    if (taking->arena == NULL || taking->hash == NULL)
        goto fail;
    if (peers_cursor(options->store, options->uuid, &taking->cursor, error) != 0) {
        taking_free(taking);
        return NULL;
    }
    return taking;
fail:
    error_set(error, ERROR_FAILED, "exchange: no memory");
    taking_free(taking);
    return NULL;
}

void taking_free(struct taking *taking)
{
    if (taking == NULL)
        return;
    EVP_MD_CTX_free(taking->hash);
    free(taking->arena);
    free(taking);
}

static int corrupt(struct error *error, const char *what)
{
    return error_set(error, ERROR_CORRUPT, "peer: %s", what);
}

void taking_expect(struct taking *taking)
{
    taking->in_round = true;
    taking->last_page = false;
    taking->last_position = 0;
}

bool taking_moved(const struct taking *taking)
{
    return taking->count > 0;
}

static bool final(const struct item *item)
{
    return item->verdict != VERDICT_WANTED;
}

bool taking_settled(const struct taking *taking)
{
    return !taking->in_round;
}

/* ---- writing ---- */

/* One piece, in a transaction. */
static int write_piece(struct taking *taking, const struct piece *piece, struct error *error)
{
    struct store *store = taking->options.store;
    struct item *item = &taking->items[piece->item];
    const struct label *label = &item->offer.label;
    const unsigned char *bytes = taking->arena + piece->start;
    struct batch batch;
    int found;

    if (item->wrong)
        return 0;
    if (item->right && piece->offset == 0 && piece->size == label->size)
        return batches_add(store, label, bytes, piece->size, error);
    /* Another program may have brought the same batch in the meantime. */
    found = batches_find(store, label->id, &batch, error);
    if (found < 0)
        return -1;
    if (found == 1 && batch.state != BATCH_PARTIAL) {
        taking->options.counts->again_bytes += piece->size;
        return 0;
    }
    if ((found == 1 ? batch.offset : 0) != piece->offset)
        return error_set(error, ERROR_TEMPORARY,
                         "exchange: another program took the same batch in this moment; the next "
                         "session goes on");
    if (batches_append(store, label, piece->offset, bytes, piece->size, error) != 0)
        return -1;
    if (item->right && piece->offset + piece->size == label->size)
        return batches_complete(store, label->id, error);
    return 0;
}

/* What a final item means beyond its bytes; in a transaction.  CURSOR and BLOCKED go on with it. */
static int walk_item(struct taking *taking, const struct item *item, struct cursor *cursor,
                     int64_t *blocked, struct error *error)
{
    const struct label *label = &item->offer.label;
    struct store *store = taking->options.store;
    const char *own_mail = taking->options.own_mail;

    if (item->wrong || item->verdict == VERDICT_FULL) {
        if (*blocked == 0)
            *blocked = item->offer.position;
        return item->wrong && item->row ? batches_discard(store, label->id, error) : 0;
    }
    if (own_mail != NULL && strcmp(own_mail, label->to) == 0) {
        if (peers_carries(store, taking->options.uuid, label->id, error) != 0)
            return -1;
        /* Its source offers what is applied here: it has no receipt. */
        if (item->applied && label->seq > 0 &&
            streams_set_due(store, label->from, true, error) != 0)
            return -1;
    }
    if (*blocked == 0) {
        cursor->position = item->offer.position;
        memcpy(cursor->id, label->id, BATCH_ID_BYTES);
    }
    return 0;
}

static bool walkable(const struct item *item)
{
    return final(item) || item->right || item->wrong;
}

/* Pieces FIRST up to END and what is final with them, in one transaction. */
static int write_group(struct taking *taking, size_t first, size_t end, struct error *error)
{
    struct store *store = taking->options.store;
    struct cursor cursor = taking->cursor;
    int64_t blocked = taking->blocked_position;
    /* An item of a later piece is not written by this group. */
    size_t i, limit = end < taking->pieces_count ? taking->pieces[end].item : taking->count;

    if (store_begin(store, error) != 0)
        return -1;
    for (i = first; i < end; i++)
        if (write_piece(taking, &taking->pieces[i], error) != 0)
            goto fail;
    for (i = taking->walked; i < limit && walkable(&taking->items[i]); i++)
        if (walk_item(taking, &taking->items[i], &cursor, &blocked, error) != 0)
            goto fail;
    if (cursor.position != taking->cursor.position ||
        memcmp(cursor.id, taking->cursor.id, BATCH_ID_BYTES) != 0)
        if (peers_set_cursor(store, taking->options.uuid, &cursor, error) != 0)
            goto fail;
    if (store_commit(store, error) != 0)
        return -1;
    for (size_t k = first; k < end; k++)
        if (!taking->items[taking->pieces[k].item].wrong)
            taking->items[taking->pieces[k].item].row = true;
    for (; taking->walked < i; taking->walked++) {
        struct item *item = &taking->items[taking->walked];

        if (item->verdict == VERDICT_WANTED)
            item->verdict = item->wrong ? VERDICT_WRONG : VERDICT_STORED;
    }
    taking->cursor = cursor;
    taking->blocked_position = blocked;
    return 0;
fail:
    store_rollback(store);
    return -1;
}

/* The disk is full: keep what still finds room, piece by piece; from the first that does not, all
 * that is pending is `full`, to be offered again. */
static int write_what_fits(struct taking *taking, const char *cause, struct error *error)
{
    size_t i = 0;

    if (!taking->full_told)
        log_warning("%s: what it brings finds no room: %s", taking->options.peer, cause);
    taking->full_told = true;
    while (i < taking->pieces_count && write_group(taking, i, i + 1, error) == 0)
        i++;
    if (i < taking->pieces_count && error->kind != ERROR_FULL)
        return -1;
    for (; i < taking->pieces_count; i++) {
        struct item *item = &taking->items[taking->pieces[i].item];

        if (!item->wrong && item->verdict == VERDICT_WANTED)
            item->verdict = VERDICT_FULL;
    }
    taking->pieces_count = 0;
    /* The rest, without bytes; when even that finds no room the cursor just stays behind. */
    if (write_group(taking, 0, 0, error) != 0 && error->kind != ERROR_FULL)
        return -1;
    return 0;
}

/* STORED for each wanted item that has become final and was not named before. */
static int tell(struct taking *taking, struct buffer *out, struct error *error)
{
    struct answer answers[MESSAGE_PAGE_LABELS];
    bool some = false;
    char text[BATCH_ID_TEXT_BYTES];

    memset(answers, 0, sizeof answers);
    for (size_t i = 0; i < taking->count; i++) {
        struct item *item = &taking->items[i];

        if (!item->wanted || item->told || !final(item))
            continue;
        answers[i].verdict = item->verdict;
        item->told = true;
        some = true;
        if (item->verdict == VERDICT_STORED) {
            taking->options.counts->taken_batches++;
        } else if (item->verdict == VERDICT_WRONG) {
            hex_encode(item->offer.label.id, BATCH_ID_BYTES, text);
            log_warning(
                "batch %.16s: came from %s with other bytes than its id says; discarded, the "
                "next session asks for it again",
                text, taking->options.peer);
        }
    }
    if (!some)
        return 0;
    return message_stored(out, taking->items[0].offer.n, answers, taking->count, error);
}

static void end_round_if_done(struct taking *taking)
{
    if (!taking->last_page || taking->pieces_count > 0)
        return;
    for (size_t i = 0; i < taking->count; i++)
        if (!final(&taking->items[i]))
            return;
    taking->in_round = false;
}

int taking_commit(struct taking *taking, struct buffer *out, struct error *error)
{
    struct error fault;
    int result = 0;

    if (taking->pieces_count > 0 ||
        (taking->walked < taking->count && walkable(&taking->items[taking->walked]))) {
        result = write_group(taking, 0, taking->pieces_count, &fault);
        if (result != 0 && fault.kind == ERROR_FULL) {
            char cause[ERROR_TEXT_BYTES];

            memcpy(cause, fault.text, sizeof cause);
            result = write_what_fits(taking, cause, &fault);
        }
    }
    taking->pieces_count = 0;
    taking->used = 0;
    taking->since_ms = 0;
    if (result != 0) {
        taking->count = 0; /* what was not written must not count as stored */
        if (error != NULL)
            *error = fault;
        return -1;
    }
    if (tell(taking, out, error) != 0)
        return -1;
    end_round_if_done(taking);
    return 0;
}

int taking_tick(struct taking *taking, int64_t now_ms, struct buffer *out, struct error *error)
{
    if (taking->pieces_count == 0)
        return 0;
    if (taking->since_ms == 0)
        taking->since_ms = now_ms;
    if (now_ms - taking->since_ms < COMMIT_MS)
        return 0;
    return taking_commit(taking, out, error);
}

/* ---- offers ---- */

static bool same_label(const struct label *a, const struct label *b)
{
    return strcmp(a->from, b->from) == 0 && strcmp(a->to, b->to) == 0 &&
           strcmp(a->epoch, b->epoch) == 0 && a->seq == b->seq && a->size == b->size;
}

static int discard(struct store *store, const unsigned char *id, struct error *error)
{
    if (store_begin(store, error) != 0)
        return -1;
    if (batches_discard(store, id, error) != 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, error);
}

/* What the store says of an offered batch; room is asked for later. */
static int look_up(struct taking *taking, struct item *item, struct error *error)
{
    struct batch batch;
    int found = batches_find(taking->options.store, item->offer.label.id, &batch, error);

    if (found < 0)
        return -1;
    if (found == 1 && batch.state != BATCH_PARTIAL) {
        item->verdict = VERDICT_HAVE;
        item->applied = batch.state == BATCH_APPLIED;
        return 0;
    }
    item->verdict = VERDICT_WANTED;
    item->wanted = true;
    if (found == 0)
        return 0;
    /* A label is only advice: one that contradicts an earlier one begins anew. */
    if (!same_label(&batch.label, &item->offer.label) || batch.offset >= batch.label.size)
        return discard(taking->options.store, item->offer.label.id, error);
    item->next = batch.offset;
    item->row = true;
    return 0;
}

static int check_offer(struct taking *taking, size_t i, struct error *error)
{
    const struct item *item = &taking->items[i];
    const struct label *label = &item->offer.label;

    if (item->offer.n != taking->next_n)
        return corrupt(error, "numbers its offers out of order");
    if (item->offer.position <= taking->last_position)
        return corrupt(error, "offers positions out of order");
    if (taking->options.from != NULL && strcmp(label->from, taking->options.from) != 0)
        return error_set(error, ERROR_REFUSED, "peer: offers a batch of %s, which is not its own",
                         label->from);
    if (taking->options.to != NULL && strcmp(label->to, taking->options.to) != 0)
        return error_set(error, ERROR_REFUSED,
                         "peer: offers a batch to %s, which is not to come this way", label->to);
    for (size_t k = 0; k < i; k++)
        if (memcmp(taking->items[k].offer.label.id, label->id, BATCH_ID_BYTES) == 0)
            return corrupt(error, "offers a batch twice in a page");
    return 0;
}

/* Whether MORE bytes of SOURCE find room: 1, 0, -1. */
static int room(struct taking *taking, const char *source, uint64_t more, struct error *error)
{
    struct error fault;

    if (store_room(taking->options.store, source, more, &fault) == 0)
        return 1;
    if (fault.kind == ERROR_FULL)
        return 0;
    if (error != NULL)
        *error = fault;
    return -1;
}

static uint64_t wanted_bytes(const struct taking *taking, size_t end, const char *source)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < end; i++) {
        const struct item *item = &taking->items[i];

        if (item->verdict == VERDICT_WANTED &&
            (source == NULL || strcmp(item->offer.label.from, source) == 0))
            bytes += item->offer.label.size - item->next;
    }
    return bytes;
}

/* Is there room for all that the page would bring, of every source?  1, 0, -1. */
static int room_for_all(struct taking *taking, struct error *error)
{
    const char *before = NULL;
    int result = room(taking, store_station(taking->options.store),
                      wanted_bytes(taking, taking->count, NULL), error);

    for (size_t i = 0; i < taking->count && result == 1; i++) {
        const char *source = taking->items[i].offer.label.from;

        if (before != NULL && strcmp(before, source) == 0)
            continue;
        before = source;
        result = room(taking, source, wanted_bytes(taking, taking->count, source), error);
    }
    return result;
}

static int decide_room(struct taking *taking, struct error *error)
{
    const char *station = store_station(taking->options.store);
    unsigned refused = 0;
    int result;

    if (wanted_bytes(taking, taking->count, NULL) == 0)
        return 0;
    result = room_for_all(taking, error);
    if (result != 0)
        return result == 1 ? 0 : -1;
    for (size_t i = 0; i < taking->count; i++) {
        struct item *item = &taking->items[i];
        const char *source = item->offer.label.from;

        if (item->verdict != VERDICT_WANTED)
            continue;
        result = room(taking, station, wanted_bytes(taking, i + 1, NULL), error);
        if (result == 1)
            result = room(taking, source, wanted_bytes(taking, i + 1, source), error);
        if (result < 0)
            return -1;
        if (result == 0) {
            item->verdict = VERDICT_FULL;
            item->wanted = false;
            refused++;
        }
    }
    if (refused > 0)
        log_warning(
            "store: no room for %u batches that %s offers; make room or raise the quota, and "
            "the next visit takes them",
            refused, taking->options.peer);
    return 0;
}

static int answer(struct taking *taking, struct buffer *out, struct error *error)
{
    struct answer answers[MESSAGE_PAGE_LABELS];

    for (size_t i = 0; i < taking->count; i++) {
        answers[i].verdict = taking->items[i].verdict;
        answers[i].offset = taking->items[i].next;
    }
    return message_want(out, taking->items[0].offer.n, answers, taking->count, error);
}

/* The offers of a frame into the items of a new page. */
static int read_page(struct taking *taking, const struct frame *frame, struct error *error)
{
    struct offer *offers = calloc(MESSAGE_PAGE_LABELS, sizeof *offers);
    size_t count = 0;
    bool more = false;
    int result = -1;

    if (offers == NULL)
        return error_set(error, ERROR_FAILED, "exchange: no memory");
    if (message_read_offers(frame, offers, &count, &more, error) == 0) {
        taking->last_page = !more;
        for (size_t i = 0; i < count; i++)
            taking->items[i] = (struct item){.offer = offers[i]};
        taking->count = count;
        taking->current = 0;
        taking->walked = 0;
        result = 0;
    }
    free(offers);
    return result;
}

static int take_page(struct taking *taking, const struct frame *frame, struct buffer *out,
                     struct error *error)
{
    if (read_page(taking, frame, error) != 0)
        return -1;
    for (size_t i = 0; i < taking->count; i++) {
        if (check_offer(taking, i, error) != 0)
            return -1;
        taking->next_n++;
        taking->last_position = taking->items[i].offer.position;
    }
    if (taking->count > 0 && taking->items[0].offer.position <= taking->blocked_position)
        taking->blocked_position = 0;
    for (size_t i = 0; i < taking->count; i++)
        if (look_up(taking, &taking->items[i], error) != 0)
            return -1;
    if (decide_room(taking, error) != 0)
        return -1;
    return taking->count > 0 ? answer(taking, out, error) : 0;
}

int taking_offer(struct taking *taking, const struct frame *frame, struct buffer *out,
                 struct error *error)
{
    for (size_t i = 0; i < taking->count; i++)
        if (!final(&taking->items[i]) && taking->items[i].next < taking->items[i].offer.label.size)
            return corrupt(error, "offers a page before all of the last one has come");
    if (taking_commit(taking, out, error) != 0)
        return -1;
    if (!taking->in_round)
        taking_expect(taking);
    if (take_page(taking, frame, out, error) != 0) {
        taking->count = 0; /* nothing of the page may reach the store */
        return -1;
    }
    if (wanted_bytes(taking, taking->count, NULL) == 0)
        return taking_commit(taking, out, error);
    return 0;
}

/* ---- data ---- */

static uint64_t big_endian(const unsigned char *bytes, unsigned size)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < size; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* The item that DATA for N at OFFSET of SIZE goes on with, or NULL. */
static struct item *find_item(struct taking *taking, uint64_t n, uint64_t offset, size_t size)
{
    struct item *item;
    size_t i;

    if (taking->count == 0 || n < taking->items[0].offer.n ||
        n - taking->items[0].offer.n >= taking->count)
        return NULL;
    i = (size_t)(n - taking->items[0].offer.n);
    if (i < taking->current)
        return NULL;
    /* Only what found no room may be left out. */
    for (size_t k = taking->current; k < i; k++)
        if (!final(&taking->items[k]) && taking->items[k].next < taking->items[k].offer.label.size)
            return NULL;
    item = &taking->items[i];
    if (!item->wanted || offset != item->next || size > item->offer.label.size - item->next)
        return NULL;
    taking->current = i;
    return item;
}

static int hash_data(struct taking *taking, struct item *item, const unsigned char *bytes,
                     size_t size, struct error *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length;

    if (!item->hashing) {
        item->hashing = true;
        if (EVP_DigestInit_ex(taking->hash, EVP_sha256(), NULL) != 1)
            goto fail;
        if (item->next > 0 && batches_hash(taking->options.store, item->offer.label.id, item->next,
                                           taking->hash, error) != 0)
            return -1;
    }
    if (EVP_DigestUpdate(taking->hash, bytes, size) != 1)
        goto fail;
    if (item->next + size < item->offer.label.size)
        return 0;
    if (EVP_DigestFinal_ex(taking->hash, digest, &length) != 1)
        goto fail;
    if (memcmp(digest, item->offer.label.id, BATCH_ID_BYTES) == 0)
        item->right = true;
    else
        item->wrong = true;
    return 0;
fail:
    return error_set(error, ERROR_FAILED, "exchange: OpenSSL cannot compute SHA-256");
}

static void keep_piece(struct taking *taking, size_t i, const unsigned char *bytes, size_t size)
{
    struct piece *last =
        taking->pieces_count > 0 ? &taking->pieces[taking->pieces_count - 1] : NULL;

    memcpy(taking->arena + taking->used, bytes, size);
    if (last != NULL && last->item == i)
        last->size += size;
    else
        taking->pieces[taking->pieces_count++] =
            (struct piece){i, taking->used, size, taking->items[i].next};
    taking->used += size;
}

int taking_data(struct taking *taking, const struct frame *frame, struct buffer *out,
                struct error *error)
{
    const unsigned char *bytes = frame->payload + MESSAGE_DATA_HEADER_BYTES;
    struct item *item;
    size_t size;

    if (frame->size <= MESSAGE_DATA_HEADER_BYTES ||
        frame->size > MESSAGE_DATA_HEADER_BYTES + MESSAGE_DATA_BYTES)
        return corrupt(error, "sends DATA of a wrong size");
    size = frame->size - MESSAGE_DATA_HEADER_BYTES;
    item =
        find_item(taking, big_endian(frame->payload, 4), big_endian(frame->payload + 4, 8), size);
    if (item == NULL)
        return corrupt(error, "sends DATA out of order");
    taking->options.counts->taken_bytes += size;
    if (item->verdict != VERDICT_WANTED) { /* it found no room; this was on its way by then */
        item->next += size;
    } else {
        if (hash_data(taking, item, bytes, size, error) != 0)
            return -1;
        keep_piece(taking, taking->current, bytes, size);
        item->next += size;
    }
    if (taking->used >= COMMIT_BYTES || (frame->flags & FRAME_FLAG_COMMIT) != 0)
        return taking_commit(taking, out, error);
    return 0;
}
