/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/files.h"

#define PROGRAM "boda-courier"
#define VERSION "0.1"
#define EXIT_USAGE 2
#define DRIVE_MB 256
#define DRIVE_LEAST_MB 16
#define DRIVE_MOST_MB 4095 /* a file of a FAT, and what the smaller boards' file systems hold */

static void print_help(void)
{
    puts(
        "usage: " PROGRAM " --identity FILE --store DIR --usb [options]\n"
        "       " PROGRAM " --identity FILE --store DIR --listen unix:PATH [options]\n"
        "       " PROGRAM " check [--identity FILE] [--store DIR] [--udc NAME] [--drive]\n"
        "       " PROGRAM " --store DIR export FOLDER [--all]\n"
        "       " PROGRAM " --store DIR [--identity FILE] import FOLDER|FILE...\n"
        "\n"
        "Carries sealed batches between tablets and docks; it cannot read them.  check: what this board\n"
        "lacks to be a courier, in words.  export, import: batches as files on any medium, also beside a\n"
        "running courier.\n"
        "\n"
        "  --identity FILE         this courier's identity (PKCS#12, mode 0600)\n"
        "  --store DIR             where it keeps what it carries\n"
        "  --usb                   be a USB device, into which hosts are plugged; needs root\n"
        "  --udc NAME              at this USB device controller, of /sys/class/udc; else the first free one\n"
        "  --user NAME             with --usb: do all but the USB set-up as this user\n"
        "  --drive[=MB]            with --usb: be a small USB drive as well, for batch files; of 16 to 4095 MB (256)\n"
        "  --listen unix:PATH      no USB: a socket at which hosts \"plug in\"\n"
        "  --passphrase-file FILE  opens the identity; else $CREDENTIALS_DIRECTORY, else a prompt\n"
        "  --quota MB              most megabytes of batches that it carries\n"
        "  --lamp NAME             an LED of the board, from /sys/class/leds\n"
        "  --all                   export what is applied too, where its bytes are kept\n"
        "  --log-level LEVEL       error, warning, info (the default) or debug\n"
        "  --help, --version\n"
        "\n"
        "Exit status: 0 stopped, 1 failed, 2 wrong usage, 75 try again later.");
}

static int wrong_usage(const char *words)
{
    fprintf(stderr, PROGRAM ": %s; " PROGRAM " --help tells more\n", words);
    return EXIT_USAGE;
}

static int read_drive(const char *text, uint64_t *bytes)
{
    unsigned long megabytes = DRIVE_MB;
    char *end;

    if (text != NULL) {
        megabytes = strtoul(text, &end, 10); /* too large a number stays too large */
        if (end == text || *end != '\0' || text[0] == '-' || megabytes < DRIVE_LEAST_MB ||
            megabytes > DRIVE_MOST_MB)
            return wrong_usage("--drive takes a number of megabytes, 16 to 4095");
    }
    *bytes = (uint64_t)megabytes << 20;
    return -1;
}

static int read_quota(const char *text, uint64_t *bytes)
{
    char *end;
    unsigned long long megabytes;

    errno = 0;
    megabytes = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || megabytes == 0 ||
        megabytes > UINT64_MAX / 1000000)
        return -1;
    *bytes = megabytes * 1000000;
    return 0;
}

enum choice {
    IDENTITY = 256,
    STORE,
    LISTEN,
    PASSPHRASE_FILE,
    QUOTA,
    LAMP,
    LOG_LEVEL,
    HELP,
    VERSION_,
    USB,
    UDC,
    USER,
    DRIVE,
    ALL
};

static const struct option long_options[] = {
    {"identity", required_argument, NULL, IDENTITY},
    {"store", required_argument, NULL, STORE},
    {"listen", required_argument, NULL, LISTEN},
    {"passphrase-file", required_argument, NULL, PASSPHRASE_FILE},
    {"quota", required_argument, NULL, QUOTA},
    {"lamp", required_argument, NULL, LAMP},
    {"log-level", required_argument, NULL, LOG_LEVEL},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION_},
    {"usb", no_argument, NULL, USB},
    {"udc", required_argument, NULL, UDC},
    {"user", required_argument, NULL, USER},
    {"drive", optional_argument, NULL, DRIVE},
    {"all", no_argument, NULL, ALL},
    {NULL, 0, NULL, 0},
};

/* One option: -1 go on, else the exit status. */
static int read_option(int option, struct options *options)
{
    switch (option) {
    case IDENTITY:
        options->identity = optarg;
        return -1;
    case STORE:
        options->store = optarg;
        return -1;
    case LISTEN:
        options->listen = optarg;
        return -1;
    case PASSPHRASE_FILE:
        options->passphrase_file = optarg;
        return -1;
    case QUOTA:
        if (read_quota(optarg, &options->quota_bytes) == 0)
            return -1;
        return wrong_usage("--quota takes a number of megabytes");
    case LAMP:
        options->lamp = optarg;
        return -1;
    case LOG_LEVEL:
        if (log_set_level(optarg) == 0)
            return -1;
        return wrong_usage("--log-level is error, warning, info or debug");
    case HELP:
        print_help();
        return EXIT_SUCCESS;
    case VERSION_:
        puts(PROGRAM " " VERSION);
        return EXIT_SUCCESS;
    case USB:
        options->usb = true;
        return -1;
    case UDC:
        options->udc = optarg;
        return -1;
    case USER:
        options->user = optarg;
        return -1;
    case ALL:
        options->all = true;
        return -1;
    case DRIVE:
        return read_drive(optarg, &options->drive_bytes);
    default:
        return EXIT_USAGE; /* getopt_long has said why */
    }
}

/* Do the options go together?  -1: run; else the exit status. */
static int check_together(const struct options *options)
{
    if (options->check)
        return -1;
    if (options->all && (options->files == NULL || strcmp(options->files, "export") != 0))
        return wrong_usage("--all goes with export");
    if (options->files != NULL && options->store == NULL)
        return wrong_usage("--store is needed");
    if (options->files != NULL)
        return options->usb || options->listen != NULL
                   ? wrong_usage("export and import go without --usb and --listen")
                   : -1;
    if (options->identity == NULL || options->store == NULL)
        return wrong_usage("--identity and --store are needed");
    if (options->usb == (options->listen != NULL))
        return wrong_usage("either --usb or --listen is needed");
    if (!options->usb &&
        (options->udc != NULL || options->user != NULL || options->drive_bytes != 0))
        return wrong_usage("--udc, --user and --drive go with --usb");
    return -1;
}

int options_read(int argc, char **argv, struct options *options)
{
    int option, status;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        status = read_option(option, options);
        if (status >= 0)
            return status;
    }
    if (optind < argc) {
        if (files_is_command(argv[optind]))
            options->files = argv[optind];
        else if (strcmp(argv[optind], "check") != 0 || optind + 1 < argc)
            return wrong_usage("there are words that belong to no option");
        options->check = options->files == NULL;
        options->words = argv + optind + 1;
        options->words_count = argc - optind - 1;
    }
    return check_together(options);
}
