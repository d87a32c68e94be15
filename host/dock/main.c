/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda-dock: takes batches from couriers and replays them into the server (docs/dock.md).
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/process.h"
#include "host/dock/aside.h"
#include "host/dock/refused.h"
#include "host/dock/run.h"
#include "host/usb_address.h"
#include "store/files.h"

#define VERSION "0.1"
#define ADDRESS_BYTES 32

static const char usage_text[] =
    "usage: boda-dock --config FILE COMMAND [OPTION...]\n"
    "\n"
    "  run --usb any|BUS:DEV [--once]        visit couriers at the USB ports, or one device until it\n"
    "                                        has gone, and replay what they bring; with --once until\n"
    "                                        nothing moves\n"
    "  run --connect unix:PATH [--once]      the same over a Unix socket\n"
    "  upload                                replay what the store holds, without a courier\n"
    "  export FOLDER [--all]                 batches as files on any medium: what is for the tablets\n"
    "  import FOLDER|FILE...                 what is for the server; upload then replays it\n"
    "  refused list                          documents that the server would not take\n"
    "  refused retry|dismiss NUMBER...|--all try them again, or let them go\n"
    "  passwords list                        users whose password the server refused\n"
    "  passwords retry USER...|--all         try them again, if they were set right at the server\n"
    "  aside list                            batches that could not be used\n"
    "  aside release NUMBER...|--all         try them again\n"
    "  aside drop NUMBER...|--all --yes      throw them away, here and where they came from\n"
    "\n"
    "  --config FILE            the dock's configuration\n"
    "  --passphrase-file FILE   the passphrase of dock.p12 and server.p12\n"
    "  --log-level LEVEL        error, warning, info (default) or debug\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage, 75 server or courier not there, try again later.\n";

/* Set by SIGTERM and SIGINT: everything comes to a clean end. */
static atomic_bool stop;

struct arguments {
    const char *config, *passphrase_file, *connect, *usb;
    bool once, all, yes;
    char *const *words; /* behind the command */
    int words_count;
};

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stop, true);
}

static int set_signals(struct error *error)
{
    struct sigaction action = {.sa_handler = on_signal};

    if (sigaction(SIGTERM, &action, NULL) != 0 || sigaction(SIGINT, &action, NULL) != 0)
        return error_set(error, ERROR_FAILED, "signals: cannot be set up");
    return 0;
}

/* The cable as cable_options want it: TEXT has ADDRESS_BYTES for one that is made here. */
static const char *cable_address(const struct arguments *arguments, char *text, struct error *error)
{
    struct usb_address parsed;

    if ((arguments->connect == NULL) == (arguments->usb == NULL)) {
        (void)error_set(
            error, ERROR_USAGE,
            "run: needs --usb any, --usb BUS:DEV or --connect unix:PATH, and one alone");
        return NULL;
    }
    if (arguments->connect != NULL) {
        if (strncmp(arguments->connect, "unix:", 5) == 0)
            return arguments->connect;
        (void)error_set(error, ERROR_USAGE, "--connect %s: must be unix:PATH", arguments->connect);
        return NULL;
    }
    if (strcmp(arguments->usb, "any") == 0)
        return "usb";
    if (snprintf(text, ADDRESS_BYTES, "usb:%s", arguments->usb) >= ADDRESS_BYTES) {
        (void)error_set(error, ERROR_USAGE, "--usb %s: must be any or BUS:DEV", arguments->usb);
        return NULL;
    }
    return usb_address_parse(text, &parsed, error) == 0 ? text : NULL;
}

static int run(struct dock *dock, const struct arguments *arguments, struct error *error)
{
    int (*work)(struct dock *, const char *, struct error *) =
        arguments->once ? run_once : run_forever;
    char text[ADDRESS_BYTES];
    const char *address = cable_address(arguments, text, error);

    if (address == NULL ||
        dock_open(dock, arguments->config, arguments->passphrase_file, &stop, error) != 0)
        return -1;
    return work(dock, address, error);
}

static int upload(struct dock *dock, const struct arguments *arguments, struct error *error)
{
    if (dock_open(dock, arguments->config, arguments->passphrase_file, &stop, error) != 0)
        return -1;
    return run_upload(dock, error);
}

static int refused(struct dock *dock, const struct arguments *arguments, struct error *error)
{
    if (dock_open_store(dock, arguments->config, error) != 0)
        return -1;
    return refused_run(dock, arguments->words, arguments->words_count, arguments->all, error);
}

static int aside(struct dock *dock, const struct arguments *arguments, struct error *error)
{
    if (dock_open_store(dock, arguments->config, error) != 0)
        return -1;
    return aside_run(dock, arguments->words, arguments->words_count, arguments->all, arguments->yes,
                     error);
}

static int passwords(struct dock *dock, const struct arguments *arguments, struct error *error)
{
    if (dock_open_store(dock, arguments->config, error) != 0)
        return -1;
    return passwords_run(dock, arguments->words, arguments->words_count, arguments->all, error);
}

/* ---- files ---- */

/* A dock that has a store needs no passphrase; one that has none begins it.  To be ended at any moment is harmless. */
static int open_for_files(struct dock *dock, const struct arguments *arguments, struct error *error)
{
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    if (dock_open_store(dock, arguments->config, error) == 0)
        return 0;
    if (!dock->no_store)
        return -1;
    dock_close(dock);
    return dock_open(dock, arguments->config, arguments->passphrase_file, &stop, error);
}

/* The server's key, asked for when a file comes whose name says nothing. */
struct late_key {
    const struct arguments *arguments;
    struct dock dock;
    bool tried, open;
    struct error error;
};

static int label_late(void *context, const void *bytes, size_t size, struct label *label,
                      struct error *error)
{
    struct late_key *late = context;
    struct files_key key;

    if (!late->tried) {
        late->tried = true;
        late->open = dock_open(&late->dock, late->arguments->config,
                               late->arguments->passphrase_file, &stop, &late->error) == 0;
    }
    if (!late->open) {
        *error = late->error;
        return -1;
    }
    key = (struct files_key){late->dock.server, late->dock.trust};
    return files_label(&key, bytes, size, label, error);
}

static int export_files(struct dock *dock, const struct arguments *arguments, struct error *error)
{
    if (open_for_files(dock, arguments, error) != 0)
        return -1;
    return files_export(dock->store, arguments->words, arguments->words_count, arguments->all,
                        error);
}

static int import_files(struct dock *dock, const struct arguments *arguments, struct error *error)
{
    struct late_key late = {.arguments = arguments};
    struct import_options options = {.open = label_late, .context = &late};
    int result;

    if (open_for_files(dock, arguments, error) != 0)
        return -1;
    options.store = dock->store;
    options.trust = dock->trust;
    result = files_import(&options, arguments->words, arguments->words_count, error);
    dock_close(&late.dock);
    return result;
}

static const struct command {
    const char *name;
    int (*work)(struct dock *dock, const struct arguments *arguments, struct error *error);
    bool has_words;
    const char *options; /* those of its own that it takes */
} commands[] = {
    {"run", run, false, "cou"},          {"upload", upload, false, ""},
    {"refused", refused, true, "a"},     {"aside", aside, true, "ay"},
    {"passwords", passwords, true, "a"}, {"export", export_files, true, "a"},
    {"import", import_files, true, ""},
};

static int take_option(struct arguments *arguments, int option, char *value, char *given)
{
    size_t length = strlen(given);

    switch (option) {
    case 'f':
        arguments->config = value;
        return 0;
    case 'p':
        arguments->passphrase_file = value;
        return 0;
    case 'l':
        return log_set_level(value);
    case 'c':
        arguments->connect = value;
        break;
    case 'o':
        arguments->once = true;
        break;
    case 'u':
        arguments->usb = value;
        break;
    case 'a':
        arguments->all = true;
        break;
    case 'y':
        arguments->yes = true;
        break;
    default:
        return -1;
    }
    if (strchr(given, option) == NULL) {
        given[length] = (char)option; /* room for each of the five */
        given[length + 1] = '\0';
    }
    return 0;
}

static const struct command *find_command(const char *name, const char *given, int words,
                                          struct error *error)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const struct command *command = &commands[i];

        if (strcmp(command->name, name) != 0)
            continue;
        if ((words > 0 && !command->has_words) ||
            strspn(given, command->options) != strlen(given)) {
            (void)error_set(error, ERROR_USAGE,
                            "%s: takes not all of these words and options; see "
                            "boda-dock --help",
                            name);
            return NULL;
        }
        return command;
    }
    (void)error_set(error, ERROR_USAGE, "%s: is not a command; see boda-dock --help", name);
    return NULL;
}

/* 0 with *COMMAND set; 1: all is said already; -1. */
static int read_arguments(int argc, char **argv, struct arguments *arguments,
                          const struct command **command, struct error *error)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'f'},
        {"passphrase-file", required_argument, NULL, 'p'},
        {"log-level", required_argument, NULL, 'l'},
        {"connect", required_argument, NULL, 'c'},
        {"usb", required_argument, NULL, 'u'},
        {"once", no_argument, NULL, 'o'},
        {"all", no_argument, NULL, 'a'},
        {"yes", no_argument, NULL, 'y'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    char given[8] = "";
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'h' || option == 'v') {
            (void)fputs(option == 'h' ? usage_text : "boda-dock " VERSION "\n", stdout);
            return 1;
        }
        if (take_option(arguments, option, optarg, given) != 0)
            return error_set(error, ERROR_USAGE, "boda-dock: wrong usage; see boda-dock --help");
    }
    if (optind == argc)
        return error_set(error, ERROR_USAGE, "boda-dock: needs a command; see boda-dock --help");
    if (arguments->config == NULL)
        return error_set(error, ERROR_USAGE, "boda-dock: needs --config FILE");
    arguments->words = argv + optind + 1;
    arguments->words_count = argc - optind - 1;
    *command = find_command(argv[optind], given, arguments->words_count, error);
    return *command == NULL ? -1 : 0;
}

int main(int argc, char **argv)
{
    const struct command *command = NULL;
    struct arguments arguments = {0};
    struct dock dock = {0};
    struct error error = {0};
    int result;

    process_bound_memory();
    result = read_arguments(argc, argv, &arguments, &command, &error);
    if (result == 0 && command != NULL) {
        result = process_prepare(&error);
        if (result == 0)
            result = set_signals(&error);
        if (result == 0)
            result = command->work(&dock, &arguments, &error);
        dock_close(&dock);
    }
    if (result >= 0)
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    log_error("%s", error.text);
    return error_exit_status(&error);
}
