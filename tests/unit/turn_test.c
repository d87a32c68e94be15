/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/dock/turn: one process at a time has the turn at a store, and a dead one has none.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/dock/turn.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

static int set_up(void **state)
{
    *state = folder_new();
    return 0;
}

static int tear_down(void **state)
{
    folder_remove(*state);
    return 0;
}

/* Taken once, refused meanwhile, free again when given back; each folder has a turn of its own. */
static void one_at_a_time(void **state)
{
    char *other = folder_new();
    int first, second, third;
    struct error error;

    STORES_OK(turn_take(*state, &first, &error) == 1, &error);
    assert_int_equal(turn_take(*state, &second, &error), 0);
    assert_int_equal(second, -1);
    STORES_OK(turn_take(other, &third, &error) == 1, &error);
    turn_give(second);
    assert_int_equal(turn_take(*state, &second, &error), 0);
    turn_give(first);
    STORES_OK(turn_take(*state, &second, &error) == 1, &error);
    assert_int_equal(turn_take(*state, &first, &error), 0);
    turn_give(second);
    turn_give(third);
    folder_remove(other);
}

/* A child that takes the turn, says so, and waits to be killed. */
static pid_t start_holder(const char *folder)
{
    int ends[2], turn;
    char said = 0;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        said = turn_take(folder, &turn, NULL) == 1 ? 'y' : 'n';
        if (write(ends[1], &said, 1) == 1)
            (void)pause();
        _exit(0);
    }
    assert_int_equal(close(ends[1]), 0);
    assert_int_equal(read(ends[0], &said, 1), 1);
    assert_int_equal(said, 'y');
    assert_int_equal(close(ends[0]), 0);
    return child;
}

/* However its holder ends, the turn is free at once; the file that stays behind means nothing. */
static void freed_by_death(void **state)
{
    pid_t child = start_holder(*state);
    struct error error;
    int turn, status;

    assert_int_equal(turn_take(*state, &turn, &error), 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    STORES_OK(turn_take(*state, &turn, &error) == 1, &error);
    turn_give(turn);
}

/* A folder that cannot be used is an error, not somebody else's turn. */
static void needs_its_folder(void **state)
{
    char *missing = folder_path(*state, "missing"), *lock = folder_path(*state, "replay.lock");
    struct error error;
    struct stat status;
    int turn;

    assert_int_equal(turn_take(missing, &turn, &error), -1);
    assert_int_equal(turn, -1);
    assert_non_null(strstr(error.text, "missing/replay.lock"));
    STORES_OK(turn_take(*state, &turn, &error) == 1, &error);
    turn_give(turn);
    assert_int_equal(stat(lock, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    free(lock);
    free(missing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(freed_by_death, set_up, tear_down),
        cmocka_unit_test_setup_teardown(needs_its_folder, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
