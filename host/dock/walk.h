/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Walks the batches that are held for the server, in the order of their streams, opens each and gives
 * its documents to the sender (docs/replay.md, "Waves").
 */
#ifndef BODA_HOST_DOCK_WALK_H
#define BODA_HOST_DOCK_WALK_H

#include "host/dock/replay.h"
#include "host/dock/sender.h"
#include "host/dock/users.h"
#include "store/batch.h"

struct walk {
    const struct replay_options *options;
    struct sender *sender;
    struct tally *tally;
    struct replay_counts *counts;
    bool at_once;                   /* what fits in memory is opened only once */
    uint64_t contacts;              /* contacts in the batches of this run */
    char signer[STORE_NAME_BYTES];  /* whose certificate was remembered last */
    char unknown[STORE_NAME_BYTES]; /* the unknown user that was told last */
};

/* The contacts of all held batches: when it returns, none is left to be sent.  Batches that cannot be opened are set aside, receipts applied. */
int walk_contacts(struct walk *walk, struct error *error);

/* The other documents of the batches that walk_contacts saw. */
int walk_rest(struct walk *walk, struct error *error);

/* Open a batch that is here: 1; 0 it cannot be opened, REASON says why; -1 the store failed.  A revoked
 * signer passes only where the administrator has released the batch. */
int walk_open(struct walk *walk, const struct label *label, struct opened_batch *opened,
              struct error *reason, struct error *error);

#endif
