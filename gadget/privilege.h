/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * From root to a user, for good.
 */
#ifndef BODA_GADGET_PRIVILEGE_H
#define BODA_GADGET_PRIVILEGE_H

#include <sys/types.h>

#include "base/error.h"

struct privilege_user {
    char name[64];
    uid_t user;
    gid_t group;
};

/* Look the user NAME up.  ERROR_USAGE when there is none, or it is root. */
int privilege_find(const char *name, struct privilege_user *user, struct error *error);

/* Become USER with its groups, without any capability, and without a way back, also by execve(2).  Of one
 * thread.  After -1 the process must end. */
int privilege_drop(const struct privilege_user *user, struct error *error);

#endif
