/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda init: a new deployment.
 */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "host/boda/admin.h"
#include "host/boda/command.h"

enum { OPTION_NAME = COMMAND_OWN, OPTION_NEW_PASSPHRASE };

static const struct option options[] = {
    COMMAND_OPTIONS,
    {"name", required_argument, NULL, OPTION_NAME},
    {"new-passphrase-file", required_argument, NULL, OPTION_NEW_PASSPHRASE},
    {NULL, 0, NULL, 0},
};

static int write_identity(const char *dir, const char *file, const struct identity *identity,
                          const struct secret *passphrase, struct error *error)
{
    char path[PATH_MAX];

    if (admin_path(dir, file, path, error) != 0)
        return -1;
    return identity_write(identity, path, passphrase, error);
}

/* The folder must not have a deployment.  One whose making was cut short (no ca.crt) is made anew. */
static int make_folders(const char *dir, struct error *error)
{
    char path[PATH_MAX];

    if (admin_path(dir, "ca.crt", path, error) != 0)
        return -1;
    if (access(path, F_OK) == 0)
        return error_set(error, ERROR_USAGE, "%s: has a deployment already", dir);
    if (file_make_folder(dir, error) != 0 || admin_path(dir, "stations", path, error) != 0)
        return -1;
    return file_make_folder(path, error);
}

static int write_all(const char *dir, const struct authority *authority,
                     const struct identity *server, const struct identity *dock,
                     const struct secret *passphrase, struct error *error)
{
    char ca[PATH_MAX];

    admin_forget(dir, SERVER_NAME);
    admin_forget(dir, identity_name(dock));
    if (admin_path(dir, "ca.p12", ca, error) != 0 ||
        authority_write(authority, ca, passphrase, error) != 0 ||
        write_identity(dir, "server.p12", server, passphrase, error) != 0 ||
        write_identity(dir, "dock.p12", dock, passphrase, error) != 0 ||
        admin_record(dir, SERVER_NAME, identity_certificate(server), error) != 0 ||
        admin_record(dir, identity_name(dock), identity_certificate(dock), error) != 0 ||
        admin_write_list(dir, authority, error) != 0)
        return -1;
    return admin_write_ca(dir, authority, error);
}

static int make(const char *dir, const char *name, const struct secret *passphrase,
                struct error *error)
{
    const struct station of_server = {.name = SERVER_NAME, .role = ROLE_SERVER};
    const struct station of_dock = {.name = "dock", .role = ROLE_DOCK};
    struct authority *authority = authority_new(name, error);
    struct identity *server = NULL, *dock = NULL;
    int result = -1;

    if (authority != NULL)
        server = authority_enroll(authority, &of_server, NULL, error);
    if (server != NULL)
        dock = authority_enroll(authority, &of_dock, identity_certificate(server), error);
    if (dock != NULL && make_folders(dir, error) == 0)
        result = write_all(dir, authority, server, dock, passphrase, error);
    identity_free(dock);
    identity_free(server);
    authority_free(authority);
    return result;
}

static int run(const struct command *command, int argc, char **argv, struct error *error)
{
    const char *name = NULL, *new_passphrase = NULL;
    struct secret passphrase = {{0}};
    int option, result = -1;

    while ((option = command_option(command, argc, argv, options, error)) != -1) {
        if (option == OPTION_NAME)
            name = optarg;
        else if (option == OPTION_NEW_PASSPHRASE)
            new_passphrase = optarg;
        else if (option == '?')
            return -1;
        else
            return error_set(error, ERROR_USAGE, "-o: is not an option of boda init");
    }
    if (optind + 1 != argc || name == NULL)
        return error_set(error, ERROR_USAGE, "init: give one DIR and --name DEPLOYMENT");
    if (admin_new_passphrase(new_passphrase, &passphrase, error) == 0 &&
        make(argv[optind], name, &passphrase, error) == 0) {
        (void)printf("deployment %s\n", argv[optind]);
        if (new_passphrase == NULL)
            (void)printf("passphrase %s\n", passphrase.text);
        result = command_flush(error);
    }
    secret_cleanse(&passphrase);
    return result;
}

const struct command init_command = {
    "init",
    "usage: boda init DIR --name DEPLOYMENT [--new-passphrase-file FILE]\n"
    "\n"
    "Make the deployment DEPLOYMENT in the folder DIR: its CA, the server's identity, the first\n"
    "dock's. Prints 'passphrase WORDS', which opens all of them, unless it is read from FILE.\n"
    "Whoever has DIR and the passphrase can enrol stations and read what is sent to the server:\n"
    "keep them apart, and a copy of both.\n"
    "\n"
    "  --name DEPLOYMENT            1 to 64 bytes, for people to read\n"
    "  --new-passphrase-file FILE   take the passphrase from FILE (mode 0600)\n"
    "  --log-level LEVEL            error, warning, info, debug\n"
    "  --help, --version\n",
    run,
};
