/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Couriers at this machine's USB ports (libusb): found, opened, and made links of (docs/protocol.md,
 * "USB").
 */
#ifndef BODA_HOST_USB_H
#define BODA_HOST_USB_H

#include <stdatomic.h>
#include <stdbool.h>

#include "link/link.h"

struct usb;

/* ADDRESS: "usb" any courier, the next one that can be used; "usb:BUS:DEV" this device (decimal, leading
 * zeros allowed); "usb-fd:N" the open device node N (as Android's UsbManager gives one out; it is not
 * closed here).  *STOP (may be NULL): when true, nothing is waited for any more.  NULL with ERROR_USAGE
 * for another form, and for an N that is no device node. */
struct usb *usb_open(const char *address, const atomic_bool *stop, struct error *error);

/* The link made of it is closed before.  NULL is harmless. */
void usb_close(struct usb *usb);

/* Try each courier that is plugged in now, once: claim its interface and begin a session with RESET,
 * which takes 3 s at most.  A link, or NULL with words about the device, unless none is there:
 *   ERROR_CLOSED     none is there, or it went away while it was opened
 *   ERROR_TEMPORARY  another program has it (which one is said), it does not answer, or is not
 *                    configured yet
 *   ERROR_REFUSED    permission denied (the rule that is missing is said)
 *   ERROR_CORRUPT    its descriptors are not a courier's (with "usb:BUS:DEV" and "usb-fd:N" only)
 * With "usb", the one behind the last one tried is the first: none that cannot be used, now or in what
 * came after this, stands in the way of the others.  The link before this one is closed before. */
struct link *usb_connect(struct usb *usb, struct error *error);

/* The device of the last link, or the last one tried, as "usb:001:005": ahead of words about it. */
const char *usb_name(const struct usb *usb);

/* Wait at most TIMEOUT_MS until something was plugged in or out since the last usb_connect: then true,
 * at once. */
bool usb_wait(struct usb *usb, int timeout_ms);

/* True when the device of "usb:BUS:DEV" or "usb-fd:N" has gone for good. */
bool usb_gone(const struct usb *usb);

#endif
