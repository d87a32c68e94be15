/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A courier's interface that has been claimed, as the port of a bulk link (link/bulk.h).  One session.
 */
#ifndef BODA_HOST_USB_PORT_H
#define BODA_HOST_USB_PORT_H

#include <stdatomic.h>
#include <stdbool.h>

#include <libusb.h>

#include "host/usb_interface.h"
#include "link/bulk.h"

struct usb_port;

/* HANDLE, whose interface is claimed, is the port's from now on, also on failure.  *STOP (may be NULL)
 * ends waiting for a courier that has not said anything yet.  NULL: no memory. */
struct usb_port *usb_port_new(libusb_context *context, libusb_device_handle *handle,
                              const struct usb_interface *interface, const atomic_bool *stop,
                              struct error *error);

/* Ask for a session with NONCE by RESET.  0 or libusb's code: LIBUSB_ERROR_TIMEOUT, _PIPE when it is
 * not understood, _NO_DEVICE, _INTERRUPTED by *STOP. */
int usb_port_reset(struct usb_port *port, const unsigned char nonce[BULK_NONCE_BYTES]);

/* Take back a halt of the endpoints, after RESET.  0 or libusb's code. */
int usb_port_unhalt(struct usb_port *port);

/* The link of the session.  To close it takes back what is in flight and gives the device free. */
struct link *usb_port_link(struct usb_port *port, const unsigned char nonce[BULK_NONCE_BYTES],
                           struct error *error);

/* The session ended as an endpoint was halted. */
bool usb_port_halted(const struct usb_port *port);

/* After the link was closed, or without one.  False when transfers have not come back from the kernel:
 * then port, handle and context must stay as they are, for good.  NULL is harmless. */
bool usb_port_free(struct usb_port *port);

#endif
