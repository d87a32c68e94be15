/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support/folder.h"
#include "tests/unit/support/shelved.h"
#include "tests/unit/support/stores.h"

#define PIECE_BYTES 4099

int shelved_set_up(void **state)
{
    struct shelved *s = calloc(1, sizeof *s);
    struct store_options options = {.station = "t1", .role = "tablet", .reserve_bytes = 4096};

    assert_non_null(s);
    s->deployment = deployment_new();
    s->trust = deployment_trust(s->deployment, false);
    s->folder = folder_new();
    options.directory = s->folder;
    s->store = store_open(&options, &s->error);
    STORES_OK(s->store != NULL, &s->error);
    s->inbox = inbox_new(s->deployment->tablet, &s->error);
    s->service.store = s->store;
    s->service.identity = s->deployment->tablet;
    s->service.outbox = outbox_new(s->store, s->deployment->tablet, &s->error);
    s->service.opened = opened_new(s->store, s->deployment->tablet, &s->error);
    STORES_OK(s->inbox != NULL && s->service.outbox != NULL && s->service.opened != NULL,
              &s->error);
    *state = s;
    return 0;
}

int shelved_tear_down(void **state)
{
    struct shelved *s = *state;

    assert_int_equal(s->service.held_bytes, 0);
    opened_free(s->service.opened);
    outbox_free(s->service.outbox);
    inbox_free(s->inbox);
    store_close(s->store);
    folder_remove(s->folder);
    trust_free(s->trust);
    deployment_free(s->deployment);
    free(s);
    return 0;
}

void shelved_receive(struct shelved *s, const char *kind, const char *db, const char *lines)
{
    struct manifest manifest = {.seq = ++s->seq};
    struct buffer bytes = {0};
    struct label label;

    (void)snprintf(manifest.from, sizeof manifest.from, "%s", SERVER_NAME);
    (void)snprintf(manifest.to, sizeof manifest.to, "t1");
    (void)snprintf(manifest.epoch, sizeof manifest.epoch, "%s", STORES_EPOCH);
    (void)snprintf(manifest.kind, sizeof manifest.kind, "%s", kind);
    (void)snprintf(manifest.db, sizeof manifest.db, "%s", db);
    for (const char *at = lines; *at != '\0'; at++)
        manifest.docs += *at == '\n';
    STORES_OK(batch_seal(s->deployment->server, identity_certificate(s->deployment->tablet),
                         &manifest, lines, strlen(lines), &bytes, &label, &s->error) == 0 &&
                  store_begin(s->store, &s->error) == 0 &&
                  batches_add(s->store, &label, bytes.data, bytes.length, &s->error) == 0 &&
                  store_commit(s->store, &s->error) == 0 &&
                  inbox_work(s->inbox, s->store, s->trust, &s->error) == 1,
              &s->error);
    buffer_free(&bytes);
}

char *shelved_ask(struct shelved *s, const char *method, const char *uri, const char *accept,
                  const char *body, unsigned *status, size_t *size)
{
    struct request request;
    size_t length = body != NULL ? strlen(body) : 0;
    struct buffer whole = {0};
    enum answer_step step = ANSWER_MORE;

    routes_begin(&request, &s->service, method, uri);
    request.accept = accept;
    for (size_t at = 0; at < length; at += PIECE_BYTES)
        routes_body(&request, body + at, length - at < PIECE_BYTES ? length - at : PIECE_BYTES);
    routes_end(&request);
    *status = request.answer.status;
    for (;;) {
        STORES_OK(
            buffer_append(&whole,
                          request.answer.body.data != NULL ? (char *)request.answer.body.data : "",
                          request.answer.body.length, &s->error) == 0,
            &s->error);
        request.answer.body.length = 0;
        if (request.answer.more == NULL || step == ANSWER_WAIT || step == ANSWER_FAILED)
            break;
        step = routes_more(&request, &s->error);
    }
    if (step == ANSWER_FAILED)
        *status = 0;
    STORES_OK(buffer_append(&whole, "", 1, &s->error) == 0, &s->error);
    if (size != NULL)
        *size = whole.length - 1;
    routes_free(&request);
    return (char *)whole.data;
}

void shelved_expect(struct shelved *s, const char *method, const char *uri, const char *body,
                    unsigned status, const char *text)
{
    unsigned got;
    char *answer = shelved_ask(s, method, uri, "application/json", body, &got, NULL);
    bool right = text[0] == '*'   ? strstr(answer, text + 1) != NULL
                 : text[0] == '!' ? strstr(answer, text + 1) == NULL
                                  : strcmp(answer, text) == 0;

    if (got != status || !right)
        fail_msg("%s %s: %u %s\nand not: %u %s", method, uri, got, answer, status, text);
    free(answer);
}
