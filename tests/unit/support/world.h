/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A folder with a courier's store in it, for each test of a group; and changes to it in transactions.
 */
#ifndef BODA_TESTS_SUPPORT_WORLD_H
#define BODA_TESTS_SUPPORT_WORLD_H

#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

struct world {
    char *folder;
    struct store *store;
    struct error error;
};

/* For cmocka_unit_test_setup_teardown: *STATE is the world. */
int world_set_up(void **state);
int world_tear_down(void **state);

#define OK(world, call) STORES_OK((call) == 0, &(world)->error)
#define BEGIN(world) OK(world, store_begin((world)->store, &(world)->error))
#define COMMIT(world) OK(world, store_commit((world)->store, &(world)->error))
#define CHANGE(world, call) \
    do {                    \
        BEGIN(world);       \
        OK(world, call);    \
        COMMIT(world);      \
    } while (0)
#define CHANGE_IS(world, call, result)  \
    do {                                \
        BEGIN(world);                   \
        assert_int_equal(call, result); \
        COMMIT(world);                  \
    } while (0)

#endif
