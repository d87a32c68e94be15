/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The two databases of a tablet's user.
 */
#ifndef BODA_HOST_TABLET_DATABASES_H
#define BODA_HOST_TABLET_DATABASES_H

#include "store/identity.h"

/* DB is "medic", or the "medic-user-NAME-meta" of this tablet's user. */
bool databases_has(const struct identity *tablet, const char *db);

#endif
