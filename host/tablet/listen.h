/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Listening sockets on the loopback, and there alone.
 */
#ifndef BODA_HOST_TABLET_LISTEN_H
#define BODA_HOST_TABLET_LISTEN_H

#include "base/error.h"

#define LISTEN_MOST 2 /* 127.0.0.1 and ::1 */

/* Listen at "HOST:PORT", HOST being 127.0.0.1, localhost or [::1]: on 127.0.0.1 and on ::1, whichever
 * is named; a machine without ::1 goes without.  PORT 0: a free one, the same on both.  Each address
 * is logged.  The number of descriptors in FDS, or -1 (ERROR_USAGE when the address is another). */
int listen_loopback(const char *address, int fds[LISTEN_MOST], struct error *error);

#endif
