/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/offering.h"

#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "link/message.h"
#include "link/tablets.h"

enum state {
    RESTING,   /* no round */
    OFFERING,  /* the next page is due */
    ASKED,     /* until WANT comes */
    STREAMING, /* DATA is due */
    CLOSING    /* the last page's DATA is out; until all is STORED */
};

/* What is remembered of a label while its page is unsettled. */
struct item {
    unsigned char id[BATCH_ID_BYTES];
    int64_t position;
    uint64_t size, offset;
    enum verdict verdict;
    bool noted; /* the store knows that the peer has it */
};

struct page {
    uint32_t first_n;
    size_t count, unsettled; /* unsettled: wanted, and not yet answered by STORED */
    struct item items[MESSAGE_PAGE_LABELS];
};

struct offering {
    struct offering_options options;
    enum state state;
    bool begun, moved, last_page;
    bool anew;        /* the peer was offered the mail of other tablets before; to be settled */
    bool blocked;     /* something of this round found no room */
    int64_t position; /* offered up to here */
    int64_t full_position; /* of the first batch that found no room, 0: none */
    uint32_t next_n;
    size_t streaming;                     /* the item whose DATA is due */
    struct page pages[2], *page, *before; /* the present one, and the one whose STORED may be due */
};

struct offering *offering_new(const struct offering_options *options, struct error *error)
{
    struct offering *offering = calloc(1, sizeof *offering);

    if (offering == NULL) {
        error_set(error, ERROR_FAILED, "exchange: no memory");
        return NULL;
    }
    offering->options = *options;
    offering->next_n = 1;
    offering->page = &offering->pages[0];
    offering->before = &offering->pages[1];
    return offering;
}

void offering_free(struct offering *offering)
{
    free(offering);
}

bool offering_settled(const struct offering *offering)
{
    return offering->state == RESTING;
}

bool offering_moved(const struct offering *offering)
{
    return offering->moved;
}

static int corrupt(struct error *error, const char *what)
{
    return error_set(error, ERROR_CORRUPT, "peer: %s", what);
}

/* What could not be written down, for FAULT.  A disk that is full must not end the session: it is what is taken next
 * that makes room. */
static int not_written(const struct error *fault, struct error *error)
{
    if (fault->kind == ERROR_FULL) {
        log_warning("%s", fault->text);
        return 0;
    }
    if (error != NULL)
        *error = *fault;
    return -1;
}

/* The peer has batch ID; in a transaction. */
static int note_batch(const struct offering *offering, const unsigned char *id, struct error *error)
{
    struct store *store = offering->options.store;

    if (offering->options.uuid != NULL &&
        peers_carries(store, offering->options.uuid, id, error) != 0)
        return -1;
    return batches_handed_over(store, id, error);
}

/* The peer has the batch that its cursor names; the cable may have been pulled before its STORED. */
static int note_cursor(const struct offering *offering, const unsigned char *id,
                       struct error *error)
{
    struct store *store = offering->options.store;
    struct error fault;
    struct batch batch;
    int found = batches_find(store, id, &batch, error);

    if (found <= 0 || batch.state != BATCH_HELD)
        return found < 0 ? -1 : 0;
    if (store_begin(store, &fault) == 0) {
        if (note_batch(offering, id, &fault) == 0 && store_commit(store, &fault) == 0)
            return 0;
        store_rollback(store);
    }
    return not_written(&fault, error);
}

/* Where the first round of a session starts, in OFFERING->position. */
static int find_start(struct offering *offering, const struct cursor *cursor, struct error *error)
{
    int known = batches_is_at(offering->options.store, cursor->position, cursor->id, error);
    int same = 1;

    if (known < 0 || (known == 1 && note_cursor(offering, cursor->id, error) != 0))
        return -1;
    if (offering->options.uuid != NULL)
        same = tablets_same(offering->options.store, offering->options.uuid,
                            offering->options.tablets, error);
    if (same < 0)
        return -1;
    offering->anew = same == 0;
    offering->position = known == 1 && same == 1 ? cursor->position : 0;
    return 0;
}

int offering_begin(struct offering *offering, const struct cursor *cursor, struct error *error)
{
    if (offering->state != RESTING)
        return corrupt(error, "asks for offers while some are under way");
    if (!offering->begun) {
        if (find_start(offering, cursor, error) != 0)
            return -1;
        offering->begun = true;
    } else if (offering->full_position != 0) {
        offering->position = offering->full_position - 1;
    }
    offering->full_position = 0;
    offering->moved = false;
    offering->blocked = false;
    offering->state = OFFERING;
    return 0;
}

/* The peer's cursor now speaks for the tablets of this session.  Not if the first offers were refused: then it may
 * still be where it was. */
int offering_end(struct offering *offering, struct error *error)
{
    const struct offering_options *options = &offering->options;
    struct error fault;

    if (!offering->anew || offering->blocked)
        return 0;
    offering->anew = false;
    if (tablets_keep(options->store, options->uuid, options->tablets, &fault) == 0)
        return 0;
    return not_written(&fault, error);
}

/* ---- a page of offers ---- */

/* The next batch for this peer: 1, 0, -1. */
static int next_batch(struct offering *offering, struct batch *batch, struct error *error)
{
    const struct batch_filter filter = {
        .from = offering->options.from, .to = offering->options.to, .state = BATCH_HELD};
    int found;

    do {
        found = batches_next(offering->options.store, &filter, offering->position, batch, error);
        if (found == 1)
            offering->position = batch->position;
    } while (found == 1 && !tablets_have(offering->options.tablets, batch->label.to));
    return found;
}

static int add_offer(struct offering *offering, json_t *offers, const struct batch *batch)
{
    struct offer offer = {offering->next_n, batch->position, batch->label};
    struct item *item = &offering->page->items[offering->page->count];

    if (json_array_append_new(offers, message_offer(&offer)) != 0)
        return -1;
    memcpy(item->id, batch->label.id, BATCH_ID_BYTES);
    item->position = batch->position;
    item->size = batch->label.size;
    item->offset = 0;
    item->verdict = VERDICT_NONE;
    item->noted = false;
    offering->page->count++;
    offering->next_n++;
    return 0;
}

static size_t unsettled(const struct offering *offering)
{
    return offering->before->unsettled + offering->page->unsettled;
}

/* All DATA of the page is out: the next page, or wait for what is unsettled. */
static void page_streamed(struct offering *offering)
{
    if (!offering->last_page)
        offering->state = OFFERING;
    else
        offering->state = unsettled(offering) > 0 ? CLOSING : RESTING;
}

static int send_page(struct offering *offering, struct buffer *out, struct error *error)
{
    struct page *free_page = offering->before;
    json_t *offers = json_array();
    struct batch batch;
    int found = 1;

    offering->before = offering->page;
    offering->page = free_page;
    free_page->first_n = offering->next_n;
    free_page->count = 0;
    free_page->unsettled = 0;
    while (offers != NULL && free_page->count < MESSAGE_PAGE_LABELS) {
        found = next_batch(offering, &batch, error);
        if (found != 1)
            break;
        if (add_offer(offering, offers, &batch) != 0) {
            json_decref(offers);
            offers = NULL;
        }
    }
    if (found < 0) {
        json_decref(offers);
        return -1;
    }
    if (free_page->count > 0)
        offering->moved = true;
    /* A full page may be the last one by chance; an empty one then follows, which is not answered. */
    offering->last_page = found == 0;
    offering->state = ASKED;
    if (free_page->count == 0)
        page_streamed(offering);
    return message_offers(out, offers, !offering->last_page, error);
}

/* ---- what the peer says ---- */

static void settle_full(struct offering *offering, struct item *item)
{
    item->verdict = VERDICT_FULL;
    offering->blocked = true;
    if (offering->full_position == 0 || item->position < offering->full_position)
        offering->full_position = item->position;
}

static void next_wanted(struct offering *offering)
{
    struct page *page = offering->page;

    while (offering->streaming < page->count &&
           page->items[offering->streaming].verdict != VERDICT_WANTED)
        offering->streaming++;
    if (offering->streaming == page->count)
        page_streamed(offering);
}

static bool to_note(const struct item *item)
{
    return !item->noted && (item->verdict == VERDICT_STORED || item->verdict == VERDICT_HAVE);
}

static int write_notes(const struct offering *offering, const struct page *page,
                       struct error *error)
{
    struct store *store = offering->options.store;

    if (store_begin(store, error) != 0)
        return -1;
    for (size_t i = 0; i < page->count; i++)
        if (to_note(&page->items[i]) && note_batch(offering, page->items[i].id, error) != 0) {
            store_rollback(store);
            return -1;
        }
    return store_commit(store, error);
}

/* Note what the peer has of PAGE, in one transaction a page: a commit for each STORED would halve the
 * speed, and what a power cut loses is a line in status, the freeing of a receipt, and that the courier hears of what
 * another one delivered. */
static int hand_over(struct offering *offering, struct page *page, struct error *error)
{
    struct error fault;
    bool some = false;

    for (size_t i = 0; i < page->count && !some; i++)
        some = to_note(&page->items[i]);
    if (some && write_notes(offering, page, &fault) != 0 && not_written(&fault, error) != 0)
        return -1;
    for (size_t i = 0; i < page->count; i++)
        page->items[i].noted = page->items[i].noted || to_note(&page->items[i]);
    return 0;
}

int offering_keep(struct offering *offering, struct error *error)
{
    if (hand_over(offering, offering->before, error) != 0)
        return -1;
    return hand_over(offering, offering->page, error);
}

int offering_want(struct offering *offering, const struct frame *frame, struct error *error)
{
    struct answer answers[MESSAGE_PAGE_LABELS];
    struct page *page = offering->page;
    uint64_t bytes = 0;

    if (offering->state != ASKED)
        return corrupt(error, "answers an offer that was not made");
    if (offering->before->unsettled > 0)
        return corrupt(error, "has not said what became of the page before");
    if (message_read_want(frame, page->first_n, answers, page->count, error) != 0)
        return -1;
    for (size_t i = 0; i < page->count; i++) {
        struct item *item = &page->items[i];

        item->verdict = answers[i].verdict;
        item->offset = answers[i].offset;
        if (item->verdict == VERDICT_WANTED && item->offset >= item->size)
            return corrupt(error, "wants a batch from behind its end");
        if (item->verdict == VERDICT_WANTED) {
            page->unsettled++;
            bytes += item->size - item->offset;
        }
        if (item->verdict == VERDICT_FULL)
            settle_full(offering, item);
    }
    log_debug("exchange: %zu of %zu batches are wanted, %llu bytes", page->unsettled, page->count,
              (unsigned long long)bytes);
    offering->state = STREAMING;
    offering->streaming = 0;
    next_wanted(offering);
    return page->unsettled == 0 ? hand_over(offering, page, error) : 0;
}

/* Whether item I of PAGE was sent whole, so that STORED or WRONG can be said of it. */
static bool sent(const struct offering *offering, const struct page *page, size_t i)
{
    return page->items[i].verdict == VERDICT_WANTED &&
           (page != offering->page || page->items[i].offset == page->items[i].size);
}

int offering_stored(struct offering *offering, const struct frame *frame, struct error *error)
{
    struct page *page = offering->before->unsettled > 0 ? offering->before : offering->page;
    struct answer answers[MESSAGE_PAGE_LABELS];
    char text[BATCH_ID_TEXT_BYTES];

    if (page->unsettled == 0)
        return corrupt(error, "says stored of what was not sent");
    if (message_read_stored(frame, page->first_n, answers, page->count, error) != 0)
        return -1;
    for (size_t i = 0; i < page->count; i++) {
        struct item *item = &page->items[i];

        if (answers[i].verdict == VERDICT_NONE)
            continue;
        if (item->verdict != VERDICT_WANTED ||
            (answers[i].verdict != VERDICT_FULL && !sent(offering, page, i)))
            return corrupt(error, "says stored of what was not sent");
        page->unsettled--;
        item->verdict = answers[i].verdict;
        if (item->verdict == VERDICT_STORED) {
            offering->options.counts->sent_batches++;
            hex_encode(item->id, BATCH_ID_BYTES, text);
            log_debug("batch %s: is stored at the other side", text);
        } else if (item->verdict == VERDICT_FULL) {
            settle_full(offering, item);
        } else {
            offering->anew = false; /* told with the next session, which begins anew as well */
            hex_encode(item->id, BATCH_ID_BYTES, text);
            log_warning(
                "batch %.16s: came to the other side with other bytes than its id says; it is "
                "offered again at the next session",
                text);
        }
    }
    if (offering->state == STREAMING)
        next_wanted(offering); /* what found no room is not sent to its end */
    if (offering->state == CLOSING && unsettled(offering) == 0)
        offering->state = RESTING;
    return page->unsettled == 0 ? hand_over(offering, page, error) : 0;
}

/* ---- streaming ---- */

static bool last_of_page(const struct page *page, size_t i)
{
    for (i++; i < page->count; i++)
        if (page->items[i].verdict == VERDICT_WANTED)
            return false;
    return true;
}

static void put_big_endian(unsigned char *bytes, uint64_t number, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        bytes[i] = (unsigned char)(number >> 8 * (size - 1 - i));
}

static int send_data(struct offering *offering, struct buffer *out, struct error *error)
{
    struct item *item = &offering->page->items[offering->streaming];
    size_t size = MESSAGE_DATA_BYTES - item->offset % BATCH_CHUNK_BYTES, got = 0;
    unsigned char *payload;
    uint8_t flags = 0;

    if (size > item->size - item->offset)
        size = (size_t)(item->size - item->offset);
    payload = frame_reserve(out, MESSAGE_DATA_HEADER_BYTES + size, error);
    if (payload == NULL ||
        batches_read(offering->options.store, item->id, item->offset,
                     payload + MESSAGE_DATA_HEADER_BYTES, size, &got, error) != 0)
        return -1;
    if (got != size) /* a receipt came in by another way in this very moment */
        return error_set(error, ERROR_TEMPORARY,
                         "exchange: a batch was freed while it was sent; the next session goes on");
    put_big_endian(payload, offering->page->first_n + offering->streaming, 4);
    put_big_endian(payload + 4, item->offset, 8);
    item->offset += size;
    if (item->offset == item->size && last_of_page(offering->page, offering->streaming))
        flags = FRAME_FLAG_COMMIT;
    frame_commit(out, FRAME_DATA, flags, MESSAGE_DATA_HEADER_BYTES + size);
    offering->options.counts->sent_bytes += size;
    if (item->offset == item->size) {
        offering->streaming++;
        next_wanted(offering);
    }
    return 0;
}

int offering_send(struct offering *offering, struct buffer *out, size_t limit, struct error *error)
{
    while (out->length < limit) {
        if (offering->state == STREAMING) {
            if (send_data(offering, out, error) != 0)
                return -1;
        } else if (offering->state == OFFERING) {
            if (send_page(offering, out, error) != 0)
                return -1;
        } else {
            break;
        }
    }
    return 0;
}
