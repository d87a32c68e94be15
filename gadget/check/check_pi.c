/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/check/check_parts.h"

#include <string.h>

#include "gadget/check/config_txt.h"
#include "gadget/check/device_tree.h"

#define CONFIG_MAX_BYTES 262144
#define RIGHT_LINE "dtoverlay=dwc2,dr_mode=peripheral"

/* Where the gadget's cable goes. */
enum socket { MICRO_USB, USB_A, USB_C, CARRIER, BEHIND_A_HUB, UNKNOWN };

static const char *const sockets[] = {
    [MICRO_USB] = "the cable goes into the micro-USB socket marked USB (not PWR)",
    [USB_A] = "the cable goes into its one USB-A socket (a cable with USB-A at both ends)",
    [USB_C] =
        "the cable goes into its USB-C socket; the host powers the board, so give it a host or "
        "a hub with enough current, or feed it through the pins",
    [CARRIER] =
        "the cable goes into the socket that the carrier board's manual calls USB OTG or USB "
        "slave",
    [UNKNOWN] = "this version does not know the model; see its manual for the socket that can be a "
                "USB device",
};

/* The first name that fits counts.  FILTERS: the sections of config.txt that the model reads. */
static const struct model {
    const char *name;
    enum socket socket;
    const char *filters[4];
} models[] = {
    {"Zero 2", MICRO_USB, {"pi0", "pi0w", "pi02"}},
    {"Zero W", MICRO_USB, {"pi0", "pi0w"}},
    {"Zero", MICRO_USB, {"pi0"}},
    {"Model A", USB_A, {"pi1"}},
    {"3 Model A", USB_A, {"pi3", "pi3+"}},
    {"Model B", BEHIND_A_HUB, {"pi1"}},
    {"2 Model B", BEHIND_A_HUB, {"pi2"}},
    {"3 Model B", BEHIND_A_HUB, {"pi3"}},
    {"4 Model B", USB_C, {"pi4"}},
    {"400", USB_C, {"pi4", "pi400"}},
    {"500", USB_C, {"pi5", "pi500"}},
    {"5", USB_C, {"pi5"}},
    {"Compute Module 4S", CARRIER, {"pi4", "cm4s"}},
    {"Compute Module 4", CARRIER, {"pi4", "cm4"}},
    {"Compute Module 5", CARRIER, {"pi5", "cm5"}},
    {"Compute Module 3", CARRIER, {"pi3", "cm3"}},
    {"Compute Module Rev", CARRIER, {"pi1", "cm1"}},
    {"", UNKNOWN, {NULL}},
};

static const struct model *find_model(const char *name)
{
    const struct model *model = models;

    while (strncmp(name, model->name, strlen(model->name)) != 0)
        model++;
    return model;
}

/* Raspberry Pi's kernels give the port to one of two drivers, dwc_otg (hosts alone) or dwc2, by what
 * the device tree calls it. */
static bool find_port(const char *root, struct device_tree_port *port)
{
    struct device_tree_port ports[DEVICE_TREE_PORTS];
    unsigned count = device_tree_ports(root, ports);

    for (unsigned i = 0; i < count; i++) {
        if (strstr(ports[i].compatible, "brcm,bcm2835-usb") == NULL || ports[i].disabled)
            continue;
        *port = ports[i];
        return true;
    }
    return false;
}

/* The socket of a model A grounds the pin by which "otg" is decided, so there it means host. */
static bool can_be_gadget(const struct model *model, const char *mode)
{
    return strcmp(mode, "peripheral") == 0 || (strcmp(mode, "otg") == 0 && model->socket != USB_A);
}

static const char *read_config(const char *root, struct buffer *text)
{
    static const char *const paths[] = {"/boot/firmware/config.txt", "/boot/config.txt"};

    for (unsigned i = 0; i < 2; i++)
        if (tree_load(root, CONFIG_MAX_BYTES, text, "%s", paths[i]))
            return paths[i];
    return NULL;
}

static void explain_overlay(const struct model *model, const char *path,
                            const struct config_txt *config, struct findings *findings)
{
    const struct config_txt_line *line = &config->overlay;

    if (can_be_gadget(model, config->mode))
        findings_missing(
            findings,
            "%s: its line %u, \"%s\", is right, but the board has not started with it: "
            "restart it (sudo reboot)",
            path, line->number, line->text);
    else if (strcmp(config->mode, "otg") == 0)
        findings_missing(findings,
                         "%s: its line %u, \"%s\", is not enough for this model, whose socket is a "
                         "host's unless told: make it \"" RIGHT_LINE "\", then sudo reboot",
                         path, line->number, line->text);
    else
        findings_missing(findings,
                         "%s: its line %u, \"%s\", makes the port a host's: make it \"" RIGHT_LINE
                         "\", then sudo reboot",
                         path, line->number, line->text);
}

static void explain_config(const char *root, const struct model *model, struct findings *findings)
{
    struct buffer text = {0};
    struct config_txt config;
    const char *path = read_config(root, &text);

    if (path == NULL) {
        findings_missing(findings,
                         "config.txt: is neither in /boot/firmware nor in /boot: mount the "
                         "boot partition there, add the line \"" RIGHT_LINE
                         "\" at its end below a line \"[all]\", then sudo reboot");
        return;
    }
    config_txt_parse((const char *)text.data, text.length, model->filters, &config);
    buffer_free(&text);
    if (config.otg_mode.number != 0)
        findings_missing(findings,
                         "%s: its line %u, \"%s\", gives the port to the driver for hosts: put a # "
                         "ahead of it, then sudo reboot",
                         path, config.otg_mode.number, config.otg_mode.text);
    if (config.overlay.number != 0) {
        if (config.otg_mode.number == 0 || !can_be_gadget(model, config.mode))
            explain_overlay(model, path, &config, findings);
        return;
    }
    if (config.elsewhere.number != 0)
        findings_note(findings,
                      "%s: its line %u, \"%s\", is in the section [%s], which this board does not "
                      "read, or not always",
                      path, config.elsewhere.number, config.elsewhere.text,
                      config.elsewhere.section);
    if (config.includes)
        findings_note(findings, "%s: includes other files, which were not looked at", path);
    findings_missing(findings,
                     "%s: has no line that makes the port a gadget's: add at its end the two lines "
                     "\"[all]\" and \"" RIGHT_LINE "\", then sudo reboot",
                     path);
}

static void explain_driver(const char *root, const struct device_tree_port *port,
                           struct findings *findings)
{
    switch (check_kernel_module(root, "dwc2")) {
    case CHECK_MODULE_NONE:
        findings_missing(
            findings, "driver dwc2: this kernel does not have it; use Raspberry Pi's own kernel, "
                      "or one with CONFIG_USB_DWC2 and CONFIG_USB_DWC2_DUAL_ROLE");
        break;
    case CHECK_MODULE_LOADABLE:
        findings_missing(
            findings,
            "driver dwc2: is not loaded, though the port is set to \"%s\": sudo modprobe "
            "dwc2; to have it at each start: echo dwc2 | sudo tee "
            "/etc/modules-load.d/boda.conf",
            port->mode);
        break;
    case CHECK_MODULE_THERE:
        findings_missing(
            findings,
            "driver dwc2: is loaded and the port is set to \"%s\", but there is no UDC: "
            "see what it says (sudo dmesg | grep dwc2); a kernel with "
            "CONFIG_USB_DWC2_HOST cannot, it needs CONFIG_USB_DWC2_DUAL_ROLE",
            port->mode);
        break;
    }
}

void check_pi(const char *root, const char *name, const char *udc, struct findings *findings)
{
    const struct model *model = find_model(name);
    struct device_tree_port port;

    if (strncmp(udc, "dummy_udc", 9) == 0) {
        findings_note(findings, "board: Raspberry Pi %s, not looked at: the UDC is not its own",
                      name);
        return;
    }
    if (model->socket == BEHIND_A_HUB) {
        findings_missing(
            findings,
            "board: Raspberry Pi %s cannot be a courier: its USB sockets are behind a "
            "hub, so it can only be a host; use a Zero, Zero W, Zero 2 W, A+, 3A+, 4 or "
            "5",
            name);
        return;
    }
    findings_ok(findings, "board: Raspberry Pi %s; %s", name, sockets[model->socket]);
    if (!find_port(root, &port)) {
        if (udc[0] == '\0')
            explain_config(root, model, findings);
    } else if (!can_be_gadget(model, port.mode)) {
        explain_config(root, model, findings);
    } else if (udc[0] == '\0') {
        explain_driver(root, &port, findings);
    }
}
