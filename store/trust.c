/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/trust.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/crypto.h"
#include "store/identity.h"
#include "store/peers.h"

/* Numbers travel as JSON integers. */
#define LIST_NUMBER_MAX ((UINT64_C(1) << 53) - 1)

struct trust {
    X509 *ca;
    X509_STORE *certificates;
    uint64_t number;
};

/* A store of CA and CRL (may be NULL).  Stations' clocks are wrong as a rule, so time is not
 * checked; which purposes a station may serve is said by its role, not by key usage bits. */
static X509_STORE *make_store(X509 *ca, X509_CRL *crl, struct error *error)
{
    unsigned long flags = X509_V_FLAG_NO_CHECK_TIME;
    X509_STORE *store = X509_STORE_new();

    if (store == NULL || X509_STORE_add_cert(store, ca) != 1)
        goto fail;
    if (crl != NULL) {
        if (X509_STORE_add_crl(store, crl) != 1)
            goto fail;
        flags |= X509_V_FLAG_CRL_CHECK;
    }
    if (X509_STORE_set_flags(store, flags) != 1 ||
        X509_STORE_set_purpose(store, X509_PURPOSE_ANY) != 1)
        goto fail;
    return store;

fail:
    (void)crypto_error(error, ERROR_FAILED, "trust: the CA cannot be used");
    X509_STORE_free(store);
    return NULL;
}

struct trust *trust_new(X509 *ca, struct error *error)
{
    struct trust *trust = calloc(1, sizeof *trust);

    if (trust == NULL) {
        (void)error_set(error, ERROR_FAILED, "trust: no memory");
        return NULL;
    }
    trust->certificates = make_store(ca, NULL, error);
    if (trust->certificates == NULL || X509_up_ref(ca) != 1) {
        trust_free(trust);
        return NULL;
    }
    trust->ca = ca;
    return trust;
}

struct trust *trust_without_list(const struct trust *trust, struct error *error)
{
    return trust_new(trust->ca, error);
}

void trust_free(struct trust *trust)
{
    if (trust == NULL)
        return;
    X509_STORE_free(trust->certificates);
    X509_free(trust->ca);
    free(trust);
}

static int list_number(X509_CRL *crl, uint64_t *number)
{
    ASN1_INTEGER *value = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    int result = -1;

    if (value != NULL && ASN1_INTEGER_get_uint64(number, value) == 1 && *number > 0 &&
        *number <= LIST_NUMBER_MAX)
        result = 0;
    ASN1_INTEGER_free(value);
    return result;
}

int trust_update(struct trust *trust, const void *der, size_t size, uint64_t *number,
                 struct error *error)
{
    const unsigned char *at = der;
    X509_STORE *certificates;
    X509_CRL *crl = NULL;
    uint64_t found = 0;
    int result = -1;

    if (size <= TRUST_LIST_MAX_BYTES)
        crl = d2i_X509_CRL(NULL, &at, (long)size);
    if (crl == NULL || at != (const unsigned char *)der + size) {
        (void)crypto_error(error, ERROR_REFUSED, "revocation list: its bytes are not a list");
        goto done;
    }
    if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(trust->ca)) != 0 ||
        X509_CRL_verify(crl, X509_get0_pubkey(trust->ca)) != 1) {
        ERR_clear_error();
        (void)error_set(error, ERROR_REFUSED, "revocation list: was not issued by this deployment");
        goto done;
    }
    if (list_number(crl, &found) != 0) {
        (void)error_set(error, ERROR_REFUSED, "revocation list: has no crlNumber");
        goto done;
    }
    result = 0;
    if (found > trust->number) {
        certificates = make_store(trust->ca, crl, error);
        if (certificates == NULL) {
            result = -1;
            goto done;
        }
        X509_STORE_free(trust->certificates);
        trust->certificates = certificates;
        trust->number = found;
        result = 1;
    }
done:
    ERR_clear_error();
    X509_CRL_free(crl);
    if (number != NULL)
        *number = found;
    return result;
}

uint64_t trust_number(const struct trust *trust)
{
    return trust->number;
}

int trust_list_name(const struct trust *trust, char name[TRUST_LIST_NAME_BYTES],
                    struct error *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];

    if (X509_digest(trust->ca, EVP_sha256(), digest, NULL) != 1)
        return crypto_error(error, ERROR_FAILED, "trust: OpenSSL cannot hash");
    (void)snprintf(name, TRUST_LIST_NAME_BYTES, "revoked-%02x%02x%02x%02x.crl", digest[0],
                   digest[1], digest[2], digest[3]);
    return 0;
}

/* 0 when OpenSSL finds a path from CERTIFICATE to the CA; else its X509_V_ERR_..., or -1. */
static int verify(struct trust *trust, X509 *certificate)
{
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    int result = -1;

    if (context != NULL &&
        X509_STORE_CTX_init(context, trust->certificates, certificate, NULL) == 1) {
        if (X509_verify_cert(context) == 1)
            result = 0;
        else
            result = X509_STORE_CTX_get_error(context);
        if (result == X509_V_OK && X509_STORE_CTX_get_error(context) != X509_V_OK)
            result = -1;
    }
    X509_STORE_CTX_free(context);
    return result;
}

int trust_check(struct trust *trust, X509 *certificate, struct station *station, bool *revoked,
                struct error *error)
{
    struct station read;
    struct error unread;
    const char *name;
    int unnamed, unverified;

    if (revoked != NULL)
        *revoked = false;
    unnamed = station_read(certificate, &read, &unread);
    name = read.name[0] != '\0' ? read.name : "without a name";
    unverified = verify(trust, certificate);
    /* OpenSSL looks into the list before it has checked the signature: a forged certificate with a
     * revoked number must not pass for a revoked station. */
    if (unverified == X509_V_ERR_CERT_REVOKED &&
        X509_verify(certificate, X509_get0_pubkey(trust->ca)) != 1)
        unverified = X509_V_ERR_CERT_SIGNATURE_FAILURE;
    ERR_clear_error();
    if (unverified == X509_V_ERR_CERT_REVOKED) {
        if (revoked != NULL)
            *revoked = true;
        return error_set(error, ERROR_REFUSED, "station %s is revoked", name);
    }
    if (unverified != 0)
        return error_set(error, ERROR_REFUSED, "station %s was not issued by this deployment: %s",
                         name,
                         unverified < 0 ? "no memory" : X509_verify_cert_error_string(unverified));
    if (unnamed != 0)
        return error_set(error, ERROR_REFUSED, "%s", unread.text);
    *station = read;
    return 0;
}

X509_STORE *trust_x509_store(struct trust *trust, struct error *error)
{
    if (X509_STORE_up_ref(trust->certificates) != 1) {
        (void)crypto_error(error, ERROR_FAILED, "trust: cannot be shared");
        return NULL;
    }
    return trust->certificates;
}

/* The CA as the store keeps it: a certificate without a station's name. */
#define CA_NAME ""

/* A store that cannot be written to now goes without. */
static int note_ca(struct store *store, X509 *ca, struct error *error)
{
    struct buffer noted = {0};
    unsigned char *der = NULL;
    int size = i2d_X509(ca, &der), found = peers_certificate(store, CA_NAME, &noted, error);
    bool same = found == 1 && size > 0 && noted.length == (size_t)size &&
                memcmp(noted.data, der, noted.length) == 0;

    buffer_free(&noted);
    if (found >= 0 && size > 0 && !same && store_begin(store, NULL) == 0) {
        if (peers_set_certificate(store, CA_NAME, der, (size_t)size, NULL) != 0)
            store_rollback(store);
        else
            (void)store_commit(store, NULL);
    }
    OPENSSL_free(der);
    return found < 0 ? -1 : 0;
}

int trust_refresh(struct trust *trust, struct store *store, struct error *error)
{
    struct buffer der = {0};
    uint64_t number = 0;
    int result = peers_crl(store, &number, &der, error);

    if (result == 0 && number > trust->number &&
        trust_update(trust, der.data, der.length, NULL, error) < 0)
        result = -1;
    buffer_free(&der);
    return result;
}

/* TRUST, made of a CA, with the list of STORE; freed on failure. */
static struct trust *with_list(struct trust *trust, struct store *store, struct error *error)
{
    if (trust != NULL && trust_refresh(trust, store, error) != 0) {
        trust_free(trust);
        return NULL;
    }
    return trust;
}

struct trust *trust_open(const struct identity *identity, struct store *store, struct error *error)
{
    if (note_ca(store, identity_ca(identity), error) != 0)
        return NULL;
    return with_list(trust_new(identity_ca(identity), error), store, error);
}

int trust_noted(struct store *store, struct trust **trust, struct error *error)
{
    struct buffer der = {0};
    const unsigned char *at;
    X509 *ca;
    int found = peers_certificate(store, CA_NAME, &der, error);

    *trust = NULL;
    at = der.data;
    ca = found == 1 ? d2i_X509(NULL, &at, (long)der.length) : NULL;
    if (found == 1 && ca == NULL)
        found = crypto_error(error, ERROR_CORRUPT, "trust: the CA in the store cannot be read");
    if (found == 1)
        *trust = with_list(trust_new(ca, error), store, error);
    X509_free(ca);
    buffer_free(&der);
    return found == 1 && *trust == NULL ? -1 : found;
}
