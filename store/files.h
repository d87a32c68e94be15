/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The subcommands `export` and `import` of the three stations (docs/files.md): what they do once the store is open, and
 * the line that they end with on standard output.
 */
#ifndef BODA_STORE_FILES_H
#define BODA_STORE_FILES_H

#include "store/import.h"

/* Export into the one folder of WORDS. */
int files_export(struct store *store, char *const *words, int count, bool all, struct error *error);

/* Import each of WORDS.  -1 also when a file was left that should have been taken. */
int files_import(const struct import_options *options, char *const *words, int count,
                 struct error *error);

#endif
