/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/dock/users: CSV as spreadsheets and cht-conf write it, private files only, faults with their line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"
#include "host/dock/users.h"
#include "tests/unit/support/folder.h"

static struct users *read_text(const char *text, size_t size, bool account, struct error *error)
{
    char *folder = folder_new(), *file = folder_path(folder, "users.csv");
    struct users *users;

    assert_int_equal(file_write(file, 0600, text, size, NULL), 0);
    users = users_open(file, account, error);
    free(file);
    folder_remove(folder);
    return users;
}

static void expect(const struct users *users, const char *name, const char *password)
{
    const struct cht_user *user = users_find(users, name);

    if (password == NULL) {
        assert_null(user);
        return;
    }
    assert_non_null(user);
    assert_string_equal(user->password->text, password);
}

/* Columns in any order, quotes, doubled quotes, commas and line breaks in them, a byte order mark, CRLF, no
 * line end at the end. */
static void csv_in_all_its_forms(void **state)
{
    static const char text[] = "\xef\xbb\xbfname,\"password\",roles,username\r\n"
                               "A B,\"a,\"\"b\"\"\",chw,chw1\r\n"
                               "\r\n"
                               "\"C\r\nD\",p w,chw,\"chw2\"\r\n"
                               ",last\"quote,,chw3";
    struct error error;
    struct users *users = read_text(text, sizeof text - 1, false, &error);

    (void)state;
    assert_non_null(users);
    expect(users, "chw1", "a,\"b\"");
    expect(users, "chw2", "p w");
    expect(users, "chw3", "last\"quote");
    expect(users, "chw4", NULL);
    expect(users, "", NULL);
    expect(users, "CHW1", NULL);
    assert_string_equal(users_find(users, "chw2")->name, "chw2");
    users_free(users);
}

/* An account file has one, who stands for everybody. */
static void an_account_is_everybody(void **state)
{
    static const char one[] = "username,password\nmedic,pass\n",
                      two[] = "username,password\na,b\nc,d\n";
    struct error error;
    struct users *users = read_text(one, sizeof one - 1, true, &error);

    (void)state;
    assert_non_null(users);
    assert_string_equal(users_find(users, "chw1")->name, "medic");
    users_free(users);
    assert_null(read_text(two, sizeof two - 1, true, &error));
    assert_non_null(strstr(error.text, "users="));
}

static void faults_are_told(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "must name the columns"},
        {"username;password\nchw1;x\n", "must name the columns"},
        {"username,password\n", "names no user"},
        {"username,password\nchw1,x\nchw2\n", ":3: the line has fewer columns"},
        {"username,password\nchw1,\n", ":2: user chw1: the password is empty"},
        {"username,password\n,x\n", ":2: the user name is empty"},
        {"username,password\na:b,x\n", "colon"},
        {"username,password\nchw1,\"x\n", ":2: a quotation mark is not closed"},
        {"username,password\nchw1,\"x\"y\n", ":2: there is text behind"},
        {"username,password\nchw1,x\nchw1,y\n", "user chw1 is there twice"},
    };
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_null(read_text(cases[i].text, strlen(cases[i].text), false, &error));
        assert_non_null(strstr(error.text, "users.csv"));
        assert_non_null(strstr(error.text, cases[i].words));
    }
    assert_null(read_text("username,password\na\0b,c\n", 24, false, &error));
    assert_non_null(strstr(error.text, "zero byte"));
}

/* A password file that others can read is refused, with the command that mends it. */
static void others_must_not_read_it(void **state)
{
    static const char text[] = "username,password\nchw1,x\n";
    char *folder = folder_new(), *file = folder_path(folder, "users.csv");
    struct error error;

    (void)state;
    assert_int_equal(file_write(file, 0640, text, sizeof text - 1, NULL), 0);
    assert_null(users_open(file, false, &error));
    assert_non_null(strstr(error.text, "chmod 600"));
    free(file);
    file = folder_path(folder, "missing.csv");
    assert_null(users_open(file, false, &error));
    free(file);
    folder_remove(folder);
    users_free(NULL);
}

/* Thousands of users are found, each with its own password. */
static void many_users(void **state)
{
    struct buffer text = {0};
    struct error error;
    struct users *users;
    char name[32], password[32];

    (void)state;
    assert_int_equal(buffer_printf(&text, NULL, "username,password\n"), 0);
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(buffer_printf(&text, NULL, "chw%u,pw%u\n", i * 7919 % 5000, i), 0);
    users = read_text((const char *)text.data, text.length, false, &error);
    assert_non_null(users);
    for (unsigned i = 0; i < 5000; i++) {
        (void)snprintf(name, sizeof name, "chw%u", i * 7919 % 5000);
        (void)snprintf(password, sizeof password, "pw%u", i);
        expect(users, name, password);
    }
    users_free(users);
    buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_in_all_its_forms), cmocka_unit_test(an_account_is_everybody),
        cmocka_unit_test(faults_are_told),      cmocka_unit_test(others_must_not_read_it),
        cmocka_unit_test(many_users),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
