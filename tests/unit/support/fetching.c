/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/fetching.h"

#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

int fetching_setup(void **state)
{
    struct fetching *f = calloc(1, sizeof *f);
    char *stations;

    assert_non_null(f);
    assert_int_equal(replaying_setup((void **)&f->r), 0);
    f->folder = folder_path(f->r->folder, "deployment");
    stations = folder_path(f->folder, "stations");
    assert_int_equal(file_make_folder(f->folder, NULL), 0);
    assert_int_equal(file_make_folder(stations, NULL), 0);
    fetching_know(f, f->r->deployment->tablet, "t1");
    fetching_know(f, f->r->deployment->tablet2, "t2");
    fetching_know(f, f->r->deployment->courier, "c1");
    f->fetch = fetch_new(&f->error);
    STORES_OK(f->fetch != NULL, &f->error);
    f->options = (struct fetch_options){.store = f->r->store,
                                        .server = f->r->deployment->server,
                                        .trust = f->r->trust,
                                        .deployment = f->folder,
                                        .kind = CHT_KIND_CHT,
                                        .users = f->r->users,
                                        .db = "medic"};
    free(stations);
    *state = f;
    return 0;
}

int fetching_teardown(void **state)
{
    struct fetching *f = *state;
    void *r = f->r;

    fetch_free(f->fetch);
    free(f->folder);
    free(f);
    return replaying_teardown(&r);
}

void fetching_as_couchdb(struct fetching *f)
{
    f->options.kind = CHT_KIND_COUCHDB;
}

void fetching_know(struct fetching *f, const struct identity *identity, const char *name)
{
    char path[4096];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/stations/%s.crt", f->folder, name);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, identity_certificate(identity)), 1);
    assert_int_equal(fclose(file), 0);
}

void fetching_show(struct fetching *f, const char *db, const char *who, const char *prefix,
                   int count, const char *rev, size_t size)
{
    struct display *display = couch_lock_display(f->r->couch);
    char *filler = malloc(size + 1), *json, id[64];
    uint64_t seed = 1;

    assert_non_null(filler);
    filler[size] = '\0';
    for (int i = 0; i < count; i++) {
        for (size_t k = 0; k < size; k++) /* not to be compressed away */
            filler[k] = (char)('a' + stores_random(&seed) % 26);
        (void)snprintf(id, sizeof id, "%s%d", prefix, i);
        assert_true(asprintf(&json,
                             "{\"_id\":\"%s\",\"_rev\":\"%s\",\"n\":1.50e+0,\"text\":\"%s\","
                             "\"_revisions\":{\"start\":%d,\"ids\":[\"%s\"]}}",
                             id, rev, filler, atoi(rev), strchr(rev, '-') + 1) >= 0);
        display_put(display, db, id, rev, who, json);
        free(json);
    }
    couch_unlock_display(f->r->couch);
    free(filler);
}

void fetching_run(struct fetching *f, int expected)
{
    int result;

    memset(&f->error, 0, sizeof f->error);
    f->options.cht = f->r->cht;
    f->options.trust = f->r->trust;
    result = fetch_run(f->fetch, &f->options, &f->counts, &f->error);
    if (result != (expected == FETCHING_OK ? 0 : -1) ||
        (result != 0 && (int)f->error.kind != -expected))
        fail_msg("fetch: %d, kind %d: %s", result, (int)f->error.kind, f->error.text);
}

static void each_batch(struct fetching *f, const char *tablet,
                       void (*show)(struct fetching *f, const struct batch *batch, void *context),
                       void *context)
{
    const struct batch_filter filter = {SERVER_NAME, tablet, BATCH_HELD};
    struct batch batch;
    int64_t after = 0;
    int found;

    while ((found = batches_next(f->r->store, &filter, after, &batch, &f->error)) == 1) {
        after = batch.position;
        show(f, &batch, context);
    }
    STORES_OK(found == 0, &f->error);
}

struct opening {
    const struct identity *tablet;
    const char *kind, *db;
    size_t docs;
    struct buffer text;
};

static void open_one(struct fetching *f, const struct batch *batch, void *context)
{
    struct opening *o = context;
    struct trust *trust = deployment_trust(f->r->deployment, false);
    struct buffer bytes = {0};
    struct opened_batch opened;

    STORES_OK(batches_load(f->r->store, batch->label.id, &bytes, &f->error) == 0, &f->error);
    STORES_OK(batch_open(o->tablet, trust, &batch->label, bytes.data, bytes.length, &opened, NULL,
                         &f->error) == 0,
              &f->error);
    assert_string_equal(opened.manifest.user, identity_user(o->tablet));
    if (strcmp(opened.manifest.kind, o->kind) == 0 && strcmp(opened.manifest.db, o->db) == 0) {
        o->docs += opened.manifest.docs;
        assert_int_equal(buffer_append(&o->text, opened.lines, opened.lines_bytes, NULL), 0);
    }
    opened_batch_free(&opened);
    buffer_free(&bytes);
    trust_free(trust);
}

size_t fetching_opened(struct fetching *f, const struct identity *tablet, const char *kind,
                       const char *db, char **text)
{
    struct opening o = {.tablet = tablet, .kind = kind, .db = db};

    each_batch(f, identity_name(tablet), open_one, &o);
    assert_int_equal(buffer_append(&o.text, "", 1, NULL), 0);
    if (text != NULL)
        *text = (char *)o.text.data;
    else
        buffer_free(&o.text);
    return o.docs;
}

static void count_one(struct fetching *f, const struct batch *batch, void *context)
{
    (void)f;
    (void)batch;
    (*(uint64_t *)context)++;
}

uint64_t fetching_under_way(struct fetching *f, const char *tablet)
{
    uint64_t count = 0;

    each_batch(f, tablet, count_one, &count);
    return count;
}

static void apply_one(struct fetching *f, const struct batch *batch, void *context)
{
    (void)context;
    STORES_OK(store_begin(f->r->store, &f->error) == 0, &f->error);
    STORES_OK(batches_apply(f->r->store, &batch->label, false, &f->error) == 0, &f->error);
    STORES_OK(store_commit(f->r->store, &f->error) == 0, &f->error);
}

void fetching_deliver(struct fetching *f, const char *tablet)
{
    struct store *store = f->r->store;
    struct holding at = {0};
    bool begun = false;
    int found;

    each_batch(f, tablet, apply_one, NULL);
    STORES_OK(store_begin(store, &f->error) == 0, &f->error);
    STORES_OK(holdings_begin(store, tablet, &f->error) == 0, &f->error);
    while ((found = holdings_next_listed(store, tablet, "medic", begun ? &at : NULL, &at,
                                         &f->error)) == 1) {
        begun = true;
        STORES_OK(holdings_hold(store, tablet, "medic", at.id, at.rev, &f->error) == 0, &f->error);
    }
    STORES_OK(found == 0, &f->error);
    STORES_OK(holdings_end(store, tablet, true, &f->error) == 0, &f->error);
    STORES_OK(store_commit(store, &f->error) == 0, &f->error);
}
