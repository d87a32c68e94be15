/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * An in-memory pair of links for tests: what one end writes the other reads; lossy, slow, or cut at
 * byte N.  Both ends may be in one thread or in two.
 */
#ifndef BODA_LINK_PAIR_H
#define BODA_LINK_PAIR_H

#include <stdint.h>

#include "link/link.h"

struct pair_faults {
    size_t capacity_bytes; /* how much is in flight each way at most; 0: 65536 */
    size_t most_bytes;     /* most a single read or write moves; 0: no limit */
    uint64_t cut_at_byte;  /* both ends see ERROR_CLOSED after this many bytes from end 0 plus end
                                  1; what is in flight then is lost; 0: never */
    uint64_t flip_at_byte; /* a bit of this byte (counted from 1, both ways) is flipped; 0: never */
    uint64_t drop_at_byte; /* this byte is lost; 0: never */
    unsigned stall_one_in; /* one call in so many does nothing (as if not ready); 0: never */
    uint64_t seed;         /* for the stalls */
};

/* Two ends of one pair; each is closed on its own.  0, -1. */
int pair_new(const struct pair_faults *faults, struct link *ends[2], struct error *error);

#endif
