/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/descriptors.h"

#include <endian.h>
#include <errno.h>
#include <linux/usb/functionfs.h>
#include <unistd.h>

#include "link/bulk.h"

#define INTERFACE_NAME "Boda courier"

/* Constants of a static initializer. */
#if __BYTE_ORDER == __LITTLE_ENDIAN
#define LE16(x) ((__le16)(x))
#define LE32(x) ((__le32)(x))
#else
#define LE16(x) ((__le16)__builtin_bswap16(x))
#define LE32(x) ((__le32)__builtin_bswap32(x))
#endif

#define INTERFACE                                                                                  \
    {                                                                                              \
        .bLength = USB_DT_INTERFACE_SIZE, .bDescriptorType = USB_DT_INTERFACE, .bNumEndpoints = 2, \
        .bInterfaceClass = BULK_INTERFACE_CLASS, .bInterfaceSubClass = BULK_INTERFACE_SUBCLASS,    \
        .bInterfaceProtocol = BULK_INTERFACE_PROTOCOL, .iInterface = 1,                            \
    }
#define ENDPOINT(address, packet_bytes)                                        \
    {                                                                          \
        .bLength = USB_DT_ENDPOINT_SIZE, .bDescriptorType = USB_DT_ENDPOINT,   \
        .bEndpointAddress = (address), .bmAttributes = USB_ENDPOINT_XFER_BULK, \
        .wMaxPacketSize = LE16(packet_bytes),                                  \
    }
#define IN (1 | USB_DIR_IN)
#define OUT (2 | USB_DIR_OUT)
#define COMPANION                                                                      \
    {                                                                                  \
        .bLength = USB_DT_SS_EP_COMP_SIZE, .bDescriptorType = USB_DT_SS_ENDPOINT_COMP, \
    }

struct usual {
    struct usb_interface_descriptor interface;
    struct usb_endpoint_descriptor_no_audio in, out;
} __attribute__((packed));

struct super {
    struct usb_interface_descriptor interface;
    struct usb_endpoint_descriptor_no_audio in;
    struct usb_ss_ep_comp_descriptor in_companion;
    struct usb_endpoint_descriptor_no_audio out;
    struct usb_ss_ep_comp_descriptor out_companion;
} __attribute__((packed));

/* Counts, then the descriptors that they count: Documentation/usb/functionfs-desc. */
struct descriptors {
    struct usb_functionfs_descs_head_v2 head;
    __le32 full_count, high_count, super_count, os_count;
    struct usual full, high;
    struct super super;
    struct usb_os_desc_header os_head;
    struct usb_ext_compat_desc os;
} __attribute__((packed));

static const struct descriptors descriptors = {
    .head = {.magic = LE32(FUNCTIONFS_DESCRIPTORS_MAGIC_V2),
             .length = LE32(sizeof descriptors),
             .flags = LE32(FUNCTIONFS_HAS_FS_DESC | FUNCTIONFS_HAS_HS_DESC |
                           FUNCTIONFS_HAS_SS_DESC | FUNCTIONFS_HAS_MS_OS_DESC)},
    .full_count = LE32(3),
    .high_count = LE32(3),
    .super_count = LE32(5),
    .os_count = LE32(1),
    .full = {.interface = INTERFACE, .in = ENDPOINT(IN, 64), .out = ENDPOINT(OUT, 64)},
    .high = {.interface = INTERFACE, .in = ENDPOINT(IN, 512), .out = ENDPOINT(OUT, 512)},
    .super = {.interface = INTERFACE,
              .in = ENDPOINT(IN, 1024),
              .in_companion = COMPANION,
              .out = ENDPOINT(OUT, 1024),
              .out_companion = COMPANION},
    .os_head = {.interface = 0,
                .dwLength =
                    LE32(sizeof(struct usb_os_desc_header) + sizeof(struct usb_ext_compat_desc)),
                .bcdVersion = LE16(1),
                .wIndex = LE16(4),
                .bCount = 1},
    .os = {.bFirstInterfaceNumber = 0, .Reserved1 = 1, .CompatibleID = "WINUSB"},
};

static const struct {
    struct usb_functionfs_strings_head head;
    __le16 language;
    char name[sizeof INTERFACE_NAME];
} __attribute__((packed)) strings = {
    .head = {.magic = LE32(FUNCTIONFS_STRINGS_MAGIC),
             .length = LE32(sizeof strings),
             .str_count = LE32(1),
             .lang_count = LE32(1)},
    .language = LE16(0x0409), /* English (United States), the one that every host asks for */
    .name = INTERFACE_NAME,
};

int descriptors_write(int ep0, struct error *error)
{
    if (write(ep0, &descriptors, sizeof descriptors) != (ssize_t)sizeof descriptors)
        return error_errno(error, errno, "functionfs: the kernel does not take the descriptors");
    if (write(ep0, &strings, sizeof strings) != (ssize_t)sizeof strings)
        return error_errno(error, errno, "functionfs: the kernel does not take the strings");
    return 0;
}
