/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Values picked out of JSON: cut in pieces as the first byte says, a text gives the same values and the same
 * verdict as in one piece; a value is one line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/pick.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct pick_place places[] = {
    {"docs[]", 4096},
    {"docs[]._id", 64},
    {"new_edits", 5},
    {"results[].docs[].ok", 4096},
};
#define PLACES (sizeof places / sizeof *places)

static bool is_around(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == ',' || byte == ':';
}

static int take(unsigned place, const char *json, size_t size, void *context, struct error *error)
{
    if (size == 0 || size > places[place].most_bytes || json[size] != '\n' ||
        memchr(json, '\n', size) != NULL || is_around(json[0]) || is_around(json[size - 1]))
        abort();
    if (buffer_printf(context, error, "%u ", place) != 0)
        return -1;
    return buffer_append(context, json, size + 1, error);
}

static int read_all(const uint8_t *data, size_t size, size_t piece, struct buffer *lines)
{
    struct error error = {0};
    struct pick *pick = pick_new(places, PLACES, take, lines, &error);
    int result = pick == NULL ? -1 : 0;

    for (size_t at = 0; at < size && result == 0; at += piece)
        result = pick_feed(pick, data + at, size - at < piece ? size - at : piece, &error);
    if (result == 0)
        result = pick_end(pick, &error);
    if (result != 0 && error.text[0] == '\0')
        abort();
    pick_free(pick);
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
