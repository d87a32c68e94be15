/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/usb_fault.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libusb.h>

#define RULES "70-boda.rules"
#define HOLDERS_MOST 3
#define COMM_BYTES 64

void usb_fault_name(const struct usb_fault_place *place, char name[USB_FAULT_NAME_BYTES])
{
    if (place->bus != 0)
        (void)snprintf(name, USB_FAULT_NAME_BYTES, "usb:%03u:%03u", place->bus, place->device);
    else
        (void)snprintf(name, USB_FAULT_NAME_BYTES, "usb-fd:%d", place->fd);
}

/* ---- who has it open ---- */

static bool is_number(const char *name)
{
    return name[0] != '\0' && name[strspn(name, "0123456789")] == '\0';
}

/* The process whose folder is /proc/PID has PATH open; false also when it may not be looked into. */
static bool has_open(const char *pid, const char *path)
{
    char name[PATH_MAX], target[PATH_MAX];
    struct dirent *entry;
    bool found = false;
    DIR *fds;

    (void)snprintf(name, sizeof name, "/proc/%s/fd", pid);
    fds = opendir(name);
    if (fds == NULL)
        return false;
    while (!found && (entry = readdir(fds)) != NULL) {
        ssize_t length = readlinkat(dirfd(fds), entry->d_name, target, sizeof target - 1);

        if (length < 0)
            continue;
        target[length] = '\0';
        found = strcmp(target, path) == 0;
    }
    (void)closedir(fds);
    return found;
}

static void read_comm(const char *pid, char comm[COMM_BYTES])
{
    char name[PATH_MAX];
    FILE *file;

    (void)snprintf(name, sizeof name, "/proc/%s/comm", pid);
    file = fopen(name, "re");
    if (file == NULL || fgets(comm, COMM_BYTES, file) == NULL)
        (void)snprintf(comm, COMM_BYTES, "a program");
    comm[strcspn(comm, "\n")] = '\0';
    if (file != NULL)
        (void)fclose(file);
}

void usb_fault_holders(const char *path, char *text, size_t size)
{
    char own[16], comm[COMM_BYTES];
    struct dirent *entry;
    size_t used = 0;
    int found = 0;
    DIR *processes = opendir("/proc");

    (void)snprintf(own, sizeof own, "%ld", (long)getpid());
    while (processes != NULL && found < HOLDERS_MOST && used < size &&
           (entry = readdir(processes)) != NULL) {
        if (!is_number(entry->d_name) || strcmp(entry->d_name, own) == 0 ||
            !has_open(entry->d_name, path))
            continue;
        read_comm(entry->d_name, comm);
        used += (size_t)snprintf(text + used, size - used, "%s%s (process %s)",
                                 found > 0 ? ", " : "", comm, entry->d_name);
        found++;
    }
    if (processes != NULL)
        (void)closedir(processes);
    if (found == 0)
        (void)snprintf(text, size, "another user's program");
}

/* ---- words ---- */

static int busy(struct error *error, const struct usb_fault_place *place, const char *name)
{
    char path[64], holders[256];

    if (place->bus == 0)
        return error_set(
            error, ERROR_TEMPORARY,
            "courier at %s: another program has it; end that program, and it is tried again", name);
    (void)snprintf(path, sizeof path, "/dev/bus/usb/%03u/%03u", place->bus, place->device);
    usb_fault_holders(path, holders, sizeof holders);
    return error_set(error, ERROR_TEMPORARY,
                     "courier at %s: %s has it; end that, and it is tried again", name, holders);
}

/* Where udev looks for rules, udev(7). */
static bool has_rules(void)
{
    static const char *const paths[] = {"/usr/lib/udev/rules.d/" RULES, "/etc/udev/rules.d/" RULES,
                                        "/lib/udev/rules.d/" RULES, "/run/udev/rules.d/" RULES,
                                        "/usr/local/lib/udev/rules.d/" RULES};

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (access(paths[i], F_OK) == 0)
            return true;
    }
    return false;
}

static int denied(struct error *error, const char *name)
{
    if (!has_rules())
        return error_set(
            error, ERROR_REFUSED,
            "courier at %s: permission denied, as the file /usr/lib/udev/rules.d/" RULES
            " is missing; install it, and plug the courier in again",
            name);
    return error_set(
        error, ERROR_REFUSED,
        "courier at %s: permission denied, as this user is neither at the screen of this machine "
        "nor in the group boda; add the user to the group, and log in again",
        name);
}

int usb_fault_set(struct error *error, const struct usb_fault_place *place, int code,
                  const char *what)
{
    char name[USB_FAULT_NAME_BYTES];

    usb_fault_name(place, name);
    switch (code) {
    case LIBUSB_ERROR_NO_DEVICE:
    case LIBUSB_ERROR_NOT_FOUND: /* no such interface any more: configured anew or not at all */
        return error_set(error, ERROR_CLOSED, "courier at %s: went away while it was opened", name);
    case LIBUSB_ERROR_BUSY:
        return busy(error, place, name);
    case LIBUSB_ERROR_ACCESS:
        return denied(error, name);
    case LIBUSB_ERROR_NO_MEM:
        return error_set(
            error, ERROR_TEMPORARY,
            "courier at %s: no memory for transfers; other programs may have taken what "
            "/sys/module/usbcore/parameters/usbfs_memory_mb allows",
            name);
    case LIBUSB_ERROR_PIPE: /* the answer to a request that is not known */
        return error_set(error, ERROR_TEMPORARY,
                         "courier at %s: %s: it does not know the request; unplug it, unless it is "
                         "no courier (a phone with USB debugging looks like one)",
                         name, what);
    default:
        return error_set(error, ERROR_TEMPORARY,
                         "courier at %s: %s: %s; unplug it and plug it in again", name, what,
                         libusb_strerror(code));
    }
}
