/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What the subcommands of `boda` share: how main knows them, and their common options.
 */
#ifndef BODA_HOST_BODA_COMMAND_H
#define BODA_HOST_BODA_COMMAND_H

#include <getopt.h>
#include <stdbool.h>

#include "base/error.h"

struct command {
    const char *name;
    const char *usage; /* printed by --help */
    /* ARGV[0] is the subcommand.  0, or -1 with ERROR_USAGE for wrong words. */
    int (*run)(const struct command *command, int argc, char **argv, struct error *error);
};

/* Options of every subcommand; their own follow from COMMAND_OWN. */
enum { COMMAND_HELP = 256, COMMAND_VERSION, COMMAND_LOG_LEVEL, COMMAND_OWN };
#define COMMAND_OPTIONS                                                                         \
    {"help", no_argument, NULL, COMMAND_HELP}, {"version", no_argument, NULL, COMMAND_VERSION}, \
    {                                                                                           \
        "log-level", required_argument, NULL, COMMAND_LOG_LEVEL                                 \
    }

/* The next option as getopt_long gives it, -1 behind the last.  Common ones are dealt with inside;
 * --help and --version end the program.  '?' with ERROR filled for an option that is none. */
int command_option(const struct command *command, int argc, char **argv,
                   const struct option *options, struct error *error);

/* Print a version line, or COMMAND's usage. */
void command_print_version(void);

/* Flush standard output; -1 if something of it could not be written. */
int command_flush(struct error *error);

extern const struct command init_command, enroll_command, revoke_command, status_command,
    batch_command;

#endif
