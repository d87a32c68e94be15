/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda-dock aside list|release|drop: the batches that were set aside (docs/dock.md).
 */
#ifndef BODA_HOST_DOCK_ASIDE_H
#define BODA_HOST_DOCK_ASIDE_H

#include "host/dock/dock.h"

/* WORDS (COUNT of them) are what stands behind "aside": list, or release or drop with numbers, or with
 * ALL.  To drop needs YES, as what is dropped is gone. */
int aside_run(struct dock *dock, char *const *words, int count, bool all, bool yes,
              struct error *error);

#endif
