/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Documents that a tablet holds and the server does not list any more: which of them are deleted or purged there is asked in
 * portions (CHT's get-deletes).
 */
#ifndef BODA_HOST_DOCK_GONE_H
#define BODA_HOST_DOCK_GONE_H

#include "base/buffer.h"
#include "store/holdings.h"

#define GONE_DIGEST_BYTES 65 /* in hex, with its zero */

struct gone;

struct gone *gone_new(struct error *error);
void gone_free(struct gone *gone); /* NULL is harmless */

/* The body of the next question, the same one until its answer was taken: 1, 0 there is nothing more to ask, -1.
 * Owned by GONE. */
int gone_next(struct gone *gone, struct store *store, const char *tablet, const char *db,
              const struct buffer **body, struct error *error);

/* Its answer; ids that were not asked for are dropped.  -1 with ERROR_TEMPORARY when it cannot be used. */
int gone_take(struct gone *gone, const char *body, size_t size, struct error *error);

/* Those that are gone, each once, in order. */
const char *const *gone_ids(const struct gone *gone, size_t *count);

/* A digest of them, "" when there is none: they are not told again and again. */
int gone_digest(const struct gone *gone, char text[GONE_DIGEST_BYTES], struct error *error);

#endif
