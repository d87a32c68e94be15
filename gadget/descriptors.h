/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What functionfs tells a host of the courier's interface, at full, high and super speed, with the
 * Microsoft OS 1.0 descriptor that makes Windows take WinUSB (docs/protocol.md, "USB").
 */
#ifndef BODA_GADGET_DESCRIPTORS_H
#define BODA_GADGET_DESCRIPTORS_H

#include "base/error.h"

/* Write descriptors and strings to EP0, which is fresh.  The first endpoint (ep1) is bulk IN, the second
 * (ep2) bulk OUT. */
int descriptors_write(int ep0, struct error *error);

#endif
