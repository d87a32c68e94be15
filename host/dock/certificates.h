/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The certificates of the deployment's stations that this dock knows: stations/NAME.crt in the deployment's
 * folder, and those that the store has learned from batches.
 */
#ifndef BODA_HOST_DOCK_CERTIFICATES_H
#define BODA_HOST_DOCK_CERTIFICATES_H

#include <openssl/types.h>

#include "store/trust.h"

struct certificate {
    X509 *x509; /* of the one that may be used; the caller's, freed by X509_free */
    struct station station;
    bool known;   /* there is one, of whatever worth */
    bool revoked; /* why it may not be used */
    bool renewed; /* the store's is not to be trusted any more, the folder's is */
};

/* The certificate of station NAME: the store's, or, where that is missing or not to be trusted, that in
 * the folder DEPLOYMENT.  1 found; 0 none that may be used, WHY (unless none is known) says why; -1. */
int certificates_find(struct store *store, struct trust *trust, const char *deployment,
                      const char *name, struct certificate *out, struct error *why,
                      struct error *error);

/* The names of all stations of which one is known, each once, in order; the caller frees *OUT, which is
 * NULL when there is none. */
int certificates_names(struct store *store, const char *deployment, char (**out)[STORE_NAME_BYTES],
                       size_t *count, struct error *error);

#endif
