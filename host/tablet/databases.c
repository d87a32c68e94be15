/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/databases.h"

#include <stdio.h>
#include <string.h>

#include "store/revs.h"

bool databases_has(const struct identity *tablet, const char *db)
{
    char meta[DOC_DB_BYTES];

    (void)snprintf(meta, sizeof meta, "medic-user-%s-meta", identity_user(tablet));
    return strcmp(db, "medic") == 0 || (identity_user(tablet)[0] != '\0' && strcmp(db, meta) == 0);
}
