/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST_BYTES 256
#define DOUBLING_LIMIT_BYTES (4u << 20) /* beyond it a buffer grows by a quarter: memory is dear */

int buffer_reserve(struct buffer *buffer, size_t more, struct error *error)
{
    size_t needed, capacity;
    unsigned char *data;

    if (more > SIZE_MAX / 2 - buffer->length)
        return error_set(error, ERROR_FULL, "buffer: %zu more bytes are too many", more);
    needed = buffer->length + more;
    if (buffer->limit != 0 && needed > buffer->limit)
        return error_set(error, ERROR_FULL, "buffer: %zu bytes exceed the limit of %zu", needed,
                         buffer->limit);
    if (needed <= buffer->capacity)
        return 0;
    capacity = buffer->capacity;
    capacity += capacity < DOUBLING_LIMIT_BYTES ? capacity : capacity / 4;
    if (capacity < needed)
        capacity = needed;
    if (capacity < SMALLEST_BYTES)
        capacity = SMALLEST_BYTES;
    data = realloc(buffer->data, capacity);
    if (data == NULL)
        return error_set(error, ERROR_FAILED, "buffer: no memory for %zu bytes", capacity);
    buffer->data = data;
    buffer->capacity = capacity;
    return 0;
}

int buffer_append(struct buffer *buffer, const void *bytes, size_t size, struct error *error)
{
    if (size == 0)
        return 0;
    if (buffer_reserve(buffer, size, error) != 0)
        return -1;
    memcpy(buffer->data + buffer->length, bytes, size);
    buffer->length += size;
    return 0;
}

int buffer_printf(struct buffer *buffer, struct error *error, const char *format, ...)
{
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size < 0)
        return error_set(error, ERROR_FAILED, "buffer: cannot format '%s'", format);
    if (buffer_reserve(buffer, (size_t)size + 1, error) != 0)
        return -1;
    va_start(arguments, format);
    (void)vsnprintf((char *)buffer->data + buffer->length, (size_t)size + 1, format, arguments);
    va_end(arguments);
    buffer->length += (size_t)size;
    return 0;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
    if (size > buffer->length)
        size = buffer->length;
    if (size == 0)
        return;
    memmove(buffer->data, buffer->data + size, buffer->length - size);
    buffer->length -= size;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    buffer->data = NULL;
    buffer->length = 0;
    buffer->capacity = 0;
}

void buffer_cleanse(struct buffer *buffer)
{
    if (buffer->data != NULL)
        explicit_bzero(buffer->data, buffer->capacity);
    buffer_free(buffer);
}
