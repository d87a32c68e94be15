/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/frame.h"

#include <stdbool.h>
#include <string.h>

#include "base/log.h"

static const char *name_of(uint8_t type)
{
    static const char *const names[] = {
        [FRAME_HELLO] = "HELLO",     [FRAME_OFFER] = "OFFER",     [FRAME_WANT] = "WANT",
        [FRAME_DATA] = "DATA",       [FRAME_STORED] = "STORED",   [FRAME_PULL] = "PULL",
        [FRAME_APPLIED] = "APPLIED", [FRAME_FREED] = "FREED",     [FRAME_PING] = "PING",
        [FRAME_PONG] = "PONG",       [FRAME_REVOKED] = "REVOKED", [FRAME_BYE] = "BYE",
        [FRAME_ERROR] = "ERROR",
    };

    return type < sizeof names / sizeof names[0] && names[type] != NULL ? names[type] : "unknown";
}

int frame_decode(const unsigned char *bytes, size_t size, struct frame *frame, size_t *used,
                 struct error *error)
{
    size_t length;

    if (size < FRAME_HEADER_BYTES)
        return 0;
    length = (size_t)bytes[2] << 24 | (size_t)bytes[3] << 16 | (size_t)bytes[4] << 8 | bytes[5];
    if (length > FRAME_PAYLOAD_MAX_BYTES)
        return error_set(error, ERROR_CORRUPT,
                         "peer: a frame of %zu bytes exceeds the limit of %u; this is no peer that "
                         "speaks version 1 of the protocol",
                         length, FRAME_PAYLOAD_MAX_BYTES);
    if (size - FRAME_HEADER_BYTES < length)
        return 0;
    frame->type = bytes[0];
    frame->flags = bytes[1];
    frame->payload = bytes + FRAME_HEADER_BYTES;
    frame->size = length;
    *used = FRAME_HEADER_BYTES + length;
    log_debug("frame: %s comes, %zu bytes", name_of(frame->type), length);
    return 1;
}

static void put_header(unsigned char *header, uint8_t type, uint8_t flags, size_t size)
{
    header[0] = type;
    header[1] = flags;
    header[2] = (unsigned char)(size >> 24);
    header[3] = (unsigned char)(size >> 16);
    header[4] = (unsigned char)(size >> 8);
    header[5] = (unsigned char)size;
    log_debug("frame: %s goes, %zu bytes", name_of(type), size);
}

unsigned char *frame_reserve(struct buffer *out, size_t size, struct error *error)
{
    if (size > FRAME_PAYLOAD_MAX_BYTES) {
        error_set(error, ERROR_FAILED, "frame: %zu bytes exceed the limit of %u", size,
                  FRAME_PAYLOAD_MAX_BYTES);
        return NULL;
    }
    if (buffer_reserve(out, FRAME_HEADER_BYTES + size, error) != 0)
        return NULL;
    return out->data + out->length + FRAME_HEADER_BYTES;
}

void frame_commit(struct buffer *out, uint8_t type, uint8_t flags, size_t size)
{
    put_header(out->data + out->length, type, flags, size);
    out->length += FRAME_HEADER_BYTES + size;
}

int frame_encode(struct buffer *out, uint8_t type, uint8_t flags, const void *payload, size_t size,
                 struct error *error)
{
    unsigned char *room = frame_reserve(out, size, error);

    if (room == NULL)
        return -1;
    if (size > 0)
        memcpy(room, payload, size);
    frame_commit(out, type, flags, size);
    return 0;
}

struct appending {
    struct buffer *out;
    struct error *error;
    bool failed; /* the buffer has said why */
};

static int append_text(const char *text, size_t size, void *context)
{
    struct appending *appending = context;

    if (buffer_append(appending->out, text, size, appending->error) == 0)
        return 0;
    appending->failed = true;
    return -1;
}

int frame_encode_json(struct buffer *out, uint8_t type, json_t *value, struct error *error)
{
    static const unsigned char no_header[FRAME_HEADER_BYTES];
    struct appending appending = {out, error, false};
    size_t start = out->length, size;
    int result = -1;

    if (value == NULL)
        return error_set(error, ERROR_FAILED, "frame: no memory for a control frame");
    if (buffer_append(out, no_header, sizeof no_header, error) != 0)
        goto out;
    if (json_dump_callback(value, append_text, &appending, JSON_COMPACT) != 0) {
        if (!appending.failed)
            error_set(error, ERROR_FAILED, "frame: no memory to write JSON");
        goto out;
    }
    size = out->length - start - FRAME_HEADER_BYTES;
    if (size > FRAME_JSON_MAX_BYTES) {
        error_set(error, ERROR_FAILED, "frame: %zu bytes of JSON exceed the limit of %u", size,
                  FRAME_JSON_MAX_BYTES);
        goto out;
    }
    put_header(out->data + start, type, 0, size);
    result = 0;
out:
    if (result != 0)
        out->length = start;
    json_decref(value);
    return result;
}

/* Its recursion ends after LEFT levels; the parser's own is bounded by jansson (2,048). */
static bool nested_deeper(const json_t *value, unsigned left)
{
    const char *name;
    json_t *child;
    size_t i;

    if (!json_is_object(value) && !json_is_array(value))
        return false;
    if (left == 0)
        return true;
    if (json_is_array(value)) {
        json_array_foreach (value, i, child)
            if (nested_deeper(child, left - 1))
                return true;
    } else {
        json_object_foreach ((json_t *)value, name, child)
            if (nested_deeper(child, left - 1))
                return true;
    }
    return false;
}

json_t *frame_json(const struct frame *frame, struct error *error)
{
    json_error_t cause;
    json_t *value;

    if (frame->size > FRAME_JSON_MAX_BYTES) {
        error_set(error, ERROR_CORRUPT,
                  "peer: a control frame of %zu bytes exceeds the limit of %u", frame->size,
                  FRAME_JSON_MAX_BYTES);
        return NULL;
    }
    value = json_loadb((const char *)frame->payload, frame->size, JSON_REJECT_DUPLICATES, &cause);
    if (value == NULL) {
        error_set(error, ERROR_CORRUPT, "peer: frame 0x%02x is not JSON at byte %d", frame->type,
                  cause.position);
        return NULL;
    }
    if (!json_is_object(value) || nested_deeper(value, FRAME_JSON_DEPTH)) {
        error_set(error, ERROR_CORRUPT, "peer: frame 0x%02x is not a JSON object at most %d deep",
                  frame->type, FRAME_JSON_DEPTH);
        json_decref(value);
        return NULL;
    }
    return value;
}
