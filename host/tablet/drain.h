/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Connections that were answered before their body was read: what the client still sends is read and
 * thrown away for a while, because closing a socket with unread bytes resets the connection (RFC 9112
 * section 9.6), and the client would lose the answer.
 */
#ifndef BODA_HOST_TABLET_DRAIN_H
#define BODA_HOST_TABLET_DRAIN_H

#include <poll.h>

#include "base/error.h"

#define DRAIN_MOST 8

struct drain;

struct drain *drain_new(struct error *error);
void drain_free(struct drain *drain); /* NULL is harmless */

/* Linger on the connection FD, which stays the caller's: a copy is kept.  Not done when there are
 * DRAIN_MOST already. */
void drain_add(struct drain *drain, int fd);

/* Fill in what is to be polled (DRAIN_MOST at most); how many.  And for how long at most, -1: any. */
int drain_fill(const struct drain *drain, struct pollfd *polled);
int drain_timeout_ms(const struct drain *drain);

/* Read what is there, and let go of those that are done. */
void drain_read(struct drain *drain);

#endif
