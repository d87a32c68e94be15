/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * USB device controllers (UDC), as the kernel shows them in /sys/class/udc: which are there, and who has
 * them.  ROOT is "" but for tests.
 */
#ifndef BODA_GADGET_UDC_H
#define BODA_GADGET_UDC_H

#include <stdbool.h>

#include "base/error.h"
#include "base/tree.h"

/* Which UDC the gadget of configfs GADGET is registered for, "" when for none.  It may be one that has
 * gone. */
void udc_of(const char *root, const char *gadget, char udc[TREE_NAME_BYTES]);

/* Whether UDC is there and driven by GADGET: the host, if any, sees it. */
bool udc_is_driven_by(const char *root, const char *udc, const char *gadget);

/* The UDC that is free for GADGET: WANTED, or (NULL) the first one that is.  -1 with ERROR_TEMPORARY: none
 * is there, or another gadget holds it, and the words say which one. */
int udc_choose(const char *root, const char *wanted, const char *gadget, char udc[TREE_NAME_BYTES],
               struct error *error);

#endif
