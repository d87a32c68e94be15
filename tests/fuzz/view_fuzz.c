/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The lines of a view: either nothing of them is used, with words, or what is listed can be walked, each id once.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool condition, const struct error *error)
{
    if (condition)
        return;
    (void)fprintf(stderr, "%s\n", error->text);
    abort();
}

static char directory[] = "/tmp/view_fuzz.XXXXXX";
static struct store *store; /* one for all inputs, each of which is rolled back */

static void remove_store(void)
{
    static const char *const names[] = {"boda.db", "boda.db-wal", "boda.db-shm", "boda.lock"};
    char path[64];

    store_close(store);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(directory);
}

static void open_store(void)
{
    struct store_options options = {
        .directory = directory, .station = "t1", .role = "tablet", .reserve_bytes = 4096};
    struct error error = {.text = "no folder in /tmp"};

    if (mkdtemp(directory) != NULL)
        store = store_open(&options, &error);
    need(store != NULL && atexit(remove_store) == 0, &error);
}

static void look_at_listing(struct error *error)
{
    char id[DOC_ID_BYTES] = "", last[DOC_ID_BYTES], rev[DOC_REV_BYTES];
    int64_t count, walked = 0;

    need(view_count(store, "medic", &count, error) == 0, error);
    for (;;) {
        memcpy(last, id, sizeof last);
        if (view_next(store, "medic", last, id, rev, error) != 1)
            break;
        if (strcmp(last, id) >= 0 || rev[0] < '1' || rev[0] > '9' ||
            view_gone(store, "medic", id, error) != 0)
            abort();
        walked++;
    }
    if (walked > count || (count > 0 && walked == 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct opened_batch view = {.lines = (const char *)data, .lines_bytes = size};
    struct label label = {
        .id = {1}, .from = "server", .to = "t1", .epoch = "0123456789abcdef", .seq = 1, .size = 1};
    struct error error = {0};
    int64_t count;
    int result;

    if (size == 0 || data[size - 1] != '\n') /* batch_open lets no other lines pass */
        return 0;
    if (store == NULL)
        open_store();
    view.manifest.seq = 1;
    memcpy(view.manifest.kind, "view", sizeof "view");
    memcpy(view.manifest.db, "medic", sizeof "medic");
    memcpy(view.manifest.from, label.from, sizeof label.from);
    memcpy(view.manifest.to, label.to, sizeof label.to);
    memcpy(view.manifest.epoch, label.epoch, sizeof label.epoch);
    need(store_begin(store, &error) == 0, &error);
    result = view_apply(store, &view, &label, &error);
    if (result == 1)
        look_at_listing(&error);
    else if (error.kind != ERROR_CORRUPT || error.text[0] == '\0' ||
             strchr(error.text, '\n') != NULL || view_count(store, "medic", &count, &error) != 0 ||
             count != -1)
        abort();
    store_rollback(store);
    return 0;
}
