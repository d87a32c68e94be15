/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda-tablet: takes the app's documents on loopback HTTP and hands them to couriers
 * (docs/tablet.md).  Three threads: this one waits for signals, one has the endpoint, one the cable.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "host/cable.h"
#include "host/tablet/door.h"
#include "host/tablet/httpd.h"
#include "host/tablet/inbox.h"
#include "host/usb_address.h"
#include "store/files.h"

#define VERSION "0.1"
#define ORIGINS_MOST 16
#define MEBIBYTE (1u << 20)

static const char usage_text[] =
    "usage: boda-tablet --identity FILE --store DIR [OPTION...]\n"
    "       boda-tablet --store DIR export FOLDER [--all]\n"
    "       boda-tablet --store DIR [--identity FILE] import FOLDER|FILE...\n"
    "\n"
    "export and import: batches as files on any medium, also beside a running boda-tablet.\n"
    "\n"
    "  --identity FILE          the tablet's identity (boda enroll tablet)\n"
    "  --store DIR              where it keeps what it has taken\n"
    "  --http 127.0.0.1:5985    where the app's PouchDB replicates to; port 0: a free one\n"
    "  --usb[=BUS:DEV]          couriers at the USB ports; or only this device, until it has gone\n"
    "  --usb-fd N               the courier that file descriptor N is the open device node of\n"
    "  --connect unix:PATH      a courier's Unix socket, instead of a cable\n"
    "  --origin URL             a web page that may call, as https://host[:port]; up to 16 times\n"
    "  --quota MB               the most that the store takes\n"
    "  --passphrase-file FILE   the passphrase of the identity\n"
    "  --all                    export what is applied too, where its bytes are kept\n"
    "  --show-secret            print 'secret VALUE', the endpoint's password, and end\n"
    "  --log-level LEVEL        error, warning, info (default) or debug\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage, 75 something is not there, try again later.\n";

struct arguments {
    const char *identity, *store, *http, *passphrase_file;
    char *cable; /* an address, as cable_options; NULL: no cable */
    const char *origins[ORIGINS_MOST + 1];
    int origins_count;
    uint64_t quota_bytes;
    bool show_secret, all;
    const char *command; /* "export", "import"; NULL: run */
    char *const *words;  /* behind it */
    int words_count;
};

/* One of the two threads, and how it ended. */
struct worker {
    int (*work)(struct worker *worker, struct error *error);
    void *context;
    pthread_t thread;
    bool started;
    int result;
    struct error error;
};

struct tablet {
    const struct arguments *arguments;
    struct identity *identity;
    struct store_options store;
    struct httpd *httpd;
    struct inbox *inbox;
    int64_t seen; /* position of the last batch that came as a file */
    atomic_bool stop;
};

/* ---- arguments ---- */

static int take_quota(struct arguments *arguments, const char *value, struct error *error)
{
    char *end;
    unsigned long long megabytes;

    errno = 0;
    megabytes = strtoull(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || value[0] == '-' || megabytes == 0 ||
        megabytes > UINT64_MAX / MEBIBYTE)
        return error_set(error, ERROR_USAGE, "--quota %s: must be a number of megabytes", value);
    arguments->quota_bytes = megabytes * MEBIBYTE;
    return 0;
}

static int take_origin(struct arguments *arguments, const char *value, struct error *error)
{
    if (!door_is_origin(value))
        return error_set(error, ERROR_USAGE,
                         "--origin %s: must be https://host[:port], without a "
                         "path",
                         value);
    if (arguments->origins_count == ORIGINS_MOST)
        return error_set(error, ERROR_USAGE, "--origin %s: %d are the most", value, ORIGINS_MOST);
    arguments->origins[arguments->origins_count++] = value;
    return 0;
}

/* The cable that OPTION names: its address is PREFIX and VALUE (may be NULL); no PREFIX: a socket. */
static int take_cable(struct arguments *arguments, const char *option, const char *prefix,
                      const char *value, struct error *error)
{
    struct usb_address parsed;

    if (arguments->cable != NULL)
        return error_set(error, ERROR_USAGE,
                         "%s: give one of --usb, --usb-fd and --connect, and once", option);
    if (asprintf(&arguments->cable, "%s%s", prefix, value == NULL ? "" : value) < 0) {
        arguments->cable = NULL;
        return error_set(error, ERROR_FAILED, "boda-tablet: no memory");
    }
    if (prefix[0] != '\0')
        return usb_address_parse(arguments->cable, &parsed, error);
    if (strncmp(arguments->cable, "unix:", 5) != 0)
        return error_set(error, ERROR_USAGE, "--connect %s: must be unix:PATH", arguments->cable);
    return 0;
}

static int take_option(struct arguments *arguments, int option, const char *value,
                       struct error *error)
{
    switch (option) {
    case 'i':
        arguments->identity = value;
        return 0;
    case 's':
        arguments->store = value;
        return 0;
    case 'a':
        arguments->http = value;
        return 0;
    case 'c':
        return take_cable(arguments, "--connect", "", value, error);
    case 'u':
        return take_cable(arguments, "--usb", value == NULL ? "usb" : "usb:", value, error);
    case 'n':
        return take_cable(arguments, "--usb-fd", "usb-fd:", value, error);
    case 'p':
        arguments->passphrase_file = value;
        return 0;
    case 'o':
        return take_origin(arguments, value, error);
    case 'q':
        return take_quota(arguments, value, error);
    case 'S':
        arguments->show_secret = true;
        return 0;
    case 'A':
        arguments->all = true;
        return 0;
    case 'l':
        if (log_set_level(value) == 0)
            return 0;
        return error_set(error, ERROR_USAGE,
                         "--log-level %s: must be error, warning, info or debug", value);
    default:
        return error_set(error, ERROR_USAGE, "boda-tablet: wrong usage; see boda-tablet --help");
    }
}

static int take_command(struct arguments *arguments, char *const *words, int count,
                        struct error *error)
{
    arguments->command = words[0];
    arguments->words = words + 1;
    arguments->words_count = count - 1;
    if (!files_is_command(words[0]))
        return error_set(error, ERROR_USAGE, "%s: is no command; see boda-tablet --help", words[0]);
    if (arguments->store == NULL)
        return error_set(error, ERROR_USAGE, "boda-tablet %s: needs --store DIR", words[0]);
    if (arguments->cable != NULL || arguments->show_secret ||
        (arguments->all && strcmp(words[0], "export") != 0))
        return error_set(error, ERROR_USAGE, "%s: does not go with these options", words[0]);
    return 0;
}

/* 0; 1: all is said already; -1. */
static int read_arguments(int argc, char **argv, struct arguments *arguments, struct error *error)
{
    static const struct option options[] = {
        {"identity", required_argument, NULL, 'i'},
        {"store", required_argument, NULL, 's'},
        {"http", required_argument, NULL, 'a'},
        {"connect", required_argument, NULL, 'c'},
        {"usb", optional_argument, NULL, 'u'},
        {"usb-fd", required_argument, NULL, 'n'},
        {"passphrase-file", required_argument, NULL, 'p'},
        {"origin", required_argument, NULL, 'o'},
        {"quota", required_argument, NULL, 'q'},
        {"show-secret", no_argument, NULL, 'S'},
        {"all", no_argument, NULL, 'A'},
        {"log-level", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'h' || option == 'v') {
            (void)fputs(option == 'h' ? usage_text : "boda-tablet " VERSION "\n", stdout);
            return 1;
        }
        if (take_option(arguments, option, optarg, error) != 0)
            return -1;
    }
    if (optind != argc)
        return take_command(arguments, argv + optind, argc - optind, error);
    if (arguments->all)
        return error_set(error, ERROR_USAGE, "--all: goes with export");
    if (arguments->identity == NULL || (arguments->store == NULL && !arguments->show_secret))
        return error_set(error, ERROR_USAGE, "boda-tablet: needs --identity FILE and --store DIR");
    return 0;
}

/* ---- the process ---- */

/* Signals come to this thread alone: to be called before any other is started. */
static int set_up_process(sigset_t *signals, struct error *error)
{
    process_bound_memory();
    (void)sigemptyset(signals);
    (void)sigaddset(signals, SIGTERM);
    (void)sigaddset(signals, SIGINT);
    if (pthread_sigmask(SIG_BLOCK, signals, NULL) != 0)
        return error_set(error, ERROR_FAILED, "signals: cannot be set up");
    return process_prepare(error);
}

static struct identity *open_identity(const struct arguments *arguments, struct error *error)
{
    struct identity *identity;
    struct secret passphrase;

    if (secret_obtain(&passphrase, arguments->passphrase_file, "Passphrase of the tablet", error) !=
        0)
        return NULL;
    identity = identity_open(arguments->identity, &passphrase, error);
    secret_cleanse(&passphrase);
    if (identity != NULL &&
        (identity_role(identity) != ROLE_TABLET || identity_user(identity)[0] == '\0')) {
        (void)error_set(error, ERROR_USAGE,
                        "%s: is %s %s, not a tablet with a user; make one with "
                        "boda enroll tablet",
                        arguments->identity, role_name(identity_role(identity)),
                        identity_name(identity));
        identity_free(identity);
        identity = NULL;
    }
    return identity;
}

static int show_secret(const struct identity *identity, struct error *error)
{
    struct secret secret;

    if (identity_secret(identity, &secret, error) != 0)
        return -1;
    (void)printf("secret %s\n", secret.text);
    secret_cleanse(&secret);
    return 0;
}

/* ---- the threads ---- */

static int work_http(struct worker *worker, struct error *error)
{
    struct tablet *tablet = worker->context;

    return httpd_run(tablet->httpd, error);
}

static int on_idle(struct store *store, struct trust *trust, void *context, struct error *error)
{
    struct tablet *tablet = context;

    return inbox_work(tablet->inbox, store, trust, error);
}

/* What came as files is dealt with though no courier ever comes. */
static int on_waiting(struct store *store, struct trust *trust, void *context, struct error *error)
{
    struct tablet *tablet = context;
    const struct batch_filter ours = {.to = identity_name(tablet->identity), .state = BATCH_HELD};
    struct batch batch = {0};
    int found, some = 0;

    while ((found = batches_next(store, &ours, tablet->seen, &batch, error)) == 1) {
        tablet->seen = batch.position;
        some = 1;
    }
    if (found < 0 || some == 0)
        return found;
    return trust_refresh(trust, store, error) != 0 ? -1
                                                   : inbox_work(tablet->inbox, store, trust, error);
}

static int work_cable(struct worker *worker, struct error *error)
{
    struct tablet *tablet = worker->context;
    const struct cable_options options = {
        .address = tablet->arguments->cable,
        .store = &tablet->store,
        .identity = tablet->identity,
        .own_mail = identity_name(tablet->identity),
        .idle = on_idle,
        .waiting = on_waiting,
        .context = tablet,
        .stop = &tablet->stop,
    };

    return cable_run(&options, error);
}

static void *run_worker(void *context)
{
    struct worker *worker = context;

    worker->result = worker->work(worker, &worker->error);
    (void)kill(getpid(), SIGTERM); /* main then ends the other one, too */
    return NULL;
}

static int start(struct worker *worker, struct error *error)
{
    int failed;

    failed = pthread_create(&worker->thread, NULL, run_worker, worker);
    if (failed != 0)
        return error_errno(error, failed, "boda-tablet: a thread cannot be started");
    worker->started = true;
    return 0;
}

/* Wait for the worker's end; the first fault is kept in ERROR. */
static int join(struct worker *worker, int result, struct error *error)
{
    if (!worker->started)
        return result;
    (void)pthread_join(worker->thread, NULL);
    if (worker->result != 0 && result == 0)
        *error = worker->error;
    return worker->result != 0 ? -1 : result;
}

static int run_threads(struct tablet *tablet, const sigset_t *signals, struct error *error)
{
    struct worker http = {.work = work_http, .context = tablet};
    struct worker cable = {.work = work_cable, .context = tablet};
    int result = start(&http, error), got;

    if (result == 0 && tablet->arguments->cable != NULL)
        result = start(&cable, error);
    if (result == 0) {
        (void)sigwait(signals, &got);
        log_info("boda-tablet: ends");
    }
    atomic_store(&tablet->stop, true);
    httpd_stop(tablet->httpd);
    result = join(&http, result, error);
    return join(&cable, result, error);
}

static int run(const struct arguments *arguments, const sigset_t *signals, struct error *error)
{
    struct tablet tablet = {.arguments = arguments};
    struct httpd_options options = {.address = arguments->http, .origins = arguments->origins};
    int result = -1;

    tablet.identity = open_identity(arguments, error);
    if (tablet.identity == NULL)
        return -1;
    if (arguments->show_secret) {
        result = show_secret(tablet.identity, error);
        goto out;
    }
    tablet.store.directory = arguments->store;
    tablet.store.station = identity_name(tablet.identity);
    tablet.store.role = role_name(ROLE_TABLET);
    tablet.store.quota_bytes = arguments->quota_bytes;
    options.store = &tablet.store;
    options.identity = tablet.identity;
    tablet.inbox = inbox_new(tablet.identity, error);
    if (tablet.inbox != NULL)
        tablet.httpd = httpd_new(&options, error);
    if (tablet.httpd != NULL)
        result = run_threads(&tablet, signals, error);

out:
    httpd_free(tablet.httpd);
    inbox_free(tablet.inbox);
    identity_free(tablet.identity);
    return result;
}

/* ---- files ---- */

/* The identity is needed for a store that is new, and for files whose names say nothing. */
static int run_files(const struct arguments *arguments, struct error *error)
{
    struct files_command files = {.name = arguments->command,
                                  .words = arguments->words,
                                  .words_count = arguments->words_count,
                                  .all = arguments->all,
                                  .directory = arguments->store,
                                  .quota_bytes = arguments->quota_bytes};
    struct identity *identity = NULL;
    int result;

    if (arguments->identity != NULL) {
        identity = open_identity(arguments, error);
        if (identity == NULL)
            return -1;
        files.identity = identity;
    }
    result = files_run(&files, error);
    identity_free(identity);
    return result;
}

static int run_command(const struct arguments *arguments, struct error *error)
{
    sigset_t signals;

    if (arguments->command != NULL)
        return process_prepare(error) == 0 ? run_files(arguments, error) : -1;
    if (set_up_process(&signals, error) != 0)
        return -1;
    return run(arguments, &signals, error);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.http = "127.0.0.1:5985"};
    struct error error = {0};
    int result = read_arguments(argc, argv, &arguments, &error);

    if (result == 0)
        result = run_command(&arguments, &error);
    free(arguments.cable);
    if (result >= 0)
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    log_error("%s", error.text);
    return error_exit_status(&error);
}
