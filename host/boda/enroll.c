/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda enroll: a new station of the deployment.
 */
#include <libgen.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "host/boda/admin.h"
#include "host/boda/command.h"
#include "store/crypto.h"

#define CSR_MAX_BYTES 65536

enum {
    OPTION_USER = COMMAND_OWN,
    OPTION_CSR,
    OPTION_DEPLOYMENT,
    OPTION_PASSPHRASE,
    OPTION_NEW_PASSPHRASE
};

static const struct option options[] = {
    COMMAND_OPTIONS,
    {"user", required_argument, NULL, OPTION_USER},
    {"csr", required_argument, NULL, OPTION_CSR},
    {"deployment", required_argument, NULL, OPTION_DEPLOYMENT},
    {"passphrase-file", required_argument, NULL, OPTION_PASSPHRASE},
    {"new-passphrase-file", required_argument, NULL, OPTION_NEW_PASSPHRASE},
    {NULL, 0, NULL, 0},
};

struct request {
    struct station station;
    const char *deployment, *output, *csr, *passphrase_file, *new_passphrase_file;
    struct authority *authority;
    X509 *server;
    struct secret passphrase, new_passphrase;
};

static int take_words(struct request *request, const char *role, const char *name, const char *user,
                      struct error *error)
{
    request->station.role = role_from_name(role);
    if (request->station.role == ROLE_NONE || request->station.role == ROLE_SERVER)
        return error_set(error, ERROR_USAGE, "enroll: %s is none of tablet, courier, dock", role);
    if (strlen(name) >= sizeof request->station.name ||
        strlen(user) >= sizeof request->station.user)
        return error_set(error, ERROR_USAGE, "enroll: a name has at most 64 bytes");
    memcpy(request->station.name, name, strlen(name) + 1);
    memcpy(request->station.user, user, strlen(user) + 1);
    if (request->station.role == ROLE_TABLET && user[0] == '\0')
        return error_set(error, ERROR_USAGE, "enroll tablet %s: give --user CHTUSER", name);
    return station_check(&request->station, error);
}

static int parse(const struct command *command, int argc, char **argv, struct request *request,
                 struct error *error)
{
    const char *user = "";
    int option;

    request->deployment = ".";
    while ((option = command_option(command, argc, argv, options, error)) != -1) {
        switch (option) {
        case 'o':
            request->output = optarg;
            break;
        case OPTION_USER:
            user = optarg;
            break;
        case OPTION_CSR:
            request->csr = optarg;
            break;
        case OPTION_DEPLOYMENT:
            request->deployment = optarg;
            break;
        case OPTION_PASSPHRASE:
            request->passphrase_file = optarg;
            break;
        case OPTION_NEW_PASSPHRASE:
            request->new_passphrase_file = optarg;
            break;
        default:
            return -1;
        }
    }
    if (optind + 2 != argc || request->output == NULL)
        return error_set(error, ERROR_USAGE, "enroll: give tablet|courier|dock, NAME, -o FILE");
    if (access(request->output, F_OK) == 0)
        return error_set(error, ERROR_USAGE, "%s: exists; take it away, or give another -o",
                         request->output);
    return take_words(request, argv[optind], argv[optind + 1], user, error);
}

/* The key of a request (PKCS#10) that proves that its maker has it. */
static EVP_PKEY *read_csr(const char *path, struct error *error)
{
    struct buffer bytes = {0};
    EVP_PKEY *key = NULL;
    X509_REQ *csr = NULL;
    BIO *bio = NULL;

    if (file_read(path, CSR_MAX_BYTES, &bytes, error) != 0)
        goto done;
    bio = BIO_new_mem_buf(bytes.data, (int)bytes.length);
    csr = bio != NULL ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
    if (csr == NULL) {
        (void)crypto_error(error, ERROR_CORRUPT, "%s: is not a certificate request in PEM", path);
        goto done;
    }
    key = X509_REQ_get_pubkey(csr);
    if (key == NULL || X509_REQ_verify(csr, key) != 1) {
        EVP_PKEY_free(key);
        key = NULL;
        ERR_clear_error();
        (void)error_set(error, ERROR_REFUSED, "%s: its signature is wrong", path);
    }
done:
    X509_REQ_free(csr);
    BIO_free(bio);
    buffer_free(&bytes);
    return key;
}

/* Certificate, CA and server certificate for a key that was made on the device. */
static int answer_csr(struct request *request, struct error *error)
{
    const char *name = request->station.name;
    EVP_PKEY *key = read_csr(request->csr, error);
    X509 *certificate =
        key != NULL ? authority_certify(request->authority, &request->station, key, error) : NULL;
    struct buffer pem = {0};
    int result = -1;

    if (certificate != NULL && admin_pem(certificate, &pem, error) == 0 &&
        admin_pem(authority_certificate(request->authority), &pem, error) == 0 &&
        admin_pem(request->server, &pem, error) == 0 &&
        admin_record(request->deployment, name, certificate, error) == 0) {
        result = file_write(request->output, 0644, pem.data, pem.length, error);
        if (result != 0)
            admin_forget(request->deployment, name);
    }
    if (result == 0) {
        (void)printf("certificates %s\n", request->output);
        if (request->station.role == ROLE_TABLET)
            (void)fputs("boda: the key was made on the tablet, so the endpoint's secret is known "
                        "there alone: boda-tablet --show-secret prints it\n",
                        stderr);
    }
    buffer_free(&pem);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return result;
}

static bool same_folder(const char *a, const char *b)
{
    char *real_a = realpath(a, NULL), *real_b = realpath(b, NULL);
    bool same = real_a != NULL && real_b != NULL && strcmp(real_a, real_b) == 0;

    free(real_a);
    free(real_b);
    return same;
}

/* Beside the identity of a dock for another PC: all that its boda-dock needs of a deployment, which
 * is not the CA's key. */
static int write_dock_folder(struct request *request, struct error *error)
{
    struct identity *server = NULL;
    char copy[PATH_MAX], path[PATH_MAX];
    const char *folder;
    int result = -1;

    if (strlen(request->output) >= sizeof copy)
        return error_set(error, ERROR_USAGE, "%s: the path is too long", request->output);
    memcpy(copy, request->output, strlen(request->output) + 1);
    folder = dirname(copy);
    if (same_folder(folder, request->deployment))
        return 0;
    if (admin_path(request->deployment, "server.p12", path, error) == 0)
        server = identity_open(path, &request->passphrase, error);
    if (server != NULL && admin_path(folder, "server.p12", path, error) == 0 &&
        identity_write(server, path, &request->new_passphrase, error) == 0 &&
        admin_write_list(folder, request->authority, error) == 0)
        result = admin_write_ca(folder, request->authority, error);
    identity_free(server);
    return result;
}

static int write_files(struct request *request, const struct identity *identity,
                       struct error *error)
{
    if (identity_write(identity, request->output, &request->new_passphrase, error) != 0)
        return -1;
    if (request->station.role != ROLE_DOCK || write_dock_folder(request, error) == 0)
        return 0;
    (void)unlink(request->output);
    return -1;
}

static int print_lines(const struct request *request, const struct identity *identity,
                       struct error *error)
{
    struct secret secret = {{0}};
    int result = 0;

    (void)printf("identity %s\n", request->output);
    if (request->new_passphrase_file == NULL)
        (void)printf("passphrase %s\n", request->new_passphrase.text);
    if (request->station.role == ROLE_TABLET) {
        result = identity_secret(identity, &secret, error);
        if (result == 0)
            (void)printf("secret %s\n", secret.text);
        secret_cleanse(&secret);
    }
    return result;
}

static int make(struct request *request, struct error *error)
{
    const char *name = request->station.name;
    struct identity *identity = NULL;
    int result = -1;

    if (admin_new_passphrase(request->new_passphrase_file, &request->new_passphrase, error) == 0)
        identity = authority_enroll(request->authority, &request->station, request->server, error);
    if (identity != NULL &&
        admin_record(request->deployment, name, identity_certificate(identity), error) == 0) {
        result = write_files(request, identity, error);
        if (result != 0)
            admin_forget(request->deployment, name);
    }
    if (result == 0)
        result = print_lines(request, identity, error);
    identity_free(identity);
    return result;
}

static int run(const struct command *command, int argc, char **argv, struct error *error)
{
    struct request request = {0};
    int result = -1;

    if (parse(command, argc, argv, &request, error) != 0)
        return -1;
    if (admin_passphrase(request.deployment, request.passphrase_file, &request.passphrase, error) ==
        0)
        request.authority = admin_open(request.deployment, &request.passphrase, error);
    if (request.authority != NULL)
        request.server = admin_station(request.deployment, SERVER_NAME, error);
    if (request.server != NULL)
        result = request.csr != NULL ? answer_csr(&request, error) : make(&request, error);
    if (result == 0)
        result = command_flush(error);
    X509_free(request.server);
    authority_free(request.authority);
    secret_cleanse(&request.passphrase);
    secret_cleanse(&request.new_passphrase);
    return result;
}

const struct command enroll_command = {
    "enroll",
    "usage: boda enroll tablet|courier|dock NAME [--user CHTUSER] [--csr FILE] -o FILE\n"
    "                   [--deployment DIR] [--passphrase-file FILE]\n"
    "                   [--new-passphrase-file FILE]\n"
    "\n"
    "Enrol the station NAME (1 to 64 of a-z, 0-9, '.', '_', '-'). A name is given once. Writes its\n"
    "identity and prints 'identity FILE', 'passphrase WORDS' (unless it is read from a file), and\n"
    "for a tablet 'secret VALUE', the password of its endpoint.\n"
    "A dock for another PC: -o FOLDER/dock.p12 also writes server.p12, ca.crt and crl.pem to\n"
    "FOLDER, under the same passphrase; copy FOLDER there as the `dir=` of its `[deployment]`.\n"
    "With --csr the key stays on the device that made it; FILE gets the certificates in PEM. There:\n"
    "  openssl ecparam -name prime256v1 -genkey -noout -out key.pem\n"
    "  openssl req -new -key key.pem -subj /CN=NAME -out NAME.csr\n"
    "  openssl pkcs12 -export -inkey key.pem -in FILE -out NAME.p12; chmod 600 NAME.p12\n"
    "\n"
    "  --user CHTUSER               whose documents a tablet has\n"
    "  --csr FILE                   a certificate request (PEM, P-256); only its key counts\n"
    "  -o FILE                      what to write; must not exist\n"
    "  --deployment DIR             the deployment's folder; the present one if not given\n"
    "  --passphrase-file FILE       the deployment's passphrase\n"
    "  --new-passphrase-file FILE   take the new identity's passphrase from FILE (mode 0600)\n"
    "  --log-level LEVEL            error, warning, info, debug\n"
    "  --help, --version\n",
    run,
};
