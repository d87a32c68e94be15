/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * gadget/check: each kind of board, told by a tree of files as its kernel would show them, gets the words
 * that tell what to do, and no board is called fit that is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "gadget/check/config_txt.h"
#include "tests/unit/support/board.h"

static struct said check_alone(void)
{
    return board_check((struct check_options){0});
}

/* ---- Raspberry Pi ---- */

#define RIGHT BOARD_LINE

static void test_pi_without_overlay(void **state)
{
    struct said said;

    (void)state;
    board_put_pi("Raspberry Pi Zero W Rev 1.1", "# dtoverlay=dwc2\ndtparam=audio=on\n");
    board_put_port(NULL);
    said = check_alone();
    SAYS(said, "missing", "UDC: there is none");
    SAYS(said, "ok", "Raspberry Pi Zero W Rev 1.1", "micro-USB", "not PWR");
    SAYS(said, "missing", "/boot/firmware/config.txt", "add", "[all]", RIGHT, "sudo reboot");
    board_end(&said, 1);

    /* The same in the older place; and without the file at all. */
    board_take_away(BOARD_CONFIG);
    board_put("boot/config.txt", "dtparam=audio=on\n");
    said = check_alone();
    SAYS(said, "missing", "/boot/config.txt: has no line", "add", RIGHT);
    board_end(&said, 1);
    board_take_away("boot/config.txt");
    said = check_alone();
    SAYS(said, "missing", "config.txt", "mount the boot partition", RIGHT);
    board_end(&said, 1);
}

static void test_pi_as_host(void **state)
{
    struct said said;

    (void)state;
    board_put_pi("Raspberry Pi Zero 2 W Rev 1.0",
                 "dtparam=audio=on\n dtoverlay=dwc2,dr_mode=host\r\n");
    board_put_port("host");
    said = check_alone();
    SAYS(said, "missing", BOARD_CONFIG, "its line 2, \"dtoverlay=dwc2,dr_mode=host\"",
         "make it \"" RIGHT "\"", "sudo reboot");
    board_end(&said, 1);
    board_put(BOARD_CONFIG, "dtoverlay=dwc-otg\n");
    said = check_alone();
    SAYS(said, "missing", "its line 1, \"dtoverlay=dwc-otg\"", "make it \"" RIGHT "\"");
    board_end(&said, 1);
}

static void test_pi_ready(void **state)
{
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero Rev 1.3");
    said = check_alone();
    SAYS(said, "ok", "UDC 20980000.usb", "high-speed", "not attached");
    SAYS(said, "ok", "Raspberry Pi Zero Rev 1.3");
    SAYS(said, "ok", "kernel: has libcomposite");
    SAYS(said, "ok", "kernel: has usb_f_fs");
    SAYS(said, "ok", "configfs");
    SAYS(said, "ok", "asynchronous I/O");
    SAYS(said, "note", "--lamp", "ACT");
    board_end(&said, 0);
}

/* The line is there, but: not restarted since; the driver is not loaded; it is, and makes no UDC; the kernel
 * does not have it. */
static void test_pi_not_yet(void **state)
{
    struct said said;

    (void)state;
    board_put_pi("Raspberry Pi Zero W Rev 1.1", "[all]\ndtoverlay=dwc2\n");
    board_put_port(NULL);
    said = check_alone();
    SAYS(said, "missing", "its line 2, \"dtoverlay=dwc2\", is right", "restart it (sudo reboot)");
    board_end(&said, 1);
    board_put_port("otg");
    said = check_alone();
    SAYS(said, "missing", "driver dwc2: is not loaded", "sudo modprobe dwc2",
         "/etc/modules-load.d");
    board_end(&said, 1);
    board_put("sys/module/dwc2/refcnt", "0\n");
    said = check_alone();
    SAYS(said, "missing", "driver dwc2: is loaded", "dmesg", "CONFIG_USB_DWC2_DUAL_ROLE");
    board_end(&said, 1);
    board_take_away("sys/module/dwc2");
    board_take_away(BOARD_MODULES "kernel/drivers/usb/dwc2");
    said = check_alone();
    SAYS(said, "missing", "driver dwc2: this kernel does not have it", "CONFIG_USB_DWC2");
    board_end(&said, 1);
}

static void test_pi_cannot(void **state)
{
    static const char *const models[] = {
        "Raspberry Pi 3 Model B Plus Rev 1.3", "Raspberry Pi 3 Model B Rev 1.2",
        "Raspberry Pi 2 Model B Rev 1.1", "Raspberry Pi Model B Plus Rev 1.2"};
    struct said said;

    (void)state;
    for (unsigned i = 0; i < sizeof models / sizeof *models; i++) {
        board_put_pi(models[i], "dtoverlay=dwc2\n");
        board_put_port("otg");
        board_put_udc(); /* dwc2 makes one there, too, of no use */
        said = check_alone();
        SAYS(said, "missing", models[i], "cannot be a courier", "hub", "use a Zero");
        SAYS_NOT(said, "config.txt");
        board_end(&said, 1);
    }
}

/* A line in another model's section does not count; nor may the port be given to hosts by otg_mode=1, as a
 * fresh Raspberry Pi OS has it for the Compute Module 4. */
static void test_pi_sections(void **state)
{
    static const char fresh[] = "[cm4]\notg_mode=1\n[cm5]\ndtoverlay=dwc2,dr_mode=host\n[all]\n";
    struct said said;

    (void)state;
    board_put_pi("Raspberry Pi 4 Model B Rev 1.4", "[cm4]\ndtoverlay=dwc2\n[all]\n");
    board_put_port(NULL);
    said = check_alone();
    SAYS(said, "ok", "Raspberry Pi 4 Model B", "USB-C");
    SAYS(said, "note", "line 2, \"dtoverlay=dwc2\"",
         "section [cm4], which this board does not read");
    SAYS(said, "missing", "add", "[all]", RIGHT);
    board_end(&said, 1);

    board_put(BOARD_CONFIG, fresh);
    said = check_alone();
    SAYS(said, "note", "section [cm5]");
    SAYS(said, "missing", "add", "[all]", RIGHT);
    SAYS_NOT(said, "otg_mode");
    board_end(&said, 1);

    board_put_property("proc/device-tree/model", "Raspberry Pi Compute Module 4 Rev 1.0");
    said = check_alone();
    SAYS(said, "ok", "Compute Module 4", "carrier");
    SAYS(said, "missing", "its line 2, \"otg_mode=1\"", "put a # ahead of it");
    SAYS(said, "missing", "add", "[all]", RIGHT);
    board_end(&said, 1);

    /* The line is there as well, and of no use: the firmware switches that port off. */
    board_put(BOARD_CONFIG, "otg_mode=1\n" RIGHT "\n");
    board_put_port("peripheral");
    board_put_property(BOARD_PORT "/status", "disabled");
    said = check_alone();
    SAYS(said, "missing", "its line 1, \"otg_mode=1\"", "put a # ahead of it");
    SAYS_NOT(said, "dwc2");
    board_end(&said, 1);

    board_put(BOARD_CONFIG, fresh);
    board_put_property("proc/device-tree/model", "Raspberry Pi Compute Module 5 Rev 1.0");
    said = check_alone();
    SAYS(said, "missing", "its line 4, \"dtoverlay=dwc2,dr_mode=host\"", "make it \"" RIGHT "\"");
    board_end(&said, 1);
}

/* Where the socket is USB-A, "otg" is not enough, though there is a UDC. */
static void test_pi_a_plus(void **state)
{
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi 3 Model A Plus Rev 1.0");
    said = check_alone();
    SAYS(said, "ok", "3 Model A Plus", "USB-A");
    board_end(&said, 0);
    board_put(BOARD_CONFIG, "dtoverlay=dwc2\n");
    board_put_port("otg");
    said = check_alone();
    SAYS(said, "missing", "\"dtoverlay=dwc2\", is not enough", "make it \"" RIGHT "\"");
    board_end(&said, 1);
}

static void test_config_txt(void **state)
{
    static const char *const filters[] = {"pi0", "pi0w", NULL};
    static const struct {
        const char *text, *mode;
        unsigned overlay, elsewhere, otg_mode;
    } cases[] = {
        {"", "", 0, 0, 0},
        {"dtoverlay=dwc2", "otg", 1, 0, 0},
        {"dtoverlay=dwc2:dr_mode=peripheral", "peripheral", 1, 0, 0},
        {"dtoverlay=dwc2,g-rx-fifo-size=256,dr_mode=host,x=1", "host", 1, 0, 0},
        {"dtoverlay=dwc2,dr_mode=host\ndtoverlay=dwc2", "otg", 2, 0, 0},
        {"dtoverlay=dwc2x\ndtoverlay=vc4-kms-v3d\n;dtoverlay=dwc2", "", 0, 0, 0},
        {"[pi0]\n[pi0w]\ndtoverlay=dwc2", "otg", 3, 0, 0},
        {"[pi4]\n[pi0]\ndtoverlay=dwc2", "otg", 3, 0, 0},
        {"[none]\ndtoverlay=dwc2", "", 0, 2, 0},
        {"[none]\ndtoverlay=dwc2\n[all]\ndtoverlay=dwc2", "otg", 4, 2, 0},
        {"[gpio4=1]\n[pi0]\ndtoverlay=dwc2", "", 0, 3, 0},
        {"[gpio4=1]\n[all]\ndtoverlay=dwc2", "otg", 3, 0, 0},
        {"[pi4\ndtoverlay=dwc2\n[", "", 0, 2, 0},
        {"otg_mode=1\n[pi4]\notg_mode=0", "", 0, 0, 1},
        {"otg_mode=1\notg_mode=0", "", 0, 0, 0},
    };
    struct config_txt config;

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("case %u\n", i);
        config_txt_parse(cases[i].text, strlen(cases[i].text), filters, &config);
        assert_string_equal(config.mode, cases[i].mode);
        assert_int_equal(config.overlay.number, cases[i].overlay);
        assert_int_equal(config.elsewhere.number, cases[i].elsewhere);
        assert_int_equal(config.otg_mode.number, cases[i].otg_mode);
    }
}

/* Long lines, zeros, bytes of a stranger: nothing is read beyond its end, and no control byte comes out. */
static void test_strange_bytes(void **state)
{
    char *bytes = malloc(300000);
    struct said said;

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 'x', 300000);
    bytes[snprintf(bytes, 300000, "dtoverlay=dwc2,dr_mode=")] = 'x';
    board_put_pi("Raspberry Pi Zero \033[2JW\nok all is well", NULL);
    board_put_bytes(BOARD_CONFIG, bytes, 250000);
    board_put_port(NULL);
    said = check_alone();
    SAYS(said, "ok", "Raspberry Pi Zero ?[2JW ok all is well");
    SAYS(said, "missing", "its line 1", "makes the port a host's");
    board_end(&said, 1);
    board_put_bytes(BOARD_CONFIG, bytes, 300000); /* larger than any real one */
    said = check_alone();
    SAYS(said, "missing", "config.txt");
    board_end(&said, 1);
    board_put_bytes(BOARD_CONFIG, "\0\0[\0\n[pi4\0", 10);
    said = check_alone();
    SAYS(said, "missing", "has no line");
    board_end(&said, 1);
    free(bytes);
}

/* ---- the UDC ---- */

static void test_held_by_gadget(void **state)
{
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    board_put("sys/kernel/config/usb_gadget/g1/UDC", "20980000.usb\n");
    board_put("sys/kernel/config/usb_gadget/g2/UDC", "\n");
    board_put(BOARD_UDC "/function", "g1\n");
    said = check_alone();
    SAYS(said, "missing", "held by another gadget, \"g1\"",
         "echo | sudo tee /sys/kernel/config/usb_gadget/g1/UDC");
    board_end(&said, 1);
    /* Ours may have it. */
    board_take_away("sys/kernel/config/usb_gadget/g1");
    board_put("sys/kernel/config/usb_gadget/boda-c1/UDC", "20980000.usb\n");
    said = check_alone();
    SAYS(said, "ok", "boda-courier has it");
    board_end(&said, 0);
    /* Someone that is neither. */
    board_take_away("sys/kernel/config/usb_gadget/boda-c1");
    board_put(BOARD_UDC "/function", "raw-gadget\n");
    said = check_alone();
    SAYS(said, "missing", "held by \"raw-gadget\"", "stop the program");
    board_end(&said, 1);
}

static void test_held_by_legacy(void **state)
{
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    board_put(BOARD_UDC "/function", "g_ether\n");
    board_put("sys/module/g_ether/refcnt", "0\n");
    said = check_alone();
    SAYS(said, "missing", "held by the kernel module g_ether", "sudo modprobe -r g_ether",
         "cmdline.txt");
    board_end(&said, 1);
    board_put(BOARD_UDC "/function", "zero\n");
    board_put("sys/module/g_zero/refcnt", "0\n");
    said = check_alone();
    SAYS(said, "missing", "held by the kernel module g_zero", "sudo modprobe -r g_zero");
    SAYS_NOT(said, "module g_zero: is an old kind");
    SAYS(said, "note", "module g_ether: is an old kind");
    board_end(&said, 1);
    board_take_away("sys/module/g_zero");
    /* Loaded, but the UDC is free: not in the way now. */
    board_put(BOARD_UDC "/function", "\n");
    said = check_alone();
    SAYS(said, "note", "module g_ether", "sudo modprobe -r g_ether");
    board_end(&said, 0);
}

static void test_several(void **state)
{
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    board_put("sys/class/udc/10000000.usb/maximum_speed", "super-speed\n");
    board_put("sys/class/udc/10000000.usb/function", "g_serial\n");
    said = check_alone();
    SAYS(said, "note", "several (10000000.usb, 20980000.usb)", "--udc");
    SAYS(said, "ok", "UDC 20980000.usb"); /* the one that is free */
    board_end(&said, 0);
    said = board_check((struct check_options){.udc = "10000000.usb"});
    SAYS(said, "missing", "UDC 10000000.usb", "g_serial");
    board_end(&said, 1);
    said = board_check((struct check_options){.udc = "fe980000.usb"});
    SAYS(said, "missing", "UDC fe980000.usb", "give one of: 10000000.usb, 20980000.usb");
    SAYS_NOT(said, "config.txt");
    board_end(&said, 1);
}

static void test_dummy(void **state)
{
    struct said said;

    (void)state;
    board_put_kernel();
    board_put("sys/class/udc/dummy_udc.0/maximum_speed", "super-speed\n");
    board_put("sys/class/udc/dummy_udc.0/state", "not attached\n");
    said = check_alone();
    SAYS(said, "ok", "UDC dummy_udc.0");
    SAYS(said, "note", "stand-in", "trials");
    board_end(&said, 0);
    /* Also on a board that cannot be one itself. */
    board_put_property("proc/device-tree/model", "Raspberry Pi 3 Model B Rev 1.2");
    said = check_alone();
    SAYS(said, "note", "Raspberry Pi 3 Model B", "not looked at");
    board_end(&said, 0);
}

/* ---- other boards ---- */

static void test_pc(void **state)
{
    struct said said;

    (void)state;
    board_put_kernel();
    said = check_alone();
    SAYS(said, "missing", "UDC: there is none");
    SAYS(said, "missing", "likely a PC", "Raspberry Pi Zero", "dummy_hcd", "--listen");
    board_end(&said, 1);
}

static void test_other_board(void **state)
{
    static const char two[] = "allwinner,sun8i-h3-musb\0allwinner,sun8i-a33-musb";
    struct said said;

    (void)state;
    board_put_kernel();
    board_put_property("sys/firmware/devicetree/base/model", "Xunlong Orange Pi Zero");
    board_put_property("sys/firmware/devicetree/base/soc/usb@1c19000/dr_mode", "host");
    board_put_property("sys/firmware/devicetree/base/soc/usb@1c20000/dr_mode", "otg");
    board_put_bytes("sys/firmware/devicetree/base/soc/usb@1c20000/compatible", two, sizeof two);
    board_put_property("sys/firmware/devicetree/base/soc/usb@1c30000/status", "disabled");
    said = check_alone();
    SAYS(said, "missing", "Xunlong Orange Pi Zero has no UDC", "OTG");
    SAYS(said, "note", "/soc/usb@1c19000", "\"host\"", "dr_mode = \"peripheral\"");
    SAYS(said, "note", "/soc/usb@1c20000", "\"otg\"",
         "load the driver for \"allwinner,sun8i-h3-musb allwinner,sun8i-a33-musb\"");
    SAYS(said, "note", "/soc/usb@1c30000", "switched off", "status = \"okay\"");
    board_end(&said, 1);
    board_put_udc();
    said = check_alone();
    SAYS(said, "ok", "board: Xunlong Orange Pi Zero");
    board_end(&said, 0);
}

/* ---- the kernel ---- */

static void test_no_configfs(void **state)
{
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    board_take_away("sys/kernel/config");
    said = check_alone();
    SAYS(said, "note", "configfs: has no usb_gadget yet", "sudo modprobe libcomposite");
    board_end(&said, 0);
    board_put("proc/self/mounts", "/dev/root / ext4 rw 0 0\n");
    said = check_alone();
    SAYS(said, "note", "configfs: is not mounted", "sudo modprobe libcomposite",
         "sudo mount -t configfs none /sys/kernel/config");
    board_end(&said, 0);
    board_put("sys/module/libcomposite/refcnt", "0\n");
    board_put("proc/self/mounts", "none /sys/kernel/config configfs rw 0 0\n");
    said = check_alone();
    SAYS(said, "missing", "there is no usb_gadget", "CONFIG_USB_CONFIGFS");
    board_end(&said, 1);
}

static void test_no_module(void **state)
{
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    board_take_away("sys/kernel/config");
    board_take_away(BOARD_MODULES
                    "kernel/drivers/usb/gadget"); /* named in modules.dep, but the files are gone */
    said = check_alone();
    SAYS(said, "missing", "has no libcomposite", "CONFIG_USB_CONFIGFS");
    SAYS(said, "missing", "has no usb_f_fs", "CONFIG_USB_CONFIGFS_F_FS");
    SAYS_NOT(said, "configfs:");
    board_end(&said, 1);
    /* Loaded, or built in. */
    board_put("sys/module/libcomposite/refcnt", "0\n");
    board_put("sys/kernel/config/usb_gadget/.keep", "");
    board_put(BOARD_MODULES "modules.builtin", "kernel/a/usb_f_fs_not.ko\nkernel/b/usb_f_fs.ko\n");
    said = check_alone();
    SAYS(said, "ok", "has usb_f_fs");
    board_end(&said, 0);
    board_put(BOARD_MODULES "modules.builtin", "kernel/a/usb_f_fs_not.ko\n");
    /* A line that only depends on it is none of its own. */
    board_put(BOARD_MODULES "modules.dep",
              "kernel/g_ffs.ko: kernel/x/usb_f_fs.ko kernel/libcomposite.ko\n");
    board_put(BOARD_MODULES "kernel/x/usb_f_fs.ko", "");
    board_put(BOARD_MODULES "kernel/g_ffs.ko", "");
    said = check_alone();
    SAYS(said, "missing", "has no usb_f_fs");
    board_end(&said, 1);
    board_put("proc/filesystems", "nodev\tfunctionfs\n");
    said = check_alone();
    SAYS(said, "ok", "has usb_f_fs");
    board_end(&said, 0);
}

static void test_kernel_updated(void **state)
{
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    board_put("proc/sys/kernel/osrelease", "6.0.0\n");
    said = check_alone();
    SAYS(said, "missing", "the one that runs, 6.0.0", "sudo reboot");
    SAYS_NOT(said, "CONFIG_");
    board_end(&said, 1);
}

static void test_no_aio(void **state)
{
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    board_take_away("proc/sys/fs");
    said = check_alone();
    SAYS(said, "missing", "asynchronous I/O", "CONFIG_AIO");
    board_end(&said, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, board_make, board_drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pi_without_overlay),
        TEST(test_pi_as_host),
        TEST(test_pi_ready),
        TEST(test_pi_not_yet),
        TEST(test_pi_cannot),
        TEST(test_pi_sections),
        TEST(test_pi_a_plus),
        TEST(test_config_txt),
        TEST(test_strange_bytes),
        TEST(test_held_by_gadget),
        TEST(test_held_by_legacy),
        TEST(test_several),
        TEST(test_dummy),
        TEST(test_pc),
        TEST(test_other_board),
        TEST(test_no_configfs),
        TEST(test_no_module),
        TEST(test_kernel_updated),
        TEST(test_no_aio),
    };

    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
