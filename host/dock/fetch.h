/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The fetch (docs/down.md): what the server has for each tablet's user, and the tablet is not known to hold,
 * becomes batches to that tablet.
 */
#ifndef BODA_HOST_DOCK_FETCH_H
#define BODA_HOST_DOCK_FETCH_H

#include <stdatomic.h>
#include <stdint.h>

#include "host/dock/users.h"
#include "store/identity.h"

struct fetch_options {
    struct store *store;
    const struct identity *server; /* who signs */
    struct trust *trust;
    const char *deployment; /* the folder with stations/ */
    struct cht *cht;
    enum cht_kind kind;
    const struct users *users;
    bool account;            /* users are one account for everybody */
    const char *db;          /* what the tablets' database "medic" is called on the server */
    const char *selector;    /* JSON, with kind couchdb; or NULL */
    unsigned parallel;       /* requests in flight at most; 0: 4 */
    const atomic_bool *stop; /* true: end soon, with ERROR_TEMPORARY; may be NULL */
};

struct fetch_counts {
    uint64_t tablets; /* that were asked for */
    uint64_t requests;
    uint64_t docs, batches; /* made */
    uint64_t views, withdrawn;
};

/* What lasts from one run to the next: what has been said already. */
struct fetch;
struct fetch *fetch_new(struct error *error);
void fetch_free(struct fetch *fetch); /* NULL is harmless */

/* One run over all tablets.  COUNTS (may be NULL) is filled in any case.  0; -1 when not all of it was done:
 * ERROR_TEMPORARY when the server stayed away, gave answers that cannot be used, or *stop was set;
 * ERROR_REFUSED when a user is unknown, or may not log in or read (the other tablets were served); what the
 * store said; ERROR_FAILED. */
int fetch_run(struct fetch *fetch, const struct fetch_options *options, struct fetch_counts *counts,
              struct error *error);

#endif
