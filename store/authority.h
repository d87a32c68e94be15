/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The deployment's certificate authority: what `boda init`, `enroll` and `revoke` need.  No station
 * but the administrator's deployment folder has one.
 */
#ifndef BODA_STORE_AUTHORITY_H
#define BODA_STORE_AUTHORITY_H

#include "store/identity.h"

struct authority;

/* A new one for the deployment NAME (1..64 printable bytes), with an empty revocation list, number
 * 1. */
struct authority *authority_new(const char *name, struct error *error);

/* Open one that authority_write wrote; CRL (DER, SIZE bytes) is its newest revocation list, which
 * must be its own. */
struct authority *authority_open(const char *file, const struct secret *passphrase, const void *crl,
                                 size_t size, struct error *error);
int authority_write(const struct authority *authority, const char *file,
                    const struct secret *passphrase, struct error *error);
void authority_free(struct authority *authority);

X509 *authority_certificate(const struct authority *authority);
X509_CRL *authority_list(const struct authority *authority);
uint64_t authority_number(const struct authority *authority); /* the list's crlNumber */
int authority_list_der(const struct authority *authority, struct buffer *der, struct error *error);

/* A new P-256 key, or NULL; the caller frees it. */
EVP_PKEY *authority_new_key(struct error *error);

/* A certificate for STATION and the public part of KEY; the caller frees it.  NULL with ERROR_USAGE
 * when the station's words are off, ERROR_REFUSED when the key is not on P-256. */
X509 *authority_certify(const struct authority *authority, const struct station *station,
                        EVP_PKEY *key, struct error *error);

/* Key, certificate and all: a new identity.  SERVER as identity_new. */
struct identity *authority_enroll(const struct authority *authority, const struct station *station,
                                  X509 *server, struct error *error);

/* Put CERTIFICATE on the list, whose number goes up.  -1 with ERROR_USAGE when it is on it. */
int authority_revoke(struct authority *authority, X509 *certificate, struct error *error);

#endif
