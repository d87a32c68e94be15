/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The last wave of a replay: refused documents (docs/replay.md, "Refused documents").
 */
#ifndef BODA_HOST_DOCK_RETRY_H
#define BODA_HOST_DOCK_RETRY_H

#include "host/dock/walk.h"

/* The refused documents that are marked are sent once more, and for the others the server is asked, if
 * this run brought it anything, whether it has them by now: a later revision brings the older ones. */
int retry_run(struct walk *walk, struct error *error);

#endif
