/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/filed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "store/batch.h"
#include "store/file_name.h"
#include "store/peers.h"
#include "store/trust.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

int filed_set_up(void **state)
{
    struct filed *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->deployment = deployment_new();
    f->stores = folder_new();
    f->medium = folder_new();
    filed_station(f, "c1", "courier", 0);
    *state = f;
    return 0;
}

int filed_tear_down(void **state)
{
    struct filed *f = *state;

    store_close(f->store);
    deployment_free(f->deployment);
    folder_remove(f->stores);
    folder_remove(f->medium);
    free(f);
    return 0;
}

void filed_station(struct filed *f, const char *station, const char *role, uint64_t quota_bytes)
{
    char *directory = folder_path(f->stores, station);
    const struct store_options options = {.directory = directory,
                                          .station = station,
                                          .role = role,
                                          .quota_bytes = quota_bytes,
                                          .reserve_bytes = 1};

    store_close(f->store);
    f->store = store_open(&options, &f->error);
    STORES_OK(f->store != NULL, &f->error);
    free(directory);
}

void filed_seal(struct filed *f, const struct identity *signer, const struct identity *recipient,
                uint64_t seq, const char *kind, struct buffer *bytes, struct label *label)
{
    struct manifest manifest = {.seq = seq, .docs = 1, .epoch = STORES_EPOCH, .db = "medic"};
    char line[100];

    (void)snprintf(manifest.from, sizeof manifest.from, "%s", identity_name(signer));
    (void)snprintf(manifest.to, sizeof manifest.to, "%s", identity_name(recipient));
    (void)snprintf(manifest.user, sizeof manifest.user, "%s", identity_user(signer));
    (void)snprintf(manifest.kind, sizeof manifest.kind, "%s", kind);
    (void)snprintf(line, sizeof line, "{\"_id\":\"d%llu\",\"_rev\":\"1-a\"}\n",
                   (unsigned long long)seq);
    STORES_OK(batch_seal(signer, identity_certificate(recipient), &manifest, line, strlen(line),
                         bytes, label, &f->error) == 0,
              &f->error);
}

void filed_hold(struct filed *f, const struct identity *signer, const struct identity *recipient,
                uint64_t seq, struct label *label)
{
    struct buffer bytes = {0};

    filed_seal(f, signer, recipient, seq, seq == 0 ? "receipt" : "docs", &bytes, label);
    STORES_OK(store_begin(f->store, &f->error) == 0 &&
                  batches_add(f->store, label, bytes.data, bytes.length, &f->error) == 0 &&
                  store_commit(f->store, &f->error) == 0,
              &f->error);
    buffer_free(&bytes);
}

void filed_put(const struct filed *f, const char *path, const void *bytes, size_t size)
{
    char *file = folder_path(f->medium, path);
    int fd;

    for (char *at = file + strlen(f->medium) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
        *at = '\0';
        assert_true(mkdir(file, 0700) == 0 || errno == EEXIST);
    }
    fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        fail_msg("%s: %s", file, strerror(errno));
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    assert_int_equal(close(fd), 0);
    free(file);
}

char *filed_name(const struct label *label)
{
    char folder[FILE_NAME_FOLDER_BYTES];

    file_name_folder(label->to, 1, folder);
    return filed_name_in(label, folder);
}

char *filed_name_in(const struct label *label, const char *folder)
{
    char name[FILE_NAME_BYTES];

    file_name_make(label, name);
    return folder_path(folder, name);
}

bool filed_has(const struct filed *f, const char *path, const void *bytes, size_t size)
{
    char *file = folder_path(f->medium, path);
    FILE *stream = fopen(file, "rb");
    unsigned char *there = malloc(size + 1);
    bool same = stream != NULL;

    assert_non_null(there);
    if (same && bytes != NULL)
        same = fread(there, 1, size + 1, stream) == size && memcmp(there, bytes, size) == 0;
    if (stream != NULL)
        (void)fclose(stream);
    free(there);
    free(file);
    return same;
}

unsigned filed_count(const struct filed *f, const char *path)
{
    char *folder = folder_path(f->medium, path);
    DIR *stream = opendir(folder);
    const struct dirent *entry;
    unsigned count = 0;

    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
            char *inner = folder_path(path, entry->d_name);

            count += filed_count(f, inner);
            free(inner);
        } else if (entry->d_type != DT_DIR) {
            count++;
        }
    }
    if (stream != NULL)
        (void)closedir(stream);
    free(folder);
    return count;
}

uint64_t filed_batches(struct filed *f, enum batch_state state)
{
    struct batch_counts counts;

    STORES_OK(batches_count(f->store, &(struct batch_filter){0}, &counts, &f->error) == 0,
              &f->error);
    switch (state) {
    case BATCH_PARTIAL:
        return counts.partial;
    case BATCH_HELD:
        return counts.held + counts.unnumbered;
    case BATCH_ASIDE:
        return counts.aside;
    default:
        return counts.applied;
    }
}

void filed_give_list(struct filed *f, struct buffer *der)
{
    struct trust *trust = trust_open(f->deployment->dock, f->store, &f->error);
    uint64_t number;

    STORES_OK(trust != NULL, &f->error);
    deployment_list(f->deployment, der);
    STORES_OK(trust_update(trust, der->data, der->length, &number, &f->error) == 1, &f->error);
    STORES_OK(store_begin(f->store, &f->error) == 0 &&
                  peers_set_crl(f->store, number, der->data, der->length, &f->error) == 0 &&
                  store_commit(f->store, &f->error) == 0,
              &f->error);
    trust_free(trust);
}
