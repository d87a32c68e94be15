/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Descriptors of any device: made of the fuzzer's bytes and laid out as libusb does, each in memory of its
 * own.  What is chosen is an interface of a courier's class, with two bulk endpoints of its own.
 *
 * The bytes: a configuration is the count of its interfaces; an interface the count of its settings; a
 * setting 5 bytes of its descriptor and the count of its endpoints; an endpoint 4 bytes.  In a count,
 * 0x80 stands for a list that is not there.  What the bytes lack is 0.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/usb_interface.h"
#include "link/bulk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MISSING 0x80
#define COUNT 0x1f

struct bytes {
    const uint8_t *at;
    size_t left;
};

static uint8_t take(struct bytes *bytes)
{
    if (bytes->left == 0)
        return 0;
    bytes->left--;
    return *bytes->at++;
}

/* COUNT members of SIZE bytes; NULL for none, and for a list that is not there. */
static void *list(uint8_t count, size_t size)
{
    void *members;

    if ((count & MISSING) != 0 || (count & COUNT) == 0)
        return NULL;
    members = calloc(count & COUNT, size);
    if (members == NULL)
        abort();
    return members;
}

static void make_setting(struct bytes *bytes, struct libusb_interface_descriptor *setting)
{
    struct libusb_endpoint_descriptor *endpoints;
    uint8_t count;

    setting->bInterfaceNumber = take(bytes);
    setting->bAlternateSetting = take(bytes);
    setting->bInterfaceClass = take(bytes);
    setting->bInterfaceSubClass = take(bytes);
    setting->bInterfaceProtocol = take(bytes);
    count = take(bytes);
    endpoints = list(count, sizeof *endpoints);
    setting->bNumEndpoints = count & COUNT;
    for (unsigned i = 0; endpoints != NULL && i < setting->bNumEndpoints; i++) {
        endpoints[i].bEndpointAddress = take(bytes);
        endpoints[i].bmAttributes = take(bytes);
        endpoints[i].wMaxPacketSize = take(bytes);
        endpoints[i].wMaxPacketSize |= (uint16_t)(take(bytes) << 8);
    }
    setting->endpoint = endpoints;
}

static void make_config(struct bytes *bytes, struct libusb_config_descriptor *config)
{
    uint8_t count = take(bytes);
    struct libusb_interface *interfaces = list(count, sizeof *interfaces);

    config->bNumInterfaces = count & COUNT;
    for (unsigned i = 0; interfaces != NULL && i < config->bNumInterfaces; i++) {
        uint8_t settings_count = take(bytes);
        struct libusb_interface_descriptor *settings = list(settings_count, sizeof *settings);

        interfaces[i].num_altsetting = settings_count & COUNT;
        for (int j = 0; settings != NULL && j < interfaces[i].num_altsetting; j++)
            make_setting(bytes, &settings[j]);
        interfaces[i].altsetting = settings;
    }
    config->interface = interfaces;
}

static void free_config(const struct libusb_config_descriptor *config)
{
    for (unsigned i = 0; config->interface != NULL && i < config->bNumInterfaces; i++) {
        const struct libusb_interface *interface = &config->interface[i];

        for (int j = 0; interface->altsetting != NULL && j < interface->num_altsetting; j++)
            free((void *)interface->altsetting[j].endpoint);
        free((void *)interface->altsetting);
    }
    free((void *)config->interface);
}

static bool has_pipe(const struct libusb_interface_descriptor *setting, uint8_t address)
{
    for (unsigned i = 0; setting->endpoint != NULL && i < setting->bNumEndpoints; i++) {
        /* Bits 4 to 6 of an address are reserved and not looked at. */
        if ((setting->endpoint[i].bEndpointAddress & 0x8f) == address &&
            (setting->endpoint[i].bmAttributes & 3) == LIBUSB_TRANSFER_TYPE_BULK)
            return true;
    }
    return false;
}

static bool is_there(const struct libusb_config_descriptor *config,
                     const struct usb_interface *chosen)
{
    for (unsigned i = 0; config->interface != NULL && i < config->bNumInterfaces; i++) {
        const struct libusb_interface *interface = &config->interface[i];

        for (int j = 0; interface->altsetting != NULL && j < interface->num_altsetting; j++) {
            const struct libusb_interface_descriptor *setting = &interface->altsetting[j];

            if (setting->bInterfaceNumber == chosen->number && setting->bAlternateSetting == 0 &&
                setting->bInterfaceClass == BULK_INTERFACE_CLASS &&
                setting->bInterfaceSubClass == BULK_INTERFACE_SUBCLASS &&
                setting->bInterfaceProtocol == BULK_INTERFACE_PROTOCOL &&
                has_pipe(setting, chosen->in) && has_pipe(setting, chosen->out))
                return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes bytes = {.at = data, .left = size};
    struct libusb_config_descriptor config = {0};
    struct usb_interface chosen;
    struct error error = {0};
    int result;

    make_config(&bytes, &config);
    result = usb_interface_choose(&config, &chosen, &error);
    if (result == 1 && (!is_there(&config, &chosen) || (chosen.in & 0x80) == 0 ||
                        (chosen.out & 0x80) != 0 || BULK_TRANSFER_BYTES % chosen.packet_bytes != 0))
        abort();
    if (result < 0 && (error.kind != ERROR_CORRUPT || error.text[0] == '\0'))
        abort();
    free_config(&config);
    return 0;
}
