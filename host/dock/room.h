/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A bound on the bytes of answers that may be in memory at once, shared by all that ask.  All zero: empty.
 */
#ifndef BODA_HOST_DOCK_ROOM_H
#define BODA_HOST_DOCK_ROOM_H

#include <stdbool.h>
#include <stddef.h>

#define ROOM_BYTES (48u << 20)

struct room {
    size_t used;
    const void *next; /* who waits for much, so that many who want little do not keep it waiting */
};

/* Take BYTES, at most ROOM_BYTES, for WHO: false when they are not free; then WHO asks again, or leaves. */
bool room_take(struct room *room, const void *who, size_t bytes);
void room_give(struct room *room, size_t bytes);

/* WHO will not ask again. */
void room_leave(struct room *room, const void *who);

#endif
