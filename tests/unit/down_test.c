/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Both ends of the way down against each other, in one process: a tablet, two docks that know nothing of one another, a
 * server that changes, an app that uploads, and couriers that lose, repeat and reorder what they carry; now and then the
 * tablet is begun anew.  However that goes, after a few quiet visits the tablet holds what the server lists, and nobody
 * has anything left to carry.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/dock/packer.h"
#include "host/tablet/inbox.h"
#include "host/tablet/outbox.h"
#include "store/doc.h"
#include "store/holdings.h"
#include "store/receipt.h"
#include "store/shelf.h"
#include "store/streams.h"
#include "store/view.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

#define IDS 16
#define DOCKS 2
#define CARRIED_MOST 4096
#define SERVER "0123456789abcdef0123456789abcdef"

struct revision {
    int generation; /* 0: none */
    unsigned digest, parent;
    bool deleted;
};

/* A batch on its way: couriers never forget it. */
struct carried {
    struct label label;
    struct buffer bytes;
};

struct fixture {
    struct deployment *deployment;
    struct trust *trust;
    char *folders[1 + DOCKS];
    struct store *tablet, *docks[DOCKS];
    struct inbox *inbox;
    struct revision server[IDS], app[IDS];
    unsigned digests; /* given so far */
    uint64_t at;      /* the server's sequence */
    struct carried carried[CARRIED_MOST];
    size_t carried_count;
    uint64_t random;
    unsigned anew_in; /* the tablet is begun anew once in so many steps; 0: never */
    struct error error;
};

#define OK(f, call) STORES_OK((call) == 0, &(f)->error)
#define IS(f, call, expected) STORES_OK((call) == (expected), &(f)->error)

static uint64_t draw(struct fixture *f, uint64_t below)
{
    return stores_random(&f->random) % below;
}

/* ---- revisions ---- */

static void rev_text(const struct revision *r, char text[32])
{
    (void)snprintf(text, 32, "%d-%06u", r->generation, r->digest);
}

static struct revision rev_read(const char *line, size_t size)
{
    struct revision r = {0};
    struct error error;
    struct doc doc;

    STORES_OK(doc_read(line, size, &doc, &error) == 0, &error);
    assert_int_equal(sscanf(doc.rev, "%d-%u", &r.generation, &r.digest), 2);
    r.deleted = doc.deleted;
    return r;
}

static struct revision child_of(struct fixture *f, const struct revision *parent)
{
    return (struct revision){parent->generation + 1, ++f->digests, parent->digest, false};
}

/* The document as a line, with its '\n'. */
static size_t make_line(int id, const struct revision *r, char line[256])
{
    char rev[32];
    int length;

    rev_text(r, rev);
    length = snprintf(
        line, 256,
        "{\"_id\":\"d%02d\",\"_rev\":\"%s\",\"_revisions\":{\"start\":%d,\"ids\":[\"%06u\"", id,
        rev, r->generation, r->digest);
    if (r->generation > 1)
        length += snprintf(line + length, 64, ",\"%06u\"", r->parent);
    return (size_t)(length +
                    snprintf(line + length, 64, "]}%s}\n", r->deleted ? ",\"_deleted\":true" : ""));
}

/* As CouchDB chooses. */
static bool wins(const struct revision *a, const struct revision *b)
{
    if (b->generation == 0 || a->deleted != b->deleted)
        return b->generation == 0 || b->deleted;
    return a->generation != b->generation ? a->generation > b->generation : a->digest > b->digest;
}

/* ---- the server and the app ---- */

static void server_take(struct fixture *f, int id, const struct revision *r)
{
    struct revision *now = &f->server[id];
    bool follows = r->generation == now->generation + 1 && r->parent == now->digest;

    if (follows || wins(r, now))
        *now = *r;
    f->at++;
}

static void server_edits(struct fixture *f)
{
    int id = (int)draw(f, IDS);
    struct revision r = child_of(f, &f->server[id]);

    r.deleted = f->server[id].generation > 0 && draw(f, 4) == 0;
    server_take(f, id, &r);
}

/* Offer a revision to the tablet, as PouchDB does. */
static void upload(struct fixture *f, int id, const struct revision *r)
{
    struct outbox *outbox = outbox_new(f->tablet, f->deployment->tablet, &f->error);
    char line[256];
    size_t size = make_line(id, r, line);

    STORES_OK(outbox != NULL, &f->error);
    OK(f, outbox_begin(outbox, "medic", &f->error));
    OK(f, outbox_add(outbox, line, size - 1, &f->error));
    OK(f, outbox_commit(outbox, &f->error));
    outbox_free(outbox);
}

/* The app writes on top of what it has, or of what the tablet can give it. */
static void app_edits(struct fixture *f)
{
    int id = (int)draw(f, IDS);
    struct shelf_doc doc;
    struct revision r;
    char name[8];

    (void)snprintf(name, sizeof name, "d%02d", id);
    if (shelf_find(f->tablet, "medic", name, NULL, &doc, &f->error) == 1 && !doc.deleted) {
        assert_int_equal(sscanf(doc.rev, "%d-%u", &r.generation, &r.digest), 2);
        if (r.generation > f->app[id].generation)
            f->app[id] = (struct revision){r.generation, r.digest, 0, false};
    }
    r = child_of(f, &f->app[id]);
    f->app[id] = r;
    upload(f, id, &r);
}

/* ---- the tablet ---- */

static void open_tablet(struct fixture *f)
{
    const struct store_options options = {
        .directory = f->folders[0], .station = "t1", .role = "tablet", .reserve_bytes = 4096};

    f->tablet = store_open(&options, &f->error);
    STORES_OK(f->tablet != NULL, &f->error);
    f->inbox = inbox_new(f->deployment->tablet, &f->error);
    STORES_OK(f->inbox != NULL, &f->error);
}

static void close_tablet(struct fixture *f)
{
    inbox_free(f->inbox);
    store_close(f->tablet);
    folder_remove(f->folders[0]);
}

/* Its folder is lost, and all that the app has, or nothing. */
static void begin_anew(struct fixture *f)
{
    bool all = draw(f, 2) == 0;

    close_tablet(f);
    f->folders[0] = folder_new();
    open_tablet(f);
    for (int id = 0; id < IDS; id++) {
        if (all)
            f->app[id] = (struct revision){0};
        else if (f->app[id].parent != 0 || f->app[id].generation == 1)
            upload(f, id, &f->app[id]); /* PouchDB offers everything to another uuid */
    }
}

static void tablet_works(struct fixture *f)
{
    struct batch_counts counts;
    int result;

    do {
        result = inbox_work(f->inbox, f->tablet, f->trust, &f->error);
        STORES_OK(result >= 0, &f->error);
    } while (result == 1);
    OK(f, batches_count(f->tablet, NULL, &counts, &f->error));
    assert_int_equal(counts.aside, 0);
}

/* ---- a dock's turn ---- */

static void take_opened(struct fixture *f, struct store *dock, const struct opened_batch *opened,
                        const struct label *label)
{
    const char *line;
    size_t at = 0, length;
    uint64_t freed;

    OK(f, store_begin(dock, &f->error));
    if (strcmp(opened->manifest.kind, "receipt") == 0) {
        OK(f, receipt_apply(dock, opened, label, &freed, &f->error));
    } else {
        while (opened_batch_line(opened, &at, &line, &length) == 1) {
            struct revision r = rev_read(line, length);
            const char *ids = strstr(line, "\"ids\":[\"");
            const char *parent = memchr(ids, ',', (size_t)(line + length - ids));

            r.parent =
                parent != NULL && parent[1] == '"' ? (unsigned)strtoul(parent + 2, NULL, 10) : 0;
            server_take(f, (int)strtol(strstr(line, "\"d") + 2, NULL, 10), &r);
        }
        OK(f, batches_apply(dock, label, false, &f->error));
        OK(f, streams_set_due(dock, "t1", true, &f->error));
    }
    OK(f, store_commit(dock, &f->error));
}

static void take_uploads(struct fixture *f, struct store *dock)
{
    const struct batch_filter held = {.to = SERVER_NAME, .state = BATCH_HELD};
    struct batch batch = {0};
    int found;

    while ((found = batches_next(dock, &held, batch.position, &batch, &f->error)) == 1) {
        struct opened_batch opened;
        struct buffer bytes = {0};

        OK(f, batches_load(dock, batch.label.id, &bytes, &f->error));
        OK(f, batch_open(f->deployment->server, f->trust, &batch.label, bytes.data, bytes.length,
                         &opened, NULL, &f->error));
        take_opened(f, dock, &opened, &batch.label);
        opened_batch_free(&opened);
        buffer_free(&bytes);
    }
    OK(f, found);
}

static void list(struct fixture *f, struct store *dock)
{
    unsigned char stale[BATCH_ID_BYTES];
    char id[8], rev[32];
    int found;

    OK(f, holdings_list_begin(dock, &f->error));
    for (int i = 0; i < IDS; i++) {
        if (f->server[i].generation == 0 || f->server[i].deleted)
            continue;
        (void)snprintf(id, sizeof id, "d%02d", i);
        rev_text(&f->server[i], rev);
        OK(f, holdings_list(dock, id, rev, &f->error));
    }
    OK(f, holdings_listed_all(dock, "t1", "medic", NULL, &f->error));
    OK(f, store_begin(dock, &f->error));
    while ((found = holdings_next_stale(dock, "t1", stale, &f->error)) == 1)
        OK(f, holdings_withdraw(dock, "t1", stale, &f->error));
    OK(f, found);
    OK(f, store_commit(dock, &f->error));
}

static void fetch(struct fixture *f, struct store *dock)
{
    const struct packer_options options = {.store = dock,
                                           .server = f->deployment->server,
                                           .recipient = identity_certificate(f->deployment->tablet),
                                           .tablet = "t1",
                                           .user = "chw1",
                                           .db = "medic"};
    struct packer *packer = packer_new(&options, &f->error);
    const struct holding *after = NULL;
    struct holding needed;
    char line[256];
    int found;

    STORES_OK(packer != NULL, &f->error);
    while ((found = holdings_next_needed(dock, "t1", "medic", after, &needed, &f->error)) == 1) {
        int id = (int)strtol(needed.id + 1, NULL, 10);

        OK(f, packer_add(packer, needed.id, needed.rev, line, make_line(id, &f->server[id], line),
                         &f->error));
        if (draw(f, 3) == 0)
            OK(f, packer_flush(packer, &f->error));
        after = &needed;
    }
    OK(f, found);
    OK(f, packer_flush(packer, &f->error));
    packer_free(packer);
}

static void make_view(struct fixture *f, struct store *dock)
{
    struct view_making making = {
        .tablet = "t1", .db = "medic", .user = "chw1", .server = SERVER, .at = f->at};
    struct holding gone[IDS];
    const char *ids[IDS];
    struct listing listing;
    const char *after = NULL;

    while (holdings_next_unlisted(dock, "t1", "medic", after, &gone[making.gone_count],
                                  &f->error) == 1) {
        after = ids[making.gone_count] = gone[making.gone_count].id;
        making.gone_count++;
    }
    making.gone = ids;
    OK(f, holdings_listing(dock, "t1", "medic", &listing, &f->error));
    if (!listing.view_due && making.gone_count == 0)
        return;
    listing.view_due = false;
    OK(f, store_begin(dock, &f->error));
    IS(f,
       view_make(dock, f->deployment->server, identity_certificate(f->deployment->tablet), &making,
                 &f->error),
       1);
    OK(f, holdings_set_listing(dock, "t1", "medic", &listing, &f->error));
    OK(f, store_commit(dock, &f->error));
}

static void dock_works(struct fixture *f, struct store *dock)
{
    int due;

    take_uploads(f, dock);
    list(f, dock);
    fetch(f, dock);
    make_view(f, dock);
    due = streams_is_due(dock, "t1", &f->error);
    STORES_OK(due >= 0, &f->error);
    if (due == 0)
        return;
    OK(f, store_begin(dock, &f->error));
    STORES_OK(receipt_make(dock, f->deployment->server, "t1",
                           identity_certificate(f->deployment->tablet), &f->error) >= 0,
              &f->error);
    OK(f, store_commit(dock, &f->error));
}

/* ---- couriers ---- */

static void give(struct fixture *f, struct store *to, const struct carried *carried)
{
    OK(f, store_begin(to, &f->error));
    OK(f, batches_add(to, &carried->label, carried->bytes.data, carried->bytes.length, &f->error));
    OK(f, store_commit(to, &f->error));
}

/* Take what FROM holds for MAIL; GIVE_TO (may be NULL) gets it at once. */
static void take(struct fixture *f, struct store *from, const char *mail, struct store *give_to)
{
    const struct batch_filter held = {.to = mail, .state = BATCH_HELD};
    struct batch batch = {0};
    int found;

    while ((found = batches_next(from, &held, batch.position, &batch, &f->error)) == 1) {
        struct carried *carried = &f->carried[f->carried_count];

        carried->label = batch.label;
        OK(f, batches_load(from, batch.label.id, &carried->bytes, &f->error));
        if (give_to != NULL)
            give(f, give_to, carried);
        if (f->carried_count + 1 < CARRIED_MOST)
            f->carried_count++;
        else
            buffer_free(&carried->bytes);
    }
    OK(f, found);
}

/* Some courier hands over something, old or new, or once more. */
static void deliver(struct fixture *f)
{
    const struct carried *carried;

    if (f->carried_count == 0)
        return;
    carried = &f->carried[draw(f, f->carried_count)];
    if (draw(f, 2) == 0 && f->carried_count > 20)
        carried = &f->carried[f->carried_count - 1 - draw(f, 20)];
    give(f, strcmp(carried->label.to, "t1") == 0 ? f->tablet : f->docks[draw(f, DOCKS)], carried);
}

/* ---- a long time, then a few quiet visits ---- */

static void step(struct fixture *f)
{
    switch (draw(f, 10)) {
    case 0:
    case 1:
        server_edits(f);
        break;
    case 2:
        app_edits(f);
        break;
    case 3:
        tablet_works(f);
        break;
    case 4:
        dock_works(f, f->docks[draw(f, DOCKS)]);
        break;
    case 5:
        take(f, f->tablet, SERVER_NAME, NULL);
        break;
    case 6:
        take(f, f->docks[draw(f, DOCKS)], "t1", NULL);
        break;
    default:
        deliver(f);
    }
    if (f->anew_in > 0 && draw(f, f->anew_in) == 0)
        begin_anew(f);
}

static void visit_quietly(struct fixture *f, int which)
{
    tablet_works(f);
    take(f, f->tablet, SERVER_NAME, f->docks[which]);
    dock_works(f, f->docks[which]);
    take(f, f->docks[which], "t1", f->tablet);
    tablet_works(f);
    take(f, f->tablet, SERVER_NAME, f->docks[which]);
    dock_works(f, f->docks[which]);
}

static bool is_here(struct fixture *f, const char *id, const char *rev)
{
    struct rev_here here = {{0}, {0}, {0}};

    while (revs_next_here(f->tablet, &here, &here, &f->error) == 1)
        if (strcmp(here.id, id) == 0 && strcmp(here.rev, rev) == 0)
            return true;
    return false;
}

/* The tablet answers what the server shows, and can give it or has had it from the app. */
static void expect_equal(struct fixture *f)
{
    struct rev_here here = {{0}, {0}, {0}};
    char id[DOC_ID_BYTES] = "", rev[DOC_REV_BYTES], name[8], text[32];
    int walked = 0, found;

    for (int i = 0; i < IDS; i++) {
        if (f->server[i].generation == 0 || f->server[i].deleted)
            continue;
        (void)snprintf(name, sizeof name, "d%02d", i);
        rev_text(&f->server[i], text);
        IS(f, view_next(f->tablet, "medic", id, id, rev, &f->error), 1);
        assert_string_equal(id, name);
        assert_string_equal(rev, text);
        if (!is_here(f, id, rev))
            fail_msg("%s %s is not here", id, rev);
        walked++;
    }
    IS(f, view_next(f->tablet, "medic", id, id, rev, &f->error), 0);
    /* Nothing is held of what the server does not have. */
    while ((found = revs_next_here(f->tablet, &here, &here, &f->error)) == 1) {
        const struct revision *r = &f->server[strtol(here.id + 1, NULL, 10)];

        if (r->generation == 0 || r->deleted)
            fail_msg("%s %s is held and gone", here.id, here.rev);
    }
    OK(f, found);
}

static void expect_nothing_left(struct fixture *f, struct store *store, const char *to)
{
    const struct batch_filter filter = {.to = to};
    struct batch_counts counts;

    OK(f, batches_count(store, &filter, &counts, &f->error));
    assert_int_equal(counts.held + counts.partial + counts.aside, 0);
}

static int expect_no_gap(const struct stream *stream, void *context)
{
    (void)context;
    if (stream->contiguous != stream->highest)
        fail_msg("%s to %s of %s: %llu of %llu", stream->from, stream->to, stream->epoch,
                 (unsigned long long)stream->contiguous, (unsigned long long)stream->highest);
    return 0;
}

static void run(struct fixture *f, unsigned steps)
{
    struct holding needed;

    for (unsigned i = 0; i < steps; i++)
        step(f);
    app_edits(
        f); /* so that the tablet has something new to say, whatever old receipts were brought */
    for (int i = 0; i < 6; i++)
        visit_quietly(f, i % DOCKS);
    expect_equal(f);
    expect_nothing_left(f, f->tablet, SERVER_NAME);
    expect_nothing_left(f, f->tablet, "t1");
    if (f->anew_in == 0)
        OK(f, streams_each(f->tablet, expect_no_gap, NULL, &f->error));
    for (int i = 0; i < DOCKS; i++) {
        expect_nothing_left(f, f->docks[i], "t1");
        expect_nothing_left(f, f->docks[i], SERVER_NAME);
        IS(f, holdings_next_needed(f->docks[i], "t1", "medic", NULL, &needed, &f->error), 0);
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->deployment = deployment_new();
    f->trust = deployment_trust(f->deployment, false);
    for (int i = 0; i < 1 + DOCKS; i++)
        f->folders[i] = folder_new();
    open_tablet(f);
    for (int i = 0; i < DOCKS; i++) {
        const struct store_options options = {.directory = f->folders[1 + i],
                                              .station = i == 0 ? "dock" : "dock2",
                                              .role = "dock",
                                              .reserve_bytes = 4096};

        f->docks[i] = store_open(&options, &f->error);
        STORES_OK(f->docks[i] != NULL, &f->error);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    close_tablet(f);
    for (int i = 0; i < DOCKS; i++) {
        store_close(f->docks[i]);
        folder_remove(f->folders[1 + i]);
    }
    while (f->carried_count > 0)
        buffer_free(&f->carried[--f->carried_count].bytes);
    trust_free(f->trust);
    deployment_free(f->deployment);
    free(f);
    return 0;
}

static void test_first_visit(void **state)
{
    struct fixture *f = *state;

    f->random = 1;
    for (int i = 0; i < 40; i++)
        server_edits(f);
    run(f, 0);
}

/* What was withdrawn leaves no gap in the tablet's streams. */
static void test_a_tablet_that_lasts(void **state)
{
    struct fixture *f = *state;

    f->random = stores_seed();
    for (int i = 0; i < 2; i++)
        run(f, 300);
}

static void test_a_tablet_that_is_begun_anew(void **state)
{
    struct fixture *f = *state;

    f->random = stores_seed();
    f->anew_in = 100;
    for (int i = 0; i < 3; i++)
        run(f, 300);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_first_visit),
        TEST(test_a_tablet_that_lasts),
        TEST(test_a_tablet_that_is_begun_anew),
    };

    log_set_level("warning");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
