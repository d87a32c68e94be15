/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda revoke: a station is lost or no longer trusted.
 */
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "host/boda/admin.h"
#include "host/boda/command.h"

enum { OPTION_DEPLOYMENT = COMMAND_OWN, OPTION_PASSPHRASE };

static const struct option options[] = {
    COMMAND_OPTIONS,
    {"deployment", required_argument, NULL, OPTION_DEPLOYMENT},
    {"passphrase-file", required_argument, NULL, OPTION_PASSPHRASE},
    {NULL, 0, NULL, 0},
};

static int revoke(const char *dir, const char *name, const struct secret *passphrase,
                  struct error *error)
{
    X509 *certificate = admin_station(dir, name, error);
    struct authority *authority = NULL;
    int result = -1;

    if (certificate != NULL)
        authority = admin_open(dir, passphrase, error);
    if (authority != NULL) {
        if (authority_revoke(authority, certificate, error) != 0)
            (void)error_prefix(error, "station %s", name);
        else if (admin_write_list(dir, authority, error) == 0) {
            (void)printf("revoked %s\nlist %llu\n", name,
                         (unsigned long long)authority_number(authority));
            result = command_flush(error);
        }
    }
    authority_free(authority);
    X509_free(certificate);
    return result;
}

static int run(const struct command *command, int argc, char **argv, struct error *error)
{
    const char *dir = ".", *passphrase_file = NULL;
    struct secret passphrase = {{0}};
    int option, result = -1;

    while ((option = command_option(command, argc, argv, options, error)) != -1) {
        if (option == OPTION_DEPLOYMENT)
            dir = optarg;
        else if (option == OPTION_PASSPHRASE)
            passphrase_file = optarg;
        else if (option == '?')
            return -1;
        else
            return error_set(error, ERROR_USAGE, "-o: is not an option of boda revoke");
    }
    if (optind + 1 != argc)
        return error_set(error, ERROR_USAGE, "revoke: give one NAME");
    if (strcmp(argv[optind], SERVER_NAME) == 0)
        return error_set(error, ERROR_USAGE,
                         "revoke: without the server nobody can go on: make a new deployment");
    if (admin_passphrase(dir, passphrase_file, &passphrase, error) == 0)
        result = revoke(dir, argv[optind], &passphrase, error);
    secret_cleanse(&passphrase);
    return result;
}

const struct command revoke_command = {
    "revoke",
    "usage: boda revoke NAME [--deployment DIR] [--passphrase-file FILE]\n"
    "\n"
    "Put the station NAME on the revocation list, crl.pem. Copy the new list to the folders of other\n"
    "docks; docks give it to couriers, couriers to tablets. A courier that is revoked takes part no\n"
    "more; batches that a revoked tablet signed are set aside at the dock.\n"
    "A stolen dock has the server's key: make a new deployment.\n"
    "\n"
    "  --deployment DIR         the deployment's folder; the present one if not given\n"
    "  --passphrase-file FILE   the deployment's passphrase\n"
    "  --log-level LEVEL        error, warning, info, debug\n"
    "  --help, --version\n",
    run,
};
