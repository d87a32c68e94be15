/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/receipts.h"

#include <openssl/x509.h>
#include <string.h>

#include "base/log.h"
#include "host/dock/certificates.h"
#include "store/receipt.h"
#include "store/streams.h"

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
    struct certificate certificate;
    struct error why;
    int result = certificates_find(store, trust, deployment, source, &certificate, &why, error);

    if (result == 1) {
        result = make_one(store, server, source, certificate.x509, error);
        if (result == 1)
            log_debug("tablet %s: receipt made", source);
    } else if (result == 0 && !certificate.known) {
        log_warning(
            "tablet %s: its certificate is not known here, so it gets no receipt; copy it to "
            "%s/stations/%s.crt",
            source, deployment, source);
    } else if (result == 0) {
        log_info("tablet %s: gets no receipt: %s", source, why.text);
    }
    X509_free(certificate.x509);
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
