/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda-courier: the daemon on the board that carries batches between tablets and docks.
 */
#include <errno.h>
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
#include "gadget/keeper.h"
#include "gadget/options.h"
#include "gadget/port.h"

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

/* Serve at the socket, or (KEEPER) by USB. */
static int serve(struct courier_options *courier, const struct options *options,
                 struct keeper *keeper, struct error *error)
{
    const char *name = identity_name(courier->identity);
    struct door *door = NULL;
    struct port *port = NULL;
    int result = -1;

    if (keeper != NULL) {
        port = port_open(keeper, name, error);
        courier->accept = port_accept;
        courier->accept_context = port;
    } else {
        door = door_open(options->listen, name, error);
        courier->accept = door_accept;
        courier->accept_context = door;
    }
    if (courier->accept_context != NULL)
        result = courier_run(courier, error);
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
    const struct keeper_options keeper = {
        .udc = options->udc, .user = options->user, .work = work, .context = options};
    struct error error;
    int status = keeper_run(&keeper, &error);

    return status >= 0 ? status : fail(&error);
}

static int run_check(const struct options *options)
{
    const struct check_options check = {.udc = options->udc,
                                        .identity = options->identity,
                                        .passphrase_file = options->passphrase_file,
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
    if (options.usb)
        return run_usb(&options);
    return run(&options, NULL, &error) == 0 ? EXIT_SUCCESS : fail(&error);
}
