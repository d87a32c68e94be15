/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/file_name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "store/station.h"

#define NAME_MAX_BYTES 1024 /* 255 UTF-16 units have fewer in UTF-8 */
#define SUFFIX ".p7m"
#define HEX_DIGITS "0123456789abcdef"
#define ID_DIGITS ((size_t)FILE_NAME_ID_BYTES * 2)
#define EPOCH_DIGITS ((size_t)STORE_EPOCH_BYTES - 1)

/* ---- stations' names ------------------------------------------------------------------------------ */

/* NAME up to its first dot is a device's to DOS and its successors, which then have no such file. */
static bool is_device(const char *name)
{
    static const char *const devices[] = {"con", "prn", "aux", "nul"};
    size_t length = strcspn(name, ".");

    if (length == 4 && name[3] >= '0' && name[3] <= '9')
        return strncmp(name, "com", 3) == 0 || strncmp(name, "lpt", 3) == 0;
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (length == 3 && strncmp(name, devices[i], 3) == 0)
            return true;
    return false;
}

/* A station's name as DOS takes it. */
static void quote(const char *station, char quoted[FILE_NAME_FOLDER_BYTES])
{
    size_t length = strlen(station);
    bool refused = is_device(station) || (length > 0 && station[length - 1] == '.');

    (void)snprintf(quoted, FILE_NAME_FOLDER_BYTES, refused ? "~%s~" : "%s", station);
}

void file_name_folder(const char *to, unsigned number, char folder[FILE_NAME_FOLDER_BYTES])
{
    size_t length;

    quote(to, folder);
    length = strlen(folder);
    if (number > 1)
        (void)snprintf(folder + length, FILE_NAME_FOLDER_BYTES - length, " (%u)", number);
}

/* TEXT of LENGTH bytes, with or without tildes, as a station's name. */
static bool take_station(const char *text, size_t length, char name[STORE_NAME_BYTES])
{
    if (length > 2 && text[0] == '~' && text[length - 1] == '~') {
        text++;
        length -= 2;
    }
    if (length >= STORE_NAME_BYTES)
        return false;
    memcpy(name, text, length);
    name[length] = '\0';
    return station_name_ok(name);
}

/* Copy NAME in lower case; -1 when it is longer than any file's name. */
static int lower(const char *name, char out[NAME_MAX_BYTES])
{
    size_t length = strlen(name);

    if (length >= NAME_MAX_BYTES)
        return -1;
    for (size_t i = 0; i <= length; i++)
        out[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    return 0;
}

/* How long the folder's name TEXT is without its number. */
static size_t without_number(const char *text)
{
    size_t length = strlen(text), at = length;

    if (at == 0 || text[--at] != ')')
        return length;
    while (at > 0 && text[at - 1] >= '0' && text[at - 1] <= '9')
        at--;
    return at < length - 1 && at > 2 && strncmp(text + at - 2, " (", 2) == 0 ? at - 2 : length;
}

bool file_name_station(const char *folder, char to[STORE_NAME_BYTES])
{
    char text[NAME_MAX_BYTES];
    bool lowered = lower(folder, text) == 0 && strcmp(folder, text) != 0;

    /* Old tools make a name upper case as a whole; "Photos" is no folder of ours. */
    if (lowered && strpbrk(folder, "abcdefghijklmnopqrstuvwxyz") != NULL)
        return false;
    return take_station(lowered ? text : folder, without_number(folder), to);
}

/* ---- batches' names ------------------------------------------------------------------------------- */

void file_name_make(const struct label *label, char name[FILE_NAME_BYTES])
{
    char from[FILE_NAME_FOLDER_BYTES], id[ID_DIGITS + 1];

    quote(label->from, from);
    hex_encode(label->id, FILE_NAME_ID_BYTES, id);
    (void)snprintf(name, FILE_NAME_BYTES, "%s-%s-%llu-%s" SUFFIX, from, label->epoch,
                   (unsigned long long)label->seq, id);
}

static bool is_digit_or_letter(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z');
}

/* "-EPOCH-SEQ-ID" at AT, with nothing that goes on behind it. */
static bool read_numbers(const char *at, struct file_name *out)
{
    char id[ID_DIGITS + 1], *end;
    unsigned long long seq;

    if (at[0] != '-' || strspn(at + 1, HEX_DIGITS) != EPOCH_DIGITS || at[1 + EPOCH_DIGITS] != '-')
        return false;
    memcpy(out->epoch, at + 1, EPOCH_DIGITS);
    out->epoch[EPOCH_DIGITS] = '\0';
    at += 2 + EPOCH_DIGITS;
    if (at[0] < '0' || at[0] > '9' || (at[0] == '0' && at[1] != '-'))
        return false;
    errno = 0;
    seq = strtoull(at, &end, 10);
    if (errno != 0 || *end != '-' || strspn(end + 1, HEX_DIGITS) != ID_DIGITS ||
        is_digit_or_letter(end[1 + ID_DIGITS]))
        return false;
    out->seq = seq;
    memcpy(id, end + 1, ID_DIGITS);
    id[ID_DIGITS] = '\0';
    return hex_decode(id, out->id, FILE_NAME_ID_BYTES) == 0;
}

/* The station's name that ends at END of TEXT. */
static bool read_from(const char *text, size_t end, struct file_name *out)
{
    size_t start = end;

    if (end > 0 && text[end - 1] == '~') {
        for (start = end - 1; start > 0 && text[start - 1] != '~';)
            start--;
        return start > 0 && take_station(text + start - 1, end - start + 1, out->from);
    }
    while (start > 0 && (is_digit_or_letter(text[start - 1]) || strchr("._-", text[start - 1])))
        start--;
    return take_station(text + start, end - start, out->from);
}

bool file_name_read(const char *name, struct file_name *out)
{
    char text[NAME_MAX_BYTES];
    size_t at;

    if (lower(name, text) != 0)
        return false;
    /* From the right: a station may be called anything, also like the rest of a name. */
    for (at = strlen(text); at > 0; at--)
        if (read_numbers(text + at, out) && read_from(text, at, out))
            return true;
    return false;
}

bool file_name_is_made(const char *name)
{
    struct file_name read;
    struct label label = {0};
    char made[FILE_NAME_BYTES];

    if (!file_name_read(name, &read))
        return false;
    memcpy(label.from, read.from, sizeof label.from);
    memcpy(label.epoch, read.epoch, sizeof label.epoch);
    memcpy(label.id, read.id, sizeof read.id);
    label.seq = read.seq;
    file_name_make(&label, made);
    return strcmp(name, made) == 0;
}

static bool ends_in(const char *name, const char *suffix)
{
    char text[NAME_MAX_BYTES];
    size_t length = strlen(name);

    return lower(name, text) == 0 && length > strlen(suffix) &&
           strcmp(text + length - strlen(suffix), suffix) == 0;
}

bool file_name_has_suffix(const char *name)
{
    return ends_in(name, SUFFIX);
}

bool file_name_is_list(const char *name)
{
    return ends_in(name, ".crl");
}

bool file_name_label(const struct file_name *name, const char *to, const unsigned char *id,
                     uint64_t size, struct label *label)
{
    if (name == NULL)
        return false;
    if (strcmp(name->from, SERVER_NAME) != 0)
        to = SERVER_NAME;
    if (to == NULL || strcmp(to, name->from) == 0)
        return false;
    memset(label, 0, sizeof *label);
    memcpy(label->id, id, BATCH_ID_BYTES);
    memcpy(label->from, name->from, sizeof label->from);
    (void)snprintf(label->to, sizeof label->to, "%s", to);
    memcpy(label->epoch, name->epoch, sizeof label->epoch);
    label->seq = name->seq;
    label->size = size;
    return label_check(label, NULL) == 0;
}
