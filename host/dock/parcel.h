/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The documents of one request: their text as _bulk_docs takes it, and what is known of each.  A struct
 * parcel is all zero before parcel_open.
 */
#ifndef BODA_HOST_DOCK_PARCEL_H
#define BODA_HOST_DOCK_PARCEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

enum outcome_state {
    OUTCOME_OPEN,   /* not settled */
    OUTCOME_PROVEN, /* the server has it */
    OUTCOME_REFUSED /* it lacks it */
};

struct item {
    uint32_t batch;
    enum outcome_state state;
    bool sent;           /* was in a _bulk_docs */
    bool tried_alone;    /* was answered 500 when it was the only one */
    uint32_t hash;       /* parcel_hash */
    size_t id, rev;      /* strings, where in names */
    size_t word, reason; /* the server's, where in names; 0: "" */
    size_t at, length;   /* its text, where in body; length 0: the server is only asked for it */
};

/* The same document, in another batch. */
struct share {
    uint32_t item;
    uint32_t batch;
};

struct parcel {
    struct buffer body;
    bool closed; /* the body has its tail: nothing can be added */
    struct buffer names;
    struct item *items;
    size_t count, capacity;
    struct share *shares;
    size_t shares_count, shares_capacity;
    uint32_t *slots; /* hash table of items, by id and rev: number + 1 */
    size_t slots_count;
};

int parcel_open(struct parcel *parcel, struct error *error);
void parcel_free(struct parcel *parcel); /* leaves it all zero; all zero is harmless */

/* The text is not needed any more. */
void parcel_free_body(struct parcel *parcel);

/* For parcel_find, which is asked of many parcels in turn. */
uint32_t parcel_hash(const char *id, const char *rev);

/* The number of the item with this id and rev, whose parcel_hash is HASH, or -1. */
long parcel_find(const struct parcel *parcel, uint32_t hash, const char *id, const char *rev);

/* Add a document, which must not be there; its bytes are copied.  LENGTH 0: only to be asked for. */
int parcel_add(struct parcel *parcel, uint32_t batch, const char *id, const char *rev,
               const char *json, size_t length, struct error *error);

/* The document ITEM came in another batch, too. */
int parcel_share(struct parcel *parcel, uint32_t item, uint32_t batch, struct error *error);

/* A string of an item. */
const char *parcel_name(const struct parcel *parcel, size_t at);

/* It is refused, in these words. */
int parcel_refuse(struct parcel *parcel, size_t item, const char *word, const char *reason,
                  struct error *error);

/* What came of a document; the strings are owned by the parcel. */
struct outcome {
    uint32_t batch;
    enum outcome_state state;
    bool asked_only;
    const char *id, *rev, *word, *reason;
};

/* Items and shares alike: true with OUT filled while AT is less than their number. */
bool parcel_outcome(const struct parcel *parcel, size_t at, struct outcome *out);

/* How many of the items FROM to TO (not included) are open. */
size_t parcel_open_items(const struct parcel *parcel, size_t from, size_t to);

/* Add the open items FROM to TO to a _revs_diff's question (diff_new). */
int parcel_ask(const struct parcel *parcel, size_t from, size_t to, json_t *question,
               struct error *error);

/* The body of a _revs_diff that asks for the open items FROM to TO replaces what OUT has. */
int parcel_question(const struct parcel *parcel, size_t from, size_t to, struct buffer *out,
                    struct error *error);

/* The body of a _bulk_docs with the open items FROM to TO: the parcel's own when that is all it has, else
 * copied together in PART.  Marks them as sent; *FIRST counts those sent for the first time. */
int parcel_body(struct parcel *parcel, size_t from, size_t to, struct buffer *part,
                const struct buffer **body, uint64_t *first, struct error *error);

#endif
