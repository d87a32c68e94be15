/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * For LD_PRELOAD, in the test machine: the cable is pulled while a program claims a courier's interface,
 * once.  UNPLUG names the file that disables the port, UNPLUG_WHEN is "before" (between open and claim)
 * or "after" (between claim and RESET).
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libusb.h>

#define GONE_MS 10000

/* Nobody knows a preloaded function's state but itself. */
static bool pulled;

/* Until the kernel has taken the device's node away. */
static void wait_until_gone(libusb_device_handle *handle)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    libusb_device *device = libusb_get_device(handle);
    char path[64];

    (void)snprintf(path, sizeof path, "/dev/bus/usb/%03u/%03u", libusb_get_bus_number(device),
                   libusb_get_device_address(device));
    for (int i = 0; i < GONE_MS && access(path, F_OK) == 0; i++)
        (void)nanosleep(&pause, NULL);
    (void)dprintf(STDERR_FILENO, "unplug_preload: %s\n",
                  access(path, F_OK) == 0 ? "the device does not go" : "the device has gone");
}

static void pull(libusb_device_handle *handle, const char *when)
{
    const char *file = getenv("UNPLUG"), *wanted = getenv("UNPLUG_WHEN");
    int fd;

    if (pulled || file == NULL || wanted == NULL || strcmp(wanted, when) != 0)
        return;
    pulled = true;
    fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) != 1)
        (void)dprintf(STDERR_FILENO, "unplug_preload: cannot write %s\n", file);
    if (fd >= 0)
        (void)close(fd);
    wait_until_gone(handle);
}

int libusb_claim_interface(libusb_device_handle *handle, int number)
{
    int (*real)(libusb_device_handle *, int);
    int code;

    /* POSIX: how a function is had from dlsym. */
    *(void **)&real = dlsym(RTLD_NEXT, "libusb_claim_interface");
    if (real == NULL)
        return LIBUSB_ERROR_OTHER;
    pull(handle, "before");
    code = real(handle, number);
    pull(handle, "after");
    return code;
}
