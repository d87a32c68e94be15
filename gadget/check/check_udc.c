/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/check/check_parts.h"

#include <stdio.h>
#include <string.h>

#define GADGETS "/sys/kernel/config/usb_gadget"
#define OURS "boda-" /* and the courier's name */

static bool is_legacy(const char *name)
{
    return strncmp(name, "g_", 2) == 0 || strcmp(name, "gadgetfs") == 0;
}

static bool is_ours(const char *gadget)
{
    return strncmp(gadget, OURS, strlen(OURS)) == 0;
}

/* The gadget of configfs that is bound to UDC. */
static bool find_gadget(const char *root, const char *udc, char gadget[TREE_NAME_BYTES])
{
    struct tree_names gadgets;
    char bound[TREE_NAME_BYTES];

    gadget[0] = '\0';
    tree_list(root, "", &gadgets, GADGETS);
    for (unsigned i = 0; i < gadgets.count; i++) {
        if (!tree_read(root, bound, sizeof bound, GADGETS "/%s/UDC", gadgets.names[i]) ||
            strcmp(bound, udc) != 0)
            continue;
        memcpy(gadget, gadgets.names[i], TREE_NAME_BYTES);
        return true;
    }
    return false;
}

/* The name of what drives UDC: a gadget's of configfs, "g_ether", "zero"; "" when nothing does. */
static void read_function(const char *root, const char *udc, char *function, size_t size)
{
    (void)tree_read(root, function, size, "/sys/class/udc/%s/function", udc);
}

/* The module behind FUNCTION, "" when it is none: most call themselves as their module is called, some
 * leave the g_ away. */
static void find_module(const char *root, const char *function, char *module, size_t size)
{
    module[0] = '\0';
    if (is_legacy(function))
        (void)snprintf(module, size, "%s", function);
    else if (function[0] != '\0' && tree_exists(root, "/sys/module/g_%s", function))
        (void)snprintf(module, size, "g_%s", function);
}

static void missing_gadget(const char *udc, const char *gadget, struct findings *findings)
{
    findings_missing(findings,
                     "UDC %s: is held by another gadget, \"%s\": stop the service that made it, or "
                     "free it: echo | sudo tee " GADGETS "/%s/UDC",
                     udc, gadget, gadget);
}

static void missing_module(const char *udc, const char *module, struct findings *findings)
{
    findings_missing(
        findings,
        "UDC %s: is held by the kernel module %s: sudo modprobe -r %s, and take it out "
        "of modules-load= in cmdline.txt, /etc/modules and /etc/modules-load.d (on "
        "Raspberry Pi OS also: sudo rpi-usb-gadget off)",
        udc, module, module);
}

static void check_holder(const char *root, const char *udc, struct findings *findings)
{
    char gadget[TREE_NAME_BYTES], function[TREE_NAME_BYTES], module[TREE_NAME_BYTES + 2];

    read_function(root, udc, function, sizeof function);
    find_module(root, function, module, sizeof module);
    if (find_gadget(root, udc, gadget)) {
        if (is_ours(gadget))
            findings_ok(findings, "UDC %s: boda-courier has it", udc);
        else
            missing_gadget(udc, gadget, findings);
    } else if (is_ours(function)) { /* configfs is hidden from this user */
        findings_ok(findings, "UDC %s: boda-courier has it", udc);
    } else if (module[0] != '\0') {
        missing_module(udc, module, findings);
    } else if (function[0] != '\0') {
        findings_missing(findings, "UDC %s: is held by \"%s\": stop the program that uses it", udc,
                         function);
    }
}

/* Legacy modules that hold no UDC now would take the next one that is free. */
static void check_legacy(const char *root, const char *udc, struct findings *findings)
{
    char function[TREE_NAME_BYTES] = "", holder[TREE_NAME_BYTES + 2];
    struct tree_names modules;

    if (udc[0] != '\0')
        read_function(root, udc, function, sizeof function);
    find_module(root, function, holder, sizeof holder);
    tree_list(root, "g", &modules, "/sys/module");
    for (unsigned i = 0; i < modules.count; i++) {
        const char *module = modules.names[i];

        if (!is_legacy(module) || strcmp(module, holder) == 0)
            continue;
        findings_note(findings,
                      "module %s: is an old kind of gadget that takes a UDC for itself; when it is "
                      "not needed: sudo modprobe -r %s, and take it out of modules-load= in "
                      "cmdline.txt, /etc/modules and /etc/modules-load.d",
                      module, module);
    }
}

static void describe(const char *root, const char *udc, struct findings *findings)
{
    char speed[32], state[32];

    (void)tree_read(root, speed, sizeof speed, "/sys/class/udc/%s/maximum_speed", udc);
    (void)tree_read(root, state, sizeof state, "/sys/class/udc/%s/state", udc);
    findings_ok(findings, "UDC %s: up to %s, %s", udc, speed[0] != '\0' ? speed : "unknown speed",
                state[0] != '\0' ? state : "state unknown");
    if (strcmp(speed, "full-speed") == 0 || strcmp(speed, "low-speed") == 0)
        findings_note(findings, "UDC %s: is slow: about 1 MB a second", udc);
    if (strncmp(udc, "dummy_udc", 9) == 0)
        findings_note(
            findings,
            "UDC %s: is the kernel's stand-in, whose cable ends in this same machine: good "
            "for trials, no cable can be plugged in",
            udc);
}

/* The first that is free or ours, as boda-courier does without --udc; else the first. */
static const char *choose(const char *root, const struct tree_names *udcs)
{
    char gadget[TREE_NAME_BYTES], function[TREE_NAME_BYTES];

    for (unsigned i = 0; i < udcs->count; i++) {
        read_function(root, udcs->names[i], function, sizeof function);
        if (is_ours(function) ||
            (find_gadget(root, udcs->names[i], gadget) ? is_ours(gadget) : function[0] == '\0'))
            return udcs->names[i];
    }
    return udcs->names[0];
}

static const char *find(const struct tree_names *udcs, const char *name)
{
    for (unsigned i = 0; i < udcs->count; i++)
        if (strcmp(udcs->names[i], name) == 0)
            return udcs->names[i];
    return NULL;
}

void check_udc(const char *root, const char *wanted, struct findings *findings,
               char udc[TREE_NAME_BYTES])
{
    const char *chosen;
    struct tree_names udcs;
    char list[256];

    udc[0] = '\0';
    tree_list(root, "", &udcs, "/sys/class/udc");
    tree_join(&udcs, list, sizeof list);
    if (udcs.count == 0) {
        findings_missing(findings,
                         "UDC: there is none: no USB socket of this board can be a device's "
                         "now; see the board, below");
        check_legacy(root, "", findings);
        return;
    }
    if (wanted == NULL) {
        chosen = choose(root, &udcs);
        if (udcs.count > 1)
            findings_note(findings, "UDC: there are several (%s); --udc NAME chooses", list);
    } else {
        chosen = find(&udcs, wanted);
        if (chosen == NULL)
            findings_missing(findings, "UDC %s: there is none of this name; give one of: %s",
                             wanted, list);
    }
    if (chosen != NULL) {
        describe(root, chosen, findings);
        check_holder(root, chosen, findings);
    }
    check_legacy(root, chosen != NULL ? chosen : "", findings);
    /* When only the name was wrong, the board has one all the same. */
    memcpy(udc, chosen != NULL ? chosen : udcs.names[0], TREE_NAME_BYTES);
}
