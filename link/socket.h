/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The transport over a Unix stream socket: "unix:PATH".
 */
#ifndef BODA_LINK_SOCKET_H
#define BODA_LINK_SOCKET_H

#include "link/link.h"

/* Connect to "unix:PATH".  NULL with ERROR_TEMPORARY while nobody listens there, ERROR_USAGE when
 * the address is not of that form. */
struct link *socket_connect(const char *address, struct error *error);

/* Listen at "unix:PATH" (mode 0600; a socket left by a dead process is replaced, one with a living
 * listener is refused).  The file descriptor, or -1.  The caller closes it with
 * socket_unlisten. */
int socket_listen(const char *address, struct error *error);
void socket_unlisten(int listener, const char *address);

/* Take the next connection, waiting at most TIMEOUT_MS: a link, or NULL with ERROR_TEMPORARY when
 * none came, or was interrupted by a signal. */
struct link *socket_accept(int listener, int timeout_ms, struct error *error);

/* A link over a connected stream socket that it then owns. */
struct link *socket_adopt(int fd, struct error *error);

#endif
