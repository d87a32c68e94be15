/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FOLDER_FILES 1000u /* in one folder, before another one is made */

struct place {
    unsigned char id[FILE_NAME_ID_BYTES];
    size_t folder; /* in `folders` */
};

struct folder {
    char name[FILE_NAME_FOLDER_BYTES];
    char station[STORE_NAME_BYTES];
    bool read;
    unsigned files; /* of whomever, once it is read */
};

struct inventory {
    struct medium *medium;
    struct folder *folders;
    size_t folders_count;
    struct place *places; /* in the order of their ids */
    size_t places_count, places_room;
    size_t reading; /* the folder whose files are noted */
};

/* ---- reading -------------------------------------------------------------------------------------- */

static int add_place(struct inventory *inventory, const unsigned char *id, struct error *error)
{
    struct place *place;

    if (inventory->places_count == inventory->places_room) {
        size_t room = inventory->places_room == 0 ? FOLDER_FILES : 2 * inventory->places_room;
        struct place *more = realloc(inventory->places, room * sizeof *more);

        if (more == NULL)
            return error_set(error, ERROR_FAILED, "export: no memory");
        inventory->places = more;
        inventory->places_room = room;
    }
    place = &inventory->places[inventory->places_count++];
    memcpy(place->id, id, sizeof place->id);
    place->folder = inventory->reading;
    return 0;
}

static struct folder *add_folder(struct inventory *inventory, const char *name, const char *station,
                                 struct error *error)
{
    size_t count = inventory->folders_count + 1;
    struct folder *more = realloc(inventory->folders, count * sizeof *more);

    if (more == NULL) {
        (void)error_set(error, ERROR_FAILED, "export: no memory");
        return NULL;
    }
    inventory->folders = more;
    inventory->folders_count = count;
    more += count - 1;
    memset(more, 0, sizeof *more);
    (void)snprintf(more->name, sizeof more->name, "%s", name);
    (void)snprintf(more->station, sizeof more->station, "%s", station);
    return more;
}

static int too_many(unsigned most, const char *what, struct error *error)
{
    return error_set(error, ERROR_FAILED, "export: the medium has more than %u %s; use another one",
                     most, what);
}

static int note_folder(const char *name, enum medium_kind kind, void *context, struct error *error)
{
    const struct inventory *inventory = context;
    char station[STORE_NAME_BYTES];

    if (kind != MEDIUM_FOLDER || strlen(name) >= FILE_NAME_FOLDER_BYTES ||
        !file_name_station(name, station))
        return 0;
    if (inventory->folders_count == INVENTORY_FOLDERS)
        return too_many(INVENTORY_FOLDERS, "folders of stations", error);
    return add_folder(context, name, station, error) == NULL ? -1 : 0;
}

/* A file of the folder `reading`. */
static int note_file(const char *name, enum medium_kind kind, void *context, struct error *error)
{
    struct inventory *inventory = context;
    struct file_name read;

    inventory->folders[inventory->reading].files++;
    if (kind != MEDIUM_FILE || !file_name_read(name, &read))
        return 0;
    if (inventory->places_count == INVENTORY_FILES)
        return too_many(INVENTORY_FILES, "batch files", error);
    return add_place(inventory, read.id, error);
}

static int by_id(const void *a, const void *b)
{
    const struct place *left = a, *right = b;

    return memcmp(left->id, right->id, sizeof left->id);
}

/* Read the folders of the station TO that have not been. */
static int read_station(struct inventory *inventory, const char *to, struct error *error)
{
    size_t before = inventory->places_count;

    for (size_t i = 0; i < inventory->folders_count; i++) {
        struct folder *folder = &inventory->folders[i];

        if (folder->read || strcmp(folder->station, to) != 0)
            continue;
        inventory->reading = i;
        if (medium_each(inventory->medium, folder->name, note_file, inventory, error) != 0)
            return -1;
        folder->read = true;
    }
    if (inventory->places_count > before)
        qsort(inventory->places, inventory->places_count, sizeof *inventory->places, by_id);
    return 0;
}

struct inventory *inventory_open(struct medium *medium, struct error *error)
{
    struct inventory *inventory = calloc(1, sizeof *inventory);

    if (inventory == NULL) {
        (void)error_set(error, ERROR_FAILED, "export: no memory");
        return NULL;
    }
    inventory->medium = medium;
    if (medium_each(medium, NULL, note_folder, inventory, error) != 0) {
        inventory_free(inventory);
        return NULL;
    }
    return inventory;
}

void inventory_free(struct inventory *inventory)
{
    if (inventory == NULL)
        return;
    free(inventory->folders);
    free(inventory->places);
    free(inventory);
}

/* ---- asking --------------------------------------------------------------------------------------- */

/* The first place with this ID, or where it would be. */
static size_t find_id(const struct inventory *inventory, const unsigned char *id)
{
    size_t low = 0, high = inventory->places_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (memcmp(inventory->places[middle].id, id, FILE_NAME_ID_BYTES) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A folder's name as FAT compares it. */
static struct folder *find_folder(const struct inventory *inventory, const char *name)
{
    for (size_t i = 0; i < inventory->folders_count; i++)
        if (strcasecmp(inventory->folders[i].name, name) == 0)
            return &inventory->folders[i];
    return NULL;
}

/* The first folder of the station TO that is not full. */
static int choose(struct inventory *inventory, const char *to, char folder[FILE_NAME_FOLDER_BYTES],
                  struct error *error)
{
    struct folder *found = NULL;

    for (unsigned number = 1; number == 1 || (found != NULL && found->files >= FOLDER_FILES);
         number++) {
        file_name_folder(to, number, folder);
        found = find_folder(inventory, folder);
    }
    if (found == NULL) {
        found = add_folder(inventory, folder, to, error);
        if (found == NULL)
            return -1;
        found->read = true;
    }
    found->files++;
    return 0;
}

/* LABEL's file in the folders of its station: 1 whole, 0 with *CUT, the folder that has another file of that name or id
 * (NULL: none), -1. */
static int find_file(const struct inventory *inventory, const struct label *label,
                     const struct folder **cut, struct error *error)
{
    char name[FILE_NAME_BYTES];

    file_name_make(label, name);
    *cut = NULL;
    for (size_t i = find_id(inventory, label->id); i < inventory->places_count; i++) {
        const struct place *place = &inventory->places[i];
        const struct folder *folder = &inventory->folders[place->folder];
        int result;

        if (memcmp(place->id, label->id, sizeof place->id) != 0)
            break;
        if (strcmp(folder->station, label->to) != 0)
            continue;
        result = medium_has(inventory->medium, folder->name, name, label->size, error);
        if (result != 0)
            return result;
        *cut = folder;
    }
    return 0;
}

int inventory_place(struct inventory *inventory, const struct label *label,
                    char folder[FILE_NAME_FOLDER_BYTES], struct error *error)
{
    const struct folder *cut;
    int result;

    if (read_station(inventory, label->to, error) != 0)
        return -1;
    result = find_file(inventory, label, &cut, error);
    if (result != 0)
        return result;
    if (cut == NULL)
        return choose(inventory, label->to, folder, error);
    (void)memcpy(folder, cut->name, sizeof cut->name);
    return 0;
}

const char *inventory_folder(const struct inventory *inventory, const char *to, size_t *at)
{
    while (*at < inventory->folders_count) {
        const struct folder *folder = &inventory->folders[(*at)++];

        if (strcmp(folder->station, to) == 0)
            return folder->name;
    }
    return NULL;
}
