/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * gadget/serial: the same at each start, another for each board and name, and the board's own numbers are
 * nowhere in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "gadget/serial.h"
#include "tests/unit/support/folder.h"

#define TREE_SERIAL "/sys/firmware/devicetree/base/serial-number"
#define MACHINE_ID "0123456789abcdef0123456789abcdef"

/* A fresh board; PAIRS are path, content, ..., NULL. */
static char *board(const char *const *pairs)
{
    static const char *const folders[] = {"etc",
                                          "proc",
                                          "sys",
                                          "sys/firmware",
                                          "sys/firmware/devicetree",
                                          "sys/firmware/devicetree/base"};
    char *root = folder_new(), path[512];

    for (unsigned i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", root, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    for (; *pairs != NULL; pairs += 2) {
        FILE *file;

        snprintf(path, sizeof path, "%s%s", root, pairs[0]);
        file = fopen(path, "w");
        assert_non_null(file);
        if (file == NULL)
            return root;
        fputs(pairs[1], file);
        fclose(file);
    }
    return root;
}

static int serial_of(const char *const *pairs, const char *name, char serial[SERIAL_BYTES])
{
    char *root = board(pairs);
    struct error error;
    int found = serial_make(root, name, serial, &error);

    assert_int_equal(strlen(serial), 16);
    assert_int_equal(strspn(serial, "0123456789abcdef"), 16);
    folder_remove(root);
    return found;
}

/* SHA-256 of "boda courier serial", "c1" and the number, with a zero behind each of the first two: stays as
 * it is from version to version. */
static void test_known(void **state)
{
    const char *const pairs[] = {TREE_SERIAL, "10000000abcdef01", NULL};
    char serial[SERIAL_BYTES];

    (void)state;
    assert_int_equal(serial_of(pairs, "c1", serial), 1);
    assert_string_equal(serial, "477b235e909d3365");
}

/* Each board and each name has its own; each source counts when those before it are not there. */
static void test_sources(void **state)
{
    const char *const all[] = {TREE_SERIAL,
                               "10000000abcdef01",
                               "/proc/cpuinfo",
                               "processor\t: 0\nSerial\t\t: 20000000abcdef01\n",
                               "/etc/machine-id",
                               MACHINE_ID "\n",
                               NULL};
    const char *const zeros[] = {TREE_SERIAL,
                                 "0000000000000000",
                                 "/proc/cpuinfo",
                                 "Serial\t\t: 0000000000000000\nModel\t: X\n",
                                 "/etc/machine-id",
                                 MACHINE_ID "\n",
                                 NULL};
    const char *const early[] = {"/etc/machine-id", "uninitialized\n", NULL};
    char serials[6][SERIAL_BYTES], again[SERIAL_BYTES];

    (void)state;
    assert_int_equal(serial_of(all, "c1", serials[0]), 1);
    assert_int_equal(serial_of(all, "c2", serials[1]), 1);
    assert_int_equal(serial_of(all + 2, "c1", serials[2]), 1);
    assert_int_equal(serial_of(all + 4, "c1", serials[3]), 1);
    assert_int_equal(serial_of(early, "c1", serials[4]), 0);
    assert_int_equal(serial_of(early, "c2", serials[5]), 0);
    for (unsigned i = 0; i < 6; i++)
        for (unsigned j = i + 1; j < 6; j++)
            assert_string_not_equal(serials[i], serials[j]);
    assert_int_equal(serial_of(zeros, "c1", again), 1);
    assert_string_equal(again, serials[3]);
    assert_int_equal(serial_of(early + 2, "c1", again), 0);
    assert_string_equal(again, serials[4]);
    assert_null(strstr(MACHINE_ID, again));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_sources),
    };

    return cmocka_run_group_tests_name("serial", tests, NULL, NULL);
}
