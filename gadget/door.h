/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The courier's door at a Unix socket: hosts "plug in" by connecting.
 */
#ifndef BODA_GADGET_DOOR_H
#define BODA_GADGET_DOOR_H

#include <signal.h>

#include "link/link.h"

struct door;

/* Listen at "unix:PATH" (socket_listen); log it as the courier NAME's. */
struct door *door_open(const char *address, const char *name, struct error *error);

/* As courier_options.accept; CONTEXT is the door. */
struct link *door_accept(void *context, int timeout_ms, const sigset_t *wake, struct error *error);

/* NULL is harmless. */
void door_close(struct door *door);

#endif
