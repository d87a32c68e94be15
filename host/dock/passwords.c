/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/passwords.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/dock/dock.h"
#include "store/logins.h"

struct passwords {
    struct store *store;
    const char *url;
    struct secret key;
};

struct passwords *passwords_new(struct store *store, const struct identity *self, const char *url,
                                struct error *error)
{
    struct passwords *passwords = calloc(1, sizeof *passwords);

    if (passwords == NULL) {
        (void)error_set(error, ERROR_FAILED, "passwords: no memory");
        return NULL;
    }
    passwords->store = store;
    passwords->url = url;
    if (identity_secret(self, &passwords->key, error) != 0) {
        passwords_free(passwords);
        return NULL;
    }
    return passwords;
}

void passwords_free(struct passwords *passwords)
{
    if (passwords == NULL)
        return;
    secret_cleanse(&passwords->key);
    free(passwords);
}

/* HMAC-SHA256 (RFC 2104) over server, user and password, each with its zero. */
static int make_mark(const struct passwords *passwords, const struct cht_user *user,
                     unsigned char mark[LOGINS_MARK_BYTES], struct error *error)
{
    const char *key = passwords->key.text;
    struct buffer text = {0};
    size_t size = 0;
    int result = -1;

    if (buffer_append(&text, passwords->url, strlen(passwords->url) + 1, error) == 0 &&
        buffer_append(&text, user->name, strlen(user->name) + 1, error) == 0 &&
        buffer_append(&text, user->password->text, strlen(user->password->text) + 1, error) == 0) {
        if (EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, strlen(key), text.data, text.length,
                      mark, LOGINS_MARK_BYTES, &size) != NULL &&
            size == LOGINS_MARK_BYTES)
            result = 0;
        else
            (void)error_set(error, ERROR_FAILED, "user %s: OpenSSL cannot make a mark", user->name);
    }
    buffer_cleanse(&text);
    return result;
}

int passwords_check(const struct passwords *passwords, const struct cht_user *user,
                    struct error *error)
{
    unsigned char mark[LOGINS_MARK_BYTES];

    if (make_mark(passwords, user, mark, error) != 0)
        return -1;
    return logins_is_refused(passwords->store, user->name, mark, error);
}

/* Keep MARK of USER, or with NULL forget what there is. */
static int change(struct store *store, const char *user, const unsigned char *mark,
                  struct error *error)
{
    int result;

    if (store_begin(store, error) != 0)
        return -1;
    result =
        mark != NULL ? logins_refuse(store, user, mark, error) : logins_forget(store, user, error);
    if (result < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, error);
}

int passwords_refuse(const struct passwords *passwords, const struct cht_user *user,
                     struct error *error)
{
    unsigned char mark[LOGINS_MARK_BYTES];

    if (make_mark(passwords, user, mark, error) != 0)
        return -1;
    return change(passwords->store, user->name, mark, error);
}

int passwords_accept(const struct passwords *passwords, const struct cht_user *user,
                     struct error *error)
{
    int found = logins_has(passwords->store, user->name, error);

    return found <= 0 ? found : change(passwords->store, user->name, NULL, error);
}

/* ---- the command ---------------------------------------------------------------------------- */

static int list(struct store *store, struct error *error)
{
    char user[LOGINS_USER_BYTES] = "", after[LOGINS_USER_BYTES];
    unsigned long count = 0;
    int found;

    for (;; count++) {
        memcpy(after, user, sizeof after);
        found = logins_next(store, after, user, error);
        if (found <= 0)
            break;
        (void)printf("%s: the server refused the password\n", user);
    }
    if (found == 0 && count == 0)
        (void)printf("no refused passwords\n");
    return found;
}

/* In one transaction: a wrong name changes nothing. */
static int forget(struct store *store, char *const *users, int count, struct error *error)
{
    int changed = 0;

    if (count == 0)
        return logins_forget(store, NULL, error);
    for (int i = 0; i < count; i++) {
        int found = logins_forget(store, users[i], error);

        if (found < 0)
            return -1;
        if (found == 0)
            return error_set(error, ERROR_FAILED,
                             "user %s: has no refused password here; see boda-dock passwords list",
                             users[i]);
        changed += found;
    }
    return changed;
}

int passwords_run(struct dock *dock, char *const *words, int count, bool all, struct error *error)
{
    int changed;

    if (count == 1 && strcmp(words[0], "list") == 0 && !all)
        return list(dock->store, error);
    if (count == 0 || strcmp(words[0], "retry") != 0 || (count == 1) != all)
        return error_set(error, ERROR_USAGE, "passwords: say list, or retry with users or --all");
    if (store_begin(dock->store, error) != 0)
        return -1;
    changed = forget(dock->store, words + 1, count - 1, error);
    if (changed < 0) {
        store_rollback(dock->store);
        return -1;
    }
    if (store_commit(dock->store, error) != 0)
        return -1;
    (void)printf("%d to be tried by the next boda-dock run or upload\n", changed);
    return 0;
}
