/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * PKCS#12 files (RFC 7292): a key, its certificate, and others, under a passphrase.
 */
#ifndef BODA_STORE_PKCS12_H
#define BODA_STORE_PKCS12_H

#include <openssl/types.h>
#include <openssl/x509.h>

#include "base/secret.h"

/* Read FILE, which must be private.  The caller frees KEY, CERTIFICATE and OTHERS (may be NULL: none
 * there).  A wrong passphrase is said plainly. */
int pkcs12_read(const char *file, const struct secret *passphrase, EVP_PKEY **key,
                X509 **certificate, STACK_OF(X509) * *others, struct error *error);

/* Write FILE (0600, durably): AES-256-CBC, PBKDF2 and MAC with SHA-256.  NULLs in OTHERS are left
 * out. */
int pkcs12_write(const char *file, const struct secret *passphrase, const char *name, EVP_PKEY *key,
                 X509 *certificate, X509 *const others[2], struct error *error);

#endif
