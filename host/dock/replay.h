/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The replay (docs/replay.md): what is held for the server is opened and sent to it, contacts ahead
 * of what names them, with _revs_diff before and, as the proof, after.
 */
#ifndef BODA_HOST_DOCK_REPLAY_H
#define BODA_HOST_DOCK_REPLAY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct store;
struct identity;
struct trust;
struct cht;
struct users;

struct replay_options {
    struct store *store;
    const struct identity *server; /* SERVER_NAME's identity, which opens the batches */
    struct trust *trust;
    struct cht *cht;
    const struct users *users;
    const char *db;          /* what the tablets' database "medic" is called on the server */
    unsigned most_docs;      /* documents in a request at most; 0: 500 */
    size_t most_bytes;       /* bytes in a request at most, but for one larger document; 0: 8 MiB */
    unsigned parallel;       /* requests in flight at most; 0: 4 */
    const atomic_bool *stop; /* true: end soon, with ERROR_TEMPORARY; may be NULL */
};

struct replay_counts {
    uint64_t batches;         /* held batches that were looked at */
    uint64_t applied_batches; /* of these, applied */
    uint64_t docs;            /* documents in them */
    uint64_t sent_docs;       /* documents put into a _bulk_docs, a second try not counted */
    uint64_t proven_docs;     /* documents that the server has, by its _revs_diff */
    uint64_t refused_docs;    /* documents refused at the end of the run */
    uint64_t aside_batches;   /* batches that could not be opened or used */
    uint64_t requests;        /* HTTP requests */
};

/* One run over everything that is held for SERVER_NAME when it begins, and over the refused documents
 * that are marked for another try.  COUNTS (may be NULL) is filled in any case.
 * 0, even when the server refused documents or batches were set aside; -1 with ERROR_TEMPORARY when the
 * server stayed away or *stop was set (what was done stays done); ERROR_REFUSED when a user is unknown
 * or may not log in or write (the batches of others were replayed, theirs stay held); what the store
 * said (ERROR_FULL, ...); ERROR_FAILED. */
int replay_run(const struct replay_options *options, struct replay_counts *counts,
               struct error *error);

#endif
