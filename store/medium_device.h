/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Whether the block device under a medium is still there.  Of one that was pulled, Linux says anything: that what is
 * written to it is written, that it is full; but it has no size any more.
 */
#ifndef BODA_STORE_MEDIUM_DEVICE_H
#define BODA_STORE_MEDIUM_DEVICE_H

#include <stdbool.h>

struct medium_device {
    char size[64]; /* the file that says its size; "": there is no such device */
};

/* The device of the file system that FD is on. */
void medium_device_find(int fd, struct medium_device *device);

/* It was there, and is not any more. */
bool medium_device_is_gone(const struct medium_device *device);

#endif
