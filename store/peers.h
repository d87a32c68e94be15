/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What a store remembers of the stores it has met: how far their offers are settled (the cursor),
 * which of our batches each courier carries, when they last came.  And the deployment's revocation
 * list and the stations' certificates.
 */
#ifndef BODA_STORE_PEERS_H
#define BODA_STORE_PEERS_H

#include "store/batches.h"

/* Every offer of the peer store up to `position` is settled here; `id` is the batch at that
 * position, so that a peer restored from an old copy is noticed.  Position 0: nothing yet. */
struct cursor {
    int64_t position;
    unsigned char id[BATCH_ID_BYTES];
};

/* The cursor for the peer store UUID; zeroes when it was never met. */
int peers_cursor(struct store *store, const char *uuid, struct cursor *cursor, struct error *error);
int peers_set_cursor(struct store *store, const char *uuid, const struct cursor *cursor,
                     struct error *error);

/* Note a visit: name and role of the peer store, wall-clock text for people to read. */
int peers_visited(struct store *store, const char *uuid, const char *name, const char *role,
                  struct error *error);

/* The list of tablets whose mail the peer store (a courier's) was offered, up to its cursor: names with a space
 * between, "*" for all.  peers_same_tablets: 1 it is TABLETS, 0 not, -1; one that was never met was offered "*". */
int peers_same_tablets(struct store *store, const char *uuid, const char *tablets,
                       struct error *error);
int peers_set_tablets(struct store *store, const char *uuid, const char *tablets,
                      struct error *error);

/* The peer store UUID (a courier's) has batch ID, which is addressed to us or comes from us; it is to hear when it is
 * applied.  Of unnumbered ones it hears only if they are addressed to this very station: a tablet's receipt stays with
 * the courier, for other docks, until the next one replaces it. */
int peers_carries(struct store *store, const char *uuid, const unsigned char *id,
                  struct error *error);

/* Up to MOST ids of batches that the courier carries and that are applied here, which it has not
 * confirmed yet; *COUNT says how many.  The caller's array has room for MOST ids. */
int peers_applied(struct store *store, const char *uuid, unsigned char (*ids)[BATCH_ID_BYTES],
                  size_t most, size_t *count, struct error *error);

/* The courier has confirmed that it knows these to be applied. */
int peers_confirmed(struct store *store, const char *uuid, const unsigned char *id,
                    struct error *error);

/* The revocation list (DER) with its number; the store keeps the highest.  *NUMBER 0: none yet. */
int peers_crl(struct store *store, uint64_t *number, struct buffer *der, struct error *error);
int peers_set_crl(struct store *store, uint64_t number, const void *der, size_t size,
                  struct error *error);

/* The certificate (DER) of station NAME, learned from a batch it signed or from the deployment.
 * peers_certificate: 1 found, 0 not, -1. */
int peers_certificate(struct store *store, const char *name, struct buffer *der,
                      struct error *error);
int peers_set_certificate(struct store *store, const char *name, const void *der, size_t size,
                          struct error *error);

/* The next station of which the store has a certificate, in order of names behind AFTER ("": the first):
 * 1, 0 no more, -1. */
int peers_next_certificate(struct store *store, const char *after, char name[STORE_NAME_BYTES],
                           struct error *error);

/* Visits for `boda status`: calls SHOW for each peer met, the latest first. */
struct peer_visit {
    char uuid[STORE_UUID_BYTES], name[STORE_NAME_BYTES], role[16], last_visit[32];
};
int peers_each(struct store *store, int (*show)(const struct peer_visit *visit, void *context),
               void *context, struct error *error);

#endif
