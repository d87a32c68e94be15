/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/door.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "link/socket.h"

struct door {
    const char *address; /* the caller's */
    int listener;
};

struct door *door_open(const char *address, const char *name, struct error *error)
{
    struct door *door = calloc(1, sizeof *door);

    if (door == NULL) {
        error_set(error, ERROR_FAILED, "cable: no memory");
        return NULL;
    }
    door->address = address;
    door->listener = socket_listen(address, error);
    if (door->listener < 0) {
        free(door);
        return NULL;
    }
    log_info("courier %s: listening at %s", name, address);
    return door;
}

struct link *door_accept(void *context, int timeout_ms, const sigset_t *wake, struct error *error)
{
    const struct door *door = context;
    struct pollfd listener = {.fd = door->listener, .events = POLLIN};
    const struct timespec timeout = {.tv_sec = timeout_ms / 1000,
                                     .tv_nsec = (long)(timeout_ms % 1000) * 1000000};

    if (ppoll(&listener, 1, &timeout, wake) < 0 && errno != EINTR) {
        error_errno(error, errno, "cable: cannot wait for a connection");
        return NULL;
    }
    return socket_accept(door->listener, 0, error);
}

void door_close(struct door *door)
{
    if (door == NULL)
        return;
    socket_unlisten(door->listener, door->address);
    free(door);
}
