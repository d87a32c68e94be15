/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Frames (docs/protocol.md, "Frames"): type, flags, length, payload.
 */
#ifndef BODA_LINK_FRAME_H
#define BODA_LINK_FRAME_H

#include <jansson.h>
#include <stdint.h>

#include "base/buffer.h"

#define FRAME_HEADER_BYTES 6
#define FRAME_PAYLOAD_MAX_BYTES (1u << 20)
#define FRAME_JSON_MAX_BYTES (192u << 10) /* parsed JSON takes up to 50 times its bytes */
#define FRAME_JSON_DEPTH 8

enum frame_type {
    FRAME_HELLO = 0x01,
    FRAME_OFFER = 0x02,
    FRAME_WANT = 0x03,
    FRAME_DATA = 0x04,
    FRAME_STORED = 0x05,
    FRAME_PULL = 0x06,
    FRAME_APPLIED = 0x07,
    FRAME_FREED = 0x08,
    FRAME_PING = 0x09,
    FRAME_PONG = 0x0a,
    FRAME_REVOKED = 0x0b,
    FRAME_BYE = 0x0c,
    FRAME_ERROR = 0x0d
    /* 0x80 and above: may be skipped by a peer that does not know them */
};

#define FRAME_FLAG_COMMIT 0x01 /* on DATA: the sender waits for STORED, commit without delay */

struct frame {
    uint8_t type;
    uint8_t flags;
    const unsigned char *payload; /* into the bytes it was decoded from */
    size_t size;
};

/* Decode the first frame of BYTES: 1 with *USED bytes taken, 0 when more bytes are needed, -1 with
 * ERROR_CORRUPT for a length above the cap (said before anything is buffered). */
int frame_decode(const unsigned char *bytes, size_t size, struct frame *frame, size_t *used,
                 struct error *error);

/* Append a frame to OUT. */
int frame_encode(struct buffer *out, uint8_t type, uint8_t flags, const void *payload, size_t size,
                 struct error *error);

/* The same without a copy: room for a payload of SIZE bytes behind OUT's, or NULL; the caller fills
 * it and calls frame_commit, with that size or a smaller one. */
unsigned char *frame_reserve(struct buffer *out, size_t size, struct error *error);
void frame_commit(struct buffer *out, uint8_t type, uint8_t flags, size_t size);

/* Append a control frame with the JSON VALUE, whose reference is taken (NULL: out of memory). */
int frame_encode_json(struct buffer *out, uint8_t type, json_t *value, struct error *error);

/* The JSON object of a control frame, nested at most FRAME_JSON_DEPTH deep, of at most
 * FRAME_JSON_MAX_BYTES; a new reference, or NULL with
 * ERROR_CORRUPT. */
json_t *frame_json(const struct frame *frame, struct error *error);

#endif
