/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/lun.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <usbg/function/ms.h>

#include "gadget/view.h"

#define FUNCTION "drive"
#define PLACE VIEW_GADGETS "/%s/functions/mass_storage." FUNCTION "/lun.0/%s"
#define PATH_BYTES 256

int lun_add(usbg_gadget *gadget, usbg_config *configuration, const char *name, struct error *error)
{
    usbg_function *function;
    usbg_f_ms *storage;
    int result = usbg_create_function(gadget, USBG_F_MASS_STORAGE, FUNCTION, NULL, &function);

    if (result != USBG_SUCCESS)
        return view_error(
            result, name,
            "no drive: the kernel has no mass storage (it needs CONFIG_USB_CONFIGFS_MASS_STORAGE: modprobe "
            "usb_f_mass_storage)",
            error);
    storage = usbg_to_ms_function(function);
    result = usbg_f_ms_set_lun_removable(storage, 0, true);
    if (result == USBG_SUCCESS)
        result = usbg_add_config_function(configuration, NULL, function);
    if (result == USBG_SUCCESS)
        return 0;
    (void)usbg_rm_function(function, USBG_RM_RECURSE);
    return view_error(result, name, "no drive: mass storage cannot be set up", error);
}

static int open_attribute(const char *gadget, const char *attribute, int flags)
{
    char path[PATH_BYTES];

    if ((size_t)snprintf(path, sizeof path, PLACE, gadget, attribute) >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags | O_CLOEXEC);
}

/* One write is one value. */
static int write_attribute(const char *gadget, const char *attribute, const char *value)
{
    int fd = open_attribute(gadget, attribute, O_WRONLY), saved;
    ssize_t done;

    if (fd < 0)
        return -1;
    done = write(fd, value, strlen(value));
    saved = errno;
    (void)close(fd);
    errno = saved;
    return done == (ssize_t)strlen(value) ? 0 : -1;
}

/* As USER: the kernel opens what /proc/self/fd leads to, which is the file that was looked at. */
static int insert(int attribute, const char *image, uid_t user, struct error *error)
{
    int file = open(image, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    char path[64];
    struct stat status;
    int result = -1;

    if (file < 0)
        return error_errno(error, errno, "%s: cannot be opened", image);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != user)
        error_set(error, ERROR_REFUSED, "%s: is not a file of the courier's own", image);
    else if (write(attribute, path, strlen(path)) != (ssize_t)strlen(path))
        error_errno(error, errno, "%s: the kernel does not take it as a drive", image);
    else
        result = 0;
    (void)close(file);
    return result;
}

int lun_insert(const char *gadget, const char *image, uid_t user, gid_t group, struct error *error)
{
    uid_t own_user = geteuid();
    gid_t own_group = getegid();
    int attribute = open_attribute(gadget, "file", O_WRONLY), result = -1;

    if (attribute < 0)
        return error_errno(error, errno, "gadget %s: its drive is not there", gadget);
    if (setegid(group) != 0 || seteuid(user) != 0)
        error_errno(error, errno, "gadget %s: cannot act as the courier's user", gadget);
    else
        result = insert(attribute, image, user, error);
    if (seteuid(own_user) != 0 || setegid(own_group) != 0)
        result = error_errno(error, errno, "gadget %s: cannot be root again", gadget);
    (void)close(attribute);
    return result;
}

int lun_eject(const char *gadget, struct error *error)
{
    if (write_attribute(gadget, "file", "\n") == 0)
        return 0;
    /* A host that has gone without a word has forbidden it. */
    if (errno == EBUSY && write_attribute(gadget, "forced_eject", "1") == 0)
        return 0;
    return error_errno(error, errno, "gadget %s: the drive cannot be taken out", gadget);
}

int lun_is_in(const char *gadget, struct error *error)
{
    int fd = open_attribute(gadget, "file", O_RDONLY);
    char text[PATH_MAX + 64];
    ssize_t got;

    if (fd < 0)
        return error_errno(error, errno, "gadget %s: its drive is not there", gadget);
    got = read(fd, text, sizeof text);
    if (got < 0)
        error_errno(error, errno, "gadget %s: its drive cannot be asked", gadget);
    (void)close(fd);
    return got < 0 ? -1 : got > 0 && text[0] != '\n';
}
