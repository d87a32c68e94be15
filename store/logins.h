/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * At a dock: users of the server whose password it refused, kept over the program's runs, because a few
 * wrong ones lock an account.  Of the password there is only a mark that the caller makes.
 */
#ifndef BODA_STORE_LOGINS_H
#define BODA_STORE_LOGINS_H

#include "store/store.h"

#define LOGINS_USER_BYTES 256
#define LOGINS_MARK_BYTES 32

/* The server refused USER's password, whose mark is MARK.  It takes the place of an earlier one. */
int logins_refuse(struct store *store, const char *user, const unsigned char *mark,
                  struct error *error);

/* 1 when some mark of USER is kept, 0 when not, -1. */
int logins_has(struct store *store, const char *user, struct error *error);

/* 1 when the mark that is kept of USER is this one, 0 when not, -1. */
int logins_is_refused(struct store *store, const char *user, const unsigned char *mark,
                      struct error *error);

/* Forget USER's, or all with NULL: how many, -1. */
int logins_forget(struct store *store, const char *user, struct error *error);

/* The user behind AFTER ("": the first), in order: 1 with USER filled, 0 no more, -1. */
int logins_next(struct store *store, const char *after, char user[LOGINS_USER_BYTES],
                struct error *error);

#endif
