/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/receipt: a receipt frees at the source exactly what its destination has applied, tells the
 * refusals, and does nothing at all when any of its lines is wrong.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/ledger.h"
#include "store/receipt.h"
#include "store/streams.h"
#include "tests/unit/support/deployment.h"

static struct deployment *deployment;
static char folder[PATH_MAX];
static struct store *tablet, *dock;
static struct error error;

static void ok(int result)
{
    if (result < 0)
        fail_msg("%s", error.text);
}

static struct store *open_store(const char *name, const char *role)
{
    char path[PATH_MAX + 16];
    struct store_options options = {.directory = path, .station = name, .role = role};
    struct store *store;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    store = store_open(&options, &error);
    if (store == NULL)
        fail_msg("%s", error.text);
    return store;
}

static int set_up(void **state)
{
    const char *parent = getenv("TMPDIR");

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/boda-receipt-XXXXXX",
                   parent != NULL ? parent : "/tmp");
    if (mkdtemp(folder) == NULL)
        return -1;
    deployment = deployment_new();
    tablet = open_store("t1", "tablet");
    dock = open_store("dock", "dock");
    return 0;
}

static int tear_down(void **state)
{
    char command[PATH_MAX + 16];

    (void)state;
    store_close(tablet);
    store_close(dock);
    deployment_free(deployment);
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

/* One batch of the tablet's, in both stores, as if carried. */
static struct label carried(void)
{
    struct manifest manifest = {
        .from = "t1", .to = "server", .kind = "docs", .db = "medic", .user = "chw1", .docs = 1};
    struct buffer bytes = {0};
    struct label label;

    memcpy(manifest.epoch, store_epoch(tablet), sizeof manifest.epoch);
    ok(store_begin(tablet, &error));
    ok(streams_next_seq(tablet, "t1", "server", &manifest.seq, &error));
    ok(batch_seal(deployment->tablet, identity_certificate(deployment->server), &manifest,
                  "{\"_id\":\"a\"}\n", 12, &bytes, &label, &error));
    ok(batches_add(tablet, &label, bytes.data, bytes.length, &error));
    ok(store_commit(tablet, &error));
    ok(store_begin(dock, &error));
    ok(batches_add(dock, &label, bytes.data, bytes.length, &error));
    ok(store_commit(dock, &error));
    buffer_free(&bytes);
    return label;
}

static void apply(const struct label *label)
{
    ok(store_begin(dock, &error));
    ok(batches_apply(dock, label, false, &error));
    ok(streams_set_due(dock, "t1", true, &error));
    ok(store_commit(dock, &error));
}

static void refuse(const struct label *label, const char *id, const char *reason)
{
    struct refusal refusal = {.from = "t1", .db = "medic", .rev = "1-a", .error = "forbidden"};

    memcpy(refusal.epoch, label->epoch, sizeof refusal.epoch);
    memcpy(refusal.batch, label->id, sizeof refusal.batch);
    refusal.seq = label->seq;
    (void)snprintf(refusal.id, sizeof refusal.id, "%s", id);
    (void)snprintf(refusal.reason, sizeof refusal.reason, "%s", reason);
    ok(store_begin(dock, &error));
    ok(ledger_refuse(dock, &refusal, &error));
    ok(store_commit(dock, &error));
}

static int make(void)
{
    int made;

    ok(store_begin(dock, &error));
    made = receipt_make(dock, deployment->server, "t1", identity_certificate(deployment->tablet),
                        &error);
    ok(made);
    ok(store_commit(dock, &error));
    return made;
}

/* The only held receipt of the dock's. */
static void take_receipt(struct buffer *bytes, struct label *label)
{
    const struct batch_filter filter = {"server", "t1", BATCH_HELD};
    struct batch batch, another;

    assert_int_equal(batches_next(dock, &filter, 0, &batch, &error), 1);
    assert_int_equal(batches_next(dock, &filter, batch.position, &another, &error), 0);
    assert_int_equal(batch.label.seq, 0);
    bytes->length = 0;
    ok(batches_load(dock, batch.label.id, bytes, &error));
    *label = batch.label;
}

static int open_and_apply(const struct buffer *bytes, const struct label *label, uint64_t *freed)
{
    struct trust *trust = deployment_trust(deployment, true);
    struct opened_batch opened;
    int result;

    ok(batch_open(deployment->tablet, trust, label, bytes->data, bytes->length, &opened, NULL,
                  &error));
    ok(store_begin(tablet, &error));
    result = receipt_apply(tablet, &opened, label, freed, &error);
    if (result == 0)
        ok(store_commit(tablet, &error));
    else
        store_rollback(tablet);
    opened_batch_free(&opened);
    trust_free(trust);
    return result;
}

static uint64_t held(struct store *store, const char *from)
{
    const struct batch_filter filter = {from, NULL, BATCH_HELD};
    struct batch_counts counts;

    ok(batches_count(store, &filter, &counts, &error));
    return counts.held;
}

/* With nothing from the source there is nothing to tell. */
static void nothing_gives_no_receipt(void **state)
{
    (void)state;
    assert_int_equal(make(), 0);
}

/* What is applied is freed, what is not waits; the refusal arrives with the server's words. */
static void the_applied_is_freed(void **state)
{
    struct label one = carried(), two = carried(), three = carried(), label;
    char due[STORE_NAME_BYTES];
    struct refusal refusal;
    struct buffer bytes = {0};
    uint64_t freed = 99;

    (void)state;
    apply(&one);
    apply(&three);
    refuse(&three, "r1", "\xc3\xa9t\xc3\xa9 \"quoted\"");
    assert_int_equal(make(), 1);
    assert_int_equal(streams_next_due(dock, "", due, &error), 0);
    take_receipt(&bytes, &label);
    assert_int_equal(open_and_apply(&bytes, &label, &freed), 0);
    assert_int_equal(freed, 2);
    assert_int_equal(held(tablet, "t1"), 1);
    assert_int_equal(held(tablet, "server"), 0);
    assert_int_equal(ledger_next(tablet, 0, false, &refusal, &error), 1);
    assert_string_equal(refusal.from, "server");
    assert_string_equal(refusal.epoch, store_epoch(dock));
    assert_string_equal(refusal.id, "r1");
    assert_string_equal(refusal.error, "forbidden");
    assert_string_equal(refusal.reason, "\xc3\xa9t\xc3\xa9 \"quoted\"");
    assert_int_equal(refusal.seq, three.seq);

    /* The same again changes nothing. */
    assert_int_equal(open_and_apply(&bytes, &label, &freed), 0);
    assert_int_equal(freed, 0);
    apply(&two);
    buffer_free(&bytes);
}

/* A later receipt replaces the one that nobody took, and an earlier one that comes late brings no
 * refusals back. */
static void later_receipts_win(void **state)
{
    struct label label, earlier;
    struct buffer bytes = {0}, early = {0};
    struct refusal refusal;
    uint64_t freed;

    (void)state;
    assert_int_equal(make(), 1);
    take_receipt(&early, &earlier);
    ok(store_begin(dock, &error));
    ok(ledger_accept(dock, "t1", "medic", "r1", "", &error));
    ok(store_commit(dock, &error));
    assert_int_equal(make(), 1);
    take_receipt(&bytes, &label);
    assert_memory_not_equal(earlier.id, label.id, sizeof label.id);
    assert_int_equal(open_and_apply(&bytes, &label, &freed), 0);
    assert_int_equal(freed, 1);
    assert_int_equal(ledger_next(tablet, 0, false, &refusal, &error), 0);
    assert_int_equal(open_and_apply(&early, &earlier, &freed), 0);
    assert_int_equal(ledger_next(tablet, 0, false, &refusal, &error), 0);
    assert_int_equal(held(tablet, "t1"), 0);
    buffer_free(&bytes);
    buffer_free(&early);
}

#define RIGHT "{\"receipt\":900}\n"
#define REFUSAL                                                                \
    "{\"refused\":{\"epoch\":\"0123456789abcdef\",\"seq\":1,\"db\":\"medic\"," \
    "\"id\":\"x\",\"rev\":\"1-a\",\"error\":\"forbidden\",\"reason\":\"\"}}\n"
#define DIGEST "\"0000000000000000000000000000000000000000000000000000000000000000\""

/* A receipt with these lines, sealed by the server as it should be. */
static int apply_lines(const char *kind, const char *lines, uint64_t *freed)
{
    struct manifest manifest = {.from = "server", .to = "t1", .epoch = "00000000000000aa"};
    struct buffer bytes = {0};
    struct label label;
    int result;

    (void)snprintf(manifest.kind, sizeof manifest.kind, "%s", kind);
    for (const char *at = lines; (at = strchr(at, '\n')) != NULL; at++)
        manifest.docs++;
    ok(batch_seal(deployment->server, identity_certificate(deployment->tablet), &manifest, lines,
                  strlen(lines), &bytes, &label, &error));
    result = open_and_apply(&bytes, &label, freed);
    buffer_free(&bytes);
    return result;
}

static void refused(const char *lines, const char *words)
{
    struct refusal refusal;
    uint64_t freed = 99;

    assert_int_equal(apply_lines("receipt", lines, &freed), -1);
    assert_int_equal(freed, 0);
    assert_int_equal(error.kind, ERROR_CORRUPT);
    if (strstr(error.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", error.text, words);
    assert_int_equal(ledger_next(tablet, 0, false, &refusal, &error), 0);
}

static const char *stream(const char *from, const char *to, const char *epoch, const char *runs)
{
    static char line[1024];

    (void)snprintf(line, sizeof line,
                   RIGHT REFUSAL "{\"stream\":{\"from\":\"%s\",\"to\":\"%s\",\"epoch\":\"%s\"},"
                                 "\"runs\":%s}\n",
                   from, to, epoch, runs);
    return line;
}

/* A wrong line anywhere fails the whole receipt: the right refusal ahead of it is not recorded. */
static void malformed_receipts_do_nothing(void **state)
{
    static const char EPOCH[] = "0123456789abcdef";
    uint64_t freed;

    (void)state;
    refused("", "has no number");
    refused(REFUSAL, "does not begin with its number");
    refused("{\"receipt\":0}\n", "its number is wrong");
    refused("{\"receipt\":\"1\"}\n", "its number is wrong");
    refused(RIGHT RIGHT, "its number is wrong");
    refused(RIGHT REFUSAL "[]\n", "is not a JSON object");
    refused(RIGHT REFUSAL "{\n", "is not a JSON object");
    refused(RIGHT REFUSAL "{\"refused\":{}}\n", "a refusal is malformed");
    refused(RIGHT REFUSAL "{\"refused\":7}\n", "a refusal is malformed");
    refused(RIGHT REFUSAL "{\"stream\":7,\"runs\":[]}\n", "a stream is malformed");
    refused(stream("t1", "server", "0123", "[]"), "a stream is malformed");
    refused(stream("t1", "server", EPOCH, "{}"), "a stream is malformed");
    refused(stream("t2", "server", EPOCH, "[]"), "not between the two");
    refused(stream("server", "t1", EPOCH, "[]"), "not between the two");
    refused(stream("t1", "t2", EPOCH, "[]"), "not between the two");
    refused(stream("t1", "server", EPOCH, "[[1,2]]"), "a run is malformed");
    refused(stream("t1", "server", EPOCH, "[[2,1," DIGEST "]]"), "a run is malformed");
    refused(stream("t1", "server", EPOCH, "[[0,1," DIGEST "]]"), "a run is malformed");
    refused(stream("t1", "server", EPOCH, "[[1,1,\"00\"]]"), "a run is malformed");
    refused(stream("t1", "server", EPOCH, "[[1,1," DIGEST ",1]]"), "a run is malformed");
    assert_int_equal(apply_lines("docs", RIGHT, &freed), -1);
    assert_non_null(strstr(error.text, "is not a receipt"));
    /* Lines of a later version are passed over. */
    assert_int_equal(apply_lines("receipt", RIGHT "{\"later\":1}\n", &freed), 0);
}

/* A digest that is not ours, or an epoch that is not, frees nothing. */
static void wrong_digests_free_nothing(void **state)
{
    struct label label = carried();
    char lines[1024];
    uint64_t freed = 99;

    (void)state;
    (void)snprintf(lines, sizeof lines,
                   "{\"receipt\":901}\n{\"stream\":{\"from\":\"t1\",\"to\":\"server\","
                   "\"epoch\":\"%s\"},\"runs\":[[%u,%u," DIGEST "]]}\n",
                   label.epoch, (unsigned)label.seq, (unsigned)label.seq);
    assert_int_equal(apply_lines("receipt", lines, &freed), 0);
    assert_int_equal(freed, 0);
    assert_int_equal(held(tablet, "t1"), 1);
}

/* A tablet's receipt tells the server no refusals: they would stand in the dock's own ledger. */
static void tablets_refuse_nothing(void **state)
{
    struct manifest manifest = {.from = "t1",
                                .to = "server",
                                .epoch = "00000000000000aa",
                                .kind = "receipt",
                                .user = "chw1",
                                .docs = 2};
    struct trust *trust = deployment_trust(deployment, true);
    struct opened_batch opened;
    struct buffer bytes = {0};
    struct label label;
    uint64_t freed;

    (void)state;
    ok(batch_seal(deployment->tablet, identity_certificate(deployment->server), &manifest,
                  RIGHT REFUSAL, strlen(RIGHT REFUSAL), &bytes, &label, &error));
    ok(batch_open(deployment->server, trust, &label, bytes.data, bytes.length, &opened, NULL,
                  &error));
    ok(store_begin(dock, &error));
    assert_int_equal(receipt_apply(dock, &opened, &label, &freed, &error), -1);
    assert_non_null(strstr(error.text, "a refusal is malformed"));
    store_rollback(dock);
    opened_batch_free(&opened);
    buffer_free(&bytes);
    trust_free(trust);
}

/* However many refusals there are, the receipt stays a batch. */
static void many_refusals_fit(void **state)
{
    struct label last = carried(), label;
    struct buffer bytes = {0};
    struct refusal refusal = {.from = "t1", .db = "medic", .rev = "1-a", .error = "forbidden"};
    struct refusal first;
    uint64_t freed;

    (void)state;
    memcpy(refusal.epoch, last.epoch, sizeof refusal.epoch);
    memcpy(refusal.batch, last.id, sizeof refusal.batch);
    memset(refusal.reason, '\x01', LEDGER_WORDS_BYTES - 1); /* six bytes each in JSON */
    refusal.seq = last.seq;
    ok(store_begin(dock, &error));
    for (unsigned i = 0; i < 5100; i++) {
        (void)snprintf(refusal.id, sizeof refusal.id, "%0500u", i);
        ok(ledger_refuse(dock, &refusal, &error));
    }
    ok(store_commit(dock, &error));
    assert_int_equal(make(), 1);
    take_receipt(&bytes, &label);
    assert_int_equal(open_and_apply(&bytes, &label, &freed), 0);
    assert_int_equal(ledger_next(tablet, 0, false, &first, &error), 1);
    buffer_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_gives_no_receipt),
        cmocka_unit_test(the_applied_is_freed),
        cmocka_unit_test(later_receipts_win),
        cmocka_unit_test(malformed_receipts_do_nothing),
        cmocka_unit_test(wrong_digests_free_nothing),
        cmocka_unit_test(tablets_refuse_nothing),
        cmocka_unit_test(many_refusals_fit),
    };

    return cmocka_run_group_tests_name("receipt", tests, set_up, tear_down);
}
