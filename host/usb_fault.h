/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * libusb's failures with a courier, in words that say what to do.
 */
#ifndef BODA_HOST_USB_FAULT_H
#define BODA_HOST_USB_FAULT_H

#include "base/error.h"

/* The device that the words are about. */
struct usb_fault_place {
    unsigned bus, device; /* 0: not known, it came as a file descriptor */
    int fd;
};

#define USB_FAULT_NAME_BYTES 24

/* "usb:001:005", "usb-fd:3". */
void usb_fault_name(const struct usb_fault_place *place, char name[USB_FAULT_NAME_BYTES]);

/* What libusb's CODE means, when WHAT ("its interface cannot be claimed") has failed; returns -1:
 *   ERROR_CLOSED     the device went away
 *   ERROR_TEMPORARY  another program has it, which is named; it does not answer; anything else
 *   ERROR_REFUSED    permission denied */
int usb_fault_set(struct error *error, const struct usb_fault_place *place, int code,
                  const char *what);

/* Which other programs have the file PATH open, as "NAME (process 123)", several with commas; or
 * "another user's program" when none is found. */
void usb_fault_holders(const char *path, char *text, size_t size);

#endif
