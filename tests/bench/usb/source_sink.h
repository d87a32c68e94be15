/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The yardstick: the kernel's own source and sink (usb_f_ss_lb) as the gadget, and libusb with as many and
 * as large transfers as link/bulk has.
 */
#ifndef BODA_TESTS_BENCH_USB_SOURCE_SINK_H
#define BODA_TESTS_BENCH_USB_SOURCE_SINK_H

#include <stdbool.h>
#include <stdint.h>

struct source_sink;

/* Sets the gadget up at the first UDC, opens it as a host.  Whatever fails ends the program. */
struct source_sink *source_sink_open(void);
void source_sink_close(struct source_sink *self);

/* BYTES to the host (IN) or from it; the seconds that it took. */
double source_sink_move(struct source_sink *self, bool in, uint64_t bytes);

#endif
