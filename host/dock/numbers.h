/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Numbers that the operator gives on the command line.
 */
#ifndef BODA_HOST_DOCK_NUMBERS_H
#define BODA_HOST_DOCK_NUMBERS_H

#include <stdint.h>

#include "base/error.h"

/* WORD is a number from 1; -1 with ERROR_USAGE if it is none. */
int numbers_read(const char *word, int64_t *number, struct error *error);

#endif
