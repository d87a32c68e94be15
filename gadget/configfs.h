/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The board as a USB gadget in configfs (libusbgx): set up, bound to a UDC, and taken down completely.
 * Needs root.  The interface itself is functionfs.h's.
 */
#ifndef BODA_GADGET_CONFIGFS_H
#define BODA_GADGET_CONFIGFS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct configfs;

struct configfs_options {
    const char *name; /* the courier's; the gadget is called boda-NAME */
    const char *udc;  /* as in /sys/class/udc; NULL: the first that is free */
    uid_t user;       /* whose the functionfs files are */
    gid_t group;
    bool
        drive; /* with mass storage (gadget/lun.h) beside it, if the kernel has that: else a log line says so */
};

/* Load libcomposite and mount configfs where that is still to be done, take down what a killed courier
 * has left (gadget and mount), make gadget and configuration, mount functionfs.  Not yet bound.
 * ERROR_FAILED with what to do; ERROR_TEMPORARY when another living courier has this name. */
struct configfs *configfs_open(const struct configfs_options *options, struct error *error);

/* Where functionfs is mounted; owned by CONFIGFS. */
const char *configfs_folder(const struct configfs *configfs);

/* The gadget's name, boda-NAME, and whether it has its drive. */
const char *configfs_gadget(const struct configfs *configfs);
bool configfs_has_drive(const struct configfs *configfs);

/* Bind to the UDC, once functionfs has its descriptors; also again, after the UDC has gone and come
 * back (0 when it is bound already and its UDC is there).  ERROR_TEMPORARY: no UDC is there, or
 * another gadget holds it (it is named); try again in a second. */
int configfs_bind(struct configfs *configfs, struct error *error);

/* The UDC that it is bound to, as the last configfs_bind left it; "" if none. */
const char *configfs_udc(const struct configfs *configfs);

/* Unbind, unmount, remove all of it.  What cannot be removed is logged.  NULL is harmless. */
void configfs_close(struct configfs *configfs);

#endif
