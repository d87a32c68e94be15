/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The manifest's line: whatever is read can be written and read back to the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest manifest, again;
    struct buffer line = {0}, second = {0};
    struct error error;

    if (manifest_read((const char *)data, size, &manifest, &error) != 0)
        return 0;
    /* Escapes may make the written line longer than what was read, and over the cap. */
    if (manifest_write(&manifest, &line, &error) == 0) {
        if (manifest_read((const char *)line.data, line.length, &again, &error) != 0 ||
            manifest_write(&again, &second, &error) != 0 || second.length != line.length ||
            memcmp(second.data, line.data, line.length) != 0)
            abort();
    }
    buffer_free(&line);
    buffer_free(&second);
    return 0;
}
