/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The claim on a courier's name, on this board: a lock on its folder below /run/boda-courier, held for
 * life.  A gadget whose claim can be had is a dead courier's.
 */
#ifndef BODA_GADGET_CLAIM_H
#define BODA_GADGET_CLAIM_H

#include "base/error.h"

#define CLAIM_PATH_BYTES 256

/* Make the folder of the courier NAME (station_name_ok) and lock it.  A file descriptor, to be closed; -1
 * with ERROR_TEMPORARY when a living courier has it. */
int claim_take(const char *name, struct error *error);

/* "/run/boda-courier/NAME/WHAT". */
void claim_path(char path[CLAIM_PATH_BYTES], const char *name, const char *what);

#endif
