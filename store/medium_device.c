/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/medium_device.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static bool has_size(const char *file)
{
    char text[32] = "0";
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    (void)!read(fd, text, sizeof text - 1);
    (void)close(fd);
    return strtoull(text, NULL, 10) > 0;
}

void medium_device_find(int fd, struct medium_device *device)
{
    struct stat status;

    device->size[0] = '\0';
    if (fstat(fd, &status) != 0)
        return;
    (void)snprintf(device->size, sizeof device->size, "/sys/dev/block/%u:%u/size",
                   major(status.st_dev), minor(status.st_dev));
    if (!has_size(device->size))
        device->size[0] = '\0';
}

bool medium_device_is_gone(const struct medium_device *device)
{
    return device->size[0] != '\0' && !has_size(device->size);
}
