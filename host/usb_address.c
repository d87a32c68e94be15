/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/usb_address.h"

#include <limits.h>
#include <string.h>

#define BUS_MOST 255u    /* libusb's are bytes */
#define DEVICE_MOST 127u /* USB 2.0, 9.4.6: seven bits */

static const char any[] = "usb";
static const char device_prefix[] = "usb:";
static const char fd_prefix[] = "usb-fd:";

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool usb_address_is(const char *text)
{
    return strcmp(text, any) == 0 || begins(text, device_prefix) || begins(text, fd_prefix);
}

/* The digits at *TEXT, which then stands behind them. */
static int take_number(const char **text, unsigned most, unsigned *number)
{
    const char *at = *text;
    unsigned value = 0;

    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');

        if (value > (most - digit) / 10)
            return -1;
        value = value * 10 + digit;
    }
    if (at == *text)
        return -1;
    *text = at;
    *number = value;
    return 0;
}

static int take_device(const char *text, struct usb_address *address)
{
    if (take_number(&text, BUS_MOST, &address->bus) != 0 || *text++ != ':' ||
        take_number(&text, DEVICE_MOST, &address->device) != 0 || *text != '\0')
        return -1;
    return address->bus > 0 && address->device > 0 ? 0 : -1;
}

static int take_fd(const char *text, struct usb_address *address)
{
    unsigned fd;

    if (take_number(&text, INT_MAX, &fd) != 0 || *text != '\0')
        return -1;
    address->fd = (int)fd;
    return 0;
}

int usb_address_parse(const char *text, struct usb_address *address, struct error *error)
{
    memset(address, 0, sizeof *address);
    address->fd = -1;
    if (strcmp(text, any) == 0) {
        address->kind = USB_ADDRESS_ANY;
        return 0;
    }
    if (begins(text, device_prefix)) {
        address->kind = USB_ADDRESS_DEVICE;
        if (take_device(text + strlen(device_prefix), address) == 0)
            return 0;
        return error_set(error, ERROR_USAGE,
                         "%s: is not usb:BUS:DEV; give the numbers of bus and device as lsusb "
                         "shows them, such as usb:1:5",
                         text);
    }
    if (begins(text, fd_prefix)) {
        address->kind = USB_ADDRESS_FD;
        if (take_fd(text + strlen(fd_prefix), address) == 0)
            return 0;
        return error_set(error, ERROR_USAGE,
                         "%s: is not usb-fd:N; give the number of an open file descriptor", text);
    }
    return error_set(error, ERROR_USAGE,
                     "cable: '%s' is not an address; give usb, usb:BUS:DEV or usb-fd:N", text);
}
