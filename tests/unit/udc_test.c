/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * gadget/udc: the one asked for or the first that is free; who holds it is named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "gadget/udc.h"
#include "tests/unit/support/folder.h"

#define GADGETS "sys/kernel/config/usb_gadget"

static char *root;

static int make(void **state)
{
    static const char *const folders[] = {
        "sys",   "sys/class",        "sys/class/udc", "sys/kernel", "sys/kernel/config",
        GADGETS, GADGETS "/boda-c1", GADGETS "/other"};

    (void)state;
    root = folder_new();
    for (unsigned i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char *path = folder_path(root, folders[i]);

        assert_int_equal(mkdir(path, 0700), 0);
        free(path);
    }
    return 0;
}

static int drop(void **state)
{
    (void)state;
    folder_remove(root);
    return 0;
}

static void put(const char *name, const char *text)
{
    char *path = folder_path(root, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    if (file != NULL) {
        fputs(text, file);
        fclose(file);
    }
    free(path);
}

static void add_udc(const char *name, const char *function)
{
    char *folder, file[128];

    snprintf(file, sizeof file, "sys/class/udc/%s", name);
    folder = folder_path(root, file);
    (void)mkdir(folder, 0700);
    free(folder);
    snprintf(file, sizeof file, "sys/class/udc/%s/function", name);
    put(file, function);
}

static void refused(const char *wanted, const char *words)
{
    char udc[TREE_NAME_BYTES];
    struct error error;

    assert_int_equal(udc_choose(root, wanted, "boda-c1", udc, &error), -1);
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    if (strstr(error.text, words) == NULL)
        fail_msg("'%s' is not in: %s", words, error.text);
}

static void chosen(const char *wanted, const char *udc)
{
    char got[TREE_NAME_BYTES];
    struct error error;

    assert_int_equal(udc_choose(root, wanted, "boda-c1", got, &error), 0);
    assert_string_equal(got, udc);
}

static void test_choose(void **state)
{
    (void)state;
    refused(NULL, "boda-courier check");
    add_udc("a.usb", "");
    add_udc("b.usb", "");
    put(GADGETS "/boda-c1/UDC", "\n");
    put(GADGETS "/other/UDC", "\n");
    chosen(NULL, "a.usb");
    chosen("b.usb", "b.usb");
    refused("c.usb", "there is: a.usb, b.usb");
    /* Another gadget has it, or would have it again at once. */
    put(GADGETS "/other/UDC", "a.usb\n");
    chosen(NULL, "b.usb");
    refused("a.usb", "'other' holds it");
    put(GADGETS "/other/UDC", "\n");
    add_udc("a.usb", "g_ether\n");
    refused("a.usb", "'g_ether' holds it");
    chosen(NULL, "b.usb");
    add_udc("b.usb", "g_serial\n");
    refused(NULL, "'g_serial' holds it");
    /* Ours is no obstacle. */
    add_udc("b.usb", "boda-c1\n");
    put(GADGETS "/boda-c1/UDC", "b.usb\n");
    chosen(NULL, "b.usb");
}

static void test_driven(void **state)
{
    char udc[TREE_NAME_BYTES];

    (void)state;
    udc_of(root, "boda-c1", udc);
    assert_string_equal(udc, "b.usb");
    assert_true(udc_is_driven_by(root, "b.usb", "boda-c1"));
    assert_false(udc_is_driven_by(root, "a.usb", "boda-c1"));
    assert_false(udc_is_driven_by(root, "gone.usb", "boda-c1"));
    udc_of(root, "no-such-gadget", udc);
    assert_string_equal(udc, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_driven),
    };

    return cmocka_run_group_tests_name("udc", tests, make, drop);
}
