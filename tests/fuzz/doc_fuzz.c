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
    static struct doc_ancestors ancestors;
    struct doc doc;
    struct error error = {0};

    if (doc_read((const char *)data, size, &doc, &error) != 0) {
        if (error.text[0] == '\0' || strchr(error.text, '\n') != NULL)
            abort();
        return 0;
    }
    if (doc.id[0] == '\0' || memchr(doc.id, '\0', sizeof doc.id) == NULL || doc.members == 0)
        abort();
    doc_ancestors((const char *)data, &doc, &ancestors);
    for (size_t i = 0; i < ancestors.count; i++)
        if (ancestors.revs[i][0] < '1' || ancestors.revs[i][0] > '9')
            abort();
    (void)doc_is_contact(&doc);
    (void)doc_never_goes_up(&doc);
    return 0;
}
