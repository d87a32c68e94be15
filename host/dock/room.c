/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/room.h"

bool room_take(struct room *room, const void *who, size_t bytes)
{
    if (room->next != NULL && room->next != who)
        return false;
    if (bytes > ROOM_BYTES - room->used) {
        room->next = who;
        return false;
    }
    room->next = NULL;
    room->used += bytes;
    return true;
}

void room_give(struct room *room, size_t bytes)
{
    room->used -= bytes;
}

void room_leave(struct room *room, const void *who)
{
    if (room->next == who)
        room->next = NULL;
}
