/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * gadget/drive_content and what is below it: what the drive shows, what is taken in from it, and that nothing is lost when an
 * image cannot be made, or the work is stopped.  What strangers may do to an image is in drive_hostile_test.c, the drive
 * at a real cable in tests/vm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "gadget/drive_take.h"
#include "gadget/drive_tool.h"
#include "store/export.h"
#include "store/file_name.h"
#include "store/readme.h"
#include "store/trust.h"
#include "tests/unit/support/driven.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

static ino_t image_number(const struct driven *d)
{
    struct stat status;

    assert_int_equal(stat(d->image, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(status.st_size, DRIVEN_BYTES);
    assert_true(status.st_blocks * 512 < DRIVEN_BYTES / 2); /* sparse */
    return status.st_ino;
}

static void assert_page(const struct driven *d, const char *words)
{
    char *page = driven_output(d, "mtype -i \"$I\" ::/STATUS.HTM");

    if (strstr(page, words) == NULL)
        fail_msg("STATUS.HTM has no '%s':\n%s", words, page);
    free(page);
}

/* ---- what it shows ---- */

static void test_fresh(void **state)
{
    struct driven *d = *state;
    struct label up, down;
    struct buffer bytes = {0};
    char *path, *readme_text;

    filed_hold(d->f, d->f->deployment->tablet, d->f->deployment->server, 1, &up);
    filed_hold(d->f, d->f->deployment->server, d->f->deployment->tablet, 0, &down);
    driven_refresh(d);
    (void)image_number(d);
    assert_int_equal(driven_shell(d, "fsck.fat -n \"$I\" >\"$M/fsck\""), 0);
    readme_text = driven_output(d, "mtype -i \"$I\" ::/README.TXT");
    assert_string_equal(readme_text, readme());
    free(readme_text);
    assert_page(d, "2 batches wait, 2 of them are on this drive.");
    assert_page(d, "<td>t1</td><td>server</td><td>1</td>");
    assert_int_equal(driven_shell(d, "mdir -i \"$I\" ::/TO-COURIER >\"$M/inbox\""), 0);
    /* Each is as the store has it. */
    for (unsigned i = 0; i < 2; i++) {
        const struct label *label = i == 0 ? &up : &down;

        path = filed_name(label);
        assert_true(driven_has(d, path));
        STORES_OK(batches_load(d->f->store, label->id, &bytes, &d->f->error) == 0, &d->f->error);
        assert_true(filed_has(d->f, "seen", bytes.data, bytes.length));
        buffer_free(&bytes);
        free(path);
    }
}

/* One that nobody wrote to is made again when the store has changed, and only then. */
static void test_unchanged(void **state)
{
    struct driven *d = *state;
    struct label label;
    ino_t before;
    char *path;

    driven_refresh(d);
    before = image_number(d);
    driven_refresh(d);
    assert_true(image_number(d) == before);
    filed_hold(d->f, d->f->deployment->tablet, d->f->deployment->server, 1, &label);
    driven_refresh(d);
    assert_true(image_number(d) != before);
    path = filed_name(&label);
    assert_true(driven_has(d, path));
    free(path);
    /* A number of the store's that changes without its content. */
    before = image_number(d);
    STORES_OK(store_begin(d->f->store, &d->f->error) == 0 &&
                  store_commit(d->f->store, &d->f->error) == 0,
              &d->f->error);
    driven_refresh(d);
    assert_true(image_number(d) == before);
}

/* The revocation list, under the name that an export gives it. */
static void test_list(void **state)
{
    struct driven *d = *state;
    char name[TRUST_LIST_NAME_BYTES];
    struct buffer der = {0}, list = {0};

    filed_give_list(d->f, &der);
    assert_int_equal(export_list(d->f->store, name, &list, &d->f->error), 1);
    driven_refresh(d);
    assert_true(driven_has(d, name));
    assert_true(filed_has(d->f, "seen", der.data, der.length));
    buffer_free(&der);
    buffer_free(&list);
}

/* The oldest that fit, and words of the rest: never more than half of the drive. */
static void test_too_many(void **state)
{
    struct driven *d = *state;
    struct label first, label;
    char *path;

    filed_hold(d->f, d->f->deployment->tablet, d->f->deployment->server, 1, &first);
    for (uint64_t seq = 2; seq <= 300; seq++)
        filed_hold(d->f, d->f->deployment->tablet, d->f->deployment->server, seq, &label);
    driven_refresh(d);
    assert_page(
        d,
        "300 batches wait, 256 of them are on this drive: the oldest ones, as there is no room for more.");
    path = filed_name(&first);
    assert_true(driven_has(d, path));
    free(path);
    path = filed_name(&label);
    assert_false(driven_has(d, path));
    free(path);
}

/* ---- what is dropped ---- */

static void test_dropped(void **state)
{
    static const char *const places[] = {
        "TO-COURIER/", "TO-COURIER/server/",      "",
        "server/",     "TO-COURIER/BODA/server/", "Odd folder/Copy of "};
    struct driven *d = *state;
    struct label labels[6];
    char *path;

    driven_refresh(d);
    assert_int_equal(driven_shell(d,
                                  "mmd -i \"$I\" ::/TO-COURIER/server ::/server ::/TO-COURIER/BODA "
                                  "::/TO-COURIER/BODA/server '::/Odd folder'"),
                     0);
    for (unsigned i = 0; i < 6; i++)
        driven_drop(d, i + 1, places[i], &labels[i]);
    filed_put(d->f, "note.txt", "for grandmother", 15);
    assert_int_equal(driven_shell(d, "mcopy -i \"$I\" \"$M/note.txt\" ::/TO-COURIER"), 0);
    driven_refresh(d);
    for (unsigned i = 0; i < 6; i++)
        assert_true(driven_took(d, &labels[i]));
    assert_int_equal(filed_batches(d->f, BATCH_HELD), 6);
    assert_page(d, "6 batches were taken in, 0 were here already");
    assert_page(d, "<li>note.txt</li>");
    assert_true(driven_has(d, "TO-COURIER/NOT-A-BATCH/note.txt"));
    assert_true(filed_has(d->f, "seen", "for grandmother", 15));
    /* They wait now, at their place. */
    path = filed_name(&labels[0]);
    assert_true(driven_has(d, path));
    free(path);
    /* It stays when the image is made anew for another reason, also by a courier that knows nothing of it. */
    filed_hold(d->f, d->f->deployment->tablet, d->f->deployment->server, 9, &labels[0]);
    driven_refresh(d);
    assert_true(driven_has(d, "TO-COURIER/NOT-A-BATCH/note.txt"));
    assert_page(d, "6 batches were taken in");
    driven_again(d);
    driven_refresh(d);
    assert_true(driven_has(d, "TO-COURIER/NOT-A-BATCH/note.txt"));
    assert_int_equal(filed_batches(d->f, BATCH_HELD), 7);
}

/* The same batch again and again, and one with a bit turned. */
static void test_altered(void **state)
{
    struct driven *d = *state;
    struct label label, other;
    char name[FILE_NAME_BYTES];

    driven_refresh(d);
    driven_drop(d, 1, "", &label);
    file_name_make(&label, name);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(
            driven_shell(d, "mcopy -i \"$I\" \"$M/dropped\" '::/TO-COURIER/Copy (%u) of %s'", i,
                         name),
            0);
    driven_drop(d, 2, "", &other);
    file_name_make(&other, name);
    assert_int_equal(
        driven_shell(d,
                     "printf X | dd of=\"$M/dropped\" bs=1 seek=99 conv=notrunc status=none && "
                     "mcopy -i \"$I\" -D o \"$M/dropped\" '::/%s'",
                     name),
        0);
    driven_refresh(d);
    assert_true(driven_took(d, &label));
    assert_false(driven_took(d, &other));
    assert_int_equal(filed_batches(d->f, BATCH_HELD), 1);
    assert_page(
        d,
        "1 batches were taken in, 20 were here already, 1 files were altered, cut, or no batches.");
    assert_page(d, name);
}

/* What systems put on each drive is nobody's. */
static void test_of_systems(void **state)
{
    struct driven *d = *state;

    driven_refresh(d);
    filed_put(d->f, "x", "x", 1);
    assert_int_equal(
        driven_shell(
            d,
            "mmd -i \"$I\" '::/System Volume Information' ::/.Trash-1000 ::/TO-COURIER/.Trash && "
            "mcopy -i \"$I\" \"$M/x\" '::/System Volume Information/x' && "
            "mcopy -i \"$I\" \"$M/x\" ::/.Trash-1000/x && mcopy -i \"$I\" \"$M/x\" ::/Thumbs.db && "
            "mcopy -i \"$I\" \"$M/x\" ::/TO-COURIER/._x"),
        0);
    driven_refresh(d);
    assert_int_equal(
        driven_shell(d, "mdir -i \"$I\" -b -/ :: >\"$M/all\" && ! grep -q NOT-A-BATCH \"$M/all\""),
        0);
}

/* A courier with no room: the image stays, and all is taken in once there is some. */
static void test_no_room(void **state)
{
    struct driven *d = *state;
    struct label label;
    ino_t before;

    filed_station(d->f, "c1", "courier", 100);
    driven_again(d);
    driven_refresh(d);
    before = image_number(d);
    driven_drop(d, 1, "TO-COURIER/", &label);
    assert_int_equal(drive_content_refresh(d->content, &d->f->error), -1);
    assert_int_equal(d->f->error.kind, ERROR_FULL);
    assert_true(image_number(d) == before);
    assert_false(driven_took(d, &label));
    filed_station(d->f, "c1", "courier", 0);
    driven_again(d);
    driven_refresh(d);
    assert_true(driven_took(d, &label));
}

/* Stopped at any moment: the old image is there, and the next courier takes in what is on it. */
static void test_stopped(void **state)
{
    struct driven *d = *state;
    const uint64_t one = 1;
    struct label label;
    uint64_t count;
    ino_t before;

    driven_refresh(d);
    driven_drop(d, 1, "TO-COURIER/", &label);
    before = image_number(d);
    assert_int_equal(write(d->stop_fd, &one, sizeof one), sizeof one);
    assert_int_equal(drive_content_refresh(d->content, &d->f->error), -1);
    assert_int_equal(d->f->error.kind, ERROR_CLOSED);
    assert_true(image_number(d) == before);
    assert_int_equal(read(d->stop_fd, &count, sizeof count), sizeof count);
    /* What a killed one has left is in nobody's way. */
    assert_int_equal(
        driven_shell(
            d, "cd \"$(dirname \"$I\")\" && mkdir -p drive.stage/7 && echo x >drive.stage/7/x && "
               "echo half >drive.new"),
        0);
    driven_again(d);
    driven_refresh(d);
    assert_true(driven_took(d, &label));
}

/* ---- the tools ---- */

static void test_tool_bounds(void **state)
{
    static const char *const missing[] = {"no-such-tool-of-ours", NULL},
                             *const slow[] = {"sleep", "60", NULL},
                             *const endless[] = {"yes", NULL},
                             *const wrong[] = {"cat", "/nonexistent", NULL},
                             *const deaf[] = {"sh", "-c", "exec >&- 2>&-; sleep 60", NULL};
    struct drive_tool tool = {
        .stop_fd = eventfd(0, EFD_CLOEXEC), .until_ms = clock_ms() + 20000, .file_bytes = 1 << 20};
    struct buffer output = {.limit = 100000};
    const uint64_t one = 1;
    struct error error;
    char *folder = folder_new(), *path = folder_path(folder, "large"), *of;
    const char *large[] = {"dd", "if=/dev/zero", NULL, "bs=1M", "count=9", NULL};
    struct stat status;

    (void)state;
    assert_true(asprintf(&of, "of=%s", path) > 0);
    large[2] = of;
    assert_int_equal(drive_tool_run(&tool, missing, NULL, &error), -1);
    assert_int_equal(error.kind, ERROR_USAGE);
    assert_non_null(strstr(error.text, "apt-get install mtools dosfstools"));
    assert_int_equal(drive_tool_run(&tool, endless, &output, &error), -1);
    assert_int_equal(error.kind, ERROR_FULL);
    assert_int_equal(output.length, 100000);
    buffer_free(&output);
    assert_int_equal(drive_tool_run(&tool, wrong, NULL, &error), 1);
    assert_non_null(strstr(error.text, "No such file"));
    assert_int_equal(drive_tool_run(&tool, large, NULL, &error), 1);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 1 << 20);
    tool.until_ms = clock_ms() + 300;
    assert_int_equal(drive_tool_run(&tool, slow, NULL, &error), -1);
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    tool.until_ms = clock_ms() + 300;
    assert_int_equal(drive_tool_run(&tool, deaf, NULL, &error), 1);
    tool.until_ms = clock_ms() + 20000;
    assert_int_equal(write(tool.stop_fd, &one, sizeof one), sizeof one);
    assert_int_equal(drive_tool_run(&tool, slow, NULL, &error), -1);
    assert_int_equal(error.kind, ERROR_CLOSED);
    assert_true(clock_ms() < tool.until_ms - 10000);
    assert_int_equal(close(tool.stop_fd), 0);
    free(of);
    free(path);
    folder_remove(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, driven_set_up, driven_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fresh),    TEST(unchanged),
        TEST(too_many), TEST(dropped),
        TEST(altered),  TEST(of_systems),
        TEST(list),     TEST(no_room),
        TEST(stopped),  cmocka_unit_test(test_tool_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
