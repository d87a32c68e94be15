/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What the dock does for the administrator and the tablets: receipts that are due, refused documents, batches
 * set aside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>

#include "base/file.h"
#include "host/dock/aside.h"
#include "host/dock/receipts.h"
#include "host/dock/refused.h"
#include "store/ledger.h"
#include "store/peers.h"
#include "store/streams.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

struct office {
    char *folder;
    struct deployment *deployment;
    struct trust *trust;
    struct dock dock;
    struct error error;
};

static int set_up(void **state)
{
    struct store_options options = {.station = "dock", .role = "dock", .reserve_bytes = 1};
    struct office *o = calloc(1, sizeof *o);
    char *directory;

    assert_non_null(o);
    o->folder = folder_new();
    directory = folder_path(o->folder, "store");
    options.directory = directory;
    o->deployment = deployment_new();
    o->trust = deployment_trust(o->deployment, true);
    o->dock.store = store_open(&options, &o->error);
    STORES_OK(o->dock.store != NULL, &o->error);
    free(directory);
    *state = o;
    return 0;
}

static int tear_down(void **state)
{
    struct office *o = *state;

    dock_close(&o->dock);
    trust_free(o->trust);
    deployment_free(o->deployment);
    folder_remove(o->folder);
    free(o);
    return 0;
}

/* Batch SEQ of t1 in the state: applied (and a receipt due), or aside. */
static struct label add(struct office *o, uint64_t seq, bool aside)
{
    struct store *store = o->dock.store;
    struct label label;

    stores_add(store, &label, "t1", SERVER_NAME, seq, (unsigned)seq, 1000);
    STORES_OK(store_begin(store, &o->error) == 0, &o->error);
    if (aside) {
        STORES_OK(batches_set_aside(store, label.id, "because", &o->error) == 0, &o->error);
    } else {
        STORES_OK(batches_apply(store, &label, false, &o->error) == 0, &o->error);
        STORES_OK(streams_set_due(store, "t1", true, &o->error) == 0, &o->error);
    }
    STORES_OK(store_commit(store, &o->error) == 0, &o->error);
    return label;
}

static uint64_t make(struct office *o)
{
    uint64_t made = 99;

    STORES_OK(receipts_make(o->dock.store, o->deployment->server, o->trust, o->folder, &made,
                            &o->error) == 0,
              &o->error);
    return made;
}

static bool is_due(struct office *o)
{
    char from[STORE_NAME_BYTES];

    return streams_next_due(o->dock.store, "", from, &o->error) == 1;
}

static uint64_t count(struct office *o, const char *to, enum batch_state state)
{
    struct batch_filter filter = {.to = to, .state = state};
    struct batch batch = {0};
    uint64_t found = 0;

    while (batches_next(o->dock.store, &filter, batch.position, &batch, &o->error) == 1)
        found++;
    return found;
}

/* Write the certificate where the deployment has it. */
static void write_certificate(struct office *o, X509 *certificate)
{
    char *stations = folder_path(o->folder, "stations"), *file = folder_path(stations, "t1.crt");
    FILE *stream;

    STORES_OK(file_make_folder(stations, &o->error) == 0, &o->error);
    stream = fopen(file, "w");
    assert_non_null(stream);
    assert_int_equal(PEM_write_X509(stream, certificate), 1);
    assert_int_equal(fclose(stream), 0);
    free(file);
    free(stations);
}

/* Not made for a station whose certificate is unknown or another's, and due until it can be made. */
static void a_receipt_needs_its_certificate(void **state)
{
    struct office *o = *state;

    assert_int_equal(make(o), 0);
    add(o, 1, false);
    assert_int_equal(make(o), 0);
    assert_true(is_due(o));
    write_certificate(o, identity_certificate(o->deployment->tablet2));
    assert_int_equal(make(o), 0);
    assert_true(is_due(o));
    write_certificate(o, identity_certificate(o->deployment->tablet));
    assert_int_equal(make(o), 1);
    assert_false(is_due(o));
    assert_int_equal(count(o, "t1", BATCH_HELD), 1);
    assert_int_equal(make(o), 0);
    add(o, 2, false);
    assert_int_equal(make(o), 1);
    assert_int_equal(count(o, "t1", BATCH_HELD), 1); /* the later makes up for the earlier */
}

/* The certificate that the tablet's batches showed will do; a revoked station gets nothing. */
static void a_revoked_station_gets_no_receipt(void **state)
{
    struct office *o = *state;
    unsigned char *der = NULL;
    int size = i2d_X509(identity_certificate(o->deployment->tablet), &der);

    assert_true(size > 0);
    add(o, 1, false);
    STORES_OK(store_begin(o->dock.store, &o->error) == 0, &o->error);
    STORES_OK(peers_set_certificate(o->dock.store, "t1", der, (size_t)size, &o->error) == 0,
              &o->error);
    STORES_OK(store_commit(o->dock.store, &o->error) == 0, &o->error);
    OPENSSL_free(der);
    deployment_revoke(o->deployment, o->deployment->tablet);
    trust_free(o->trust);
    o->trust = deployment_trust(o->deployment, true);
    assert_int_equal(make(o), 0);
    assert_int_equal(count(o, "t1", BATCH_HELD), 0);
}

static int run_aside(struct office *o, const char *command, const char *number, bool all, bool yes)
{
    char words[2][32];
    char *list[2] = {words[0], words[1]};

    (void)snprintf(words[0], sizeof words[0], "%s", command);
    (void)snprintf(words[1], sizeof words[1], "%s", number != NULL ? number : "");
    return aside_run(&o->dock, list, number != NULL ? 2 : 1, all, yes, &o->error);
}

/* Released batches are held again; dropping needs --yes, frees the bytes and tells the source. */
static void aside_release_and_drop(void **state)
{
    struct office *o = *state;
    char reason[ERROR_TEXT_BYTES], number[32];
    struct batch batch;

    for (uint64_t seq = 1; seq <= 4; seq++)
        add(o, seq, true);
    assert_int_equal(run_aside(o, "list", NULL, false, false), 0);
    assert_int_equal(batches_next_aside(o->dock.store, 0, &batch, reason, &o->error), 1);
    (void)snprintf(number, sizeof number, "%lld", (long long)batch.position);
    assert_int_equal(run_aside(o, "release", number, false, false), 0);
    assert_int_equal(count(o, SERVER_NAME, BATCH_HELD), 1);
    assert_int_equal(run_aside(o, "release", number, false, false), -1);
    assert_int_equal(batches_next_aside(o->dock.store, 0, &batch, reason, &o->error), 1);
    (void)snprintf(number, sizeof number, "%lld", (long long)batch.position);
    assert_int_equal(run_aside(o, "drop", number, false, false), -1);
    assert_int_equal(o->error.kind, ERROR_USAGE);
    assert_int_equal(count(o, SERVER_NAME, BATCH_ASIDE), 3);
    assert_false(is_due(o));
    assert_int_equal(run_aside(o, "drop", number, false, true), 0);
    assert_true(is_due(o));
    assert_int_equal(count(o, SERVER_NAME, BATCH_APPLIED), 1);
    assert_int_equal(run_aside(o, "release", NULL, false, false), -1);
    assert_int_equal(run_aside(o, "release", number, true, false), -1);
    assert_int_equal(run_aside(o, "release", NULL, true, false), 0);
    assert_int_equal(count(o, SERVER_NAME, BATCH_ASIDE), 0);
    assert_int_equal(count(o, SERVER_NAME, BATCH_HELD), 3);
}

static int run_refused(struct office *o, bool all, int words_count, const char *first,
                       const char *second, const char *third)
{
    char words[3][32];
    char *list[3] = {words[0], words[1], words[2]};

    (void)snprintf(words[0], sizeof words[0], "%s", first);
    (void)snprintf(words[1], sizeof words[1], "%s", second);
    (void)snprintf(words[2], sizeof words[2], "%s", third);
    return refused_run(&o->dock, list, words_count, all, &o->error);
}

static unsigned count_refused(struct office *o, bool retry_only)
{
    struct refusal refusal = {0};
    unsigned found = 0;

    while (ledger_next(o->dock.store, refusal.number, retry_only, &refusal, &o->error) == 1)
        found++;
    return found;
}

/* A wrong number among several changes nothing; what is dismissed makes a receipt due. */
static void refused_retry_and_dismiss(void **state)
{
    struct office *o = *state;
    struct refusal refusal = {.from = "t1", .db = "medic", .rev = "1-a", .error = "forbidden"};
    char numbers[5][32];

    for (uint64_t seq = 1; seq <= 5; seq++) {
        struct label label;

        stores_add(o->dock.store, &label, "t1", SERVER_NAME, seq, (unsigned)seq, 100);
        memcpy(refusal.batch, label.id, sizeof refusal.batch);
        memcpy(refusal.epoch, label.epoch, sizeof refusal.epoch);
        refusal.seq = seq;
        (void)snprintf(refusal.id, sizeof refusal.id, "doc%u", (unsigned)seq);
        STORES_OK(store_begin(o->dock.store, &o->error) == 0, &o->error);
        STORES_OK(ledger_refuse(o->dock.store, &refusal, &o->error) == 0, &o->error);
        STORES_OK(batches_apply(o->dock.store, &label, true, &o->error) == 0, &o->error);
        STORES_OK(store_commit(o->dock.store, &o->error) == 0, &o->error);
    }
    refusal.number = 0;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(ledger_next(o->dock.store, refusal.number, false, &refusal, &o->error), 1);
        (void)snprintf(numbers[i], sizeof numbers[i], "%lld", (long long)refusal.number);
    }
    assert_int_equal(run_refused(o, false, 1, "list", "", ""), 0);
    assert_int_equal(count_refused(o, true), 0);
    assert_int_equal(run_refused(o, false, 3, "retry", numbers[0], "4711"), -1);
    assert_int_equal(count_refused(o, true), 0);
    assert_int_equal(run_refused(o, false, 3, "retry", numbers[0], numbers[1]), 0);
    assert_int_equal(count_refused(o, true), 2);
    assert_int_equal(run_refused(o, false, 3, "dismiss", numbers[0], numbers[0]), -1);
    assert_int_equal(count_refused(o, false), 5);
    assert_false(is_due(o));
    assert_int_equal(run_refused(o, false, 2, "dismiss", numbers[2], ""), 0);
    assert_int_equal(count_refused(o, false), 4);
    assert_true(is_due(o));
    assert_int_equal(run_refused(o, false, 1, "dismiss", "", ""), -1);
    assert_int_equal(run_refused(o, false, 2, "dismiss", "-1", ""), -1);
    assert_int_equal(run_refused(o, false, 2, "forget", "1", ""), -1);
    assert_int_equal(run_refused(o, true, 1, "retry", "", ""), 0);
    assert_int_equal(count_refused(o, true), 4);
    assert_int_equal(run_refused(o, true, 1, "dismiss", "", ""), 0);
    assert_int_equal(count_refused(o, false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_receipt_needs_its_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_revoked_station_gets_no_receipt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(aside_release_and_drop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_retry_and_dismiss, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
