/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The tablets whose mail a courier may carry: a list of names that ends with NULL; NULL itself: all of them.  A cursor
 * says what was offered of those, so with another list it says nothing (docs/protocol.md, "Cursors").
 */
#ifndef BODA_LINK_TABLETS_H
#define BODA_LINK_TABLETS_H

#include "store/peers.h"

bool tablets_have(const char *const *tablets, const char *name);

/* 1 the cursor of the peer store UUID was made with this very list, 0 with another one, -1. */
int tablets_same(struct store *store, const char *uuid, const char *const *tablets,
                 struct error *error);

/* From now on it is made with this one; makes its own transaction. */
int tablets_keep(struct store *store, const char *uuid, const char *const *tablets,
                 struct error *error);

#endif
