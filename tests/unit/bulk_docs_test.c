/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/tablet/bulk_docs: however a body is cut into pieces, each document arrives as the bytes that
 * were sent; whatever is not a replication's body is refused in CouchDB's words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "host/tablet/bulk_docs.h"

struct got {
    struct buffer lines;
    int fail_at; /* the callback fails at this document; 0: never */
    int docs;
};

static int take(const char *json, size_t size, void *context, struct error *error)
{
    struct got *got = context;

    assert_int_equal(json[size], '\n');
    if (++got->docs == got->fail_at)
        return error_set(error, ERROR_FULL, "store: full");
    return buffer_append(&got->lines, json, size + 1, error);
}

/* Feed BODY in pieces of PIECE bytes, each in a heap block of its own so that a read beyond it shows. */
static int feed(struct bulk_docs *bulk, const char *body, size_t piece, struct error *error)
{
    size_t length = strlen(body);
    int result = 0;

    for (size_t at = 0; at < length && result == 0; at += piece) {
        size_t size = length - at < piece ? length - at : piece;
        char *block = malloc(size);

        assert_non_null(block);
        memcpy(block, body + at, size);
        result = bulk_docs_feed(bulk, block, size, error);
        free(block);
    }
    return result == 0 ? bulk_docs_end(bulk, error) : result;
}

static void expect_lines(const char *body, const char *lines)
{
    for (size_t piece = 1; piece <= strlen(body); piece++) {
        struct got got = {0};
        struct error error = {0};
        struct bulk_docs *bulk = bulk_docs_new(take, &got, &error);

        assert_non_null(bulk);
        if (feed(bulk, body, piece, &error) != 0)
            fail_msg("%s in pieces of %zu: %s", body, piece, error.text);
        assert_int_equal(got.lines.length, strlen(lines));
        if (got.lines.length > 0)
            assert_memory_equal(got.lines.data, lines, strlen(lines));
        buffer_free(&got.lines);
        bulk_docs_free(bulk);
    }
}

static void expect_fault(const char *body, const char *words)
{
    for (size_t piece = 1; piece <= strlen(body) + 1; piece += 3) {
        struct got got = {0};
        struct error error = {0};
        struct bulk_docs *bulk = bulk_docs_new(take, &got, &error);

        assert_non_null(bulk);
        assert_int_equal(feed(bulk, body, piece, &error), -1);
        assert_int_equal(error.kind, ERROR_USAGE);
        if (strstr(error.text, words) == NULL)
            fail_msg("%s: '%s' has no '%s'", body, error.text, words);
        buffer_free(&got.lines);
        bulk_docs_free(bulk);
    }
}

static void test_bytes_arrive_as_sent(void **state)
{
    (void)state;
    expect_lines("{\"docs\":[],\"new_edits\":false}", "");
    expect_lines("{\"docs\":[{}],\"new_edits\":false}", "{}\n");
    expect_lines(
        " {\"new_edits\" : false , \"docs\": [ {\"_id\": \"a\\n\\u00e9\", \"n\":1.50e+3} ,{\"b\":"
        "[{\"c\":[]}]}]} ",
        "{\"_id\": \"a\\n\\u00e9\", \"n\":1.50e+3}\n{\"b\":[{\"c\":[]}]}\n");
    expect_lines(
        "{\"docs\":[{\"\xc3\xa9\":\"\xf0\x9f\x92\x89\",\"x\":\"}]{\\\"\\\\\"}],\"new_edits\":false,"
        "\"other\":{\"docs\":[{\"no\":1}]}}",
        "{\"\xc3\xa9\":\"\xf0\x9f\x92\x89\",\"x\":\"}]{\\\"\\\\\"}\n");
    /* A member `docs` or `new_edits` within a document is nobody's business. */
    expect_lines("{\"docs\":[{\"docs\":1,\"new_edits\":true}],\"new_edits\":false}",
                 "{\"docs\":1,\"new_edits\":true}\n");
}

static void test_line_breaks_become_blanks(void **state)
{
    (void)state;
    expect_lines("{\"docs\":[\n{\r\n\"a\":\n1}\n],\n\"new_edits\":false}\n", "{  \"a\": 1}\n");
}

static void test_faults(void **state)
{
    (void)state;
    expect_fault("", "JSON");
    expect_fault("[]", "must be a JSON object");
    expect_fault("1", "J");
    expect_fault("{}", "must include `docs`");
    expect_fault("{\"docs\":[]}", "only takes replication");
    expect_fault("{\"docs\":[],\"new_edits\":true}", "only takes replication");
    expect_fault("{\"docs\":[],\"new_edits\":0}", "must be a boolean");
    expect_fault("{\"docs\":[],\"new_edits\":[]}", "must be a boolean");
    expect_fault("{\"docs\":{},\"new_edits\":false}", "must be an array");
    expect_fault("{\"docs\":null,\"new_edits\":false}", "must be an array");
    expect_fault("{\"docs\":[1],\"new_edits\":false}", "must be a JSON object");
    expect_fault("{\"docs\":[[]],\"new_edits\":false}", "must be a JSON object");
    expect_fault("{\"docs\":[],\"docs\":[],\"new_edits\":false}", "twice");
    expect_fault("{\"docs\":[{\"a\":\"x", "JSON");
    expect_fault("{\"docs\":[{\"a\":\"x\ny\"}],\"new_edits\":false}", "JSON");
    expect_fault("{\"docs\":[{}],\"new_edits\":false}{", "JSON");
    expect_fault("{\"docs\":[{}]]", "JSON");
}

static void test_depth_is_bounded(void **state)
{
    char body[2100] = "{\"docs\":[{\"a\":";

    (void)state;
    memset(body + strlen(body), '[', 2000);
    expect_fault(body, "too deep");
}

static void test_receiver_fault_is_told(void **state)
{
    struct got got = {.fail_at = 2};
    struct error error = {0};
    struct bulk_docs *bulk = bulk_docs_new(take, &got, &error);

    (void)state;
    assert_non_null(bulk);
    assert_int_equal(feed(bulk, "{\"docs\":[{},{},{}],\"new_edits\":false}", 5, &error), -1);
    assert_int_equal(error.kind, ERROR_FULL);
    assert_string_equal(error.text, "store: full");
    assert_int_equal(got.docs, 2);
    buffer_free(&got.lines);
    bulk_docs_free(bulk);
    bulk_docs_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_arrive_as_sent),
        cmocka_unit_test(test_line_breaks_become_blanks),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_receiver_fault_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
