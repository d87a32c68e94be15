/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The drive of the gadget: a mass storage function with one removable LUN (the kernel's f_mass_storage, in configfs).
 * Needs root but where said otherwise.  GADGET is the gadget's name, boda-NAME.
 */
#ifndef BODA_GADGET_LUN_H
#define BODA_GADGET_LUN_H

#include <sys/types.h>
#include <usbg/usbg.h>

#include "base/error.h"

/* Add the function to the gadget and its configuration, the LUN empty, as it is before a card is in a reader.  -1 with
 * words when the kernel has no such function; the gadget is then as it was. */
int lun_add(usbg_gadget *gadget, usbg_config *configuration, const char *name, struct error *error);

/* Put IMAGE in.  It must be a file of USER's: it is looked for and opened with this user's rights and not with root's, so
 * that nobody who can write where it lies gets at anything else by a link. */
int lun_insert(const char *gadget, const char *image, uid_t user, gid_t group, struct error *error);

/* Take it out, if need be against the host's will, who is to be gone then.  0 also when nothing is in. */
int lun_eject(const char *gadget, struct error *error);

/* 1 something is in, 0 not (a host has ejected it), -1.  Needs no root. */
int lun_is_in(const char *gadget, struct error *error);

#endif
