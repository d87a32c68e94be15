/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda-dock refused list|retry|dismiss: the documents that the server would not take.
 */
#ifndef BODA_HOST_DOCK_REFUSED_H
#define BODA_HOST_DOCK_REFUSED_H

#include "host/dock/dock.h"

/* WORDS (COUNT of them) are what stands behind "refused": list, or retry or dismiss with numbers, or
 * with ALL. */
int refused_run(struct dock *dock, char *const *words, int count, bool all, struct error *error);

#endif
