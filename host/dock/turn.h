/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Whose turn it is to replay.  Several processes of boda-dock may share a store: one for each courier that
 * is plugged in, and an upload beside them.  Each has a cable of its own, but one at a time replays, so
 * that the server is sent each document once.
 *
 * The turn is a flock(2) on replay.lock in the store's folder: the kernel gives it back when its holder
 * dies, however that happens.
 */
#ifndef BODA_HOST_DOCK_TURN_H
#define BODA_HOST_DOCK_TURN_H

#include "base/error.h"

/* Take the turn at the store in the folder DIRECTORY, which must be there: 1, and *TURN is to be given back;
 * 0, another process has it; -1.  Does not wait.  *TURN is -1 unless taken. */
int turn_take(const char *directory, int *turn, struct error *error);

/* Harmless with -1. */
void turn_give(int turn);

#endif
