/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The serial number that the courier shows over USB: the same at each start, another one on each board
 * and for each name, and nothing that tells of the board's own numbers (machine-id(5) asks for that).
 */
#ifndef BODA_GADGET_SERIAL_H
#define BODA_GADGET_SERIAL_H

#include "base/error.h"

#define SERIAL_BYTES 17 /* 16 hexadecimal digits and a zero */

/* Made of NAME and the first of these that there is below ROOT ("" but for tests): the SoC's serial number
 * as the device tree or /proc/cpuinfo tells it, /etc/machine-id.  1; 0 when there is none of them, so
 * that NAME alone decides; -1. */
int serial_make(const char *root, const char *name, char serial[SERIAL_BYTES], struct error *error);

#endif
