/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/configfs.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/log.h"
#include "gadget/claim.h"
#include "gadget/lun.h"
#include "gadget/module.h"
#include "gadget/serial.h"
#include "gadget/udc.h"
#include "gadget/view.h"
#include "store/station.h"

#define MOUNT "ffs" /* below the courier's folder */
#define PATH_BYTES (sizeof VIEW_GADGETS + VIEW_GADGET_BYTES)
#define VENDOR_CODE \
    0x42 /* bRequest by which Windows asks for the descriptors below; any but ours */
#define MAX_POWER_MA 500
#define BUS_POWERED 0x80
#define LEFT "was a killed courier's, removed"
#define MAGIC 0x62656570 /* configfs, statfs(2) */

struct configfs {
    char name[STORE_NAME_BYTES];
    char gadget[VIEW_GADGET_BYTES];
    char folder[CLAIM_PATH_BYTES];
    char serial[SERIAL_BYTES];    /* also the name of the functionfs, which may have 35 bytes */
    char wanted[TREE_NAME_BYTES]; /* the UDC asked for; "": any */
    char udc[TREE_NAME_BYTES];
    int claim;
    bool drive;
};

/* ---- the kernel's side ---- */

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static int mount_configfs(struct error *error)
{
    struct statfs status;

    if (statfs(VIEW_CONFIGFS, &status) == 0 && status.f_type == MAGIC)
        return 0;
    if (mount("none", VIEW_CONFIGFS, "configfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0)
        return 0;
    return error_errno(error, errno,
                       "configfs: cannot be mounted at " VIEW_CONFIGFS
                       "; the kernel needs CONFIG_CONFIGFS_FS");
}

static int prepare_kernel(struct error *error)
{
    struct error load = {.text = ""};

    if (is_there(VIEW_GADGETS))
        return 0;
    (void)module_load("libcomposite", &load);
    if (mount_configfs(error) != 0)
        goto why;
    if (is_there(VIEW_GADGETS))
        return 0;
    error_set(error, ERROR_FAILED,
              "gadget: the kernel has no USB gadgets in configfs; it needs libcomposite "
              "(CONFIG_USB_CONFIGFS) and CONFIG_USB_CONFIGFS_F_FS");
why:
    if (load.text[0] != '\0')
        error_prefix(error, "%s", load.text);
    return -1;
}

/* ---- down ---- */

/* A dead courier's mount may be in use by what is left of its worker: then it goes when that does. */
static int unmount(const char *name, struct error *error)
{
    char path[CLAIM_PATH_BYTES];

    claim_path(path, name, MOUNT);
    while (umount2(path, UMOUNT_NOFOLLOW) == 0 ||
           (errno == EBUSY && umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) == 0))
        ;
    if (errno != EINVAL && errno != ENOENT) /* EINVAL: nothing is mounted there */
        return error_errno(error, errno, "%s: cannot be unmounted", path);
    if (rmdir(path) != 0 && errno != ENOENT)
        return error_errno(error, errno, "%s: cannot be removed", path);
    return 0;
}

/* Everything of the courier NAME, whose claim is held: what is there of it goes. */
static int take_down(const char *name, struct error *error)
{
    char path[PATH_BYTES], udc[TREE_NAME_BYTES];
    struct view view;
    int result;

    snprintf(path, sizeof path, VIEW_GADGETS "/" VIEW_PREFIX "%s", name);
    if (!is_there(path))
        return unmount(name, error);
    if (view_open(&view, name, error) != 0)
        return -1;
    udc_of("", usbg_get_gadget_name(view.gadget), udc);
    result = udc[0] != '\0' ? usbg_disable_gadget(view.gadget) : USBG_SUCCESS;
    if (result != USBG_SUCCESS) {
        view_error(result, name, "cannot be taken from its UDC", error);
    } else if (unmount(name, error) != 0) {
        result = -1;
    } else {
        /* All in it goes, but of itself the view has a link alone. */
        (void)usbg_rm_gadget(view.gadget, USBG_RM_RECURSE);
        result = rmdir(path);
        if (result != 0)
            error_errno(error, errno, "%s: cannot be removed", path);
    }
    view_close(&view);
    return result == 0 ? 0 : -1;
}

/* What couriers have left that were killed.  Living ones are left alone. */
static void sweep(void)
{
    DIR *folder = opendir(VIEW_GADGETS);
    struct dirent *entry;
    struct error error;
    int claim;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name + strlen(VIEW_PREFIX);

        if (strncmp(entry->d_name, VIEW_PREFIX, strlen(VIEW_PREFIX)) != 0 || !station_name_ok(name))
            continue;
        claim = claim_take(name, &error);
        if (claim < 0 && error.kind == ERROR_TEMPORARY)
            continue;
        if (claim >= 0 && take_down(name, &error) == 0)
            log_info("gadget %s: " LEFT, entry->d_name);
        else
            log_warning("%s", error.text);
        if (claim >= 0)
            (void)close(claim);
    }
    if (folder != NULL)
        (void)closedir(folder);
}

/* ---- up ---- */

static int set_identity(const struct configfs *configfs, usbg_gadget *gadget)
{
    static const struct usbg_gadget_attrs attributes = {.bcdUSB = 0x0200,
                                                        .bMaxPacketSize0 = 64,
                                                        .idVendor = 0x1d6b,
                                                        .idProduct = 0x0104,
                                                        .bcdDevice = 0x0010};
    char manufacturer[] = "Boda", product[sizeof "Boda courier " + STORE_NAME_BYTES],
         sign[] = "MSFT100";
    struct usbg_gadget_strs strings = {
        .manufacturer = manufacturer, .product = product, .serial = (char *)configfs->serial};
    /* Microsoft OS 1.0 descriptors; functionfs adds what is in them. */
    const struct usbg_gadget_os_descs system = {
        .use = true, .b_vendor_code = VENDOR_CODE, .qw_sign = sign};
    int result;

    snprintf(product, sizeof product, "Boda courier %s", configfs->name);
    result = usbg_set_gadget_attrs(gadget, &attributes);
    if (result == USBG_SUCCESS)
        result = usbg_set_gadget_strs(gadget, LANG_US_ENG, &strings);
    if (result == USBG_SUCCESS)
        result = usbg_set_gadget_os_descs(gadget, &system);
    return result;
}

static int set_configuration(usbg_gadget *gadget, usbg_function *function, usbg_config **out)
{
    usbg_config *configuration;
    int result = usbg_create_config(gadget, 1, "c", NULL, NULL, &configuration);

    *out = configuration;

    if (result == USBG_SUCCESS)
        result = usbg_set_config_string(configuration, LANG_US_ENG, "Boda");
    if (result == USBG_SUCCESS)
        result = usbg_set_config_bm_attrs(configuration, BUS_POWERED);
    if (result == USBG_SUCCESS)
        result = usbg_set_config_max_power(configuration, MAX_POWER_MA);
    if (result == USBG_SUCCESS)
        result = usbg_add_config_function(configuration, NULL, function);
    if (result == USBG_SUCCESS)
        result = usbg_set_os_desc_config(gadget, configuration);
    return result;
}

/* The cable goes on without it. */
static void add_drive(struct configfs *configfs, usbg_gadget *gadget, usbg_config *configuration)
{
    struct error error;

    configfs->drive = lun_add(gadget, configuration, configfs->name, &error) == 0;
    if (!configfs->drive)
        log_warning("%s", error.text);
}

static int make_gadget(struct configfs *configfs, bool drive, struct error *error)
{
    char path[PATH_BYTES];
    usbg_config *configuration;
    usbg_function *function;
    struct view view;
    int result;

    snprintf(path, sizeof path, VIEW_GADGETS "/%s", configfs->gadget);
    if (mkdir(path, 0755) != 0)
        return error_errno(error, errno, "%s: cannot be made", path);
    if (view_open(&view, configfs->name, error) != 0)
        return -1;
    result = set_identity(configfs, view.gadget);
    if (result != USBG_SUCCESS) {
        view_error(result, configfs->name, "its numbers and names cannot be set", error);
        goto out;
    }
    result = usbg_create_function(view.gadget, USBG_F_FFS, configfs->serial, NULL, &function);
    if (result != USBG_SUCCESS) {
        view_error(
            result, configfs->name,
            "FunctionFS cannot be added (the kernel needs CONFIG_USB_CONFIGFS_F_FS: modprobe "
            "usb_f_fs)",
            error);
        goto out;
    }
    result = set_configuration(view.gadget, function, &configuration);
    if (result != USBG_SUCCESS)
        view_error(result, configfs->name, "its configuration cannot be made", error);
    else if (drive)
        add_drive(configfs, view.gadget, configuration);
out:
    view_close(&view);
    return result == USBG_SUCCESS ? 0 : -1;
}

static int mount_functionfs(const struct configfs *configfs, const struct configfs_options *options,
                            struct error *error)
{
    char words[96];

    if (mkdir(configfs->folder, 0755) != 0)
        return error_errno(error, errno, "%s: cannot be made", configfs->folder);
    snprintf(words, sizeof words, "uid=%u,gid=%u,rmode=0500,fmode=0600", (unsigned)options->user,
             (unsigned)options->group);
    if (mount(configfs->serial, configfs->folder, "functionfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              words) != 0)
        return error_errno(error, errno, "%s: functionfs cannot be mounted", configfs->folder);
    return 0;
}

static int make_serial(struct configfs *configfs, struct error *error)
{
    int found = serial_make("", configfs->name, configfs->serial, error);

    if (found == 0)
        log_warning(
            "gadget %s: the board has no number of its own (serial-number, machine-id); its "
            "USB serial number follows from the name alone",
            configfs->gadget);
    return found < 0 ? -1 : 0;
}

static int set_up(struct configfs *configfs, const struct configfs_options *options,
                  struct error *error)
{
    char path[PATH_BYTES];
    bool left;

    if (prepare_kernel(error) != 0 || make_serial(configfs, error) != 0)
        return -1;
    sweep();
    /* Its own leftovers, whose claim the sweep could not have: they are in the way. */
    snprintf(path, sizeof path, VIEW_GADGETS "/%s", configfs->gadget);
    left = is_there(path);
    if (take_down(configfs->name, error) != 0)
        return -1;
    if (left)
        log_info("gadget %s: " LEFT, configfs->gadget);
    if (make_gadget(configfs, options->drive, error) == 0 &&
        mount_functionfs(configfs, options, error) == 0)
        return 0;
    (void)take_down(configfs->name, NULL);
    return -1;
}

struct configfs *configfs_open(const struct configfs_options *options, struct error *error)
{
    struct configfs *configfs;

    if (!station_name_ok(options->name)) {
        error_set(error, ERROR_USAGE, "gadget: '%s' is no courier's name", options->name);
        return NULL;
    }
    configfs = calloc(1, sizeof *configfs);
    if (configfs == NULL) {
        error_set(error, ERROR_FAILED, "gadget: no memory");
        return NULL;
    }
    snprintf(configfs->name, sizeof configfs->name, "%s", options->name);
    snprintf(configfs->gadget, sizeof configfs->gadget, VIEW_PREFIX "%s", options->name);
    if (options->udc != NULL)
        snprintf(configfs->wanted, sizeof configfs->wanted, "%s", options->udc);
    claim_path(configfs->folder, options->name, MOUNT);
    configfs->claim = claim_take(options->name, error);
    if (configfs->claim < 0 || set_up(configfs, options, error) != 0) {
        if (configfs->claim >= 0)
            (void)close(configfs->claim);
        free(configfs);
        return NULL;
    }
    return configfs;
}

const char *configfs_folder(const struct configfs *configfs)
{
    return configfs->folder;
}

const char *configfs_gadget(const struct configfs *configfs)
{
    return configfs->gadget;
}

bool configfs_has_drive(const struct configfs *configfs)
{
    return configfs->drive;
}

const char *configfs_udc(const struct configfs *configfs)
{
    return configfs->udc;
}

/* ---- bound ---- */

/* Not bound, though registered: its UDC has gone, or something else took it. */
static int let_go(struct view *view, const struct configfs *configfs, struct error *error)
{
    int result = usbg_disable_gadget(view->gadget);

    if (result != USBG_SUCCESS)
        return view_error(result, configfs->name, "cannot be taken from its UDC", error);
    return 0;
}

static int enable(struct view *view, const struct configfs *configfs, const char *udc,
                  struct error *error)
{
    usbg_udc *found = usbg_get_udc(view->state, udc);
    int result = found != NULL ? usbg_enable_gadget(view->gadget, found) : USBG_ERROR_NOT_FOUND;

    if (result == USBG_SUCCESS)
        return 0;
    view_error(result, configfs->name, "the kernel does not bind it (dmesg may tell why)", error);
    error_prefix(error, "UDC %s", udc);
    /* It went, or another was quicker, just now; or what it says changes with the next try. */
    error->kind = ERROR_TEMPORARY;
    return -1;
}

int configfs_bind(struct configfs *configfs, struct error *error)
{
    char registered[TREE_NAME_BYTES], udc[TREE_NAME_BYTES];
    struct view view;
    int result = -1;

    udc_of("", configfs->gadget, registered);
    if (registered[0] != '\0' && udc_is_driven_by("", registered, configfs->gadget)) {
        memcpy(configfs->udc, registered, sizeof registered);
        return 0;
    }
    configfs->udc[0] = '\0';
    if (view_open(&view, configfs->name, error) != 0)
        return -1;
    if ((registered[0] == '\0' || let_go(&view, configfs, error) == 0) &&
        udc_choose("", configfs->wanted[0] != '\0' ? configfs->wanted : NULL, configfs->gadget, udc,
                   error) == 0 &&
        enable(&view, configfs, udc, error) == 0) {
        memcpy(configfs->udc, udc, sizeof udc);
        result = 0;
    }
    view_close(&view);
    return result;
}

void configfs_close(struct configfs *configfs)
{
    struct error error;

    if (configfs == NULL)
        return;
    if (take_down(configfs->name, &error) != 0)
        log_warning("%s", error.text);
    (void)close(configfs->claim);
    free(configfs);
}
