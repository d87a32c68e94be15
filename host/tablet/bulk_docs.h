/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The body of `_bulk_docs`, read as a stream: each element of `docs` is handed over as the bytes that
 * came, never written anew.  Knows nothing of stores.
 */
#ifndef BODA_HOST_TABLET_BULK_DOCS_H
#define BODA_HOST_TABLET_BULK_DOCS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct bulk_docs;

/* One document: an object of SIZE bytes without raw line breaks; JSON[SIZE] is '\n', so that it is a
 * line of NDJSON as it stands.  Valid during the call.  0, -1: the body fails. */
typedef int bulk_docs_receive(const char *json, size_t size, void *context, struct error *error);

struct bulk_docs *bulk_docs_new(bulk_docs_receive *receive, void *context, struct error *error);
void bulk_docs_free(struct bulk_docs *bulk); /* NULL is harmless; the bytes are overwritten */

/* The next bytes of the body.  -1: it fails as a whole, with ERROR_USAGE when it is not what _bulk_docs
 * takes, else with the callback's own ERROR. */
int bulk_docs_feed(struct bulk_docs *bulk, const void *bytes, size_t size, struct error *error);

/* The body is complete: all of its JSON is here, `docs` was an array, `new_edits` false. */
int bulk_docs_end(struct bulk_docs *bulk, struct error *error);

#endif
