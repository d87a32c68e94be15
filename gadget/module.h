/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Modules of the kernel.
 */
#ifndef BODA_GADGET_MODULE_H
#define BODA_GADGET_MODULE_H

#include "base/error.h"

/* modprobe(8) NAME, within 10 s.  Also -1 where the kernel has it built in and no modprobe is there: look
 * whether what the module gives is there now. */
int module_load(const char *name, struct error *error);

#endif
