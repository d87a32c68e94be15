/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/errand.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/dock/download.h"
#include "host/dock/gone.h"
#include "host/dock/listing.h"
#include "host/dock/source.h"
#include "host/dock/usable.h"
#include "store/view.h"

#define LISTING_BYTES (16u << 20) /* of get-ids */
#define SMALL_BYTES (1u << 20)    /* of get-deletes, and of the greeting */
#define PARALLEL 4

/* What a step and its answer come to: -1 is a failure. */
enum { WAITS, STEP_OVER };

struct errand {
    struct errand_shared *shared;
    struct station tablet;
    X509 *recipient;
    const struct cht_user *credentials;
    struct source medic, meta;
    unsigned step;

    size_t asking; /* bytes of room that the answer under way may take; 0: none is under way */
    int (*take)(struct errand *e, const struct cht_answer *answer, struct error *error);
    struct packer *packer;
    struct download *download;
    struct gone *gone;
    uint64_t at; /* the number that the server's sequence begins with */

    struct fetch_counts counts;
    bool abandoned, faulty;
    struct error error; /* the first one */
};

static struct store *store_of(const struct errand *e)
{
    return e->shared->options->store;
}

/* A complete listing is to be had. */
static bool is_complete(const struct errand *e)
{
    return e->shared->options->kind == CHT_KIND_CHT;
}

/* Views are of the complete listing; without one, a view of no database names what was withdrawn. */
static const char *view_db(const struct errand *e)
{
    return is_complete(e) ? e->medic.db : "";
}

static void note(struct errand *e, const struct error *error)
{
    if (e->faulty)
        return;
    e->error = *error;
    (void)error_prefix(&e->error, "tablet %s", e->tablet.name);
    e->faulty = true;
}

/* ---- asking --------------------------------------------------------------------------------- */

static void on_answer(const struct cht_answer *answer, void *context)
{
    struct errand *e = context;
    struct error error;
    int result;

    room_give(&e->shared->room, e->asking);
    e->asking = 0;
    if (e->abandoned)
        return;
    result = e->take(e, answer, &error);
    if (result == STEP_OVER)
        e->step++;
    if (result >= 0)
        return;
    note(e, &error);
    errand_abandon(e);
}

/* Ask, when there is room; TAKE is given the answer, and the step goes on with its result. */
static int ask(struct errand *e, const struct cht_question *question,
               int (*take)(struct errand *e, const struct cht_answer *answer, struct error *error),
               struct error *error)
{
    if (!room_take(&e->shared->room, e, question->most_bytes))
        return WAITS;
    e->take = take;
    if (cht_ask(e->shared->options->cht, e->credentials, question, on_answer, e, error) != 0) {
        room_give(&e->shared->room, question->most_bytes);
        return -1;
    }
    e->asking = question->most_bytes;
    e->counts.requests++;
    return WAITS;
}

/* ---- listings ------------------------------------------------------------------------------- */

static int take_ids(struct errand *e, const struct cht_answer *answer, struct error *error)
{
    if (usable_answer(answer, error) != 0 ||
        listing_take_ids(store_of(e), e->tablet.name, e->medic.db, answer->body, answer->size,
                         &e->at, error) != 0)
        return error_prefix(error, "get-ids");
    return STEP_OVER;
}

static int take_page(struct errand *e, struct source *source, const struct cht_answer *answer,
                     struct error *error)
{
    bool more;

    if (usable_answer(answer, error) != 0 ||
        source_take(source, store_of(e), answer->body, answer->size, &more, error) != 0)
        return error_prefix(error, "_changes of %s", source->db);
    return more ? WAITS : STEP_OVER;
}

static int take_medic_page(struct errand *e, const struct cht_answer *answer, struct error *error)
{
    return take_page(e, &e->medic, answer, error);
}

/* A user who has never been online has no such database. */
static int take_meta_page(struct errand *e, const struct cht_answer *answer, struct error *error)
{
    if (answer->result == CHT_ANSWERED && answer->status == 404)
        return STEP_OVER;
    return take_page(e, &e->meta, answer, error);
}

static int ask_page(struct errand *e, struct source *source,
                    int (*take)(struct errand *e, const struct cht_answer *answer,
                                struct error *error),
                    struct error *error)
{
    char path[SOURCE_PATH_BYTES];
    struct cht_question question;

    if (source_ask(source, store_of(e), path, &question, error) != 0)
        return -1;
    return ask(e, &question, take, error);
}

static int list_medic(struct errand *e, struct error *error)
{
    const struct cht_question question = {
        .method = "GET", .path = "/api/v1/replication/get-ids", .most_bytes = LISTING_BYTES};

    return is_complete(e) ? ask(e, &question, take_ids, error)
                          : ask_page(e, &e->medic, take_medic_page, error);
}

static int list_meta(struct errand *e, struct error *error)
{
    return ask_page(e, &e->meta, take_meta_page, error);
}

/* ---- what is not to come any more ------------------------------------------------------------ */

/* The next view names it. */
static int withdraw_one(struct errand *e, const unsigned char *batch, struct error *error)
{
    struct store *store = store_of(e);
    struct listing listing;

    if (store_begin(store, error) != 0)
        return -1;
    if (holdings_withdraw(store, e->tablet.name, batch, error) != 0 ||
        holdings_listing(store, e->tablet.name, view_db(e), &listing, error) != 0)
        goto fail;
    listing.view_due = true;
    if (holdings_set_listing(store, e->tablet.name, view_db(e), &listing, error) != 0)
        goto fail;
    if (store_commit(store, error) != 0)
        return -1;
    e->counts.withdrawn++;
    return 0;

fail:
    store_rollback(store);
    return -1;
}

static int withdraw(struct errand *e, struct error *error)
{
    unsigned char batch[BATCH_ID_BYTES];
    int found;

    while ((found = holdings_next_stale(store_of(e), e->tablet.name, batch, error)) == 1)
        if (withdraw_one(e, batch, error) != 0)
            return -1;
    return found < 0 ? -1 : STEP_OVER;
}

/* ---- documents ------------------------------------------------------------------------------ */

static int begin_download(struct errand *e, const struct source *source, struct error *error)
{
    const struct fetch_options *o = e->shared->options;
    const struct packer_options packing = {
        .store = o->store,
        .server = o->server,
        .recipient = e->recipient,
        .tablet = e->tablet.name,
        .user = e->tablet.user,
        .db = source->db,
    };
    struct download_options loading = {
        .store = o->store,
        .cht = o->cht,
        .user = e->credentials,
        .room = &e->shared->room,
        .tablet = e->tablet.name,
        .db = source->db,
        .path = source->path,
        .parallel = o->parallel == 0 ? PARALLEL : o->parallel,
        .requests = &e->counts.requests,
    };

    e->packer = packer_new(&packing, error);
    if (e->packer == NULL)
        return -1;
    loading.packer = e->packer;
    e->download = download_new(&loading, error);
    return e->download == NULL ? -1 : 0;
}

static void end_download(struct errand *e)
{
    if (e->packer != NULL) {
        e->counts.docs += packer_docs(e->packer);
        e->counts.batches += packer_batches(e->packer);
    }
    download_free(e->download);
    packer_free(e->packer);
    e->download = NULL;
    e->packer = NULL;
}

/* What has come is kept, also when the rest does not. */
static int load(struct errand *e, const struct source *source, struct error *error)
{
    const struct error *fault;
    int result = STEP_OVER;

    if (e->download == NULL && begin_download(e, source, error) != 0)
        return -1;
    download_advance(e->download);
    if (!download_over(e->download))
        return WAITS;
    if (packer_flush(e->packer, error) != 0) {
        result = -1;
    } else if ((fault = download_error(e->download)) != NULL) {
        *error = *fault;
        (void)error_prefix(error, "database %s", source->db);
        if (download_failed(e->download))
            result = -1;
        else
            note(e, error);
    }
    end_download(e);
    return result;
}

static int load_medic(struct errand *e, struct error *error)
{
    return load(e, &e->medic, error);
}

static int load_meta(struct errand *e, struct error *error)
{
    return load(e, &e->meta, error);
}

/* ---- the view ------------------------------------------------------------------------------- */

static int take_deletes(struct errand *e, const struct cht_answer *answer, struct error *error)
{
    if (usable_answer(answer, error) != 0 ||
        gone_take(e->gone, answer->body, answer->size, error) != 0)
        return error_prefix(error, "get-deletes");
    return WAITS; /* there may be more to ask */
}

static int ask_deletes(struct errand *e, struct error *error)
{
    struct cht_question question = {
        .method = "POST", .path = "/api/v1/replication/get-deletes", .most_bytes = SMALL_BYTES};
    const struct buffer *body;
    int found;

    if (!is_complete(e))
        return STEP_OVER;
    found = gone_next(e->gone, store_of(e), e->tablet.name, e->medic.db, &body, error);
    if (found != 1)
        return found < 0 ? -1 : STEP_OVER;
    question.body = body->data;
    question.size = body->length;
    return ask(e, &question, take_deletes, error);
}

/* 1 a view is due, 0 not, -1.  With a complete listing, `since` has the digest of what the last view called
 * gone. */
static int is_due(const struct errand *e, struct listing *listing, char digest[GONE_DIGEST_BYTES],
                  struct error *error)
{
    if (holdings_listing(store_of(e), e->tablet.name, view_db(e), listing, error) != 0 ||
        gone_digest(e->gone, digest, error) != 0)
        return -1;
    return listing->view_due || (digest[0] != '\0' && strcmp(digest, listing->since) != 0);
}

static bool is_hex32(const char *text)
{
    return text != NULL && strlen(text) == STORE_UUID_BYTES - 1 &&
           strspn(text, "0123456789abcdef") == STORE_UUID_BYTES - 1;
}

/* It is good to know, and not more. */
static int take_greeting(struct errand *e, const struct cht_answer *answer, struct error *error)
{
    struct errand_shared *shared = e->shared;
    json_t *json;
    const char *uuid;

    if (answer->result != CHT_ANSWERED)
        return usable_answer(answer, error);
    json = json_loadb(answer->body, answer->size, 0, NULL);
    uuid = json_string_value(json_object_get(json, "uuid"));
    if (answer->status == 200 && is_hex32(uuid))
        (void)snprintf(shared->uuid, sizeof shared->uuid, "%s", uuid);
    shared->uuid_known = true;
    json_decref(json);
    return STEP_OVER;
}

static int greet(struct errand *e, struct error *error)
{
    const struct cht_question question = {
        .method = "GET", .path = "/dbinfo", .most_bytes = SMALL_BYTES};
    char digest[GONE_DIGEST_BYTES];
    struct listing listing;
    int due = is_due(e, &listing, digest, error);

    if (due < 0)
        return -1;
    if (due == 0 || e->shared->uuid_known || !is_complete(e))
        return STEP_OVER;
    return ask(e, &question, take_greeting, error);
}

static int write_view(struct errand *e, struct listing *listing, const char *digest,
                      struct error *error)
{
    struct view_making making = {.tablet = e->tablet.name,
                                 .db = view_db(e),
                                 .user = e->tablet.user,
                                 .server = e->shared->uuid,
                                 .at = e->at};
    int made;

    making.gone = gone_ids(e->gone, &making.gone_count);
    made = view_make(store_of(e), e->shared->options->server, e->recipient, &making, error);
    if (made < 0)
        return -1;
    e->counts.views += (uint64_t)made;
    listing->view_due = false;
    (void)snprintf(listing->since, sizeof listing->since, "%s", digest);
    return holdings_set_listing(store_of(e), e->tablet.name, making.db, listing, error);
}

static int make_view(struct errand *e, struct error *error)
{
    char digest[GONE_DIGEST_BYTES];
    struct listing listing;
    int due = is_due(e, &listing, digest, error);

    if (due != 1)
        return due < 0 ? -1 : STEP_OVER;
    if (store_begin(store_of(e), error) != 0)
        return -1;
    if (write_view(e, &listing, digest, error) != 0) {
        store_rollback(store_of(e));
        return -1;
    }
    return store_commit(store_of(e), error) == 0 ? STEP_OVER : -1;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int (*const steps[])(struct errand *e, struct error *error) = {
    list_medic, list_meta, withdraw, load_medic, load_meta, ask_deletes, greet, make_view,
};
#define STEPS (sizeof steps / sizeof steps[0])

void errand_advance(struct errand *e)
{
    struct error error;
    int result = STEP_OVER;

    while (result == STEP_OVER && !e->abandoned && e->asking == 0 && e->step < STEPS) {
        result = steps[e->step](e, &error);
        if (result == STEP_OVER)
            e->step++;
    }
    if (result >= 0)
        return;
    note(e, &error);
    errand_abandon(e);
}

void errand_abandon(struct errand *e)
{
    e->abandoned = true;
    room_leave(&e->shared->room, e);
    if (e->download != NULL)
        download_abandon(e->download);
}

bool errand_over(const struct errand *e)
{
    if (e->asking != 0 || (e->download != NULL && !download_over(e->download)))
        return false;
    return e->abandoned || e->step == STEPS;
}

const char *errand_tablet(const struct errand *e)
{
    return e->tablet.name;
}

const struct fetch_counts *errand_counts(const struct errand *e)
{
    return &e->counts;
}

const struct error *errand_error(const struct errand *e)
{
    return e->faulty ? &e->error : NULL;
}

struct errand *errand_new(struct errand_shared *shared, const struct station *tablet,
                          X509 *recipient, const struct cht_user *credentials, struct error *error)
{
    struct errand *e = calloc(1, sizeof *e);
    char meta[DOC_DB_BYTES];

    if (e == NULL) {
        (void)error_set(error, ERROR_FAILED, "tablet %s: no memory", tablet->name);
        return NULL;
    }
    e->shared = shared;
    e->tablet = *tablet;
    e->recipient = recipient;
    e->credentials = credentials;
    e->counts.tablets = 1;
    (void)snprintf(meta, sizeof meta, "medic-user-%s-meta", tablet->user);
    e->gone = gone_new(error);
    if (e->gone != NULL &&
        source_open(&e->medic, tablet->name, "medic", shared->options->db,
                    shared->options->selector, error) == 0 &&
        source_open(&e->meta, tablet->name, meta, meta, NULL, error) == 0)
        return e;
    errand_free(e);
    return NULL;
}

void errand_free(struct errand *e)
{
    if (e == NULL)
        return;
    end_download(e);
    gone_free(e->gone);
    source_close(&e->medic);
    source_close(&e->meta);
    free(e);
}
