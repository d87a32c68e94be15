/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A USB wire in memory: two ports of link/bulk.h joined as a host controller and a gadget's do it.
 * What is sent goes in packets; a transfer that is received is over when it is full or ends in a packet
 * that is not full.  No zero-length packets come by themselves.
 */
#ifndef BODA_TESTS_WIRE_H
#define BODA_TESTS_WIRE_H

#include <stdint.h>

#include "link/bulk.h"

struct wire;

/* PACKET_BYTES: 64, 512 or 1024.  SEED draws how much moves at each turn. */
struct wire *wire_new(unsigned packet_bytes, uint64_t seed);
void wire_free(struct wire *wire);

/* The link of SIDE. */
struct link *wire_link(struct wire *wire, enum bulk_side side,
                       const unsigned char nonce[BULK_NONCE_BYTES]);

/* Bytes of a dead session, a transfer of their own, that reach SIDE first.  Before its link is made. */
void wire_put_stale(struct wire *wire, enum bulk_side side, const void *bytes, size_t size);

/* Pull the cable: both sides see it at their next turn; what is on its way is lost. */
void wire_pull(struct wire *wire);

/* What wire_link's port answers to close from now on; and whether it was called for SIDE. */
void wire_keep(struct wire *wire, int answer);
int wire_closed(const struct wire *wire, enum bulk_side side);

#endif
