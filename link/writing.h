/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Inside of the receiving half only: what came reaches the store.  Two groups take turns: while one is
 * written, by a thread with a connection of its own, the other one fills, as a disk that syncs leaves
 * the processor idle.  The thread lives for one transaction and sees only what does not change
 * meanwhile (group.h); all else, and whatever is to be durable at once, is done by the caller's.
 */
#ifndef BODA_LINK_WRITING_H
#define BODA_LINK_WRITING_H

#include "link/group.h"
#include "link/taking.h"

struct writing;

/* PAGE is the caller's, who fills it; verdicts change here, in writing_ calls alone. */
struct writing *writing_new(const struct taking_options *options, struct group_page *page,
                            struct error *error);

/* What is not yet written is lost: call writing_commit first.  NULL is harmless. */
void writing_free(struct writing *writing);

/* The page has been filled anew; everything of the one before is written. */
void writing_turn(struct writing *writing);

/* SIZE bytes of item I, whose `next` says where they belong; the hash is known if they end it. */
void writing_add(struct writing *writing, size_t i, const void *bytes, size_t size);

/* The group that fills has bytes; it has so many that it is to be written. */
bool writing_pending(const struct writing *writing);
bool writing_full(const struct writing *writing);

/* Have what is here written, by the thread: the group before is durable when this returns. */
int writing_begin(struct writing *writing, struct error *error);

/* 1 when the thread has finished, and what it wrote is durable; 0 when it has not, or has nothing to
 * do; -1. */
int writing_look(struct writing *writing, struct error *error);

/* Write everything.  A full disk is no fault: what found no room gets the verdict FULL.  After a fault
 * nothing that was not written counts any more. */
int writing_commit(struct writing *writing, struct error *error);

#endif
