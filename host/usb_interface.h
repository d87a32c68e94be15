/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Which interface of a device is a courier's, and its endpoints (docs/protocol.md, "USB").  Reads
 * descriptors that a device has sent, whatever they say.
 */
#ifndef BODA_HOST_USB_INTERFACE_H
#define BODA_HOST_USB_INTERFACE_H

#include <stdint.h>

#include <libusb.h>

#include "base/error.h"

struct usb_interface {
    uint8_t number;
    uint8_t in, out;       /* addresses of the bulk endpoints, with the direction's bit */
    unsigned packet_bytes; /* of OUT: 64, 512 or 1024, as the bus's speed wants it */
};

/* The first interface of CONFIG that is a courier's and usable.  1 with CHOSEN, 0 when none is a
 * courier's, -1 with ERROR_CORRUPT when one says it is, but its endpoints are not. */
int usb_interface_choose(const struct libusb_config_descriptor *config,
                         struct usb_interface *chosen, struct error *error);

#endif
