/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Names of files and folders as a stranger's stick has them: what is read makes a name that is read as the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/file_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_file(const char *text)
{
    struct file_name read, again;
    struct label label = {0};
    char name[FILE_NAME_BYTES];

    memset(&read, 0, sizeof read);
    memset(&again, 0, sizeof again);
    if (!file_name_read(text, &read)) {
        if (file_name_is_made(text))
            abort();
        return;
    }
    (void)strcpy(label.from, read.from);
    (void)strcpy(label.epoch, read.epoch);
    memcpy(label.id, read.id, sizeof read.id);
    label.seq = read.seq;
    file_name_make(&label, name);
    if (!file_name_is_made(name) || !file_name_has_suffix(name) || !file_name_read(name, &again) ||
        strcmp(read.from, again.from) != 0 || strcmp(read.epoch, again.epoch) != 0 ||
        read.seq != again.seq || memcmp(read.id, again.id, sizeof read.id) != 0)
        abort();
}

static void check_folder(const char *text)
{
    char station[STORE_NAME_BYTES], again[STORE_NAME_BYTES], folder[FILE_NAME_FOLDER_BYTES];

    if (!file_name_station(text, station))
        return;
    file_name_folder(station, 1, folder);
    if (!file_name_station(folder, again) || strcmp(station, again) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    check_file(text);
    check_folder(text);
    free(text);
    return 0;
}
