/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What the commands of boda-dock work with: configuration, identities, store, trust.
 */
#ifndef BODA_HOST_DOCK_DOCK_H
#define BODA_HOST_DOCK_DOCK_H

#include <stdatomic.h>

#include "host/dock/config.h"
#include "host/dock/passwords.h"
#include "host/dock/users.h"
#include "store/identity.h"

struct dock {
    struct config *config;
    struct store *store;
    struct identity *self;   /* dock.p12; NULL with dock_open_store */
    struct identity *server; /* server.p12, which opens the batches and signs receipts */
    struct trust *trust;
    struct users *users;
    struct passwords *passwords;
    atomic_bool *stop; /* true: come to an end */
    bool no_store;     /* dock_open_store found none */
};

/* Read CONFIG_FILE and open all of it; the revocation list of the deployment's folder is taken into the
 * store when it is newer.  PASSPHRASE_FILE may be NULL (secret_obtain).  The caller closes it with
 * dock_close, also after a failure. */
int dock_open(struct dock *dock, const char *config_file, const char *passphrase_file,
              atomic_bool *stop, struct error *error);

/* Only configuration and store, which need no passphrase; the store must be there, else no_store is set. */
int dock_open_store(struct dock *dock, const char *config_file, struct error *error);

void dock_close(struct dock *dock);

/* NAME in the deployment's folder; PATH has PATH_MAX bytes. */
int dock_path(const struct dock *dock, const char *name, char *path, struct error *error);

#endif
