/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Questions of several requests to _revs_diff, put as one: a server answers one large question sooner than
 * several small ones, and a proof can wait while the server has other work.
 */
#ifndef BODA_HOST_DOCK_INQUIRY_H
#define BODA_HOST_DOCK_INQUIRY_H

#include <jansson.h>

#include "host/dock/cht.h"
#include "host/dock/parcel.h"

struct inquiry;
struct request_shared;

/* The answer to a question that MEMBER had a part in, and, if it is good, its JSON (else NULL; borrowed).
 * OTHERS: it was not alone in it.  Called from within cht_run, inquiry_send or inquiry_drop; it may ask
 * again. */
typedef void inquiry_done(void *member, const struct cht_answer *answer, const json_t *diff,
                          bool others);

/* SHARED is borrowed: its cht asks, and its counts are kept. */
struct inquiry *inquiry_new(struct request_shared *shared, inquiry_done *done, struct error *error);

/* What is under way must have ended. NULL is harmless. */
void inquiry_free(struct inquiry *inquiry);

/* Ask for the open items FROM to TO of PARCEL, as USER at PATH: with the next question that goes there. */
int inquiry_add(struct inquiry *inquiry, const struct cht_user *user, const char *path,
                const struct parcel *parcel, size_t from, size_t to, void *member,
                struct error *error);

/* The question that waits longest goes out; unless ANY will do, of those that are so large that nothing is
 * added any more: 1; 0 there is none; -1, and its members have been told. */
int inquiry_send(struct inquiry *inquiry, bool any, struct error *error);

/* Those that wait are not sent: DONE is called with CHT_UNAVAILABLE. */
void inquiry_drop(struct inquiry *inquiry);

#endif
