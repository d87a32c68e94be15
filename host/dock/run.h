/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The work of the dock (docs/dock.md): the cable and the server, which never wait for each other.
 */
#ifndef BODA_HOST_DOCK_RUN_H
#define BODA_HOST_DOCK_RUN_H

#include "host/dock/dock.h"

/* Replay what the store holds and make the receipts that are due.  -1 as replay_run. */
int run_upload(struct dock *dock, struct error *error);

/* Visit the courier at ADDRESS, replay, visit again, until nothing moves.  -1 with ERROR_TEMPORARY or
 * ERROR_CLOSED when the courier or the server was not there. */
int run_once(struct dock *dock, const char *address, struct error *error);

/* Serve couriers at ADDRESS and replay what they bring, until *dock->stop.  -1 only for what going on
 * will not mend. */
int run_forever(struct dock *dock, const char *address, struct error *error);

#endif
