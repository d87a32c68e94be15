/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What a courier's store really holds before it was at a dock, for tests of power loss: stored DIR.  Checks the database
 * and the hash of every batch that counts as complete; prints "ID SIZE" for each of these, "ID replaced" for each
 * unnumbered one (a receipt) that made way for a later one, and then "B bytes, P partial", B with those of partial
 * ones.  Exit status 1: the store does not open, or something in it is not what it should be.
 */
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "store/batches.h"
#include "store/store.h"

static int hash_batch(struct store *store, const struct batch *batch, EVP_MD_CTX *hash,
                      unsigned char *digest, struct error *error)
{
    unsigned length;

    if (EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
        return error_set(error, ERROR_FAILED, "OpenSSL has no SHA-256");
    if (batches_hash(store, batch->label.id, batch->label.size, hash, error) != 0)
        return -1;
    if (EVP_DigestFinal_ex(hash, digest, &length) != 1)
        return error_set(error, ERROR_FAILED, "OpenSSL cannot hash");
    return 0;
}

static int look_at(struct store *store, const struct batch *batch, EVP_MD_CTX *hash,
                   struct error *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[BATCH_ID_TEXT_BYTES];

    hex_encode(batch->label.id, BATCH_ID_BYTES, text);
    if (batch->offset != batch->label.size)
        return error_set(error, ERROR_CORRUPT,
                         "batch %s: counts as complete with %llu of %llu bytes", text,
                         (unsigned long long)batch->offset, (unsigned long long)batch->label.size);
    if (hash_batch(store, batch, hash, digest, error) != 0)
        return -1;
    if (memcmp(digest, batch->label.id, BATCH_ID_BYTES) != 0)
        return error_set(error, ERROR_CORRUPT, "batch %s: has other bytes than its id says", text);
    printf("%s %llu\n", text, (unsigned long long)batch->label.size);
    return 0;
}

/* *NUMBERED of them have a number. */
static int look_at_held(struct store *store, EVP_MD_CTX *hash, uint64_t *numbered,
                        struct error *error)
{
    const struct batch_filter held = {.state = BATCH_HELD};
    struct batch batch = {0};
    int found;

    *numbered = 0;
    while ((found = batches_next(store, &held, batch.position, &batch, error)) == 1) {
        *numbered += batch.label.seq != 0;
        if (look_at(store, &batch, hash, error) != 0)
            return -1;
    }
    return found;
}

static int look_at_applied(struct store *store, struct error *error)
{
    const struct batch_filter applied = {.state = BATCH_APPLIED};
    struct batch batch = {0};
    char text[BATCH_ID_TEXT_BYTES];
    int found;

    while ((found = batches_next(store, &applied, batch.position, &batch, error)) == 1) {
        hex_encode(batch.label.id, BATCH_ID_BYTES, text);
        if (batch.label.seq != 0)
            return error_set(error, ERROR_CORRUPT, "batch %s: counts as applied", text);
        printf("%s replaced\n", text);
    }
    return found;
}

static int look(struct store *store, EVP_MD_CTX *hash, struct error *error)
{
    const struct batch_filter all = {.state = BATCH_HELD};
    struct batch_counts counts;
    uint64_t numbered;

    if (store_check(store, error) != 0 || look_at_held(store, hash, &numbered, error) != 0 ||
        look_at_applied(store, error) != 0 || batches_count(store, &all, &counts, error) != 0)
        return -1;
    if (counts.held != numbered || counts.aside != 0)
        return error_set(error, ERROR_CORRUPT,
                         "the store counts %llu held, %llu aside, and lists %llu",
                         (unsigned long long)counts.held, (unsigned long long)counts.aside,
                         (unsigned long long)numbered);
    printf("%llu bytes, %llu partial\n", (unsigned long long)counts.held_bytes,
           (unsigned long long)counts.partial);
    return fflush(stdout) == 0 ? 0 : error_set(error, ERROR_FAILED, "cannot be printed");
}

int main(int argc, char **argv)
{
    const struct store_options options = {.directory = argv[argc > 1 ? 1 : 0], .read_only = true};
    struct error error = {.text = "usage: stored DIR"};
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    struct store *store = argc == 2 && hash != NULL ? store_open(&options, &error) : NULL;
    bool good = store != NULL && look(store, hash, &error) == 0;

    if (!good)
        fprintf(stderr, "stored: %s\n", error.text);
    store_close(store);
    EVP_MD_CTX_free(hash);
    return good ? 0 : 1;
}
