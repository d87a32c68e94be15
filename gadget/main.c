/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda-courier: the daemon on the board that carries batches between tablets and docks.
 */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/process.h"
#include "gadget/check/check.h"
#include "gadget/courier.h"
#include "gadget/door.h"
#include "gadget/drive.h"
#include "gadget/keeper.h"
#include "gadget/options.h"
#include "gadget/port.h"
#include "store/files.h"

#define PROGRAM "boda-courier"

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

static struct identity *open_identity(const struct options *options, struct error *error)
{
    struct identity *identity;
    struct secret passphrase;

    if (secret_obtain(&passphrase, options->passphrase_file, "Passphrase of the courier", error) !=
        0)
        return NULL;
    identity = identity_open(options->identity, &passphrase, error);
    secret_cleanse(&passphrase);
    if (identity != NULL && identity_role(identity) != ROLE_COURIER) {
        error_set(error, ERROR_USAGE, "%s: is the identity of a %s; a courier needs its own",
                  options->identity, role_name(identity_role(identity)));
        identity_free(identity);
        identity = NULL;
    }
    return identity;
}

/* NULL: there is none; the cable goes on without it. */
static struct drive *start_drive(const struct courier_options *courier,
                                 const struct options *options, struct keeper *keeper,
                                 struct port *port)
{
    const struct drive_options drive_options = {.keeper = keeper,
                                                .store = courier->store,
                                                .folder = options->store,
                                                .name = identity_name(courier->identity),
                                                .bytes = options->drive_bytes};
    struct drive *drive;
    struct error error;

    if (!keeper_has_drive(keeper))
        return NULL;
    drive = drive_start(&drive_options, &error);
    if (drive == NULL)
        log_warning("%s", error.text);
    else
        port_watch(port, drive_host, drive);
    return drive;
}

/* Serve at the socket, or (KEEPER) by USB. */
static int serve(struct courier_options *courier, const struct options *options,
                 struct keeper *keeper, struct error *error)
{
    const char *name = identity_name(courier->identity);
    struct door *door = NULL;
    struct drive *drive = NULL;
    struct port *port = NULL;
    int result = -1;

    if (keeper != NULL) {
        port = port_open(keeper, name, error);
        if (port != NULL)
            drive = start_drive(courier, options, keeper, port);
        courier->accept = port_accept;
        courier->accept_context = port;
    } else {
        door = door_open(options->listen, name, error);
        courier->accept = door_accept;
        courier->accept_context = door;
    }
    if (courier->accept_context != NULL)
        result = courier_run(courier, error);
    drive_stop(drive);
    port_close(port);
    door_close(door);
    return result;
}

/* KEEPER: NULL without USB. */
static int run(const struct options *options, struct keeper *keeper, struct error *error)
{
    struct store_options store = {
        .directory = options->store, .role = "courier", .quota_bytes = options->quota_bytes};
    struct courier_options courier = {.stop = &stop};
    struct identity *identity = NULL;
    int result = -1;

    if (set_signals(error) != 0)
        return -1;
    courier.lamp = lamp_new(options->lamp, NULL, error);
    if (courier.lamp == NULL)
        goto out;
    identity = open_identity(options, error);
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
    result = serve(&courier, options, keeper, error);
out:
    trust_free(courier.trust);
    store_close(courier.store);
    identity_free(identity);
    lamp_free(courier.lamp);
    return result;
}

static int fail(const struct error *error)
{
    log_error("%s", error->text);
    return error_exit_status(error);
}

/* The keeper's worker. */
static int work(struct keeper *keeper, void *context)
{
    struct error error;

    return run(context, keeper, &error) == 0 ? EXIT_SUCCESS : fail(&error);
}

static int run_usb(struct options *options)
{
    struct keeper_options keeper = {
        .udc = options->udc, .user = options->user, .work = work, .context = options};
    char image[PATH_MAX];
    struct error error;
    int status;

    if (options->drive_bytes != 0) {
        if ((size_t)snprintf(image, sizeof image, "%s/" DRIVE_IMAGE, options->store) >=
            sizeof image) {
            error_set(&error, ERROR_USAGE, "%s: the path is too long", options->store);
            return fail(&error);
        }
        keeper.image = image;
    }
    status = keeper_run(&keeper, &error);
    return status >= 0 ? status : fail(&error);
}

/* The identity is needed for a store that is new. */
static int run_files(const struct options *options)
{
    struct files_command files = {.name = options->files,
                                  .words = options->words,
                                  .words_count = options->words_count,
                                  .all = options->all,
                                  .directory = options->store,
                                  .quota_bytes = options->quota_bytes};
    struct identity *identity = NULL;
    struct error error;
    int result;

    if (options->identity != NULL) {
        identity = open_identity(options, &error);
        if (identity == NULL)
            return fail(&error);
        files.identity = identity;
    }
    result = files_run(&files, &error);
    identity_free(identity);
    if (result == 0 && fflush(stdout) == 0)
        return EXIT_SUCCESS;
    return result == 0 ? EXIT_FAILURE : fail(&error);
}

static int run_check(const struct options *options)
{
    const struct check_options check = {.udc = options->udc,
                                        .identity = options->identity,
                                        .passphrase_file = options->passphrase_file,
                                        .drive = options->drive_bytes != 0,
                                        .store = options->store};
    struct error error;
    int status = check_run(&check, stdout, &error);

    return status >= 0 ? status : fail(&error);
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct error error;
    int status = options_read(argc, argv, &options);

    if (status >= 0)
        return status;
#ifdef __GLIBC__
    /* A board is small: give freed memory back rather than keep it for later (mallopt(3)). */
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
#endif
    if (process_prepare(&error) != 0)
        return fail(&error);
    if (options.check)
        return run_check(&options);
    if (options.files != NULL)
        return run_files(&options);
    if (options.usb)
        return run_usb(&options);
    return run(&options, NULL, &error) == 0 ? EXIT_SUCCESS : fail(&error);
}
