/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Inside of the receiving half only: a page of offered batches, and what came of them since the last
 * commit, gathered in a fixed arena to be written in one transaction.
 */
#ifndef BODA_LINK_GROUP_H
#define BODA_LINK_GROUP_H

#include "link/message.h"

#define GROUP_BYTES \
    (256u << 10) /* an arena that has so many is full; two may be lost with the power */

struct group_item {
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

struct group_page {
    size_t count;
    struct group_item items[MESSAGE_PAGE_LABELS];
};

/* How far the store has come. */
struct group_progress {
    struct cursor cursor;
    int64_t blocked_position; /* the cursor stays before it; 0: nowhere */
    size_t walked;            /* the items before it are final, and in the store as such */
    uint64_t again_bytes;     /* came, though another program had brought them */
};

/* Where a group is written to. */
struct group_place {
    struct store *store;  /* the writing thread's */
    const char *uuid;     /* the peer's store */
    const char *own_mail; /* as in struct taking_options */
};

struct group;

struct group *group_new(struct error *error);
void group_free(struct group *group); /* NULL is harmless */

/* SIZE bytes (at most a DATA frame's) go on with item I; the group is not full. */
void group_add(struct group *group, const struct group_page *page, size_t i, const void *bytes,
               size_t size);
bool group_full(const struct group *group);
void group_clear(struct group *group);

/* Pieces: at most one an item, in the order of items. */
size_t group_pieces(const struct group *group);
size_t group_item(const struct group *group, size_t piece);

/* What of it belongs to items that have found no room elsewhere is not to be written any more. */
void group_drop_full(struct group *group, const struct group_page *page);

/* Nothing more will change of this item but by being written. */
bool group_walkable(const struct group_item *item);

/* Write pieces FIRST up to END, and what the walkable items up to LIMIT mean beyond their bytes, in
 * one transaction; PROGRESS goes on when it has succeeded.  Reads of PAGE only the labels of the
 * pieces' items and the walkable items between `walked` and LIMIT: another thread may change the
 * others meanwhile. */
int group_write(const struct group *group, const struct group_place *place,
                const struct group_page *page, size_t first, size_t end, size_t limit,
                struct group_progress *progress, struct error *error);

#endif
