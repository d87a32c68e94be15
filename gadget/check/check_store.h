/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The store's part of the check: the disk that it is on, and what is in it already.
 */
#ifndef BODA_GADGET_CHECK_STORE_H
#define BODA_GADGET_CHECK_STORE_H

#include "gadget/check/findings.h"

/* STATION is the courier's name, "" when it is not known.  ROOT is for the kernel's command line. */
void check_store(const char *root, const char *folder, const char *station,
                 struct findings *findings);

#endif
