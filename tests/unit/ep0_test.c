/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The courier's control endpoint: which events end a session, which request begins one, and that every
 * other one is refused.
 */
#include "gadget/ep0.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static enum ep0_answer tell(struct ep0 *ep0, unsigned char type)
{
    const struct usb_functionfs_event event = {.type = type};

    return ep0_event(ep0, &event);
}

static enum ep0_answer ask(struct ep0 *ep0, unsigned type, unsigned request, unsigned value,
                           unsigned length)
{
    const struct usb_functionfs_event event = {
        .type = FUNCTIONFS_SETUP,
        .u.setup = {.bRequestType = (unsigned char)type,
                    .bRequest = (unsigned char)request,
                    .wValue = htole16((unsigned short)value),
                    .wLength = htole16((unsigned short)length)},
    };

    return ep0_event(ep0, &event);
}

static void test_reset_begins_a_session(void **state)
{
    static const unsigned char nonce[BULK_NONCE_BYTES] = "nonce 1";
    struct ep0 ep0 = {0};

    (void)state;
    assert_int_equal(tell(&ep0, FUNCTIONFS_BIND), EP0_NOTHING);
    assert_true(ep0.bound && !ep0.enabled);
    assert_int_equal(tell(&ep0, FUNCTIONFS_ENABLE), EP0_END);
    assert_true(ep0.enabled && !ep0.asked);
    assert_int_equal(ask(&ep0, 0x41, 1, 1, 8), EP0_TAKE_NONCE);
    assert_false(ep0.asked);
    ep0_ask(&ep0, nonce);
    assert_true(ep0.asked);
    assert_memory_equal(ep0.nonce, nonce, sizeof nonce);
}

static void test_other_requests_are_refused(void **state)
{
    struct ep0 ep0 = {0};

    (void)state;
    assert_int_equal(ask(&ep0, 0x41, 1, 1, 8), EP0_STALL_OUT); /* no host has configured it */
    (void)tell(&ep0, FUNCTIONFS_ENABLE);
    assert_int_equal(ask(&ep0, 0x41, 1, 2, 8), EP0_STALL_OUT);
    assert_int_equal(ask(&ep0, 0x41, 1, 1, 0), EP0_STALL_OUT);
    assert_int_equal(ask(&ep0, 0x41, 1, 1, 65535), EP0_STALL_OUT);
    assert_int_equal(ask(&ep0, 0x41, 2, 1, 8), EP0_STALL_OUT);
    assert_int_equal(ask(&ep0, 0x40, 1, 1, 8), EP0_STALL_OUT);
    assert_int_equal(ask(&ep0, 0x42, 1, 1, 8), EP0_STALL_OUT);
    assert_int_equal(ask(&ep0, 0x21, 1, 1, 8), EP0_STALL_OUT);
    assert_int_equal(ask(&ep0, 0xc1, 1, 1, 8), EP0_STALL_IN);
    assert_int_equal(ask(&ep0, 0xff, 0xff, 0xffff, 0xffff), EP0_STALL_IN);
    assert_false(ep0.asked);
}

/* Whatever ends the connection ends what a host has asked for. */
static void test_ends(void **state)
{
    static const unsigned char ends[] = {FUNCTIONFS_DISABLE, FUNCTIONFS_ENABLE, FUNCTIONFS_UNBIND};
    static const unsigned char nonce[BULK_NONCE_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof ends; i++) {
        struct ep0 ep0 = {0};

        (void)tell(&ep0, FUNCTIONFS_BIND);
        (void)tell(&ep0, FUNCTIONFS_ENABLE);
        ep0_ask(&ep0, nonce);
        assert_int_equal(tell(&ep0, ends[i]), EP0_END);
        assert_false(ep0.asked);
        assert_int_equal(ep0.bound, ends[i] != FUNCTIONFS_UNBIND);
        assert_int_equal(ep0.enabled, ends[i] == FUNCTIONFS_ENABLE);
    }
}

static void test_suspend(void **state)
{
    struct ep0 ep0 = {0};

    (void)state;
    (void)tell(&ep0, FUNCTIONFS_ENABLE);
    assert_int_equal(tell(&ep0, FUNCTIONFS_SUSPEND), EP0_NOTHING);
    assert_true(ep0.suspended && ep0.enabled);
    assert_int_equal(tell(&ep0, FUNCTIONFS_RESUME), EP0_NOTHING);
    assert_false(ep0.suspended);
    (void)tell(&ep0, FUNCTIONFS_SUSPEND);
    (void)tell(&ep0, FUNCTIONFS_ENABLE); /* plugged in again, without a DISABLE */
    assert_false(ep0.suspended);
    assert_int_equal(tell(&ep0, 200), EP0_NOTHING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset_begins_a_session),
        cmocka_unit_test(test_other_requests_are_refused),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_suspend),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
