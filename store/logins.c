/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/logins.h"

#include "store/statement.h"

int logins_refuse(struct store *store, const char *user, const unsigned char *mark,
                  struct error *error)
{
    static const char REFUSE[] = "INSERT INTO refused_login (user, mark) VALUES (?1, ?2)"
                                 " ON CONFLICT (user) DO UPDATE SET mark = excluded.mark";
    struct statement s = statement_start(store, REFUSE);

    statement_text(&s, 1, user);
    statement_blob(&s, 2, mark, LOGINS_MARK_BYTES);
    return statement_run(&s, error);
}

int logins_has(struct store *store, const char *user, struct error *error)
{
    static const char HAS[] = "SELECT 1 FROM refused_login WHERE user = ?1";
    struct statement s = statement_start(store, HAS);
    int result;

    statement_text(&s, 1, user);
    result = statement_step(&s, error);
    statement_end(&s);
    return result;
}

int logins_is_refused(struct store *store, const char *user, const unsigned char *mark,
                      struct error *error)
{
    static const char IS[] = "SELECT 1 FROM refused_login WHERE user = ?1 AND mark = ?2";
    struct statement s = statement_start(store, IS);
    int result;

    statement_text(&s, 1, user);
    statement_blob(&s, 2, mark, LOGINS_MARK_BYTES);
    result = statement_step(&s, error);
    statement_end(&s);
    return result;
}

int logins_forget(struct store *store, const char *user, struct error *error)
{
    static const char FORGET[] = "DELETE FROM refused_login WHERE ?1 IS NULL OR user = ?1";
    struct statement s = statement_start(store, FORGET);

    statement_text(&s, 1, user);
    return statement_run(&s, error) != 0 ? -1 : sqlite3_changes(store->db);
}

int logins_next(struct store *store, const char *after, char user[LOGINS_USER_BYTES],
                struct error *error)
{
    static const char NEXT[] =
        "SELECT user FROM refused_login WHERE user > ?1 ORDER BY user LIMIT 1";
    struct statement s = statement_start(store, NEXT);
    int result;

    statement_text(&s, 1, after);
    result = statement_step(&s, error);
    if (result == 1) {
        statement_get_text(&s, 0, user, LOGINS_USER_BYTES);
        statement_end(&s);
    }
    return result;
}
