/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Who a station is (docs/design.md, "Identities").
 *
 * An identity is a PKCS#12 file (mode 0600): P-256 key, certificate, the deployment's CA, and the
 * server's certificate.  Certificate: CN station name, OU role, UID the CHT user (tablets).  Time is
 * never checked.  An identity does not change once open: threads may share it.
 */
#ifndef BODA_STORE_IDENTITY_H
#define BODA_STORE_IDENTITY_H

#include <openssl/types.h>

#include "base/buffer.h"
#include "base/secret.h"
#include "store/station.h"
#include "store/trust.h"

struct identity;

/* Open FILE with PASSPHRASE; refuses a file that others can read, one without key, certificate or
 * CA, a key that is not the certificate's, a certificate that is not the CA's.  The caller frees it
 * with identity_free, which cleanses the key. */
struct identity *identity_open(const char *file, const struct secret *passphrase,
                               struct error *error);

/* Make one of its parts, with the same checks; takes references of its own.  SERVER may be NULL.
 * NAME is what errors call it. */
struct identity *identity_new(const char *name, EVP_PKEY *key, X509 *certificate, X509 *ca,
                              X509 *server, struct error *error);
void identity_free(struct identity *identity);

/* Write it to FILE (0600, durably) under PASSPHRASE. */
int identity_write(const struct identity *identity, const char *file,
                   const struct secret *passphrase, struct error *error);

/* What it holds, owned by the identity. */
const char *identity_name(const struct identity *identity);
const char *identity_user(const struct identity *identity); /* "" if none */
enum role identity_role(const struct identity *identity);
EVP_PKEY *identity_key(const struct identity *identity);
X509 *identity_certificate(const struct identity *identity);
X509 *identity_ca(const struct identity *identity);
X509 *identity_server(const struct identity *identity); /* NULL in an identity without it; its own
                                                           certificate in the server's */

/* The secret of the tablet's loopback endpoint: derived from the private key (HKDF-SHA256 with a
 * label of its own), so it needs no place to be kept.  `boda enroll tablet` prints it as 'secret
 * VALUE'; when the key was made on the device (--csr) the deployment cannot know it, and
 * `boda-tablet --show-secret` prints it there. */
int identity_secret(const struct identity *identity, struct secret *secret, struct error *error);

#endif
