/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The subcommands `export` and `import` of the three stations (docs/files.md): what they do once the store is open, and
 * the line that they end with on standard output.
 */
#ifndef BODA_STORE_FILES_H
#define BODA_STORE_FILES_H

#include "store/identity.h"
#include "store/import.h"

/* A command line of boda-tablet and boda-courier. */
struct files_command {
    const char *name; /* "export" or "import" */
    char *const *words;
    int words_count;
    bool all;
    const char *directory; /* of the store */
    uint64_t quota_bytes;
    const struct identity *identity; /* NULL: not given; a store that is new needs it */
};

/* NAME is a command of these. */
bool files_is_command(const char *name);

/* Open the store and do it. */
int files_run(const struct files_command *command, struct error *error);

/* Export into the one folder of WORDS. */
int files_export(struct store *store, char *const *words, int count, bool all, struct error *error);

/* A key for import_options.open, with struct files_key as its context: the destination's own. */
struct files_key {
    const struct identity *identity;
    struct trust *trust;
};
int files_label(void *context, const void *bytes, size_t size, struct label *label,
                struct error *error);

/* Import each of WORDS.  -1 also when a file was left that should have been taken. */
int files_import(const struct import_options *options, char *const *words, int count,
                 struct error *error);

#endif
