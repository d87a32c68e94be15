/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What couriers bring to this tablet: receipts, which free what the server has.
 */
#ifndef BODA_HOST_TABLET_INBOX_H
#define BODA_HOST_TABLET_INBOX_H

#include "store/batch.h"

struct inbox;

struct inbox *inbox_new(const struct identity *identity, struct error *error);
void inbox_free(struct inbox *inbox); /* NULL is harmless */

/* Open what is new among the batches that are addressed to us: receipts are applied, what cannot be
 * opened is set aside with the reason, kinds that are not known stay.  STORE and TRUST are the calling
 * thread's; makes its own transactions.  1 something was applied, 0 nothing, -1 (the next call tries
 * again). */
int inbox_work(struct inbox *inbox, struct store *store, struct trust *trust, struct error *error);

#endif
