/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A whole deployment in memory, for tests of every room: CA, server, two tablets, two couriers,
 * two docks.  Made in a few milliseconds; no files, no passphrases.
 */
#ifndef BODA_TESTS_UNIT_SUPPORT_DEPLOYMENT_H
#define BODA_TESTS_UNIT_SUPPORT_DEPLOYMENT_H

#include "store/authority.h"
#include "store/identity.h"

struct deployment {
    struct authority *authority;
    struct identity *server;   /* "server" */
    struct identity *tablet;   /* "t1", user "chw1" */
    struct identity *tablet2;  /* "t2", user "chw2" */
    struct identity *courier;  /* "c1" */
    struct identity *courier2; /* "c2" */
    struct identity *dock;     /* "dock" */
    struct identity *dock2;    /* "dock2" */
};

/* Fails the present test when it cannot be made.  Freed with deployment_free. */
struct deployment *deployment_new(void);
void deployment_free(struct deployment *deployment);

/* One more identity; the caller frees it with identity_free.  USER "" for none. */
struct identity *deployment_enroll(struct deployment *deployment, enum role role, const char *name,
                                   const char *user);

/* Put the station on the revocation list, whose number goes up (it begins at 1). */
void deployment_revoke(struct deployment *deployment, const struct identity *identity);

/* The revocation list as DER, appended. */
void deployment_list(struct deployment *deployment, struct buffer *der);

/* A new trust in this CA, with the newest list when WITH_LIST; freed with trust_free. */
struct trust *deployment_trust(struct deployment *deployment, bool with_list);

/* Write IDENTITY to FILE under PASSPHRASE. */
void deployment_write(const struct identity *identity, const char *file, const char *passphrase);

#endif
