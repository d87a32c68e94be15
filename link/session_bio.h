/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A link as OpenSSL's BIO (BIO_s_mem(3) and BIO_meth_new(3) tell what one has to do).
 */
#ifndef BODA_LINK_SESSION_BIO_H
#define BODA_LINK_SESSION_BIO_H

#include <openssl/bio.h>
#include <stdbool.h>

#include "link/link.h"

/* How a link behind a BIO has ended. */
struct session_bio {
    struct link *link;
    bool read_over, write_over; /* the link's read or write has failed */
    struct error error;         /* with this */
};

/* A new method for BIOs over links, or NULL; freed with BIO_meth_free after its BIOs. */
BIO_METHOD *session_bio_method(void);

/* A BIO of METHOD; STATE is the caller's and outlives it.  A write that fails asks for another try
 * instead: what the peer said before it went (an alert with the cause) must still be read. */
BIO *session_bio_new(const BIO_METHOD *method, struct session_bio *state);

#endif
