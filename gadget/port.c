/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/port.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define AGAIN_MS 1000

struct port {
    struct keeper *keeper;
    const char *name; /* the caller's */
    struct functionfs *functionfs;
    /* `bound`: the keeper says so, and the log; `seen`: so do the events on ep0, which come later. */
    bool bound, seen, before;
    int64_t again_ms;
    char said[ERROR_TEXT_BYTES]; /* why it is not bound, as last told */
};

struct port *port_open(struct keeper *keeper, const char *name, struct error *error)
{
    struct port *port = calloc(1, sizeof *port);
    char folder[PATH_MAX];

    if (port == NULL) {
        error_set(error, ERROR_FAILED, "gadget: no memory");
        return NULL;
    }
    port->keeper = keeper;
    port->name = name;
    if (keeper_set_up(keeper, name, folder, sizeof folder, error) != 0 ||
        (port->functionfs = functionfs_open(folder, error)) == NULL) {
        free(port);
        return NULL;
    }
    return port;
}

static int try_to_bind(struct port *port, struct error *error)
{
    if (keeper_bind(port->keeper, error) == 0) {
        if (!port->bound)
            log_info("courier %s: %s %s", port->name,
                     port->before ? "bound again, USB gadget at" : "USB gadget at",
                     keeper_udc(port->keeper));
        port->bound = true;
        port->before = true;
        port->said[0] = '\0';
        return 0;
    }
    if (error->kind != ERROR_TEMPORARY)
        return -1;
    if (strcmp(port->said, error->text) != 0)
        log_warning("courier %s: not bound yet: %s", port->name, error->text);
    memcpy(port->said, error->text, sizeof port->said);
    return 0;
}

/* 0: bound, or told why not; -1 for what trying again will not mend. */
static int see_to_binding(struct port *port, struct error *error)
{
    int64_t now_ms = clock_ms();

    if (functionfs_bound(port->functionfs)) {
        port->seen = true;
        return 0;
    }
    if (port->bound && port->seen) {
        log_warning("courier %s: UDC gone, waiting for it", port->name);
        port->bound = false;
    }
    port->seen = false;
    if (now_ms < port->again_ms)
        return 0;
    port->again_ms = now_ms + AGAIN_MS;
    return try_to_bind(port, error);
}

struct link *port_accept(void *context, int timeout_ms, const sigset_t *wake, struct error *error)
{
    struct port *port = context;

    if (see_to_binding(port, error) != 0)
        return NULL;
    return functionfs_accept(port->functionfs, timeout_ms, wake, error);
}

void port_watch(struct port *port, void (*changed)(enum functionfs_host host, void *context),
                void *context)
{
    functionfs_watch(port->functionfs, changed, context);
}

void port_close(struct port *port)
{
    if (port == NULL)
        return;
    functionfs_close(port->functionfs);
    free(port);
}
