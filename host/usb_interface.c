/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/usb_interface.h"

#include <stdbool.h>
#include <string.h>

#include "link/bulk.h"

#define INTERFACES_MOST 32       /* Linux has no more in a configuration */
#define PACKET_BYTES_MASK 0x7ffu /* USB 2.0, 9.6.6: the bits above are not bytes */
#define TYPE_MASK 0x03

static bool is_couriers(const struct libusb_interface_descriptor *setting)
{
    return setting->bAlternateSetting == 0 && setting->bInterfaceClass == BULK_INTERFACE_CLASS &&
           setting->bInterfaceSubClass == BULK_INTERFACE_SUBCLASS &&
           setting->bInterfaceProtocol == BULK_INTERFACE_PROTOCOL;
}

/* Both sides read BULK_TRANSFER_BYTES at a time, and cut what they send with these sizes in mind. */
static bool is_packet_size(unsigned bytes)
{
    return bytes == 64 || bytes == 512 || bytes == 1024;
}

/* The first bulk endpoint each way; the others are nothing to us. */
static int choose_endpoints(const struct libusb_interface_descriptor *setting,
                            struct usb_interface *chosen)
{
    memset(chosen, 0, sizeof *chosen);
    if (setting->bInterfaceNumber >= INTERFACES_MOST || setting->endpoint == NULL)
        return -1;
    chosen->number = setting->bInterfaceNumber;
    for (unsigned i = 0; i < setting->bNumEndpoints; i++) {
        const struct libusb_endpoint_descriptor *endpoint = &setting->endpoint[i];
        unsigned packet_bytes = endpoint->wMaxPacketSize & PACKET_BYTES_MASK;
        uint8_t number = endpoint->bEndpointAddress & LIBUSB_ENDPOINT_ADDRESS_MASK;
        bool in = (endpoint->bEndpointAddress & LIBUSB_ENDPOINT_DIR_MASK) == LIBUSB_ENDPOINT_IN;

        if ((endpoint->bmAttributes & TYPE_MASK) != LIBUSB_TRANSFER_TYPE_BULK || number == 0 ||
            !is_packet_size(packet_bytes))
            continue;
        if (in && chosen->in == 0) {
            chosen->in = (uint8_t)(number | LIBUSB_ENDPOINT_IN);
        } else if (!in && chosen->out == 0) {
            chosen->out = number;
            chosen->packet_bytes = packet_bytes;
        }
    }
    return chosen->in != 0 && chosen->out != 0 ? 0 : -1;
}

int usb_interface_choose(const struct libusb_config_descriptor *config,
                         struct usb_interface *chosen, struct error *error)
{
    bool claimed = false;

    for (unsigned i = 0; config->interface != NULL && i < config->bNumInterfaces; i++) {
        const struct libusb_interface *interface = &config->interface[i];

        for (int j = 0; interface->altsetting != NULL && j < interface->num_altsetting; j++) {
            if (!is_couriers(&interface->altsetting[j]))
                continue;
            claimed = true;
            if (choose_endpoints(&interface->altsetting[j], chosen) == 0)
                return 1;
        }
    }
    memset(chosen, 0, sizeof *chosen);
    if (!claimed)
        return 0;
    return error_set(error, ERROR_CORRUPT,
                     "its descriptors have a courier's interface, but not its bulk endpoints");
}
