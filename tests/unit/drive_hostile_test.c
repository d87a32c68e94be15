/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * gadget/drive_take: images that a stranger has written, or a pulled cable has torn.  Whatever is on one, the work ends within
 * its bounds, what is whole of the batches is in the store, nothing outside of the courier's folder is touched, and
 * the next image is sound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/file_name.h"
#include "tests/unit/support/driven.h"
#include "tests/unit/support/fat.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

#define INBOX "TO-COU~1   "
#define CLUSTER 2048u /* of an image of DRIVEN_BYTES */
#define PROCESSOR_SECONDS 60
#define GROWTH_KIB (24 << 10)
#if defined __has_feature
#if __has_feature(address_sanitizer) /* which keeps what was freed for a while */
#undef GROWTH_KIB
#define GROWTH_KIB (400 << 10)
#endif
#endif
#define TORN 14

/* ---- bounds ---- */

struct cost {
    long seconds, most_kib;
};

static struct cost cost_so_far(void)
{
    struct rusage self, children;

    assert_int_equal(getrusage(RUSAGE_SELF, &self), 0);
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &children), 0);
    return (struct cost){.seconds = self.ru_utime.tv_sec + self.ru_stime.tv_sec +
                                    children.ru_utime.tv_sec + children.ru_stime.tv_sec,
                         .most_kib = self.ru_maxrss};
}

/* The image is looked through and made anew, within its bounds, and the new one is sound. */
static void look_through(struct driven *d)
{
    struct cost before = cost_so_far(), after;

    driven_refresh(d);
    after = cost_so_far();
    assert_true(after.seconds - before.seconds < PROCESSOR_SECONDS);
    assert_true(after.most_kib - before.most_kib < GROWTH_KIB);
    assert_int_equal(driven_shell(d, "fsck.fat -n \"$I\" >\"$M/fsck\""), 0);
    assert_int_equal(driven_shell(d, "mdir -i \"$I\" ::/TO-COURIER >\"$M/inbox\""), 0);
}

static bool is_kept(const struct driven *d)
{
    return driven_shell(d, "test -f \"$(dirname \"$I\")/drive.damaged\"") == 0;
}

static void forget_kept(const struct driven *d)
{
    assert_int_equal(driven_shell(d, "rm -f \"$(dirname \"$I\")/drive.damaged\""), 0);
}

/* ---- no file system at all ---- */

static void test_random_bytes(void **state)
{
    struct driven *d = *state;
    struct label label;

    driven_refresh(d);
    assert_int_equal(driven_shell(d, "head -c 16M /dev/urandom >\"$I\" && cp \"$I\" \"$M/random\""),
                     0);
    look_through(d);
    assert_int_equal(driven_shell(d, "cmp \"$(dirname \"$I\")/drive.damaged\" \"$M/random\""), 0);
    /* Kept once. */
    assert_int_equal(driven_shell(d, "head -c 16M /dev/urandom >\"$I\""), 0);
    look_through(d);
    assert_int_equal(driven_shell(d, "cmp \"$(dirname \"$I\")/drive.damaged\" \"$M/random\""), 0);
    /* Empty, and cut: hosts cannot, but a disk that was full may have. */
    assert_int_equal(driven_shell(d, ": >\"$I\""), 0);
    look_through(d);
    driven_drop(d, 1, "TO-COURIER/", &label);
    assert_int_equal(driven_shell(d, "truncate -s 1M \"$I\""), 0);
    look_through(d);
    /* No file at all, or one that leads elsewhere. */
    assert_int_equal(
        driven_shell(d, "rm \"$I\" && cp \"$M/random\" \"$M/else\" && ln -s \"$M/else\" \"$I\""),
        0);
    look_through(d);
    assert_int_equal(driven_shell(d, "cmp \"$M/else\" \"$M/random\" && test ! -L \"$I\""), 0);
}

/* Random bytes in the boot sector, the tables, the folders: one file after the other may go, the work may not. */
static void test_random_places(void **state)
{
    struct driven *d = *state;
    uint64_t seed = stores_seed();
    struct label label;

    driven_refresh(d);
    driven_drop(d, 1, "TO-COURIER/", &label);
    assert_int_equal(driven_shell(d, "cp \"$I\" \"$M/good\""), 0);
    for (unsigned i = 0; i < 24; i++) {
        int fd;

        assert_int_equal(driven_shell(d, "cp \"$M/good\" \"$I\""), 0);
        fd = open(d->image, O_WRONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        for (unsigned j = 0; j < 20; j++) {
            uint64_t value = stores_random(&seed);
            /* The first 64 KiB: all of the file system's own. */
            off_t at = (off_t)(stores_random(&seed) % (i % 2 == 0 ? 512 : 65536));

            assert_int_equal(pwrite(fd, &value, 1 + (size_t)(j % 4), at), 1 + j % 4);
        }
        assert_int_equal(close(fd), 0);
        look_through(d);
        forget_kept(d);
    }
}

/* ---- chains ---- */

/* A file of SIZE bytes in the inbox, whose first cluster is returned. */
static uint16_t add_file(struct fat *fat, const char *name, uint32_t size)
{
    uint16_t first = fat_take(fat);

    fat_add_short(fat, fat_find(fat, 0, INBOX), name, FAT_FILE, first, size);
    return first;
}

/* Batches beside them are taken in, whatever becomes of the others. */
static void test_loops(void **state)
{
    struct driven *d = *state;
    struct label first, last;
    uint16_t inbox, loop, cross, folder;
    struct fat *fat;

    driven_refresh(d);
    driven_drop(d, 1, "TO-COURIER/", &first);
    fat = fat_open(d->image);
    inbox = fat_find(fat, 0, INBOX);
    assert_true(inbox != 0);
    /* A file whose chain ends in itself, one that crosses it, and one that leads out of the table, or is free. */
    loop = add_file(fat, "LOOP    TXT", 100 * CLUSTER);
    fat_link(fat, loop, loop);
    cross = add_file(fat, "CROSS   TXT", 3 * CLUSTER);
    fat_link(fat, cross, loop);
    fat_link(fat, add_file(fat, "OUT     TXT", 2 * CLUSTER), 0xfff0);
    fat_link(fat, add_file(fat, "FREE    P7M", 2 * CLUSTER), 0);
    fat_add_short(fat, inbox, "NOWHERE TXT", FAT_FILE, 0xffe0, 10);
    fat_add_short(fat, inbox, "ZERO    TXT", FAT_FILE, 0, 10);
    /* Folders that have themselves, or what is above them. */
    folder = fat_take(fat);
    fat_add_short(fat, inbox, "FOLDER     ", FAT_FOLDER, folder, 0);
    fat_add_short(fat, folder, "SELF       ", FAT_FOLDER, folder, 0);
    fat_add_short(fat, folder, "UP         ", FAT_FOLDER, inbox, 0);
    fat_add_short(fat, folder, "ROOT       ", FAT_FOLDER, 0, 0);
    fat_close(fat);
    driven_drop(d, 2, "TO-COURIER/", &last);
    look_through(d);
    assert_true(driven_took(d, &first));
    assert_true(driven_took(d, &last));
    assert_true(is_kept(d));
}

/* A folder whose chain ends in itself: its listing has no end. */
static void test_endless_folder(void **state)
{
    struct driven *d = *state;
    struct label label;
    uint16_t inbox, folder;
    struct fat *fat;

    driven_refresh(d);
    driven_drop(d, 1, "TO-COURIER/", &label);
    fat = fat_open(d->image);
    inbox = fat_find(fat, 0, INBOX);
    folder = fat_take(fat);
    fat_add_short(fat, inbox, "ENDLESS    ", FAT_FOLDER, folder, 0);
    for (unsigned i = 0; i < CLUSTER / 32; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "F%07uTXT", i);
        fat_add_short(fat, folder, name, FAT_FILE, fat_take(fat), 5);
    }
    fat_link(fat, folder, folder);
    fat_close(fat);
    look_through(d);
    assert_true(driven_took(d, &label));
}

/* ---- names and sizes ---- */

/* NAME of ASCII in UTF-16. */
static size_t widen(const char *name, uint16_t *units)
{
    size_t count = 0;

    for (; name[count] != '\0'; count++)
        units[count] = (unsigned char)name[count];
    return count;
}

static void test_names(void **state)
{
    static const char *const names[] = {"../../evil.p7m",
                                        "..\\evil.p7m",
                                        "/etc/evil",
                                        "con",
                                        "aux.p7m",
                                        "nul.txt",
                                        "a?*[b]",
                                        "a\nb 1 2026-01-01  10:00  x",
                                        "<b>&.txt",
                                        "-rf",
                                        "..",
                                        ".",
                                        "\"quoted\"",
                                        "`touch evil`",
                                        "$(touch evil)",
                                        "dot.",
                                        " space ",
                                        "%s%n%s"};
    struct driven *d = *state;
    uint16_t units[260], inbox;
    struct label label;
    struct fat *fat;

    driven_refresh(d);
    driven_drop(d, 1, "TO-COURIER/", &label);
    fat = fat_open(d->image);
    inbox = fat_take(fat);
    fat_add_short(fat, 0, "STRANGE    ", FAT_FOLDER, inbox, 0);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        fat_add(fat, inbox, units, widen(names[i], units), FAT_FILE, fat_take(fat), 5);
    /* The longest, of three bytes each outside; halves of pairs; ends of lines of Unicode's own. */
    for (unsigned i = 0; i < 255; i++)
        units[i] = (uint16_t)(0x0e01 + i % 40);
    inbox = fat_take(fat);
    fat_add_short(fat, 0, "LONG       ", FAT_FOLDER, inbox, 0);
    fat_add(fat, inbox, units, 255, FAT_FILE, fat_take(fat), 7);
    for (unsigned i = 0; i < 20; i++)
        units[i] = (uint16_t)(i % 3 == 0 ? 0xd83d : i % 3 == 1 ? 0x2028 : 0xdc00);
    fat_add(fat, inbox, units, 20, FAT_FILE, fat_take(fat), 7);
    fat_add_short(fat, inbox, "\x05\x01\xff\xfe\"/  TXT", FAT_FILE, fat_take(fat), 7);
    fat_close(fat);
    look_through(d);
    assert_true(driven_took(d, &label));
    assert_int_equal(filed_batches(d->f, BATCH_HELD), 1);
    /* Nothing came to lie outside. */
    assert_int_equal(
        driven_shell(
            d, "cd \"$(dirname \"$I\")\"; test \"$(ls)\" = drive.img -o \"$(ls | tr '\\n' ' ')\" = "
               "'drive.damaged drive.img '"),
        0);
    assert_int_equal(
        driven_shell(d,
                     "test ! -e evil -a ! -e /etc/evil -a ! -e \"$(dirname \"$I\")/../evil.p7m\""),
        0);
    /* The page shows them, as text; the files are where they are said to be. */
    assert_int_equal(
        driven_shell(
            d, "mtype -i \"$I\" ::/STATUS.HTM >\"$M/page\" && ! grep -q '<b>&' \"$M/page\" && "
               "grep -q '<li>_con</li>' \"$M/page\" && grep -q '<li>_aux.p7m</li>' \"$M/page\""),
        0);
    assert_true(driven_has(d, "TO-COURIER/NOT-A-BATCH/_con"));
    assert_true(driven_has(d, "TO-COURIER/NOT-A-BATCH/-rf"));
}

/* Sizes that no image has: nothing of that size comes to be outside. */
static void test_claims(void **state)
{
    struct driven *d = *state;
    char name[FILE_NAME_BYTES];
    uint16_t units[260], inbox, chain, last;
    struct label label, claimed;
    struct fat *fat;

    driven_refresh(d);
    driven_drop(d, 1, "TO-COURIER/", &label);
    /* Of its own name, its size alone is a lie. */
    driven_drop(d, 2, "", &claimed);
    file_name_make(&claimed, name);
    fat = fat_open(d->image);
    inbox = fat_find(fat, 0, INBOX);
    fat_add(fat, inbox, units, widen(name, units), FAT_FILE, fat_take(fat), 0xffffffffu);
    fat_add_short(fat, inbox, "HUGE    BIN", FAT_FILE, fat_take(fat), 0xffffffffu);
    fat_add_short(fat, inbox, "HALF    BIN", FAT_FILE, fat_take(fat), DRIVEN_BYTES / 2);
    /* Forty files that share one chain of a MB. */
    chain = last = fat_take(fat);
    for (unsigned i = 0; i < (1u << 20) / CLUSTER; i++) {
        uint16_t next = fat_take(fat);

        fat_link(fat, last, next);
        last = next;
    }
    for (unsigned i = 0; i < 40; i++) {
        char old[16];

        (void)snprintf(old, sizeof old, "SHARE%03uBIN", i);
        fat_add_short(fat, inbox, old, FAT_FILE, chain, 1u << 20);
    }
    fat_close(fat);
    look_through(d);
    assert_true(driven_took(d, &label));
    assert_true(driven_took(d, &claimed));
    assert_true(is_kept(d));
}

/* ---- many ---- */

/* Formatted anew by a host, as it likes, with 10,000 files in the root. */
static void test_many(void **state)
{
    struct driven *d = *state;
    struct label label;
    struct fat *fat;

    driven_refresh(d);
    assert_int_equal(driven_shell(d, "mkfs.fat -F 16 -r 10240 \"$I\" >\"$M/made\""), 0);
    fat = fat_open(d->image);
    for (unsigned i = 0; i < 10000; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "F%07uTXT", i);
        fat_add_short(fat, 0, name, FAT_FILE, 0, 0);
    }
    fat_close(fat);
    driven_drop(d, 1, "", &label);
    look_through(d);
    assert_true(driven_took(d, &label));
    /* More than can be set down: the administrator has the rest. */
    assert_true(is_kept(d));
    assert_int_equal(
        driven_shell(d, "test \"$(mdir -i \"$I\" -b ::/TO-COURIER/NOT-A-BATCH | wc -l)\" = 256"),
        0);
}

/* ---- torn ---- */

/* What a host had written when the cable was pulled: clusters, tables and folders are each of before or after. */
static void test_torn(void **state)
{
    struct driven *d = *state;
    uint64_t seed = stores_seed();
    struct label labels[8];
    unsigned taken = 0;

    driven_refresh(d);
    assert_int_equal(driven_shell(d, "cp \"$I\" \"$M/before\""), 0);
    for (uint64_t i = 0; i < 8; i++)
        driven_drop(d, i + 1, "TO-COURIER/", &labels[i]);
    assert_int_equal(driven_shell(d, "cp \"$I\" \"$M/after\""), 0);
    for (unsigned round = 0; round < TORN; round++) {
        char *before = folder_path(d->f->medium, "before");
        unsigned char *from, *to;
        int from_fd, to_fd;

        assert_int_equal(driven_shell(d, "cp \"$M/after\" \"$I\""), 0);
        from_fd = open(before, O_RDONLY | O_CLOEXEC);
        to_fd = open(d->image, O_RDWR | O_CLOEXEC);
        assert_true(from_fd >= 0 && to_fd >= 0);
        from = mmap(NULL, DRIVEN_BYTES, PROT_READ, MAP_SHARED, from_fd, 0);
        to = mmap(NULL, DRIVEN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, to_fd, 0);
        assert_true(from != MAP_FAILED && to != MAP_FAILED);
        for (size_t at = 0; at < DRIVEN_BYTES; at += 512)
            if (memcmp(from + at, to + at, 512) != 0 && stores_random(&seed) % 4 == 0)
                memcpy(to + at, from + at, 512);
        assert_int_equal(munmap(from, DRIVEN_BYTES), 0);
        assert_int_equal(munmap(to, DRIVEN_BYTES), 0);
        assert_int_equal(close(from_fd), 0);
        assert_int_equal(close(to_fd), 0);
        free(before);
        driven_again(d);
        look_through(d);
        forget_kept(d);
    }
    /* Nothing but what was dropped came in, and of that most: a quarter of the sectors is of before. */
    for (unsigned i = 0; i < 8; i++)
        taken += driven_took(d, &labels[i]) ? 1 : 0;
    assert_int_equal(filed_batches(d->f, BATCH_HELD), taken);
    assert_true(taken >= 4);
    assert_int_equal(driven_shell(d, "cp \"$M/after\" \"$I\""), 0);
    driven_again(d);
    look_through(d);
    assert_int_equal(filed_batches(d->f, BATCH_HELD), 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, driven_set_up, driven_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(random_bytes), TEST(random_places), TEST(loops), TEST(endless_folder),
        TEST(names),        TEST(claims),        TEST(many),  TEST(torn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
