/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/replaying.h"

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

static const char USERS[] = "username,password\nchw1,one\nchw2,two\n";

int replaying_setup(void **state)
{
    struct replaying *r = calloc(1, sizeof *r);
    struct store_options options = {.station = "dock", .role = "dock", .reserve_bytes = 1};
    char *file, *directory;

    assert_non_null(r);
    r->folder = folder_new();
    r->deployment = deployment_new();
    directory = folder_path(r->folder, "store");
    options.directory = directory;
    r->store = store_open(&options, &r->error);
    STORES_OK(r->store != NULL, &r->error);
    r->trust = deployment_trust(r->deployment, false);
    r->couch = couch_new();
    file = folder_path(r->folder, "users.csv");
    STORES_OK(file_write(file, 0600, USERS, sizeof USERS - 1, &r->error) == 0, &r->error);
    r->users = users_open(file, false, &r->error);
    STORES_OK(r->users != NULL, &r->error);
    r->options = (struct replay_options){.store = r->store,
                                         .server = r->deployment->server,
                                         .trust = r->trust,
                                         .users = r->users,
                                         .db = "medic"};
    replaying_connect(r, 1);
    free(file);
    free(directory);
    *state = r;
    return 0;
}

int replaying_teardown(void **state)
{
    struct replaying *r = *state;

    cht_free(r->cht);
    couch_free(r->couch);
    users_free(r->users);
    trust_free(r->trust);
    store_close(r->store);
    deployment_free(r->deployment);
    folder_remove(r->folder);
    free(r);
    return 0;
}

void replaying_connect(struct replaying *r, int patience_s)
{
    /* With CHT's manners but Basic authentication: no login that a script would have to play. */
    struct cht_options options = {.url = couch_url(r->couch),
                                  .kind = CHT_KIND_CHT,
                                  .basic = true,
                                  .most_parallel = 4,
                                  .patience_s = patience_s,
                                  .stop = r->options.stop};

    cht_free(r->cht);
    r->cht = cht_new(&options, &r->error);
    STORES_OK(r->cht != NULL, &r->error);
    r->options.cht = r->cht;
}

void replaying_add(struct replaying *r, const struct identity *signer, const char *db,
                   const char *lines, struct label *label)
{
    struct manifest manifest = {.to = SERVER_NAME, .epoch = "00000000000000e1", .kind = "docs"};
    struct buffer bytes = {0};
    struct label own;

    (void)snprintf(manifest.from, sizeof manifest.from, "%s", identity_name(signer));
    (void)snprintf(manifest.user, sizeof manifest.user, "%s", identity_user(signer));
    (void)snprintf(manifest.db, sizeof manifest.db, "%s", db);
    manifest.seq = ++r->seq;
    for (const char *at = lines; *at != '\0'; at++)
        manifest.docs += *at == '\n';
    label = label != NULL ? label : &own;
    STORES_OK(batch_seal(signer, identity_certificate(r->deployment->server), &manifest, lines,
                         strlen(lines), &bytes, label, &r->error) == 0,
              &r->error);
    STORES_OK(store_begin(r->store, &r->error) == 0, &r->error);
    STORES_OK(batches_add(r->store, label, bytes.data, bytes.length, &r->error) == 0, &r->error);
    STORES_OK(store_commit(r->store, &r->error) == 0, &r->error);
    buffer_free(&bytes);
}

char *replaying_text(const char *type, const char *id, const char *rev, const char *more)
{
    char *text;

    assert_true(asprintf(&text,
                         "{\"_id\":\"%s\",\"_rev\":\"%s\",\"type\":\"%s\",\"_revisions\":"
                         "{\"start\":1,\"ids\":[\"%s\"]}%s}\n",
                         id, rev, type, strchr(rev, '-') + 1, more) >= 0);
    return text;
}

void replaying_doc(struct replaying *r, const char *type, const char *id, const char *more)
{
    char rev[DOC_REV_BYTES], *text;

    (void)snprintf(rev, sizeof rev, "1-%s", id);
    text = replaying_text(type, id, rev, more);
    replaying_add(r, r->deployment->tablet, "medic", text, NULL);
    free(text);
}

void replaying_docs(struct replaying *r, const char *type, const char *prefix, int count, int each,
                    int which, const char *more)
{
    struct buffer lines = {0};
    char id[64], rev[80], *text;

    for (int i = 0; i < count; i++) {
        (void)snprintf(id, sizeof id, "%s%d", prefix, i);
        (void)snprintf(rev, sizeof rev, "1-%s", id);
        text = replaying_text(type, id, rev, i % each == which ? more : "");
        assert_int_equal(buffer_append(&lines, text, strlen(text), &r->error), 0);
        free(text);
    }
    assert_int_equal(buffer_append(&lines, "", 1, &r->error), 0);
    replaying_add(r, r->deployment->tablet, "medic", (const char *)lines.data, NULL);
    buffer_free(&lines);
}

void replaying_run(struct replaying *r, int expected)
{
    memset(&r->error, 0, sizeof r->error);
    STORES_OK(replay_run(&r->options, &r->counts, &r->error) == expected, &r->error);
}

uint64_t replaying_batches(struct replaying *r, enum batch_state state)
{
    struct batch_filter filter = {.to = SERVER_NAME};
    struct batch_counts counts;

    STORES_OK(batches_count(r->store, &filter, &counts, &r->error) == 0, &r->error);
    switch (state) {
    case BATCH_PARTIAL:
        return counts.partial;
    case BATCH_HELD:
        return counts.held;
    case BATCH_ASIDE:
        return counts.aside;
    case BATCH_APPLIED:
        return counts.applied;
    }
    return 0;
}

uint64_t replaying_refusals(struct replaying *r)
{
    struct refusal refusal = {0};
    uint64_t count = 0;

    while (ledger_next(r->store, refusal.number, false, &refusal, &r->error) == 1)
        count++;
    return count;
}

bool replaying_refusal(struct replaying *r, const char *id, struct refusal *out)
{
    memset(out, 0, sizeof *out);
    while (ledger_next(r->store, out->number, false, out, &r->error) == 1) {
        if (strcmp(out->id, id) == 0)
            return true;
    }
    return false;
}
