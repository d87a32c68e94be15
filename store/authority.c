/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/authority.h"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "store/crypto.h"
#include "store/pkcs12.h"

/* RFC 5280 section 4.1.2.5: a certificate without a well-defined end.  The beginning lies in the
 * past, as clocks of boards that were just switched on do, too. */
#define NOT_BEFORE "20000101000000Z"
#define NOT_AFTER "99991231235959Z"
#define SERIAL_BITS 159 /* RFC 5280 section 4.1.2.2: at most 20 octets, positive */
#define NAME_MAX_BYTES 64

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
    X509_CRL *list;
    uint64_t number;
};

struct extension {
    int nid;
    const char *value;
};

static const struct extension authority_extensions[] = {
    {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
    {NID_key_usage, "critical,keyCertSign,cRLSign"},
    {NID_subject_key_identifier, "hash"},
    {NID_undef, NULL},
};

/* digitalSignature for TLS and batches, keyAgreement for ECDH-ES (RFC 5480 section 3). */
static const struct extension station_extensions[] = {
    {NID_basic_constraints, "critical,CA:FALSE"},
    {NID_key_usage, "critical,digitalSignature,keyAgreement"},
    {NID_ext_key_usage, "clientAuth,serverAuth,emailProtection"},
    {NID_subject_key_identifier, "hash"},
    {NID_authority_key_identifier, "keyid:always"},
    {NID_undef, NULL},
};

EVP_PKEY *authority_new_key(struct error *error)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    if (key == NULL)
        (void)crypto_error(error, ERROR_FAILED, "key: cannot be made");
    return key;
}

static int set_times(X509 *certificate)
{
    return ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), NOT_BEFORE) == 1 &&
           ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), NOT_AFTER) == 1;
}

static int set_serial(X509 *certificate)
{
    BIGNUM *number = BN_new();
    int done = number != NULL &&
               BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
               BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;

    BN_free(number);
    return done;
}

static int add_extensions(X509 *certificate, X509 *issuer, const struct extension *extensions)
{
    X509V3_CTX context;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    for (; extensions->value != NULL; extensions++) {
        X509_EXTENSION *extension =
            X509V3_EXT_conf_nid(NULL, &context, extensions->nid, extensions->value);
        int done = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;

        X509_EXTENSION_free(extension);
        if (!done)
            return 0;
    }
    return 1;
}

static int add_name(X509_NAME *name, int nid, const char *text)
{
    return text[0] == '\0' ||
           X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const unsigned char *)text, -1, -1,
                                      0) == 1;
}

/* A certificate with everything but subject, issuer and signature. */
static X509 *begin_certificate(EVP_PKEY *key)
{
    X509 *certificate = X509_new();

    if (certificate != NULL && X509_set_version(certificate, X509_VERSION_3) == 1 &&
        set_serial(certificate) && set_times(certificate) && X509_set_pubkey(certificate, key) == 1)
        return certificate;
    X509_free(certificate);
    return NULL;
}

static X509 *make_ca(EVP_PKEY *key, const char *name)
{
    X509 *ca = begin_certificate(key);
    X509_NAME *subject;

    if (ca == NULL)
        return NULL;
    subject = X509_get_subject_name(ca);
    if (add_name(subject, NID_organizationName, name) &&
        add_name(subject, NID_commonName, "Boda deployment") &&
        X509_set_issuer_name(ca, subject) == 1 && add_extensions(ca, ca, authority_extensions) &&
        X509_sign(ca, key, EVP_sha256()) > 0)
        return ca;
    X509_free(ca);
    return NULL;
}

/* Number the list NUMBER and sign it. */
static int sign_list(X509_CRL *list, EVP_PKEY *key, uint64_t number)
{
    ASN1_INTEGER *value = ASN1_INTEGER_new();
    int done = value != NULL && ASN1_INTEGER_set_uint64(value, number) == 1 &&
               X509_CRL_add1_ext_i2d(list, NID_crl_number, value, 0, X509V3_ADD_REPLACE) == 1 &&
               X509_CRL_sort(list) == 1 && X509_CRL_sign(list, key, EVP_sha256()) > 0;

    ASN1_INTEGER_free(value);
    return done;
}

static X509_CRL *make_list(EVP_PKEY *key, X509 *ca)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *from = ASN1_TIME_new(), *until = ASN1_TIME_new();
    int done = list != NULL && from != NULL && until != NULL &&
               ASN1_TIME_set_string_X509(from, NOT_BEFORE) == 1 &&
               ASN1_TIME_set_string_X509(until, NOT_AFTER) == 1 &&
               X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1 &&
               X509_CRL_set_issuer_name(list, X509_get_subject_name(ca)) == 1 &&
               X509_CRL_set1_lastUpdate(list, from) == 1 &&
               X509_CRL_set1_nextUpdate(list, until) == 1 && sign_list(list, key, 1);

    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    if (done)
        return list;
    X509_CRL_free(list);
    return NULL;
}

static bool name_ok(const char *name)
{
    size_t length = strlen(name);

    for (const char *at = name; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    return length >= 1 && length <= NAME_MAX_BYTES;
}

struct authority *authority_new(const char *name, struct error *error)
{
    struct authority *authority;

    if (!name_ok(name)) {
        (void)error_set(error, ERROR_USAGE, "deployment: its name is 1 to %d printable bytes",
                        NAME_MAX_BYTES);
        return NULL;
    }
    authority = calloc(1, sizeof *authority);
    if (authority == NULL) {
        (void)error_set(error, ERROR_FAILED, "deployment %s: no memory", name);
        return NULL;
    }
    authority->key = authority_new_key(error);
    if (authority->key == NULL)
        goto fail;
    authority->number = 1;
    authority->certificate = make_ca(authority->key, name);
    if (authority->certificate != NULL)
        authority->list = make_list(authority->key, authority->certificate);
    if (authority->list == NULL) {
        (void)crypto_error(error, ERROR_FAILED, "deployment %s: its CA cannot be made", name);
        goto fail;
    }
    return authority;

fail:
    authority_free(authority);
    return NULL;
}

static int take_list(struct authority *authority, const void *crl, size_t size, struct error *error)
{
    struct trust *trust = trust_new(authority->certificate, error);
    const unsigned char *at = crl;
    int result = -1;

    if (trust == NULL)
        return -1;
    if (trust_update(trust, crl, size, &authority->number, error) == 1) {
        authority->list = d2i_X509_CRL(NULL, &at, (long)size);
        result = authority->list != NULL
                     ? 0
                     : crypto_error(error, ERROR_FAILED, "revocation list: cannot be read");
    }
    trust_free(trust);
    return result;
}

struct authority *authority_open(const char *file, const struct secret *passphrase, const void *crl,
                                 size_t size, struct error *error)
{
    struct authority *authority = calloc(1, sizeof *authority);
    STACK_OF(X509) *others = NULL;

    if (authority == NULL) {
        (void)error_set(error, ERROR_FAILED, "%s: no memory", file);
        return NULL;
    }
    if (pkcs12_read(file, passphrase, &authority->key, &authority->certificate, &others, error) !=
        0)
        goto fail;
    if (X509_check_ca(authority->certificate) != 1 ||
        X509_check_private_key(authority->certificate, authority->key) != 1) {
        (void)crypto_error(error, ERROR_FAILED, "%s: is not a deployment's CA", file);
        goto fail;
    }
    if (take_list(authority, crl, size, error) != 0)
        goto fail;
    sk_X509_pop_free(others, X509_free);
    return authority;

fail:
    sk_X509_pop_free(others, X509_free);
    authority_free(authority);
    return NULL;
}

int authority_write(const struct authority *authority, const char *file,
                    const struct secret *passphrase, struct error *error)
{
    X509 *const none[2] = {NULL, NULL};

    return pkcs12_write(file, passphrase, "ca", authority->key, authority->certificate, none,
                        error);
}

void authority_free(struct authority *authority)
{
    if (authority == NULL)
        return;
    EVP_PKEY_free(authority->key);
    X509_free(authority->certificate);
    X509_CRL_free(authority->list);
    free(authority);
}

X509 *authority_certificate(const struct authority *authority)
{
    return authority->certificate;
}

X509_CRL *authority_list(const struct authority *authority)
{
    return authority->list;
}

uint64_t authority_number(const struct authority *authority)
{
    return authority->number;
}

int authority_list_der(const struct authority *authority, struct buffer *der, struct error *error)
{
    unsigned char *bytes = NULL;
    int size = i2d_X509_CRL(authority->list, &bytes);
    int result;

    if (size <= 0)
        return crypto_error(error, ERROR_FAILED, "revocation list: cannot be written");
    result = buffer_append(der, bytes, (size_t)size, error);
    OPENSSL_free(bytes);
    return result;
}

X509 *authority_certify(const struct authority *authority, const struct station *station,
                        EVP_PKEY *key, struct error *error)
{
    X509 *certificate;
    X509_NAME *subject;
    char group[32];

    if (station_check(station, error) != 0)
        return NULL;
    if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1 ||
        strcmp(group, "prime256v1") != 0) {
        ERR_clear_error();
        (void)error_set(error, ERROR_REFUSED, "station %s: its key is not on the curve P-256",
                        station->name);
        return NULL;
    }
    certificate = begin_certificate(key);
    if (certificate == NULL)
        goto fail;
    subject = X509_get_subject_name(certificate);
    if (add_name(subject, NID_organizationalUnitName, role_name(station->role)) &&
        add_name(subject, NID_commonName, station->name) &&
        add_name(subject, NID_userId, station->user) &&
        X509_set_issuer_name(certificate, X509_get_subject_name(authority->certificate)) == 1 &&
        add_extensions(certificate, authority->certificate, station_extensions) &&
        X509_sign(certificate, authority->key, EVP_sha256()) > 0)
        return certificate;
fail:
    (void)crypto_error(error, ERROR_FAILED, "station %s: its certificate cannot be made",
                       station->name);
    X509_free(certificate);
    return NULL;
}

struct identity *authority_enroll(const struct authority *authority, const struct station *station,
                                  X509 *server, struct error *error)
{
    struct identity *identity = NULL;
    EVP_PKEY *key = authority_new_key(error);
    X509 *certificate = key != NULL ? authority_certify(authority, station, key, error) : NULL;

    if (certificate != NULL)
        identity =
            identity_new(station->name, key, certificate, authority->certificate, server, error);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return identity;
}

int authority_revoke(struct authority *authority, X509 *certificate, struct error *error)
{
    X509_REVOKED *entry = NULL;
    ASN1_TIME *when = ASN1_TIME_new();
    X509_CRL *list = X509_CRL_dup(authority->list);
    int result = -1;

    /* On a copy, so that a failure leaves the signed list as it is.  The date says nothing: no clock
     * is trusted. */
    if (list != NULL &&
        X509_CRL_get0_by_serial(list, &entry, X509_get_serialNumber(certificate)) != 0) {
        entry = NULL;
        (void)error_set(error, ERROR_USAGE, "is on the revocation list already");
        goto done;
    }
    entry = X509_REVOKED_new();
    if (list == NULL || entry == NULL || when == NULL ||
        ASN1_TIME_set_string_X509(when, NOT_BEFORE) != 1 ||
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate)) != 1 ||
        X509_REVOKED_set_revocationDate(entry, when) != 1 ||
        X509_CRL_add0_revoked(list, entry) != 1)
        goto fail;
    entry = NULL;
    if (!sign_list(list, authority->key, authority->number + 1))
        goto fail;
    X509_CRL_free(authority->list);
    authority->list = list;
    authority->number++;
    list = NULL;
    result = 0;
    goto done;

fail:
    (void)crypto_error(error, ERROR_FAILED, "revocation list: cannot be extended");
done:
    X509_REVOKED_free(entry);
    ASN1_TIME_free(when);
    X509_CRL_free(list);
    return result;
}
