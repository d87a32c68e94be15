/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/export: what each station gives to a folder, what it spares, and what it never touches.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <valgrind/valgrind.h>

#include "store/export.h"
#include "store/inventory.h"
#include "store/readme.h"
#include "store/trust.h"
#include "tests/unit/support/filed.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

#define SMALL 6
#define FOLDER_FILES 1000 /* docs/files.md, "Names" */
#define SMALL_MEDIUM_BYTES (1u << 16)
#define CROWD_MEDIUM_BYTES (1u << 30)

static struct export_counts export(struct filed *f, bool all)
{
    struct export_counts counts;

    STORES_OK(export_run(f->store, f->medium, all, &counts, &f->error) == 0, &f->error);
    return counts;
}

static bool is_exported(const struct filed *f, const struct label *label)
{
    char *name = filed_name(label);
    bool there = filed_has(f, name, NULL, 0);

    free(name);
    return there;
}

/* Proves: a courier gives all; a second export writes nothing; a file that has another size is written again; each has its bytes. */
static void what_is_missing(void **state)
{
    struct filed *f = *state;
    const struct deployment *d = f->deployment;
    struct label labels[SMALL];
    struct buffer bytes = {0};
    struct export_counts counts;
    char *name;

    for (uint64_t i = 0; i < 3; i++) {
        filed_hold(f, d->tablet, d->server, i + 1, &labels[i]);
        filed_hold(f, d->server, i == 0 ? d->tablet2 : d->tablet, i + 1, &labels[3 + i]);
    }
    counts = export(f, false);
    assert_int_equal(counts.written, SMALL);
    assert_int_equal(counts.had, 0);
    for (size_t i = 0; i < SMALL; i++) {
        name = filed_name(&labels[i]);
        bytes.length = 0;
        STORES_OK(batches_load(f->store, labels[i].id, &bytes, &f->error) == 0, &f->error);
        assert_true(filed_has(f, name, bytes.data, bytes.length));
        free(name);
    }
    assert_int_equal(filed_batches(f, BATCH_HELD), SMALL);
    assert_true(filed_has(f, README_NAME, readme(), strlen(readme())));
    assert_int_equal(filed_count(f, "."), SMALL + 1);

    name = filed_name(&labels[5]);
    filed_put(f, name, "cut", 3);
    counts = export(f, false);
    assert_int_equal(counts.written, 1);
    assert_int_equal(counts.had, SMALL - 1);
    assert_true(filed_has(f, name, bytes.data, bytes.length));
    counts = export(f, false);
    assert_int_equal(counts.written, 0);
    free(name);
    buffer_free(&bytes);
}

/* Proves: a tablet gives its own, a dock the server's. */
static void own_only(void **state)
{
    struct filed *f = *state;
    const struct deployment *d = f->deployment;
    struct label up, down;

    filed_station(f, "t1", "tablet", 0);
    filed_hold(f, d->tablet, d->server, 1, &up);
    filed_hold(f, d->server, d->tablet, 1, &down);
    assert_int_equal(export(f, false).written, 1);
    assert_true(is_exported(f, &up));
    filed_station(f, "dock", "dock", 0);
    filed_hold(f, d->tablet, d->server, 2, &up);
    filed_hold(f, d->server, d->tablet, 2, &down);
    assert_int_equal(export(f, false).written, 1);
    assert_true(is_exported(f, &down));
    assert_false(is_exported(f, &up));
}

/* Proves: with --all also what is applied and kept, and what is for this station; never a tombstone. */
static void all(void **state)
{
    struct filed *f = *state;
    const struct deployment *d = f->deployment;
    struct label kept, gone, held, waiting;

    filed_station(f, "t1", "tablet", 0);
    filed_hold(f, d->server, d->tablet, 1, &kept);
    filed_hold(f, d->server, d->tablet, 2, &gone);
    filed_hold(f, d->tablet, d->server, 1, &held);
    filed_hold(f, d->server, d->tablet, 3, &waiting);
    STORES_OK(store_begin(f->store, &f->error) == 0 &&
                  batches_apply(f->store, &kept, true, &f->error) == 0 &&
                  batches_apply(f->store, &gone, false, &f->error) == 0 &&
                  store_commit(f->store, &f->error) == 0,
              &f->error);
    assert_int_equal(export(f, true).written, 3);
    assert_true(is_exported(f, &kept));
    assert_true(is_exported(f, &held));
    assert_true(is_exported(f, &waiting));
    assert_false(is_exported(f, &gone));
}

/* Proves: an unnumbered batch takes the place of older ones of its source and destination, of ours alone; where it is to be judged
 * by what is in it, all stay. */
static void unnumbered(void **state)
{
    struct filed *f = *state;
    const struct deployment *d = f->deployment;
    struct label first, second, other, numbered;
    char *name, copy[200];

    filed_hold(f, d->server, d->tablet, 0, &first);
    filed_hold(f, d->server, d->tablet2, 0, &other);
    filed_hold(f, d->server, d->tablet, 1, &numbered);
    assert_int_equal(export(f, false).written, 3);
    name = filed_name(&first);
    (void)snprintf(copy, sizeof copy, "%.*s (1).p7m", (int)strlen(name) - 4, name);
    filed_put(f, copy, "somebody's copy", 15);
    filed_hold(f, d->server, d->tablet, 0, &second);
    assert_int_equal(export(f, false).written, 1);
    assert_false(is_exported(f, &first));
    assert_true(is_exported(f, &second));
    assert_true(is_exported(f, &other));
    assert_true(is_exported(f, &numbered));
    assert_true(filed_has(f, copy, "somebody's copy", 15));
    free(name);

    filed_station(f, "dock", "dock", 0);
    filed_hold(f, d->tablet, d->server, 0, &first);
    filed_hold(f, d->tablet, d->server, 0, &second);
    assert_int_equal(export(f, true).written, 2);
    assert_true(is_exported(f, &first));
    assert_true(is_exported(f, &second));
}

/* Proves: the list goes along, replaces an older one and what is no list, and never a newer one or another
 * deployment's. */
static void revocation_list(void **state)
{
    static const char theirs[] = "revoked-00000000.crl";
    struct filed *f = *state;
    struct buffer older = {0}, newer = {0}, written = {0};
    char name[TRUST_LIST_NAME_BYTES];

    filed_station(f, "dock", "dock", 0);
    assert_int_equal(export_list(f->store, name, &written, &f->error), 0);
    filed_give_list(f, &older);
    assert_int_equal(export_list(f->store, name, &written, &f->error), 1);
    assert_int_equal(strspn(name + strlen("revoked-"), "0123456789abcdef"), 8);
    filed_put(f, theirs, "theirs", 6);
    (void)export(f, false);
    assert_true(filed_has(f, name, older.data, older.length));
    deployment_revoke(f->deployment, f->deployment->tablet2);
    deployment_list(f->deployment, &newer);
    filed_put(f, name, newer.data, newer.length);
    (void)export(f, false);
    assert_true(filed_has(f, name, newer.data, newer.length));
    filed_put(f, name, "no list", 7);
    (void)export(f, false);
    assert_true(filed_has(f, name, older.data, older.length));
    newer.length = 0;
    filed_give_list(f, &newer);
    (void)export(f, false);
    assert_true(filed_has(f, name, newer.data, newer.length));
    buffer_free(&older);
    assert_true(filed_has(f, theirs, "theirs", 6));
    buffer_free(&newer);
    buffer_free(&written);
}

/* Proves: what others have in the folder, and in those of stations, is as it was. */
static void others_files(void **state)
{
    struct filed *f = *state;
    static const char *const theirs[] = {
        "holiday.jpg",  "Photos/a.p7m", "server/report.p7m", "server/.boda-abc.tmp",
        "t1/notes.txt", README_NAME,    "boda.tmp/.keep",    "server/t1-17.p7m",
    };
    struct label label;

    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        filed_put(f, theirs[i], theirs[i], strlen(theirs[i]));
    filed_hold(f, f->deployment->tablet, f->deployment->server, 1, &label);
    filed_hold(f, f->deployment->server, f->deployment->tablet, 0, &label);
    assert_int_equal(export(f, false).written, 2);
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        if (!filed_has(f, theirs[i], theirs[i], strlen(theirs[i])))
            fail_msg("%s is not as it was", theirs[i]);
    assert_int_equal(filed_count(f, "."), sizeof theirs / sizeof *theirs + 2);
}

/* Proves: a station's name that DOS takes for a device's is no folder's. */
static void device_names(void **state)
{
    struct filed *f = *state;
    struct identity *tablet = deployment_enroll(f->deployment, ROLE_TABLET, "aux", "chw3");
    struct label label;

    filed_hold(f, f->deployment->server, tablet, 1, &label);
    assert_int_equal(export(f, false).written, 1);
    assert_int_equal(filed_count(f, "~aux~"), 1);
    assert_int_equal(filed_count(f, "aux"), 0);
    identity_free(tablet);
}

/* Is it at its place in this folder? */
static bool is_in(const struct filed *f, const struct label *label, const char *folder)
{
    char *path = filed_name_in(label, folder);
    bool there = filed_has(f, path, NULL, 0);

    free(path);
    return there;
}

/* FOLDER has COUNT files of whomever. */
static void fill(const struct filed *f, const char *folder, unsigned count)
{
    char path[64];

    for (unsigned i = filed_count(f, folder); i < count; i++) {
        (void)snprintf(path, sizeof path, "%s/theirs-%u", folder, i);
        filed_put(f, path, "x", 1);
    }
}

/* Proves: a folder of 1,000 files gets no more, its station's next one does; what lies in any of them is there, is mended there when
 * it was cut, and goes when a newer one has come. */
static void full_folders(void **state)
{
    struct filed *f = *state;
    const struct deployment *d = f->deployment;
    struct label up[4], receipts[2];
    char *path;

    fill(f, "server", FOLDER_FILES - 1);
    fill(f, "server (2)", FOLDER_FILES - 1);
    for (uint64_t i = 0; i < 3; i++)
        filed_hold(f, d->tablet, d->server, i + 1, &up[i]);
    filed_hold(f, d->server, d->tablet, 0, &receipts[0]);
    assert_int_equal(export(f, false).written, 4);
    assert_true(is_in(f, &up[0], "server"));
    assert_true(is_in(f, &up[1], "server (2)"));
    assert_true(is_in(f, &up[2], "server (3)"));
    assert_true(is_in(f, &receipts[0], "t1"));

    path = filed_name_in(&up[1], "server (2)");
    filed_put(f, path, "cut", 3);
    fill(f, "t1", FOLDER_FILES);
    filed_hold(f, d->tablet, d->server, 4, &up[3]);
    filed_hold(f, d->server, d->tablet, 0, &receipts[1]);
    assert_int_equal(export(f, false).written, 3);
    assert_int_equal(export(f, false).written, 0);
    assert_false(filed_has(f, path, "cut", 3));
    assert_true(is_in(f, &up[1], "server (2)"));
    assert_true(is_in(f, &up[3], "server (3)"));
    assert_true(is_in(f, &receipts[1], "t1 (2)"));
    assert_false(is_in(f, &receipts[0], "t1"));
    assert_int_equal(filed_count(f, "server"), FOLDER_FILES);
    assert_int_equal(filed_count(f, "server (2)"), FOLDER_FILES);
    free(path);
}

/* Proves: a batch that another one's id begins like is written, whatever folder that one is in. */
static void same_beginning(void **state)
{
    struct filed *f = *state;
    struct label label, other;
    char *path;

    filed_hold(f, f->deployment->tablet, f->deployment->server, 1, &label);
    other = label;
    other.seq = 7;
    path = filed_name_in(&other, "server (2)");
    filed_put(f, path, "theirs", 6);
    assert_int_equal(export(f, false).written, 1);
    assert_int_equal(export(f, false).written, 0);
    assert_true(filed_has(f, path, "theirs", 6));
    assert_true(is_in(f, &label, "server (2)"));
    free(path);
}

/* ---- media that only a child sees ------------------------------------------------------------------- */

#define SKIPPED 77
static struct filed *of_parent;

/* In a child: the fixture with a medium of SIZE_BYTES, that is empty. */
static struct filed small_medium(const char *folder, unsigned long size_bytes)
{
    struct filed f = *of_parent;

    if (folder_mount_small(folder, size_bytes) != 0)
        _exit(SKIPPED);
    f.store = NULL;
    filed_station(&f, "c1", "courier", 0);
    return f;
}

static void in_child(struct filed *f, int (*body)(const char *folder))
{
    int status;

    of_parent = f;
    status = folder_in_child(body, f->medium);
    if (status == SKIPPED)
        skip();
    assert_int_equal(status, 0);
}

/* 0 if the export fails with these words. */
static int export_says(struct filed *f, const char *words)
{
    struct export_counts counts;

    if (export_run(f->store, f->medium, false, &counts, &f->error) != 0 &&
        strstr(f->error.text, words) != NULL)
        return 0;
    fprintf(stderr, "%llu written: %s\n", (unsigned long long)counts.written, f->error.text);
    return 1;
}

static int export_to_crowd(const char *folder)
{
    struct filed f = small_medium(folder, CROWD_MEDIUM_BYTES);
    char path[128];
    int result;

    for (unsigned i = 0; i <= INVENTORY_FILES; i++) {
        (void)snprintf(path, sizeof path, "server/t1-" STORES_EPOCH "-1-%016x.p7m", i);
        filed_put(&f, path, "", 0);
    }
    result = export_says(&f, "has more than 100000 batch files; use another one");
    for (unsigned i = 0; i < INVENTORY_FOLDERS; i++) {
        (void)snprintf(path, sizeof path, "t1 (%u)/theirs", i);
        filed_put(&f, path, "", 0);
    }
    result |= export_says(&f, "has more than 10000 folders of stations; use another one");
    store_close(f.store);
    return result;
}

/* Proves: a medium with more files or folders than an export remembers is told so. */
static void crowds(void **state)
{
    struct filed *f = *state;
    struct label label;

    if (RUNNING_ON_VALGRIND) /* a minute; the sanitizers watch it too */
        skip();
    filed_hold(f, f->deployment->tablet, f->deployment->server, 1, &label);
    in_child(f, export_to_crowd);
}

static int export_to_small(const char *folder)
{
    struct filed f = small_medium(folder, SMALL_MEDIUM_BYTES);
    int result = export_says(&f, "make room on it, or go on with another medium");
    unsigned there = filed_count(&f, "server");

    store_close(f.store);
    if (result == 0 && f.error.kind == ERROR_FULL && there > 0 && filed_count(&f, ".") == there + 1)
        return 0;
    fprintf(stderr, "%u there, %u files in all\n", there, filed_count(&f, "."));
    return 1;
}

/* Proves: a medium that is full has whole what it had room for. */
static void full(void **state)
{
    struct filed *f = *state;
    struct label label;

    for (uint64_t i = 0; i < SMALL_MEDIUM_BYTES / 2048; i++)
        filed_hold(f, f->deployment->tablet, f->deployment->server, i + 1, &label);
    in_child(f, export_to_small);
}

static void no_folder(void **state)
{
    struct filed *f = *state;
    struct export_counts counts;

    assert_int_equal(export_run(f->store, "/nowhere", false, &counts, &f->error), -1);
    assert_non_null(strstr(f->error.text, "/nowhere: cannot be opened as a folder"));
    assert_int_equal(counts.written, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_missing, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(own_only, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(all, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(unnumbered, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(revocation_list, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(others_files, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(device_names, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(full_folders, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(same_beginning, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(crowds, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(full, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(no_folder, filed_set_up, filed_tear_down),
    };

    return cmocka_run_group_tests_name("export", tests, NULL, NULL);
}
