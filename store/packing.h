/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The zstd layer of a batch (RFC 8878).
 */
#ifndef BODA_STORE_PACKING_H
#define BODA_STORE_PACKING_H

#include "base/buffer.h"
#include "store/envelope.h"

/* HEAD and then BODY as one zstd frame in OUT, which the caller cleanses. */
int packing_pack(const void *head, size_t head_size, const void *body, size_t body_size,
                 struct envelope_bytes *out, struct error *error);

/* Expand BYTES, one whole frame with a window of at most 8 MiB, to PLAIN (empty), at most MOST bytes.
 * What the frame says of its content's size is
 * a hint for the allocation and not believed. */
int packing_unpack(const void *bytes, size_t size, size_t most, struct buffer *plain,
                   struct error *error);

#endif
