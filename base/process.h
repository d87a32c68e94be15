/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What every program does with its own process before it does anything else.
 */
#ifndef BODA_BASE_PROCESS_H
#define BODA_BASE_PROCESS_H

#include "base/error.h"

/* Ignore SIGPIPE and SIGXFSZ, so that a peer that has gone and a file above RLIMIT_FSIZE are errors of
 * write(2); forbid core files, in which keys and records might end up. */
int process_prepare(struct error *error);

/* For programs whose memory is bounded though they hold large documents for a while: what was freed goes back to the
 * system.  Before any thread is there. */
void process_bound_memory(void);

#endif
