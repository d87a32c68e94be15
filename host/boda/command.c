/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/boda/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

#define VERSION "0.1"

void command_print_version(void)
{
    puts("boda " VERSION);
}

int command_option(const struct command *command, int argc, char **argv,
                   const struct option *options, struct error *error)
{
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":o:", options, NULL)) != -1) {
        switch (option) {
        case COMMAND_HELP:
            (void)fputs(command->usage, stdout);
            exit(EXIT_SUCCESS);
        case COMMAND_VERSION:
            command_print_version();
            exit(EXIT_SUCCESS);
        case COMMAND_LOG_LEVEL:
            if (log_set_level(optarg) != 0) {
                (void)error_set(error, ERROR_USAGE,
                                "--log-level %s: is none of error, warning, info, debug", optarg);
                return '?';
            }
            break;
        case ':':
            (void)error_set(error, ERROR_USAGE, "%s: needs a value", argv[optind - 1]);
            return '?';
        case '?':
            (void)error_set(error, ERROR_USAGE, "%s: is not an option of boda %s", argv[optind - 1],
                            command->name);
            return '?';
        default:
            return option;
        }
    }
    return -1;
}

int command_flush(struct error *error)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return error_errno(error, errno, "standard output: cannot be written");
    return 0;
}
