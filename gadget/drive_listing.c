/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/drive_listing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHORT_NAME 12 /* characters of the old name, as mdir sets them: 8, a space, 3 */

static const char *skip(const char *at, const char *set)
{
    return at + strspn(at, set);
}

/* "2026-11-25  20:24", whatever the numbers. */
static const char *skip_date(const char *at)
{
    static const char DIGITS[] = "0123456789";

    for (unsigned part = 0; part < 5; part++) {
        const char *end = skip(at, DIGITS);

        if (end == at || (part < 2 && *end != '-') || (part == 2 && *end != ' ') ||
            (part == 3 && *end != ':'))
            return NULL;
        at = part == 2 ? skip(end, " ") : part < 4 ? end + 1 : end;
    }
    return at;
}

/* The old name, of which SPLIT is where its extension begins: "README   TXT" is README.TXT. */
static void old_name(const char *line, const char *split, const char *end, char name[64])
{
    int base = (int)(split - line), extension = (int)(end - split);

    while (base > 0 && line[base - 1] == ' ')
        base--;
    while (extension > 0 && split[extension - 1] == ' ')
        extension--;
    snprintf(name, 64, "%.*s%s%.*s", base, line, extension > 0 ? "." : "", extension, split);
}

static bool is_name(const char *name)
{
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    for (; *name != '\0'; name++)
        if ((unsigned char)*name < 0x20 || *name == '/' || *name == 0x7f)
            return false;
    return true;
}

/* One line: "README   TXT      5000 2026-11-25  20:24  the long name".  false: it is of no entry. */
static bool read_line(const char *line, char old[64], struct drive_entry *entry)
{
    const char *split = line, *at = line;
    char *end;

    for (unsigned i = 0; i < SHORT_NAME; i++) {
        if (*at == '\0')
            return false;
        for (at++; ((unsigned char)*at & 0xc0) == 0x80; at++)
            ;
        if (i == 8)
            split = at;
    }
    old_name(line, split, at, old);
    at = skip(at, " ");
    entry->is_folder = strncmp(at, "<DIR>", 5) == 0;
    errno = 0;
    entry->size = entry->is_folder ? 0 : strtoull(at, &end, 10);
    if (errno != 0 || (!entry->is_folder && (end == at || *end != ' ')))
        return false;
    at = skip_date(skip(entry->is_folder ? at + 5 : end, " "));
    if (at == NULL)
        return false;
    at = skip(at, " ");
    entry->name = *at != '\0' ? at : old;
    return is_name(entry->name);
}

int drive_listing_read(char *text, int (*show)(const struct drive_entry *entry, void *context),
                       void *context)
{
    struct drive_entry entry;
    char *end, old[64];
    int result = 0;

    for (; result == 0 && (end = strchr(text, '\n')) != NULL; text = end + 1) {
        *end = '\0';
        if (read_line(text, old, &entry))
            result = show(&entry, context);
    }
    return result;
}
