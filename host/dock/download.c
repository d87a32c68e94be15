/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/download.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "host/dock/portion.h"
#include "host/dock/usable.h"
#include "store/batch.h"
#include "store/holdings.h"

#define AIM_BYTES (2u << 20)          /* an answer is meant to have so much */
#define ANSWER_BYTES (8u << 20)       /* and may have so much, */
#define LONE_BYTES (44u << 20)        /* or so much, if it is one document's */
#define FIRST_BYTES (AIM_BYTES / 100) /* a document's, as long as none has come */
#define TOO_LARGE_PARTS 4             /* ANSWER_BYTES / AIM_BYTES */
#define ILL_MOST 8                    /* answers of 500 and more, without another between */

/* One request, waiting or in flight. */
struct order {
    struct download *download;
    struct portion *portion;
    size_t most_bytes;          /* of the answer */
    struct portion_answer docs; /* that came and are to be packed */
    struct order *next;
};

struct download {
    struct download_options options;
    char path[512];
    struct holding after; /* what was asked for last */
    bool begun, listed;   /* something was asked for; all was */
    struct order *first;  /* those waiting */
    struct order *packs;  /* its large document is packed when the answer's memory is free */
    unsigned in_flight, ill;
    size_t doc_bytes; /* expected of a document */
    bool abandoned, faulty;
    struct error error; /* the first one */
};

/* ---- orders --------------------------------------------------------------------------------- */

static void free_order(struct order *order)
{
    if (order == NULL)
        return;
    portion_forget(&order->docs);
    portion_free(order->portion);
    free(order);
}

static void note(struct download *d, const struct error *error)
{
    if (!d->faulty)
        d->error = *error;
    d->faulty = true;
}

static void fail(struct download *d, const struct error *error)
{
    note(d, error);
    download_abandon(d);
}

/* Takes PORTION. */
static struct order *add_order(struct download *d, struct portion *portion, size_t most_bytes,
                               struct error *error)
{
    struct order *order = portion == NULL ? NULL : calloc(1, sizeof *order);

    if (order == NULL) {
        if (portion != NULL)
            (void)error_set(error, ERROR_FAILED, "_bulk_get: no memory");
        portion_free(portion);
        return NULL;
    }
    *order = (struct order){
        .download = d, .portion = portion, .most_bytes = most_bytes, .next = d->first};
    d->first = order;
    return order;
}

static size_t docs_to_ask(const struct download *d)
{
    size_t docs = AIM_BYTES / d->doc_bytes;

    return docs == 0 ? 1 : docs < PORTION_DOCS_MOST ? docs : PORTION_DOCS_MOST;
}

/* The next documents that are needed. */
static int fill_order(struct download *d, struct error *error)
{
    const struct download_options *o = &d->options;
    struct portion *portion = portion_new(error);
    size_t most = docs_to_ask(d);
    struct holding next;
    int found = portion == NULL ? -1 : 1;

    while (found == 1 && portion_count(portion) < most) {
        found = holdings_next_needed(o->store, o->tablet, o->db, d->begun ? &d->after : NULL, &next,
                                     error);
        if (found == 1 && portion_add(portion, next.id, next.rev, error) != 0)
            found = -1;
        if (found == 1) {
            d->after = next;
            d->begun = true;
        }
    }
    d->listed = found != 1;
    if (found < 0 || portion_count(portion) == 0) {
        portion_free(portion);
        return found;
    }
    return add_order(d, portion, d->doc_bytes < ANSWER_BYTES ? ANSWER_BYTES : LONE_BYTES, error) ==
                   NULL
               ? -1
               : 0;
}

static void add_again(struct order *order)
{
    order->next = order->download->first;
    order->download->first = order;
}

/* Ask for the documents of ORDER again, in PARTS requests.  On failure ORDER is not among those waiting. */
static int split(struct order *order, size_t parts, struct error *error)
{
    size_t count = portion_count(order->portion), part = (count + parts - 1) / parts;

    for (; count > part; count -= part)
        if (add_order(order->download, portion_cut(order->portion, count - part, error),
                      ANSWER_BYTES, error) == NULL)
            return -1;
    add_again(order);
    return 0;
}

/* ---- answers -------------------------------------------------------------------------------- */

/* Grows and shrinks slowly: one photo among small documents is no reason to ask for each alone. */
static void learn(struct download *d, size_t bytes, size_t docs)
{
    size_t sample = docs == 0 ? d->doc_bytes : bytes / docs + 1;
    size_t least = d->doc_bytes / 4 + 1, most = d->doc_bytes * 2;

    d->doc_bytes = sample < least ? least : sample > most ? most : sample;
}

/* The only document of ORDER cannot be carried.  It is not asked for again, in later runs either. */
static int leave_out(const struct order *order, struct error *error)
{
    const struct download_options *o = &order->download->options;
    const char *rev, *id = portion_first(order->portion, &rev);

    log_warning(
        "tablet %s: document %s of database %s is larger than %u MB and stays at the server",
        o->tablet, id, o->db, BATCH_DOC_MAX_BYTES >> 20);
    if (store_begin(o->store, error) != 0)
        return -1;
    if (holdings_leave_out(o->store, o->tablet, o->db, id, rev, error) != 0) {
        store_rollback(o->store);
        return -1;
    }
    return store_commit(o->store, error);
}

static int pack(struct order *order, struct error *error)
{
    const struct portion_answer *docs = &order->docs;
    int result = 0;

    for (size_t i = 0; i < docs->count && result == 0; i++)
        result = packer_add(order->download->options.packer, docs->docs[i].id, docs->docs[i].rev,
                            (const char *)docs->lines.data + docs->docs[i].at, docs->docs[i].size,
                            error);
    portion_forget(&order->docs);
    return result;
}

/* 2: the documents are to be packed yet.  CUT: the answer was larger than it may be, and this is its beginning. */
static int take(struct order *order, const struct cht_answer *answer, bool cut, struct error *error)
{
    struct download *d = order->download;
    size_t asked = portion_count(order->portion);
    struct portion_answer *docs = &order->docs;

    if (portion_read(order->portion, answer->body, answer->size, cut, docs, error) != 0)
        return -1;
    learn(d, answer->size, docs->count);
    /* Answers that have room for one so large are of one document. */
    if (docs->too_large > 0 && docs->count == 0 && asked == 1)
        return leave_out(order, error);
    if (docs->count < asked)
        log_debug("tablet %s: %zu of %zu documents of database %s did not come", d->options.tablet,
                  asked - docs->count, asked, d->options.db);
    return answer->size > ANSWER_BYTES ? 2 : pack(order, error);
}

/* The answer was too large.  What came ahead of its bound is used; what came next, as servers answer in the order
 * of the question, is a large document.  1 the rest is asked for again, 0 there is none, -1. */
static int take_beginning(struct order *order, const struct cht_answer *answer, struct error *error)
{
    struct download *d = order->download;
    size_t before = portion_count(order->portion), missing;

    if (take(order, answer, true, error) != 0)
        return -1;
    missing = portion_keep_missing(order->portion);
    if (missing == 0)
        return 0;
    if (missing == before && before > 1) {
        if (d->doc_bytes < ANSWER_BYTES / before)
            d->doc_bytes = ANSWER_BYTES / before;
        return split(order, TOO_LARGE_PARTS, error) == 0 ? 1 : -1;
    }
    if (missing > 1 &&
        add_order(d, portion_cut(order->portion, 1, error), ANSWER_BYTES, error) == NULL)
        return -1;
    order->most_bytes = LONE_BYTES;
    add_again(order);
    return 1;
}

/* The request was too much: 1 it is asked again, 0 its only document is left out, -1. */
static int ask_less(struct order *order, const struct cht_answer *answer, struct error *error)
{
    struct download *d = order->download;

    if (answer->status == 0 && order->most_bytes < LONE_BYTES)
        return take_beginning(order, answer, error);
    if (answer->status == 0)
        return leave_out(order, error);
    if (++d->ill > ILL_MOST)
        return error_set(error, ERROR_TEMPORARY, "%s", answer->text);
    if (portion_count(order->portion) > 1)
        return split(order, 2, error) == 0 ? 1 : -1;
    (void)error_set(error, ERROR_TEMPORARY, "%s", answer->text);
    note(d, error);
    return 0;
}

/* 2 its documents are to be packed, 1 the order is asked again, 0 it is over, -1. */
static int settle(struct order *order, const struct cht_answer *answer, struct error *error)
{
    struct download *d = order->download;
    int result;

    if (answer->result == CHT_ANSWERED &&
        (answer->status == 0 || answer->status == 413 || answer->status >= 500))
        return ask_less(order, answer, error);
    if (usable_answer(answer, error) != 0)
        return -1;
    result = take(order, answer, false, error);
    d->ill = 0;
    return result;
}

static void on_answer(const struct cht_answer *answer, void *context)
{
    struct order *order = context;
    struct download *d = order->download;
    size_t bytes = order->most_bytes;
    struct error error;
    int result = 0;

    d->in_flight--;
    if (!d->abandoned)
        result = settle(order, answer, &error);
    if (result == 2) {
        d->packs = order;
        return;
    }
    room_give(d->options.room, bytes);
    if (result != 1)
        free_order(order);
    if (result < 0)
        fail(d, &error);
}

static void end_packing(struct download *d)
{
    room_give(d->options.room, d->packs->most_bytes);
    free_order(d->packs);
    d->packs = NULL;
}

/* ---- the whole ------------------------------------------------------------------------------ */

struct download *download_new(const struct download_options *options, struct error *error)
{
    struct download *d = calloc(1, sizeof *d);
    int length;

    if (d == NULL) {
        (void)error_set(error, ERROR_FAILED, "tablet %s: no memory", options->tablet);
        return NULL;
    }
    d->options = *options;
    d->doc_bytes = FIRST_BYTES;
    length =
        snprintf(d->path, sizeof d->path, "%s/_bulk_get?revs=true&attachments=true", options->path);
    if (length > 0 && (size_t)length < sizeof d->path)
        return d;
    free(d);
    (void)error_set(error, ERROR_FAILED, "database %s: the name is too long", options->db);
    return NULL;
}

void download_free(struct download *d)
{
    if (d == NULL)
        return;
    download_abandon(d);
    free(d);
}

void download_abandon(struct download *d)
{
    d->abandoned = true;
    room_leave(d->options.room, d);
    if (d->packs != NULL)
        end_packing(d);
    while (d->first != NULL) {
        struct order *order = d->first;

        d->first = order->next;
        free_order(order);
    }
}

static int send_order(struct download *d, struct order *order, struct error *error)
{
    const struct buffer *body = portion_body(order->portion, error);
    struct cht_question question = {
        .method = "POST", .path = d->path, .most_bytes = order->most_bytes};

    if (body == NULL)
        return -1;
    question.body = body->data;
    question.size = body->length;
    if (cht_ask(d->options.cht, d->options.user, &question, on_answer, order, error) != 0)
        return -1;
    d->in_flight++;
    (*d->options.requests)++;
    return 0;
}

void download_advance(struct download *d)
{
    struct error error;
    int result;

    if (d->packs != NULL) {
        result = pack(d->packs, &error);
        end_packing(d);
        if (result != 0)
            fail(d, &error);
    }
    while (!d->abandoned && d->in_flight < d->options.parallel) {
        struct order *order = d->first;

        if (order == NULL && !d->listed && fill_order(d, &error) != 0) {
            fail(d, &error);
            return;
        }
        order = d->first;
        if (order == NULL || !room_take(d->options.room, d, order->most_bytes))
            return;
        d->first = order->next;
        if (send_order(d, order, &error) != 0) {
            room_give(d->options.room, order->most_bytes);
            free_order(order);
            fail(d, &error);
        }
    }
}

bool download_failed(const struct download *d)
{
    return d->abandoned;
}

bool download_over(const struct download *d)
{
    return d->in_flight == 0 && d->packs == NULL &&
           (d->abandoned || (d->first == NULL && d->listed));
}

const struct error *download_error(const struct download *d)
{
    return d->faulty ? &d->error : NULL;
}
