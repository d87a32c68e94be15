/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Couriers at this machine's USB ports (libusb): found, opened, and made links of (docs/protocol.md,
 * "USB").
 */
#ifndef BODA_HOST_USB_H
#define BODA_HOST_USB_H

#include <stdbool.h>

#include "link/link.h"

struct usb;

/* ADDRESS: "usb" any courier, the next one that can be used; "usb:BUS:DEV" this device (decimal, leading
 * zeros allowed); "usb-fd:N" the open device node N (as Android's UsbManager gives one out; it is not
 * closed here).  NULL with ERROR_USAGE for another form. */
struct usb *usb_open(const char *address, struct error *error);

/* The link made of it is closed before.  NULL is harmless. */
void usb_close(struct usb *usb);

/* Wait at most TIMEOUT_MS for a courier (plugged ones are found by hotplug, at once), claim its interface
 * and begin a session with RESET.  A link, or NULL:
 *   ERROR_TEMPORARY  none is there, another program has it (which one is said), it went away while it
 *                    was opened, or it does not answer; with the device in the words, unless none is
 *                    there
 *   ERROR_REFUSED    permission denied (the rule that is missing is said)
 *   ERROR_CORRUPT    its descriptors are not a courier's (with "usb:BUS:DEV" and "usb-fd:N" only)
 * With several couriers, one that cannot be used does not stand in the way of the others. */
struct link *usb_connect(struct usb *usb, int timeout_ms, struct error *error);

/* True when the device of "usb:BUS:DEV" or "usb-fd:N" has gone for good. */
bool usb_gone(struct usb *usb);

#endif
