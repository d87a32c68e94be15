/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Names of batch files: made, read back, read tolerantly, and what is no name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/file_name.h"

#define EPOCH "0123456789abcdef"
#define ID "89abcdef01234567"

static struct label label_of(const char *from, const char *to, uint64_t seq)
{
    struct label label = {.seq = seq, .size = 1, .epoch = EPOCH};
    static const unsigned char id[] = {0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x99};

    (void)snprintf(label.from, sizeof label.from, "%s", from);
    (void)snprintf(label.to, sizeof label.to, "%s", to);
    memcpy(label.id, id, sizeof id);
    return label;
}

/* Proves: a name says what the label said, whatever the station is called. */
static void made_and_read(void **state)
{
    static const char *const stations[] = {
        "t1",
        "a-b",
        "server",
        "con",
        "aux.x",
        "t.",
        "com1",
        "com10",
        ("x-" EPOCH "-5-" ID),
        "0",
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn."};
    char name[FILE_NAME_BYTES], folder[FILE_NAME_FOLDER_BYTES], to[STORE_NAME_BYTES];
    struct file_name read;

    (void)state;
    for (size_t i = 0; i < sizeof stations / sizeof *stations; i++) {
        struct label label = label_of(stations[i], stations[i], (UINT64_C(1) << 53) - 1 - i);

        file_name_make(&label, name);
        file_name_folder(label.to, 1, folder);
        assert_true(file_name_is_made(name));
        assert_true(file_name_has_suffix(name));
        assert_true(file_name_read(name, &read));
        assert_string_equal(read.from, stations[i]);
        assert_string_equal(read.epoch, EPOCH);
        assert_true(read.seq == label.seq);
        assert_memory_equal(read.id, label.id, sizeof read.id);
        assert_true(file_name_station(folder, to));
        assert_string_equal(to, stations[i]);
        /* No name and no folder is a device's to DOS, or ends in a dot. */
        assert_true(folder[strlen(folder) - 1] != '.');
        assert_true(strncmp(folder, "con", 4) != 0 && strncmp(folder, "aux.", 4) != 0);
        file_name_folder(label.to, UINT32_MAX, folder);
        assert_true(file_name_station(folder, to));
        assert_string_equal(to, stations[i]);
    }
}

/* Proves: a station's folders have numbers from the second on, as file managers give them too; what only looks so is none. */
static void numbered_folders(void **state)
{
    static const char *const t1[] = {"t1", "T1 (2)", "t1 (0)", "t1 (99999999999999999999)"};
    static const char *const none[] = {"t1 ()",      "t1(2)",   " (2)",      "(2)",
                                       "t1 (2",      "t1 (2) ", "t1 (x)",    "t1 (2x)",
                                       "t1 (2) (3)", "t1  (2)", "Photos (2)"};
    char folder[FILE_NAME_FOLDER_BYTES], to[STORE_NAME_BYTES];

    (void)state;
    file_name_folder("t1", 2, folder);
    assert_string_equal(folder, "t1 (2)");
    file_name_folder("con", 2, folder);
    assert_string_equal(folder, "~con~ (2)");
    for (size_t i = 0; i < sizeof t1 / sizeof *t1; i++) {
        assert_true(file_name_station(t1[i], to));
        assert_string_equal(to, "t1");
    }
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (file_name_station(none[i], to))
            fail_msg("%s: is the folder of %s", none[i], to);
}

/* Proves: what file managers and mail programs make of a name still says the same, and is no file of ours to replace. */
static void read_tolerantly(void **state)
{
    static const char *const names[] = {
        "t1-" EPOCH "-7-" ID " (1).p7m",     "t1-" EPOCH "-7-" ID ".p7m (2)",
        "t1-" EPOCH "-7-" ID ".p7m.txt",     "t1-" EPOCH "-7-" ID,
        "Copy of t1-" EPOCH "-7-" ID ".p7m", "T1-0123456789ABCDEF-7-89ABCDEF01234567.P7M",
        "t1-" EPOCH "-7-" ID " - Kopie.p7m", "../t1-" EPOCH "-7-" ID "_.p7m",
        "~t1-" EPOCH "-7-" ID ".p7m~",
    };
    struct file_name read;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!file_name_read(names[i], &read))
            fail_msg("%s: says nothing", names[i]);
        if (strchr(names[i], '/') == NULL)
            assert_string_equal(read.from, "t1");
        assert_true(read.seq == 7);
        assert_false(file_name_is_made(names[i]));
    }
}

static void no_names(void **state)
{
    static const char *const names[] = {
        "",
        ".",
        "..",
        "-",
        "photo.jpg",
        ".p7m",
        "-" EPOCH "-7-" ID ".p7m",
        "t1-" EPOCH "-07-" ID ".p7m",
        "t1-" EPOCH "--7-" ID ".p7m",
        "t1-" EPOCH "-+7-" ID ".p7m",
        "t1-" EPOCH "-99999999999999999999-" ID ".p7m",
        "t1-" EPOCH "-7-" ID "0.p7m",
        "t1-" EPOCH "0-7-" ID ".p7m",
        "~~-" EPOCH "-7-" ID,
        "~-" EPOCH "-7-" ID,
    };
    char folder[STORE_NAME_BYTES], longest[2000];
    struct file_name read;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (file_name_read(names[i], &read))
            fail_msg("%s: is from %s", names[i], read.from);
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_false(file_name_read(longest, &read));
    assert_false(file_name_station(longest, folder));
    assert_false(file_name_has_suffix(longest));
    assert_false(file_name_station("Photos", folder));
    assert_false(file_name_station("..", folder));
    assert_false(file_name_station("~~", folder));
    assert_false(file_name_station("System Volume Information", folder));
    assert_true(file_name_station("T1", folder));
    assert_string_equal(folder, "t1");
}

/* Proves: what a tablet made is for the server; what the server made needs a folder that says for whom. */
static void labels(void **state)
{
    struct label label = label_of("t1", "server", 3), said;
    struct file_name name;
    char text[FILE_NAME_BYTES];

    (void)state;
    file_name_make(&label, text);
    assert_true(file_name_read(text, &name));
    assert_true(file_name_label(&name, NULL, label.id, 1, &said));
    assert_true(label_same(&label, &said));
    assert_true(file_name_label(&name, "downloads", label.id, 1, &said));
    assert_string_equal(said.to, "server");
    assert_false(file_name_label(NULL, "server", label.id, 1, &said));
    assert_false(file_name_label(&name, NULL, label.id, 0, &said));
    (void)strcpy(name.from, "server");
    assert_false(file_name_label(&name, NULL, label.id, 1, &said));
    assert_false(file_name_label(&name, "server", label.id, 1, &said));
    assert_true(file_name_label(&name, "t1", label.id, 1, &said));
    assert_string_equal(said.to, "t1");
    name.seq = UINT64_C(1) << 53;
    assert_false(file_name_label(&name, "t1", label.id, 1, &said));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_and_read),   cmocka_unit_test(numbered_folders),
        cmocka_unit_test(read_tolerantly), cmocka_unit_test(no_names),
        cmocka_unit_test(labels),
    };

    return cmocka_run_group_tests_name("file_name", tests, NULL, NULL);
}
