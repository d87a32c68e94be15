/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Who a station is, and whom it trusts (docs/design.md, "Identities").
 *
 * An identity is a PKCS#12 file (mode 0600): P-256 key, certificate, the deployment's CA, and the
 * server's certificate.  Certificate: CN station name, OU role, UID the CHT user (tablets).  Time is
 * never checked.
 */
#ifndef BODA_STORE_IDENTITY_H
#define BODA_STORE_IDENTITY_H

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/secret.h"
#include "store/store.h"

#define SERVER_NAME "server" /* the logical station that every dock can open batches for */

enum role { ROLE_NONE, ROLE_TABLET, ROLE_COURIER, ROLE_DOCK, ROLE_SERVER };

const char *role_name(enum role role); /* "tablet", ... */
enum role role_from_name(const char *name); /* ROLE_NONE when it is none of them */

struct identity;

/* Open FILE with PASSPHRASE; refuses a file that others can read, one without key, certificate or
 * CA, a key that is not the certificate's, a certificate that is not the CA's.  The caller frees it
 * with identity_free, which cleanses the key. */
struct identity *identity_open(const char *file, const struct secret *passphrase,
                               struct error *error);
void identity_free(struct identity *identity);

/* What it holds, owned by the identity. */
const char *identity_name(const struct identity *identity);
const char *identity_user(const struct identity *identity); /* "" if none */
enum role identity_role(const struct identity *identity);
EVP_PKEY *identity_key(const struct identity *identity);
X509 *identity_certificate(const struct identity *identity);
X509 *identity_ca(const struct identity *identity);
X509 *identity_server(const struct identity *identity); /* NULL in an identity without it */

/* What a certificate says of its station. */
struct station {
    char name[STORE_NAME_BYTES];
    char user[STORE_NAME_BYTES];
    enum role role;
};

/* Read the subject of a certificate; -1 with ERROR_REFUSED if it has no valid name or role. */
int station_read(X509 *certificate, struct station *station, struct error *error);

/* The CA and the newest revocation list.  One thread at a time; each thread has its own. */
struct trust;

struct trust *trust_new(X509 *ca, struct error *error); /* takes a reference of its own */
void trust_free(struct trust *trust);

/* Take the revocation list DER if it is the CA's and its crlNumber is higher than the present one:
 * 1 taken, 0 not newer, -1 with ERROR_REFUSED not the CA's or not a list. */
int trust_update(struct trust *trust, const void *der, size_t size, uint64_t *number,
                 struct error *error);
uint64_t trust_number(const struct trust *trust); /* 0: no list yet */

/* Check that CERTIFICATE is the CA's and not revoked, and read its station.  -1 with ERROR_REFUSED
 * whose text says "was not issued by this deployment" or "is revoked"; *REVOKED (may be NULL) tells
 * the second apart. */
int trust_check(struct trust *trust, X509 *certificate, struct station *station, bool *revoked,
                struct error *error);

/* For TLS: a store with the CA and list, time not checked; a new reference, or NULL. */
X509_STORE *trust_x509_store(struct trust *trust, struct error *error);

/* The trust of a station: its identity's CA with the list that its store has. */
struct trust *trust_open(const struct identity *identity, struct store *store,
                         struct error *error);

#endif
