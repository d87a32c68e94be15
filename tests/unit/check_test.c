/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * gadget/check: each kind of board, told by a tree of files as its kernel would show them, gets the words
 * that tell what to do, and no board is called fit that is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "gadget/check.h"
#include "gadget/config_txt.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

#define CONFIG "boot/firmware/config.txt"
#define PORT "sys/firmware/devicetree/base/soc/usb@7e980000"
#define MODULES "lib/modules/6.1.0/"
#define UDC "sys/class/udc/20980000.usb"

static char *root; /* of the board of the present test */

static int make(void **state)
{
    (void)state;
    (void)unsetenv("CREDENTIALS_DIRECTORY");
    root = folder_new();
    return 0;
}

static int drop(void **state)
{
    (void)state;
    folder_remove(root);
    return 0;
}

/* ---- the board's files ---- */

static void put_bytes(const char *name, const char *bytes, size_t size)
{
    char *path = folder_path(root, name);
    FILE *file;

    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(path);
}

static void put(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

/* A property of the device tree: a string with its zero. */
static void put_property(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text) + 1);
}

static void take_away(const char *name)
{
    char *path = folder_path(root, name);

    if (access(path, F_OK) == 0) {
        folder_remove(path);
    } else {
        free(path);
        fail_msg("%s was never there", name);
    }
}

/* A kernel with all that is needed, as modules of which none is loaded; configfs is mounted. */
static void put_kernel(void)
{
    put("proc/sys/kernel/osrelease", "6.1.0\n");
    put("proc/sys/fs/aio-max-nr", "65536\n");
    put("proc/filesystems", "nodev\tsysfs\n\text4\n");
    put("proc/self/mounts", "configfs /sys/kernel/config configfs rw 0 0\n");
    put(MODULES "modules.builtin", "kernel/fs/configfs/configfs.ko\n");
    put(MODULES "modules.dep",
        "kernel/drivers/usb/dwc2/dwc2.ko.xz: kernel/drivers/usb/gadget/udc/udc-core.ko.xz\n"
        "kernel/drivers/usb/gadget/libcomposite.ko.xz: kernel/fs/configfs/configfs.ko.xz\n"
        "kernel/drivers/usb/gadget/function/usb_f_fs.ko.xz: "
        "kernel/drivers/usb/gadget/libcomposite.ko.xz\n");
    put(MODULES "kernel/drivers/usb/dwc2/dwc2.ko.xz", "");
    put(MODULES "kernel/drivers/usb/gadget/libcomposite.ko.xz", "");
    put(MODULES "kernel/drivers/usb/gadget/function/usb_f_fs.ko.xz", "");
    put("sys/kernel/config/usb_gadget/.keep", "");
}

static void put_pi(const char *model, const char *config)
{
    put_kernel();
    put_property("proc/device-tree/model", model);
    if (config != NULL)
        put(CONFIG, config);
}

/* The port as the overlay dwc2 makes it; MODE NULL: as it is without it. */
static void put_port(const char *mode)
{
    put_property(PORT "/compatible", mode != NULL ? "brcm,bcm2835-usb" : "brcm,bcm2708-usb");
    if (mode != NULL)
        put_property(PORT "/dr_mode", mode);
}

static void put_udc(void)
{
    put(UDC "/maximum_speed", "high-speed\n");
    put(UDC "/state", "not attached\n");
    put(UDC "/function", "\n");
}

static void put_ready(const char *model)
{
    put_pi(model, "[all]\ndtoverlay=dwc2,dr_mode=peripheral\n");
    put_port("peripheral");
    put_udc();
    put("sys/class/leds/ACT/brightness", "0\n");
}

/* ---- the check, and what it said ---- */

struct said {
    char *text;
    size_t size;
    int status;
};

static struct said check(struct check_options options)
{
    struct said said = {0};
    struct error error;
    FILE *out = open_memstream(&said.text, &said.size);

    assert_non_null(out);
    options.root = root;
    said.status = check_run(&options, out, &error);
    assert_int_equal(fclose(out), 0);
    assert_in_range(said.status, 0, 1);
    /* The exit status and the findings agree. */
    assert_int_equal(said.status, strncmp(said.text, "missing", 7) == 0 ||
                                      strstr(said.text, "\nmissing") != NULL);
    assert_true((said.status == 0) == (strstr(said.text, "This board can be a courier.") != NULL));
    return said;
}

static struct said check_board_alone(void)
{
    return check((struct check_options){0});
}

/* Is there a line of this LEVEL with all the WORDS (up to a NULL)? */
static bool has_line(const char *text, const char *level, const char *const *words)
{
    char line[4096];

    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        (void)snprintf(line, sizeof line, "%.*s", (int)length, text);
        text += length + (text[length] == '\n');
        if (strncmp(line, level, strlen(level)) != 0)
            continue;
        for (unsigned i = 0;; i++) {
            if (words[i] == NULL)
                return true;
            if (strstr(line, words[i]) == NULL)
                break;
        }
    }
    return false;
}

#define SAYS(said, level, ...)                                                                 \
    do {                                                                                       \
        if (!has_line((said).text, level, (const char *const[]){__VA_ARGS__, NULL}))           \
            fail_msg("no line '%s' with: %s; it says:\n%s", level, #__VA_ARGS__, (said).text); \
    } while (0)
#define SAYS_NOT(said, word)                                            \
    do {                                                                \
        if (strstr((said).text, word) != NULL)                          \
            fail_msg("it should not say '%s':\n%s", word, (said).text); \
    } while (0)

static void end(struct said *said, int status)
{
    if (said->status != status)
        fail_msg("status %d, not %d:\n%s", said->status, status, said->text);
    free(said->text);
}

/* ---- Raspberry Pi ---- */

#define RIGHT "dtoverlay=dwc2,dr_mode=peripheral"

static void test_pi_without_overlay(void **state)
{
    struct said said;

    (void)state;
    put_pi("Raspberry Pi Zero W Rev 1.1", "# dtoverlay=dwc2\ndtparam=audio=on\n");
    put_port(NULL);
    said = check_board_alone();
    SAYS(said, "missing", "UDC: there is none");
    SAYS(said, "ok", "Raspberry Pi Zero W Rev 1.1", "micro-USB", "not PWR");
    SAYS(said, "missing", "/boot/firmware/config.txt", "add", "[all]", RIGHT, "sudo reboot");
    end(&said, 1);

    /* The same in the older place; and without the file at all. */
    take_away(CONFIG);
    put("boot/config.txt", "dtparam=audio=on\n");
    said = check_board_alone();
    SAYS(said, "missing", "/boot/config.txt: has no line", "add", RIGHT);
    end(&said, 1);
    take_away("boot/config.txt");
    said = check_board_alone();
    SAYS(said, "missing", "config.txt", "mount the boot partition", RIGHT);
    end(&said, 1);
}

static void test_pi_as_host(void **state)
{
    struct said said;

    (void)state;
    put_pi("Raspberry Pi Zero 2 W Rev 1.0", "dtparam=audio=on\n dtoverlay=dwc2,dr_mode=host\r\n");
    put_port("host");
    said = check_board_alone();
    SAYS(said, "missing", CONFIG, "its line 2, \"dtoverlay=dwc2,dr_mode=host\"",
         "make it \"" RIGHT "\"", "sudo reboot");
    end(&said, 1);
    put(CONFIG, "dtoverlay=dwc-otg\n");
    said = check_board_alone();
    SAYS(said, "missing", "its line 1, \"dtoverlay=dwc-otg\"", "make it \"" RIGHT "\"");
    end(&said, 1);
}

static void test_pi_ready(void **state)
{
    struct said said;

    (void)state;
    put_ready("Raspberry Pi Zero Rev 1.3");
    said = check_board_alone();
    SAYS(said, "ok", "UDC 20980000.usb", "high-speed", "not attached");
    SAYS(said, "ok", "Raspberry Pi Zero Rev 1.3");
    SAYS(said, "ok", "kernel: has libcomposite");
    SAYS(said, "ok", "kernel: has usb_f_fs");
    SAYS(said, "ok", "configfs");
    SAYS(said, "ok", "asynchronous I/O");
    SAYS(said, "note", "--lamp", "ACT");
    end(&said, 0);
}

/* The line is there, but: not restarted since; the driver is not loaded; it is, and makes no UDC; the kernel
 * does not have it. */
static void test_pi_not_yet(void **state)
{
    struct said said;

    (void)state;
    put_pi("Raspberry Pi Zero W Rev 1.1", "[all]\ndtoverlay=dwc2\n");
    put_port(NULL);
    said = check_board_alone();
    SAYS(said, "missing", "its line 2, \"dtoverlay=dwc2\", is right", "restart it (sudo reboot)");
    end(&said, 1);
    put_port("otg");
    said = check_board_alone();
    SAYS(said, "missing", "driver dwc2: is not loaded", "sudo modprobe dwc2",
         "/etc/modules-load.d");
    end(&said, 1);
    put("sys/module/dwc2/refcnt", "0\n");
    said = check_board_alone();
    SAYS(said, "missing", "driver dwc2: is loaded", "dmesg", "CONFIG_USB_DWC2_DUAL_ROLE");
    end(&said, 1);
    take_away("sys/module/dwc2");
    take_away(MODULES "kernel/drivers/usb/dwc2");
    said = check_board_alone();
    SAYS(said, "missing", "driver dwc2: this kernel does not have it", "CONFIG_USB_DWC2");
    end(&said, 1);
}

static void test_pi_cannot(void **state)
{
    static const char *const models[] = {
        "Raspberry Pi 3 Model B Plus Rev 1.3", "Raspberry Pi 3 Model B Rev 1.2",
        "Raspberry Pi 2 Model B Rev 1.1", "Raspberry Pi Model B Plus Rev 1.2"};
    struct said said;

    (void)state;
    for (unsigned i = 0; i < sizeof models / sizeof *models; i++) {
        put_pi(models[i], "dtoverlay=dwc2\n");
        put_port("otg");
        put_udc(); /* dwc2 makes one there, too, of no use */
        said = check_board_alone();
        SAYS(said, "missing", models[i], "cannot be a courier", "hub", "use a Zero");
        SAYS_NOT(said, "config.txt");
        end(&said, 1);
    }
}

/* A line in another model's section does not count; nor may the port be given to hosts by otg_mode=1, as a
 * fresh Raspberry Pi OS has it for the Compute Module 4. */
static void test_pi_sections(void **state)
{
    static const char fresh[] = "[cm4]\notg_mode=1\n[cm5]\ndtoverlay=dwc2,dr_mode=host\n[all]\n";
    struct said said;

    (void)state;
    put_pi("Raspberry Pi 4 Model B Rev 1.4", "[cm4]\ndtoverlay=dwc2\n[all]\n");
    put_port(NULL);
    said = check_board_alone();
    SAYS(said, "ok", "Raspberry Pi 4 Model B", "USB-C");
    SAYS(said, "note", "line 2, \"dtoverlay=dwc2\"",
         "section [cm4], which this board does not read");
    SAYS(said, "missing", "add", "[all]", RIGHT);
    end(&said, 1);

    put(CONFIG, fresh);
    said = check_board_alone();
    SAYS(said, "note", "section [cm5]");
    SAYS(said, "missing", "add", "[all]", RIGHT);
    SAYS_NOT(said, "otg_mode");
    end(&said, 1);

    put_property("proc/device-tree/model", "Raspberry Pi Compute Module 4 Rev 1.0");
    said = check_board_alone();
    SAYS(said, "ok", "Compute Module 4", "carrier");
    SAYS(said, "missing", "its line 2, \"otg_mode=1\"", "put a # ahead of it");
    SAYS(said, "missing", "add", "[all]", RIGHT);
    end(&said, 1);

    put_property("proc/device-tree/model", "Raspberry Pi Compute Module 5 Rev 1.0");
    said = check_board_alone();
    SAYS(said, "missing", "its line 4, \"dtoverlay=dwc2,dr_mode=host\"", "make it \"" RIGHT "\"");
    end(&said, 1);
}

/* Where the socket is USB-A, "otg" is not enough, though there is a UDC. */
static void test_pi_a_plus(void **state)
{
    struct said said;

    (void)state;
    put_ready("Raspberry Pi 3 Model A Plus Rev 1.0");
    said = check_board_alone();
    SAYS(said, "ok", "3 Model A Plus", "USB-A");
    end(&said, 0);
    put(CONFIG, "dtoverlay=dwc2\n");
    put_port("otg");
    said = check_board_alone();
    SAYS(said, "missing", "\"dtoverlay=dwc2\", is not enough", "make it \"" RIGHT "\"");
    end(&said, 1);
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
    put_pi("Raspberry Pi Zero \033[2JW\nok all is well", NULL);
    put_bytes(CONFIG, bytes, 250000);
    put_port(NULL);
    said = check_board_alone();
    SAYS(said, "ok", "Raspberry Pi Zero ?[2JW ok all is well");
    SAYS(said, "missing", "its line 1", "makes the port a host's");
    end(&said, 1);
    put_bytes(CONFIG, bytes, 300000); /* larger than any real one */
    said = check_board_alone();
    SAYS(said, "missing", "config.txt");
    end(&said, 1);
    put_bytes(CONFIG, "\0\0[\0\n[pi4\0", 10);
    said = check_board_alone();
    SAYS(said, "missing", "has no line");
    end(&said, 1);
    free(bytes);
}

/* ---- the UDC ---- */

static void test_held_by_gadget(void **state)
{
    struct said said;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    put("sys/kernel/config/usb_gadget/g1/UDC", "20980000.usb\n");
    put("sys/kernel/config/usb_gadget/g2/UDC", "\n");
    put(UDC "/function", "g1\n");
    said = check_board_alone();
    SAYS(said, "missing", "held by another gadget, \"g1\"",
         "echo | sudo tee /sys/kernel/config/usb_gadget/g1/UDC");
    end(&said, 1);
    /* Ours may have it. */
    take_away("sys/kernel/config/usb_gadget/g1");
    put("sys/kernel/config/usb_gadget/boda-c1/UDC", "20980000.usb\n");
    said = check_board_alone();
    SAYS(said, "ok", "boda-courier has it");
    end(&said, 0);
    /* Someone that is neither. */
    take_away("sys/kernel/config/usb_gadget/boda-c1");
    put(UDC "/function", "raw-gadget\n");
    said = check_board_alone();
    SAYS(said, "missing", "held by \"raw-gadget\"", "stop the program");
    end(&said, 1);
}

static void test_held_by_legacy(void **state)
{
    struct said said;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    put(UDC "/function", "g_ether\n");
    put("sys/module/g_ether/refcnt", "0\n");
    said = check_board_alone();
    SAYS(said, "missing", "held by the kernel module g_ether", "sudo modprobe -r g_ether",
         "cmdline.txt");
    end(&said, 1);
    put(UDC "/function", "zero\n");
    put("sys/module/g_zero/refcnt", "0\n");
    said = check_board_alone();
    SAYS(said, "missing", "held by the kernel module g_zero", "sudo modprobe -r g_zero");
    SAYS_NOT(said, "module g_zero: is an old kind");
    SAYS(said, "note", "module g_ether: is an old kind");
    end(&said, 1);
    take_away("sys/module/g_zero");
    /* Loaded, but the UDC is free: not in the way now. */
    put(UDC "/function", "\n");
    said = check_board_alone();
    SAYS(said, "note", "module g_ether", "sudo modprobe -r g_ether");
    end(&said, 0);
}

static void test_several(void **state)
{
    struct said said;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    put("sys/class/udc/10000000.usb/maximum_speed", "super-speed\n");
    put("sys/class/udc/10000000.usb/function", "g_serial\n");
    said = check_board_alone();
    SAYS(said, "note", "several (10000000.usb, 20980000.usb)", "--udc");
    SAYS(said, "ok", "UDC 20980000.usb"); /* the one that is free */
    end(&said, 0);
    said = check((struct check_options){.udc = "10000000.usb"});
    SAYS(said, "missing", "UDC 10000000.usb", "g_serial");
    end(&said, 1);
    said = check((struct check_options){.udc = "fe980000.usb"});
    SAYS(said, "missing", "UDC fe980000.usb", "give one of: 10000000.usb, 20980000.usb");
    SAYS_NOT(said, "config.txt");
    end(&said, 1);
}

static void test_dummy(void **state)
{
    struct said said;

    (void)state;
    put_kernel();
    put("sys/class/udc/dummy_udc.0/maximum_speed", "super-speed\n");
    put("sys/class/udc/dummy_udc.0/state", "not attached\n");
    said = check_board_alone();
    SAYS(said, "ok", "UDC dummy_udc.0");
    SAYS(said, "note", "stand-in", "trials");
    end(&said, 0);
}

/* ---- other boards ---- */

static void test_pc(void **state)
{
    struct said said;

    (void)state;
    put_kernel();
    said = check_board_alone();
    SAYS(said, "missing", "UDC: there is none");
    SAYS(said, "missing", "likely a PC", "Raspberry Pi Zero", "dummy_hcd", "--listen");
    end(&said, 1);
}

static void test_other_board(void **state)
{
    struct said said;

    (void)state;
    put_kernel();
    put_property("sys/firmware/devicetree/base/model", "Xunlong Orange Pi Zero");
    put_property("sys/firmware/devicetree/base/soc/usb@1c19000/dr_mode", "host");
    put_property("sys/firmware/devicetree/base/soc/usb@1c20000/dr_mode", "otg");
    put_property("sys/firmware/devicetree/base/soc/usb@1c20000/compatible",
                 "allwinner,sun8i-h3-musb");
    put_property("sys/firmware/devicetree/base/soc/usb@1c30000/status", "disabled");
    said = check_board_alone();
    SAYS(said, "missing", "Xunlong Orange Pi Zero has no UDC", "OTG");
    SAYS(said, "note", "/soc/usb@1c19000", "\"host\"", "dr_mode = \"peripheral\"");
    SAYS(said, "note", "/soc/usb@1c20000", "\"otg\"",
         "load the driver for \"allwinner,sun8i-h3-musb\"");
    SAYS(said, "note", "/soc/usb@1c30000", "switched off", "status = \"okay\"");
    end(&said, 1);
    put_udc();
    said = check_board_alone();
    SAYS(said, "ok", "board: Xunlong Orange Pi Zero");
    end(&said, 0);
}

/* ---- the kernel ---- */

static void test_no_configfs(void **state)
{
    struct said said;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    take_away("sys/kernel/config");
    said = check_board_alone();
    SAYS(said, "note", "configfs: has no usb_gadget yet", "sudo modprobe libcomposite");
    end(&said, 0);
    put("proc/self/mounts", "/dev/root / ext4 rw 0 0\n");
    said = check_board_alone();
    SAYS(said, "note", "configfs: is not mounted", "sudo modprobe libcomposite",
         "sudo mount -t configfs none /sys/kernel/config");
    end(&said, 0);
    put("sys/module/libcomposite/refcnt", "0\n");
    put("proc/self/mounts", "none /sys/kernel/config configfs rw 0 0\n");
    said = check_board_alone();
    SAYS(said, "missing", "there is no usb_gadget", "CONFIG_USB_CONFIGFS");
    end(&said, 1);
}

static void test_no_module(void **state)
{
    struct said said;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    take_away("sys/kernel/config");
    take_away(MODULES
              "kernel/drivers/usb/gadget"); /* named in modules.dep, but the files are gone */
    said = check_board_alone();
    SAYS(said, "missing", "has no libcomposite", "CONFIG_USB_CONFIGFS");
    SAYS(said, "missing", "has no usb_f_fs", "CONFIG_USB_CONFIGFS_F_FS");
    SAYS_NOT(said, "configfs:");
    end(&said, 1);
    /* Loaded, or built in. */
    put("sys/module/libcomposite/refcnt", "0\n");
    put("sys/kernel/config/usb_gadget/.keep", "");
    put(MODULES "modules.builtin", "kernel/a/usb_f_fs_not.ko\nkernel/b/usb_f_fs.ko\n");
    said = check_board_alone();
    SAYS(said, "ok", "has usb_f_fs");
    end(&said, 0);
    put(MODULES "modules.builtin", "kernel/a/usb_f_fs_not.ko\n");
    /* A line that only depends on it is none of its own. */
    put(MODULES "modules.dep", "kernel/g_ffs.ko: kernel/x/usb_f_fs.ko kernel/libcomposite.ko\n");
    put(MODULES "kernel/x/usb_f_fs.ko", "");
    said = check_board_alone();
    SAYS(said, "missing", "has no usb_f_fs");
    end(&said, 1);
    put("proc/filesystems", "nodev\tfunctionfs\n");
    said = check_board_alone();
    SAYS(said, "ok", "has usb_f_fs");
    end(&said, 0);
}

static void test_kernel_updated(void **state)
{
    struct said said;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    put("proc/sys/kernel/osrelease", "6.0.0\n");
    said = check_board_alone();
    SAYS(said, "missing", "the one that runs, 6.0.0", "sudo reboot");
    SAYS_NOT(said, "CONFIG_");
    end(&said, 1);
}

static void test_no_aio(void **state)
{
    struct said said;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    take_away("proc/sys/fs");
    said = check_board_alone();
    SAYS(said, "missing", "asynchronous I/O", "CONFIG_AIO");
    end(&said, 1);
}

/* ---- identity and store ---- */

static void test_identity(void **state)
{
    struct deployment *deployment = deployment_new();
    char *file, *tablet, *words, *wrong, *credentials;
    struct said said;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    file = folder_path(root, "c1.p12");
    tablet = folder_path(root, "t1.p12");
    words = folder_path(root, "credentials/boda-passphrase");
    wrong = folder_path(root, "wrong");
    credentials = folder_path(root, "credentials");
    deployment_write(deployment->courier, file, "correct horse");
    deployment_write(deployment->tablet, tablet, "correct horse");
    put("credentials/boda-passphrase", "correct horse\n");
    put("wrong", "battery staple\n");
    assert_int_equal(chmod(words, 0600), 0);
    assert_int_equal(chmod(wrong, 0600), 0);

    said = check((struct check_options){.identity = file}); /* nobody is asked */
    SAYS(said, "note", "is private and PKCS#12", "--passphrase-file");
    end(&said, 0);
    said = check((struct check_options){.identity = file, .passphrase_file = words});
    SAYS(said, "ok", "is courier c1");
    end(&said, 0);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", credentials, 1), 0);
    said = check((struct check_options){.identity = file});
    SAYS(said, "ok", "is courier c1");
    end(&said, 0);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", root, 1), 0); /* has no passphrase */
    said = check((struct check_options){.identity = file});
    SAYS(said, "note", "was not opened");
    end(&said, 0);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    said = check((struct check_options){.identity = file, .passphrase_file = wrong});
    SAYS(said, "missing", "c1.p12", "the passphrase is wrong");
    end(&said, 1);
    said = check((struct check_options){.identity = tablet, .passphrase_file = words});
    SAYS(said, "missing", "is the one of a tablet", "boda enroll courier");
    end(&said, 1);

    assert_int_equal(chmod(file, 0644), 0);
    said = check((struct check_options){.identity = file, .passphrase_file = words});
    SAYS(said, "missing", "others can read it", "chmod 600");
    end(&said, 1);
    said = check((struct check_options){.identity = wrong});
    SAYS(said, "missing", "is not a PKCS#12 file", "boda enroll courier");
    end(&said, 1);
    said = check((struct check_options){.identity = "/nonexistent/c1.p12"});
    SAYS(said, "missing", "/nonexistent/c1.p12", "No such file");
    end(&said, 1);
    free(file);
    free(tablet);
    free(words);
    free(wrong);
    free(credentials);
    deployment_free(deployment);
}

static void test_store_absent(void **state)
{
    char *folder, *below, *file;
    struct said said;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    folder = folder_path(root, "store");
    below = folder_path(folder, "deeper");
    file = folder_path(root, UDC "/state");
    said = check((struct check_options){.store = folder});
    SAYS(said, "ok", "is not there yet; boda-courier makes it");
    free(said.text);
    said = check((struct check_options){.store = below});
    SAYS(said, "missing", "nor is the folder above it", "sudo mkdir -p", folder);
    end(&said, 1);
    said = check((struct check_options){.store = file});
    SAYS(said, "missing", "is not a folder");
    end(&said, 1);
    assert_int_equal(access(folder, F_OK), -1); /* nothing was made */
    free(folder);
    free(below);
    free(file);
}

static void damage(const char *folder)
{
    char *path = folder_path(folder, "boda.db");
    FILE *file = fopen(path, "r+");

    assert_non_null(file);
    /* The second page is a table's or an index's: what it says of its cells is made nonsense. */
    assert_int_equal(fseek(file, 4096, SEEK_SET), 0);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(fputc(0xee, file), 0xee);
    assert_int_equal(fclose(file), 0);
    free(path);
}

static void test_store(void **state)
{
    struct deployment *deployment = deployment_new();
    char *folder, *identity, *words;
    struct store *store;
    struct label label;
    struct said said;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    folder = folder_path(root, "store");
    identity = folder_path(root, "c2.p12");
    words = folder_path(root, "words");
    assert_int_equal(mkdir(folder, 0700), 0);
    said = check((struct check_options){.store = folder});
    SAYS(said, "ok", "has no store yet");
    SAYS(said, "", "store", "MB free");
    free(said.text);

    store = stores_open(folder);
    stores_add(store, &label, "t1", "server", 1, 1, 50000);
    said = check((struct check_options){.store = folder}); /* beside a running courier */
    SAYS(said, "ok", "is courier c1's, and undamaged");
    free(said.text);
    store_close(store);
    said = check((struct check_options){.store = folder});
    SAYS(said, "ok", "is courier c1's, and undamaged");
    free(said.text);

    deployment_write(deployment->courier2, identity, "correct horse");
    put("words", "correct horse\n");
    assert_int_equal(chmod(words, 0600), 0);
    said = check(
        (struct check_options){.store = folder, .identity = identity, .passphrase_file = words});
    SAYS(said, "missing", "belongs to courier c1, the identity to c2", "give the folder");
    end(&said, 1);

    damage(folder);
    said = check((struct check_options){.store = folder});
    SAYS(said, "missing", folder, "start boda-courier");
    end(&said, 1);
    free(folder);
    free(identity);
    free(words);
    deployment_free(deployment);
}

static void test_store_of_tablet(void **state)
{
    struct store_options options = {.station = "t1", .role = "tablet", .reserve_bytes = 1};
    struct error error;
    struct store *store;
    struct said said;
    char *folder;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    folder = folder_path(root, "store");
    options.directory = folder;
    store = store_open(&options, &error);
    STORES_OK(store != NULL, &error);
    store_close(store);
    said = check((struct check_options){.store = folder});
    SAYS(said, "missing", "is the one of tablet t1", "courier's own");
    end(&said, 1);
    free(folder);
}

/* In a child, which asserts nothing: what the check says of a store at PATH goes into the file NAME. */
static bool note_what_it_says(const char *path, const char *name)
{
    const struct check_options options = {.root = root, .store = path};
    char *to = folder_path(root, name);
    FILE *out = fopen(to, "w");
    bool done;

    free(to);
    if (out == NULL)
        return false;
    done = check_run(&options, out, NULL) >= 0;
    return fclose(out) == 0 && done;
}

static bool make_folder(const char *parent, const char *name)
{
    char *path = folder_path(parent, name);
    bool done = mkdir(path, 0700) == 0;

    free(path);
    return done;
}

/* In a child: a file system in memory, an overlay of it, and the first one when it is read only. */
static int visit_disks(void)
{
    char *disk = folder_path(root, "disk"), *overlay = folder_path(root, "overlay");
    char options[1024];

    (void)alarm(60);
    if (folder_mount_small(disk, 4096 * 1024UL) != 0)
        return 77;
    if (!note_what_it_says(disk, "memory.txt"))
        return 1;
    (void)snprintf(options, sizeof options, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
                   disk, disk, disk);
    if (!make_folder(disk, "lower") || !make_folder(disk, "upper") || !make_folder(disk, "work"))
        return 1;
    if (mount("none", overlay, "overlay", 0, options) == 0 &&
        (!note_what_it_says(overlay, "overlay.txt") || umount(overlay) != 0))
        return 1;
    if (folder_remount_read_only(disk) != 0 || !note_what_it_says(disk, "read-only.txt"))
        return 1;
    free(disk);
    free(overlay);
    return 0;
}

/* What the child noted; an empty text when it did not get there. */
static struct said read_note(const char *name)
{
    struct said said = {.text = calloc(1, 16384)};
    char *path = folder_path(root, name);
    FILE *file = fopen(path, "r");

    assert_non_null(said.text);
    if (file != NULL) {
        said.size = fread(said.text, 1, 16383, file);
        fclose(file);
    }
    free(path);
    return said;
}

static int in_child(int (*body)(void))
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0)
        _exit(body());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_store_disks(void **state)
{
    struct said said;
    int status;

    (void)state;
    put_ready("Raspberry Pi Zero W Rev 1.1");
    assert_true(make_folder(root, "disk") && make_folder(root, "overlay"));
    status = in_child(visit_disks);
    if (status == 77)
        skip(); /* the kernel does not let us mount */
    assert_int_equal(status, 0);
    said = read_note("memory.txt");
    SAYS(said, "missing", "is in memory (tmpfs)", "lost at power off", "give a folder");
    SAYS(said, "missing", "its disk is full (4 MB free", "make room");
    free(said.text);
    said = read_note("read-only.txt");
    SAYS(said, "missing", "mounted read only", "remount,rw");
    free(said.text);
    said = read_note("overlay.txt");
    if (said.size > 0)
        SAYS(said, "note", "is on an overlay", "upper layer");
    free(said.text);

    /* The read-only root that raspi-config offers. */
    put("proc/cmdline", "console=tty1 overlayroot=tmpfs rootwait\n");
    assert_int_equal(in_child(visit_disks), 0);
    said = read_note("overlay.txt");
    if (said.size > 0)
        SAYS(said, "missing", "keeps changes in memory", "raspi-config");
    free(said.text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)

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
        TEST(test_identity),
        TEST(test_store_absent),
        TEST(test_store),
        TEST(test_store_of_tablet),
        TEST(test_store_disks),
    };

    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
