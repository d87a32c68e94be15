/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The addresses of couriers at USB ports, as words.
 */
#ifndef BODA_HOST_USB_ADDRESS_H
#define BODA_HOST_USB_ADDRESS_H

#include <stdbool.h>

#include "base/error.h"

struct usb_address {
    enum usb_address_kind { USB_ADDRESS_ANY, USB_ADDRESS_DEVICE, USB_ADDRESS_FD } kind;
    unsigned bus, device; /* of USB_ADDRESS_DEVICE */
    int fd;               /* of USB_ADDRESS_FD */
};

/* "usb", "usb:BUS:DEV" or "usb-fd:N", all numbers decimal, leading zeros allowed.  ERROR_USAGE for
 * anything else. */
int usb_address_parse(const char *text, struct usb_address *address, struct error *error);

/* TEXT is meant to be one of them, right or wrong. */
bool usb_address_is(const char *text);

#endif
