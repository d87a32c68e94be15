/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/ep0.h"

#include <endian.h>
#include <string.h>

#define RESET_TYPE (USB_DIR_OUT | USB_TYPE_VENDOR | USB_RECIP_INTERFACE)

static enum ep0_answer request(const struct ep0 *ep0, const struct usb_ctrlrequest *setup)
{
    if (ep0->enabled && setup->bRequestType == RESET_TYPE &&
        setup->bRequest == BULK_RESET_REQUEST && le16toh(setup->wValue) == BULK_RESET_VALUE &&
        le16toh(setup->wLength) == BULK_NONCE_BYTES)
        return EP0_TAKE_NONCE;
    return (setup->bRequestType & USB_DIR_IN) != 0 ? EP0_STALL_IN : EP0_STALL_OUT;
}

enum ep0_answer ep0_event(struct ep0 *ep0, const struct usb_functionfs_event *event)
{
    switch (event->type) {
    case FUNCTIONFS_BIND:
        ep0->bound = true;
        return EP0_NOTHING;
    case FUNCTIONFS_UNBIND:
        memset(ep0, 0, sizeof *ep0);
        return EP0_END;
    case FUNCTIONFS_ENABLE:
        /* A host's reset gives DISABLE and ENABLE, of which the kernel may tell the last alone. */
        ep0->bound = ep0->enabled = true;
        ep0->suspended = ep0->asked = false;
        return EP0_END;
    case FUNCTIONFS_DISABLE:
        ep0->enabled = ep0->suspended = ep0->asked = false;
        return EP0_END;
    case FUNCTIONFS_SUSPEND:
        ep0->suspended = true;
        return EP0_NOTHING;
    case FUNCTIONFS_RESUME:
        ep0->suspended = false;
        return EP0_NOTHING;
    case FUNCTIONFS_SETUP:
        ep0->suspended = false; /* somebody speaks */
        return request(ep0, &event->u.setup);
    default:
        return EP0_NOTHING;
    }
}

void ep0_ask(struct ep0 *ep0, const unsigned char nonce[BULK_NONCE_BYTES])
{
    memcpy(ep0->nonce, nonce, BULK_NONCE_BYTES);
    ep0->asked = true;
}
