/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/dock.h"

#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "store/peers.h"

#define CRL_FILE_BYTES_MOST (4u << 20)

int dock_path(const struct dock *dock, const char *name, char *path, struct error *error)
{
    int length = snprintf(path, PATH_MAX, "%s/%s", dock->config->deployment, name);

    if (length < 0 || length >= PATH_MAX)
        return error_set(error, ERROR_FAILED, "%s: the path is too long", dock->config->deployment);
    return 0;
}

/* The list of FILE, as PEM, in DER. */
static int read_crl(const char *file, unsigned char **der, size_t *size, struct error *error)
{
    struct buffer pem = {0};
    X509_CRL *crl = NULL;
    BIO *bio = NULL;
    int length = -1;

    *der = NULL;
    if (file_read(file, CRL_FILE_BYTES_MOST, &pem, error) != 0)
        goto done;
    bio = BIO_new_mem_buf(pem.data, (int)pem.length);
    crl = bio == NULL ? NULL : PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
    length = crl == NULL ? -1 : i2d_X509_CRL(crl, der);
    if (length <= 0)
        (void)error_set(error, ERROR_FAILED,
                        "%s: is not a revocation list; copy it anew from the "
                        "deployment's folder",
                        file);
done:
    X509_CRL_free(crl);
    BIO_free(bio);
    buffer_free(&pem);
    *size = length > 0 ? (size_t)length : 0;
    return length > 0 ? 0 : -1;
}

static int store_crl(struct store *store, uint64_t number, const void *der, size_t size,
                     struct error *error)
{
    if (store_begin(store, error) != 0)
        return -1;
    if (peers_set_crl(store, number, der, size, error) != 0) {
        store_rollback(store);
        return -1;
    }
    if (store_commit(store, error) != 0)
        return -1;
    log_info("revocation list %llu taken from the deployment's folder", (unsigned long long)number);
    return 0;
}

static int take_crl(struct dock *dock, struct error *error)
{
    char file[PATH_MAX];
    unsigned char *der;
    uint64_t number = 0;
    size_t size;
    int taken;

    if (dock_path(dock, "crl.pem", file, error) != 0)
        return -1;
    if (access(file, F_OK) != 0)
        return 0; /* couriers bring the list as well */
    if (read_crl(file, &der, &size, error) != 0)
        return -1;
    taken = trust_update(dock->trust, der, size, &number, error);
    if (taken < 0)
        (void)error_prefix(error, "%s", file);
    if (taken == 1 && store_crl(dock->store, number, der, size, error) != 0)
        taken = -1;
    OPENSSL_free(der);
    return taken < 0 ? -1 : 0;
}

static struct identity *open_identity(const struct dock *dock, const char *name, enum role role,
                                      const struct secret *passphrase, struct error *error)
{
    char file[PATH_MAX];
    struct identity *identity;

    if (dock_path(dock, name, file, error) != 0)
        return NULL;
    identity = identity_open(file, passphrase, error);
    if (identity != NULL && identity_role(identity) != role) {
        (void)error_set(error, ERROR_FAILED, "%s: is the identity of a %s, not of a %s", file,
                        role_name(identity_role(identity)), role_name(role));
        identity_free(identity);
        return NULL;
    }
    return identity;
}

int dock_open(struct dock *dock, const char *config_file, const char *passphrase_file,
              atomic_bool *stop, struct error *error)
{
    struct store_options options = {.role = "dock"};
    struct secret passphrase = {{0}};
    int result = -1;

    memset(dock, 0, sizeof *dock);
    dock->stop = stop;
    dock->config = config_open(config_file, error);
    if (dock->config == NULL)
        return -1;
    dock->users = users_open(dock->config->users, dock->config->account, error);
    if (dock->users == NULL ||
        secret_obtain(&passphrase, passphrase_file, "Passphrase of the deployment", error) != 0)
        goto done;
    dock->self = open_identity(dock, "dock.p12", ROLE_DOCK, &passphrase, error);
    if (dock->self == NULL)
        goto done;
    dock->server = open_identity(dock, "server.p12", ROLE_SERVER, &passphrase, error);
    if (dock->server == NULL)
        goto done;
    options.directory = dock->config->store;
    options.station = identity_name(dock->self);
    dock->store = store_open(&options, error);
    if (dock->store == NULL)
        goto done;
    dock->passwords = passwords_new(dock->store, dock->self, dock->config->url, error);
    if (dock->passwords == NULL)
        goto done;
    dock->trust = trust_open(dock->self, dock->store, error);
    if (dock->trust == NULL)
        goto done;
    result = take_crl(dock, error);
done:
    secret_cleanse(&passphrase);
    return result;
}

int dock_open_store(struct dock *dock, const char *config_file, struct error *error)
{
    struct store_options options = {.none = &dock->no_store};

    memset(dock, 0, sizeof *dock);
    dock->config = config_open(config_file, error);
    if (dock->config == NULL)
        return -1;
    options.directory = dock->config->store;
    dock->store = store_open(&options, error);
    if (dock->no_store)
        return error_set(error, ERROR_FAILED, "%s: has no store yet; it is made by boda-dock run",
                         dock->config->store);
    return dock->store == NULL ? -1 : 0;
}

void dock_close(struct dock *dock)
{
    passwords_free(dock->passwords);
    users_free(dock->users);
    trust_free(dock->trust);
    store_close(dock->store);
    identity_free(dock->server);
    identity_free(dock->self);
    config_free(dock->config);
    memset(dock, 0, sizeof *dock);
}
