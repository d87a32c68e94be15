/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/check/check_parts.h"

#include <string.h>

#include "gadget/check/device_tree.h"

#define PI "Raspberry Pi "

static void explain_port(const struct device_tree_port *port, struct findings *findings)
{
    if (port->disabled)
        findings_note(findings,
                      "device tree: its USB port %s is switched off; if the board has a socket for "
                      "it, an overlay with status = \"okay\" and dr_mode = \"peripheral\" switches "
                      "it on",
                      port->node);
    else if (strcmp(port->mode, "host") == 0)
        findings_note(findings,
                      "device tree: its USB port %s is set to \"host\"; if the board's manual says "
                      "that the socket can be a device (OTG), an overlay with dr_mode = "
                      "\"peripheral\" makes it one",
                      port->node);
    else if (port->mode[0] != '\0')
        findings_note(
            findings,
            "device tree: its USB port %s is set to \"%s\", but no driver made a UDC of it: "
            "load the driver for \"%s\" (often dwc2, dwc3, musb_hdrc, ci_hdrc), with the "
            "gadget's side (dual role) in it",
            port->node, port->mode, port->compatible);
}

static void explain_other(const char *root, const char *model, struct findings *findings)
{
    struct device_tree_port ports[DEVICE_TREE_PORTS];
    unsigned count = device_tree_ports(root, ports);

    if (model[0] == '\0') {
        findings_missing(
            findings, "board: this machine has no device tree, so it is likely a PC, whose USB "
                      "sockets can only be hosts: use a board such as a Raspberry Pi Zero; for a "
                      "trial without hardware: sudo modprobe dummy_hcd, or --listen unix:PATH");
        return;
    }
    findings_missing(findings,
                     "board: %s has no UDC now: look into its manual for a socket that can be a "
                     "device (OTG), and how its device tree and its driver are set to that",
                     model);
    for (unsigned i = 0; i < count; i++)
        explain_port(&ports[i], findings);
}

void check_board(const char *root, const char *udc, struct findings *findings)
{
    char model[128];

    device_tree_model(root, model, sizeof model);
    if (strncmp(model, PI, strlen(PI)) == 0)
        check_pi(root, model + strlen(PI), udc, findings);
    else if (udc[0] == '\0')
        explain_other(root, model, findings);
    else if (model[0] != '\0')
        findings_ok(findings, "board: %s", model);
}
