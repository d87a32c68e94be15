/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * One database of the server as a tablet's user reads it: what it is called there, and how its changes are asked for.
 */
#ifndef BODA_HOST_DOCK_SOURCE_H
#define BODA_HOST_DOCK_SOURCE_H

#include "host/dock/cht.h"
#include "store/holdings.h"

#define SOURCE_PATH_BYTES (3 * HOLDINGS_SINCE_BYTES + 1024)

struct source {
    char tablet[STORE_NAME_BYTES];
    char db[DOC_DB_BYTES];       /* the tablet's name of it */
    char path[3 * DOC_DB_BYTES]; /* at the server, encoded */
    char label[64];              /* what its sequence is kept under */
    struct buffer body;          /* the selector, as _changes takes it; empty: none */
    bool begun;
    char since[HOLDINGS_SINCE_BYTES];
};

/* SERVER_DB is the server's name of DB; SELECTOR is JSON, or NULL.  All zero before it. */
int source_open(struct source *source, const char *tablet, const char *db, const char *server_db,
                const char *selector, struct error *error);
void source_close(struct source *source);

/* The question for the next page of changes; PATH (SOURCE_PATH_BYTES) and SOURCE must last as long. */
int source_ask(struct source *source, struct store *store, char *path,
               struct cht_question *question, struct error *error);

/* Its answer, as listing_take_changes. */
int source_take(struct source *source, struct store *store, const char *body, size_t size,
                bool *more, struct error *error);

#endif
