/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Names and passwords of the CHT users, from a CSV file (RFC 4180) as cht-conf's users.csv: a header
 * line with at least the columns `username` and `password`, mode 0600.
 */
#ifndef BODA_HOST_DOCK_USERS_H
#define BODA_HOST_DOCK_USERS_H

#include <stdbool.h>

#include "host/dock/cht.h"

struct users;

/* Read FILE; with ACCOUNT it has one line behind the header: the account for everybody.  NULL with
 * "FILE:LINE: ..." for what is wrong in it.  The caller frees it with users_free, which cleanses the
 * passwords. */
struct users *users_open(const char *file, bool account, struct error *error);
void users_free(struct users *users);

/* The credentials of CHTUSER, or with an account file that account, whoever asks.  NULL: unknown.
 * Owned by USERS. */
const struct cht_user *users_find(const struct users *users, const char *chtuser);

#endif
