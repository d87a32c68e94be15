/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Receipts of the server to the tablets, made by the dock that has its key.
 */
#ifndef BODA_HOST_DOCK_RECEIPTS_H
#define BODA_HOST_DOCK_RECEIPTS_H

#include <stdint.h>

#include "store/identity.h"

/* Make the receipt of each source that one is due to, each in a transaction of its own; *MADE counts
 * them.  A source's certificate is the one that its batches showed, or stations/NAME.crt in the folder
 * DEPLOYMENT; a source without one, or revoked, is logged and left due. */
int receipts_make(struct store *store, const struct identity *server, struct trust *trust,
                  const char *deployment, uint64_t *made, struct error *error);

#endif
