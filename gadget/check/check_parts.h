/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The parts of the check, one file each; inside of `check` only.  ROOT is never NULL here.
 */
#ifndef BODA_GADGET_CHECK_PARTS_H
#define BODA_GADGET_CHECK_PARTS_H

#include "gadget/check/check.h"
#include "gadget/check/findings.h"
#include "base/tree.h"

/* Which UDC the courier would take (WANTED, may be NULL), and who holds it.  UDC becomes its name, ""
 * when there is none. */
void check_udc(const char *root, const char *wanted, struct findings *findings,
               char udc[TREE_NAME_BYTES]);

/* What board it is, and why it has no UDC ("") if it has none. */
void check_board(const char *root, const char *udc, struct findings *findings);

/* The same for a Raspberry Pi; NAME is what it has behind "Raspberry Pi ". */
void check_pi(const char *root, const char *name, const char *udc, struct findings *findings);

void check_kernel(const char *root, struct findings *findings);

/* Whether the running kernel has MODULE: in it, loaded, or to be loaded. */
enum check_module { CHECK_MODULE_NONE, CHECK_MODULE_LOADABLE, CHECK_MODULE_THERE };
enum check_module check_kernel_module(const char *root, const char *module);

/* What --drive needs beside it. */
void check_drive(const char *root, struct findings *findings);

/* Identity and store. */
void check_station(const char *root, const struct check_options *options,
                   struct findings *findings);

#endif
