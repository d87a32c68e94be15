/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * gadget/drive_listing: whatever mdir is made to print, an entry's name is one that names a single file of the folder.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gadget/drive_listing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int show(const struct drive_entry *entry, void *context)
{
    unsigned *count = context;
    size_t length = strlen(entry->name);

    if (length == 0 || strchr(entry->name, '/') != NULL || strcmp(entry->name, ".") == 0 ||
        strcmp(entry->name, "..") == 0 || (entry->is_folder && entry->size != 0))
        abort();
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)entry->name[i] < 0x20)
            abort();
    return ++*count == 100 ? 7 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    unsigned count = 0;
    int result;

    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    result = drive_listing_read(text, show, &count);
    if (result != (count == 100 ? 7 : 0))
        abort();
    free(text);
    return 0;
}
