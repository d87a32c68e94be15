/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/ends.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support/folder.h"

#define LIMIT_BYTES (192u << 10)
#define TURN_MS 20
#define LONGEST_MS 60000

void end_open(struct end *end, const struct identity *identity, struct deployment *deployment,
              const struct store_options *options)
{
    struct store_options own = {0};
    struct error error;

    if (end->folder == NULL)
        end->folder = folder_new();
    if (options != NULL)
        own = *options;
    own.directory = end->folder;
    own.station = identity_name(identity);
    own.role = role_name(identity_role(identity));
    if (own.reserve_bytes == 0)
        own.reserve_bytes = 1 << 20;
    end->identity = identity;
    end->store = store_open(&own, &error);
    STORES_OK(end->store != NULL, &error);
    if (end->trust == NULL)
        end->trust = deployment_trust(deployment, false);
    STORES_OK(station_read(identity_certificate(identity), &end->self, &error) == 0, &error);
}

void end_close(struct end *end)
{
    exchange_free(end->exchange);
    store_close(end->store);
    trust_free(end->trust);
    if (end->folder != NULL)
        folder_remove(end->folder);
    buffer_free(&end->out);
    memset(end, 0, sizeof *end);
}

static const char *mail_of(const struct end *end)
{
    return end->self.role == ROLE_DOCK ? SERVER_NAME : end->self.name;
}

struct ends *ends_new(struct deployment *deployment, const struct identity *host,
                      const struct identity *gadget)
{
    struct ends *ends = calloc(1, sizeof *ends);

    assert_non_null(ends);
    ends->deployment = deployment;
    end_open(&ends->host, host, deployment, NULL);
    end_open(&ends->gadget, gadget, deployment, NULL);
    return ends;
}

void ends_free(struct ends *ends)
{
    end_close(&ends->host);
    end_close(&ends->gadget);
    free(ends);
}

void ends_plug(struct ends *ends, struct end *host)
{
    struct end before = ends->host;

    ends->host = *host;
    *host = before;
}

void ends_connect(struct ends *ends)
{
    struct exchange_options host = {.store = ends->host.store,
                                    .trust = ends->host.trust,
                                    .self = &ends->host.self,
                                    .peer = &ends->gadget.self,
                                    .peer_certificate = identity_certificate(ends->gadget.identity),
                                    .own_mail = mail_of(&ends->host),
                                    .tablets = ends->tablets};
    struct exchange_options gadget = {.store = ends->gadget.store,
                                      .trust = ends->gadget.trust,
                                      .self = &ends->gadget.self,
                                      .peer = &ends->host.self,
                                      .peer_certificate =
                                          identity_certificate(ends->host.identity)};
    struct error error;

    ends->host.exchange = exchange_host_new(&host, &error);
    STORES_OK(ends->host.exchange != NULL, &error);
    ends->gadget.exchange = exchange_gadget_new(&gadget, &error);
    STORES_OK(ends->gadget.exchange != NULL, &error);
    ends->host.failed = ends->gadget.failed = ends->cut = false;
    ends->moved_bytes = 0;
    ends->frames_from_host = ends->frames_from_gadget = 0;
}

void ends_disconnect(struct ends *ends)
{
    exchange_free(ends->host.exchange);
    exchange_free(ends->gadget.exchange);
    ends->host.exchange = ends->gadget.exchange = NULL;
    ends->host.out.length = ends->gadget.out.length = 0;
}

static void note(struct end *end, int result)
{
    if (result != 0)
        end->failed = true;
}

/* All whole frames that FROM has put out, to TO; 1 if there were any. */
static bool deliver(struct ends *ends, struct end *from, struct end *to)
{
    struct frame frame;
    size_t at = 0, used;
    struct error error;

    while (!ends->cut &&
           frame_decode(from->out.data + at, from->out.length - at, &frame, &used, &error) == 1) {
        ends->moved_bytes += used;
        if (ends->cut_at_byte != 0 && ends->moved_bytes > ends->cut_at_byte) {
            ends->cut = true;
            break;
        }
        if (ends->meddle != NULL) {
            ends->meddle(ends, from == &ends->host, from->out.data + at, used);
            frame.type = from->out.data[at];
            frame.flags = from->out.data[at + 1];
        }
        (*(from == &ends->host ? &ends->frames_from_host : &ends->frames_from_gadget))++;
        at += used;
        if (exchange_phase(to->exchange) != EXCHANGE_OVER)
            note(to, exchange_receive(to->exchange, &frame, &to->error));
    }
    buffer_consume(&from->out, at);
    return at > 0;
}

static void speak(struct ends *ends, struct end *end)
{
    struct error error;

    note(end,
         exchange_send(end->exchange, &end->out, LIMIT_BYTES, end->failed ? &error : &end->error));
    (void)ends;
}

static bool both_over(const struct ends *ends)
{
    return exchange_phase(ends->host.exchange) == EXCHANGE_OVER &&
           exchange_phase(ends->gadget.exchange) == EXCHANGE_OVER;
}

void ends_run(struct ends *ends)
{
    int64_t until_ms = ends->now_ms + LONGEST_MS;
    unsigned quiet = 0;

    while (!ends->cut && !both_over(ends) && quiet < 3) {
        bool moved;

        speak(ends, &ends->host);
        moved = deliver(ends, &ends->host, &ends->gadget);
        speak(ends, &ends->gadget);
        moved |= deliver(ends, &ends->gadget, &ends->host);
        if (ends->host.failed || ends->gadget.failed) {
            /* The other end hears the ERROR, and that is all. */
            if (!moved)
                break;
            continue;
        }
        if (moved)
            continue;
        ends->now_ms += TURN_MS;
        if (ends->now_ms >= until_ms) {
            assert_true(ends->may_stall);
            ends->stalled = true;
            break;
        }
        note(&ends->host, exchange_tick(ends->host.exchange, ends->now_ms, &ends->host.error));
        note(&ends->gadget,
             exchange_tick(ends->gadget.exchange, ends->now_ms, &ends->gadget.error));
        quiet = exchange_phase(ends->host.exchange) == EXCHANGE_IDLE ? quiet + 1 : 0;
    }
}

void ends_visit(struct ends *ends, struct exchange_counts *host, struct exchange_counts *gadget)
{
    ends_connect(ends);
    ends_run(ends);
    STORES_OK(!ends->host.failed, &ends->host.error);
    STORES_OK(!ends->gadget.failed, &ends->gadget.error);
    assert_false(ends->cut);
    if (host != NULL)
        *host = *exchange_counts(ends->host.exchange);
    if (gadget != NULL)
        *gadget = *exchange_counts(ends->gadget.exchange);
    ends_disconnect(ends);
}

uint64_t ends_count(const struct end *end, enum batch_state state)
{
    struct batch_filter filter = {0};
    struct batch_counts counts;
    struct error error;

    STORES_OK(batches_count(end->store, &filter, &counts, &error) == 0, &error);
    switch (state) {
    case BATCH_PARTIAL:
        return counts.partial;
    case BATCH_HELD:
        return counts.held;
    case BATCH_ASIDE:
        return counts.aside;
    default:
        return counts.applied;
    }
}
