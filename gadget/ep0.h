/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What happens on the interface's control endpoint, as a state machine without I/O
 * (docs/protocol.md, "USB"; the events are those of linux/usb/functionfs.h).
 */
#ifndef BODA_GADGET_EP0_H
#define BODA_GADGET_EP0_H

#include <linux/usb/functionfs.h>
#include <stdbool.h>

#include "link/bulk.h"

/* All zero at first. */
struct ep0 {
    bool bound;     /* a UDC has the gadget */
    bool enabled;   /* a host has configured it */
    bool suspended; /* and says nothing on the bus */
    bool asked;     /* a host waits for its session to begin, with NONCE */
    unsigned char nonce[BULK_NONCE_BYTES];
};

enum ep0_answer {
    EP0_NOTHING,
    EP0_END,        /* the cable has gone: the present session ends */
    EP0_TAKE_NONCE, /* a host begins anew: the present session ends, then read BULK_NONCE_BYTES and
                     * call ep0_ask */
    EP0_STALL_IN,   /* refuse a request that wants data: by a read of zero bytes */
    EP0_STALL_OUT   /* refuse one that brings some or none: by a write of zero bytes */
};

/* One event of the kernel's; a request in it may be anything. */
enum ep0_answer ep0_event(struct ep0 *ep0, const struct usb_functionfs_event *event);

/* The nonce has come. */
void ep0_ask(struct ep0 *ep0, const unsigned char nonce[BULK_NONCE_BYTES]);

#endif
