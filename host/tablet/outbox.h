/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * From documents to batches for the server: one request's documents become visible and durable all at
 * once, or not at all.
 *
 *     outbox_begin(outbox, "medic", &error);
 *     outbox_add(outbox, json, size, &error);       for each document
 *     outbox_commit(outbox, &error);                durable when it returns 0; else outbox_abandon
 *
 * One request at a time: the numbers of its batches are sealed within them and are taken in the last
 * transaction, so nothing else of this stream may come in between.  Memory: 4 MiB of documents, their
 * ids and revs, and while a batch is sealed three times its size.  What is sealed before the request
 * is complete waits as a partial batch, which nobody is offered.
 */
#ifndef BODA_HOST_TABLET_OUTBOX_H
#define BODA_HOST_TABLET_OUTBOX_H

#include "store/batch.h"

struct outbox;

/* STORE and IDENTITY must outlive it.  Discards what a run that was killed had left half done. */
struct outbox *outbox_new(struct store *store, const struct identity *identity,
                          struct error *error);
void outbox_free(struct outbox *outbox);

int outbox_begin(struct outbox *outbox, const char *db, struct error *error);

/* One document: SIZE bytes, no line break within, JSON[SIZE] is '\n'.  ERROR_USAGE when it is none
 * that can be carried, ERROR_REFUSED for an attachment without its data; other kinds are faults of this station (ERROR_FULL: no room). */
int outbox_add(struct outbox *outbox, const char *json, size_t size, struct error *error);

int outbox_commit(struct outbox *outbox, struct error *error);

/* Forget everything since outbox_begin; harmless when there is nothing. */
void outbox_abandon(struct outbox *outbox);

#endif
