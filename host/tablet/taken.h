/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The revisions of one request, each with its ancestors: so that a document that is in it twice is carried once, and so
 * that they become known together.  Its memory is that of the words and 16 bytes a revision: it cannot
 * exceed the request's own size by much.
 */
#ifndef BODA_HOST_TABLET_TAKEN_H
#define BODA_HOST_TABLET_TAKEN_H

#include "store/doc.h"

struct taken;

struct taken *taken_new(struct error *error);
void taken_free(struct taken *taken); /* NULL is harmless */

int taken_has(const struct taken *taken, const char *id, const char *rev); /* 1, 0 */
int taken_add(struct taken *taken, const char *id, const char *rev, struct error *error);
int taken_add_with(struct taken *taken, const char *id, const char *rev,
                   const struct doc_ancestors *ancestors, struct error *error);
size_t taken_count(const struct taken *taken);

/* Calls SHOW for each revision in order; stops when it does not return 0, with what it returned.  ANCESTORS: word
 * behind word, each with its zero, up to an empty one. */
int taken_each(const struct taken *taken,
               int (*show)(const char *id, const char *rev, const char *ancestors, void *context),
               void *context);

void taken_clear(struct taken *taken);

#endif
