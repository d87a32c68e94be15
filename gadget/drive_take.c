/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/drive_take.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "store/file_name.h"
#include "store/medium.h"
#include "store/readme.h"

#define FOLDERS 128            /* most that are looked into */
#define DEPTH 3                /* TO-COURIER/a stick's folder/a station's */
#define PACK_BYTES (48u << 20) /* a pack of files is copied out by one run of mcopy */
#define PACK "pack"
#define ALONE "file" /* what a file that is copied out by itself is called in the pack */
#define PLAIN_BYTES \
    200 /* most of a name that is set down: a FAT's has 255 characters, a file's outside 255 bytes */

struct folder {
    char *path;
    unsigned depth;
};

struct walk {
    const struct drive_take_options *options;
    struct drive_taken *taken;
    struct error *error;
    struct drive_tool tool;
    struct drive_image image;
    struct import *import;
    struct folder folders[FOLDERS];
    unsigned folders_count;
    const struct folder *folder; /* the one that is walked through */
    char *pack[DRIVE_IMAGE_FILES];
    unsigned pack_count;
    uint64_t pack_bytes;
    uint64_t bytes, left_bytes; /* claimed by all that was copied out; set down */
};

/* ---- what is whose -------------------------------------------------------------------------------- */

/* What systems put on each drive for themselves. */
static bool is_of_system(const char *name)
{
    static const char *const names[] = {"System Volume Information", "LOST.DIR", "Android",
                                        "desktop.ini", "Thumbs.db"};

    if (name[0] == '.' || name[0] == '$')
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool is_batch(const char *name)
{
    struct file_name said;

    return file_name_read(name, &said) || file_name_is_list(name);
}

/* The station whose folder this is, or NULL. */
static const char *station_of(const char *folder, char to[STORE_NAME_BYTES])
{
    const char *last = strrchr(folder, '/');

    if (folder[0] == '\0' || strcasecmp(folder, DRIVE_TAKE_INBOX) == 0 ||
        strcasecmp(folder, DRIVE_TAKE_LEFT) == 0)
        return NULL;
    return file_name_station(last != NULL ? last + 1 : folder, to) ? to : NULL;
}

/* ---- a file that was copied out ------------------------------------------------------------------- */

static char *outside(const struct walk *walk, const char *folder, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s/%s", walk->options->stage, folder, name) < 0 ? NULL : path;
}

/* NAME as any FAT takes it, from whatever a stranger wrote into a folder: one that is refused would keep all others from
 * the next image.  DOS takes a device's name for the device, whatever is behind its first dot. */
static void make_plain(const char *name, char plain[PLAIN_BYTES + 2])
{
    static const char *const devices[] = {"con", "prn", "aux", "nul", "com", "lpt"};
    size_t stem = strcspn(name, "."), length = 0;

    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (strncasecmp(name, devices[i], 3) == 0 && stem == (i < 4 ? 3 : 4))
            plain[length++] = '_';
    for (; *name != '\0' && length < PLAIN_BYTES; name++)
        plain[length++] =
            strchr("\"*/:<>?\\|", *name) != NULL || (unsigned char)*name < 0x20 || *name == 0x7f
                ? '_'
                : *name;
    /* Not within a character; not on what systems cut off. */
    while (*name != '\0' && length > 1 && ((unsigned char)*name & 0xc0) == 0x80) {
        name--;
        length--;
    }
    if (plain[length - 1] == '.' || plain[length - 1] == ' ')
        plain[length - 1] = '_';
    plain[length] = '\0';
}

/* The file PACKED of the pack, which is NAME on the drive, is no batch: moved to where the next image is filled from, if
 * there is room. */
static int set_down(struct walk *walk, const char *packed, const char *name, struct error *error)
{
    struct drive_taken *taken = walk->taken;
    char number[16], plain[PLAIN_BYTES + 2], *from = outside(walk, PACK, packed), *folder, *to;
    struct stat status;
    int result = -1;

    make_plain(name, plain);
    snprintf(number, sizeof number, "%u", taken->left_count);
    folder = outside(walk, number, "");
    to = outside(walk, number, plain);
    if (from == NULL || folder == NULL || to == NULL) {
        error_set(error, ERROR_FAILED, "drive: no memory");
    } else if (stat(from, &status) != 0) {
        error_errno(error, errno, "%s: cannot be looked at", from);
    } else if (taken->left_count == DRIVE_TAKE_LEFT_FILES ||
               (uint64_t)status.st_size > walk->options->image_bytes / 4 - walk->left_bytes) {
        taken->incomplete = true;
        result = unlink(from) == 0 ? 0 : error_errno(error, errno, "%s: cannot be removed", from);
    } else if (mkdir(folder, 0700) != 0 || rename(from, to) != 0) {
        error_errno(error, errno, "%s: cannot be moved to %s", from, to);
    } else {
        walk->left_bytes += (uint64_t)status.st_size;
        taken->left[taken->left_count++] = to;
        to = NULL;
        result = 0;
    }
    free(from);
    free(folder);
    free(to);
    return result;
}

/* The file PACKED of the pack, which is NAME on the drive. */
static int take_file(struct walk *walk, struct medium *medium, const char *packed, const char *name,
                     struct error *error)
{
    const struct import_counts *counts = import_counts(walk->import);
    uint64_t wrong = counts->wrong + counts->ignored;
    struct buffer bytes = {0};
    char to[STORE_NAME_BYTES];
    int result = 0;
    bool is_none = true;

    if (is_batch(name)) {
        result = medium_read(medium, NULL, packed, BATCH_MAX_BYTES, &bytes, error);
        if (result == 1) {
            result = import_bytes(walk->import, name, station_of(walk->folder->path, to),
                                  bytes.data, bytes.length, error);
            is_none = counts->wrong + counts->ignored != wrong;
        }
        buffer_free(&bytes);
    }
    return result == 0 && is_none ? set_down(walk, packed, name, error) : result;
}

static int remove_file(const char *path, enum medium_kind kind, struct error *error)
{
    if (kind == MEDIUM_FILE && unlink(path) != 0 && errno != ENOENT)
        return error_errno(error, errno, "%s: cannot be removed", path);
    return 0;
}

struct packed {
    struct walk *walk;
    struct medium *medium; /* NULL: all is thrown away */
    const char *name;      /* of the only file on the drive; NULL: theirs */
    unsigned count;        /* files that were taken or set down */
};

static int take_packed(const char *name, enum medium_kind kind, void *context, struct error *error)
{
    struct packed *packed = context;
    char *path;
    int result = 0;

    if (packed->medium != NULL && kind == MEDIUM_FILE) {
        packed->count++;
        result = take_file(packed->walk, packed->medium, name,
                           packed->name != NULL ? packed->name : name, error);
    }
    path = outside(packed->walk, PACK, name);
    if (path == NULL)
        return error_set(error, ERROR_FAILED, "drive: no memory");
    if (result == 0)
        result = remove_file(path, kind, error);
    free(path);
    return result;
}

/* All that is in the stage's folder of packs: taken in, or thrown away, and gone then.  NAME as in struct packed.  How
 * many files were taken in, -1. */
static int empty_pack(struct walk *walk, bool take, const char *name, struct error *error)
{
    char *path = outside(walk, PACK, "");
    struct medium *medium = path != NULL ? medium_open(path, error) : NULL;
    struct packed packed = {walk, take ? medium : NULL, name, 0};
    int result = -1;

    if (medium != NULL)
        result = medium_each(medium, NULL, take_packed, &packed, error);
    else if (path == NULL)
        error_set(error, ERROR_FAILED, "drive: no memory");
    medium_close(medium);
    free(path);
    return result == 0 ? (int)packed.count : -1;
}

/* ---- packs ---------------------------------------------------------------------------------------- */

/* What drive_tool_run said: 0 goes on, with something missing; -1 does not. */
static int judge(struct walk *walk, const struct error *error)
{
    if (error->kind == ERROR_TEMPORARY || error->kind == ERROR_FULL) {
        log_warning("%s", error->text);
        walk->taken->incomplete = true;
        return 0;
    }
    return -1;
}

/* Into the file TARGET of the pack; "": under their own names.  As drive_image_read, less what goes on. */
static int copy_out(struct walk *walk, char *const *names, unsigned count, const char *target,
                    struct error *error)
{
    char *path = outside(walk, PACK, target);
    int result;

    if (path == NULL)
        return error_set(error, ERROR_FAILED, "drive: no memory");
    result = drive_image_read(&walk->image, walk->folder->path, (const char *const *)names, count,
                              path, error);
    free(path);
    return result < 0 && judge(walk, error) == 0 ? 1 : result;
}

/* The files of the pack one by one: one of which the mtools make nothing must not take others with it.  What there is
 * of one is taken, as a torn file may still have a whole batch. */
static int take_each(struct walk *walk, struct error *error)
{
    int taken = empty_pack(walk, false, NULL, error);

    for (unsigned i = 0; i < walk->pack_count && taken >= 0; i++) {
        if (copy_out(walk, walk->pack + i, 1, ALONE, error) < 0)
            return -1;
        taken = empty_pack(walk, true, walk->pack[i], error);
        if (taken == 0)
            walk->taken->incomplete = true;
    }
    return taken >= 0 ? 0 : -1;
}

static int flush(struct walk *walk, struct error *error)
{
    int result = copy_out(walk, walk->pack, walk->pack_count, "", error), taken;

    if (result == 0) {
        taken = empty_pack(walk, true, NULL, error);
        /* Several had one name outside. */
        if (taken >= 0 && (unsigned)taken < walk->pack_count)
            walk->taken->incomplete = true;
        result = taken >= 0 ? 0 : -1;
    } else if (result > 0) {
        result = take_each(walk, error);
    }
    while (walk->pack_count > 0)
        free(walk->pack[--walk->pack_count]);
    walk->pack_bytes = 0;
    return result;
}

static int add_folder(struct walk *walk, const char *name)
{
    const struct folder *parent = walk->folder;
    struct folder *folder = &walk->folders[walk->folders_count];
    int length;

    if (is_of_system(name) || (parent->path[0] == '\0' && strcasecmp(name, DRIVE_TAKE_INBOX) == 0))
        return 0; /* not theirs; walked through already */
    if (parent->depth == DEPTH || walk->folders_count == FOLDERS) {
        walk->taken->incomplete = true;
        return 0;
    }
    length =
        asprintf(&folder->path, "%s%s%s", parent->path, parent->path[0] != '\0' ? "/" : "", name);
    if (length < 0)
        return error_set(walk->error, ERROR_FAILED, "drive: no memory");
    folder->depth = parent->depth + 1;
    walk->folders_count++;
    return 0;
}

/* Is it to be copied out? */
static bool is_wanted(struct walk *walk, const struct drive_entry *entry)
{
    const struct drive_take_options *options = walk->options;
    const char *folder = walk->folder->path;
    uint64_t most = options->image_bytes / 4 - walk->left_bytes;
    bool has_place = walk->taken->left_count < DRIVE_TAKE_LEFT_FILES;

    if (is_of_system(entry->name) ||
        drive_given_has(options->given, folder, entry->name, entry->size) ||
        (folder[0] == '\0' && (strcasecmp(entry->name, README_NAME) == 0 ||
                               strcasecmp(entry->name, DRIVE_TAKE_STATUS) == 0)))
        return false;
    if (is_batch(entry->name)) {
        most = BATCH_MAX_BYTES;
        has_place = true;
    }
    /* No image has more than its size in files, but one whose files share their clusters. */
    if (has_place && entry->size <= most && entry->size <= options->image_bytes - walk->bytes)
        return true;
    walk->taken->incomplete = true;
    return false;
}

static int on_entry(const struct drive_entry *entry, void *context)
{
    struct walk *walk = context;

    if (clock_ms() >= walk->tool.until_ms) {
        walk->taken->incomplete = true;
        return 1; /* a listing may have the same again and again */
    }
    if (entry->is_folder)
        return add_folder(walk, entry->name);
    if (!is_wanted(walk, entry))
        return 0;
    if ((walk->pack_count == DRIVE_IMAGE_FILES || walk->pack_bytes + entry->size > PACK_BYTES) &&
        walk->pack_count > 0 && flush(walk, walk->error) != 0)
        return -2;
    walk->pack[walk->pack_count] = strdup(entry->name);
    if (walk->pack[walk->pack_count] == NULL) {
        error_set(walk->error, ERROR_FAILED, "drive: no memory");
        return -2;
    }
    walk->pack_count++;
    walk->pack_bytes += entry->size;
    walk->bytes += entry->size;
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------------ */

/* 0; 1: it cannot be listed; -1. */
static int walk_through(struct walk *walk, struct error *error)
{
    int result = drive_image_list(&walk->image, walk->folder->path, on_entry, walk, error);
    bool unlisted = result == -1;

    if (result == -1)
        result = error->kind == ERROR_FAILED ? 0 : judge(walk, error);
    if (result < 0)
        return -1;
    if (walk->pack_count > 0 && flush(walk, error) != 0)
        return -1;
    return unlisted ? 1 : 0;
}

static int walk_all(struct walk *walk, struct error *error)
{
    struct folder inbox = {.path = strdup(DRIVE_TAKE_INBOX), .depth = 1},
                  root = {.path = strdup("")};
    int result;

    walk->folders[0] = inbox;
    walk->folders[1] = root;
    walk->folders_count = 2;
    if (inbox.path == NULL || root.path == NULL)
        return error_set(error, ERROR_FAILED, "drive: no memory");
    for (unsigned i = 0; i < walk->folders_count; i++) {
        walk->folder = &walk->folders[i];
        result = walk_through(walk, error);
        if (result < 0)
            return -1;
        if (result == 1 && walk->folder->path[0] == '\0' && walk->folders_count == 2)
            walk->taken->unreadable = true;
    }
    return 0;
}

static int prepare(struct walk *walk, struct error *error)
{
    const struct import_options import = {.store = walk->options->store};
    char *path = outside(walk, PACK, "");
    int result = path != NULL ? file_make_folder(path, error)
                              : error_set(error, ERROR_FAILED, "drive: no memory");

    free(path);
    if (result != 0)
        return -1;
    walk->import = import_new(&import, error);
    return walk->import != NULL ? 0 : -1;
}

int drive_take_run(const struct drive_take_options *options, struct drive_taken *taken,
                   struct error *error)
{
    struct walk *walk = calloc(1, sizeof *walk);
    int result = -1;

    memset(taken, 0, sizeof *taken);
    if (walk == NULL)
        return error_set(error, ERROR_FAILED, "drive: no memory");
    walk->options = options;
    walk->taken = taken;
    walk->error = error;
    walk->tool = *options->image->tool;
    walk->tool.file_bytes =
        options->image_bytes / 4 > BATCH_MAX_BYTES ? options->image_bytes / 4 : BATCH_MAX_BYTES;
    walk->image = (struct drive_image){.tool = &walk->tool, .path = options->image->path};
    if (prepare(walk, error) == 0) {
        result = walk_all(walk, error);
        /* Also of a walk that ended early. */
        if (import_commit(walk->import, result == 0 ? error : NULL) != 0)
            result = -1;
        taken->counts = *import_counts(walk->import);
    }
    import_free(walk->import);
    while (walk->pack_count > 0)
        free(walk->pack[--walk->pack_count]);
    while (walk->folders_count > 0)
        free(walk->folders[--walk->folders_count].path);
    free(walk);
    return result;
}

void drive_take_free(struct drive_taken *taken)
{
    while (taken->left_count > 0)
        free(taken->left[--taken->left_count]);
}
