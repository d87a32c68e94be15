/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda: the administrator's command.  A table of subcommands, one file each.
 */
#include <stdio.h>
#include <string.h>

#include "base/process.h"
#include "host/boda/command.h"

static const struct command *const commands[] = {
    &init_command, &enroll_command, &revoke_command, &status_command, &batch_command,
};

static const char usage[] =
    "usage: boda init DIR --name DEPLOYMENT\n"
    "       boda enroll tablet|courier|dock NAME [--user CHTUSER] -o FILE.p12\n"
    "       boda revoke NAME\n"
    "       boda status [--json] --store DIR\n"
    "       boda batch verify|open|list FILE...\n"
    "       boda SUBCOMMAND --help\n"
    "       boda --version\n";

static int run(int argc, char **argv, struct error *error)
{
    if (argc < 2)
        return error_set(error, ERROR_USAGE, "no subcommand given; see boda --help");
    if (strcmp(argv[1], "--help") == 0) {
        (void)fputs(usage, stdout);
        return command_flush(error);
    }
    if (strcmp(argv[1], "--version") == 0) {
        command_print_version();
        return command_flush(error);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i]->name) == 0)
            return commands[i]->run(commands[i], argc - 1, argv + 1, error);
    return error_set(error, ERROR_USAGE, "%s: is not a subcommand; see boda --help", argv[1]);
}

int main(int argc, char **argv)
{
    struct error error = {0};

    if (process_prepare(&error) == 0 && run(argc, argv, &error) == 0)
        return 0;
    (void)fprintf(stderr, "boda: %s\n", error.text);
    return error_exit_status(&error);
}
