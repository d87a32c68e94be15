/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * gadget/check, its part for identity and store: what cannot be used, or would lose what it carries, is
 * said with what to do; nothing is made, and nobody is asked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/support/board.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

static void test_identity(void **state)
{
    struct deployment *deployment = deployment_new();
    char *file, *tablet, *words, *wrong, *credentials;
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    file = folder_path(board, "c1.p12");
    tablet = folder_path(board, "t1.p12");
    words = folder_path(board, "credentials/boda-passphrase");
    wrong = folder_path(board, "wrong");
    credentials = folder_path(board, "credentials");
    deployment_write(deployment->courier, file, "correct horse");
    deployment_write(deployment->tablet, tablet, "correct horse");
    board_put("credentials/boda-passphrase", "correct horse\n");
    board_put("wrong", "battery staple\n");
    assert_int_equal(chmod(words, 0600), 0);
    assert_int_equal(chmod(wrong, 0600), 0);

    said = board_check((struct check_options){.identity = file}); /* nobody is asked */
    SAYS(said, "note", "is private and PKCS#12", "--passphrase-file");
    board_end(&said, 0);
    said = board_check((struct check_options){.identity = file, .passphrase_file = words});
    SAYS(said, "ok", "is courier c1");
    board_end(&said, 0);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", credentials, 1), 0);
    said = board_check((struct check_options){.identity = file});
    SAYS(said, "ok", "is courier c1");
    board_end(&said, 0);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", board, 1), 0); /* has no passphrase */
    said = board_check((struct check_options){.identity = file});
    SAYS(said, "note", "was not opened");
    board_end(&said, 0);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    said = board_check((struct check_options){.identity = file, .passphrase_file = wrong});
    SAYS(said, "missing", "c1.p12", "the passphrase is wrong");
    board_end(&said, 1);
    said = board_check((struct check_options){.identity = tablet, .passphrase_file = words});
    SAYS(said, "missing", "is the one of a tablet", "boda enroll courier");
    board_end(&said, 1);

    assert_int_equal(chmod(file, 0644), 0);
    said = board_check((struct check_options){.identity = file, .passphrase_file = words});
    SAYS(said, "missing", "others can read it", "chmod 600");
    board_end(&said, 1);
    said = board_check((struct check_options){.identity = file});
    SAYS(said, "missing", "others can read it", "chmod 600");
    board_end(&said, 1);
    said = board_check((struct check_options){.identity = wrong});
    SAYS(said, "missing", "is not a PKCS#12 file", "boda enroll courier");
    board_end(&said, 1);
    said = board_check((struct check_options){.identity = "/nonexistent/c1.p12"});
    SAYS(said, "missing", "/nonexistent/c1.p12", "No such file");
    board_end(&said, 1);
    free(file);
    free(tablet);
    free(words);
    free(wrong);
    free(credentials);
    deployment_free(deployment);
}

static void test_store_absent(void **state)
{
    char *folder, *below, *file;
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    folder = folder_path(board, "store");
    below = folder_path(folder, "deeper");
    file = folder_path(board, BOARD_UDC "/state");
    said = board_check((struct check_options){.store = folder});
    SAYS(said, "ok", "is not there yet; boda-courier makes it");
    free(said.text);
    said = board_check((struct check_options){.store = below});
    SAYS(said, "missing", "nor is the folder above it", "sudo mkdir -p", folder);
    board_end(&said, 1);
    said = board_check((struct check_options){.store = file});
    SAYS(said, "missing", "is not a folder");
    board_end(&said, 1);
    assert_int_equal(access(folder, F_OK), -1); /* nothing was made */
    free(folder);
    free(below);
    free(file);
}

/* Fill a page of the database with nonsense: from 0, or -1 for the last one. */
static void damage(const char *folder, long page)
{
    char *path = folder_path(folder, "boda.db");
    FILE *file = fopen(path, "r+");

    assert_non_null(file);
    assert_int_equal(fseek(file, page * 4096, page < 0 ? SEEK_END : SEEK_SET), 0);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(fputc(0xee, file), 0xee);
    assert_int_equal(fclose(file), 0);
    free(path);
}

static void test_store(void **state)
{
    struct deployment *deployment = deployment_new();
    char *folder, *identity, *words;
    struct store *store;
    struct label label;
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    folder = folder_path(board, "store");
    identity = folder_path(board, "c2.p12");
    words = folder_path(board, "words");
    assert_int_equal(mkdir(folder, 0700), 0);
    said = board_check((struct check_options){.store = folder});
    SAYS(said, "ok", "has no store yet");
    SAYS(said, "", "store", "MB free");
    free(said.text);

    store = stores_open(folder);
    stores_add(store, &label, "t1", "server", 1, 1, 50000);
    said = board_check((struct check_options){.store = folder}); /* beside a running courier */
    SAYS(said, "ok", "is courier c1's, and undamaged");
    free(said.text);
    store_close(store);
    said = board_check((struct check_options){.store = folder});
    SAYS(said, "ok", "is courier c1's, and undamaged");
    free(said.text);

    deployment_write(deployment->courier2, identity, "correct horse");
    board_put("words", "correct horse\n");
    assert_int_equal(chmod(words, 0600), 0);
    said = board_check(
        (struct check_options){.store = folder, .identity = identity, .passphrase_file = words});
    SAYS(said, "missing", "belongs to courier c1, the identity to c2", "give the folder");
    board_end(&said, 1);

    damage(folder, -1); /* bytes of a batch: found by the thorough check alone */
    said = board_check((struct check_options){.store = folder});
    SAYS(said, "missing", folder, "move the folder aside and start boda-courier");
    board_end(&said, 1);
    damage(folder, 0);
    said = board_check((struct check_options){.store = folder});
    SAYS(said, "missing", folder, "start boda-courier, which moves it aside");
    board_end(&said, 1);
    assert_int_equal(access(folder, F_OK), 0);
    free(folder);
    free(identity);
    free(words);
    deployment_free(deployment);
}

static void test_store_of_tablet(void **state)
{
    struct store_options options = {.station = "t1", .role = "tablet", .reserve_bytes = 1};
    struct error error;
    struct store *store;
    struct said said;
    char *folder;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    folder = folder_path(board, "store");
    options.directory = folder;
    store = store_open(&options, &error);
    STORES_OK(store != NULL, &error);
    store_close(store);
    said = board_check((struct check_options){.store = folder});
    SAYS(said, "missing", "is the one of tablet t1", "courier's own");
    board_end(&said, 1);
    free(folder);
}

/* In a child, which asserts nothing: what the check says of a store at PATH goes into the file NAME. */
static bool note_what_it_says(const char *path, const char *name)
{
    const struct check_options options = {.root = board, .store = path};
    char *to = folder_path(board, name);
    FILE *out = fopen(to, "w");
    bool done;

    free(to);
    if (out == NULL)
        return false;
    done = check_run(&options, out, NULL) >= 0;
    return fclose(out) == 0 && done;
}

static bool make_folder(const char *parent, const char *name)
{
    char *path = folder_path(parent, name);
    bool done = mkdir(path, 0700) == 0;

    free(path);
    return done;
}

/* In a child: a file system in memory, an overlay of it, and the first one when it is read only. */
static int visit_disks(void)
{
    char *disk = folder_path(board, "disk"), *overlay = folder_path(board, "overlay");
    char options[1024];

    (void)alarm(60);
    if (folder_mount_small(disk, 4096 * 1024UL) != 0)
        return 77;
    if (!note_what_it_says(disk, "memory.txt"))
        return 1;
    (void)snprintf(options, sizeof options, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
                   disk, disk, disk);
    if (make_folder(disk, "lower") && make_folder(disk, "upper") && make_folder(disk, "work") &&
        mount("none", overlay, "overlay", 0, options) == 0 &&
        (!note_what_it_says(overlay, "overlay.txt") || umount(overlay) != 0))
        return 1;
    if (folder_remount_read_only(disk) != 0 || !note_what_it_says(disk, "read-only.txt"))
        return 1;
    free(disk);
    free(overlay);
    return 0;
}

/* What the child noted; an empty text when it did not get there. */
static struct said read_note(const char *name)
{
    struct said said = {.text = calloc(1, 16384)};
    char *path = folder_path(board, name);
    FILE *file = fopen(path, "r");

    assert_non_null(said.text);
    if (file != NULL) {
        said.size = fread(said.text, 1, 16383, file);
        fclose(file);
    }
    free(path);
    return said;
}

static int in_child(int (*body)(void))
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0)
        _exit(body());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_store_disks(void **state)
{
    struct said said;
    int status;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    assert_true(make_folder(board, "disk") && make_folder(board, "overlay"));
    status = in_child(visit_disks);
    if (status == 77)
        skip(); /* the kernel does not let us mount */
    assert_int_equal(status, 0);
    said = read_note("memory.txt");
    SAYS(said, "missing", "is in memory (tmpfs)", "lost at power off", "give a folder");
    SAYS(said, "missing", "its disk is full (4 MB free", "make room");
    free(said.text);
    said = read_note("read-only.txt");
    SAYS(said, "missing", "mounted read only", "remount,rw");
    free(said.text);
    said = read_note("overlay.txt");
    if (said.size > 0)
        SAYS(said, "note", "is on an overlay", "upper layer");
    free(said.text);

    /* The read-only root that raspi-config offers. */
    board_put("proc/cmdline", "console=tty1 overlayroot=tmpfs rootwait\n");
    assert_int_equal(in_child(visit_disks), 0);
    said = read_note("overlay.txt");
    if (said.size > 0)
        SAYS(said, "missing", "keeps changes in memory", "raspi-config");
    free(said.text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, board_make, board_drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_identity),        TEST(test_store_absent), TEST(test_store),
        TEST(test_store_of_tablet), TEST(test_store_disks),
    };

    return cmocka_run_group_tests_name("check_station", tests, NULL, NULL);
}
