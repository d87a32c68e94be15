/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/drive_content.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "gadget/drive.h"
#include "gadget/drive_fill.h"

#define TAKE_MS 300000            /* for all that is done to look through an image */
#define FILL_MS 300000            /* and to make one */
#define RESERVE_BYTES (64u << 20) /* of the disk, beside the image */

struct drive_content {
    struct drive_content_options options;
    struct drive_tool tool;
    char *image, *next, *stage, *damaged;
    struct drive_given given;
    struct drive_taken taken; /* of the last look */
    bool looked;
    /* The image as it was made; if it is still so, nobody wrote to it. */
    struct stat made;
    int64_t version; /* of the store, as of then */
    unsigned char digest[DRIVE_FILL_DIGEST_BYTES];
};

/* ---- the stage ------------------------------------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path) != 0 && errno != ENOENT ? -1 : 0;
}

static int clear_stage(const struct drive_content *content, struct error *error)
{
    if (nftw(content->stage, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return error_errno(error, errno, "%s: cannot be emptied", content->stage);
    return 0;
}

static int make_stage(const struct drive_content *content, struct error *error)
{
    return clear_stage(content, error) != 0 ? -1 : file_make_folder(content->stage, error);
}

/* ---- what has changed ----------------------------------------------------------------------------- */

bool drive_content_is_there(const struct drive_content *content)
{
    struct stat status;

    return lstat(content->image, &status) == 0;
}

static bool is_untouched(const struct drive_content *content)
{
    struct stat now;

    return content->made.st_ino != 0 && lstat(content->image, &now) == 0 &&
           now.st_ino == content->made.st_ino && now.st_size == content->made.st_size &&
           now.st_mtim.tv_sec == content->made.st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == content->made.st_mtim.tv_nsec;
}

static struct drive_fill_options fill_options(const struct drive_content *content,
                                              const struct drive_image *next)
{
    return (struct drive_fill_options){.image = next,
                                       .image_bytes = content->options.bytes,
                                       .store = content->options.store,
                                       .stage = content->stage,
                                       .taken = content->looked ? &content->taken : NULL};
}

/* 1: the image, which nobody touched, is what it would be made again; 0; -1. */
static int is_current(struct drive_content *content, struct error *error)
{
    const struct drive_fill_options fill = fill_options(content, NULL);
    unsigned char digest[DRIVE_FILL_DIGEST_BYTES];
    int64_t version;

    if (store_version(content->options.store, &version, error) != 0)
        return -1;
    if (version == content->version)
        return 1;
    if (drive_fill_digest(&fill, digest, error) != 0)
        return -1;
    if (memcmp(digest, content->digest, sizeof digest) != 0)
        return 0;
    content->version = version;
    return 1;
}

/* ---- in ------------------------------------------------------------------------------------------- */

static void tell(const struct drive_content *content, const struct drive_taken *taken)
{
    const struct import_counts *counts = &taken->counts;

    if (counts->taken + counts->had + counts->wrong + counts->full + taken->left_count > 0 ||
        counts->list)
        log_info(
            "courier %s: drive: took %llu batches (%llu bytes), had %llu, left %u files that are none",
            content->options.name, (unsigned long long)counts->taken,
            (unsigned long long)counts->taken_bytes, (unsigned long long)counts->had,
            taken->left_count);
}

/* What cannot be kept in any other way. */
static int put_aside(const struct drive_content *content, const struct drive_taken *taken,
                     struct error *error)
{
    const char *why =
        taken->unreadable ? "cannot be read" : "has more on it than the next one can have";

    if (access(content->damaged, F_OK) == 0) {
        log_warning("courier %s: drive: the image %s; given up, as %s is there",
                    content->options.name, why, content->damaged);
        return 0;
    }
    if (rename(content->image, content->damaged) != 0)
        return error_errno(error, errno, "%s: cannot be moved to %s", content->image,
                           content->damaged);
    log_warning("courier %s: drive: the image %s; kept as %s", content->options.name, why,
                content->damaged);
    return file_sync_folder_of(content->damaged, error);
}

/* Look through the image.  UNTOUCHED: only for what is not ours, which the next one is to have too. */
static int take(struct drive_content *content, bool untouched, struct error *error)
{
    const struct drive_image image = {.tool = &content->tool, .path = content->image};
    const struct drive_take_options options = {.image = &image,
                                               .image_bytes = content->options.bytes,
                                               .store = content->options.store,
                                               .stage = content->stage,
                                               .given = &content->given};
    struct drive_taken taken;

    if (drive_take_run(&options, &taken, error) != 0) {
        drive_take_free(&taken);
        return -1;
    }
    tell(content, &taken);
    if (taken.counts.full > 0) {
        drive_take_free(&taken);
        return error_set(
            error, ERROR_FULL,
            "no room for %llu batches that are on it: they stay there until there is some",
            (unsigned long long)taken.counts.full);
    }
    if (untouched)
        taken.counts = content->taken.counts; /* what people read of their last time */
    drive_take_free(&content->taken);
    content->taken = taken;
    content->looked = true;
    return taken.unreadable || taken.incomplete ? put_aside(content, &taken, error) : 0;
}

/* ---- out ------------------------------------------------------------------------------------------ */

/* The image has holes, into which hosts write later. */
static int require_room(const struct drive_content *content, struct error *error)
{
    uint64_t wanted = content->options.bytes + RESERVE_BYTES, there;
    struct statvfs disk;
    struct stat status;

    if (statvfs(content->options.folder, &disk) != 0)
        return error_errno(error, errno, "%s: its free space cannot be told",
                           content->options.folder);
    there = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (lstat(content->image, &status) == 0)
        there += (uint64_t)status.st_blocks * 512;
    if (there >= wanted)
        return 0;
    return error_set(error, ERROR_FULL,
                     "%s: %llu MB are free, the drive needs %llu: free some, or use --drive=MB",
                     content->options.folder, (unsigned long long)there >> 20,
                     (unsigned long long)wanted >> 20);
}

static int fill(struct drive_content *content, struct error *error)
{
    const struct drive_image next = {.tool = &content->tool, .path = content->next};
    const struct drive_fill_options options = fill_options(content, &next);
    unsigned char digest[DRIVE_FILL_DIGEST_BYTES];
    struct drive_given given = {0};
    int64_t version;

    /* First the version and the digest, so that what changes meanwhile is seen the next time. */
    if (store_version(content->options.store, &version, error) != 0 ||
        require_room(content, error) != 0 || drive_fill_digest(&options, digest, error) != 0 ||
        drive_fill_run(&options, &given, error) != 0) {
        drive_given_clear(&given);
        (void)unlink(content->next);
        return -1;
    }
    drive_given_clear(&content->given);
    content->given = given;
    if (rename(content->next, content->image) != 0)
        return error_errno(error, errno, "%s: cannot be moved to %s", content->next,
                           content->image);
    if (file_sync_folder_of(content->image, error) != 0)
        return -1;
    if (lstat(content->image, &content->made) != 0)
        return error_errno(error, errno, "%s: cannot be looked at", content->image);
    content->version = version;
    memcpy(content->digest, digest, sizeof digest);
    return 0;
}

static int refresh(struct drive_content *content, bool untouched, struct error *error)
{
    if (make_stage(content, error) != 0)
        return -1;
    content->tool.until_ms = clock_ms() + TAKE_MS;
    if (!drive_content_is_there(content))
        drive_take_free(&content->taken);
    /* What was set down the last time is on the old image alone. */
    else if ((!untouched || content->taken.left_count > 0) && take(content, untouched, error) != 0)
        return -1;
    /* However long a stranger's image has kept us. */
    content->tool.until_ms = clock_ms() + FILL_MS;
    return fill(content, error);
}

int drive_content_refresh(struct drive_content *content, struct error *error)
{
    bool untouched = is_untouched(content);
    int result = untouched ? is_current(content, error) : 0;
    struct error ignored;

    if (result != 0)
        return result < 0 ? -1 : 0;
    result = refresh(content, untouched, error);
    if (clear_stage(content, &ignored) != 0)
        log_warning("%s", ignored.text);
    return result;
}

/* ---- life ----------------------------------------------------------------------------------------- */

static char *in_folder(const char *folder, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

struct drive_content *drive_content_new(const struct drive_content_options *options,
                                        struct error *error)
{
    struct drive_content *content = calloc(1, sizeof *content);

    if (content != NULL) {
        content->options = *options;
        content->tool.stop_fd = options->stop_fd;
        content->image = in_folder(options->folder, DRIVE_IMAGE);
        content->next = in_folder(options->folder, "drive.new");
        content->stage = in_folder(options->folder, "drive.stage");
        content->damaged = in_folder(options->folder, "drive.damaged");
        if (content->image != NULL && content->next != NULL && content->stage != NULL &&
            content->damaged != NULL)
            return content;
    }
    error_set(error, ERROR_FAILED, "drive: no memory");
    drive_content_free(content);
    return NULL;
}

void drive_content_free(struct drive_content *content)
{
    if (content == NULL)
        return;
    drive_take_free(&content->taken);
    drive_given_clear(&content->given);
    free(content->image);
    free(content->next);
    free(content->stage);
    free(content->damaged);
    free(content);
}
