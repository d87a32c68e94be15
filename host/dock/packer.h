/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Documents that go down to one tablet, made into `docs` batches that are sealed to it (docs/down.md, 2).
 */
#ifndef BODA_HOST_DOCK_PACKER_H
#define BODA_HOST_DOCK_PACKER_H

#include <stdint.h>

#include "store/identity.h"

#define PACKER_BATCH_BYTES (1u << 20) /* plaintext of a batch; one larger document goes alone */

/* For whom; all of it is borrowed. */
struct packer_options {
    struct store *store;
    const struct identity *server; /* who signs */
    X509 *recipient;
    const char *tablet, *user, *db;
};

struct packer;

struct packer *packer_new(const struct packer_options *options, struct error *error);
void packer_free(struct packer *packer); /* what was not flushed is gone; NULL is harmless */

/* Add a document: LINE has SIZE bytes, the last one '\n'.  May write a batch, in a transaction of its own with
 * the documents that are under way in it; on failure that batch's documents are gone, to be fetched again. */
int packer_add(struct packer *packer, const char *id, const char *rev, const char *line,
               size_t size, struct error *error);

/* Write what was added. */
int packer_flush(struct packer *packer, struct error *error);

/* What was written. */
uint64_t packer_docs(const struct packer *packer);
uint64_t packer_batches(const struct packer *packer);

#endif
