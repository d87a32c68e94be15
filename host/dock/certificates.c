/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/certificates.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/peers.h"

#define SUFFIX ".crt"

/* ---- one ------------------------------------------------------------------------------------ */

/* Names have no slash (station_name_ok). */
static X509 *read_file(const char *deployment, const char *name)
{
    char path[PATH_MAX];
    X509 *x509 = NULL;
    FILE *file;
    int length;

    length = snprintf(path, sizeof path, "%s/stations/%s" SUFFIX, deployment, name);
    if (length < 0 || (size_t)length >= sizeof path || (file = fopen(path, "re")) == NULL)
        return NULL;
    x509 = PEM_read_X509(file, NULL, NULL, NULL);
    if (x509 == NULL)
        log_warning("%s: is not a certificate in PEM", path);
    (void)fclose(file);
    return x509;
}

static int read_store(struct store *store, const char *name, X509 **x509, struct error *error)
{
    struct buffer der = {0};
    const unsigned char *at;
    int found = peers_certificate(store, name, &der, error);

    *x509 = NULL;
    if (found == 1) {
        at = der.data;
        *x509 = d2i_X509(NULL, &at, (long)der.length);
    }
    buffer_free(&der);
    return found < 0 ? -1 : 0;
}

/* Take X509 (may be NULL), if it is NAME's and may be used. */
static bool take(struct certificate *out, struct trust *trust, const char *name, X509 *x509,
                 struct error *why)
{
    struct station station;
    bool revoked = false;

    if (x509 == NULL)
        return false;
    out->known = true;
    if (trust_check(trust, x509, &station, &revoked, why) != 0) {
        out->revoked = out->revoked || revoked;
    } else if (strcmp(station.name, name) != 0) {
        (void)error_set(why, ERROR_REFUSED, "its certificate is %s's", station.name);
    } else {
        out->x509 = x509;
        out->station = station;
        out->revoked = false;
        return true;
    }
    X509_free(x509);
    return false;
}

int certificates_find(struct store *store, struct trust *trust, const char *deployment,
                      const char *name, struct certificate *out, struct error *why,
                      struct error *error)
{
    X509 *x509;

    memset(out, 0, sizeof *out);
    if (read_store(store, name, &x509, error) != 0)
        return -1;
    if (take(out, trust, name, x509, why))
        return 1;
    out->renewed = out->known;
    if (take(out, trust, name, read_file(deployment, name), why))
        return 1;
    out->renewed = false;
    return 0;
}

/* ---- all ------------------------------------------------------------------------------------ */

struct names {
    char (*all)[STORE_NAME_BYTES];
    size_t count, capacity;
};

static int add_name(struct names *names, const char *name, struct error *error)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 32 : names->capacity * 2;
        char(*larger)[STORE_NAME_BYTES] = realloc(names->all, capacity * sizeof *larger);

        if (larger == NULL)
            return error_set(error, ERROR_FAILED, "stations: no memory for their names");
        names->all = larger;
        names->capacity = capacity;
    }
    (void)snprintf(names->all[names->count++], STORE_NAME_BYTES, "%s", name);
    return 0;
}

static int add_stored(struct store *store, struct names *names, struct error *error)
{
    char after[STORE_NAME_BYTES] = "", name[STORE_NAME_BYTES];
    int found;

    while ((found = peers_next_certificate(store, after, name, error)) == 1) {
        if (add_name(names, name, error) != 0)
            return -1;
        memcpy(after, name, sizeof after);
    }
    return found;
}

static int add_files(const char *deployment, struct names *names, struct error *error)
{
    const size_t suffix = sizeof SUFFIX - 1;
    char path[PATH_MAX], name[STORE_NAME_BYTES];
    struct dirent *entry;
    size_t length;
    int result = 0;
    DIR *folder;

    (void)snprintf(path, sizeof path, "%s/stations", deployment);
    folder = opendir(path);
    if (folder == NULL)
        return errno == ENOENT ? 0 : error_errno(error, errno, "%s: cannot be read", path);
    while (result == 0 && (entry = readdir(folder)) != NULL) {
        length = strlen(entry->d_name);
        if (length <= suffix || length - suffix >= sizeof name ||
            strcmp(entry->d_name + length - suffix, SUFFIX) != 0)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(length - suffix), entry->d_name);
        if (station_name_ok(name))
            result = add_name(names, name, error);
    }
    (void)closedir(folder);
    return result;
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

int certificates_names(struct store *store, const char *deployment, char (**out)[STORE_NAME_BYTES],
                       size_t *count, struct error *error)
{
    struct names names = {0};

    *out = NULL;
    *count = 0;
    if (add_stored(store, &names, error) != 0 || add_files(deployment, &names, error) != 0) {
        free(names.all);
        return -1;
    }
    if (names.count == 0)
        return 0;
    qsort(names.all, names.count, sizeof *names.all, compare);
    for (size_t i = 0; i < names.count; i++)
        if (i == 0 || strcmp(names.all[i], names.all[*count - 1]) != 0)
            memmove(names.all[(*count)++], names.all[i], STORE_NAME_BYTES);
    *out = names.all;
    return 0;
}
