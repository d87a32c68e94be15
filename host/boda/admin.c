/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/boda/admin.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "store/crypto.h"

#define NEW_PASSPHRASE_WORDS 5 /* 125 bits */
#define PEM_MAX_BYTES (2u << 20)

int admin_path(const char *dir, const char *name, char *path, struct error *error)
{
    int length = snprintf(path, PATH_MAX, "%s/%s", dir, name);

    if (length < 0 || length >= PATH_MAX)
        return error_set(error, ERROR_USAGE, "%s: the path is too long", dir);
    return 0;
}

static int station_path(const char *dir, const char *name, char *path, struct error *error)
{
    char file[STORE_NAME_BYTES + 16];

    if (!station_name_ok(name))
        return error_set(error, ERROR_USAGE,
                         "station '%s': a name is 1 to 64 of a-z, 0-9, '.', '_', '-', and begins "
                         "with a letter or digit",
                         name);
    (void)snprintf(file, sizeof file, "stations/%s.crt", name);
    return admin_path(dir, file, path, error);
}

int admin_passphrase(const char *dir, const char *file, struct secret *passphrase,
                     struct error *error)
{
    char prompt[PATH_MAX + 32];

    (void)snprintf(prompt, sizeof prompt, "passphrase of the deployment %s", dir);
    return secret_obtain(passphrase, file, prompt, error);
}

int admin_new_passphrase(const char *file, struct secret *passphrase, struct error *error)
{
    if (file != NULL)
        return secret_read_file(passphrase, file, error);
    return secret_generate(passphrase, NEW_PASSPHRASE_WORDS, error);
}

static BIO *open_pem(const char *path, struct buffer *bytes, struct error *error)
{
    BIO *bio;

    if (file_read(path, PEM_MAX_BYTES, bytes, error) != 0)
        return NULL;
    bio = BIO_new_mem_buf(bytes->data, (int)bytes->length);
    if (bio == NULL)
        (void)crypto_error(error, ERROR_FAILED, "%s: cannot be read", path);
    return bio;
}

/* crl.pem as DER. */
static int read_list(const char *path, struct buffer *der, struct error *error)
{
    struct buffer bytes = {0};
    BIO *bio = open_pem(path, &bytes, error);
    X509_CRL *list = bio != NULL ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL) : NULL;
    unsigned char *encoded = NULL;
    int size = list != NULL ? i2d_X509_CRL(list, &encoded) : -1;
    int result = -1;

    if (size > 0)
        result = buffer_append(der, encoded, (size_t)size, error);
    else if (bio != NULL)
        (void)crypto_error(error, ERROR_CORRUPT, "%s: is not a revocation list in PEM", path);
    OPENSSL_free(encoded);
    X509_CRL_free(list);
    BIO_free(bio);
    buffer_free(&bytes);
    return result;
}

struct authority *admin_open(const char *dir, const struct secret *passphrase, struct error *error)
{
    struct authority *authority = NULL;
    struct buffer list = {0};
    char path[PATH_MAX];

    if (admin_path(dir, "crl.pem", path, error) == 0 && read_list(path, &list, error) == 0 &&
        admin_path(dir, "ca.p12", path, error) == 0)
        authority = authority_open(path, passphrase, list.data, list.length, error);
    buffer_free(&list);
    return authority;
}

X509 *admin_station(const char *dir, const char *name, struct error *error)
{
    struct buffer bytes = {0};
    X509 *certificate = NULL;
    char path[PATH_MAX];
    BIO *bio;

    if (station_path(dir, name, path, error) != 0)
        return NULL;
    if (access(path, F_OK) != 0) {
        (void)error_set(error, ERROR_USAGE, "station %s: is not of the deployment %s", name, dir);
        return NULL;
    }
    bio = open_pem(path, &bytes, error);
    if (bio != NULL && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) == NULL)
        (void)crypto_error(error, ERROR_CORRUPT, "%s: is not a certificate in PEM", path);
    BIO_free(bio);
    buffer_free(&bytes);
    return certificate;
}

/* What was written to BIO, appended to OUT. */
static int take_pem(BIO *bio, bool written, struct buffer *out, struct error *error)
{
    char *text = NULL;
    long size = written ? BIO_get_mem_data(bio, &text) : -1;

    if (size <= 0)
        return crypto_error(error, ERROR_FAILED, "PEM: cannot be written");
    return buffer_append(out, text, (size_t)size, error);
}

int admin_pem(X509 *certificate, struct buffer *out, struct error *error)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int result =
        take_pem(bio, bio != NULL && PEM_write_bio_X509(bio, certificate) == 1, out, error);

    BIO_free(bio);
    return result;
}

int admin_record(const char *dir, const char *name, X509 *certificate, struct error *error)
{
    struct buffer pem = {0};
    char path[PATH_MAX];
    int result = -1;

    if (station_path(dir, name, path, error) != 0)
        return -1;
    if (access(path, F_OK) == 0)
        return error_set(error, ERROR_USAGE,
                         "station %s: exists; a name is given once, also after it was revoked: "
                         "choose another",
                         name);
    if (admin_pem(certificate, &pem, error) == 0)
        result = file_create(path, 0644, pem.data, pem.length, error);
    buffer_free(&pem);
    return result;
}

void admin_forget(const char *dir, const char *name)
{
    char path[PATH_MAX];

    if (station_path(dir, name, path, NULL) == 0)
        (void)unlink(path);
}

int admin_write_ca(const char *dir, const struct authority *authority, struct error *error)
{
    struct buffer pem = {0};
    char path[PATH_MAX];
    int result = -1;

    if (admin_path(dir, "ca.crt", path, error) == 0 &&
        admin_pem(authority_certificate(authority), &pem, error) == 0)
        result = file_write(path, 0644, pem.data, pem.length, error);
    buffer_free(&pem);
    return result;
}

int admin_write_list(const char *dir, const struct authority *authority, struct error *error)
{
    struct buffer pem = {0};
    char path[PATH_MAX];
    BIO *bio = BIO_new(BIO_s_mem());
    int result = -1;

    if (admin_path(dir, "crl.pem", path, error) == 0 &&
        take_pem(bio, bio != NULL && PEM_write_bio_X509_CRL(bio, authority_list(authority)) == 1,
                 &pem, error) == 0)
        result = file_write(path, 0644, pem.data, pem.length, error);
    BIO_free(bio);
    buffer_free(&pem);
    return result;
}
