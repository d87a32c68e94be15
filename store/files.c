/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/files.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "store/batch.h"
#include "store/crypto.h"
#include "store/export.h"
#include "store/trust.h"

static const char *plural(uint64_t count, const char *one, const char *many)
{
    return count == 1 ? one : many;
}

int files_export(struct store *store, char *const *words, int count, bool all, struct error *error)
{
    struct export_counts counts;
    int result;

    if (count != 1)
        return error_set(error, ERROR_USAGE, "export: give the one folder to export to");
    result = export_run(store, words[0], all, &counts, error);
    if (result == 0 || counts.written > 0)
        (void)printf("exported %llu %s (%llu bytes), %llu %s there already\n",
                     (unsigned long long)counts.written, plural(counts.written, "batch", "batches"),
                     (unsigned long long)counts.written_bytes, (unsigned long long)counts.had,
                     plural(counts.had, "was", "were"));
    return result;
}

int files_label(void *context, const void *bytes, size_t size, struct label *label,
                struct error *error)
{
    const struct files_key *key = context;
    struct opened_batch opened;

    if (batch_open(key->identity, key->trust, NULL, bytes, size, &opened, NULL, error) != 0)
        return -1;
    memset(label, 0, sizeof *label);
    memcpy(label->from, opened.manifest.from, sizeof label->from);
    memcpy(label->to, opened.manifest.to, sizeof label->to);
    memcpy(label->epoch, opened.manifest.epoch, sizeof label->epoch);
    label->seq = opened.manifest.seq;
    label->size = size;
    opened_batch_free(&opened);
    if (EVP_Digest(bytes, size, label->id, NULL, EVP_sha256(), NULL) != 1)
        return crypto_error(error, ERROR_FAILED, "SHA-256: OpenSSL cannot hash");
    return 0;
}

static void print_counts(const struct import_counts *counts)
{
    uint64_t left = counts->wrong + counts->full;

    (void)printf("imported %llu %s, had %llu", (unsigned long long)counts->taken,
                 plural(counts->taken, "batch", "batches"), (unsigned long long)counts->had);
    if (counts->others > 0)
        (void)printf(", %llu %s for other stations", (unsigned long long)counts->others,
                     plural(counts->others, "is", "are"));
    if (counts->ignored > 0)
        (void)printf(", %llu other %s ignored", (unsigned long long)counts->ignored,
                     plural(counts->ignored, "file", "files"));
    if (left > 0)
        (void)printf(", %llu %s left", (unsigned long long)left,
                     plural(left, "file was", "files were"));
    (void)printf("%s\n", counts->list ? "; a newer revocation list" : "");
}

int files_import(const struct import_options *options, char *const *words, int count,
                 struct error *error)
{
    const struct import_counts *counts;
    struct import *import;
    struct error later;
    int result = 0;

    if (count < 1)
        return error_set(error, ERROR_USAGE, "import: give a folder, or batch files");
    import = import_new(options, error);
    if (import == NULL)
        return -1;
    for (int i = 0; i < count && result == 0; i++)
        result = import_path(import, words[i], error);
    /* Also behind a medium that has gone: what was read from it is whole. */
    if (import_commit(import, &later) != 0 && result == 0) {
        *error = later;
        result = -1;
    }
    counts = import_counts(import);
    print_counts(counts);
    if (result == 0 && counts->full > 0)
        result = error_set(error, ERROR_FULL, "import: make room in the store, and import again");
    else if (result == 0 && counts->wrong > 0)
        result = error_set(error, ERROR_FAILED, "import: some files were left, as said above");
    import_free(import);
    return result;
}

bool files_is_command(const char *name)
{
    return strcmp(name, "export") == 0 || strcmp(name, "import") == 0;
}

static int run_with(const struct files_command *command, struct store *store, struct error *error)
{
    struct files_key key = {.identity = command->identity};
    struct import_options import = {.store = store};
    int result;

    if (command->identity != NULL) {
        key.trust = trust_open(command->identity, store, error);
        if (key.trust == NULL)
            return -1;
        import.trust = key.trust;
        import.open = files_label;
        import.context = &key;
    }
    if (strcmp(command->name, "export") == 0)
        result = files_export(store, command->words, command->words_count, command->all, error);
    else
        result = files_import(&import, command->words, command->words_count, error);
    trust_free(key.trust);
    return result;
}

int files_run(const struct files_command *command, struct error *error)
{
    struct store_options options = {.directory = command->directory,
                                    .quota_bytes = command->quota_bytes};
    struct store *store;
    int result;

    if (command->identity != NULL) {
        options.station = identity_name(command->identity);
        options.role = role_name(identity_role(command->identity));
    }
    store = store_open(&options, error);
    if (store == NULL)
        return -1;
    result = run_with(command, store, error);
    store_close(store);
    return result;
}
