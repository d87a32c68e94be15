/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Frames out of any bytes: what is decoded lies within them, goes back to the same bytes, and its JSON
 * is an object within the bounds, or is refused in words.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "link/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode_again(const struct frame *frame, const uint8_t *bytes, size_t used)
{
    struct buffer out = {0};

    if (frame_encode(&out, frame->type, frame->flags, frame->payload, frame->size, NULL) != 0 ||
        out.length != used || memcmp(out.data, bytes, used) != 0)
        abort();
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {0};
    struct frame frame;
    size_t at = 0, used = 0;
    int got;

    while ((got = frame_decode(data + at, size - at, &frame, &used, &error)) == 1) {
        json_t *value;

        if (used > size - at || frame.payload + frame.size != data + at + used)
            abort();
        encode_again(&frame, data + at, used);
        value = frame_json(&frame, &error);
        if (value != NULL && (!json_is_object(value) || frame.size > FRAME_JSON_MAX_BYTES))
            abort();
        if (value == NULL && error.text[0] == '\0')
            abort();
        json_decref(value);
        at += used;
    }
    if (got < 0 && error.kind != ERROR_CORRUPT)
        abort();
    return 0;
}
