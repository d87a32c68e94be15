/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Who may come in by HTTP: other programs and web pages on the tablet are strangers.
 */
#ifndef BODA_HOST_TABLET_DOOR_H
#define BODA_HOST_TABLET_DOOR_H

#include <stdbool.h>

#include "base/secret.h"

/* HOST (a Host header, may be NULL) names this machine as 127.0.0.1, localhost or [::1], with any
 * port or none.  Any other name is a page that has had its own name point here (DNS rebinding). */
bool door_host_is_here(const char *host);

/* A page at ORIGIN may call: it is among ORIGINS (ends with NULL), or the endpoint's own. */
bool door_origin_may_call(const char *origin, const char *host, const char *const *origins);

/* "scheme://host[:port]" and no more: what a browser sends as Origin. */
bool door_is_origin(const char *text);

/* USER and PASSWORD (may be NULL) are the right ones; takes the same time whatever is wrong. */
bool door_may_enter(const char *user, const char *password, const char *right_user,
                    const struct secret *right_password);

#endif
