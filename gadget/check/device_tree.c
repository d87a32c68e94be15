/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/check/device_tree.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/tree.h"

#define DEPTH 6
#define MOST_NODES 4096 /* a tree has some hundreds */

struct walk {
    const char *root, *base;
    struct device_tree_port *ports;
    unsigned count, nodes;
};

static const char *const bases[] = {"/sys/firmware/devicetree/base", "/proc/device-tree"};

void device_tree_model(const char *root, char *model, unsigned size)
{
    model[0] = '\0';
    for (unsigned i = 0; i < 2 && model[0] == '\0'; i++)
        (void)tree_read(root, model, size, "%s/model", bases[i]);
}

static void look_at(struct walk *walk, const char *node, const char *name)
{
    struct device_tree_port *port = &walk->ports[walk->count];
    char status[16];
    bool has_mode;

    has_mode =
        tree_read(walk->root, port->mode, sizeof port->mode, "%s%s/dr_mode", walk->base, node);
    if (!has_mode && strncmp(name, "usb@", 4) != 0)
        return;
    (void)snprintf(port->node, sizeof port->node, "%s", node);
    (void)tree_read(walk->root, port->compatible, sizeof port->compatible, "%s%s/compatible",
                    walk->base, node);
    port->disabled =
        tree_read(walk->root, status, sizeof status, "%s%s/status", walk->base, node) &&
        strcmp(status, "okay") != 0 && strcmp(status, "ok") != 0;
    walk->count++;
}

/* NODE is "" for the base.  The tree's depth is bounded, so is the recursion. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static void go_down(struct walk *walk, const char *node, unsigned depth)
{
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *folder;

    if ((size_t)snprintf(path, sizeof path, "%s%s%s", walk->root, walk->base, node) >= sizeof path)
        return;
    folder = opendir(path);
    if (folder == NULL)
        return;
    while (walk->count < DEVICE_TREE_PORTS && (entry = readdir(folder)) != NULL) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        if (walk->nodes++ >= MOST_NODES ||
            (size_t)snprintf(path, sizeof path, "%s/%s", node, entry->d_name) >= sizeof path)
            break;
        look_at(walk, path, entry->d_name);
        if (depth < DEPTH)
            go_down(walk, path, depth + 1);
    }
    closedir(folder);
}

unsigned device_tree_ports(const char *root, struct device_tree_port ports[DEVICE_TREE_PORTS])
{
    struct walk walk = {.root = root, .ports = ports};

    for (unsigned i = 0; i < 2 && walk.nodes == 0; i++) {
        walk.base = bases[i];
        go_down(&walk, "", 1);
    }
    return walk.count;
}
