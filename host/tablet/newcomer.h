/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A client that reads a database from its beginning when another one has read on in it before: a second app, or the same one
 * after its data was cleared.  It has nothing, so what this tablet holds for the first app's sake alone, and not on its
 * shelf, counts as lost: the next receipt does not list it, and the server's dock sends it (docs/down.md, section 1).
 *
 * The first client that begins is none of those: what it sent up itself is not sent back to it.
 */
#ifndef BODA_HOST_TABLET_NEWCOMER_H
#define BODA_HOST_TABLET_NEWCOMER_H

#include <stdint.h>

#include "store/store.h"

/* DB is read from SINCE on.  Has a transaction of its own, where there is something to write. */
int newcomer_reads(struct store *store, const char *db, int64_t since, struct error *error);

#endif
