/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/dock/cht: what goes over the wire, who is logged in, and that an outage is waited out without
 * ever sending a wrong password twice.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "host/dock/cht.h"
#include "host/dock/outage.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/front.h"

#define WAIT_MS 30000

static const struct secret good = {"good"}, wrong = {"wrong"};
static const struct cht_user chw1 = {"chw1", &good}, chw2 = {"chw2", &good},
                             new_user = {"new", &good}, mistaken = {"chw3", &wrong};

struct got {
    unsigned calls;
    enum cht_result result;
    long status;
    bool json;
    size_t size;
    char body[256], text[256];
};

static void on_done(const struct cht_answer *answer, void *context)
{
    struct got *got = context;

    got->calls++;
    got->result = answer->result;
    got->status = answer->status;
    got->json = answer->json;
    got->size = answer->size;
    (void)snprintf(got->body, sizeof got->body, "%s", answer->body);
    (void)snprintf(got->text, sizeof got->text, "%s", answer->text);
}

static struct cht *open_cht(const char *url, enum cht_kind kind, int patience_s)
{
    struct cht_options options = {
        .url = url, .kind = kind, .basic = false, .most_parallel = 4, .patience_s = patience_s};
    struct cht *cht = cht_new(&options, NULL);

    assert_non_null(cht);
    return cht;
}

static void submit(struct cht *cht, const struct cht_user *user, const char *body, struct got *got)
{
    memset(got, 0, sizeof *got);
    assert_int_equal(cht_submit(cht, user, body != NULL ? "POST" : "GET", "/medic/_bulk_docs", body,
                                body != NULL ? strlen(body) : 0, on_done, got, NULL),
                     0);
}

static void finish(struct cht *cht)
{
    int64_t end_ms = clock_ms() + WAIT_MS;

    while (cht_pending(cht) > 0) {
        assert_true(clock_ms() < end_ms);
        assert_int_equal(cht_run(cht, 1000, NULL), 0);
    }
}

static void ask(struct cht *cht, const struct cht_user *user, const char *body, struct got *got)
{
    submit(cht, user, body, got);
    finish(cht);
    assert_int_equal(got->calls, 1);
}

/* One login, then the cookie; Accept always, Content-Type exact, no Expect and no chunks even for a body
 * over 1 MB; and one connection for it all. */
static void requests_are_as_cht_wants_them(void **state)
{
    struct front *front = front_new(0, NULL, NULL);
    struct cht *cht = open_cht(front_url(front), CHT_KIND_CHT, 0);
    char *big = malloc(2000001);
    struct got got;

    (void)state;
    assert_non_null(big);
    memset(big, ' ', 2000000);
    big[2000000] = '\0';
    for (int i = 0; i < 20; i++) {
        ask(cht, &chw1, i == 7 ? big : i % 2 == 0 ? "{}" : NULL, &got);
        assert_int_equal(got.result, CHT_ANSWERED);
        assert_int_equal(got.status, 200);
        assert_true(got.json);
        assert_string_equal(got.body, "{\"ok\":true}");
        assert_string_equal(got.text, "");
    }
    assert_int_equal(front_count(front, "POST /medic/login"), 1);
    assert_int_equal(front_count(front, "|accept: application/json|"), 21);
    assert_int_equal(front_count(front, "|cookie: AuthSession=s0|"), 20);
    assert_int_equal(front_count(front, "|content-type: application/json|"), 12);
    assert_int_equal(front_count(front, "|content-length: 2000000|"), 1);
    assert_int_equal(front_count(front, "|expect:"), 0);
    assert_int_equal(front_count(front, "|transfer-encoding:"), 0);
    assert_int_equal(front_count(front, "|content-encoding:"), 0);
    assert_int_equal(front_connections(front), 1);
    cht_free(cht);
    front_free(front);
    free(big);
}

/* Several at once, never more than asked for, on as many connections. */
static void requests_go_in_parallel(void **state)
{
    struct front *front = front_new(0, NULL, NULL);
    struct cht *cht = open_cht(front_url(front), CHT_KIND_CHT, 0);
    struct got got[12];

    (void)state;
    front_delay(front, 50);
    for (size_t i = 0; i < 12; i++)
        submit(cht, i % 2 == 0 ? &chw1 : &chw2, "{}", &got[i]);
    assert_int_equal(cht_pending(cht), 12);
    finish(cht);
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(got[i].status, 200);
    assert_int_equal(front_most_in_flight(front), 4);
    assert_true(front_connections(front) <= 4);
    assert_int_equal(front_count(front, "POST /medic/login"), 2);
    cht_free(cht);
    front_free(front);
}

/* CouchDB: Basic, and bodies over 1 KiB gzipped, until they are refused. */
static void gzip_is_given_up_when_refused(void **state)
{
    struct front *front = front_new(0, NULL, NULL);
    struct cht *cht = open_cht(front_url(front), CHT_KIND_COUCHDB, 0);
    char body[3000];
    struct got got;

    (void)state;
    memset(body, 'x', sizeof body);
    body[sizeof body - 1] = '\0';
    ask(cht, &chw1, "{}", &got);
    ask(cht, &chw1, body, &got);
    assert_int_equal(got.status, 200);
    assert_int_equal(front_count(front, "|content-encoding: gzip|"), 1);
    assert_int_equal(front_count(front, "|body:xxxxxx"), 1);
    /* A 400 for the documents' sake does not end it. */
    front_fault(front, "_bulk_docs", 400, NULL, NULL, "{\"error\":\"bad_request\"}", 2);
    ask(cht, &chw1, body, &got);
    assert_int_equal(got.status, 400);
    ask(cht, &chw1, body, &got);
    assert_int_equal(front_count(front, "|content-encoding: gzip|"), 3);
    front_refuse_gzip(front);
    ask(cht, &chw1, body, &got);
    assert_int_equal(got.status, 200);
    ask(cht, &chw1, body, &got);
    assert_int_equal(front_count(front, "|content-encoding: gzip|"), 4);
    assert_int_equal(front_count(front, "|authorization: Basic Y2h3MTpnb29k|"), 8);
    assert_int_equal(front_count(front, "login"), 0);
    cht_free(cht);
    front_free(front);
}

/* A wrong password is sent once, however much is asked of that user, also with Basic and several in
 * flight; others are not concerned. */
static void a_refused_password_is_not_sent_again(void **state)
{
    for (int kind = 0; kind < 2; kind++) {
        struct front *front = front_new(0, NULL, NULL);
        struct cht *cht =
            open_cht(front_url(front), kind == 0 ? CHT_KIND_CHT : CHT_KIND_COUCHDB, 60);
        struct got got[10], other;

        (void)state;
        front_delay(front, 10);
        for (size_t i = 0; i < 10; i++)
            submit(cht, &mistaken, "{}", &got[i]);
        submit(cht, &chw1, "{}", &other);
        finish(cht);
        for (size_t i = 0; i < 10; i++) {
            assert_int_equal(got[i].calls, 1);
            assert_int_equal(got[i].result, CHT_LOGIN_FAILED);
            assert_non_null(strstr(got[i].text, "user chw3"));
            assert_non_null(strstr(got[i].text, "password"));
        }
        assert_int_equal(other.status, 200);
        ask(cht, &mistaken, "{}", &got[0]);
        assert_int_equal(got[0].result, CHT_LOGIN_FAILED);
        assert_int_equal(kind == 0 ? front_count(front, "\"wrong\"")
                                   : front_count(front, "Basic Y2h3Mzp3cm9uZw=="),
                         1);
        cht_free(cht);
        front_free(front);
    }
}

/* A locked account (500), a password that must be changed, a server without CHT: each in words, and tried
 * once. */
static void logins_that_cannot_be(void **state)
{
    static const struct {
        const struct cht_user *user;
        unsigned status;
        const char *words;
    } cases[] = {
        {&chw1, 500, "locked"}, {&new_user, 0, "changed"},         {&chw1, 404, "kind=couchdb"},
        {&chw1, 400, "400"},    {&chw1, 302, "without a session"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct front *front = front_new(0, NULL, NULL);
        struct cht *cht = open_cht(front_url(front), CHT_KIND_CHT, 60);
        struct got got;

        if (cases[i].status != 0)
            front_fault(front, "login", cases[i].status, NULL, NULL, "{}", 100);
        ask(cht, cases[i].user, "{}", &got);
        assert_int_equal(got.result, CHT_LOGIN_FAILED);
        assert_non_null(strstr(got.text, cases[i].words));
        ask(cht, cases[i].user, "{}", &got);
        assert_int_equal(got.result, CHT_LOGIN_FAILED);
        assert_int_equal(front_count(front, "login"), 1);
        assert_int_equal(front_count(front, "_bulk_docs"), 0);
        cht_free(cht);
        front_free(front);
    }
}

/* An expired session is renewed by one login for all that are in flight; one that is never taken is not
 * renewed for ever. */
static void sessions_are_renewed_once(void **state)
{
    struct front *front = front_new(0, NULL, NULL);
    struct cht *cht = open_cht(front_url(front), CHT_KIND_CHT, 60);
    struct got got[8];

    (void)state;
    ask(cht, &chw1, "{}", &got[0]);
    for (int round = 0; round < 2; round++) {
        front_expire(front, false);
        front_delay(front, 20);
        for (size_t i = 0; i < 8; i++)
            submit(cht, &chw1, "{}", &got[i]);
        finish(cht);
        for (size_t i = 0; i < 8; i++)
            assert_int_equal(got[i].status, 200);
    }
    assert_int_equal(front_count(front, "login"), 3);
    front_expire(front, true);
    for (size_t i = 0; i < 8; i++)
        submit(cht, &chw1, "{}", &got[i]);
    finish(cht);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(got[i].result, CHT_LOGIN_FAILED);
    assert_int_equal(front_count(front, "login"), 4);
    cht_free(cht);
    front_free(front);
}

/* 502 and 503, as HTML or JSON, 504, 429, and a cut in mid-answer are waited out (all at once here, to
 * spend the time once); a 500 is an answer. */
static void outages_are_waited_out(void **state)
{
    static const unsigned statuses[] = {502, 503, 504, 429, 0};
    enum { COUNT = sizeof statuses / sizeof statuses[0] };
    int64_t end_ms = clock_ms() + WAIT_MS;
    struct front *fronts[COUNT];
    struct cht *chts[COUNT];
    struct got got[COUNT][3];
    size_t pending = 1;

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        fronts[i] = front_new(0, NULL, NULL);
        chts[i] = open_cht(front_url(fronts[i]), CHT_KIND_CHT, 60);
        if (statuses[i] == 0)
            front_cut(fronts[i], "", 2);
        else
            front_fault(fronts[i], "", statuses[i], NULL, NULL,
                        i % 2 == 0 ? "<html>away</html>" : "{\"error\":\"away\"}", 2);
        for (size_t k = 0; k < 3; k++)
            submit(chts[i], &chw1, "{}", &got[i][k]);
    }
    while (pending > 0) {
        assert_true(clock_ms() < end_ms);
        pending = 0;
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(cht_run(chts[i], 10, NULL), 0);
            pending += cht_pending(chts[i]);
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < 3; k++) {
            assert_int_equal(got[i][k].calls, 1);
            assert_int_equal(got[i][k].result, CHT_ANSWERED);
            assert_int_equal(got[i][k].status, 200);
        }
        front_fault(fronts[i], "_bulk_docs", 500, NULL, NULL, "{\"error\":\"x\"}", 1);
        ask(chts[i], &chw1, "{}", &got[i][0]);
        assert_int_equal(got[i][0].status, 500);
        assert_string_equal(got[i][0].body, "{\"error\":\"x\"}");
        assert_non_null(strstr(got[i][0].text, "500"));
        cht_free(chts[i]);
        front_free(fronts[i]);
    }
}

/* Retry-After is kept, and during an outage only one request goes out at a time. */
static void one_probe_and_retry_after(void **state)
{
    struct front *front = front_new(0, NULL, NULL);
    struct cht *cht = open_cht(front_url(front), CHT_KIND_CHT, 60);
    int64_t start_ms;
    struct got got[12];

    (void)state;
    ask(cht, &chw1, "{}", &got[0]);
    front_fault(front, "_bulk_docs", 429, "Retry-After", "2", "{}", 4);
    front_delay(front, 20);
    start_ms = clock_ms();
    for (size_t i = 0; i < 12; i++)
        submit(cht, &chw1, "{}", &got[i]);
    while (front_count(front, "_bulk_docs") < 5)
        assert_int_equal(cht_run(cht, 100, NULL), 0);
    while (clock_ms() - start_ms < 1800)
        assert_int_equal(cht_run(cht, 100, NULL), 0);
    assert_int_equal(front_count(front, "_bulk_docs"), 5); /* one, and the four that were refused */
    finish(cht);
    assert_true(clock_ms() - start_ms >= 2000);
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(got[i].status, 200);
    cht_free(cht);
    front_free(front);
}

/* A request that fails each time while the server answers others comes back to the caller. */
static void a_request_that_always_fails_is_handed_back(void **state)
{
    struct front *front = front_new(0, NULL, NULL);
    struct cht *cht = open_cht(front_url(front), CHT_KIND_CHT, 600);
    struct got got;

    (void)state;
    front_fault(front, "_bulk_docs", 504, NULL, NULL, "<html>", 1000);
    ask(cht, &chw1, "{}", &got);
    assert_int_equal(got.result, CHT_ANSWERED);
    assert_int_equal(got.status, 504);
    assert_non_null(strstr(got.text, "again and again"));
    assert_true(front_count(front, "GET /medic/_local/boda-probe") > 0);
    cht_free(cht);
    front_free(front);
}

/* Nobody listens: with no patience at once, with patience until somebody does; stopped at any time. */
static void nobody_there(void **state)
{
    struct front *front = front_new(0, NULL, NULL);
    unsigned port = front_port(front);
    atomic_bool stop = false;
    struct cht_options options = {.kind = CHT_KIND_CHT, .most_parallel = 4, .stop = &stop};
    struct cht *cht;
    struct got got[5];
    char url[64];

    (void)state;
    (void)snprintf(url, sizeof url, "%s", front_url(front));
    front_free(front);
    options.url = url;
    cht = cht_new(&options, NULL);
    assert_non_null(cht);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 5; i++)
            submit(cht, &chw1, "{}", &got[i]);
        finish(cht);
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(got[i].result, CHT_UNAVAILABLE);
            assert_non_null(strstr(got[i].text, "not reachable"));
        }
    }
    cht_free(cht);

    options.patience_s = 60;
    cht = cht_new(&options, NULL);
    assert_non_null(cht);
    submit(cht, &chw1, "{}", &got[0]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cht_run(cht, 100, NULL), 0);
    assert_int_equal(got[0].calls, 0);
    front = front_new(port, NULL, NULL);
    finish(cht);
    assert_int_equal(got[0].status, 200);
    front_free(front);
    submit(cht, &chw1, "{}", &got[0]);
    assert_int_equal(cht_run(cht, 100, NULL), 0);
    atomic_store(&stop, true);
    finish(cht);
    assert_int_equal(got[0].result, CHT_UNAVAILABLE);
    assert_non_null(strstr(got[0].text, "stopped"));
    cht_free(cht);
}

/* Answers are bounded; redirects are answers, not followed. */
static void answers_are_bounded(void **state)
{
    struct front *front = front_new(0, NULL, NULL);
    struct cht *cht = open_cht(front_url(front), CHT_KIND_CHT, 0);
    size_t size = (17u << 20);
    char *big = malloc(size + 1);
    struct got got;

    (void)state;
    assert_non_null(big);
    memset(big, '1', size);
    big[size] = '\0';
    front_fault(front, "_bulk_docs", 200, NULL, NULL, big, 1);
    ask(cht, &chw1, "{}", &got);
    assert_int_equal(got.result, CHT_ANSWERED);
    assert_int_equal(got.status, 0);
    assert_non_null(strstr(got.text, "larger than 16 MB"));
    big[1000000] = '\0';
    front_fault(front, "_bulk_docs", 413, NULL, NULL, big, 1);
    ask(cht, &chw1, "{}", &got);
    assert_int_equal(got.status, 413);
    assert_int_equal(got.size, 65536);
    front_fault(front, "_bulk_docs", 302, "Location", "http://127.0.0.1:1/other", "", 1);
    ask(cht, &chw1, "{}", &got);
    assert_int_equal(got.status, 302);
    assert_non_null(strstr(got.text, "127.0.0.1:1/other"));
    cht_free(cht);
    front_free(front);
    free(big);
}

/* ---- TLS ------------------------------------------------------------------------------------ */

static char *read_text(const char *folder, const char *name)
{
    struct buffer text = {0};
    char *path = folder_path(folder, name);

    assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
    assert_int_equal(buffer_append(&text, "", 1, NULL), 0);
    free(path);
    return (char *)text.data;
}

/* Two CAs, and a certificate of the first for 127.0.0.1. */
static void make_certificates(const char *folder)
{
    char command[4096];

    (void)snprintf(
        command, sizeof command,
        "cd '%s' && exec 2>/dev/null && for ca in one two; do openssl req -x509 -newkey ec -pkeyopt "
        "ec_paramgen_curve:P-256 -nodes -keyout $ca.key -out $ca.crt -subj /CN=$ca -days 30; done && "
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out "
        "server.csr -subj /CN=server && echo subjectAltName=IP:127.0.0.1 >ext && openssl x509 -req -in "
        "server.csr -CA one.crt -CAkey one.key -CAcreateserial -days 30 -extfile ext -out server.crt",
        folder);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a fixed command of a test */
}

/* The CA that ca= names and no other; a certificate that is not to be trusted is no outage, and nothing is
 * sent before it is checked. */
static void tls_is_verified(void **state)
{
    char *folder = folder_new(), *one = folder_path(folder, "one.crt");
    char *two = folder_path(folder, "two.crt"), *none = folder_path(folder, "none.crt");
    const char *const authorities[] = {one, two, NULL, none};
    char *certificate, *key;
    struct front *front;

    (void)state;
    make_certificates(folder);
    certificate = read_text(folder, "server.crt");
    key = read_text(folder, "server.key");
    front = front_new(0, certificate, key);
    for (size_t i = 0; i < sizeof authorities / sizeof authorities[0]; i++) {
        struct cht_options options = {.url = front_url(front),
                                      .kind = CHT_KIND_CHT,
                                      .ca_file = authorities[i],
                                      .most_parallel = 4,
                                      .patience_s = 3600};
        struct cht *cht = cht_new(&options, NULL);
        struct error error;
        struct got got[3];
        int result = 0;

        assert_non_null(cht);
        for (size_t k = 0; k < 3; k++)
            submit(cht, &chw1, "{}", &got[k]);
        for (int64_t end_ms = clock_ms() + WAIT_MS; result == 0 && cht_pending(cht) > 0;) {
            assert_true(clock_ms() < end_ms);
            result = cht_run(cht, 1000, &error);
        }
        assert_int_equal(result, i == 0 ? 0 : -1);
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(got[k].result, i == 0 ? CHT_ANSWERED : CHT_UNAVAILABLE);
        if (i > 0) {
            assert_int_equal(error.kind, ERROR_FAILED);
            assert_non_null(strstr(error.text, "ca="));
        }
        assert_int_equal(cht_pending(cht), 0);
        cht_free(cht);
        assert_int_equal(front_count(front, ""), 4); /* those of the first */
    }
    front_free(front);
    free(certificate);
    free(key);
    free(one);
    free(two);
    free(none);
    folder_remove(folder);
}

/* Delays stay within their bounds and are not always the same. */
static void delays_are_bounded(void **state)
{
    int64_t least = INT64_MAX, most = 0;

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        int64_t delay = outage_delay_ms(100, 0);

        least = delay < least ? delay : least;
        most = delay > most ? delay : most;
        assert_in_range(outage_delay_ms(1, 0), 0, 1000);
        assert_in_range(outage_delay_ms(1, 7000), 7000, 7250);
        assert_true(outage_delay_ms(1, INT64_MAX) <= 3601000);
    }
    assert_true(least < 100000 && most > 200000 && most <= 300000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_as_cht_wants_them),
        cmocka_unit_test(requests_go_in_parallel),
        cmocka_unit_test(gzip_is_given_up_when_refused),
        cmocka_unit_test(a_refused_password_is_not_sent_again),
        cmocka_unit_test(logins_that_cannot_be),
        cmocka_unit_test(sessions_are_renewed_once),
        cmocka_unit_test(outages_are_waited_out),
        cmocka_unit_test(one_probe_and_retry_after),
        cmocka_unit_test(a_request_that_always_fails_is_handed_back),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(answers_are_bounded),
        cmocka_unit_test(tls_is_verified),
        cmocka_unit_test(delays_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
