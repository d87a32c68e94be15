/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/check/check_parts.h"

#define MODULE "usb_f_mass_storage"

/* The programs that the drive is made and read by (gadget/drive_image.c), and the package of each. */
static const struct tool {
    const char *name, *package;
} tools[] = {
    {"mkfs.fat", "dosfstools"}, {"mcopy", "mtools"}, {"mdir", "mtools"}, {"mmd", "mtools"}};

/* Where gadget/drive_tool.c looks for them. */
static bool is_installed(const char *root, const char *tool)
{
    static const char *const places[] = {"/usr/bin", "/usr/sbin", "/bin", "/sbin"};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (tree_exists(root, "%s/%s", places[i], tool))
            return true;
    return false;
}

void check_drive(const char *root, struct findings *findings)
{
    bool whole = true;

    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++)
        if (!is_installed(root, tools[i].name)) {
            findings_missing(findings, "drive: %s is not installed: sudo apt-get install %s",
                             tools[i].name, tools[i].package);
            whole = false;
        }
    if (whole)
        findings_ok(findings, "drive: mtools and dosfstools are installed");
    switch (check_kernel_module(root, MODULE)) {
    case CHECK_MODULE_THERE:
        findings_ok(findings, "drive: the kernel has " MODULE);
        break;
    case CHECK_MODULE_LOADABLE:
        findings_ok(findings,
                    "drive: the kernel has " MODULE ", as a module that is not loaded now");
        break;
    default:
        findings_missing(
            findings,
            "drive: the kernel has no " MODULE
            ": install the package with the kernel's further modules, if the "
            "distribution has one, or a kernel with CONFIG_USB_CONFIGFS_MASS_STORAGE; the "
            "cable works without it");
    }
}
