/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Passwords that the server refused: kept in the dock's store, so that a program that is started again
 * and again by a plug or a timer does not lock the account.  And boda-dock passwords: list, retry.
 */
#ifndef BODA_HOST_DOCK_PASSWORDS_H
#define BODA_HOST_DOCK_PASSWORDS_H

#include <stdbool.h>

#include "base/error.h"

struct cht_user;
struct dock;
struct identity;
struct passwords;
struct store;

/* Those at the server URL.  What is stored of a password is keyed with a secret of SELF's private key: the
 * store alone does not help to guess it.  Borrows STORE and URL.  Freed with passwords_free. */
struct passwords *passwords_new(struct store *store, const struct identity *self, const char *url,
                                struct error *error);
void passwords_free(struct passwords *passwords); /* NULL is harmless */

/* 1 if the server has refused this very password of USER, 0 if not, -1. */
int passwords_check(const struct passwords *passwords, const struct cht_user *user,
                    struct error *error);

/* The server has refused it, has taken it.  Each is a transaction of its own, and none when there is
 * nothing to change. */
int passwords_refuse(const struct passwords *passwords, const struct cht_user *user,
                     struct error *error);
int passwords_accept(const struct passwords *passwords, const struct cht_user *user,
                     struct error *error);

/* "list", or "retry" and users, or "retry" with ALL. */
int passwords_run(struct dock *dock, char *const *words, int count, bool all, struct error *error);

#endif
