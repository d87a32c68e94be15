/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/receipts.h"

#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "store/peers.h"
#include "store/receipt.h"
#include "store/streams.h"

/* The certificate of SOURCE in the deployment's folder.  Names have no slash (label_check). */
static X509 *read_file(const char *deployment, const char *source)
{
    char path[PATH_MAX];
    X509 *certificate = NULL;
    FILE *file;
    int length;

    length = snprintf(path, sizeof path, "%s/stations/%s.crt", deployment, source);
    if (length < 0 || (size_t)length >= sizeof path || (file = fopen(path, "re")) == NULL)
        return NULL;
    certificate = PEM_read_X509(file, NULL, NULL, NULL);
    if (certificate == NULL)
        log_warning("%s: is not a certificate in PEM", path);
    (void)fclose(file);
    return certificate;
}

/* 1 found, 0 not, -1. */
static int find_certificate(struct store *store, const char *deployment, const char *source,
                            X509 **certificate, struct error *error)
{
    struct buffer der = {0};
    const unsigned char *at;
    int found;

    *certificate = NULL;
    found = peers_certificate(store, source, &der, error);
    if (found == 1) {
        at = der.data;
        *certificate = d2i_X509(NULL, &at, (long)der.length);
    }
    buffer_free(&der);
    if (found < 0)
        return -1;
    if (*certificate == NULL)
        *certificate = read_file(deployment, source);
    return *certificate != NULL;
}

static int make_one(struct store *store, const struct identity *server, const char *source,
                    X509 *certificate, struct error *error)
{
    int made;

    if (store_begin(store, error) != 0)
        return -1;
    made = receipt_make(store, server, source, certificate, error);
    if (made == 0)
        made = streams_set_due(store, source, false, error) == 0 ? 0 : -1;
    if (made < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, error) == 0 ? made : -1;
}

/* 1 made, 0 not, -1. */
static int serve(struct store *store, const struct identity *server, struct trust *trust,
                 const char *deployment, const char *source, struct error *error)
{
    struct station station;
    struct error why;
    X509 *certificate;
    int result = find_certificate(store, deployment, source, &certificate, error);

    if (result < 0)
        return -1;
    if (result == 0) {
        log_warning(
            "tablet %s: its certificate is not known here, so it gets no receipt; copy it to "
            "%s/stations/%s.crt",
            source, deployment, source);
        return 0;
    }
    if (trust_check(trust, certificate, &station, NULL, &why) != 0) {
        log_info("tablet %s: gets no receipt: %s", source, why.text);
        result = 0;
    } else if (strcmp(station.name, source) != 0) {
        log_warning("tablet %s: gets no receipt, as its certificate is %s's", source, station.name);
        result = 0;
    } else {
        result = make_one(store, server, source, certificate, error);
        if (result == 1)
            log_debug("tablet %s: receipt made", source);
    }
    X509_free(certificate);
    return result;
}

int receipts_make(struct store *store, const struct identity *server, struct trust *trust,
                  const char *deployment, uint64_t *made, struct error *error)
{
    char after[STORE_NAME_BYTES] = "", source[STORE_NAME_BYTES];
    int found, result;

    *made = 0;
    while ((found = streams_next_due(store, after, source, error)) == 1) {
        result = serve(store, server, trust, deployment, source, error);
        if (result < 0)
            return -1;
        *made += (uint64_t)result;
        memcpy(after, source, sizeof after);
    }
    return found;
}
