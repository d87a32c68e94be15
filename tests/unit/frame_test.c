/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * link/frame: frames come back as they went, at any cut; a length above the cap is refused before its
 * bytes are there; JSON keeps its bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "link/frame.h"

/* Each prefix of a frame asks for more, the whole one is decoded, what follows is left. */
static void test_prefixes(void **state)
{
    struct buffer out = {0};
    struct frame frame;
    struct error error;
    size_t used;

    (void)state;
    assert_int_equal(frame_encode(&out, FRAME_DATA, FRAME_FLAG_COMMIT, "hello", 5, &error), 0);
    assert_int_equal(out.length, FRAME_HEADER_BYTES + 5);
    assert_memory_equal(out.data, "\x04\x01\0\0\0\x05hello", 11);
    for (size_t size = 0; size < out.length; size++)
        assert_int_equal(frame_decode(out.data, size, &frame, &used, &error), 0);
    assert_int_equal(frame_encode(&out, FRAME_PING, 0, NULL, 0, &error), 0);
    assert_int_equal(frame_decode(out.data, out.length, &frame, &used, &error), 1);
    assert_int_equal(used, 11);
    assert_int_equal(frame.type, FRAME_DATA);
    assert_int_equal(frame.flags, FRAME_FLAG_COMMIT);
    assert_int_equal(frame.size, 5);
    assert_int_equal(frame_decode(out.data + 11, out.length - 11, &frame, &used, &error), 1);
    assert_int_equal(frame.type, FRAME_PING);
    assert_int_equal(frame.size, 0);
    buffer_free(&out);
}

/* The cap holds exactly, and is told from the header alone. */
static void test_cap(void **state)
{
    static const unsigned char most[] = {4, 0, 0, 0x10, 0, 0}, more[] = {4, 0, 0, 0x10, 0, 1},
                               huge[] = {4, 0, 0xff, 0xff, 0xff, 0xff};
    struct buffer out = {0};
    struct frame frame;
    struct error error;
    size_t used;

    (void)state;
    assert_int_equal(frame_decode(most, sizeof most, &frame, &used, &error), 0);
    assert_int_equal(frame_decode(more, sizeof more, &frame, &used, &error), -1);
    assert_int_equal(error.kind, ERROR_CORRUPT);
    assert_int_equal(frame_decode(huge, sizeof huge, &frame, &used, &error), -1);
    assert_null(frame_reserve(&out, FRAME_PAYLOAD_MAX_BYTES + 1, &error));
    assert_int_equal(out.length, 0);
    buffer_free(&out);
}

static json_t *nested(unsigned levels)
{
    json_t *value = json_object();

    for (unsigned i = 1; i < levels; i++)
        value = json_pack("{s:o}", "a", value);
    return value;
}

/* Eight levels are taken, nine are not; an empty, cut or doubled object is not. */
static void test_json(void **state)
{
    static const char *const bad[] = {
        "", "{", "[]", "1", "null", "{}{}", "{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}"};
    struct buffer out = {0};
    struct frame frame;
    struct error error;
    size_t used;
    json_t *value;

    (void)state;
    for (unsigned levels = 1; levels <= 10; levels++) {
        out.length = 0;
        assert_int_equal(frame_encode_json(&out, FRAME_OFFER, nested(levels), &error), 0);
        assert_int_equal(frame_decode(out.data, out.length, &frame, &used, &error), 1);
        value = frame_json(&frame, &error);
        assert_int_equal(value != NULL, levels <= FRAME_JSON_DEPTH);
        json_decref(value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        frame = (struct frame){FRAME_OFFER, 0, (const unsigned char *)bad[i], strlen(bad[i])};
        assert_null(frame_json(&frame, &error));
        assert_int_equal(error.kind, ERROR_CORRUPT);
    }
    buffer_free(&out);
}

/* A control frame that would exceed its cap, or has no value, leaves nothing behind. */
static void test_json_cap(void **state)
{
    struct buffer out = {0};
    struct error error;
    char *text = malloc(FRAME_JSON_MAX_BYTES + 1);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', FRAME_JSON_MAX_BYTES);
    text[FRAME_JSON_MAX_BYTES] = '\0';
    assert_int_equal(frame_encode_json(&out, FRAME_HELLO, json_pack("{s:s}", "a", text), &error),
                     -1);
    assert_int_equal(out.length, 0);
    assert_int_equal(frame_encode_json(&out, FRAME_HELLO, NULL, &error), -1);
    assert_int_equal(out.length, 0);
    free(text);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_cap),
    };

    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
