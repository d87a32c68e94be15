/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/leftovers.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/crypto.h"
#include "store/file_name.h"
#include "store/readme.h"

#define LEFTOVERS_MOST 256u /* one export leaves no more */
#define LEFTOVER_NAME_BYTES 32

struct leftover {
    char name[LEFTOVER_NAME_BYTES];
    unsigned char id[BATCH_ID_BYTES];
    bool stays;
};

struct leftovers {
    struct medium *medium;
    const char *folder;
    size_t count;
    struct leftover items[LEFTOVERS_MOST];
};

static int collect(const char *name, enum medium_kind kind, void *context, struct error *error)
{
    struct leftovers *leftovers = context;

    (void)error;
    if (kind == MEDIUM_FILE && medium_is_temporary(name) && leftovers->count < LEFTOVERS_MOST)
        (void)snprintf(leftovers->items[leftovers->count++].name, LEFTOVER_NAME_BYTES, "%s", name);
    return 0;
}

/* The hash of the bytes of a file at the top: 1, 0 it has none that could be Boda's, -1. */
static int hash(struct medium *medium, const char *name, unsigned char id[BATCH_ID_BYTES],
                struct error *error)
{
    struct buffer bytes = {0};
    struct error unread;
    int result;

    result = medium_read(medium, NULL, name, BATCH_MAX_BYTES, &bytes, &unread);
    if (result < 0)
        *error = unread;
    if (result == 1 && EVP_Digest(bytes.data, bytes.length, id, NULL, EVP_sha256(), NULL) != 1)
        result = crypto_error(error, ERROR_FAILED, "SHA-256: OpenSSL cannot hash");
    buffer_free(&bytes);
    return result;
}

/* The leftovers whose bytes begin with SIZE bytes of this hash stay. */
static void keep(struct leftovers *leftovers, const unsigned char *id, size_t size)
{
    for (size_t i = 0; i < leftovers->count; i++)
        if (memcmp(leftovers->items[i].id, id, size) == 0)
            leftovers->items[i].stays = true;
}

/* A file that is there: does a leftover have its bytes? */
static int compare(const char *name, enum medium_kind kind, void *context, struct error *error)
{
    struct leftovers *leftovers = context;
    struct file_name read;

    (void)error;
    if (kind == MEDIUM_FILE && file_name_read(name, &read))
        keep(leftovers, read.id, sizeof read.id);
    return 0;
}

/* What else is written under temporary names. */
static int compare_paper(struct leftovers *leftovers, const char *name, struct error *error)
{
    unsigned char id[BATCH_ID_BYTES];
    int result = hash(leftovers->medium, name, id, error);

    if (result == 1)
        keep(leftovers, id, sizeof id);
    return result < 0 ? -1 : 0;
}

static int compare_top(const char *name, enum medium_kind kind, void *context, struct error *error)
{
    struct leftovers *leftovers = context;
    char station[STORE_NAME_BYTES];

    if (kind == MEDIUM_FOLDER && file_name_station(name, station))
        return medium_each(leftovers->medium, name, compare, leftovers, error);
    if (kind == MEDIUM_FILE && (file_name_is_list(name) || strcmp(name, README_NAME) == 0))
        return compare_paper(leftovers, name, error);
    return 0;
}

static int remove_all(struct leftovers *leftovers, struct error *error)
{
    if (medium_each(leftovers->medium, NULL, collect, leftovers, error) != 0)
        return -1;
    if (leftovers->count == 0)
        return 0;
    for (size_t i = 0; i < leftovers->count; i++)
        if (hash(leftovers->medium, leftovers->items[i].name, leftovers->items[i].id, error) < 0)
            return -1;
    if (medium_each(leftovers->medium, NULL, compare_top, leftovers, error) != 0)
        return -1;
    for (size_t i = 0; i < leftovers->count; i++) {
        const struct leftover *leftover = &leftovers->items[i];

        if (leftover->stays)
            log_warning("%s: was left by a power cut and may have the same place on the medium as "
                        "another file of Boda's; check the medium (fsck)",
                        leftover->name);
        else if (medium_remove(leftovers->medium, NULL, leftover->name, error) != 0)
            return -1;
    }
    return medium_sync(leftovers->medium, error);
}

int leftovers_remove(struct medium *medium, struct error *error)
{
    struct leftovers *leftovers = calloc(1, sizeof *leftovers);
    int result;

    if (leftovers == NULL)
        return error_set(error, ERROR_FAILED, "export: no memory");
    leftovers->medium = medium;
    result = remove_all(leftovers, error);
    free(leftovers);
    return result;
}
