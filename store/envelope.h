/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The two CMS layers of a batch (docs/batch.md, "Nesting"): SignedData (RFC 5652) within
 * AuthEnvelopedData (RFC 5083).  Contents are handed from layer to layer without copies, as one may
 * be 32 MB large.
 */
#ifndef BODA_STORE_ENVELOPE_H
#define BODA_STORE_ENVELOPE_H

#include "store/identity.h"

#define ENVELOPE_HEADER_MAX_BYTES 16384 /* all of a layer but its content */

/* Bytes from OpenSSL's allocator, owned by whoever has the struct; {0} is none. */
struct envelope_bytes {
    unsigned char *data;
    size_t size;
};
void envelope_bytes_cleanse(struct envelope_bytes *bytes); /* overwritten, freed, {0} then */

/* CONTENT as SignedData of SIGNER in SIGNED.  CONTENT is consumed, whether it works or not. */
int envelope_sign(const struct identity *signer, struct envelope_bytes *content,
                  struct envelope_bytes *signed_data, struct error *error);

/* SIGNED_DATA, sealed for RECIPIENT, appended to OUT.  SIGNED_DATA is consumed. */
int envelope_seal(X509 *recipient, struct envelope_bytes *signed_data, struct buffer *out,
                  struct error *error);

/* Whether BYTES have the form of a sealed batch, whatever is in it. */
bool envelope_is_sealed(const void *bytes, size_t size);

/* Unseal BYTES as RECIPIENT.  SIGNED_DATA is filled only when the tag is right. */
int envelope_unseal(const struct identity *recipient, const void *bytes, size_t size,
                    struct envelope_bytes *signed_data, struct error *error);

/* A verified SignedData. */
struct envelope_verified {
    struct CMS_ContentInfo_st *cms; /* owns what follows */
    X509 *signer;
    const unsigned char *content;
    size_t size;
};

/* Check that the one signer's key signed the content; whether the signer is to be trusted is not
 * asked here.  SIGNED_DATA is consumed.  Freed with envelope_verified_free. */
int envelope_verify(struct envelope_bytes *signed_data, struct envelope_verified *out,
                    struct error *error);
void envelope_verified_free(struct envelope_verified *verified);

#endif
