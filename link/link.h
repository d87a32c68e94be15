/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A transport: a reliable stream of bytes between the two ends of a cable (docs/protocol.md,
 * "Transports").  A new one is one file: a table of functions and a constructor.
 *
 * read and write never block; wait does, with a bound.  So one thread can drive both directions, and
 * two peers that both have much to say cannot block each other.
 */
#ifndef BODA_LINK_LINK_H
#define BODA_LINK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

struct link;

struct link_operations {
    /* Bytes read (1..size), 0 when none are there now, -1: ERROR_CLOSED when the peer has gone. */
    ssize_t (*read)(struct link *link, void *bytes, size_t size, struct error *error);
    /* Bytes taken (1..size), 0 when there is no room now, -1 as read. */
    ssize_t (*write)(struct link *link, const void *bytes, size_t size, struct error *error);
    /* Wait until reading would give something, or (WRITE) writing would, at most TIMEOUT_MS; 1 ready,
     * 0 time-out, -1.  May return early, with 1. */
    int (*wait)(struct link *link, bool write, int timeout_ms, struct error *error);
    /* Wait until what was written has left this side, at most TIMEOUT_MS: 0, -1. */
    int (*flush)(struct link *link, int timeout_ms, struct error *error);
    void (*close)(struct link *link); /* frees the link */
};

/* The first member of each implementation's own struct. */
struct link {
    const struct link_operations *operations;
};

#endif
