/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/group.h"

#include <stdlib.h>
#include <string.h>

#include "store/streams.h"

struct piece {
    size_t item, start, size; /* START in the arena */
    uint64_t offset;          /* within the batch */
    bool right;               /* the batch ends here, and has the right hash */
    bool skip;                /* it has the wrong one, or found no room */
};

struct group {
    size_t count, used;
    struct piece pieces[MESSAGE_PAGE_LABELS];
    unsigned char arena[GROUP_BYTES + MESSAGE_DATA_BYTES];
};

struct group *group_new(struct error *error)
{
    struct group *group = malloc(sizeof *group); /* pages that are never used cost nothing */

    if (group == NULL)
        error_set(error, ERROR_FAILED, "exchange: no memory");
    else
        group_clear(group);
    return group;
}

void group_free(struct group *group)
{
    free(group);
}

void group_clear(struct group *group)
{
    group->count = 0;
    group->used = 0;
}

void group_add(struct group *group, const struct group_page *page, size_t i, const void *bytes,
               size_t size)
{
    const struct group_item *item = &page->items[i];
    struct piece *last = group->count > 0 ? &group->pieces[group->count - 1] : NULL;

    if (last == NULL || last->item != i) {
        last = &group->pieces[group->count++];
        *last = (struct piece){.item = i, .start = group->used, .offset = item->next};
    }
    memcpy(group->arena + group->used, bytes, size);
    group->used += size;
    last->size += size;
    last->right = item->right;
    last->skip = item->wrong;
}

bool group_full(const struct group *group)
{
    return group->used >= GROUP_BYTES;
}

size_t group_pieces(const struct group *group)
{
    return group->count;
}

size_t group_item(const struct group *group, size_t piece)
{
    return group->pieces[piece].item;
}

void group_drop_full(struct group *group, const struct group_page *page)
{
    for (size_t i = 0; i < group->count; i++)
        if (page->items[group->pieces[i].item].verdict == VERDICT_FULL)
            group->pieces[i].skip = true;
}

bool group_walkable(const struct group_item *item)
{
    return item->verdict != VERDICT_WANTED || item->right || item->wrong;
}

/* ---- in a transaction ---- */

static int write_piece(const struct group *group, const struct group_place *place,
                       const struct label *label, const struct piece *piece,
                       struct group_progress *progress, struct error *error)
{
    const unsigned char *bytes = group->arena + piece->start;
    struct batch batch;
    int found;

    if (piece->skip)
        return 0;
    if (piece->right && piece->offset == 0)
        return batches_add(place->store, label, bytes, piece->size, error);
    /* Another program may have brought the same batch in the meantime. */
    found = batches_find(place->store, label->id, &batch, error);
    if (found < 0)
        return -1;
    if (found == 1 && batch.state != BATCH_PARTIAL) {
        progress->again_bytes += piece->size;
        return 0;
    }
    if ((found == 1 ? batch.offset : 0) != piece->offset)
        return error_set(error, ERROR_TEMPORARY,
                         "exchange: another program took the same batch in this moment; the next "
                         "session goes on");
    if (batches_append(place->store, label, piece->offset, bytes, piece->size, error) != 0)
        return -1;
    return piece->right ? batches_complete(place->store, label->id, error) : 0;
}

/* What a final item means beyond its bytes. */
static int walk_item(const struct group_place *place, const struct group_item *item,
                     struct group_progress *progress, struct error *error)
{
    const struct label *label = &item->offer.label;

    if (item->wrong || item->verdict == VERDICT_FULL) {
        if (progress->blocked_position == 0)
            progress->blocked_position = item->offer.position;
        return item->wrong && item->row ? batches_discard(place->store, label->id, error) : 0;
    }
    if (place->own_mail != NULL && strcmp(place->own_mail, label->to) == 0) {
        if (peers_carries(place->store, place->uuid, label->id, error) != 0)
            return -1;
        /* Its source offers what is applied here: it has no receipt. */
        if (item->applied && label->seq > 0 &&
            streams_set_due(place->store, label->from, true, error) != 0)
            return -1;
    }
    if (progress->blocked_position == 0) {
        progress->cursor.position = item->offer.position;
        memcpy(progress->cursor.id, label->id, BATCH_ID_BYTES);
    }
    return 0;
}

static bool same_cursor(const struct cursor *a, const struct cursor *b)
{
    return a->position == b->position && memcmp(a->id, b->id, BATCH_ID_BYTES) == 0;
}

int group_write(const struct group *group, const struct group_place *place,
                const struct group_page *page, size_t first, size_t end, size_t limit,
                struct group_progress *progress, struct error *error)
{
    struct group_progress reached = *progress;

    if (store_begin(place->store, error) != 0)
        return -1;
    for (size_t i = first; i < end; i++) {
        const struct piece *piece = &group->pieces[i];

        if (write_piece(group, place, &page->items[piece->item].offer.label, piece, &reached,
                        error) != 0)
            goto fail;
    }
    for (; reached.walked < limit && group_walkable(&page->items[reached.walked]); reached.walked++)
        if (walk_item(place, &page->items[reached.walked], &reached, error) != 0)
            goto fail;
    if (!same_cursor(&reached.cursor, &progress->cursor) &&
        peers_set_cursor(place->store, place->uuid, &reached.cursor, error) != 0)
        goto fail;
    if (store_commit(place->store, error) != 0)
        return -1;
    *progress = reached;
    return 0;
fail:
    store_rollback(place->store);
    return -1;
}
