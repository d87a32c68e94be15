/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What a certificate says of its station: CN name, OU role, UID the CHT user.
 */
#ifndef BODA_STORE_STATION_H
#define BODA_STORE_STATION_H

#include <openssl/types.h>
#include <stdbool.h>

#include "store/store.h"

#define SERVER_NAME "server" /* the logical station that every dock can open batches for */

enum role { ROLE_NONE, ROLE_TABLET, ROLE_COURIER, ROLE_DOCK, ROLE_SERVER };

const char *role_name(enum role role);      /* "tablet", ... */
enum role role_from_name(const char *name); /* ROLE_NONE when it is none of them */

struct station {
    char name[STORE_NAME_BYTES];
    char user[STORE_NAME_BYTES]; /* "" if none */
    enum role role;
};

/* A station's name: 1..64 of [a-z0-9._-], the first one a letter or digit. */
bool station_name_ok(const char *name);

/* A CHT user's name: 1..64 bytes, no control bytes, no ':' (it goes into Basic authentication). */
bool station_user_ok(const char *user);

/* -1 with ERROR_USAGE unless name, role and user fit each other: a tablet has a user, nobody else
 * has one, and "server" is the server's name alone. */
int station_check(const struct station *station, struct error *error);

/* Read the subject of a certificate; -1 with ERROR_REFUSED if it has no valid name or role. */
int station_read(X509 *certificate, struct station *station, struct error *error);

#endif
