/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/import: what a stranger's files bring into a station's store, what is left, and why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/export.h"
#include "store/files.h"
#include "store/import.h"
#include "store/peers.h"
#include "store/readme.h"
#include "store/trust.h"
#include "tests/unit/support/filed.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

#define RECEIPTS "t1 (2)"
#define MANY 1000u
#define CROWD 10000u
#define CROWD_MOST_KIB (24 << 10)
#if defined __has_feature
#if __has_feature(address_sanitizer) /* which keeps what was freed for a while */
#undef CROWD_MOST_KIB
#define CROWD_MOST_KIB (400 << 10)
#endif
#endif

static struct import_counts import_with(struct filed *f, const struct import_options *options,
                                        const char *path)
{
    struct import *import = import_new(options, &f->error);
    struct import_counts counts;

    STORES_OK(import != NULL, &f->error);
    STORES_OK(import_path(import, path, &f->error) == 0 && import_commit(import, &f->error) == 0,
              &f->error);
    counts = *import_counts(import);
    import_free(import);
    return counts;
}

static struct import_counts import(struct filed *f, const char *name)
{
    const struct import_options options = {.store = f->store};
    char *path = folder_path(f->medium, name);
    struct import_counts counts = import_with(f, &options, path);

    free(path);
    return counts;
}

/* A batch file at its place; a receipt in the second folder of its station. */
static void put(struct filed *f, const struct identity *from, const struct identity *to,
                uint64_t seq, struct label *label)
{
    struct buffer bytes = {0};
    char *name;

    filed_seal(f, from, to, seq, seq == 0 ? "receipt" : "docs", &bytes, label);
    name = seq == 0 ? filed_name_in(label, RECEIPTS) : filed_name(label);
    filed_put(f, name, bytes.data, bytes.length);
    free(name);
    buffer_free(&bytes);
}

static bool is_held(struct filed *f, const struct label *label)
{
    struct batch batch;

    return batches_find(f->store, label->id, &batch, &f->error) == 1 && batch.state == BATCH_HELD &&
           label_same(&batch.label, label);
}

/* Proves: a courier takes all, a tablet and a dock what is theirs; the second time all is had. */
static void whose(void **state)
{
    struct filed *f = *state;
    const struct deployment *d = f->deployment;
    struct label up, down, receipt;
    struct import_counts counts;

    put(f, d->tablet, d->server, 1, &up);
    put(f, d->server, d->tablet, 1, &down);
    put(f, d->server, d->tablet, 0, &receipt);
    filed_put(f, "t1/notes.txt", "x", 1);
    filed_put(f, "Photos/a.jpg", "x", 1);
    filed_put(f, ".hidden.p7m", "x", 1);
    filed_put(f, README_NAME, "x", 1);
    counts = import(f, ".");
    assert_int_equal(counts.taken, 3);
    assert_int_equal(counts.ignored, 2); /* the notes, and the folder of photos as one */
    assert_int_equal(counts.wrong, 0);
    assert_true(is_held(f, &up) && is_held(f, &down) && is_held(f, &receipt));
    assert_int_equal(import(f, ".").had, 3);

    filed_station(f, "t1", "tablet", 0);
    counts = import(f, ".");
    assert_int_equal(counts.taken, 2);
    assert_int_equal(counts.others, 1);
    filed_station(f, "dock", "dock", 0);
    counts = import(f, ".");
    assert_int_equal(counts.taken, 1);
    assert_int_equal(counts.others, 2);
    assert_true(is_held(f, &up));
}

/* Proves: a file that is not what its name says, or no batch, or none that could be one, is left, and the others come. */
static void altered(void **state)
{
    struct filed *f = *state;
    const struct deployment *d = f->deployment;
    struct buffer bytes = {0};
    struct import_counts counts;
    struct label label, good;
    char *name, longest[256], *path = folder_path(f->medium, "server/pipe.p7m");

    filed_seal(f, d->tablet, d->server, 1, "docs", &bytes, &label);
    name = filed_name(&label);
    bytes.data[bytes.length / 2] ^= 1;
    filed_put(f, name, bytes.data, bytes.length);
    bytes.data[bytes.length / 2] ^= 1;
    filed_put(f, "cut.p7m", bytes.data, bytes.length - 1);
    filed_put(f, "empty.p7m", "", 0);
    filed_put(f, "revoked.crl", "no list", 7);
    filed_put(f, "..p7m..p7m", "x", 1); /* hidden: not looked at */
    memset(longest, 'a', sizeof longest);
    (void)strcpy(longest + 251, ".p7m");
    filed_put(f, longest, "no batch", 8);
    filed_put(f, "con.p7m", "no batch", 8);
    assert_int_equal(mkfifo(path, 0600), 0);
    put(f, d->tablet, d->server, 2, &good);

    counts = import(f, ".");
    assert_int_equal(counts.taken, 1);
    assert_true(is_held(f, &good));
    assert_int_equal(counts.wrong, 7);
    filed_put(f, name, bytes.data, bytes.length);
    counts = import(f, ".");
    assert_int_equal(counts.taken, 1);
    assert_true(is_held(f, &label));
    free(name);
    free(path);
    buffer_free(&bytes);
}

/* Proves: links are not followed, neither files nor folders, nor deeper folders entered. */
static void links(void **state)
{
    struct filed *f = *state;
    const struct deployment *d = f->deployment;
    char *outside = folder_new(), *inside = f->medium;
    struct import_counts counts;
    struct label label;
    char *name, *target, *link;

    f->medium = outside;
    put(f, d->tablet, d->server, 1, &label);
    f->medium = inside;
    name = filed_name(&label);
    target = folder_path(outside, name);
    link = folder_path(inside, "a.p7m");
    assert_int_equal(symlink(target, link), 0);
    free(link);
    free(target);
    target = folder_path(outside, "server");
    link = folder_path(inside, "server");
    assert_int_equal(symlink(target, link), 0);
    filed_put(f, "t1/server/deep.p7m", "x", 1);

    counts = import(f, ".");
    assert_int_equal(counts.taken, 0);
    assert_int_equal(counts.wrong, 1);
    assert_int_equal(counts.ignored, 2);
    free(link);
    free(target);
    free(name);
    folder_remove(outside);
}

/* Proves: names that say less are read as far as they go; a courier leaves what they do not say, a destination opens it. */
static void names(void **state)
{
    struct filed *f = *state;
    const struct deployment *d = f->deployment;
    struct files_key key = {.identity = d->server};
    struct import_options options = {.open = files_label, .context = &key};
    struct buffer up = {0}, down = {0};
    struct label up_label, down_label;
    struct import_counts counts;
    char copy[200], *name, *path;

    filed_seal(f, d->tablet, d->server, 1, "docs", &up, &up_label);
    filed_seal(f, d->server, d->tablet, 1, "docs", &down, &down_label);
    name = filed_name(&up_label);
    (void)snprintf(copy, sizeof copy, "Copy of %s (1).p7m", strchr(name, '/') + 1);
    filed_put(f, copy, up.data, up.length);
    free(name);
    name = filed_name(&down_label);
    filed_put(f, strchr(name, '/') + 1, down.data, down.length); /* for whom? */
    filed_put(f, "mail.p7m", up.data, up.length);
    counts = import(f, ".");
    assert_int_equal(counts.taken, 1);
    assert_true(is_held(f, &up_label));
    assert_int_equal(counts.wrong, 2);

    filed_station(f, "dock", "dock", 0);
    key.trust = trust_open(d->dock, f->store, &f->error);
    STORES_OK(key.trust != NULL, &f->error);
    options.store = f->store;
    options.trust = key.trust;
    filed_put(f, "attachment", up.data, up.length);
    path = folder_path(f->medium, "attachment");
    counts = import_with(f, &options, path); /* named: whatever its name */
    assert_int_equal(counts.taken, 1);
    assert_true(is_held(f, &up_label));
    counts = import_with(f, &options, f->medium);
    assert_int_equal(counts.had, 2);
    assert_int_equal(counts.wrong, 1); /* the tablet's, which the server's key does not open */
    assert_int_equal(counts.ignored, 1);
    trust_free(key.trust);
    free(path);
    free(name);
    buffer_free(&up);
    buffer_free(&down);
}

/* Proves: the same file a thousand times, in one import, is one batch. */
static void thousand_copies(void **state)
{
    struct filed *f = *state;
    struct buffer bytes = {0};
    struct import_counts counts;
    struct label label;
    char copy[200], *name;

    filed_seal(f, f->deployment->tablet, f->deployment->server, 1, "docs", &bytes, &label);
    name = filed_name(&label);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(copy, sizeof copy, "%.*s (%u).p7m", (int)strlen(name) - 4, name, i);
        filed_put(f, copy, bytes.data, bytes.length);
    }
    counts = import(f, ".");
    assert_int_equal(counts.taken, 1);
    assert_int_equal(counts.had, MANY - 1);
    assert_int_equal(filed_batches(f, BATCH_HELD), 1);
    free(name);
    buffer_free(&bytes);
}

/* Proves: ten thousand files in one folder, a few of them large, all come, in bounded memory. */
static void crowd(void **state)
{
    struct filed *f = *state;
    struct buffer bytes = {0};
    struct import_counts counts;
    struct rusage before, after;
    struct label label;
    char *name;

    filed_seal(f, f->deployment->tablet, f->deployment->server, 1, "docs", &bytes, &label);
    for (unsigned i = 0; i < CROWD; i++) {
        /* Another tag: a batch by its form, with an id of its own. */
        memcpy(bytes.data + bytes.length - sizeof i, &i, sizeof i);
        assert_int_equal(EVP_Digest(bytes.data, bytes.length, label.id, NULL, EVP_sha256(), NULL),
                         1);
        name = filed_name(&label);
        filed_put(f, name, bytes.data, bytes.length);
        free(name);
    }
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    counts = import(f, ".");
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_int_equal(counts.taken, CROWD);
    assert_int_equal(filed_batches(f, BATCH_HELD), CROWD);
    print_message("%u files of %zu bytes: %ld KiB more memory\n", CROWD, bytes.length,
                  after.ru_maxrss - before.ru_maxrss);
    assert_true(after.ru_maxrss - before.ru_maxrss < CROWD_MOST_KIB);
    buffer_free(&bytes);
}

/* Proves: a quota leaves what does not fit, says so, and what was taken stays. */
static void no_room(void **state)
{
    struct filed *f = *state;
    struct import_counts counts;
    struct label label;

    for (uint64_t i = 1; i <= 20; i++)
        put(f, i % 2 == 0 ? f->deployment->tablet : f->deployment->tablet2, f->deployment->server,
            i, &label);
    filed_station(f, "c1", "courier", label.size * 9);
    counts = import(f, ".");
    assert_true(counts.taken > 2 && counts.taken <= 9);
    assert_int_equal(counts.taken + counts.full, 20);
    assert_int_equal(filed_batches(f, BATCH_HELD), counts.taken);
    filed_station(f, "c1", "courier", 0);
    assert_int_equal(import(f, ".").full, 0);
    assert_int_equal(filed_batches(f, BATCH_HELD), 20);
}

/* Proves: of revocation lists the newest that the CA signed is kept. */
static void revocation_list(void **state)
{
    struct filed *f = *state;
    struct deployment *other = deployment_new();
    struct buffer der = {0}, kept = {0};
    struct import_counts counts;
    uint64_t number;

    deployment_list(other, &der);
    filed_put(f, "revoked.crl", der.data, der.length);
    assert_int_equal(import(f, ".").wrong, 1); /* no CA is known yet */
    trust_free(trust_open(f->deployment->courier, f->store, &f->error));
    assert_int_equal(import(f, ".").wrong, 1);
    STORES_OK(peers_crl(f->store, &number, &kept, &f->error) == 0, &f->error);
    assert_int_equal(number, 0);
    for (int i = 0; i < 2; i++) {
        der.length = 0;
        deployment_list(f->deployment, &der);
        filed_put(f, "revoked.crl", der.data, der.length);
        counts = import(f, ".");
        assert_true(counts.list && counts.wrong == 0);
        assert_false(import(f, ".").list);
        deployment_revoke(f->deployment, i == 0 ? f->deployment->tablet2 : f->deployment->tablet);
    }
    STORES_OK(peers_crl(f->store, &number, &kept, &f->error) == 0, &f->error);
    assert_int_equal(number, 2);
    buffer_free(&der);
    buffer_free(&kept);
    deployment_free(other);
}

/* Proves: a batch half of which came by cable is made whole by a file. */
static void partial(void **state)
{
    struct filed *f = *state;
    struct label label;

    put(f, f->deployment->tablet, f->deployment->server, 1, &label);
    STORES_OK(store_begin(f->store, &f->error) == 0 &&
                  batches_append(f->store, &label, 0, "wrong bytes", 11, &f->error) == 0 &&
                  store_commit(f->store, &f->error) == 0,
              &f->error);
    assert_int_equal(import(f, ".").taken, 1);
    assert_true(is_held(f, &label));
    assert_int_equal(filed_batches(f, BATCH_PARTIAL), 0);
}

/* Proves: import_bytes takes what import_path takes. */
static void bytes_of_a_file(void **state)
{
    struct filed *f = *state;
    const struct import_options options = {.store = f->store};
    struct import *import = import_new(&options, &f->error);
    struct buffer bytes = {0};
    struct label label;
    char *name;

    STORES_OK(import != NULL, &f->error);
    filed_seal(f, f->deployment->server, f->deployment->tablet, 1, "docs", &bytes, &label);
    name = filed_name(&label);
    STORES_OK(
        import_bytes(import, strchr(name, '/') + 1, NULL, bytes.data, bytes.length, &f->error) == 0,
        &f->error);
    assert_int_equal(import_counts(import)->wrong, 1);
    STORES_OK(import_bytes(import, strchr(name, '/') + 1, "t1", bytes.data, bytes.length,
                           &f->error) == 0 &&
                  import_bytes(import, name, "t1", bytes.data, 0, &f->error) == 0 &&
                  import_bytes(import, name, "t1", bytes.data, (size_t)BATCH_MAX_BYTES + 1,
                               &f->error) == 0 &&
                  import_commit(import, &f->error) == 0,
              &f->error);
    assert_int_equal(import_counts(import)->taken, 1);
    assert_int_equal(import_counts(import)->wrong, 3);
    assert_true(is_held(f, &label));
    import_free(import);
    free(name);
    buffer_free(&bytes);
}

static void not_there(void **state)
{
    struct filed *f = *state;
    const struct import_options options = {.store = f->store};

    assert_int_equal(import_with(f, &options, "/nowhere.p7m").wrong, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whose, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(altered, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(links, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(names, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(thousand_copies, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(crowd, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(no_room, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(revocation_list, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(partial, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(bytes_of_a_file, filed_set_up, filed_tear_down),
        cmocka_unit_test_setup_teardown(not_there, filed_set_up, filed_tear_down),
    };

    return cmocka_run_group_tests_name("import", tests, NULL, NULL);
}
