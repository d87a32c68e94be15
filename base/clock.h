/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Time for time-outs: milliseconds of the monotonic clock.  Nothing is ordered or trusted by it.
 */
#ifndef BODA_BASE_CLOCK_H
#define BODA_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_ms(void);

/* "2026-01-31T12:00:00Z" of the wall clock, for people to read only; TEXT has CLOCK_TEXT_BYTES. */
#define CLOCK_TEXT_BYTES 32
void clock_text(char *text);

#endif
