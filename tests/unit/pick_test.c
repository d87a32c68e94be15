/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * base/pick: however a text is cut into pieces, the values at the places arrive as the bytes that came, and the
 * verdict is the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/pick.h"

static const struct pick_place places[] = {
    {"docs[]", 1000},
    {"new_edits", 5},
    {"results[].docs[].ok", 100},
    {"results[].docs[].ok._id", 20},
    {"pairs[][]", 10},
};
#define PLACES (sizeof places / sizeof *places)

struct got {
    struct buffer lines; /* "PLACE VALUE\n" each */
    int fail_at;         /* the callback fails at this value; 0: never */
    int values;
};

static int take(unsigned place, const char *json, size_t size, void *context, struct error *error)
{
    struct got *got = context;

    assert_int_equal(json[size], '\n');
    if (++got->values == got->fail_at)
        return error_set(error, ERROR_FULL, "store: full");
    if (buffer_printf(&got->lines, error, "%u ", place) != 0)
        return -1;
    return buffer_append(&got->lines, json, size + 1, error);
}

/* Feed TEXT in pieces of PIECE bytes, each in a heap block of its own so that a read beyond it shows. */
static int feed(struct pick *pick, const char *text, size_t piece, struct error *error)
{
    size_t length = strlen(text);
    int result = 0;

    for (size_t at = 0; at < length && result == 0; at += piece) {
        size_t size = length - at < piece ? length - at : piece;
        char *block = malloc(size);

        assert_non_null(block);
        memcpy(block, text + at, size);
        result = pick_feed(pick, block, size, error);
        free(block);
    }
    return result == 0 ? pick_end(pick, error) : result;
}

/* SEEN: a digit for each place. */
static void expect(const char *text, const char *lines, const char *seen)
{
    for (size_t piece = 1; piece <= strlen(text); piece++) {
        struct got got = {0};
        struct error error = {0};
        struct pick *pick = pick_new(places, PLACES, take, &got, &error);

        assert_non_null(pick);
        if (feed(pick, text, piece, &error) != 0)
            fail_msg("%s in pieces of %zu: %s", text, piece, error.text);
        if (got.lines.length != strlen(lines) ||
            (got.lines.length > 0 && memcmp(got.lines.data, lines, got.lines.length) != 0))
            fail_msg("%s in pieces of %zu: %.*s", text, piece, (int)got.lines.length,
                     (char *)got.lines.data);
        for (unsigned i = 0; i < PLACES; i++)
            assert_int_equal(pick_seen(pick, i), seen[i] == '1');
        buffer_free(&got.lines);
        pick_free(pick);
    }
}

static void expect_fault(const char *text, const char *words)
{
    for (size_t piece = 1; piece <= strlen(text) + 1; piece += 3) {
        struct got got = {0};
        struct error error = {0};
        struct pick *pick = pick_new(places, PLACES, take, &got, &error);

        assert_non_null(pick);
        assert_int_equal(feed(pick, text, piece, &error), -1);
        assert_int_equal(pick_fault(pick), PICK_MALFORMED);
        assert_int_equal(error.kind, ERROR_CORRUPT);
        if (strstr(error.text, words) == NULL)
            fail_msg("%s: '%s' has no '%s'", text, error.text, words);
        buffer_free(&got.lines);
        pick_free(pick);
    }
}

static void test_bytes_arrive_as_they_came(void **state)
{
    (void)state;
    expect("{}", "", "00000");
    expect(" {\"a\":[{\"docs\":[1],\"new_edits\":2}],\"docs\" : [ ] } ", "", "10000");
    expect("{\"docs\":[{\"_id\": \"a\\n\\u00e9\", \"n\":1.50e+3} ,{\"b\":[{\"c\":[]}]}]}",
           "0 {\"_id\": \"a\\n\\u00e9\", \"n\":1.50e+3}\n0 {\"b\":[{\"c\":[]}]}\n", "10000");
    expect("{\"docs\":[{\"\xc3\xa9\":\"}]{\\\"\\\\\"}],\"x\":{\"docs\":3}}",
           "0 {\"\xc3\xa9\":\"}]{\\\"\\\\\"}\n", "10000");
    expect("{\"docs\":[\n{\r\n\"a\":\n1}\n],\n\"new_edits\"\n:\nfalse}\n",
           "0 {  \"a\": 1}\n1 false\n", "11000");
}

static void test_values_of_any_kind(void **state)
{
    (void)state;
    expect(
        "{\"docs\":[1, -2.5e3 ,\"a,b\" , null,true,[1,[2]],{}],\"new_edits\":  \t\n           12 }",
        "0 1\n0 -2.5e3\n0 \"a,b\"\n0 null\n0 true\n0 [1,[2]]\n0 {}\n1 12\n", "11000");
    expect("{\"pairs\":[[\"a\",\"1-a\"],[],[\"b\" ]]}", "4 \"a\"\n4 \"1-a\"\n4 \"b\"\n", "00001");
}

static void test_places_within_one_another(void **state)
{
    (void)state;
    expect(
        "{\"results\":[{\"id\":\"a\",\"docs\":[{\"ok\":{\"_id\": \"a\",\"n\":{\"_id\":1}} },{\"error\":{}}]},"
        "{\"docs\":[]},{}]}",
        "3 \"a\"\n2 {\"_id\": \"a\",\"n\":{\"_id\":1}}\n", "00110");
}

static void test_faults(void **state)
{
    (void)state;
    expect_fault("", "JSON");
    expect_fault("[]", "must be a JSON object");
    expect_fault("1 ", "must be a JSON object");
    expect_fault("{\"docs\":{}}", "`docs` must be an array");
    expect_fault("{\"docs\":null}", "`docs` must be an array");
    expect_fault("{\"results\":[1]}", "an element must be an object");
    expect_fault("{\"results\":[{\"docs\":[[]]}]}", "an element must be an object");
    expect_fault("{\"results\":[{\"docs\":[{\"ok\":1}]}]}", "`ok` must be an object");
    expect_fault("{\"docs\":[],\"docs\":[]}", "`docs` is there twice");
    expect_fault("{\"docs\":[{\"a\":\"x", "JSON");
    expect_fault("{\"docs\":[{\"a\":\"x\ny\"}]}", "JSON");
    expect_fault("{\"docs\":[{}]}{", "JSON");
    expect_fault("{\"docs\":[{}]]", "JSON");
    expect_fault("{\"new_edits\":false ,\"new_edits\":1}", "twice");
    expect_fault("{\"new_edits\":123456}", "new_edits is too large");
    expect_fault("{\"new_edits\":[1,2,3]}", "new_edits is too large");
    expect_fault("{\"results\":[{\"docs\":[{\"ok\":{\"_id\":\"012345678901234567890\"}}]}]}",
                 "results[].docs[].ok._id is too large");
}

static void test_depth_is_bounded(void **state)
{
    char text[2100] = "{\"other\":";

    (void)state;
    memset(text + strlen(text), '[', 2000);
    expect_fault(text, "nested too deep");
}

static void test_the_receivers_fault_is_told(void **state)
{
    struct got got = {.fail_at = 2};
    struct error error = {0};
    struct pick *pick = pick_new(places, PLACES, take, &got, &error);

    (void)state;
    assert_non_null(pick);
    assert_int_equal(feed(pick, "{\"docs\":[{},{},{}]}", 5, &error), -1);
    assert_int_equal(pick_fault(pick), PICK_RECEIVER);
    assert_int_equal(error.kind, ERROR_FULL);
    assert_string_equal(error.text, "store: full");
    assert_int_equal(got.values, 2);
    buffer_free(&got.lines);
    pick_free(pick);
    pick_free(NULL);
}

static void test_what_is_no_place(void **state)
{
    static const char *const wrong[] = {"", "[]", ".a", "a..b", "a.", "a[", "a.b.c.d.e.f.g.h.i"};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct pick_place place = {wrong[i], 1};
        struct error error;

        assert_null(pick_new(&place, 1, take, NULL, &error));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_arrive_as_they_came),
        cmocka_unit_test(test_values_of_any_kind),
        cmocka_unit_test(test_places_within_one_another),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_the_receivers_fault_is_told),
        cmocka_unit_test(test_what_is_no_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
