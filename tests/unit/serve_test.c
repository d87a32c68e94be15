/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/tablet: what is served from the shelf, in CouchDB's and CHT's shapes: bytes as they came, cut as asked for.
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

/* A listing of COUNT documents, with revisions of GENERATION. */
static void receive_view(struct shelved *s, int count, int generation)
{
    struct buffer lines = {0};

    STORES_OK(buffer_printf(&lines, &s->error, "{\"view\":{\"server\":\"\",\"at\":%d}}\n",
                            generation) == 0,
              &s->error);
    for (int i = 0; i < count; i++)
        STORES_OK(buffer_printf(&lines, &s->error, "{\"docs\":[[\"document-%060d\",\"%d-a\"]]}\n",
                                i, generation) == 0,
                  &s->error);
    STORES_OK(buffer_append(&lines, "", 1, &s->error) == 0, &s->error);
    shelved_receive(s, "view", "medic", (char *)lines.data);
    buffer_free(&lines);
}

/* The list is replaced while it is sent: half of each is no list. */
static void test_view_is_replaced(void **state)
{
    struct shelved *s = *state;
    struct request request;
    struct error error;
    enum answer_step step;
    unsigned status;
    char *text;
    json_t *answer;

    receive_view(s, 2000, 1);
    routes_begin(&request, &s->service, "GET", "/api/v1/replication/get-ids");
    routes_end(&request);
    assert_int_equal(request.answer.status, 200);
    assert_int_equal(routes_more(&request, &error), ANSWER_MORE);
    receive_view(s, 2001, 2);
    while ((step = routes_more(&request, &error)) == ANSWER_MORE)
        continue;
    assert_int_equal(step, ANSWER_FAILED);
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    routes_free(&request);

    text = shelved_ask(s, "GET", "/api/v1/replication/get-ids", NULL, NULL, &status, NULL);
    answer = json_loads(text, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(answer, "doc_ids_revs")), 2001);
    json_decref(answer);
    free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, shelved_set_up, shelved_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_changes),  TEST(test_bad_changes), TEST(test_changes_of_ids),
        TEST(test_longpoll), TEST(test_bulk_get),    TEST(test_latest),
        TEST(test_lost),     TEST(test_documents),   TEST(test_attachments),
        TEST(test_ids),      TEST(test_cht),         TEST(test_view_is_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
