/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What couriers bring to this tablet: documents for the shelf, views, and receipts, which free what the server has;
 * and the receipt that they take back (docs/down.md).
 */
#ifndef BODA_HOST_TABLET_INBOX_H
#define BODA_HOST_TABLET_INBOX_H

#include "store/batch.h"

struct inbox;

struct inbox *inbox_new(const struct identity *identity, struct error *error);
void inbox_free(struct inbox *inbox); /* NULL is harmless */

/* Open what is new among the batches that are addressed to us and use each in one transaction; what cannot be
 * opened, or is malformed, is set aside with the reason and nothing of it is used; kinds that are not known stay.  Then a
 * receipt is made if one is due.  STORE and TRUST are the calling thread's.  Memory: one opened batch.  1 something was
 * applied or made, 0 nothing, -1 (the next call tries again). */
int inbox_work(struct inbox *inbox, struct store *store, struct trust *trust, struct error *error);

#endif
