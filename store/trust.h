/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Whom a station trusts: the deployment's CA and the newest revocation list.  Time is never checked.
 * One thread at a time; each thread has its own.
 */
#ifndef BODA_STORE_TRUST_H
#define BODA_STORE_TRUST_H

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

#include "store/station.h"

#define TRUST_LIST_MAX_BYTES (1u << 20) /* a revocation list: it travels in one frame */

struct identity;
struct trust;

struct trust *trust_new(X509 *ca, struct error *error); /* takes a reference of its own */
void trust_free(struct trust *trust);

/* Take the revocation list DER if it is the CA's and its crlNumber is higher than the present one:
 * 1 taken, 0 not newer, -1 with ERROR_REFUSED not the CA's or not a list.  *NUMBER (may be NULL) is
 * that of the list given. */
int trust_update(struct trust *trust, const void *der, size_t size, uint64_t *number,
                 struct error *error);
uint64_t trust_number(const struct trust *trust); /* 0: no list yet */

/* The name of the list as a file (docs/files.md): it tells the CA, so that lists of two deployments lie side by side. */
#define TRUST_LIST_NAME_BYTES 21 /* "revoked-01234567.crl" with its zero */
int trust_list_name(const struct trust *trust, char name[TRUST_LIST_NAME_BYTES],
                    struct error *error);

/* Check that CERTIFICATE is the CA's and not revoked, and read its station.  -1 with ERROR_REFUSED
 * whose text says "was not issued by this deployment" or "is revoked"; *REVOKED (may be NULL) tells
 * the second apart. */
int trust_check(struct trust *trust, X509 *certificate, struct station *station, bool *revoked,
                struct error *error);

/* The same CA without a revocation list: who was revoked passes, nobody else does.  For batches that
 * the administrator has released (batches.h) and nothing else.  Freed with trust_free. */
struct trust *trust_without_list(const struct trust *trust, struct error *error);

/* For TLS: a store with the CA and list, time not checked; a new reference, or NULL.  It does not
 * follow later lists. */
X509_STORE *trust_x509_store(struct trust *trust, struct error *error);

/* The trust of a station: its identity's CA with the list that its store has.  The store notes the CA. */
struct trust *trust_open(const struct identity *identity, struct store *store, struct error *error);

/* Take the store's list into TRUST if it is newer: another program may have brought it.  0, -1. */
int trust_refresh(struct trust *trust, struct store *store, struct error *error);

/* A trust by the CA that the store has noted, for those who have the store and no passphrase: 1 with *TRUST, which
 * the caller frees; 0 none was noted yet; -1. */
int trust_noted(struct store *store, struct trust **trust, struct error *error);

#endif
