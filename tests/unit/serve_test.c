/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/tablet: what is served from the shelf, in CouchDB's and CHT's shapes: bytes as they came, cut as asked for;
 * each batch opened once where that is enough.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/streams.h"
#include "tests/unit/support/shelved.h"
#include "tests/unit/support/stores.h"

#define A1 \
    "{\"_id\":\"a\",\"_rev\":\"1-aa\",\"_revisions\":{\"start\":1,\"ids\":[\"aa\"]},\"n\":1.50}"
#define A2 "{\"_revisions\":{\"start\":2,\"ids\":[\"ab\",\"aa\"]},\"_id\":\"a\",\"_rev\":\"2-ab\"}"
#define A2_CONFLICT \
    "{\"_id\":\"a\",\"_rev\":\"2-aa\",\"_revisions\":{\"start\":2,\"ids\":[\"aa\",\"a0\"]}}"
#define GONE \
    "{\"_id\":\"g\",\"_rev\":\"3-g\",\"_deleted\":true,\"_revisions\":{\"start\":3,\"ids\":[\"g\",\"f\",\"e\"]}}"
#define PHOTO                                                                                        \
    "{\"_id\":\"p\",\"_attachments\":{\"a/b.txt\":{\"content_type\":\"text/plain\",\"revpos\":1,"    \
    "\"digest\":\"md5-x\",\"data\":\"aGVsbG8\\/Pz8=\"},\"empty\":{\"data\":\"\"}},\"_rev\":\"1-p\"," \
    "\"_revisions\":{\"start\":1,\"ids\":[\"p\"]}}"

static void receive(struct shelved *s, const char *lines)
{
    shelved_receive(s, "docs", "medic", lines);
}

static void test_changes(void **state)
{
    struct shelved *s = *state;

    shelved_expect(s, "GET", "/medic/_changes", NULL, 200,
                   "{\"results\":[\n\n],\n\"last_seq\":0,\"pending\":0}\n");
    receive(s, A1 "\n" GONE "\n");
    receive(s, A2 "\n" A2_CONFLICT "\n");
    shelved_expect(
        s, "GET", "/medic/_changes?style=all_docs", NULL, 200,
        "{\"results\":[\n{\"seq\":2,\"id\":\"g\",\"changes\":[{\"rev\":\"3-g\"}],\"deleted\":true},\n"
        "{\"seq\":4,\"id\":\"a\",\"changes\":[{\"rev\":\"2-ab\"},{\"rev\":\"2-aa\"}]}\n],\n"
        "\"last_seq\":4,\"pending\":0}\n");
    shelved_expect(
        s, "GET", "/medic/_changes?limit=0", NULL, 200,
        "{\"results\":[\n{\"seq\":2,\"id\":\"g\",\"changes\":[{\"rev\":\"3-g\"}],\"deleted\":true}\n],\n"
        "\"last_seq\":2,\"pending\":1}\n");
    shelved_expect(s, "GET", "/medic/_changes?since=2", NULL, 200,
                   "*\"changes\":[{\"rev\":\"2-ab\"}]}\n]");
    shelved_expect(s, "GET", "/medic/_changes?since=2", NULL, 200, "!\"id\":\"g\"");
    shelved_expect(s, "GET", "/medic/_changes?since=now", NULL, 200, "*[\n\n],\n\"last_seq\":4,");
    shelved_expect(s, "GET", "/medic/_changes?since=99999999999999999999999", NULL, 200,
                   "*[\n\n],\n\"last_seq\":4,");
    shelved_expect(s, "GET", "/medic/_changes?descending=true&limit=1", NULL, 200,
                   "*{\"results\":[\n{\"seq\":4,\"id\":\"a\"");
    shelved_expect(s, "GET", "/medic/_changes?limit=99999999999999999999999", NULL, 200,
                   "*\"pending\":0}");
    shelved_expect(s, "GET", "/medic/_changes?include_docs=true", NULL, 200,
                   "*{\"seq\":4,\"id\":\"a\",\"changes\":[{\"rev\":\"2-ab\"}],"
                   "\"doc\":{\"_id\":\"a\",\"_rev\":\"2-ab\"}}\n]");
    shelved_expect(s, "GET", "/medic-user-chw1-meta/_changes", NULL, 200, "*[\n\n]");
    shelved_expect(s, "GET", "/medic", NULL, 200,
                   "*\"doc_count\":2,\"doc_del_count\":0,\"update_seq\":4,");
}

static void test_bad_changes(void **state)
{
    static const char *const queries[] = {
        "since=-1",
        "since=x",
        "since=",
        "since=1.5",
        "since=1x",
        "limit=-1",
        "limit=x",
        "style=none",
        "feed=continuous",
        "feed=eventsource",
        "feed=",
        "filter=_view",
        "filter=_selector",
        "filter=app/by",
        "descending=yes",
        "heartbeat=soon",
        "timeout=-5",
        "include_docs=1",
        "filter=_doc_ids",
        "filter=_doc_ids&doc_ids=1",
        "filter=_doc_ids&doc_ids=[1]",
        "filter=_doc_ids&doc_ids=[\"a\"",
        "a=1%00",
    };
    struct shelved *s = *state;
    char uri[200];

    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        (void)snprintf(uri, sizeof uri, "/medic/_changes?%s", queries[i]);
        shelved_expect(s, "GET", uri, NULL, 400, "*{\"error\":\"bad_request\",");
    }
    shelved_expect(s, "POST", "/medic/_changes?filter=_doc_ids", "{", 400, "*invalid");
    shelved_expect(s, "POST", "/medic/_changes?filter=_doc_ids", "{}", 400, "*doc_ids");
    shelved_expect(s, "POST", "/medic/_changes?filter=_doc_ids", "{\"doc_ids\":{}}", 400,
                   "*doc_ids");
    shelved_expect(s, "DELETE", "/medic/_changes", NULL, 405, "*Only GET,HEAD,POST allowed");
    shelved_expect(s, "GET", "/medic/_changes/x", NULL, 404, "*missing");
    (void)snprintf(
        uri, sizeof uri, "/medic/_changes?%s",
        "a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&"
        "a=1&a=1&a=1&a=1&a=1");
    shelved_expect(s, "GET", uri, NULL, 400, "*more than 24");
}

static void test_changes_of_ids(void **state)
{
    struct shelved *s = *state;
    struct buffer body = {0};

    receive(s, A1 "\n" GONE "\n" PHOTO "\n");
    shelved_expect(s, "GET", "/medic/_changes?filter=_doc_ids&doc_ids=%5B%22p%22%2C%22x%22%5D",
                   NULL, 200,
                   "{\"results\":[\n{\"seq\":3,\"id\":\"p\",\"changes\":[{\"rev\":\"1-p\"}]}\n],\n"
                   "\"last_seq\":3,\"pending\":0}\n");
    STORES_OK(buffer_printf(&body, &s->error, "{\"doc_ids\":[\"a\"") == 0, &s->error);
    for (int i = 0; i < 10000; i++)
        STORES_OK(buffer_printf(&body, &s->error, ",\"0f9ae2f4-6a4e-4b52-a9f4-3c2c7f1b%04d\"", i) ==
                      0,
                  &s->error);
    STORES_OK(buffer_append(&body, "]}", 3, &s->error) == 0, &s->error);
    shelved_expect(s, "POST", "/medic/_changes?filter=_doc_ids", (char *)body.data, 200,
                   "{\"results\":[\n{\"seq\":1,\"id\":\"a\",\"changes\":[{\"rev\":\"1-aa\"}]}\n],\n"
                   "\"last_seq\":3,\"pending\":0}\n");
    buffer_free(&body);
    shelved_expect(s, "POST", "/medic/_changes?filter=_doc_ids", "{\"doc_ids\":[]}", 200,
                   "*[\n\n]");
}

/* Nothing new: the answer begins and waits; with something new it comes to its end. */
static void test_longpoll(void **state)
{
    struct shelved *s = *state;
    struct request request;
    struct error error;

    receive(s, A1 "\n");
    shelved_expect(s, "GET", "/medic/_changes?feed=longpoll", NULL, 200, "*\"last_seq\":1,");
    routes_begin(&request, &s->service, "GET",
                 "/medic/_changes?feed=longpoll&since=1&heartbeat=5000");
    routes_end(&request);
    assert_int_equal(request.answer.status, 200);
    assert_int_equal(routes_more(&request, &error), ANSWER_WAIT);
    assert_int_equal(request.answer.body.length, strlen("{\"results\":[\n"));
    receive(s, GONE "\n");
    assert_int_equal(routes_more(&request, &error), ANSWER_END);
    assert_non_null(
        memmem(request.answer.body.data, request.answer.body.length, "\"last_seq\":2", 12));
    routes_free(&request);

    shelved_expect(s, "GET", "/medic/_changes?feed=longpoll&since=2&timeout=0", NULL, 200,
                   "{\"results\":[\n\n],\n\"last_seq\":2,\"pending\":0}\n");
}

static void test_bulk_get(void **state)
{
    struct shelved *s = *state;

    receive(s, A1 "\n" PHOTO "\n");
    shelved_expect(
        s, "POST", "/medic/_bulk_get?revs=true&attachments=true",
        "{\"docs\":[{\"id\":\"p\",\"rev\":\"1-p\"},{\"id\":\"a\",\"rev\":\"1-aa\"},"
        "{\"id\":\"x\\\"\",\"rev\":\"1-x\"}]}",
        200,
        "{\"results\":[\n{\"id\":\"p\",\"docs\":[{\"ok\":" PHOTO "}]},\n"
        "{\"id\":\"a\",\"docs\":[{\"ok\":" A1 "}]},\n"
        "{\"id\":\"x\\\"\",\"docs\":[{\"error\":{\"id\":\"x\\\"\",\"rev\":\"1-x\",\"error\":\"not_found\","
        "\"reason\":\"missing\"}}]}\n]}\n");
    shelved_expect(
        s, "POST", "/medic/_bulk_get", "{\"docs\":[{\"id\":\"p\",\"rev\":\"1-p\"},{\"id\":\"a\"}]}",
        200,
        "{\"results\":[\n{\"id\":\"p\",\"docs\":[{\"ok\":{\"_id\":\"p\",\"_attachments\":{\"a/b.txt\":"
        "{\"content_type\":\"text/plain\",\"revpos\":1,\"digest\":\"md5-x\",\"length\":8,\"stub\":true},"
        "\"empty\":{\"length\":0,\"stub\":true}},\"_rev\":\"1-p\"}}]},\n"
        "{\"id\":\"a\",\"docs\":[{\"ok\":{\"_id\":\"a\",\"_rev\":\"1-aa\",\"n\":1.50}}]}\n]}\n");
    shelved_expect(s, "POST", "/medic/_bulk_get", "{\"docs\":[]}", 200, "{\"results\":[\n\n]}\n");
    shelved_expect(s, "POST", "/medic/_bulk_get", "{}", 400, "*docs");
    shelved_expect(s, "POST", "/medic/_bulk_get", "{\"docs\":[{\"rev\":\"1-a\"}]}", 400, "*`id`");
    shelved_expect(s, "POST", "/medic/_bulk_get", "{\"docs\":[{\"id\":\"a\",\"rev\":1}]}", 400,
                   "*`rev`");
    shelved_expect(s, "POST", "/medic/_bulk_get", "{\"docs\":[1]}", 400, "*bad_request");
    shelved_expect(s, "POST", "/medic/_bulk_get", "{\"docs\":1}", 400, "*must be an array");
    shelved_expect(s, "POST", "/medic/_bulk_get", "{\"docs\":[{\"id\"", 400, "*invalid");
    shelved_expect(s, "POST", "/medic/_bulk_get?revs=2", "{\"docs\":[]}", 400, "*`revs`");
    shelved_expect(s, "GET", "/medic/_bulk_get", NULL, 405, "*Only POST");
}

static void test_latest(void **state)
{
    struct shelved *s = *state;

    receive(s, A2 "\n");
    shelved_expect(s, "POST", "/medic/_bulk_get?latest=true&revs=true",
                   "{\"docs\":[{\"id\":\"a\",\"rev\":\"1-aa\"}]}", 200, "*{\"ok\":" A2 "}");
    shelved_expect(s, "POST", "/medic/_bulk_get?latest=true",
                   "{\"docs\":[{\"id\":\"a\",\"rev\":\"1-zz\"}]}", 200,
                   "*\"rev\":\"1-zz\",\"error\":\"not_found\"");
    shelved_expect(s, "POST", "/medic/_bulk_get", "{\"docs\":[{\"id\":\"a\",\"rev\":\"1-aa\"}]}",
                   200, "*\"error\":\"not_found\"");
    shelved_expect(s, "GET", "/medic/a?rev=1-aa&latest=true", NULL, 200,
                   "{\"_id\":\"a\",\"_rev\":\"2-ab\"}\n");
    shelved_expect(s, "GET", "/medic/a?rev=1-aa", NULL, 404, "*missing");
}

/* What the app had sent and asks for is lost to it: no longer held, and the server is told. */
static void test_lost(void **state)
{
    struct shelved *s = *state;
    struct rev_here first = {.db = ""}, here;
    char due[STORE_NAME_BYTES];

    shelved_expect(s, "POST", "/medic/_bulk_docs",
                   "{\"docs\":[{\"_id\":\"mine\",\"_rev\":\"1-m\"}],\"new_edits\":false}", 201,
                   "[]\n");
    assert_int_equal(revs_next_here(s->store, &first, &here, &s->error), 1);
    STORES_OK(inbox_work(s->inbox, s->store, s->trust, &s->error) >= 0, &s->error);
    assert_int_equal(streams_next_due(s->store, "", due, &s->error), 0);
    shelved_expect(s, "POST", "/medic/_bulk_get", "{\"docs\":[{\"id\":\"mine\",\"rev\":\"1-m\"}]}",
                   200, "*\"error\":\"not_found\"");
    assert_int_equal(revs_next_here(s->store, &first, &here, &s->error), 0);
    assert_int_equal(streams_next_due(s->store, "", due, &s->error), 1);
    assert_string_equal(due, SERVER_NAME);
}

static void test_documents(void **state)
{
    struct shelved *s = *state;
    unsigned status;
    char *text;

    receive(s, A2 "\n" A2_CONFLICT "\n" GONE "\n" PHOTO "\n");
    shelved_expect(s, "GET", "/medic/a", NULL, 200, "{\"_id\":\"a\",\"_rev\":\"2-ab\"}\n");
    shelved_expect(s, "GET", "/medic/a?revs=true", NULL, 200, A2 "\n");
    shelved_expect(s, "GET", "/medic/a?rev=2-aa", NULL, 200, "{\"_id\":\"a\",\"_rev\":\"2-aa\"}\n");
    shelved_expect(s, "GET", "/medic/a?conflicts=true", NULL, 200,
                   "{\"_id\":\"a\",\"_rev\":\"2-ab\",\"_conflicts\":[\"2-aa\"]}\n");
    shelved_expect(s, "GET", "/medic/p?attachments=true&revs=true&conflicts=true", NULL, 200,
                   PHOTO "\n");
    shelved_expect(s, "GET", "/medic/g", NULL, 404,
                   "{\"error\":\"not_found\",\"reason\":\"deleted\"}");
    shelved_expect(s, "GET", "/medic/g?rev=3-g", NULL, 200, "*\"_deleted\":true");
    shelved_expect(s, "GET", "/medic/none", NULL, 404,
                   "{\"error\":\"not_found\",\"reason\":\"missing\"}");
    shelved_expect(s, "PUT", "/medic/a", NULL, 405, "*Only GET,HEAD allowed");
    shelved_expect(s, "GET", "/medic/a?open_revs=all&revs=true", NULL, 200,
                   "[{\"ok\":" A2 "},{\"ok\":" A2_CONFLICT "}]\n");
    shelved_expect(s, "GET", "/medic/a?open_revs=%5B%222-aa%22,%229-x%22%5D", NULL, 200,
                   "[{\"ok\":{\"_id\":\"a\",\"_rev\":\"2-aa\"}},{\"missing\":\"9-x\"}]\n");
    shelved_expect(s, "GET", "/medic/none?open_revs=all", NULL, 404, "*missing");
    shelved_expect(s, "GET", "/medic/a?open_revs=x", NULL, 400, "*open_revs");
    shelved_expect(s, "GET", "/medic/a?open_revs=[1]", NULL, 400, "*open_revs");
    text = shelved_ask(s, "GET", "/medic/p?open_revs=[%221-p%22,%222-p%22]&revs=true",
                       "multipart/mixed", NULL, &status, NULL);
    assert_int_equal(status, 200);
    assert_string_equal(
        text,
        "\r\n--boda-b5a9ea1c7cd34e8b\r\nContent-Type: application/json\r\n\r\n" PHOTO
        "\r\n--boda-b5a9ea1c7cd34e8b\r\nContent-Type: application/json; error=\"true\"\r\n\r\n"
        "{\"missing\":\"2-p\"}\r\n--boda-b5a9ea1c7cd34e8b--");
    free(text);
}

static void test_attachments(void **state)
{
    struct shelved *s = *state;

    receive(s, PHOTO "\n" GONE "\n");
    shelved_expect(s, "GET", "/medic/p/a%2Fb.txt", NULL, 200, "hello???");
    shelved_expect(s, "GET", "/medic/p/a/b.txt?rev=1-p", NULL, 200, "hello???");
    shelved_expect(s, "GET", "/medic/p/empty", NULL, 200, "");
    shelved_expect(s, "GET", "/medic/p/none", NULL, 404, "*Document is missing attachment");
    shelved_expect(s, "GET", "/medic/g/none", NULL, 404, "*not_found");
    shelved_expect(s, "GET", "/medic/p/empty?rev=2-p", NULL, 404, "*not_found");
}

/* Ids of all kinds: as documents, in lists, in answers. */
static void test_ids(void **state)
{
    static const struct {
        const char *json, *path;
    } ids[] = {
        {"a/b", "a%2Fb"},
        {"a%2Fb", "a%252Fb"},
        {"q\\\"'\\\\", "q%22%27%5C"},
        {"\xf0\x9f\x92\x89 \xc3\xa9", "%F0%9F%92%89%20%c3%A9"},
        {"a+b?c#d&e=f", "a+b%3Fc%23d%26e%3Df"},
        {"_design/x", "_design/x"},
        {"_design/y", "_design%2Fy"},
    };
    struct shelved *s = *state;
    char line[4000], path[2100], body[3000], expected[4000], kilo[1026];

    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        (void)snprintf(
            line, sizeof line,
            "{\"_id\":\"%s\",\"_rev\":\"1-%zu\",\"_attachments\":{\"x\":{\"data\":\"YQ==\"}}}\n",
            ids[i].json, i);
        receive(s, line);
        (void)snprintf(path, sizeof path, "/medic/%s?attachments=true", ids[i].path);
        shelved_expect(s, "GET", path, NULL, 200, line);
        (void)snprintf(path, sizeof path, "/medic/%s/x", ids[i].path);
        shelved_expect(s, "GET", path, NULL, 200, "a");
        (void)snprintf(body, sizeof body, "{\"docs\":[{\"id\":\"%s\",\"rev\":\"1-%zu\"}]}",
                       ids[i].json, i);
        (void)snprintf(expected, sizeof expected,
                       "*[\n{\"id\":\"%s\",\"docs\":[{\"ok\":{\"_id\":\"%s\",", ids[i].json,
                       ids[i].json);
        shelved_expect(s, "POST", "/medic/_bulk_get", body, 200, expected);
        (void)snprintf(body, sizeof body, "{\"doc_ids\":[\"%s\"]}", ids[i].json);
        (void)snprintf(expected, sizeof expected,
                       "*\"id\":\"%s\",\"changes\":[{\"rev\":\"1-%zu\"}]", ids[i].json, i);
        shelved_expect(s, "POST", "/medic/_changes?filter=_doc_ids", body, 200, expected);
    }
    shelved_expect(s, "GET", "/medic/a/b", NULL, 404, "*attachment");

    memset(kilo, 'k', sizeof kilo);
    kilo[1024] = '\0';
    (void)snprintf(line, sizeof line, "{\"_id\":\"%s\",\"_rev\":\"1-k\"}\n", kilo);
    receive(s, line);
    (void)snprintf(path, sizeof path, "/medic/%s", kilo);
    shelved_expect(s, "GET", path, NULL, 200, line);
    (void)snprintf(path, sizeof path, "/medic/%sk", kilo);
    shelved_expect(s, "GET", path, NULL, 404, "*missing");
    (void)snprintf(body, sizeof body, "{\"docs\":[{\"id\":\"%sk\",\"rev\":\"1-k\"}]}", kilo);
    shelved_expect(s, "POST", "/medic/_bulk_get", body, 400, "*too long");
    shelved_expect(s, "GET", "/medic/a%00b", NULL, 400, "*malformed");
    shelved_expect(s, "GET", "/medic/%ff", NULL, 404, "*missing");
    shelved_expect(s, "POST", "/medic/_bulk_get", "{\"docs\":[{\"id\":\"\xff\",\"rev\":\"1-k\"}]}",
                   400, "*bad_request");
}

static void test_cht(void **state)
{
    struct shelved *s = *state;
    const char *const ids = "{\"doc_ids\":[\"a\",\"g\",\"q\\\"\",\"none\"]}";

    shelved_expect(s, "GET", "/api/v1/replication/get-ids", NULL, 503, "*service_unavailable");
    receive(s, A1 "\n" GONE "\n");
    shelved_expect(s, "POST", "/api/v1/replication/get-deletes", ids, 200,
                   "{\"doc_ids\":[\"g\"]}\n");
    shelved_receive(
        s, "view", "medic",
        "{\"view\":{\"server\":\"\",\"at\":1}}\n{\"docs\":[[\"a\",\"1-aa\"],[\"b\",\"7-b\"]]}\n"
        "{\"gone\":[\"g\",\"q\\\"\"]}\n");
    shelved_expect(
        s, "GET", "/api/v1/replication/get-ids", NULL, 200,
        "{\"doc_ids_revs\":[{\"id\":\"a\",\"rev\":\"1-aa\"},\n{\"id\":\"b\",\"rev\":\"7-b\"}],\"warn_docs\":2,"
        "\"last_seq\":1,\"warn\":false,\"limit\":10000}\n");
    shelved_expect(s, "POST", "/api/v1/replication/get-deletes", ids, 200,
                   "{\"doc_ids\":[\"g\",\"q\\\"\"]}\n");
    shelved_expect(s, "POST", "/api/v1/replication/get-deletes", "{\"doc_ids\":[]}", 200,
                   "{\"doc_ids\":[]}\n");
    shelved_expect(s, "POST", "/api/v1/replication/get-deletes", "{\"doc_ids\":[1]}", 400,
                   "*doc_ids");
    shelved_expect(s, "POST", "/api/v1/replication/get-deletes", "{}", 400, "*doc_ids");
    shelved_expect(s, "GET", "/setup/poll", NULL, 200, "*\"ready\":true");
    shelved_expect(s, "GET", "/api/info", NULL, 200, "*{\"version\":\"");
    shelved_expect(s, "GET", "/api/v1/other", NULL, 404, "*not_found");
    shelved_expect(s, "GET", "/_boda/status", NULL, 200, "*\"view_docs\":2,\"shelf_docs\":1}");
    shelved_expect(s, "GET", "/_boda/", NULL, 200, "*<!doctype html>");
    shelved_expect(s, "GET", "/_boda/page.js", NULL, 200, "*/_boda/status");
}

/* ---- many documents ---- */

#define MANY 400
#define A_BATCH 40

static void receive_many(struct shelved *s, size_t doc_bytes)
{
    char *filler = malloc(doc_bytes + 1);
    struct buffer lines = {0};

    assert_non_null(filler);
    memset(filler, 'x', doc_bytes);
    filler[doc_bytes] = '\0';
    for (int i = 0; i < MANY; i++) {
        STORES_OK(
            buffer_printf(
                &lines, &s->error,
                "{\"_id\":\"d%03d\",\"_rev\":\"1-%d\",\"x\":\"%s\",\"_revisions\":{\"start\":1,"
                "\"ids\":[\"%d\"]}}\n",
                i, i, filler, i) == 0,
            &s->error);
        if (i % A_BATCH < A_BATCH - 1)
            continue;
        STORES_OK(buffer_append(&lines, "", 1, &s->error) == 0, &s->error);
        receive(s, (char *)lines.data);
        lines.length = 0;
    }
    buffer_free(&lines);
    free(filler);
}

/* Ask for COUNT of them, each STEP-th; all come, in the order of asking.  How many batches were opened. */
static uint64_t ask_many(struct shelved *s, int count, int step)
{
    uint64_t before = opened_count(s->service.opened);
    struct buffer body = {0};
    unsigned status;
    json_t *answer, *results;
    char *text;

    STORES_OK(buffer_printf(&body, &s->error, "{\"docs\":[") == 0, &s->error);
    for (int i = 0; i < count; i++)
        STORES_OK(buffer_printf(&body, &s->error, "%s{\"id\":\"d%03d\",\"rev\":\"1-%d\"}",
                                i > 0 ? "," : "", i * step % MANY, i * step % MANY) == 0,
                  &s->error);
    STORES_OK(buffer_append(&body, "]}", 3, &s->error) == 0, &s->error);
    text = shelved_ask(s, "POST", "/medic/_bulk_get", NULL, (char *)body.data, &status, NULL);
    answer = json_loads(text, 0, NULL);
    assert_non_null(answer);
    results = json_object_get(answer, "results");
    assert_int_equal(json_array_size(results), count);
    for (int i = 0; i < count; i++) {
        json_t *doc = json_object_get(
            json_array_get(json_object_get(json_array_get(results, (size_t)i), "docs"), 0), "ok");
        char id[8];

        (void)snprintf(id, sizeof id, "d%03d", i * step % MANY);
        assert_string_equal(json_string_value(json_object_get(doc, "_id")), id);
        assert_null(json_object_get(doc, "_revisions"));
    }
    json_decref(answer);
    free(text);
    buffer_free(&body);
    return opened_count(s->service.opened) - before;
}

static void test_batches_are_opened_once(void **state)
{
    struct shelved *s = *state;

    receive_many(s, 30000); /* ten batches of 1.2 MB: not all can be kept */
    assert_int_equal(ask_many(s, A_BATCH, 1), 1);
    assert_int_equal(ask_many(s, A_BATCH, 1), 0);
    /* 1 MiB is 34 of them: they are opened in the order of their batches, then answered as asked. */
    assert_true(ask_many(s, 33, 37) <= 10);
}

/* More is asked for at a time than may be held: it is all answered, or refused with words. */
static void test_much_at_a_time(void **state)
{
    struct shelved *s = *state;

    receive_many(s, 1000);
    s->service.held_bytes = ROUTES_HELD_BYTES - 30000; /* others hold that much */
    assert_true(ask_many(s, 100, 37) >= 10);
    s->service.held_bytes = ROUTES_HELD_BYTES - 100;
    shelved_expect(
        s, "POST", "/medic/_bulk_get",
        "{\"docs\":[{\"id\":\"d000\",\"rev\":\"1-0\"},{\"id\":\"d000\",\"rev\":\"1-0\"}]}", 503,
        "*try again");
    s->service.held_bytes = 0;
}

/* A document larger than what is made at a time. */
static void test_large_documents(void **state)
{
    static const char head[] =
        "{\"_id\":\"l\",\"_rev\":\"1-l\",\"_revisions\":{\"start\":1,\"ids\":[\"l\"]},"
        "\"_attachments\":{\"a\":{\"data\":\"";
    struct shelved *s = *state;
    size_t base64 = 3000000, size = sizeof head - 1 + base64 + 4, got;
    char *line = malloc(size + 2), *text;
    unsigned status;

    assert_non_null(line);
    memcpy(line, head, sizeof head);
    memset(line + sizeof head - 1, 'A', base64);
    memcpy(line + size - 4, "\"}}}\n", 6);
    receive(s, line);
    text = shelved_ask(s, "GET", "/medic/l?revs=true&attachments=true", NULL, NULL, &status, &got);
    assert_int_equal(status, 200);
    assert_int_equal(got, size + 1);
    assert_memory_equal(text, line, size + 1);
    free(text);
    shelved_expect(
        s, "GET", "/medic/l", NULL, 200,
        "{\"_id\":\"l\",\"_rev\":\"1-l\",\"_attachments\":{\"a\":{\"length\":2250000,\"stub\":true}}}\n");
    text = shelved_ask(s, "GET", "/medic/l/a", NULL, NULL, &status, &got);
    assert_int_equal(status, 200);
    assert_int_equal(got, 2250000);
    for (size_t i = 0; i < got; i++)
        assert_int_equal(text[i], 0);
    free(text);
    free(line);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, shelved_set_up, shelved_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_changes),
        TEST(test_bad_changes),
        TEST(test_changes_of_ids),
        TEST(test_longpoll),
        TEST(test_bulk_get),
        TEST(test_latest),
        TEST(test_lost),
        TEST(test_documents),
        TEST(test_attachments),
        TEST(test_ids),
        TEST(test_cht),
        TEST(test_batches_are_opened_once),
        TEST(test_much_at_a_time),
        TEST(test_large_documents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
