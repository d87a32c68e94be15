/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Revisions that a client asked for, delivered in the order of asking from the batches of the shelf.  A window of them
 * is looked up ahead, so that each batch is opened once for all that a window wants of it.
 */
#ifndef BODA_HOST_TABLET_DELIVERY_H
#define BODA_HOST_TABLET_DELIVERY_H

#include "host/tablet/routes.h"
#include "host/tablet/shown.h"

/* How it looks: each function appends to OUT what goes ahead of a document, behind it, or in place of a revision that is
 * not here.  FIRST: nothing was written before.  `end` may be NULL. */
struct delivery_form {
    int (*begin)(struct buffer *out, const char *id, const char *rev, bool first,
                 struct error *error);
    int (*end)(struct buffer *out, struct error *error);
    int (*missing)(struct buffer *out, const char *id, const char *rev, bool first,
                   struct error *error);
};

struct delivery;

/* For REQUEST, from its database; FORM is borrowed. */
struct delivery *delivery_new(struct request *request, const struct delivery_form *form,
                              const struct shown_options *options, struct error *error);
void delivery_free(struct delivery *delivery); /* NULL is harmless */

/* One more: REV of ID (with LATEST, a leaf that descends from it will do), or with REV NULL the winning one.  ERROR_FULL
 * when clients ask for too much at a time. */
int delivery_add(struct delivery *delivery, const char *id, const char *rev, bool latest,
                 struct error *error);
size_t delivery_found(const struct delivery *delivery); /* how many of them are on the shelf */

/* More members for all of them: as shown_begin. */
int delivery_set_tail(struct delivery *delivery, const char *tail, struct error *error);

/* All are named.  Those that this tablet was believed to hold and that are not on the shelf count as lost
 * from now on (docs/down.md, section 1): in a transaction of its own. */
int delivery_settle(struct delivery *delivery, struct error *error);

/* ID's batch cannot be opened any more (opened_doc): ID leaves the shelf, and the server is asked for it anew. */
int delivery_give_up(struct request *request, const char *id, struct error *error);

/* The next piece: MORE, END or FAILED. */
enum answer_step delivery_more(struct delivery *delivery, struct buffer *out, struct error *error);

#endif
