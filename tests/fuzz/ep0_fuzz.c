/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Any row of events and requests at the courier's control endpoint: a session is asked for only by a
 * RESET of an enabled interface, every request is answered, and nothing lives on past its end.
 */
#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gadget/ep0.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct ep0 *ep0, const struct usb_functionfs_event *event, bool was_enabled,
                  enum ep0_answer answer)
{
    const struct usb_ctrlrequest *setup = &event->u.setup;
    bool in = (setup->bRequestType & 0x80) != 0;

    if (event->type == FUNCTIONFS_SETUP && answer != (in ? EP0_STALL_IN : EP0_STALL_OUT) &&
        (answer != EP0_TAKE_NONCE || in || !was_enabled || setup->bRequest != 1 ||
         le16toh(setup->wLength) != BULK_NONCE_BYTES))
        abort();
    if (event->type != FUNCTIONFS_SETUP && answer != EP0_NOTHING && answer != EP0_END)
        abort();
    if (answer == EP0_END && ep0->asked)
        abort();
    if ((ep0->asked || ep0->enabled) && !ep0->bound)
        abort();
    if (ep0->asked && !ep0->enabled)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char nonce[BULK_NONCE_BYTES];
    struct ep0 ep0 = {0};
    struct usb_functionfs_event event;

    for (; size >= sizeof event; data += sizeof event, size -= sizeof event) {
        bool was_enabled = ep0.enabled;
        enum ep0_answer answer;

        memcpy(&event, data, sizeof event);
        answer = ep0_event(&ep0, &event);
        if (answer == EP0_TAKE_NONCE)
            ep0_ask(&ep0, nonce);
        check(&ep0, &event, was_enabled, answer);
    }
    return 0;
}
