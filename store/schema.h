/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Inside of store/ only: the tables, and the steps that bring an older database to them.
 */
#ifndef BODA_STORE_SCHEMA_H
#define BODA_STORE_SCHEMA_H

#include "store/store.h"

/* What PRAGMA application_id says of our databases: "Boda". */
#define SCHEMA_APPLICATION 0x426f6461

enum schema_found {
    SCHEMA_NONE,    /* an empty database */
    SCHEMA_OLDER,   /* steps are missing */
    SCHEMA_CURRENT, /* nothing to do */
    SCHEMA_NEWER,   /* made by a later program */
    SCHEMA_FOREIGN  /* another program's database */
};

/* Look which it is.  ERROR_CORRUPT when the database cannot be read as one. */
int schema_look(struct store *store, enum schema_found *found, struct error *error);

/* Take the missing steps, and with SCHEMA_NONE write the row of this station, in one transaction. */
int schema_build(struct store *store, const char *station, const char *role, struct error *error);

/* quick_check: of everything, or (ALL false) of all but the bytes of batches, which are most of a
 * large database and have hashes of their own. */
int schema_check_quickly(struct store *store, bool all, struct error *error);

/* integrity_check and foreign_key_check. */
int schema_check_fully(struct store *store, struct error *error);

#endif
