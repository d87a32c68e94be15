/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/login.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/dock/passwords.h"

struct login *login_find(struct login **first, const struct cht_user *user)
{
    struct login *login;

    for (login = *first; login != NULL; login = login->next)
        if (strcmp(login->name, user->name) == 0)
            return login;
    login = calloc(1, sizeof *login);
    if (login == NULL || (login->name = strdup(user->name)) == NULL) {
        free(login);
        return NULL;
    }
    login->password = *user->password;
    login->user.name = login->name;
    login->user.password = &login->password;
    login->next = *first;
    *first = login;
    return login;
}

void login_free_all(struct login *first)
{
    while (first != NULL) {
        struct login *next = first->next;

        secret_cleanse(&first->password);
        explicit_bzero(first->cookie, sizeof first->cookie);
        free(first->name);
        free(first);
        first = next;
    }
}

static int append(const char *bytes, size_t size, void *out)
{
    return buffer_append(out, bytes, size, NULL);
}

int login_write(const struct login *login, struct buffer *out, struct error *error)
{
    json_t *body = json_pack("{s:s, s:s}", "user", login->name, "password", login->password.text);
    int result = body == NULL ? -1 : json_dump_callback(body, append, out, JSON_COMPACT);

    json_decref(body);
    return result == 0 ? 0
                       : error_set(error, ERROR_USAGE,
                                   "user %s: name or password is not UTF-8, or there is no memory",
                                   login->name);
}

void login_refuse(struct login *login, const char *reason)
{
    login->state = LOGIN_REFUSED;
    explicit_bzero(login->cookie, sizeof login->cookie);
    (void)snprintf(login->why, sizeof login->why, "user %.80s: %s", login->name, reason);
    log_error("%s", login->why);
}

void login_refuse_password(struct login *login)
{
    login->wrong = true;
    login_refuse(login, "the server refuses the password; correct it in the users file and start "
                        "again. It is not tried again, as five wrong ones lock the account");
}

int login_look_up(struct login *login, const struct passwords *passwords, struct error *error)
{
    int found = passwords == NULL ? 0 : passwords_check(passwords, &login->user, error);

    if (found < 0)
        return -1;
    login->looked_up = true;
    if (found == 1)
        login_refuse(login, "the server refused this very password in an earlier run, so it is not "
                            "tried; correct it in the users file, or, if it was set right at the "
                            "server, say boda-dock passwords retry");
    return 0;
}

void login_note(const struct login *login, const struct passwords *passwords)
{
    struct error error;
    int result = 0;

    if (passwords == NULL)
        return;
    if (login->state == LOGIN_GOOD)
        result = passwords_accept(passwords, &login->user, &error);
    else if (login->state == LOGIN_REFUSED && login->wrong)
        result = passwords_refuse(passwords, &login->user, &error);
    if (result != 0)
        log_warning("user %s: a later run may send a wrong password again: %s", login->name,
                    error.text);
}

/* CHT's API, POST /medic/login: success is a 302 with the page to go to as its body, and the session's
 * cookie; without a cookie the user must first do what that page asks. */
void login_answered(struct login *login, const struct transfer_result *result)
{
    char text[160];

    if (result->status >= 200 && result->status < 400 && result->session[0] != '\0') {
        (void)snprintf(login->cookie, sizeof login->cookie, "%s", result->session);
        login->state = LOGIN_GOOD;
        login->session++;
        log_debug("user %s: logged in", login->name);
    } else if (result->status == 302 && strstr(result->body, "password-reset") != NULL) {
        login_refuse(login, "the server wants this user's first password to be changed: log in as "
                            "this user with a browser, then put the new one into the users file");
    } else if (result->status == 401) {
        login_refuse_password(login);
    } else if (result->status == 500) {
        login_refuse(login, "the server answers 500 to the login: the account is locked for some "
                            "minutes, or the server is ill. It is not tried again in this run");
    } else if (result->status == 404) {
        login_refuse(login, "the server has no /medic/login: check url=, or set kind=couchdb");
    } else {
        (void)snprintf(text, sizeof text,
                       "the server answers %ld to the login, without a session; "
                       "check url= and kind=. It is not tried again in this run",
                       result->status);
        login_refuse(login, text);
    }
}
