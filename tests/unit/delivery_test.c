/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/tablet/delivery: documents in the order of asking, each batch opened once where that is enough, within bounds of
 * memory; what cannot be opened any more is asked for anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/statement.h"
#include "store/streams.h"
#include "tests/unit/support/shelved.h"
#include "tests/unit/support/stores.h"

static void receive(struct shelved *s, const char *lines)
{
    shelved_receive(s, "docs", "medic", lines);
}

#define MANY 400
#define A_BATCH 40

static void receive_many(struct shelved *s, size_t doc_bytes)
{
    char *filler = malloc(doc_bytes + 1);
    struct buffer lines = {0};

    assert_non_null(filler);
    memset(filler, 'x', doc_bytes);
    filler[doc_bytes] = '\0';
    for (int i = 0; i < MANY; i++) {
        STORES_OK(
            buffer_printf(
                &lines, &s->error,
                "{\"_id\":\"d%03d\",\"_rev\":\"1-%d\",\"x\":\"%s\",\"_revisions\":{\"start\":1,"
                "\"ids\":[\"%d\"]}}\n",
                i, i, filler, i) == 0,
            &s->error);
        if (i % A_BATCH < A_BATCH - 1)
            continue;
        STORES_OK(buffer_append(&lines, "", 1, &s->error) == 0, &s->error);
        receive(s, (char *)lines.data);
        lines.length = 0;
    }
    buffer_free(&lines);
    free(filler);
}

/* Ask for COUNT of them, each STEP-th; all come, in the order of asking.  How many batches were opened. */
static uint64_t ask_many(struct shelved *s, int count, int step)
{
    uint64_t before = opened_count(s->service.opened);
    struct buffer body = {0};
    unsigned status;
    json_t *answer, *results;
    char *text;

    STORES_OK(buffer_printf(&body, &s->error, "{\"docs\":[") == 0, &s->error);
    for (int i = 0; i < count; i++)
        STORES_OK(buffer_printf(&body, &s->error, "%s{\"id\":\"d%03d\",\"rev\":\"1-%d\"}",
                                i > 0 ? "," : "", i * step % MANY, i * step % MANY) == 0,
                  &s->error);
    STORES_OK(buffer_append(&body, "]}", 3, &s->error) == 0, &s->error);
    text = shelved_ask(s, "POST", "/medic/_bulk_get", NULL, (char *)body.data, &status, NULL);
    answer = json_loads(text, 0, NULL);
    assert_non_null(answer);
    results = json_object_get(answer, "results");
    assert_int_equal(json_array_size(results), count);
    for (int i = 0; i < count; i++) {
        json_t *doc = json_object_get(
            json_array_get(json_object_get(json_array_get(results, (size_t)i), "docs"), 0), "ok");
        char id[8];

        (void)snprintf(id, sizeof id, "d%03d", i * step % MANY);
        assert_string_equal(json_string_value(json_object_get(doc, "_id")), id);
        assert_null(json_object_get(doc, "_revisions"));
    }
    json_decref(answer);
    free(text);
    buffer_free(&body);
    return opened_count(s->service.opened) - before;
}

static void test_batches_are_opened_once(void **state)
{
    struct shelved *s = *state;

    receive_many(s, 30000); /* ten batches of 1.2 MB: not all can be kept */
    assert_int_equal(ask_many(s, A_BATCH, 1), 1);
    assert_int_equal(ask_many(s, A_BATCH, 1), 0);
    /* 1 MiB is 34 of them: they are opened in the order of their batches, then answered as asked. */
    assert_true(ask_many(s, 33, 37) <= 10);
}

/* More is asked for at a time than may be held: it is all answered, or refused with words. */
static void test_much_at_a_time(void **state)
{
    struct shelved *s = *state;

    receive_many(s, 1000);
    s->service.held_bytes = ROUTES_HELD_BYTES - 30000; /* others hold that much */
    assert_true(ask_many(s, 100, 37) >= 10);
    s->service.held_bytes = ROUTES_HELD_BYTES - 100;
    shelved_expect(
        s, "POST", "/medic/_bulk_get",
        "{\"docs\":[{\"id\":\"d000\",\"rev\":\"1-0\"},{\"id\":\"d000\",\"rev\":\"1-0\"}]}", 503,
        "*try again");
    s->service.held_bytes = 0;
}

/* A document larger than what is made at a time. */
static void test_large_documents(void **state)
{
    static const char head[] =
        "{\"_id\":\"l\",\"_rev\":\"1-l\",\"_revisions\":{\"start\":1,\"ids\":[\"l\"]},"
        "\"_attachments\":{\"a\":{\"data\":\"";
    struct shelved *s = *state;
    size_t base64 = 3000000, size = sizeof head - 1 + base64 + 4, got;
    char *line = malloc(size + 2), *text;
    unsigned status;

    assert_non_null(line);
    memcpy(line, head, sizeof head);
    memset(line + sizeof head - 1, 'A', base64);
    memcpy(line + size - 4, "\"}}}\n", 6);
    receive(s, line);
    text = shelved_ask(s, "GET", "/medic/l?revs=true&attachments=true", NULL, NULL, &status, &got);
    assert_int_equal(status, 200);
    assert_int_equal(got, size + 1);
    assert_memory_equal(text, line, size + 1);
    free(text);
    shelved_expect(
        s, "GET", "/medic/l", NULL, 200,
        "{\"_id\":\"l\",\"_rev\":\"1-l\",\"_attachments\":{\"a\":{\"length\":2250000,\"stub\":true}}}\n");
    text = shelved_ask(s, "GET", "/medic/l/a", NULL, NULL, &status, &got);
    assert_int_equal(status, 200);
    assert_int_equal(got, 2250000);
    for (size_t i = 0; i < got; i++)
        assert_int_equal(text[i], 0);
    free(text);
    free(line);
}

#define DOC "{\"_id\":\"%s\",\"_rev\":\"1-a\",\"_attachments\":{\"x\":{\"data\":\"YQ==\"}}}\n"

/* One bit of each batch on disk is another; batches that were opened before are forgotten. */
static void damage(struct shelved *s)
{
    int64_t key, damaged = 0;

    STORES_OK(statement_number(s->store, "SELECT max(key) FROM chunk", &key, &s->error) == 0,
              &s->error);
    for (; key > 0; key--) {
        sqlite3_blob *blob = NULL;
        unsigned char byte;
        int middle;

        if (sqlite3_blob_open(s->store->db, "main", "chunk", "bytes", key, 1, &blob) == SQLITE_OK) {
            middle = sqlite3_blob_bytes(blob) / 2;
            assert_int_equal(sqlite3_blob_read(blob, &byte, 1, middle), SQLITE_OK);
            byte ^= 1;
            assert_int_equal(sqlite3_blob_write(blob, &byte, 1, middle), SQLITE_OK);
            damaged++;
        }
        assert_int_equal(sqlite3_blob_close(blob), SQLITE_OK);
    }
    assert_true(damaged > 0);
    opened_free(s->service.opened);
    s->service.opened = opened_new(s->store, s->deployment->tablet, &s->error);
    STORES_OK(s->service.opened != NULL, &s->error);
}

/* ID is off the shelf, is not held, and the next receipt that says so is due; which is then as if it were made. */
static void expect_given_up(struct shelved *s, const char *id)
{
    struct rev_here first = {.db = ""}, here;
    char due[STORE_NAME_BYTES], path[80];

    assert_int_equal(streams_next_due(s->store, "", due, &s->error), 1);
    assert_string_equal(due, SERVER_NAME);
    (void)snprintf(path, sizeof path, "/medic/%s", id);
    shelved_expect(s, "GET", path, NULL, 404, "{\"error\":\"not_found\",\"reason\":\"missing\"}");
    while (revs_next_here(s->store, &first, &here, &s->error) == 1) {
        assert_string_not_equal(here.id, id);
        first = here;
    }
    STORES_OK(store_begin(s->store, &s->error) == 0 &&
                  streams_set_due(s->store, SERVER_NAME, false, &s->error) == 0 &&
                  store_commit(s->store, &s->error) == 0,
              &s->error);
}

/* Whatever route meets a batch that is damaged on disk, what it asked for is asked of the server anew, and comes. */
static void test_damaged_batch(void **state)
{
    struct shelved *s = *state;
    char lines[600], line[200], path[80];

    (void)snprintf(lines, sizeof lines, DOC DOC DOC DOC DOC, "a", "b", "c", "d", "e");
    receive(s, lines);
    damage(s);
    STORES_OK(store_begin(s->store, &s->error) == 0 &&
                  streams_set_due(s->store, SERVER_NAME, false, &s->error) == 0 &&
                  store_commit(s->store, &s->error) == 0,
              &s->error);
    shelved_expect(s, "POST", "/medic/_bulk_get",
                   "{\"docs\":[{\"id\":\"a\",\"rev\":\"1-a\"},{\"id\":\"x\",\"rev\":\"1-a\"}]}",
                   200, "*{\"error\":{\"id\":\"a\",\"rev\":\"1-a\",\"error\":\"not_found\"");
    expect_given_up(s, "a");
    shelved_expect(s, "GET", "/medic/b", NULL, 503, "*asked for anew");
    expect_given_up(s, "b");
    shelved_expect(s, "GET", "/medic/c/x", NULL, 503, "*asked for anew");
    expect_given_up(s, "c");
    shelved_expect(s, "GET", "/medic/d?open_revs=all", NULL, 200, "[{\"missing\":\"1-a\"}]\n");
    expect_given_up(s, "d");
    shelved_expect(s, "GET", "/medic/_changes?include_docs=true", NULL, 200,
                   "*{\"seq\":5,\"id\":\"e\",\"changes\":[{\"rev\":\"1-a\"}]}\n]");
    expect_given_up(s, "e");

    receive(s, lines);
    for (char id[] = "a"; id[0] <= 'e'; id[0]++) {
        (void)snprintf(line, sizeof line, DOC, id);
        (void)snprintf(path, sizeof path, "/medic/%s?attachments=true", id);
        shelved_expect(s, "GET", path, NULL, 200, line);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, shelved_set_up, shelved_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_batches_are_opened_once),
        TEST(test_much_at_a_time),
        TEST(test_large_documents),
        TEST(test_damaged_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
