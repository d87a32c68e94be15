/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A session: TLS 1.3 over a link, both sides with certificates of the deployment
 * (docs/protocol.md, "Session").
 */
#ifndef BODA_LINK_SESSION_H
#define BODA_LINK_SESSION_H

#include "link/link.h"
#include "store/identity.h"

struct session;

enum session_side { SESSION_HOST /* TLS client */, SESSION_GADGET /* TLS server */ };

/* Shake hands over LINK, which the session then owns (closed also on failure), within TIMEOUT_MS.
 * The peer must have one of the roles in ROLES (bit 1 << role).  ERROR_REFUSED with a message that
 * names the peer and the cause for: no certificate, not of this deployment, revoked, wrong role;
 * ERROR_CORRUPT for bytes that are not TLS; ERROR_TEMPORARY for a time-out; ERROR_CLOSED. */
struct session *session_open(struct link *link, enum session_side side,
                             const struct identity *identity, struct trust *trust, unsigned roles,
                             int timeout_ms, struct error *error);

/* Say close_notify, wait at most a second for it to leave and for the peer's own, close the link.  NULL
 * is harmless. */
void session_close(struct session *session);

const struct station *session_peer(const struct session *session);
X509 *session_certificate(const struct session *session); /* the peer's, owned by the session */

/* As a link's: never block, 0 when nothing can be done now. */
ssize_t session_read(struct session *session, void *bytes, size_t size, struct error *error);
ssize_t session_write(struct session *session, const void *bytes, size_t size, struct error *error);

/* Wait until session_read or (WRITE) session_write is worth another call: 1, 0 time-out, -1. */
int session_wait(struct session *session, bool write, int timeout_ms, struct error *error);

/* Wait at most TIMEOUT_MS until all that was written has left: 0, -1. */
int session_flush(struct session *session, int timeout_ms, struct error *error);

#endif
