/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/dock/passwords: a password that the server refused is not sent by later runs either, until the
 * users file has another one, or the administrator says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "host/dock/cht.h"
#include "host/dock/dock.h"
#include "store/logins.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/front.h"
#include "tests/unit/support/stores.h"

#define WAIT_MS 30000

static const struct secret good = {"good"}, wrong = {"wrong-1"}, other = {"wrong-2"};

struct office {
    char *folder, *directory;
    struct deployment *deployment;
    struct front *front;
    struct dock dock; /* only its store */
    struct error error;
};

static void open_store(struct office *o)
{
    struct store_options options = {
        .directory = o->directory, .station = "dock", .role = "dock", .reserve_bytes = 1};

    o->dock.store = store_open(&options, &o->error);
    STORES_OK(o->dock.store != NULL, &o->error);
}

static int set_up(void **state)
{
    struct office *o = calloc(1, sizeof *o);

    assert_non_null(o);
    o->folder = folder_new();
    o->directory = folder_path(o->folder, "store");
    o->deployment = deployment_new();
    o->front = front_new(0, NULL, NULL);
    open_store(o);
    *state = o;
    return 0;
}

static int tear_down(void **state)
{
    struct office *o = *state;

    store_close(o->dock.store);
    front_free(o->front);
    deployment_free(o->deployment);
    folder_remove(o->folder);
    free(o->directory);
    free(o);
    return 0;
}

struct got {
    enum cht_result result;
    char text[256];
};

static void on_done(const struct cht_answer *answer, void *context)
{
    struct got *got = context;

    got->result = answer->result;
    (void)snprintf(got->text, sizeof got->text, "%s", answer->text);
}

/* A run of the program: the store and the connection are opened anew, and USER asks once. */
static struct got run(struct office *o, const struct identity *self, const char *url, bool basic,
                      const char *name, const struct secret *password)
{
    struct cht_user user = {name, password};
    struct cht_options options = {
        .url = url, .kind = CHT_KIND_CHT, .basic = basic, .most_parallel = 4};
    int64_t end_ms = clock_ms() + WAIT_MS;
    struct got got = {.text = ""};
    struct cht *cht;

    store_close(o->dock.store);
    open_store(o);
    options.passwords = passwords_new(o->dock.store, self, url, &o->error);
    STORES_OK(options.passwords != NULL, &o->error);
    cht = cht_new(&options, &o->error);
    STORES_OK(cht != NULL, &o->error);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            cht_submit(cht, &user, "GET", "/medic/_local/x", NULL, 0, on_done, &got, NULL), 0);
    while (cht_pending(cht) > 0) {
        assert_true(clock_ms() < end_ms);
        STORES_OK(cht_run(cht, 1000, &o->error) == 0, &o->error);
    }
    cht_free(cht);
    passwords_free(options.passwords);
    return got;
}

static struct got ask(struct office *o, const char *name, const struct secret *password)
{
    return run(o, o->deployment->dock, front_url(o->front), false, name, password);
}

static size_t logins(struct office *o)
{
    return front_count(o->front, "POST /medic/login");
}

static int command(struct office *o, const char *first, const char *second, bool all)
{
    char words[2][32];
    char *list[2] = {words[0], words[1]};

    (void)snprintf(words[0], sizeof words[0], "%s", first);
    (void)snprintf(words[1], sizeof words[1], "%s", second != NULL ? second : "");
    return passwords_run(&o->dock, list, second != NULL ? 2 : 1, all, &o->error);
}

/* Proves: seven runs send a wrong password once, which does not lock the account; another user's is not
 * held back; a changed entry is tried at once, and once; the right one works and leaves nothing behind. */
static void not_in_later_runs(void **state)
{
    struct office *o = *state;
    char user[LOGINS_USER_BYTES];
    struct got got = {.text = ""};

    for (int i = 0; i < 7; i++) {
        got = ask(o, "chw3", &wrong);
        assert_int_equal(got.result, CHT_LOGIN_FAILED);
    }
    assert_non_null(strstr(got.text, "user chw3: "));
    assert_non_null(strstr(got.text, "in an earlier run"));
    assert_int_equal(logins(o), 1);
    assert_int_equal(ask(o, "chw1", &good).result, CHT_ANSWERED);
    assert_int_equal(logins(o), 2);
    assert_int_equal(ask(o, "chw3", &other).result, CHT_LOGIN_FAILED);
    assert_int_equal(ask(o, "chw3", &other).result, CHT_LOGIN_FAILED);
    assert_int_equal(logins(o), 3);
    assert_int_equal(logins_next(o->dock.store, "", user, &o->error), 1);
    assert_string_equal(user, "chw3");
    assert_int_equal(logins_next(o->dock.store, user, user, &o->error), 0);
    assert_int_equal(ask(o, "chw3", &good).result, CHT_ANSWERED);
    assert_int_equal(logins(o), 4);
    assert_int_equal(logins_next(o->dock.store, "", user, &o->error), 0);
}

/* Proves: the same with Basic authentication, where the first request shows whether it is good. */
static void with_basic(void **state)
{
    struct office *o = *state;
    const struct identity *self = o->deployment->dock;
    char user[LOGINS_USER_BYTES];

    for (int i = 0; i < 7; i++)
        assert_int_equal(run(o, self, front_url(o->front), true, "chw3", &wrong).result,
                         CHT_LOGIN_FAILED);
    assert_int_equal(front_count(o->front, "GET /medic"), 1);
    assert_int_equal(run(o, self, front_url(o->front), true, "chw3", &good).result, CHT_ANSWERED);
    assert_int_equal(front_count(o->front, "GET /medic"), 3);
    assert_int_equal(logins_next(o->dock.store, "", user, &o->error), 0);
}

/* Proves: what may pass by itself is tried by the next run: a server that is ill, an account that is
 * locked, a password that is to be changed first. */
static void only_wrong_passwords(void **state)
{
    struct office *o = *state;
    char user[LOGINS_USER_BYTES];

    front_fault(o->front, "/medic/login", 500, NULL, NULL, "ill", 1);
    assert_int_equal(ask(o, "chw1", &good).result, CHT_LOGIN_FAILED);
    assert_int_equal(ask(o, "new", &good).result, CHT_LOGIN_FAILED);
    front_fault(o->front, "/medic/login", 404, NULL, NULL, "where?", 1);
    assert_int_equal(ask(o, "chw1", &good).result, CHT_LOGIN_FAILED);
    front_fault(o->front, "/medic/login", 503, NULL, NULL, "away", 1);
    assert_int_equal(ask(o, "chw1", &good).result, CHT_UNAVAILABLE);
    assert_int_equal(logins_next(o->dock.store, "", user, &o->error), 0);
    assert_int_equal(ask(o, "chw1", &good).result, CHT_ANSWERED);
}

/* Proves: a password is remembered for its server and user alone. */
static void elsewhere(void **state)
{
    struct office *o = *state;
    struct front *second = front_new(0, NULL, NULL);

    assert_int_equal(ask(o, "chw3", &wrong).result, CHT_LOGIN_FAILED);
    (void)run(o, o->deployment->dock, front_url(second), false, "chw3", &wrong);
    assert_int_equal(front_count(second, "POST /medic/login"), 1);
    (void)ask(o, "chw4", &wrong);
    assert_int_equal(logins(o), 2);
    front_free(second);
}

/* Proves: with the store alone a password cannot be guessed: the mark needs the dock's private key. */
static void the_mark_needs_the_key(void **state)
{
    struct office *o = *state;
    const struct cht_user user = {"chw3", &wrong};
    struct passwords *another;

    assert_int_equal(ask(o, "chw3", &wrong).result, CHT_LOGIN_FAILED);
    another = passwords_new(o->dock.store, o->deployment->dock2, front_url(o->front), &o->error);
    STORES_OK(another != NULL, &o->error);
    assert_int_equal(passwords_check(another, &user, &o->error), 0);
    passwords_free(another);
    another = passwords_new(o->dock.store, o->deployment->dock, front_url(o->front), &o->error);
    STORES_OK(another != NULL, &o->error);
    assert_int_equal(passwords_check(another, &user, &o->error), 1);
    passwords_free(another);
}

/* Proves: `passwords retry` lets one be tried again, as when it was set right at the server; a wrong name
 * and wrong words change nothing. */
static void retried_by_command(void **state)
{
    struct office *o = *state;

    assert_int_equal(command(o, "list", NULL, false), 0);
    assert_int_equal(command(o, "retry", "chw3", false), -1);
    (void)ask(o, "chw3", &wrong);
    (void)ask(o, "chw4", &wrong);
    assert_int_equal(command(o, "list", NULL, false), 0);
    assert_int_equal(command(o, "retry", NULL, false), -1);
    assert_int_equal(o->error.kind, ERROR_USAGE);
    assert_int_equal(command(o, "retry", "chw3", true), -1);
    assert_int_equal(command(o, "forget", "chw3", false), -1);
    assert_int_equal(command(o, "retry", "chw5", false), -1);
    (void)ask(o, "chw3", &wrong);
    assert_int_equal(logins(o), 2);
    assert_int_equal(command(o, "retry", "chw3", false), 0);
    (void)ask(o, "chw3", &wrong);
    (void)ask(o, "chw4", &wrong);
    assert_int_equal(logins(o), 3);
    assert_int_equal(command(o, "retry", NULL, true), 0);
    (void)ask(o, "chw4", &wrong);
    assert_int_equal(logins(o), 4);
}

/* Proves: a store that another program holds is told as such, and what was not stored is not known. */
static void a_store_that_is_locked(void **state)
{
    struct office *o = *state;
    struct store_options options = {
        .directory = o->directory, .station = "dock", .role = "dock", .reserve_bytes = 1};
    struct store *busy = store_open(&options, &o->error);
    const struct cht_user user = {"chw3", &wrong};
    struct passwords *passwords;

    STORES_OK(busy != NULL, &o->error);
    store_close(o->dock.store);
    options.busy_ms = 50;
    o->dock.store = store_open(&options, &o->error);
    STORES_OK(o->dock.store != NULL, &o->error);
    passwords = passwords_new(o->dock.store, o->deployment->dock, front_url(o->front), &o->error);
    STORES_OK(passwords != NULL, &o->error);
    STORES_OK(store_begin(busy, &o->error) == 0, &o->error);
    assert_int_equal(passwords_refuse(passwords, &user, &o->error), -1);
    assert_int_equal(o->error.kind, ERROR_TEMPORARY);
    assert_int_equal(passwords_check(passwords, &user, &o->error), 0);
    store_rollback(busy);
    assert_int_equal(passwords_refuse(passwords, &user, &o->error), 0);
    assert_int_equal(passwords_check(passwords, &user, &o->error), 1);
    passwords_free(passwords);
    store_close(busy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(not_in_later_runs),      TEST(with_basic),
        TEST(only_wrong_passwords),   TEST(elsewhere),
        TEST(retried_by_command),     TEST(the_mark_needs_the_key),
        TEST(a_store_that_is_locked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
