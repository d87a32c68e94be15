/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda-courier: the daemon on the board that carries batches between tablets and docks.
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/process.h"
#include "gadget/courier.h"

#define PROGRAM "boda-courier"
#define VERSION "0.1"
#define EXIT_USAGE 2

struct settings {
    const char *identity, *store, *listen, *passphrase_file, *lamp;
    uint64_t quota_bytes;
};

static atomic_bool stop;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stop, true);
}

static int set_signals(struct error *error)
{
    struct sigaction end = {.sa_handler = on_signal};

    sigemptyset(&end.sa_mask);
    if (sigaction(SIGTERM, &end, NULL) != 0 || sigaction(SIGINT, &end, NULL) != 0)
        return error_errno(error, errno, PROGRAM ": cannot set signal handlers");
    return 0;
}

static void print_help(void)
{
    puts(
        "usage: " PROGRAM " --identity FILE --store DIR --listen unix:PATH [options]\n"
        "\n"
        "Carries sealed batches between tablets and docks; it cannot read them.\n"
        "\n"
        "  --identity FILE         this courier's identity (PKCS#12, mode 0600)\n"
        "  --store DIR             where it keeps what it carries\n"
        "  --listen unix:PATH      the socket at which hosts \"plug in\"\n"
        "  --passphrase-file FILE  opens the identity; else $CREDENTIALS_DIRECTORY, else a prompt\n"
        "  --quota MB              most megabytes of batches that it carries\n"
        "  --lamp NAME             an LED of the board, from /sys/class/leds\n"
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
    DRIVE
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
    {"drive", no_argument, NULL, DRIVE},
    {NULL, 0, NULL, 0},
};

/* One option: -1 go on, else the exit status. */
static int read_option(int option, struct settings *settings)
{
    switch (option) {
    case IDENTITY:
        settings->identity = optarg;
        return -1;
    case STORE:
        settings->store = optarg;
        return -1;
    case LISTEN:
        settings->listen = optarg;
        return -1;
    case PASSPHRASE_FILE:
        settings->passphrase_file = optarg;
        return -1;
    case QUOTA:
        if (read_quota(optarg, &settings->quota_bytes) == 0)
            return -1;
        return wrong_usage("--quota takes a number of megabytes");
    case LAMP:
        settings->lamp = optarg;
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
    case UDC:
    case DRIVE:
        return wrong_usage(
            "--usb, --udc and --drive are not in this version: give --listen unix:PATH");
    default:
        return EXIT_USAGE; /* getopt_long has said why */
    }
}

/* -1: run; else the exit status. */
static int read_arguments(int argc, char **argv, struct settings *settings)
{
    int option, status;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        status = read_option(option, settings);
        if (status >= 0)
            return status;
    }
    if (optind < argc) {
        if (strcmp(argv[optind], "check") == 0 || strcmp(argv[optind], "export") == 0 ||
            strcmp(argv[optind], "import") == 0)
            return wrong_usage("check, export and import are not in this version");
        return wrong_usage("there are words that belong to no option");
    }
    if (settings->identity == NULL || settings->store == NULL || settings->listen == NULL)
        return wrong_usage("--identity, --store and --listen are needed");
    return -1;
}

static struct identity *open_identity(const struct settings *settings, struct error *error)
{
    struct identity *identity;
    struct secret passphrase;

    if (secret_obtain(&passphrase, settings->passphrase_file,
                      "Passphrase of the courier: ", error) != 0)
        return NULL;
    identity = identity_open(settings->identity, &passphrase, error);
    secret_cleanse(&passphrase);
    if (identity != NULL && identity_role(identity) != ROLE_COURIER) {
        error_set(error, ERROR_USAGE, "%s: is the identity of a %s; a courier needs its own",
                  settings->identity, role_name(identity_role(identity)));
        identity_free(identity);
        identity = NULL;
    }
    return identity;
}

static int run(const struct settings *settings, struct error *error)
{
    struct store_options store = {
        .directory = settings->store, .role = "courier", .quota_bytes = settings->quota_bytes};
    struct courier_options courier = {.listen = settings->listen, .stop = &stop};
    struct identity *identity = NULL;
    int result = -1;

    courier.lamp = lamp_new(settings->lamp, NULL, error);
    if (courier.lamp == NULL)
        goto out;
    identity = open_identity(settings, error);
    if (identity == NULL)
        goto out;
    store.station = identity_name(identity);
    courier.identity = identity;
    courier.store = store_open(&store, error);
    if (courier.store == NULL)
        goto out;
    courier.trust = trust_open(identity, courier.store, error);
    if (courier.trust == NULL)
        goto out;
    result = courier_run(&courier, error);
out:
    trust_free(courier.trust);
    store_close(courier.store);
    identity_free(identity);
    lamp_free(courier.lamp);
    return result;
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    struct error error;
    int status = read_arguments(argc, argv, &settings);

    if (status >= 0)
        return status;
#ifdef __GLIBC__
    /* A board is small: give freed memory back rather than keep it for later (mallopt(3)). */
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
#endif
    if (process_prepare(&error) != 0 || set_signals(&error) != 0 || run(&settings, &error) != 0) {
        log_error("%s", error.text);
        return error_exit_status(&error);
    }
    return EXIT_SUCCESS;
}
