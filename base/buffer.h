/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A growing run of bytes.  `struct buffer b = {0};` is an empty one.  The caller owns it and frees
 * it with buffer_free.
 */
#ifndef BODA_BASE_BUFFER_H
#define BODA_BASE_BUFFER_H

#include <stddef.h>

#include "base/error.h"

struct buffer {
    unsigned char *data;
    size_t length;   /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* length never exceeds it; 0: no limit */
};

/* Make room for MORE bytes behind those in use.  -1 with ERROR_FULL above the limit, ERROR_FAILED
 * without memory. */
int buffer_reserve(struct buffer *buffer, size_t more, struct error *error);

/* Copy SIZE bytes behind those in use. */
int buffer_append(struct buffer *buffer, const void *bytes, size_t size, struct error *error);

/* Append a formatted string, without its terminating zero. */
int buffer_printf(struct buffer *buffer, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Drop the first SIZE bytes (at most length). */
void buffer_consume(struct buffer *buffer, size_t size);

/* Free the bytes; the buffer is then empty and can be used again, its limit unchanged. */
void buffer_free(struct buffer *buffer);

/* As buffer_free, after overwriting the bytes: for plaintext. */
void buffer_cleanse(struct buffer *buffer);

#endif
