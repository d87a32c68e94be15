/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The dock's configuration file (docs/dock.md).  Unknown sections and keys are refused, with the
 * line; relative paths are relative to the file.
 */
#ifndef BODA_HOST_DOCK_CONFIG_H
#define BODA_HOST_DOCK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "host/dock/cht.h"

/* Strings are owned by the struct and NULL where the file says nothing, but for those with a
 * default. */
struct config {
    char *deployment; /* [deployment] dir=: dock.p12, server.p12, crl.pem, stations/ */
    char *url;        /* [server] url=, without a trailing slash */
    enum cht_kind kind;
    char *db;     /* "medic" */
    char *users;  /* users= or account= */
    bool account; /* it was account=: one account for everybody */
    char *ca;
    bool basic;         /* login=basic, or kind=couchdb */
    char *store;        /* [store] dir= */
    unsigned most_docs; /* [replay] docs=, 500 */
    size_t most_bytes;  /* bytes=, 8 MB */
    unsigned parallel;  /* parallel=, 4 */
    int patience_s;     /* patience=, 4h */
    bool fetch;         /* [down] fetch=, yes */
    int every_s;        /* every=, 10m; 0: never by time */
    char *selector;     /* selector=: what the file says, a JSON object in one line */

    struct config_courier *couriers; /* [couriers], see config_tablets */
    size_t couriers_count;
};

/* Read FILE.  NULL with ERROR_USAGE "FILE:LINE: ..." for what is wrong in it, ERROR_FAILED if it
 * cannot be read.  The caller frees it with config_free. */
struct config *config_open(const char *file, struct error *error);
void config_free(struct config *config);

/* The tablets whose mail COURIER may carry, ended by NULL; NULL: all, as for every courier that the
 * file does not name.  Owned by CONFIG. */
const char *const *config_tablets(const struct config *config, const char *courier);

#endif
