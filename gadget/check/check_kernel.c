/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/check/check_parts.h"

#include <errno.h>
#include <libaio.h>
#include <stdio.h>
#include <string.h>

#define CONFIGFS "/sys/kernel/config"
#define MODULES_MAX_BYTES 16777216 /* modules.dep of a distribution's kernel has about 1 MB */
#define SMALL_MAX_BYTES 262144
#define AIO_EVENTS 64

/* ---- modules ---- */

static bool read_release(const char *root, char *release, size_t size)
{
    return tree_read(root, release, size, "/proc/sys/kernel/osrelease") &&
           strchr(release, '/') == NULL && release[0] != '.';
}

/* The line of LIST whose first path is "FOLDERS/MODULE.ko" (or .ko.xz and the like); PATH becomes that. */
static bool find_line(const struct buffer *list, const char *module, char *path, size_t size)
{
    const char *first = (const char *)list->data, *at = first, *start, *stop;
    char file[TREE_NAME_BYTES + 8];

    (void)snprintf(file, sizeof file, "/%s.ko", module);
    while ((at = strstr(at, file)) != NULL) {
        for (start = at; start > first && start[-1] != '\n'; start--)
            ;
        stop = start + strcspn(start, ":\n");
        at += strlen(file);
        /* Behind the colon stands what the line's module needs. */
        if (at > stop || (size_t)(stop - start) >= size)
            continue;
        (void)snprintf(path, size, "%.*s", (int)(stop - start), start);
        return true;
    }
    return false;
}

static bool is_listed(const char *root, const char *release, const char *list, const char *module,
                      char *path, size_t size)
{
    struct buffer content = {0};
    bool found;

    if (!tree_load(root, MODULES_MAX_BYTES, &content, "/lib/modules/%s/%s", release, list))
        return false;
    found = find_line(&content, module, path, size);
    buffer_free(&content);
    return found;
}

enum check_module check_kernel_module(const char *root, const char *module)
{
    char release[128], path[256];

    if (tree_exists(root, "/sys/module/%s", module))
        return CHECK_MODULE_THERE;
    if (!read_release(root, release, sizeof release))
        return CHECK_MODULE_NONE;
    if (is_listed(root, release, "modules.builtin", module, path, sizeof path))
        return CHECK_MODULE_THERE;
    if (is_listed(root, release, "modules.dep", module, path, sizeof path) &&
        tree_exists(root, "/lib/modules/%s/%s", release, path))
        return CHECK_MODULE_LOADABLE;
    return CHECK_MODULE_NONE;
}

/* Is WORD one of a file's words?  A kernel that has everything built in may have no /lib/modules, but it
 * lists its file systems. */
static bool has_word(const char *root, const char *path, const char *word)
{
    struct buffer content = {0};
    bool found = false;
    char *state = NULL;

    if (!tree_load(root, SMALL_MAX_BYTES, &content, "%s", path))
        return false;
    for (char *at = strtok_r((char *)content.data, " \t\n", &state); at != NULL && !found;
         at = strtok_r(NULL, " \t\n", &state))
        found = strcmp(at, word) == 0;
    buffer_free(&content);
    return found;
}

static bool check_module(const char *root, const char *module, bool there, const char *option,
                         struct findings *findings)
{
    if (there) {
        findings_ok(findings, "kernel: has %s", module);
        return true;
    }
    if (check_kernel_module(root, module) == CHECK_MODULE_LOADABLE) {
        findings_ok(findings, "kernel: has %s, as a module that is not loaded now", module);
        return true;
    }
    findings_missing(findings,
                     "kernel: has no %s: install the package with the kernel's further modules, if "
                     "the distribution has one, or a kernel with %s",
                     module, option);
    return false;
}

/* After an update the modules of the kernel that still runs may be gone. */
static bool modules_are_gone(const char *root, struct findings *findings)
{
    char release[128];

    if (!read_release(root, release, sizeof release) || !tree_exists(root, "/lib/modules") ||
        tree_exists(root, "/lib/modules/%s", release))
        return false;
    findings_missing(
        findings,
        "kernel: the modules of the one that runs, %s, are not in /lib/modules, as after "
        "an update: sudo reboot",
        release);
    return true;
}

/* ---- configfs ---- */

/* boda-courier loads libcomposite and mounts configfs where that is still to be done. */
static void check_configfs(const char *root, bool loaded, bool can_have_it,
                           struct findings *findings)
{
    if (tree_exists(root, CONFIGFS "/usb_gadget"))
        findings_ok(findings, "configfs: " CONFIGFS "/usb_gadget is there");
    else if (!can_have_it)
        return; /* said already, with what to do */
    else if (!has_word(root, "/proc/self/mounts", CONFIGFS))
        findings_note(findings,
                      "configfs: is not mounted at " CONFIGFS
                      "; boda-courier does it at its start, as root; by hand: sudo modprobe "
                      "libcomposite, then sudo mount -t configfs none " CONFIGFS);
    else if (!loaded)
        findings_note(findings,
                      "configfs: has no usb_gadget yet; boda-courier loads libcomposite at "
                      "its start, as root; by hand: sudo modprobe libcomposite");
    else
        findings_missing(findings,
                         "configfs: " CONFIGFS " is mounted and libcomposite is loaded, but "
                         "there is no usb_gadget: see sudo dmesg; a kernel with "
                         "CONFIG_USB_CONFIGFS has it");
}

/* ---- asynchronous I/O, by which FunctionFS is read and written ---- */

static void check_aio(const char *root, struct findings *findings)
{
    io_context_t context = NULL;
    int result = -ENOSYS;

    if (tree_exists(root, "/proc/sys/fs/aio-max-nr"))
        result = io_setup(AIO_EVENTS, &context);
    if (result == 0) {
        (void)io_destroy(context);
        findings_ok(findings, "kernel: has asynchronous I/O");
    } else if (result == -EAGAIN) {
        findings_missing(findings, "kernel: other programs use all of its asynchronous I/O: sudo "
                                   "sysctl fs.aio-max-nr=65536");
    } else {
        findings_missing(findings,
                         "kernel: has no asynchronous I/O (%s): a kernel with CONFIG_AIO "
                         "is needed",
                         strerror(-result));
    }
}

void check_kernel(const char *root, struct findings *findings)
{
    bool composite = tree_exists(root, CONFIGFS "/usb_gadget") ||
                     check_kernel_module(root, "libcomposite") == CHECK_MODULE_THERE;
    bool functionfs = has_word(root, "/proc/filesystems", "functionfs") ||
                      check_kernel_module(root, "usb_f_fs") == CHECK_MODULE_THERE;
    bool can_have_it = false;

    if ((composite && functionfs) || !modules_are_gone(root, findings)) {
        can_have_it =
            check_module(root, "libcomposite", composite, "CONFIG_USB_CONFIGFS", findings);
        (void)check_module(root, "usb_f_fs", functionfs, "CONFIG_USB_CONFIGFS_F_FS", findings);
    }
    check_configfs(root, composite, can_have_it, findings);
    check_aio(root, findings);
}
