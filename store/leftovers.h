/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Temporary files that an export which was killed, or lost its power or its stick, has left on a medium.
 */
#ifndef BODA_STORE_LEFTOVERS_H
#define BODA_STORE_LEFTOVERS_H

#include "store/medium.h"

/* Remove them; MEDIUM must be locked.  Not one that has the bytes of a file of Boda's that is there: after a power cut
 * in the middle of a rename both names may be on a FAT medium, with the same clusters, and removing one would take the
 * bytes of the other.  Folders stay: to look into one that a power cut has torn makes Linux mount a FAT medium
 * read-only. */
int leftovers_remove(struct medium *medium, struct error *error);

#endif
