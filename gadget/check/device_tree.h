/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The USB ports of the board's device tree, as the running kernel was given it.
 */
#ifndef BODA_GADGET_DEVICE_TREE_H
#define BODA_GADGET_DEVICE_TREE_H

#include <stdbool.h>

#define DEVICE_TREE_PORTS 8

struct device_tree_port {
    char node[128];       /* its path within the tree */
    char mode[16];        /* dr_mode: "host", "peripheral", "otg"; "" when it does not say */
    char compatible[128]; /* the drivers that fit, spaces between */
    bool disabled;
};

/* Fill PORTS with nodes that are called usb@... or have a dr_mode; returns how many. */
unsigned device_tree_ports(const char *root, struct device_tree_port ports[DEVICE_TREE_PORTS]);

/* The board's own name, "" when it has no device tree (a PC). */
void device_tree_model(const char *root, char *model, unsigned size);

#endif
