/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What of host/usb needs no USB: addresses, the choice of interface and endpoints out of descriptors that
 * a device may have made up, who has a device node open, and what is said of failures.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "host/usb.h"
#include "host/usb_address.h"
#include "host/usb_fault.h"
#include "host/usb_interface.h"
#include "link/bulk.h"
#include "tests/unit/support/folder.h"

/* ---- addresses ---- */

static void test_addresses(void **state)
{
    struct usb_address address;
    struct error error;

    (void)state;
    assert_int_equal(usb_address_parse("usb", &address, &error), 0);
    assert_int_equal(address.kind, USB_ADDRESS_ANY);
    assert_int_equal(usb_address_parse("usb:003:0127", &address, &error), 0);
    assert_int_equal(address.kind, USB_ADDRESS_DEVICE);
    assert_int_equal(address.bus, 3);
    assert_int_equal(address.device, 127);
    assert_int_equal(usb_address_parse("usb:255:1", &address, &error), 0);
    assert_int_equal(address.bus, 255);
    assert_int_equal(usb_address_parse("usb-fd:0017", &address, &error), 0);
    assert_int_equal(address.kind, USB_ADDRESS_FD);
    assert_int_equal(address.fd, 17);
    assert_int_equal(usb_address_parse("usb-fd:2147483647", &address, &error), 0);
    assert_int_equal(address.fd, 2147483647);
}

static void test_wrong_addresses(void **state)
{
    static const char *const wrong[] = {
        "",
        "usb:",
        "usb:1",
        "usb:1:",
        "usb::1",
        "usb:0:1",
        "usb:1:0",
        "usb:256:1",
        "usb:1:128",
        "usb:1:2:3",
        "usb:1:2 ",
        "usb: 1:2",
        "usb:+1:2",
        "usb:-1:2",
        "usb:0x1:2",
        "usb:1:2x",
        "usb-fd:",
        "usb-fd:-1",
        "usb-fd:1:2",
        "usb-fd:2147483648",
        "usb-fd:9x",
        "usb-fd:1e1",
        "USB",
        "usb1",
        "unix:/tmp/x",
        "usb-",
        "usb:1:4294967297",
        "usb-fd:18446744073709551617",
    };
    struct usb_address address;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct error error = {0};

        assert_int_equal(usb_address_parse(wrong[i], &address, &error), -1);
        assert_int_equal(error.kind, ERROR_USAGE);
        assert_true(error.text[0] != '\0');
    }
    assert_true(usb_address_is("usb:x"));
    assert_true(usb_address_is("usb-fd:"));
    assert_false(usb_address_is("usbx"));
    assert_false(usb_address_is("unix:usb"));
}

/* ---- descriptors ---- */

enum { BULK = LIBUSB_TRANSFER_TYPE_BULK, INTERRUPT = LIBUSB_TRANSFER_TYPE_INTERRUPT };

static struct libusb_endpoint_descriptor endpoint(uint8_t address, uint8_t attributes,
                                                  uint16_t packet)
{
    return (struct libusb_endpoint_descriptor){
        .bEndpointAddress = address, .bmAttributes = attributes, .wMaxPacketSize = packet};
}

static struct libusb_interface_descriptor setting(
    uint8_t number, const struct libusb_endpoint_descriptor *endpoints, uint8_t count)
{
    return (struct libusb_interface_descriptor){.bInterfaceNumber = number,
                                                .bNumEndpoints = count,
                                                .bInterfaceClass = BULK_INTERFACE_CLASS,
                                                .bInterfaceSubClass = BULK_INTERFACE_SUBCLASS,
                                                .bInterfaceProtocol = BULK_INTERFACE_PROTOCOL,
                                                .endpoint = endpoints};
}

static int choose(const struct libusb_interface *interfaces, uint8_t count,
                  struct usb_interface *chosen)
{
    const struct libusb_config_descriptor config = {.bNumInterfaces = count,
                                                    .interface = interfaces};
    struct error error = {0};
    int result = usb_interface_choose(&config, chosen, &error);

    assert_true(result >= 0 || (error.kind == ERROR_CORRUPT && error.text[0] != '\0'));
    return result;
}

/* The one setting of the one interface. */
static int choose_one(const struct libusb_interface_descriptor *one, struct usb_interface *chosen)
{
    const struct libusb_interface interface = {.altsetting = one, .num_altsetting = 1};

    return choose(&interface, 1, chosen);
}

static void test_plain_courier(void **state)
{
    const struct libusb_endpoint_descriptor pipes[] = {endpoint(0x81, BULK, 512),
                                                       endpoint(0x02, BULK, 512)};
    const struct libusb_interface_descriptor one = setting(0, pipes, 2);
    struct usb_interface chosen;

    (void)state;
    assert_int_equal(choose_one(&one, &chosen), 1);
    assert_int_equal(chosen.number, 0);
    assert_int_equal(chosen.in, 0x81);
    assert_int_equal(chosen.out, 0x02);
    assert_int_equal(chosen.packet_bytes, 512);
}

/* Behind a mass storage interface, with another setting first and other endpoints between. */
static void test_courier_among_others(void **state)
{
    const struct libusb_endpoint_descriptor pipes[] = {
        endpoint(0x83, INTERRUPT, 64), endpoint(0x00, BULK, 512),  endpoint(0x04, BULK, 1024),
        endpoint(0x05, BULK, 1024),    endpoint(0x8f, BULK, 1024), endpoint(0x81, BULK, 1024)};
    struct libusb_interface_descriptor settings[] = {setting(3, pipes, 0), setting(3, pipes, 6)};
    struct libusb_interface_descriptor storage = setting(0, pipes, 6);
    const struct libusb_interface interfaces[] = {{.altsetting = &storage, .num_altsetting = 1},
                                                  {.altsetting = NULL, .num_altsetting = 0},
                                                  {.altsetting = settings, .num_altsetting = 2}};
    struct usb_interface chosen;

    (void)state;
    storage.bInterfaceClass = LIBUSB_CLASS_MASS_STORAGE;
    settings[0].bAlternateSetting = 1;
    assert_int_equal(choose(interfaces, 3, &chosen), 1);
    assert_int_equal(chosen.number, 3);
    assert_int_equal(chosen.in, 0x8f);
    assert_int_equal(chosen.out, 0x04);
    assert_int_equal(chosen.packet_bytes, 1024);
}

static void test_no_courier(void **state)
{
    const struct libusb_endpoint_descriptor pipes[] = {endpoint(0x81, BULK, 512),
                                                       endpoint(0x02, BULK, 512)};
    struct libusb_interface_descriptor one = setting(0, pipes, 2);
    struct usb_interface chosen;

    (void)state;
    assert_int_equal(choose(NULL, 0, &chosen), 0);
    assert_int_equal(choose(NULL, 9, &chosen), 0);
    one.bInterfaceProtocol = 2;
    assert_int_equal(choose_one(&one, &chosen), 0);
    one = setting(0, pipes, 2);
    one.bInterfaceSubClass = 1;
    assert_int_equal(choose_one(&one, &chosen), 0);
    one = setting(0, pipes, 2);
    one.bAlternateSetting = 1;
    assert_int_equal(choose_one(&one, &chosen), 0);
}

/* The right class, and endpoints that no session can be held with. */
static void test_unusable_endpoints(void **state)
{
    const struct libusb_endpoint_descriptor in = endpoint(0x81, BULK, 512);
    const struct libusb_endpoint_descriptor wrong[] = {
        endpoint(0x82, BULK, 512),    endpoint(0x02, INTERRUPT, 512), endpoint(0x02, 0, 512),
        endpoint(0x02, BULK, 0),      endpoint(0x02, BULK, 513),      endpoint(0x02, BULK, 8),
        endpoint(0x02, BULK, 0xffff), endpoint(0x00, BULK, 512),      endpoint(0x02, 1, 1024),
        endpoint(0x70, BULK, 512),
    };
    struct libusb_interface_descriptor one;
    struct usb_interface chosen;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const struct libusb_endpoint_descriptor pipes[] = {in, wrong[i]};

        one = setting(0, pipes, 2);
        assert_int_equal(choose_one(&one, &chosen), -1);
        assert_int_equal(chosen.in, 0);
    }
    one = setting(0, NULL, 0);
    assert_int_equal(choose_one(&one, &chosen), -1);
    one = setting(0, NULL, 2);
    assert_int_equal(choose_one(&one, &chosen), -1);
    one = setting(32, &in, 1);
    assert_int_equal(choose_one(&one, &chosen), -1);
}

/* A broken interface of the class does not hide a good one. */
static void test_good_one_behind_broken(void **state)
{
    const struct libusb_endpoint_descriptor pipes[] = {endpoint(0x81, BULK, 64),
                                                       endpoint(0x01, BULK, 64)};
    const struct libusb_interface_descriptor broken = setting(0, pipes, 1),
                                             good = setting(1, pipes, 2);
    const struct libusb_interface interfaces[] = {{.altsetting = &broken, .num_altsetting = 1},
                                                  {.altsetting = &good, .num_altsetting = 1}};
    struct usb_interface chosen;

    (void)state;
    assert_int_equal(choose(interfaces, 2, &chosen), 1);
    assert_int_equal(chosen.number, 1);
    assert_int_equal(chosen.packet_bytes, 64);
}

/* ---- who has it ---- */

/* A child holds a file open: it is named, and this process, which does so too, is not. */
static void test_holders(void **state)
{
    char *folder = folder_new(), path[300], text[200], expected[64], byte;
    int ready[2], end[2], fd, status;
    pid_t child;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/node", folder);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    usb_fault_holders(path, text, sizeof text);
    assert_string_equal(text, "another user's program");
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(end), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(end[1]);
        status = write(ready[1], "r", 1) == 1 && read(end[0], &byte, 1) == 0 ? 0 : 1;
        _exit(status);
    }
    (void)close(end[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    usb_fault_holders(path, text, sizeof text);
    (void)snprintf(expected, sizeof expected, "(process %ld)", (long)child);
    assert_non_null(strstr(text, expected));
    assert_null(strchr(text, ','));
    /* No room: cut, and nothing beyond it is written. */
    memset(text, 'x', sizeof text);
    usb_fault_holders(path, text, 5);
    assert_true(strlen(text) == 4 && text[5] == 'x');
    (void)close(end[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    (void)close(ready[0]);
    (void)close(ready[1]);
    (void)close(fd);
    folder_remove(folder);
}

static void test_faults(void **state)
{
    const struct usb_fault_place place = {.bus = 250, .device = 7, .fd = -1}, by_fd = {.fd = 9};
    struct error error;

    (void)state;
    assert_int_equal(usb_fault_set(&error, &place, LIBUSB_ERROR_NO_DEVICE, "x"), -1);
    assert_int_equal(error.kind, ERROR_CLOSED);
    assert_non_null(strstr(error.text, "courier at usb:250:007: "));
    (void)usb_fault_set(&error, &place, LIBUSB_ERROR_ACCESS, "x");
    assert_int_equal(error.kind, ERROR_REFUSED);
    assert_non_null(strstr(error.text, "permission denied"));
    (void)usb_fault_set(&error, &place, LIBUSB_ERROR_BUSY, "x");
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    assert_non_null(strstr(error.text, "another user's program has it"));
    (void)usb_fault_set(&error, &by_fd, LIBUSB_ERROR_BUSY, "x");
    assert_non_null(strstr(error.text, "courier at usb-fd:9: another program has it"));
    (void)usb_fault_set(&error, &place, LIBUSB_ERROR_TIMEOUT, "does not answer");
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    assert_non_null(strstr(error.text, "does not answer: "));
    assert_int_equal(usb_fault_set(NULL, &place, LIBUSB_ERROR_BUSY, "x"), -1);
}

/* ---- opening ---- */

static void test_what_is_no_device_node(void **state)
{
    struct error error;
    char address[32];
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    (void)snprintf(address, sizeof address, "usb-fd:%d", fd);
    assert_null(usb_open(address, NULL, &error));
    assert_int_equal(error.kind, ERROR_USAGE);
    (void)close(fd);
    assert_null(usb_open(address, NULL, &error));
    assert_int_equal(error.kind, ERROR_USAGE);
    assert_null(usb_open("usb:1", NULL, &error));
    usb_close(NULL);
}

/* No bus has this number on any machine that runs this. */
static void test_device_that_is_not_there(void **state)
{
    atomic_bool stop = false;
    struct error error = {0};
    struct usb *usb = usb_open("usb:255:127", &stop, &error);
    int64_t began_ms = clock_ms();

    (void)state;
    assert_non_null(usb);
    assert_false(usb_gone(usb));
    assert_null(usb_connect(usb, &error));
    assert_int_equal(error.kind, ERROR_CLOSED);
    assert_true(usb_gone(usb));
    (void)usb_wait(usb, 1);
    atomic_store(&stop, true);
    assert_false(usb_wait(usb, 60000) && usb_wait(usb, 60000));
    assert_true(clock_ms() - began_ms < 30000);
    usb_close(usb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_wrong_addresses),
        cmocka_unit_test(test_plain_courier),
        cmocka_unit_test(test_courier_among_others),
        cmocka_unit_test(test_no_courier),
        cmocka_unit_test(test_unusable_endpoints),
        cmocka_unit_test(test_good_one_behind_broken),
        cmocka_unit_test(test_holders),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_what_is_no_device_node),
        cmocka_unit_test(test_device_that_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
