/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/tablet/routes and door: what the endpoint answers, without HTTP; who may come in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/tablet/door.h"
#include "host/tablet/routes.h"
#include "store/revs.h"
#include "store/streams.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

struct fixture {
    struct deployment *deployment;
    char *folder;
    struct store *store;
    struct service service;
    struct error error;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct store_options options = {.station = "t1", .role = "tablet", .reserve_bytes = 4096};

    assert_non_null(f);
    f->deployment = deployment_new();
    f->folder = folder_new();
    options.directory = f->folder;
    f->store = store_open(&options, &f->error);
    STORES_OK(f->store != NULL, &f->error);
    f->service.store = f->store;
    f->service.identity = f->deployment->tablet;
    f->service.outbox = outbox_new(f->store, f->deployment->tablet, &f->error);
    STORES_OK(f->service.outbox != NULL, &f->error);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    outbox_free(f->service.outbox);
    store_close(f->store);
    folder_remove(f->folder);
    deployment_free(f->deployment);
    free(f);
    return 0;
}

/* One request in pieces of 7 bytes; STATUS and the whole answer, or a part of it behind '*'. */
static void expect(struct fixture *f, const char *method, const char *path, const char *body,
                   unsigned status, const char *answer)
{
    struct request request;
    size_t length = strlen(body);
    char *text;

    routes_begin(&request, &f->service, method, path);
    for (size_t at = 0; at < length; at += 7)
        routes_body(&request, body + at, length - at < 7 ? length - at : 7);
    routes_end(&request);
    text = strndup(request.answer.body.data != NULL ? (char *)request.answer.body.data : "",
                   request.answer.body.length);
    assert_non_null(text);
    if (request.answer.status != status ||
        (answer[0] == '*' ? strstr(text, answer + 1) == NULL : strcmp(text, answer) != 0))
        fail_msg("%s %s: %u %s", method, path, request.answer.status, text);
    free(text);
    routes_free(&request);
    assert_null(f->service.outbox_user);
}

static void test_root_and_databases(void **state)
{
    struct fixture *f = *state;
    char uuid[64];

    (void)snprintf(uuid, sizeof uuid, "*\"uuid\":\"%s\"", store_uuid(f->store));
    expect(f, "GET", "/", "", 200, uuid);
    expect(f, "GET", "/dbinfo", "", 200, uuid);
    expect(f, "GET", "/medic", "", 200, "*\"db_name\":\"medic\"");
    expect(f, "HEAD", "/medic/", "", 200, "*\"instance_start_time\":\"0\"");
    expect(f, "GET", "/medic-user-chw1-meta", "", 200, "*\"update_seq\"");
    expect(f, "PUT", "/medic/", "", 412, "*{\"error\":\"file_exists\",");
    expect(f, "POST", "/medic/_ensure_full_commit", "", 201,
           "{\"ok\":true,\"instance_start_time\":\"0\"}\n");
}

static void test_what_is_not_there(void **state)
{
    static const char none[] = "{\"error\":\"not_found\",\"reason\":\"Database does not exist.\"}";
    struct fixture *f = *state;

    expect(f, "GET", "/other", "", 404, none);
    expect(f, "PUT", "/medic-user-chw2-meta", "", 404, none);
    expect(f, "GET", "/medic2/_local/a", "", 404, none);
    expect(f, "POST", "/_replicate", "{}", 404, none);
    expect(f, "GET", "/medic/_all_docs", "", 404,
           "{\"error\":\"not_found\",\"reason\":\"missing\"}");
    expect(f, "GET", "/medic/_local/", "", 404, "*missing");
    expect(f, "GET", "/medic/doc", "", 404, "*missing");
    expect(f, "DELETE", "/medic", "", 405,
           "{\"error\":\"method_not_allowed\",\"reason\":\"Only GET,HEAD,PUT allowed\"}");
    expect(f, "GET", "/medic/_bulk_docs", "", 405, "*Only POST allowed");
    expect(f, "POST", "/", "", 405, "*Only GET,HEAD allowed");
    expect(f, "DELETE", "/medic/_local/a", "", 405, "*method_not_allowed");
}

static void test_local_documents(void **state)
{
    struct fixture *f = *state;

    expect(f, "GET", "/medic/_local/a.b==", "", 404,
           "{\"error\":\"not_found\",\"reason\":\"missing\"}");
    expect(f, "PUT", "/medic/_local/a.b==", "{\"_id\":\"_local/a.b==\",\"last_seq\":7,\"h\":[{}]}",
           201, "{\"id\":\"_local/a.b==\",\"rev\":\"0-1\",\"ok\":true}");
    expect(f, "GET", "/medic/_local/a.b==", "", 200,
           "{\"_id\":\"_local/a.b==\",\"_rev\":\"0-1\",\"last_seq\":7,\"h\":[{}]}");
    expect(f, "PUT", "/medic/_local/a.b==", "{}", 409,
           "{\"error\":\"conflict\",\"reason\":\"Document update conflict.\"}");
    expect(f, "PUT", "/medic/_local/a.b==", "{\"_rev\":\"0-2\"}", 409, "*conflict");
    expect(f, "PUT", "/medic/_local/a.b==", "{\"_rev\":\"0-1\",\"last_seq\":8}", 201,
           "*\"rev\":\"0-2\"");
    expect(f, "GET", "/medic/_local/a.b==", "", 200, "*\"last_seq\":8");
    expect(f, "GET", "/medic-user-chw1-meta/_local/a.b==", "", 404, "*missing");
    expect(f, "PUT", "/medic/_local/x", "[]", 400, "*Document must be a JSON object");
    expect(f, "PUT", "/medic/_local/x", "{", 400, "*invalid UTF-8 JSON");
    expect(f, "PUT", "/medic/_local/x", "", 400, "*invalid UTF-8 JSON");
    expect(f, "PUT", "/medic/_local/x", "{\"_rev\":\"1-x\"}", 400, "*Invalid rev format");
    expect(f, "PUT", "/medic/_local/x", "{\"_rev\":3}", 400, "*Invalid rev format");
}

static void test_bulk_docs_and_revs_diff(void **state)
{
    struct fixture *f = *state;

    expect(f, "POST", "/medic/_revs_diff", "{\"a\":[\"1-x\"],\"b\":[\"2-y\"],\"none\":[]}", 200,
           "{\"a\":{\"missing\":[\"1-x\"]},\"b\":{\"missing\":[\"2-y\"]}}");
    expect(f, "POST", "/medic/_bulk_docs",
           "{\"docs\":[{\"_id\":\"a\",\"_rev\":\"1-x\"},{\"_id\":\"q\\\"\",\"_rev\":\"3-z\"}],"
           "\"new_edits\":false}",
           201, "[]\n");
    expect(f, "POST", "/medic/_revs_diff",
           "{\"a\":[\"1-x\"],\"q\\\"\":[\"3-z\",\"4-z\",\"3-y\"],\"b\":[\"2-y\"]}", 200,
           "{\"q\\\"\":{\"missing\":[\"4-z\",\"3-y\"],\"possible_ancestors\":[\"3-z\"]},"
           "\"b\":{\"missing\":[\"2-y\"]}}");
    expect(f, "POST", "/medic/_revs_diff", "{\"q\\\"\":[\"2-a\"]}", 200,
           "{\"q\\\"\":{\"missing\":[\"2-a\"]}}"); /* what is known is later: no ancestor */
    expect(f, "POST", "/medic-user-chw1-meta/_revs_diff", "{\"a\":[\"1-x\"]}", 200,
           "{\"a\":{\"missing\":[\"1-x\"]}}");
    expect(f, "POST", "/medic/_revs_diff", "{}", 200, "{}");
}

/* What is only known to be at the server, and is offered, the app has: it is held, and told in the next receipt. */
static void test_what_is_offered_is_held(void **state)
{
    struct fixture *f = *state;
    struct rev_here here = {{0}, {0}, {0}};
    char source[STORE_NAME_BYTES];

    STORES_OK(store_begin(f->store, &f->error) == 0 &&
                  revs_at_server(f->store, "medic", "a", "1-x", &f->error) == 0 &&
                  revs_at_server(f->store, "medic", "b", "1-x", &f->error) == 0 &&
                  store_commit(f->store, &f->error) == 0,
              &f->error);
    expect(f, "POST", "/medic/_revs_diff", "{\"c\":[\"1-x\"]}", 200, "*missing");
    assert_int_equal(streams_next_due(f->store, NULL, source, &f->error), 0);
    expect(f, "POST", "/medic/_revs_diff", "{\"a\":[\"1-x\"]", 400, "*bad_request");
    assert_int_equal(revs_is_here(f->store, "medic", "a", "1-x", &f->error), 0);
    expect(f, "POST", "/medic/_revs_diff", "{\"a\":[\"1-x\"]}", 200, "{}");
    assert_int_equal(revs_next_here(f->store, &here, &here, &f->error), 1);
    assert_string_equal(here.id, "a");
    assert_int_equal(revs_next_here(f->store, &here, &here, &f->error), 0);
    assert_int_equal(streams_next_due(f->store, NULL, source, &f->error), 1);
    assert_string_equal(source, SERVER_NAME);
}

static void test_bad_revs_diff(void **state)
{
    struct fixture *f = *state;

    expect(f, "POST", "/medic/_revs_diff", "", 400, "*invalid UTF-8 JSON");
    expect(f, "POST", "/medic/_revs_diff", "{\"a\":[\"1-x\"]", 400, "*bad_request");
    expect(f, "POST", "/medic/_revs_diff", "[]", 400, "*must be a JSON object");
    expect(f, "POST", "/medic/_revs_diff", "{\"a\":1}", 400, "*bad_request");
    expect(f, "POST", "/medic/_revs_diff", "{\"a\":\"1-x\"}", 400, "*bad_request");
    expect(f, "POST", "/medic/_revs_diff", "{\"a\":{}}", 400, "*bad_request");
    expect(f, "POST", "/medic/_revs_diff", "{\"a\":[[]]}", 400, "*bad_request");
    expect(f, "POST", "/medic/_revs_diff", "{\"a\":[1]}", 400, "*bad_request");
    expect(f, "POST", "/medic/_revs_diff", "{\"\":[\"1-a\"]}", 400, "*document id");
    expect(f, "POST", "/medic/_revs_diff", "{\"a\":[\"\"]}", 400, "*Invalid rev");
}

/* One bad document: nothing of the request is kept. */
static void test_all_or_nothing(void **state)
{
    struct fixture *f = *state;

    expect(f, "POST", "/medic/_bulk_docs",
           "{\"docs\":[{\"_id\":\"a\",\"_rev\":\"1-x\"},{\"_rev\":\"1-x\"}],\"new_edits\":false}",
           400, "*{\"error\":\"bad_request\"");
    expect(f, "POST", "/medic/_bulk_docs", "{\"docs\":[{\"_id\":\"a\",\"_rev\":\"1-x\"}]}", 400,
           "*only takes replication");
    expect(f, "POST", "/medic/_bulk_docs", "{\"docs\":[{\"_id\":\"a\",\"_rev\":\"1-x\"}", 400,
           "*invalid UTF-8 JSON");
    expect(f, "POST", "/medic/_bulk_docs", "", 400, "*invalid UTF-8 JSON");
    expect(f, "POST", "/medic/_bulk_docs",
           "{\"docs\":[{\"_id\":\"a\",\"_rev\":\"1-x\",\"_attachments\":{\"p\":{\"stub\":true}}}],"
           "\"new_edits\":false}",
           412, "*{\"error\":\"missing_stub\"");
    expect(f, "POST", "/medic/_revs_diff", "{\"a\":[\"1-x\"]}", 200,
           "{\"a\":{\"missing\":[\"1-x\"]}}");
}

static void test_body_limits(void **state)
{
    struct fixture *f = *state;
    struct request request;
    char *blanks = malloc(1u << 20);

    assert_non_null(blanks);
    memset(blanks, ' ', 1u << 20);
    routes_begin(&request, &f->service, "POST", "/medic/_bulk_docs");
    assert_int_equal(routes_body_limit(&request), 32u << 20);
    for (int i = 0; i < 32; i++)
        routes_body(&request, blanks, 1u << 20);
    assert_int_equal(request.answer.status, 0);
    routes_body(&request, blanks, 1);
    assert_int_equal(request.answer.status, 413);
    routes_free(&request);
    assert_null(f->service.outbox_user);

    routes_begin(&request, &f->service, "PUT", "/medic/_local/a");
    routes_body(&request, blanks, ROUTES_LOCAL_BYTES);
    assert_int_equal(request.answer.status, 0);
    routes_body(&request, blanks, 1);
    assert_int_equal(request.answer.status, 413);
    routes_free(&request);
    free(blanks);
}

/* Two uploads at once: the second waits for the first, whatever becomes of it. */
static void test_one_upload_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct request first, second;

    routes_begin(&first, &f->service, "POST", "/medic/_bulk_docs");
    routes_begin(&second, &f->service, "POST", "/medic/_bulk_docs");
    assert_false(routes_must_wait(&first));
    routes_body(&first, "{", 1);
    assert_true(routes_must_wait(&second));
    assert_false(routes_must_wait(&first));
    routes_free(&first); /* its client has gone */
    assert_false(routes_must_wait(&second));
    routes_body(&second, "[", 1); /* refused: the outbox is free again */
    assert_int_equal(second.answer.status, 400);
    assert_null(f->service.outbox_user);
    routes_free(&second);
}

static void test_door(void **state)
{
    static const char *const origins[] = {"https://chw.example.org", NULL};
    static const char *const here[] = {"127.0.0.1",   "127.0.0.1:5985", "localhost",
                                       "LOCALHOST:1", "[::1]",          "[::1]:65535"};
    static const char *const elsewhere[] = {"",
                                            "127.0.0.2",
                                            "localhost.example.org",
                                            "127.0.0.1:",
                                            "127.0.0.1:5985x",
                                            "127.0.0.1.example.org",
                                            "[::1",
                                            "::1",
                                            "example.org:5985",
                                            "localhost:123456",
                                            "127.0.0.1@a"};
    const struct secret secret = {.text = "s3cret"}, empty = {.text = ""};

    (void)state;
    for (size_t i = 0; i < sizeof here / sizeof *here; i++)
        assert_true(door_host_is_here(here[i]));
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        assert_false(door_host_is_here(elsewhere[i]));
    assert_false(door_host_is_here(NULL));

    assert_true(door_origin_may_call("https://chw.example.org", "127.0.0.1:5985", origins));
    assert_true(door_origin_may_call("http://127.0.0.1:5985", "127.0.0.1:5985", origins));
    assert_true(door_origin_may_call("http://127.0.0.1:5985", "127.0.0.1:5985", NULL));
    assert_false(door_origin_may_call("http://chw.example.org", "127.0.0.1:5985", origins));
    assert_false(door_origin_may_call("https://chw.example.org.evil", "127.0.0.1:5985", origins));
    assert_false(door_origin_may_call("http://127.0.0.1:9", "127.0.0.1:5985", origins));
    assert_false(door_origin_may_call("null", "127.0.0.1:5985", origins));

    assert_true(door_is_origin("https://chw.example.org:8443"));
    assert_false(door_is_origin("https://chw.example.org/"));
    assert_false(door_is_origin("chw.example.org"));
    assert_false(door_is_origin("*"));

    assert_true(door_may_enter("chw1", "s3cret", "chw1", &secret));
    assert_false(door_may_enter("chw1", "s3cre", "chw1", &secret));
    assert_false(door_may_enter("chw2", "s3cret", "chw1", &secret));
    assert_false(door_may_enter(NULL, NULL, "chw1", &secret));
    assert_false(door_may_enter("chw1", "", "chw1", &empty));
    assert_false(door_may_enter("", "s3cret", "", &secret));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_root_and_databases),      TEST(test_what_is_not_there),
        TEST(test_local_documents),         TEST(test_bulk_docs_and_revs_diff),
        TEST(test_what_is_offered_is_held), TEST(test_bad_revs_diff),
        TEST(test_all_or_nothing),          TEST(test_body_limits),
        TEST(test_one_upload_at_a_time),    cmocka_unit_test(test_door),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
