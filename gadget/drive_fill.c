/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/drive_fill.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "gadget/drive_page.h"
#include "store/crypto.h"
#include "store/export.h"
#include "store/file_name.h"
#include "store/readme.h"
#include "store/trust.h"

#define BATCHES 2000 /* most on one drive: a FAT's folders are searched from their beginning */
#define FOLDERS 64   /* stations */
#define CLUSTER_BYTES 32768    /* the largest there is, which a file's end wastes */
#define PACK_BYTES (32u << 20) /* a pack of files is copied in by one run of mcopy */

/* The batches that go onto the drive: half of it is for what people bring. */
struct plan {
    struct label labels[BATCHES];
    unsigned count;
    uint64_t waiting; /* with those that do not */
};

struct fill {
    const struct drive_fill_options *options;
    struct drive_given *given;
    struct plan *plan;
    char *pack[DRIVE_IMAGE_FILES];
    unsigned pack_count;
    uint64_t pack_bytes;
    char folder[FILE_NAME_FOLDER_BYTES]; /* the pack's */
};

/* ---- what ----------------------------------------------------------------------------------------- */

/* A label is advice, and names any station: the names that are ours on the drive are not for folders. */
static bool is_ours(const char *to)
{
    static const char *const names[] = {DRIVE_TAKE_INBOX, README_NAME, DRIVE_TAKE_STATUS};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(to, names[i]) == 0)
            return true;
    return file_name_is_list(to);
}

/* Those of the first FOLDERS stations stay: a FAT's root may be full. */
static void cut(struct plan *plan)
{
    unsigned folders = 0;

    for (unsigned i = 0; i < plan->count; i++) {
        if (i == 0 || strcmp(plan->labels[i].to, plan->labels[i - 1].to) != 0)
            folders++;
        if (folders > FOLDERS)
            plan->count = i;
    }
}

static int by_folder(const void *a, const void *b)
{
    const struct label *left = a, *right = b;
    int order = strcmp(left->to, right->to);

    return order != 0 ? order : memcmp(left->id, right->id, BATCH_ID_BYTES);
}

static struct plan *make_plan(const struct drive_fill_options *options, struct error *error)
{
    struct plan *plan = calloc(1, sizeof *plan);
    uint64_t left_bytes = options->image_bytes / 2;
    bool full = false;
    struct batch batch = {0};
    int found;

    if (plan == NULL) {
        error_set(error, ERROR_FAILED, "drive: no memory");
        return NULL;
    }
    while ((found = export_next(options->store, false, batch.position, &batch, error)) == 1) {
        uint64_t bytes = (batch.label.size + CLUSTER_BYTES - 1) / CLUSTER_BYTES * CLUSTER_BYTES;

        plan->waiting++;
        full = full || plan->count == BATCHES || bytes > left_bytes;
        if (full || is_ours(batch.label.to))
            continue;
        left_bytes -= bytes;
        plan->labels[plan->count++] = batch.label;
    }
    if (found < 0) {
        free(plan);
        return NULL;
    }
    qsort(plan->labels, plan->count, sizeof *plan->labels, by_folder);
    cut(plan);
    return plan;
}

static int make_page(const struct drive_fill_options *options, const struct plan *plan,
                     struct buffer *page, struct error *error)
{
    const struct drive_page_facts facts = {
        .waiting = plan->waiting, .shown = plan->count, .taken = options->taken};

    return drive_page_make(options->store, &facts, page, error);
}

static int hash_plan(EVP_MD_CTX *hash, const struct plan *plan, const struct buffer *page)
{
    if (EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(hash, page->data, page->length) != 1)
        return -1;
    for (unsigned i = 0; i < plan->count; i++)
        if (EVP_DigestUpdate(hash, plan->labels[i].id, BATCH_ID_BYTES) != 1)
            return -1;
    return 0;
}

int drive_fill_digest(const struct drive_fill_options *options,
                      unsigned char digest[DRIVE_FILL_DIGEST_BYTES], struct error *error)
{
    struct plan *plan = make_plan(options, error);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    struct buffer page = {0};
    int result = -1;

    if (plan != NULL && make_page(options, plan, &page, error) == 0) {
        result = 0;
        if (hash == NULL || hash_plan(hash, plan, &page) != 0 ||
            EVP_DigestFinal_ex(hash, digest, NULL) != 1)
            result = error_set(error, ERROR_FAILED, "SHA-256: OpenSSL cannot hash");
    }
    buffer_free(&page);
    EVP_MD_CTX_free(hash);
    free(plan);
    return result;
}

/* ---- files ---------------------------------------------------------------------------------------- */

static int write_stage(const char *path, const void *bytes, size_t size, struct error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    const char *at = bytes;
    ssize_t done = 0;

    if (fd < 0)
        return error_errno(error, errno, "%s: cannot be made", path);
    for (; size > 0; at += done, size -= (size_t)done) {
        done = write(fd, at, size);
        if (done < 0 && errno == EINTR)
            done = 0;
        if (done < 0)
            break;
    }
    if (done < 0)
        error_errno(error, errno, "%s: cannot be written", path);
    if (close(fd) != 0 && done >= 0) {
        error_errno(error, errno, "%s: cannot be written", path);
        done = -1;
    }
    return done < 0 ? -1 : 0;
}

/* The pack into its folder, and out of the stage. */
static int flush(struct fill *fill, struct error *error)
{
    int result = drive_image_write(fill->options->image, (const char *const *)fill->pack,
                                   fill->pack_count, fill->folder, error);

    while (fill->pack_count > 0) {
        char *path = fill->pack[--fill->pack_count];

        if (unlink(path) != 0 && result == 0)
            result = error_errno(error, errno, "%s: cannot be removed", path);
        free(path);
    }
    fill->pack_bytes = 0;
    return result;
}

/* A file NAME of BYTES goes into the pack's folder. */
static int add(struct fill *fill, const char *name, const void *bytes, size_t size,
               struct error *error)
{
    char *path;

    if ((fill->pack_count == DRIVE_IMAGE_FILES || fill->pack_bytes + size > PACK_BYTES) &&
        fill->pack_count > 0 && flush(fill, error) != 0)
        return -1;
    if (asprintf(&path, "%s/%s", fill->options->stage, name) < 0)
        return error_set(error, ERROR_FAILED, "drive: no memory");
    if (write_stage(path, bytes, size, error) != 0 ||
        drive_given_add(fill->given, fill->folder, name, size, error) != 0) {
        free(path);
        return -1;
    }
    fill->pack[fill->pack_count++] = path;
    fill->pack_bytes += size;
    return 0;
}

/* 1; 0: it was freed meanwhile, by a host at the cable; -1. */
static int load(struct store *store, const unsigned char *id, struct buffer *bytes,
                struct error *error)
{
    struct batch batch = {0};

    if (batches_load(store, id, bytes, error) == 0)
        return 1;
    return batches_find(store, id, &batch, NULL) == 1 && batch.offset == 0 ? 0 : -1;
}

static int add_batch(struct fill *fill, const struct label *label, struct error *error)
{
    char folder[FILE_NAME_FOLDER_BYTES], name[FILE_NAME_BYTES];
    struct buffer bytes = {0};
    int result;

    file_name_folder(label->to, 1, folder);
    if (strcmp(folder, fill->folder) != 0) {
        if (flush(fill, error) != 0 ||
            drive_image_make_folder(fill->options->image, folder, error) != 0)
            return -1;
        memcpy(fill->folder, folder, sizeof folder);
    }
    file_name_make(label, name);
    result = load(fill->options->store, label->id, &bytes, error);
    if (result == 1)
        result = add(fill, name, bytes.data, bytes.length, error);
    buffer_free(&bytes);
    return result;
}

/* README.TXT, STATUS.HTM, the revocation list. */
static int add_papers(struct fill *fill, struct error *error)
{
    char name[TRUST_LIST_NAME_BYTES];
    struct buffer page = {0}, list = {0};
    int result = -1, listed = export_list(fill->options->store, name, &list, error);

    if (listed >= 0 && make_page(fill->options, fill->plan, &page, error) == 0 &&
        add(fill, README_NAME, readme(), strlen(readme()), error) == 0 &&
        add(fill, DRIVE_TAKE_STATUS, page.data, page.length, error) == 0 &&
        (listed == 0 || add(fill, name, list.data, list.length, error) == 0))
        result = flush(fill, error);
    buffer_free(&page);
    buffer_free(&list);
    return result;
}

/* What was set down comes back, in a folder of its own. */
static int give_back(const struct drive_fill_options *options, struct error *error)
{
    const struct drive_taken *taken = options->taken;
    const struct drive_image *image = options->image;

    if (drive_image_make_folder(image, DRIVE_TAKE_INBOX, error) != 0)
        return -1;
    if (taken == NULL || taken->left_count == 0)
        return 0;
    if (drive_image_make_folder(image, DRIVE_TAKE_LEFT, error) != 0)
        return -1;
    for (unsigned i = 0; i < taken->left_count; i += DRIVE_IMAGE_FILES) {
        unsigned count =
            taken->left_count - i < DRIVE_IMAGE_FILES ? taken->left_count - i : DRIVE_IMAGE_FILES;

        if (drive_image_write(image, (const char *const *)taken->left + i, count, DRIVE_TAKE_LEFT,
                              error) != 0)
            return -1;
    }
    return 0;
}

static int make_durable(const char *path, struct error *error)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), result = 0;

    if (fd < 0 || fsync(fd) != 0)
        result = error_errno(error, errno, "%s: cannot be brought to disk", path);
    if (fd >= 0)
        (void)close(fd);
    return result;
}

int drive_fill_run(const struct drive_fill_options *options, struct drive_given *given,
                   struct error *error)
{
    struct fill fill = {.options = options, .given = given, .plan = make_plan(options, error)};
    int result = -1;

    if (fill.plan != NULL && drive_image_make(options->image, options->image_bytes, error) == 0 &&
        give_back(options, error) == 0 && add_papers(&fill, error) == 0) {
        result = 0;
        for (unsigned i = 0; i < fill.plan->count && result == 0; i++)
            result = add_batch(&fill, &fill.plan->labels[i], error);
        if (result == 0)
            result = flush(&fill, error);
        if (result == 0)
            result = make_durable(options->image->path, error);
    }
    while (fill.pack_count > 0)
        free(fill.pack[--fill.pack_count]);
    free(fill.plan);
    return result;
}
