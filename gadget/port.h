/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The courier's USB port: gadget and functionfs, bound to a UDC, and again each time one is there.
 */
#ifndef BODA_GADGET_PORT_H
#define BODA_GADGET_PORT_H

#include <signal.h>

#include "gadget/functionfs.h"
#include "gadget/keeper.h"
#include "link/link.h"

struct port;

/* Set the gadget of the courier NAME up, by way of KEEPER, which outlives it.  A UDC need not be there
 * yet.  Log lines call it the courier NAME's. */
struct port *port_open(struct keeper *keeper, const char *name, struct error *error);

/* As courier_options.accept; CONTEXT is the port.  Binds it, at most once a second, while no UDC has it,
 * and logs how that goes. */
struct link *port_accept(void *context, int timeout_ms, const sigset_t *wake, struct error *error);

/* functionfs_watch of its interface. */
void port_watch(struct port *port, void (*changed)(enum functionfs_host host, void *context),
                void *context);

/* NULL is harmless. */
void port_close(struct port *port);

#endif
