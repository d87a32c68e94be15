/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/pkcs12.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pkcs12.h>

#include "base/buffer.h"
#include "base/file.h"
#include "store/crypto.h"

#define FILE_MAX_BYTES 65536

/* Generated passphrases have 125 bits and need no stretching; this is for those that people choose,
 * and small boards must open it in well under a second. */
#define ITERATIONS 50000

int pkcs12_read(const char *file, const struct secret *passphrase, EVP_PKEY **key,
                X509 **certificate, STACK_OF(X509) * *others, struct error *error)
{
    struct buffer bytes = {0};
    const unsigned char *at;
    PKCS12 *pkcs12 = NULL;
    int result = -1;

    *key = NULL;
    *certificate = NULL;
    *others = NULL;
    if (file_require_private(file, error) != 0 ||
        file_read(file, FILE_MAX_BYTES, &bytes, error) != 0)
        goto done;
    at = bytes.data;
    pkcs12 = d2i_PKCS12(NULL, &at, (long)bytes.length);
    if (pkcs12 == NULL) {
        (void)crypto_error(error, ERROR_CORRUPT, "%s: is not a PKCS#12 file", file);
        goto done;
    }
    if (!PKCS12_mac_present(pkcs12)) {
        (void)error_set(error, ERROR_CORRUPT, "%s: has no MAC, so it is not trusted", file);
        goto done;
    }
    if (PKCS12_verify_mac(pkcs12, passphrase->text, -1) != 1) {
        ERR_clear_error();
        (void)error_set(error, ERROR_FAILED, "%s: the passphrase is wrong", file);
        goto done;
    }
    if (PKCS12_parse(pkcs12, passphrase->text, key, certificate, others) != 1) {
        (void)crypto_error(error, ERROR_CORRUPT, "%s: cannot be read as PKCS#12", file);
        goto done;
    }
    if (*key == NULL || *certificate == NULL) {
        (void)error_set(error, ERROR_FAILED, "%s: has no %s", file,
                        *key == NULL ? "key" : "certificate that fits its key");
        goto done;
    }
    result = 0;
done:
    ERR_clear_error();
    if (result != 0) {
        EVP_PKEY_free(*key);
        X509_free(*certificate);
        sk_X509_pop_free(*others, X509_free);
        *key = NULL;
        *certificate = NULL;
        *others = NULL;
    }
    PKCS12_free(pkcs12);
    buffer_cleanse(&bytes);
    return result;
}

static PKCS12 *encode(const struct secret *passphrase, const char *name, EVP_PKEY *key,
                      X509 *certificate, X509 *const others[2])
{
    STACK_OF(X509) *stack = sk_X509_new_null();
    PKCS12 *pkcs12 = NULL;

    if (stack == NULL)
        return NULL;
    for (int i = 0; i < 2; i++)
        if (others[i] != NULL && sk_X509_push(stack, others[i]) <= 0)
            goto done;
    pkcs12 = PKCS12_create(passphrase->text, name, key, certificate, stack, NID_aes_256_cbc,
                           NID_aes_256_cbc, ITERATIONS, -1, 0);
    /* PKCS12_create's own MAC is left out (-1), as its digest depends on OpenSSL's version. */
    if (pkcs12 != NULL &&
        PKCS12_set_mac(pkcs12, passphrase->text, -1, NULL, 0, ITERATIONS, EVP_sha256()) != 1) {
        PKCS12_free(pkcs12);
        pkcs12 = NULL;
    }
done:
    sk_X509_free(stack);
    return pkcs12;
}

int pkcs12_write(const char *file, const struct secret *passphrase, const char *name, EVP_PKEY *key,
                 X509 *certificate, X509 *const others[2], struct error *error)
{
    PKCS12 *pkcs12 = encode(passphrase, name, key, certificate, others);
    unsigned char *der = NULL;
    int size = pkcs12 != NULL ? i2d_PKCS12(pkcs12, &der) : -1;
    int result;

    if (size > 0)
        result = file_write(file, 0600, der, (size_t)size, error);
    else
        result = crypto_error(error, ERROR_FAILED, "%s: the PKCS#12 file cannot be made", file);
    OPENSSL_free(der);
    PKCS12_free(pkcs12);
    return result;
}
