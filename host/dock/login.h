/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Who is logged in: one entry for each user, kept as long as the struct cht, so that a password that
 * was refused is never sent again (five wrong ones lock a CHT account); passwords.h keeps it for longer.
 */
#ifndef BODA_HOST_DOCK_LOGIN_H
#define BODA_HOST_DOCK_LOGIN_H

#include "host/dock/transfer.h"

enum login_state {
    LOGIN_NONE,   /* to be logged in */
    LOGIN_GOING,  /* a login, or the first request with Basic, is under way */
    LOGIN_GOOD,   /* has a session, or Basic works */
    LOGIN_REFUSED /* `why` says it */
};

struct login {
    struct login *next;
    char *name;
    struct secret password;
    struct cht_user user; /* of the two */
    enum login_state state;
    bool looked_up;   /* asked for among those refused in earlier runs */
    bool wrong;       /* refused because of the password */
    unsigned session; /* counts the sessions had */
    char cookie[TRANSFER_COOKIE_BYTES];
    char why[256];
};

/* The entry of USER in the list *FIRST, made when it is not there.  NULL without memory. */
struct login *login_find(struct login **first, const struct cht_user *user);
void login_free_all(struct login *first);

/* The body of POST /medic/login, appended to OUT, which holds a password then. */
int login_write(const struct login *login, struct buffer *out, struct error *error);

/* What the server said to it (not TRANSFER_AWAY): the state becomes good or refused. */
void login_answered(struct login *login, const struct transfer_result *result);

/* Once, ahead of all else: a password that the server refused in an earlier run is refused at once.
 * PASSWORDS may be NULL, here and below. */
int login_look_up(struct login *login, const struct passwords *passwords, struct error *error);

/* The state has become good, or refused: for later runs. */
void login_note(const struct login *login, const struct passwords *passwords);

/* The password is wrong. */
void login_refuse_password(struct login *login);

/* The user is refused, with the reason. */
void login_refuse(struct login *login, const char *reason);

#endif
