/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The transport over two bulk pipes (docs/protocol.md, "USB"): what the gadget's and the host's end
 * share.  A port moves single transfers; this makes streams of bytes of them, with several transfers
 * in flight each way.  One thread only.
 */
#ifndef BODA_LINK_BULK_H
#define BODA_LINK_BULK_H

#include <stdbool.h>
#include <stdint.h>

#include "link/link.h"

#define BULK_TRANSFER_BYTES 16384u
#define BULK_SLOTS 8u /* transfers in flight each way at most */
#define BULK_NONCE_BYTES 8u

/* The request RESET, an interface's. */
#define BULK_RESET_REQUEST 0x01
#define BULK_RESET_VALUE 1
#define BULK_INTERFACE_CLASS 0xff
#define BULK_INTERFACE_SUBCLASS 0x42
#define BULK_INTERFACE_PROTOCOL 0x01

struct bulk;

/* One end of the two pipes.  SLOT (0..BULK_SLOTS-1) names a transfer from its begin to its
 * completion, each way on its own. */
struct bulk_port {
    /* Begin to send BYTES (1..BULK_TRANSFER_BYTES of them), which stay as they are until bulk_sent.
     * 0, -1: the port is of no use any more (ERROR_CLOSED: the peer has gone). */
    int (*send)(void *context, unsigned slot, const unsigned char *bytes, size_t length,
                struct error *error);
    /* Begin to receive up to BULK_TRANSFER_BYTES into BYTES, until bulk_received.  0, -1 as send. */
    int (*receive)(void *context, unsigned slot, unsigned char *bytes, struct error *error);
    /* Report what has been completed; when nothing has, wait for something at most TIMEOUT_MS (0: do
     * not wait).  May return early.  0, -1 as send. */
    int (*turn)(void *context, int timeout_ms, struct error *error);
    /* Take back all that is in flight (nothing is reported any more), and leave the port to the next
     * link.  Called once, when the link is closed.  0; -1 when something is in flight still, so that
     * its bytes are never freed. */
    int (*close)(void *context);
};

enum bulk_side { BULK_HOST /* greets first */, BULK_GADGET };

/* A link over PORT, for the session with NONCE; receiving begins at once.  NULL (PORT->close has been
 * called then).  PORT and CONTEXT outlive the link; *BULK (may be NULL) is it, for the reports. */
struct link *bulk_new(const struct bulk_port *port, void *context, enum bulk_side side,
                      const unsigned char nonce[BULK_NONCE_BYTES], struct bulk **bulk,
                      struct error *error);

/* ---- the port's reports, from within its functions or between two calls of the link ---- */

void bulk_sent(struct bulk *bulk, unsigned slot);
void bulk_received(struct bulk *bulk, unsigned slot, size_t length);

/* The pipes are dead, with ERROR (ERROR_CLOSED for an unplugged cable): reading gives what has come
 * before, then this; writing this at once.  Only the first one counts. */
void bulk_fail(struct bulk *bulk, const struct error *error);

#endif
