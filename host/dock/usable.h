/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Whether an answer of the server is one that a fetch can read.
 */
#ifndef BODA_HOST_DOCK_USABLE_H
#define BODA_HOST_DOCK_USABLE_H

#include "host/dock/cht.h"

/* 0: status 200 and JSON.  Else -1: ERROR_CLOSED the server is away; ERROR_REFUSED this user cannot log in, or
 * may not ask this; ERROR_TEMPORARY anything else. */
int usable_answer(const struct cht_answer *answer, struct error *error);

#endif
