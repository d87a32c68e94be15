/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/medium and store/leftovers: files of a group have their names all at once, whole; what is somebody else's stays; links,
 * devices and files of the wrong size are not read; a medium that is full or read only is told in words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/file_name.h"
#include "store/leftovers.h"
#include "store/medium.h"
#include "store/readme.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

struct fixture {
    char *folder;
    struct medium *medium;
    struct buffer read;
    struct error error;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->folder = folder_new();
    f->medium = medium_open(f->folder, &f->error);
    STORES_OK(f->medium != NULL, &f->error);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    medium_close(f->medium);
    buffer_free(&f->read);
    folder_remove(f->folder);
    free(f);
    return 0;
}

/* What others put there. */
static void put(const struct fixture *f, const char *name, const void *bytes, size_t size)
{
    char *path = folder_path(f->folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    assert_int_equal(close(fd), 0);
    free(path);
}

static void put_folder(const struct fixture *f, const char *name)
{
    char *path = folder_path(f->folder, name);

    assert_int_equal(mkdir(path, 0700), 0);
    free(path);
}

static bool is_there(const struct fixture *f, const char *name)
{
    char *path = folder_path(f->folder, name);
    struct stat status;
    bool there = lstat(path, &status) == 0;

    free(path);
    return there;
}

static int write_one(struct fixture *f, const char *folder, const char *name, const char *text)
{
    if (medium_begin(f->medium, folder, name, &f->error) != 0 ||
        medium_write(f->medium, text, strlen(text), &f->error) != 0)
        return -1;
    return medium_end(f->medium, &f->error);
}

static void assert_file(struct fixture *f, const char *folder, const char *name, const char *text)
{
    f->read.length = 0;
    STORES_OK(medium_read(f->medium, folder, name, 1000, &f->read, &f->error) == 1, &f->error);
    assert_int_equal(f->read.length, strlen(text));
    assert_memory_equal(f->read.data, text, strlen(text));
}

static int count_name(const char *name, enum medium_kind kind, void *context, struct error *error)
{
    (void)name;
    (void)kind;
    (void)error;
    ++*(unsigned *)context;
    return 0;
}

static unsigned names_in(struct fixture *f, const char *folder)
{
    unsigned count = 0;

    STORES_OK(medium_each(f->medium, folder, count_name, &count, &f->error) == 0, &f->error);
    return count;
}

/* Proves: before medium_sync nothing has its name; after it all do; what was abandoned, and a group that was never synced, leave
 * nothing. */
static void named_all_at_once(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;

    STORES_OK(write_one(f, "t1", "a", "first") == 0, &f->error);
    STORES_OK(write_one(f, NULL, "b", "second") == 0, &f->error);
    assert_false(is_there(f, "t1/a"));
    assert_false(is_there(f, "b"));
    assert_int_equal(medium_written(f->medium, &bytes), 0);
    STORES_OK(medium_begin(f->medium, "t1", "c", &f->error) == 0, &f->error);
    STORES_OK(medium_write(f->medium, "half", 4, &f->error) == 0, &f->error);
    medium_abandon(f->medium);
    STORES_OK(medium_sync(f->medium, &f->error) == 0, &f->error);
    assert_int_equal(medium_written(f->medium, &bytes), 2);
    assert_int_equal(bytes, 11);
    assert_file(f, "t1", "a", "first");
    assert_file(f, NULL, "b", "second");
    assert_int_equal(names_in(f, NULL), 2);
    assert_int_equal(names_in(f, "t1"), 1);

    STORES_OK(write_one(f, "t1", "a", "another") == 0, &f->error);
    STORES_OK(medium_begin(f->medium, "t1", "d", &f->error) == 0, &f->error);
    medium_close(f->medium);
    f->medium = medium_open(f->folder, &f->error);
    STORES_OK(f->medium != NULL, &f->error);
    assert_file(f, "t1", "a", "first");
    assert_int_equal(names_in(f, NULL), 2);
}

/* Proves: groups and open folders have bounds, and more files and folders than those all come. */
static void many_files_and_folders(void **state)
{
    struct fixture *f = *state;
    char folder[16], name[16];

    for (unsigned i = 0; i < 600; i++) {
        (void)snprintf(folder, sizeof folder, "t%u", i % 40);
        (void)snprintf(name, sizeof name, "f%u", i);
        STORES_OK(write_one(f, folder, name, name) == 0, &f->error);
    }
    STORES_OK(medium_sync(f->medium, &f->error) == 0, &f->error);
    assert_int_equal(names_in(f, NULL), 40);
    for (unsigned i = 0; i < 600; i++) {
        (void)snprintf(folder, sizeof folder, "t%u", i % 40);
        (void)snprintf(name, sizeof name, "f%u", i);
        assert_file(f, folder, name, name);
        assert_int_equal(medium_has(f->medium, folder, name, strlen(name), &f->error), 1);
        assert_int_equal(medium_has(f->medium, folder, name, 99, &f->error), 0);
    }
}

/* Proves: what is not a regular file of a fitting size is not read, and said so. */
static void only_regular_files(void **state)
{
    struct fixture *f = *state;
    char *path = folder_path(f->folder, "huge"), *pipe = folder_path(f->folder, "pipe");
    char *link = folder_path(f->folder, "link");
    const struct {
        const char *name, *words;
    } cases[] = {
        {"empty", "is empty"},          {"huge", "is larger than"},  {"pipe", "not a regular file"},
        {"link", "is a symbolic link"}, {"folder", "not a regular"}, {"none", "No such file"},
    };

    put(f, "empty", "", 0);
    put(f, "huge", "x", 1);
    assert_int_equal(truncate(path, (off_t)4 << 30), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(symlink("/etc/passwd", link), 0);
    put_folder(f, "folder");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            medium_read(f->medium, NULL, cases[i].name, BATCH_MAX_BYTES, &f->read, &f->error), 0);
        if (strstr(f->error.text, cases[i].words) == NULL)
            fail_msg("%s: %s", cases[i].name, f->error.text);
    }
    /* Nothing was read for a size that is claimed. */
    assert_int_equal(f->read.capacity, 0);
    free(path);
    free(pipe);
    free(link);
}

/* Proves: a file that has fewer bytes than it had is left.  sysfs has files that claim a page and give a line. */
static void changed_while_read(void **state)
{
    struct fixture *f = *state;
    struct medium *kernel = medium_open("/sys/kernel", &f->error);

    if (kernel == NULL || !medium_has(kernel, NULL, "uevent_seqnum", 4096, &f->error)) {
        medium_close(kernel);
        skip();
    }
    assert_int_equal(medium_read(kernel, NULL, "uevent_seqnum", 10000, &f->read, &f->error), 0);
    assert_non_null(strstr(f->error.text, "changed while it was read"));
    assert_int_equal(f->read.length, 0);
    medium_close(kernel);
}

/* Proves: a link in place of a station's folder is not followed, one in place of a file is replaced and its target stays; a file in
 * place of a folder is told. */
static void links_are_not_followed(void **state)
{
    struct fixture *f = *state;
    char *target = folder_new(), *folder = folder_path(f->folder, "t1"),
         *file = folder_path(f->folder, "b");
    char *precious = folder_path(target, "precious");
    struct stat status;

    assert_int_equal(symlink(target, folder), 0);
    assert_int_equal(write_one(f, "t1", "a", "x"), -1);
    assert_non_null(strstr(f->error.text, "t1: is no folder; move it away"));
    assert_int_equal(medium_read(f->medium, "t1", "a", 10, &f->read, &f->error), -1);
    put(f, "t2", "a file", 6);
    assert_int_equal(write_one(f, "t2", "a", "x"), -1);
    assert_non_null(strstr(f->error.text, "t2: is no folder"));

    assert_int_equal(symlink(precious, file), 0);
    STORES_OK(write_one(f, NULL, "b", "new") == 0 && medium_sync(f->medium, &f->error) == 0,
              &f->error);
    assert_file(f, NULL, "b", "new");
    assert_int_not_equal(stat(precious, &status), 0);
    assert_int_equal(rmdir(target), 0); /* nothing was written into it */
    free(target);
    free(folder);
    free(file);
    free(precious);
}

/* Proves: temporary files of a killed export go; those of other names, and those that may share their place on the medium with a
 * file of Boda's, stay. */
static void leftovers(void **state)
{
    struct fixture *f = *state;
    static const char *const stays[] = {".boda-aaaaaaa.tmp", ".boda-AAAAAA.tmp", ".boda-aaaaaa.tm",
                                        "boda-aaaaaa.tmp", ".boda-aaaaa1.tmp"};
    struct label label;
    char name[FILE_NAME_BYTES], path[FILE_NAME_BYTES + 8];
    unsigned char *bytes = stores_batch(&label, "t1", "server", 1, 1, 500);

    for (size_t i = 0; i < sizeof stays / sizeof *stays; i++)
        put(f, stays[i], "x", 1);
    put_folder(f, ".boda-zzzzzz.tmp");
    put(f, ".boda-zzzzzz.tmp/theirs", "x", 1);
    put_folder(f, "server");
    put_folder(f, "Photos");
    file_name_make(&label, name);
    (void)snprintf(path, sizeof path, "server/%s", name);
    put(f, path, "torn", 4);
    put(f, ".boda-aaaaaa.tmp", bytes, 500);
    put(f, ".boda-bbbbbb.tmp", "no batch", 8);
    put(f, ".boda-cccccc.tmp", "", 0);
    put(f, "revoked-0a1b2c3d.crl", "a list", 6);
    put(f, ".boda-dddddd.tmp", "a list", 6);
    put(f, README_NAME, "theirs", 6);

    STORES_OK(leftovers_remove(f->medium, &f->error) == 0, &f->error);
    for (size_t i = 0; i < sizeof stays / sizeof *stays; i++)
        assert_true(is_there(f, stays[i]));
    assert_true(is_there(f, ".boda-zzzzzz.tmp/theirs"));
    assert_true(is_there(f, ".boda-aaaaaa.tmp"));
    assert_true(is_there(f, ".boda-dddddd.tmp"));
    assert_false(is_there(f, ".boda-bbbbbb.tmp"));
    assert_false(is_there(f, ".boda-cccccc.tmp"));
    assert_true(is_there(f, path));
    free(bytes);
}

/* ---- media that are full or read only: in a child, which alone sees them ----------------------------- */

#define SKIPPED 77
#define NEED(condition)                                                                 \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%d: not so: %s (%s)\n", __LINE__, #condition, error.text); \
            return 1;                                                                   \
        }                                                                               \
    } while (0)

static unsigned entries(const char *folder)
{
    DIR *stream = opendir(folder);
    unsigned count = 0;

    while (stream != NULL && readdir(stream) != NULL)
        count++;
    if (stream != NULL)
        (void)closedir(stream);
    return count - 2;
}

static int fill(const char *folder)
{
    static const char text[20000] = "something";
    struct error error = {0};
    struct medium *medium;
    unsigned whole = 0;
    uint64_t bytes;
    char name[16];
    int result = 0;

    if (folder_mount_small(folder, 1 << 20) != 0)
        return SKIPPED;
    medium = medium_open(folder, &error);
    NEED(medium != NULL);
    for (unsigned i = 0; i < 100 && result == 0; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        result = medium_begin(medium, "t1", name, &error) != 0 ||
                         medium_write(medium, text, sizeof text, &error) != 0 ||
                         medium_end(medium, &error) != 0
                     ? -1
                     : 0;
        if (result == 0 && i % 10 == 9) {
            result = medium_sync(medium, &error);
            whole = i + 1;
        }
    }
    NEED(result == -1 && error.kind == ERROR_FULL);
    NEED(strstr(error.text, "make room on it, or go on with another medium") != NULL);
    NEED(medium_written(medium, &bytes) == whole && whole > 0);
    medium_close(medium);
    /* Of the last group nothing is left, neither whole nor temporary. */
    NEED(entries(folder) == 1);
    NEED(chdir(folder) == 0 && entries("t1") == whole);
    NEED(chdir("/") == 0);
    return 0;
}

static int lock(const char *folder)
{
    struct error error = {0};
    struct medium *medium;

    if (folder_mount_small(folder, 1 << 20) != 0 || folder_remount_read_only(folder) != 0)
        return SKIPPED;
    medium = medium_open(folder, &error);
    NEED(medium != NULL);
    NEED(medium_begin(medium, NULL, "a", &error) == -1 && error.kind == ERROR_FAILED);
    NEED(strstr(error.text, "is it locked by a switch") != NULL);
    NEED(medium_begin(medium, "t1", "a", &error) == -1);
    NEED(strstr(error.text, "is it locked by a switch") != NULL);
    medium_close(medium);
    return 0;
}

static void full(void **state)
{
    const struct fixture *f = *state;
    int status = folder_in_child(fill, f->folder);

    if (status == SKIPPED)
        skip();
    assert_int_equal(status, 0);
}

static void read_only(void **state)
{
    const struct fixture *f = *state;
    int status = folder_in_child(lock, f->folder);

    if (status == SKIPPED)
        skip();
    assert_int_equal(status, 0);
}

/* Proves: of two who write, one waits outside, and comes in when the other has gone. */
static void one_writer(void **state)
{
    struct fixture *f = *state;
    struct medium *other = medium_open(f->folder, &f->error);

    STORES_OK(other != NULL && medium_lock(f->medium, &f->error) == 0, &f->error);
    assert_int_equal(medium_lock(other, &f->error), -1);
    assert_int_equal(f->error.kind, ERROR_TEMPORARY);
    medium_close(f->medium);
    f->medium = other;
    STORES_OK(medium_lock(other, &f->error) == 0, &f->error);
}

static void no_folder(void **state)
{
    struct fixture *f = *state;
    char *file = folder_path(f->folder, "file");

    put(f, "file", "x", 1);
    assert_null(medium_open(file, &f->error));
    assert_non_null(strstr(f->error.text, "cannot be opened as a folder: Not a directory"));
    assert_null(medium_open("/nowhere/at all", &f->error));
    assert_non_null(strstr(f->error.text, "No such file or directory"));
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(named_all_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_files_and_folders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_regular_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changed_while_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_are_not_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leftovers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(read_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_writer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_folder, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("medium", tests, NULL, NULL);
}
