/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The courier's USB interface (docs/protocol.md, "USB"): descriptors, requests and events on ep0, and
 * the two bulk endpoints by AIO with an eventfd.  A transport (link/link.h), by way of link/bulk.h.
 */
#ifndef BODA_GADGET_FUNCTIONFS_H
#define BODA_GADGET_FUNCTIONFS_H

#include <signal.h>
#include <stdbool.h>

#include "link/link.h"

struct functionfs;

/* Write the descriptors to the functionfs mounted at FOLDER and open its endpoints.  The gadget may be
 * bound after that.  The signal SIGALRM is taken for bounds on the kernel's calls that have none. */
struct functionfs *functionfs_open(const char *folder, struct error *error);

/* Ends the link that there may be; the kernel unbinds the gadget.  NULL is harmless. */
void functionfs_close(struct functionfs *self);

/* Wait at most TIMEOUT_MS, or until a signal of WAKE (may be NULL: the mask to wait with,
 * ppoll(2)), for a host that begins a session.  A link, or NULL with ERROR_TEMPORARY; any other error
 * ends the functionfs.  One link at a time; it is closed before the next call, and before
 * functionfs_close. */
struct link *functionfs_accept(struct functionfs *self, int timeout_ms, const sigset_t *wake,
                               struct error *error);

/* Whether a UDC has the gadget, as the events seen so far tell.  False after the UDC has gone. */
bool functionfs_bound(const struct functionfs *self);

/* A host, as far as the controller tells. */
enum functionfs_host { FUNCTIONFS_HOST_GONE, FUNCTIONFS_HOST_THERE, FUNCTIONFS_HOST_SUSPENDED };

/* From now on CHANGED is called, by whoever calls functionfs_accept or uses its link, whenever this changes; at
 * first no host is there. */
void functionfs_watch(struct functionfs *self,
                      void (*changed)(enum functionfs_host host, void *context), void *context);

#endif
