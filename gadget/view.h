/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * One gadget of configfs as libusbgx sees it; inside of `configfs` only.
 *
 * libusbgx 0.2.0 reads every gadget there is, and gives up when one has a function that it does not know
 * (uvc, printer, uac1), whoever's it is.  So it is shown a folder that has the one gadget alone, by a link.
 */
#ifndef BODA_GADGET_VIEW_H
#define BODA_GADGET_VIEW_H

#include <usbg/usbg.h>

#include "base/error.h"

#define VIEW_CONFIGFS "/sys/kernel/config"
#define VIEW_GADGETS VIEW_CONFIGFS "/usb_gadget"
#define VIEW_PREFIX "boda-"  /* "boda-NAME" is the gadget of the courier NAME */
#define VIEW_GADGET_BYTES 72 /* a gadget's name */

struct view {
    usbg_state *state;
    usbg_gadget *gadget;
};

/* The gadget of the courier NAME, whose claim is held; the gadget's folder is there. */
int view_open(struct view *view, const char *name, struct error *error);
void view_close(struct view *view);

/* -1 for what libusbgx returned, with its words. */
int view_error(int result, const char *name, const char *what, struct error *error);

#endif
