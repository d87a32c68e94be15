/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/receipt, from tablet to dock: it frees and ends what is under way, and becomes what the tablet is known to
 * hold; a late, a malformed or a foreign one changes nothing of that.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/holdings.h"
#include "store/ledger.h"
#include "store/receipt.h"
#include "store/streams.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

static struct deployment *deployment;
static struct error error;

static int make_deployment(void **state)
{
    (void)state;
    deployment = deployment_new();
    return 0;
}

static int drop_deployment(void **state)
{
    (void)state;
    deployment_free(deployment);
    return 0;
}

struct fixture {
    char *folders[3];
    struct store *tablet, *dock, *anew; /* ANEW: another store of the same tablet */
};

#define OK(call) STORES_OK((call) == 0, &error)
#define CHANGE(store, call)              \
    do {                                 \
        OK(store_begin(store, &error));  \
        OK(call);                        \
        OK(store_commit(store, &error)); \
    } while (0)

static struct store *open_store(char **folder, const char *name, const char *role)
{
    struct store_options options = {.station = name, .role = role};
    struct store *store;

    *folder = folder_new();
    options.directory = *folder;
    store = store_open(&options, &error);
    STORES_OK(store != NULL, &error);
    return store;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    f->tablet = open_store(&f->folders[0], "t1", "tablet");
    f->dock = open_store(&f->folders[1], "dock", "dock");
    f->anew = open_store(&f->folders[2], "t1", "tablet");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    store_close(f->tablet);
    store_close(f->dock);
    store_close(f->anew);
    for (size_t i = 0; i < 3; i++)
        folder_remove(f->folders[i]);
    free(f);
    return 0;
}

/* The receipt that TABLET makes now, its bytes appended to BYTES. */
static struct label make_receipt(struct store *tablet, struct buffer *bytes)
{
    const struct batch_filter filter = {"t1", SERVER_NAME, BATCH_HELD};
    struct batch batch;

    OK(store_begin(tablet, &error));
    assert_int_equal(receipt_make(tablet, deployment->tablet, SERVER_NAME,
                                  identity_certificate(deployment->server), &error),
                     1);
    OK(store_commit(tablet, &error));
    assert_int_equal(streams_is_due(tablet, SERVER_NAME, &error), 0);
    assert_int_equal(batches_next(tablet, &filter, 0, &batch, &error), 1);
    assert_int_equal(batch.label.seq, 0);
    OK(batches_load(tablet, batch.label.id, bytes, &error));
    assert_int_equal(batches_next(tablet, &filter, batch.position, &batch, &error), 0);
    return batch.label;
}

static int apply_bytes(struct store *dock, const struct buffer *bytes, const struct label *label,
                       uint64_t *freed)
{
    struct trust *trust = deployment_trust(deployment, true);
    struct opened_batch opened;
    int result;

    OK(batch_open(deployment->server, trust, label, bytes->data, bytes->length, &opened, NULL,
                  &error));
    OK(store_begin(dock, &error));
    result = receipt_apply(dock, &opened, label, freed, &error);
    if (result == 0)
        OK(store_commit(dock, &error));
    else
        store_rollback(dock);
    opened_batch_free(&opened);
    trust_free(trust);
    return result;
}

/* TABLET makes one, and the dock applies it: how many batches that frees. */
static uint64_t receipt(struct fixture *f, struct store *tablet)
{
    struct buffer bytes = {0};
    struct label label = make_receipt(tablet, &bytes);
    uint64_t freed;

    OK(apply_bytes(f->dock, &bytes, &label, &freed));
    buffer_free(&bytes);
    return freed;
}

/* The dock's listing of t1's medic has these ids, "x 1-a" each. */
static void list(struct fixture *f, const char *const *ids)
{
    OK(holdings_list_begin(f->dock, &error));
    for (; *ids != NULL; ids++)
        OK(holdings_list(f->dock, *ids, "1-a", &error));
    OK(holdings_listed_all(f->dock, "t1", "medic", NULL, &error));
}

static void need(struct fixture *f, const char *expected)
{
    char ids[256] = "";
    struct holding at;
    int found = holdings_next_needed(f->dock, "t1", "medic", NULL, &at, &error);

    for (; found == 1; found = holdings_next_needed(f->dock, "t1", "medic", &at, &at, &error))
        (void)snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%s ", at.id);
    assert_int_equal(found, 0);
    assert_string_equal(ids, expected);
}

static const char *const ABC[] = {"a", "b", "c", NULL};

/* A batch of the dock's for t1 with document ID, in both stores; held at the tablet. */
static struct label send(struct fixture *f, const char *id, unsigned seed)
{
    struct label label;
    unsigned char *bytes = stores_batch(&label, SERVER_NAME, "t1", 0, seed, 100);

    memcpy(label.epoch, store_epoch(f->dock), sizeof label.epoch);
    OK(store_begin(f->dock, &error));
    OK(streams_next_seq(f->dock, SERVER_NAME, "t1", &label.seq, &error));
    OK(batches_add(f->dock, &label, bytes, 100, &error));
    OK(holdings_send(f->dock, "t1", "medic", id, "1-a", label.id, &error));
    OK(store_commit(f->dock, &error));
    CHANGE(f->tablet, batches_add(f->tablet, &label, bytes, 100, &error));
    free(bytes);
    return label;
}

static void add_rev(struct store *tablet, const char *db, const char *id, const char *rev)
{
    CHANGE(tablet, revs_add(tablet, db, id, rev, &error));
}

/* An empty tablet's first receipt says so, and so the dock needs all; what it holds later is not needed, what it lost
 * is again. */
static void test_holds(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(streams_is_due(f->tablet, SERVER_NAME, &error), 1);
    list(f, ABC);
    assert_int_equal(receipt(f, f->tablet), 0);
    need(f, "a b c ");
    add_rev(f->tablet, "medic", "a", "1-a");
    add_rev(f->tablet, "medic", "b", "2-b");
    add_rev(f->tablet, "medic-user-chw1-meta", "c", "1-a"); /* another database */
    CHANGE(f->tablet, revs_at_server(f->tablet, "medic", "c", "1-a", &error));
    (void)receipt(f, f->tablet);
    need(f, "b c ");
    CHANGE(f->tablet, revs_lost(f->tablet, "medic", "a", "1-a", &error) == 1 ? 0 : -1);
    (void)receipt(f, f->tablet);
    need(f, "a b c ");
}

/* What is under way ends with the receipt, by its runs; whether the tablet then holds it is the list's word. */
static void test_under_way(void **state)
{
    struct fixture *f = *state;
    struct label one, two, gone;

    list(f, ABC);
    one = send(f, "a", 1);
    two = send(f, "b", 2);
    gone = send(f, "c", 3);
    need(f, "");
    CHANGE(f->dock, holdings_withdraw(f->dock, "t1", gone.id, &error));
    need(f, "c ");
    assert_int_equal(holdings_next_withdrawn(f->dock, "t1", 0, &two, &error), 1);
    assert_int_equal(two.seq, gone.seq);
    CHANGE(f->tablet, batches_apply(f->tablet, &one, true, &error));
    add_rev(f->tablet, "medic", "a", "1-a");
    assert_int_equal(receipt(f, f->tablet), 1);
    need(f, "c ");
    assert_int_equal(holdings_next_withdrawn(f->dock, "t1", 0, &two, &error), 1);
    /* The view has told of it: a tombstone, which the runs then cover. */
    CHANGE(f->tablet, batches_apply(f->tablet, &gone, false, &error));
    assert_int_equal(receipt(f, f->tablet), 0);
    assert_int_equal(holdings_next_withdrawn(f->dock, "t1", 0, &two, &error), 0);
}

/* What the server refused of the tablet's documents, the tablet's ledger has, and its receipt does not. */
static void test_refused(void **state)
{
    struct fixture *f = *state;
    struct refusal refusal = {.from = SERVER_NAME,
                              .seq = 1,
                              .db = "medic",
                              .id = "a",
                              .rev = "1-a",
                              .error = "forbidden",
                              .reason = "no"};
    struct label one = send(f, "b", 1);

    memcpy(refusal.epoch, one.epoch, sizeof refusal.epoch);
    CHANGE(f->tablet, ledger_refuse(f->tablet, &refusal, &error));
    CHANGE(f->tablet, batches_apply(f->tablet, &one, true, &error));
    assert_int_equal(receipt(f, f->tablet), 1);
}

/* What the server has refused, a tablet does not tell it again. */
static void test_refusals_stay(void **state)
{
    struct refusal refusal = {.from = SERVER_NAME,
                              .seq = 1,
                              .db = "medic",
                              .id = "r",
                              .rev = "1-a",
                              .error = "forbidden"};
    struct fixture *f = *state;
    struct label one;

    list(f, ABC);
    one = send(f, "a", 1);
    memcpy(refusal.epoch, store_epoch(f->dock), sizeof refusal.epoch);
    CHANGE(f->tablet, ledger_refuse(f->tablet, &refusal, &error));
    CHANGE(f->tablet, batches_apply(f->tablet, &one, true, &error));
    assert_int_equal(receipt(f, f->tablet), 1);
    assert_int_equal(ledger_next(f->dock, 0, false, &refusal, &error), 0);
}

/* An earlier receipt that comes late frees what it proves, and takes nothing from what is held. */
static void test_late(void **state)
{
    struct fixture *f = *state;
    struct buffer early = {0};
    struct label label, one;
    uint64_t freed;

    list(f, ABC);
    one = send(f, "b", 1);
    CHANGE(f->tablet, batches_apply(f->tablet, &one, true, &error));
    label = make_receipt(f->tablet, &early);
    add_rev(f->tablet, "medic", "a", "1-a");
    add_rev(f->tablet, "medic", "b", "1-a");
    assert_int_equal(receipt(f, f->tablet), 1);
    need(f, "c ");
    OK(apply_bytes(f->dock, &early, &label, &freed));
    assert_int_equal(freed, 0);
    need(f, "c ");
    buffer_free(&early);
}

/* A tablet that was begun anew holds what its new store says, by its first receipt. */
static void test_begun_anew(void **state)
{
    struct fixture *f = *state;

    list(f, ABC);
    add_rev(f->tablet, "medic", "a", "1-a");
    for (int i = 0; i < 3; i++)
        (void)receipt(f, f->tablet);
    need(f, "b c ");
    add_rev(f->anew, "medic", "b", "1-a");
    (void)receipt(f, f->anew);
    need(f, "a c ");
    (void)receipt(f, f->anew);
    need(f, "a c ");
}

/* A tablet that was put back from an old copy, and so uses numbers again, is heard when it has the dock's receipt. */
static void test_put_back(void **state)
{
    const struct batch_filter filter = {SERVER_NAME, "t1", BATCH_HELD};
    struct fixture *f = *state;
    struct trust *trust = deployment_trust(deployment, true);
    struct opened_batch opened;
    struct buffer bytes = {0};
    struct batch batch;
    char due[STORE_NAME_BYTES];
    uint64_t freed;

    list(f, ABC);
    add_rev(f->tablet, "medic", "a", "1-a");
    OK(store_begin(f->dock, &error));
    assert_int_equal(streams_later_receipt(f->dock, "t1", store_epoch(f->tablet), 40, &error), 1);
    OK(store_commit(f->dock, &error));
    (void)receipt(f, f->tablet); /* number 1 */
    need(f, "a b c ");
    assert_int_equal(streams_next_due(f->dock, "", due, &error), 1);
    assert_string_equal(due, "t1");
    OK(store_begin(f->dock, &error));
    assert_int_equal(receipt_make(f->dock, deployment->server, "t1",
                                  identity_certificate(deployment->tablet), &error),
                     1);
    OK(store_commit(f->dock, &error));
    assert_int_equal(batches_next(f->dock, &filter, 0, &batch, &error), 1);
    OK(batches_load(f->dock, batch.label.id, &bytes, &error));
    OK(batch_open(deployment->tablet, trust, &batch.label, bytes.data, bytes.length, &opened, NULL,
                  &error));
    CHANGE(f->tablet, receipt_apply(f->tablet, &opened, &batch.label, &freed, &error));
    assert_int_equal(streams_is_due(f->tablet, SERVER_NAME, &error), 1);
    (void)receipt(f, f->tablet);
    need(f, "b c ");
    /* Once it is above, nothing is due for it. */
    CHANGE(f->tablet, receipt_apply(f->tablet, &opened, &batch.label, &freed, &error));
    assert_int_equal(streams_is_due(f->tablet, SERVER_NAME, &error), 0);
    opened_batch_free(&opened);
    buffer_free(&bytes);
    trust_free(trust);
}

/* Another dock's batches are nothing to this one, which says nothing of them. */
static void test_other_dock(void **state)
{
    struct fixture *f = *state;
    struct label label;

    stores_add(f->tablet, &label, SERVER_NAME, "t1", 1, 9, 50); /* of another epoch */
    CHANGE(f->tablet, batches_apply(f->tablet, &label, true, &error));
    assert_int_equal(receipt(f, f->tablet), 0);
}

/* 1,201 revisions of two databases, quotes and all, cut into lines of 500. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    struct holding at;
    char id[64];
    unsigned unlisted = 0;

    OK(store_begin(f->tablet, &error));
    for (unsigned i = 0; i < 1200; i++) {
        (void)snprintf(id, sizeof id, "\"%04u\" \xf0\x9f\x98\x80\x01", i);
        OK(revs_add(f->tablet, "medic", id, "1-a", &error));
    }
    OK(revs_add(f->tablet, "a-meta", "x", "1-a", &error));
    OK(store_commit(f->tablet, &error));
    (void)receipt(f, f->tablet);
    list(f, ABC);
    for (int found = holdings_next_unlisted(f->dock, "t1", "medic", NULL, &at, &error); found == 1;
         found = holdings_next_unlisted(f->dock, "t1", "medic", at.id, &at, &error)) {
        (void)snprintf(id, sizeof id, "\"%04u\" \xf0\x9f\x98\x80\x01", unlisted++);
        assert_string_equal(at.id, id);
    }
    assert_int_equal(unlisted, 1200);
    assert_int_equal(holdings_next_unlisted(f->dock, "t1", "a-meta", NULL, &at, &error), 1);
}

/* More than a receipt has room for: it has what fits, says that it is not all, and takes nothing away. */
static void test_too_many(void **state)
{
    struct fixture *f = *state;
    char id[DOC_ID_BYTES];
    struct buffer bytes = {0};
    struct label label;
    uint64_t freed;

    list(f, ABC);
    add_rev(f->tablet, "medic", "c", "1-a");
    (void)receipt(f, f->tablet);
    need(f, "a b ");
    CHANGE(f->tablet, revs_lost(f->tablet, "medic", "c", "1-a", &error) == 1 ? 0 : -1);
    memset(id, '\x01', sizeof id - 1); /* six bytes each in JSON */
    id[sizeof id - 1] = '\0';
    OK(store_begin(f->tablet, &error));
    for (unsigned i = 0; i < 4200; i++) {
        (void)snprintf(id + 1000, sizeof id - 1000, "%06u", i);
        OK(revs_add(f->tablet, "medic", id, "1-a", &error));
    }
    OK(revs_add(f->tablet, "a-meta", "x", "1-a", &error));
    OK(store_commit(f->tablet, &error));
    label = make_receipt(f->tablet, &bytes);
    OK(apply_bytes(f->dock, &bytes, &label, &freed));
    need(f, "a b ");
    buffer_free(&bytes);
}

/* ---- malformed ones ---- */

#define NUMBER "{\"receipt\":900}\n"
#define HOLDS "{\"holds\":{\"db\":\"medic\",\"docs\":[[\"a\",\"1-a\"]]}}\n"
#define HELD "{\"held\":1,\"complete\":true}\n"

/* A receipt of SIGNER with these lines, applied at STORE as RECIPIENT. */
static int apply_lines(struct store *store, const struct identity *signer, const char *from,
                       const struct identity *recipient, const char *to, const char *lines)
{
    struct manifest manifest = {.epoch = "00000000000000aa", .kind = "receipt"};
    struct trust *trust = deployment_trust(deployment, true);
    struct opened_batch opened;
    struct buffer bytes = {0};
    struct label label;
    uint64_t freed;
    int result;

    (void)snprintf(manifest.from, sizeof manifest.from, "%s", from);
    (void)snprintf(manifest.to, sizeof manifest.to, "%s", to);
    (void)snprintf(manifest.user, sizeof manifest.user, "%s", identity_user(signer));
    for (const char *at = lines; (at = strchr(at, '\n')) != NULL; at++)
        manifest.docs++;
    OK(batch_seal(signer, identity_certificate(recipient), &manifest, lines, strlen(lines), &bytes,
                  &label, &error));
    OK(batch_open(recipient, trust, &label, bytes.data, bytes.length, &opened, NULL, &error));
    OK(store_begin(store, &error));
    result = receipt_apply(store, &opened, &label, &freed, &error);
    if (result == 0)
        OK(store_commit(store, &error));
    else
        store_rollback(store);
    opened_batch_free(&opened);
    buffer_free(&bytes);
    trust_free(trust);
    return result;
}

static void refused(struct fixture *f, const char *lines, const char *words)
{
    assert_int_equal(
        apply_lines(f->dock, deployment->tablet, "t1", deployment->server, SERVER_NAME, lines), -1);
    assert_int_equal(error.kind, ERROR_CORRUPT);
    if (strstr(error.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", error.text, words);
    need(f, "a b c ");
}

static void test_malformed(void **state)
{
    static const char MALFORMED[] = "what it holds is malformed";
    struct fixture *f = *state;
    char *long_id = NULL, *many = NULL;

    list(f, ABC);
    refused(f, NUMBER HOLDS, "has no end");
    refused(f, HOLDS HELD, "does not begin with its number");
    refused(f, NUMBER HOLDS HELD HELD, "the end of what it holds");
    refused(f, NUMBER HOLDS HELD HOLDS, MALFORMED);
    refused(f, NUMBER HOLDS "{\"held\":2,\"complete\":true}\n", "more or less");
    refused(f, NUMBER HOLDS "{\"held\":-1,\"complete\":true}\n", "more or less");
    refused(f, NUMBER HELD, "more or less");
    refused(f, NUMBER HOLDS "{\"held\":1}\n", "the end of what it holds");
    refused(f, NUMBER HOLDS "{\"held\":\"1\",\"complete\":true}\n", "the end of what it holds");
    refused(f, NUMBER HOLDS "{\"holds\":7}\n" HELD, MALFORMED);
    refused(f, NUMBER HOLDS "{\"holds\":{\"docs\":[]}}\n" HELD, MALFORMED);
    refused(f, NUMBER HOLDS "{\"holds\":{\"db\":\"\",\"docs\":[]}}\n" HELD, MALFORMED);
    refused(f, NUMBER HOLDS "{\"holds\":{\"db\":\"medic\",\"docs\":{}}}\n" HELD, MALFORMED);
    refused(f, NUMBER HOLDS "{\"holds\":{\"db\":\"medic\",\"docs\":[\"ab\"]}}\n" HELD, MALFORMED);
    refused(f, NUMBER HOLDS "{\"holds\":{\"db\":\"medic\",\"docs\":[[\"a\"]]}}\n" HELD, MALFORMED);
    refused(f, NUMBER HOLDS "{\"holds\":{\"db\":\"medic\",\"docs\":[[\"a\",\"\"]]}}\n" HELD,
            MALFORMED);
    refused(f, NUMBER HOLDS "{\"holds\":{\"db\":\"medic\",\"docs\":[[\"a\",\"1\",\"2\"]]}}\n" HELD,
            MALFORMED);
    assert_true(asprintf(&long_id,
                         NUMBER HOLDS
                         "{\"holds\":{\"db\":\"medic\",\"docs\":[[\"%01025d\",\"1-a\"]]}}\n" HELD,
                         1) > 0);
    refused(f, long_id, MALFORMED);
    many = calloc(1, 8192);
    assert_non_null(many);
    (void)snprintf(many, 8192, NUMBER "{\"holds\":{\"db\":\"medic\",\"docs\":[[\"a\",\"1-a\"]");
    for (unsigned i = 0; i < 500; i++)
        (void)strcat(many, ",[\"a\",\"1\"]");
    (void)strcat(many, "]}}\n{\"held\":501,\"complete\":true}\n");
    refused(f, many, MALFORMED);
    free(many);
    free(long_id);
    /* Well-formed, the same revision twice, no order. */
    OK(apply_lines(f->dock, deployment->tablet, "t1", deployment->server, SERVER_NAME,
                   NUMBER "{\"holds\":{\"db\":\"medic\",\"docs\":[[\"b\",\"1-a\"],[\"a\",\"1-a\"],"
                          "[\"b\",\"1-a\"]]}}\n{\"held\":3,\"complete\":true}\n"));
    need(f, "c ");
    /* Without that line nothing is said of what is held. */
    OK(apply_lines(f->dock, deployment->tablet, "t1", deployment->server, SERVER_NAME,
                   "{\"receipt\":901}\n"));
    need(f, "c ");
    OK(apply_lines(f->dock, deployment->tablet, "t1", deployment->server, SERVER_NAME,
                   "{\"receipt\":902}\n{\"held\":0,\"complete\":false}\n"));
    need(f, "c ");
    OK(apply_lines(f->dock, deployment->tablet, "t1", deployment->server, SERVER_NAME,
                   "{\"receipt\":903}\n{\"held\":0,\"complete\":true}\n"));
    need(f, "a b c ");
}

/* The server holds nothing for anybody; another tablet's word is of that tablet. */
static void test_of_others(void **state)
{
    struct fixture *f = *state;

    list(f, ABC);
    assert_int_equal(apply_lines(f->tablet, deployment->server, SERVER_NAME, deployment->tablet,
                                 "t1", NUMBER HOLDS HELD),
                     -1);
    assert_int_equal(error.kind, ERROR_CORRUPT);
    refused(f, NUMBER "{\"seen\":{\"epoch\":\"00000000000000aa\",\"number\":1}}\n",
            "what it has seen");
    assert_int_equal(apply_lines(f->tablet, deployment->server, SERVER_NAME, deployment->tablet,
                                 "t1", NUMBER "{\"seen\":{\"epoch\":\"aa\",\"number\":1}}\n"),
                     -1);
    OK(apply_lines(f->dock, deployment->tablet2, "t2", deployment->server, SERVER_NAME,
                   NUMBER HOLDS HELD));
    need(f, "a b c ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_holds),      TEST(test_under_way), TEST(test_refusals_stay), TEST(test_late),
        TEST(test_begun_anew), TEST(test_put_back),  TEST(test_other_dock),    TEST(test_many),
        TEST(test_too_many),   TEST(test_malformed), TEST(test_of_others),     TEST(test_refused),
    };

    return cmocka_run_group_tests(tests, make_deployment, drop_deployment);
}
