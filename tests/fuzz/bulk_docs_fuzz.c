/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A body of _bulk_docs: cut in pieces as the first byte says, it gives the same documents and the same
 * verdict as in one piece; a document is one line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "host/tablet/bulk_docs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(const char *json, size_t size, void *context, struct error *error)
{
    if (json[size] != '\n' || memchr(json, '\n', size) != NULL || json[0] != '{' ||
        json[size - 1] != '}')
        abort();
    return buffer_append(context, json, size + 1, error);
}

static int read_all(const uint8_t *data, size_t size, size_t piece, struct buffer *lines)
{
    struct error error = {0};
    struct bulk_docs *bulk = bulk_docs_new(take, lines, &error);
    int result = bulk == NULL ? -1 : 0;

    for (size_t at = 0; at < size && result == 0; at += piece)
        result = bulk_docs_feed(bulk, data + at, size - at < piece ? size - at : piece, &error);
    if (result == 0)
        result = bulk_docs_end(bulk, &error);
    if (result != 0 && error.text[0] == '\0')
        abort();
    bulk_docs_free(bulk);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = {0}, pieces = {0};
    int result;

    if (size < 2)
        return 0;
    result = read_all(data + 1, size - 1, size - 1, &whole);
    if (read_all(data + 1, size - 1, 1u + data[0] % 31, &pieces) != result)
        abort();
    if (result == 0 && (whole.length != pieces.length ||
                        (whole.length > 0 && memcmp(whole.data, pieces.data, whole.length) != 0)))
        abort();
    buffer_free(&whole);
    buffer_free(&pieces);
    return 0;
}
