/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/identity.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "store/crypto.h"
#include "store/pkcs12.h"

#define SECRET_LABEL "boda loopback endpoint secret 1"
#define SECRET_RANDOM_BYTES 20 /* 160 bits: 32 characters */
#define SCALAR_BYTES 32

struct identity {
    struct station station;
    EVP_PKEY *key;
    X509 *certificate, *ca, *server;
};

static int check_p256(const char *name, EVP_PKEY *key, struct error *error)
{
    char group[32];

    if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
        strcmp(group, "prime256v1") == 0)
        return 0;
    ERR_clear_error();
    return error_set(error, ERROR_FAILED, "%s: its key is not on the curve P-256", name);
}

static int check_parts(const char *name, EVP_PKEY *key, X509 *certificate, X509 *ca, X509 *server,
                       struct station *station, struct error *error)
{
    struct trust *trust;
    struct station of_server;
    int result = -1;

    if (ca == NULL)
        return error_set(error, ERROR_FAILED, "%s: has no CA certificate", name);
    if (check_p256(name, key, error) != 0)
        return -1;
    if (X509_check_private_key(certificate, key) != 1) {
        ERR_clear_error();
        return error_set(error, ERROR_FAILED, "%s: its key is not the certificate's", name);
    }
    trust = trust_new(ca, error);
    if (trust == NULL)
        return -1;
    if (trust_check(trust, certificate, station, NULL, error) != 0) {
        (void)error_prefix(error, "%s", name);
    } else if (server != NULL && (trust_check(trust, server, &of_server, NULL, error) != 0 ||
                                  of_server.role != ROLE_SERVER)) {
        (void)error_set(error, ERROR_REFUSED, "%s: its server certificate is not this deployment's",
                        name);
    } else {
        result = 0;
    }
    trust_free(trust);
    return result;
}

struct identity *identity_new(const char *name, EVP_PKEY *key, X509 *certificate, X509 *ca,
                              X509 *server, struct error *error)
{
    struct identity *identity = calloc(1, sizeof *identity);

    if (identity == NULL) {
        (void)error_set(error, ERROR_FAILED, "%s: no memory", name);
        return NULL;
    }
    if (check_parts(name, key, certificate, ca, server, &identity->station, error) != 0) {
        free(identity);
        return NULL;
    }
    if (identity->station.role == ROLE_SERVER)
        server = certificate;
    if (EVP_PKEY_up_ref(key) == 1)
        identity->key = key;
    if (X509_up_ref(certificate) == 1)
        identity->certificate = certificate;
    if (X509_up_ref(ca) == 1)
        identity->ca = ca;
    if (server != NULL && X509_up_ref(server) == 1)
        identity->server = server;
    return identity;
}

/* Which of the other certificates of a file is the CA, which the server's. */
static void sort_out(STACK_OF(X509) * others, X509 **ca, X509 **server)
{
    struct station station;

    *ca = NULL;
    *server = NULL;
    for (int i = 0; i < sk_X509_num(others); i++) {
        X509 *other = sk_X509_value(others, i);

        if (X509_check_issued(other, other) == X509_V_OK)
            *ca = other;
        else if (station_read(other, &station, NULL) == 0 && station.role == ROLE_SERVER)
            *server = other;
    }
}

struct identity *identity_open(const char *file, const struct secret *passphrase,
                               struct error *error)
{
    struct identity *identity;
    STACK_OF(X509) * others;
    X509 *certificate, *ca, *server;
    EVP_PKEY *key;

    if (pkcs12_read(file, passphrase, &key, &certificate, &others, error) != 0)
        return NULL;
    sort_out(others, &ca, &server);
    identity = identity_new(file, key, certificate, ca, server, error);
    EVP_PKEY_free(key); /* OpenSSL clears private numbers when the last reference goes */
    X509_free(certificate);
    sk_X509_pop_free(others, X509_free);
    return identity;
}

void identity_free(struct identity *identity)
{
    if (identity == NULL)
        return;
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
    X509_free(identity->ca);
    X509_free(identity->server);
    free(identity);
}

int identity_write(const struct identity *identity, const char *file,
                   const struct secret *passphrase, struct error *error)
{
    X509 *others[2] = {identity->ca, identity->server};

    if (identity->station.role == ROLE_SERVER)
        others[1] = NULL; /* it is the certificate itself */
    return pkcs12_write(file, passphrase, identity->station.name, identity->key,
                        identity->certificate, others, error);
}

const char *identity_name(const struct identity *identity)
{
    return identity->station.name;
}

const char *identity_user(const struct identity *identity)
{
    return identity->station.user;
}

enum role identity_role(const struct identity *identity)
{
    return identity->station.role;
}

EVP_PKEY *identity_key(const struct identity *identity)
{
    return identity->key;
}

X509 *identity_certificate(const struct identity *identity)
{
    return identity->certificate;
}

X509 *identity_ca(const struct identity *identity)
{
    return identity->ca;
}

X509 *identity_server(const struct identity *identity)
{
    return identity->server;
}

static int private_scalar(EVP_PKEY *key, unsigned char scalar[SCALAR_BYTES])
{
    BIGNUM *number = NULL;
    int result = -1;

    if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &number) == 1 &&
        BN_bn2binpad(number, scalar, SCALAR_BYTES) == SCALAR_BYTES)
        result = 0;
    BN_clear_free(number);
    return result;
}

/* HKDF (RFC 5869) with SHA-256 and no salt: the input is a uniform key already. */
static int hkdf(unsigned char *input, size_t input_bytes, unsigned char *out, size_t out_bytes)
{
    char digest[] = "SHA256", label[] = SECRET_LABEL;
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, input, input_bytes),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, label, sizeof label - 1),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    int result = -1;

    if (context != NULL && EVP_KDF_derive(context, out, out_bytes, parameters) == 1)
        result = 0;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return result;
}

int identity_secret(const struct identity *identity, struct secret *secret, struct error *error)
{
    static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567"; /* RFC 4648 section 6 */
    unsigned char scalar[SCALAR_BYTES], random[SECRET_RANDOM_BYTES];
    unsigned bits = 0, count = 0;
    size_t at = 0;
    int result = -1;

    if (private_scalar(identity->key, scalar) != 0 ||
        hkdf(scalar, sizeof scalar, random, sizeof random) != 0) {
        (void)crypto_error(error, ERROR_FAILED, "identity of %s: its secret cannot be derived",
                           identity->station.name);
        goto done;
    }
    for (size_t i = 0; i < sizeof random; i++) {
        bits = (bits << 8 | random[i]) & 0xffff;
        for (count += 8; count >= 5; count -= 5)
            secret->text[at++] = base32[bits >> (count - 5) & 31];
    }
    secret->text[at] = '\0';
    result = 0;
done:
    OPENSSL_cleanse(scalar, sizeof scalar);
    OPENSSL_cleanse(random, sizeof random);
    return result;
}
