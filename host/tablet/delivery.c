/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pick.h"
#include "store/streams.h"

#define WINDOW_BYTES (1u << 20)
#define WINDOW_ITEMS 512u

enum item_state {
    ITEM_MISSING,
    ITEM_FOUND,
    ITEM_NEWER /* if it descends from the one asked for */
};

struct item {
    size_t id, rev; /* where they begin in `words` */
    enum item_state state;
    bool checked; /* it does descend */
    struct opened_place place;
    size_t held;    /* where its bytes begin in the window, */
    bool in_window; /* when they are there */
};

struct delivery {
    struct request *request;
    const struct delivery_form *form;
    struct shown_options options;
    struct buffer words, items; /* strings; struct item */
    struct buffer window, tail;
    size_t window_end;  /* items before it had their turn to be in a window */
    size_t window_held; /* bytes that routes_hold counts */
    size_t at;          /* the item in hand */
    bool begun, wrote;
    size_t found;
    struct shown shown;
};

struct delivery *delivery_new(struct request *request, const struct delivery_form *form,
                              const struct shown_options *options, struct error *error)
{
    struct delivery *delivery = calloc(1, sizeof *delivery);

    if (delivery == NULL) {
        (void)error_set(error, ERROR_FAILED, "http: no memory");
        return NULL;
    }
    delivery->request = request;
    delivery->form = form;
    delivery->options = *options;
    return delivery;
}

static void close_window(struct delivery *delivery)
{
    buffer_cleanse(&delivery->window);
    routes_release(delivery->request, delivery->window_held);
    delivery->window_held = 0;
}

void delivery_free(struct delivery *delivery)
{
    if (delivery == NULL)
        return;
    close_window(delivery);
    shown_end(&delivery->shown);
    buffer_free(&delivery->words);
    buffer_free(&delivery->items);
    buffer_free(&delivery->tail);
    free(delivery);
}

static size_t count(const struct delivery *delivery)
{
    return delivery->items.length / sizeof(struct item);
}

static struct item *item_at(const struct delivery *delivery, size_t n)
{
    return (struct item *)(void *)delivery->items.data + n;
}

static const char *word(const struct delivery *delivery, size_t at)
{
    return (const char *)delivery->words.data + at;
}

size_t delivery_found(const struct delivery *delivery)
{
    return delivery->found;
}

int delivery_set_tail(struct delivery *delivery, const char *tail, struct error *error)
{
    delivery->tail.length = 0;
    return buffer_append(&delivery->tail, tail, strlen(tail) + 1, error);
}

/* ---- what is asked for ---- */

static int look_up(struct delivery *delivery, struct item *item, const char *id, const char *rev,
                   bool latest, struct shelf_doc *doc, struct error *error)
{
    struct store *store = delivery->request->service->store;
    const char *db = delivery->request->db;
    int found = shelf_find(store, db, id, rev, doc, error);

    item->state = found == 1 ? ITEM_FOUND : ITEM_MISSING;
    if (found == 0 && rev != NULL && latest) {
        found = shelf_find(store, db, id, NULL, doc, error);
        if (found == 1 && strtoull(doc->rev, NULL, 10) > strtoull(rev, NULL, 10))
            item->state = ITEM_NEWER;
    }
    if (item->state != ITEM_MISSING) {
        item->place = opened_place(doc);
        delivery->found++;
    }
    return found < 0 ? -1 : 0;
}

int delivery_add(struct delivery *delivery, const char *id, const char *rev, bool latest,
                 struct error *error)
{
    struct item item = {.id = delivery->words.length};
    struct shelf_doc doc;

    if (strlen(id) >= DOC_ID_BYTES || (rev != NULL && strlen(rev) >= DOC_REV_BYTES))
        return error_set(error, ERROR_USAGE, "an id or rev is too long");
    if (look_up(delivery, &item, id, rev, latest, &doc, error) != 0)
        return -1;
    if (rev == NULL)
        rev = item.state == ITEM_FOUND ? doc.rev : "";
    item.rev = item.id + strlen(id) + 1;
    if (routes_hold(delivery->request, strlen(id) + strlen(rev) + sizeof item, error) != 0 ||
        buffer_append(&delivery->words, id, strlen(id) + 1, error) != 0 ||
        buffer_append(&delivery->words, rev, strlen(rev) + 1, error) != 0)
        return -1;
    return buffer_append(&delivery->items, &item, sizeof item, error);
}

/* The item is not on the shelf after all. */
static int lose(struct delivery *delivery, const struct item *item, struct error *error)
{
    struct store *store = delivery->request->service->store;
    int was_here = revs_lost(store, delivery->request->db, word(delivery, item->id),
                             word(delivery, item->rev), error);

    return was_here == 1 ? streams_set_due(store, SERVER_NAME, true, error) : was_here;
}

int delivery_settle(struct delivery *delivery, struct error *error)
{
    struct store *store = delivery->request->service->store;
    bool begun = false;

    for (size_t i = 0; i < count(delivery); i++) {
        const struct item *item = item_at(delivery, i);
        int known;

        if (item->state != ITEM_MISSING || word(delivery, item->rev)[0] == '\0')
            continue;
        known = revs_known(store, delivery->request->db, word(delivery, item->id),
                           word(delivery, item->rev), error);
        if (known == 1 && !begun) {
            if (store_begin(store, error) != 0)
                return -1;
            begun = true;
        }
        if (known < 0 || (known == 1 && lose(delivery, item, error) != 0)) {
            store_rollback(store);
            return -1;
        }
    }
    return begun ? store_commit(store, error) : 0;
}

int delivery_give_up(struct request *request, const char *id, struct error *error)
{
    struct store *store = request->service->store;

    if (store_begin(store, error) != 0)
        return -1;
    if (shelf_drop(store, request->db, id, NULL, error) != 0 ||
        streams_set_due(store, SERVER_NAME, true, error) != 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, error);
}

/* ---- whether a newer revision descends from the one asked for ---- */

struct lineage {
    const char *digest; /* with its quotes */
    bool descends;
};

static int read_lineage(unsigned place, const char *json, size_t size, void *context,
                        struct error *error)
{
    struct lineage *lineage = context;

    (void)place;
    (void)error;
    if (size == strlen(lineage->digest) && memcmp(json, lineage->digest, size) == 0)
        lineage->descends = true;
    return 0;
}

static int check_lineage(struct delivery *delivery, struct item *item, const char *json,
                         struct error *error)
{
    static const struct pick_place ids = {"_revisions.ids[]", 256};
    const char *rev = word(delivery, item->rev);
    char digest[DOC_REV_BYTES + 2];
    struct lineage lineage = {.digest = digest};
    struct pick *pick = pick_new(&ids, 1, read_lineage, &lineage, error);
    int result = pick == NULL ? -1 : 0;

    (void)snprintf(digest, sizeof digest, "\"%s\"",
                   rev + strcspn(rev, "-") + (strchr(rev, '-') != NULL));
    if (result == 0)
        result = pick_feed(pick, json, item->place.size, error);
    pick_free(pick);
    item->checked = lineage.descends;
    if (!lineage.descends)
        item->state = ITEM_MISSING;
    return result;
}

/* The item's bytes, of its opened batch: 1; 0 it is missing after all; -1. */
static int get(struct delivery *delivery, struct item *item, const char **json, struct error *error)
{
    int result = opened_doc(delivery->request->service->opened, &item->place, json, error);

    if (result == 0) {
        item->state = ITEM_MISSING;
        return delivery_give_up(delivery->request, word(delivery, item->id), error);
    }
    if (result == 1 && item->state == ITEM_NEWER && !item->checked &&
        check_lineage(delivery, item, *json, error) != 0)
        return -1;
    return result == 1 && item->state == ITEM_MISSING ? 0 : result;
}

/* ---- the window ---- */

static int by_place(const void *a, const void *b)
{
    const struct item *one = *(struct item *const *)a, *other = *(struct item *const *)b;
    int order = memcmp(one->place.batch, other->place.batch, sizeof one->place.batch);

    if (order != 0)
        return order;
    return one->place.at < other->place.at ? -1 : one->place.at > other->place.at;
}

static int fill(struct delivery *delivery, struct item *item, struct error *error)
{
    const char *json;
    int result = get(delivery, item, &json, error);

    if (result != 1)
        return result;
    item->held = delivery->window.length;
    item->in_window = true;
    return buffer_append(&delivery->window, json, item->place.size, error);
}

/* From the item in hand on, as many as fit; a larger one is not held but shown from its batch. */
static int open_window(struct delivery *delivery, struct error *error)
{
    struct item *wanted[WINDOW_ITEMS];
    size_t wanted_count = 0, bytes = 0, n = delivery->at;

    close_window(delivery);
    for (; n < count(delivery) && wanted_count < WINDOW_ITEMS; n++) {
        struct item *item = item_at(delivery, n);

        if (item->state == ITEM_MISSING)
            continue;
        if (bytes + item->place.size > WINDOW_BYTES)
            break;
        bytes += item->place.size;
        wanted[wanted_count++] = item;
    }
    delivery->window_end = n > delivery->at ? n : delivery->at + 1;
    if (wanted_count < 2 || routes_hold(delivery->request, bytes, NULL) != 0)
        return 0;
    delivery->window_held = bytes;
    if (buffer_reserve(&delivery->window, bytes, error) != 0)
        return -1;
    qsort(wanted, wanted_count, sizeof wanted[0], by_place);
    for (size_t i = 0; i < wanted_count; i++)
        if (fill(delivery, wanted[i], error) < 0)
            return -1;
    return 0;
}

/* ---- on its way ---- */

static const char *held(const struct delivery *delivery, const struct item *item)
{
    return item->in_window ? (const char *)delivery->window.data + item->held : NULL;
}

/* 1 it is begun; 0 it is missing; -1. */
static int begin(struct delivery *delivery, struct item *item, struct buffer *out,
                 struct error *error)
{
    const char *json = held(delivery, item);
    const char *tail = delivery->tail.length > 0 ? (const char *)delivery->tail.data : NULL;
    int result = json != NULL ? 1 : get(delivery, item, &json, error);

    if (result != 1)
        return result;
    if (shown_begin(&delivery->shown, delivery->request->service->opened, &item->place, json,
                    &delivery->options, tail, error) != 0 ||
        delivery->form->begin(out, word(delivery, item->id), word(delivery, item->rev),
                              !delivery->wrote, error) != 0)
        return -1;
    delivery->begun = true;
    return 1;
}

/* One item, or a part of it. */
static int go_on(struct delivery *delivery, struct buffer *out, struct error *error)
{
    struct item *item = item_at(delivery, delivery->at);
    int result = 1;

    if (!delivery->begun && item->state != ITEM_MISSING && begin(delivery, item, out, error) < 0)
        return -1;
    if (delivery->begun) {
        result = shown_more(&delivery->shown, held(delivery, item), out, ANSWER_PIECE_BYTES, error);
        if (result != 0)
            return result;
        shown_end(&delivery->shown);
        delivery->begun = false;
        if (delivery->form->end != NULL && delivery->form->end(out, error) != 0)
            return -1;
    } else if (delivery->form->missing(out, word(delivery, item->id), word(delivery, item->rev),
                                       !delivery->wrote, error) != 0) {
        return -1;
    }
    delivery->wrote = true;
    delivery->at++;
    return 1;
}

enum answer_step delivery_more(struct delivery *delivery, struct buffer *out, struct error *error)
{
    size_t until = out->length + ANSWER_PIECE_BYTES;

    while (delivery->at < count(delivery) && out->length < until) {
        if (delivery->at >= delivery->window_end && open_window(delivery, error) != 0)
            return ANSWER_FAILED;
        if (go_on(delivery, out, error) < 0)
            return ANSWER_FAILED;
    }
    return delivery->at < count(delivery) ? ANSWER_MORE : ANSWER_END;
}
