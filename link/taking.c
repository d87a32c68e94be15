/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/taking.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "link/writing.h"

#define COMMIT_MS 200

struct taking {
    struct taking_options options;
    uint32_t next_n;
    int64_t last_position; /* of this round */
    bool in_round, last_page;

    struct group_page page;
    size_t current;   /* the item whose DATA came last */
    int64_t since_ms; /* when a tick first saw something pending; 0: not yet */
    EVP_MD_CTX *hash; /* of the current item */
    struct writing *writing;
};

struct taking *taking_new(const struct taking_options *options, struct error *error)
{
    struct taking *taking = calloc(1, sizeof *taking);

    if (taking == NULL)
        goto fail;
    taking->options = *options;
    taking->next_n = 1;
    taking->hash = EVP_MD_CTX_new();
    if (taking->hash == NULL)
        goto fail;
    taking->writing = writing_new(options, &taking->page, error);
    if (taking->writing == NULL) {
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
    writing_free(taking->writing);
    EVP_MD_CTX_free(taking->hash);
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
    return taking->page.count > 0;
}

static bool final(const struct group_item *item)
{
    return item->verdict != VERDICT_WANTED;
}

bool taking_settled(const struct taking *taking)
{
    return !taking->in_round;
}

/* ---- what is durable ---- */

/* STORED for each wanted item that has become final and was not named before. */
static int tell(struct taking *taking, struct buffer *out, struct error *error)
{
    struct answer answers[MESSAGE_PAGE_LABELS];
    bool some = false;
    char text[BATCH_ID_TEXT_BYTES];

    memset(answers, 0, sizeof answers);
    for (size_t i = 0; i < taking->page.count; i++) {
        struct group_item *item = &taking->page.items[i];

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
    return message_stored(out, taking->page.items[0].offer.n, answers, taking->page.count, error);
}

static void end_round_if_done(struct taking *taking)
{
    if (!taking->last_page || writing_pending(taking->writing))
        return;
    for (size_t i = 0; i < taking->page.count; i++)
        if (!final(&taking->page.items[i]))
            return;
    taking->in_round = false;
}

/* After a write: a page whose last batches found no room is over without a COMMIT. */
static int tell_written(struct taking *taking, struct buffer *out, struct error *error)
{
    if (tell(taking, out, error) != 0)
        return -1;
    end_round_if_done(taking);
    return 0;
}

int taking_commit(struct taking *taking, struct buffer *out, struct error *error)
{
    taking->since_ms = 0;
    if (writing_commit(taking->writing, error) != 0)
        return -1;
    return tell_written(taking, out, error);
}

int taking_tick(struct taking *taking, int64_t now_ms, struct buffer *out, struct error *error)
{
    int looked = writing_look(taking->writing, error);

    if (looked < 0 || (looked == 1 && tell_written(taking, out, error) != 0))
        return -1;
    if (!writing_pending(taking->writing))
        return 0;
    if (taking->since_ms == 0)
        taking->since_ms = now_ms;
    if (now_ms - taking->since_ms < COMMIT_MS)
        return 0;
    return taking_commit(taking, out, error);
}

/* ---- offers ---- */

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

/* A batch that is aside may be so for a false label, of a courier that lies or a damaged one: another
 * label is a reason to look at it again. */
static int correct_label(struct taking *taking, const struct label *label, struct error *error)
{
    struct store *store = taking->options.store;
    char text[BATCH_ID_TEXT_BYTES];
    int result;

    if (store_begin(store, error) != 0)
        return -1;
    result = batches_relabel(store, label, error);
    if (result <= 0) {
        store_rollback(store);
        return result;
    }
    if (store_commit(store, error) != 0)
        return -1;
    hex_encode(label->id, BATCH_ID_BYTES, text);
    log_info("batch %.16s: was set aside; %s gives it another label, it is judged again", text,
             taking->options.peer);
    return 0;
}

/* What the store says of an offered batch; room is asked for later. */
static int look_up(struct taking *taking, struct group_item *item, struct error *error)
{
    struct batch batch;
    int found = batches_find(taking->options.store, item->offer.label.id, &batch, error);

    if (found < 0)
        return -1;
    if (found == 1 && batch.state != BATCH_PARTIAL) {
        item->verdict = VERDICT_HAVE;
        item->applied = batch.state == BATCH_APPLIED;
        if (batch.state == BATCH_ASIDE && !label_same(&batch.label, &item->offer.label))
            return correct_label(taking, &item->offer.label, error);
        return 0;
    }
    item->verdict = VERDICT_WANTED;
    item->wanted = true;
    if (found == 0)
        return 0;
    /* A label is only advice: one that contradicts an earlier one begins anew. */
    if (!label_same(&batch.label, &item->offer.label) || batch.offset >= batch.label.size)
        return discard(taking->options.store, item->offer.label.id, error);
    item->next = batch.offset;
    item->row = true;
    return 0;
}

static int check_offer(struct taking *taking, size_t i, struct error *error)
{
    const struct group_item *item = &taking->page.items[i];
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
        if (memcmp(taking->page.items[k].offer.label.id, label->id, BATCH_ID_BYTES) == 0)
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
        const struct group_item *item = &taking->page.items[i];

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
                      wanted_bytes(taking, taking->page.count, NULL), error);

    for (size_t i = 0; i < taking->page.count && result == 1; i++) {
        const char *source = taking->page.items[i].offer.label.from;

        if (before != NULL && strcmp(before, source) == 0)
            continue;
        before = source;
        result = room(taking, source, wanted_bytes(taking, taking->page.count, source), error);
    }
    return result;
}

static int decide_room(struct taking *taking, struct error *error)
{
    const char *station = store_station(taking->options.store);
    unsigned refused = 0;
    int result;

    if (wanted_bytes(taking, taking->page.count, NULL) == 0)
        return 0;
    result = room_for_all(taking, error);
    if (result != 0)
        return result == 1 ? 0 : -1;
    for (size_t i = 0; i < taking->page.count; i++) {
        struct group_item *item = &taking->page.items[i];
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

    for (size_t i = 0; i < taking->page.count; i++) {
        answers[i].verdict = taking->page.items[i].verdict;
        answers[i].offset = taking->page.items[i].next;
    }
    return message_want(out, taking->page.items[0].offer.n, answers, taking->page.count, error);
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
            taking->page.items[i] = (struct group_item){.offer = offers[i]};
        taking->page.count = count;
        taking->current = 0;
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
    for (size_t i = 0; i < taking->page.count; i++) {
        if (check_offer(taking, i, error) != 0)
            return -1;
        taking->next_n++;
        taking->last_position = taking->page.items[i].offer.position;
    }
    writing_turn(taking->writing);
    for (size_t i = 0; i < taking->page.count; i++)
        if (look_up(taking, &taking->page.items[i], error) != 0)
            return -1;
    if (decide_room(taking, error) != 0)
        return -1;
    return taking->page.count > 0 ? answer(taking, out, error) : 0;
}

int taking_offer(struct taking *taking, const struct frame *frame, struct buffer *out,
                 struct error *error)
{
    for (size_t i = 0; i < taking->page.count; i++)
        if (!final(&taking->page.items[i]) &&
            taking->page.items[i].next < taking->page.items[i].offer.label.size)
            return corrupt(error, "offers a page before all of the last one has come");
    if (taking_commit(taking, out, error) != 0)
        return -1;
    if (!taking->in_round)
        taking_expect(taking);
    if (take_page(taking, frame, out, error) != 0) {
        taking->page.count = 0; /* nothing of the page may reach the store */
        return -1;
    }
    if (wanted_bytes(taking, taking->page.count, NULL) == 0)
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
static struct group_item *find_item(struct taking *taking, uint64_t n, uint64_t offset, size_t size)
{
    struct group_item *item;
    size_t i;

    if (taking->page.count == 0 || n < taking->page.items[0].offer.n ||
        n - taking->page.items[0].offer.n >= taking->page.count)
        return NULL;
    i = (size_t)(n - taking->page.items[0].offer.n);
    if (i < taking->current)
        return NULL;
    /* Only what found no room may be left out. */
    for (size_t k = taking->current; k < i; k++)
        if (!final(&taking->page.items[k]) &&
            taking->page.items[k].next < taking->page.items[k].offer.label.size)
            return NULL;
    item = &taking->page.items[i];
    if (!item->wanted || offset != item->next || size > item->offer.label.size - item->next)
        return NULL;
    taking->current = i;
    return item;
}

static int hash_data(struct taking *taking, struct group_item *item, const unsigned char *bytes,
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

int taking_data(struct taking *taking, const struct frame *frame, struct buffer *out,
                struct error *error)
{
    const unsigned char *bytes = frame->payload + MESSAGE_DATA_HEADER_BYTES;
    struct group_item *item;
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
        writing_add(taking->writing, taking->current, bytes, size);
        item->next += size;
    }
    if ((frame->flags & FRAME_FLAG_COMMIT) != 0)
        return taking_commit(taking, out, error);
    if (!writing_full(taking->writing))
        return 0;
    taking->since_ms = 0;
    if (writing_begin(taking->writing, error) != 0)
        return -1;
    return tell_written(taking, out, error);
}
