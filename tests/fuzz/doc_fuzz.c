/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A document's text: what is taken has an id within its bounds and no message has a line break.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/doc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct doc doc;
    struct error error = {0};

    if (doc_read((const char *)data, size, &doc, &error) != 0) {
        if (error.text[0] == '\0' || strchr(error.text, '\n') != NULL)
            abort();
        return 0;
    }
    if (doc.id[0] == '\0' || memchr(doc.id, '\0', sizeof doc.id) == NULL || doc.members == 0)
        abort();
    (void)doc_is_contact(&doc);
    (void)doc_never_goes_up(&doc);
    return 0;
}
