/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/dock/config: defaults, every key, relative paths; what is unknown or wrong is refused with its line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "host/dock/config.h"
#include "tests/unit/support/folder.h"

#define WHOLE \
    "[deployment]\ndir=/d\n[server]\nurl=https://cht.example/\nusers=/u\n[store]\ndir=/s\n"

/* The folder it was read from is gone afterwards; its path is kept in FOLDER (may be NULL). */
static struct config *read_text(const char *text, char *folder_text, size_t size,
                                struct error *error)
{
    static const char selector[] = "{\n \"type\": \"person\"\n}\n";
    char *folder = folder_new(), *file = folder_path(folder, "dock.ini");
    char *selector_file = folder_path(folder, "dock.selector");
    struct config *config;

    assert_int_equal(file_write(selector_file, 0600, selector, sizeof selector - 1, NULL), 0);
    free(selector_file);
    assert_int_equal(file_write(file, 0600, text, strlen(text), NULL), 0);
    config = config_open(file, error);
    if (folder_text != NULL)
        (void)snprintf(folder_text, size, "%s", folder);
    free(file);
    folder_remove(folder);
    return config;
}

static void defaults(void **state)
{
    struct error error;
    struct config *config = read_text(WHOLE, NULL, 0, &error);

    (void)state;
    assert_non_null(config);
    assert_string_equal(config->deployment, "/d");
    assert_string_equal(config->url, "https://cht.example");
    assert_int_equal(config->kind, CHT_KIND_CHT);
    assert_string_equal(config->db, "medic");
    assert_string_equal(config->users, "/u");
    assert_false(config->account);
    assert_null(config->ca);
    assert_false(config->basic);
    assert_string_equal(config->store, "/s");
    assert_int_equal(config->most_docs, 500);
    assert_int_equal(config->most_bytes, 8 << 20);
    assert_int_equal(config->parallel, 4);
    assert_int_equal(config->patience_s, 4 * 3600);
    assert_true(config->fetch);
    assert_int_equal(config->every_s, 600);
    assert_null(config->selector);
    assert_null(config_tablets(config, "c1"));
    config_free(config);
    config_free(NULL);
}

/* Every key, relative to the file's folder where it is a path. */
static void every_key(void **state)
{
    static const char text[] =
        "; a comment\n# another\n"
        "[deployment]\ndir = dep\n"
        "[server]\nurl = http://127.0.0.1:5984/prefix ; behind\nkind=couchdb\n"
        "db=records\naccount=acc.csv\nca=ca.pem\nlogin=session\n"
        "[store]\ndir=store\n"
        "[replay]\ndocs=7\nbytes=2MB\nparallel=2\npatience=90m\n"
        "[down]\nfetch=no\nevery=2h\nselector=dock.selector\n"
        "[couriers]\nc1=t1, t2\n   t3\nc2=t9\nc1=t4\n";
    static const char *const tablets[] = {"t1", "t2", "t3", "t4"};
    char folder[256], path[300];
    struct error error;
    struct config *config = read_text(text, folder, sizeof folder, &error);

    (void)state;
    assert_non_null(config);
    (void)snprintf(path, sizeof path, "%s/dep", folder);
    assert_string_equal(config->deployment, path);
    (void)snprintf(path, sizeof path, "%s/acc.csv", folder);
    assert_string_equal(config->users, path);
    (void)snprintf(path, sizeof path, "%s/ca.pem", folder);
    assert_string_equal(config->ca, path);
    (void)snprintf(path, sizeof path, "%s/store", folder);
    assert_string_equal(config->store, path);
    assert_string_equal(config->url, "http://127.0.0.1:5984/prefix");
    assert_int_equal(config->kind, CHT_KIND_COUCHDB);
    assert_true(config->account);
    assert_true(config->basic); /* couchdb has no other */
    assert_string_equal(config->db, "records");
    assert_int_equal(config->most_docs, 7);
    assert_int_equal(config->most_bytes, 2 << 20);
    assert_int_equal(config->parallel, 2);
    assert_int_equal(config->patience_s, 5400);
    assert_false(config->fetch);
    assert_int_equal(config->every_s, 7200);
    assert_string_equal(config->selector, "{\"type\":\"person\"}");
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(config_tablets(config, "c1")[i], tablets[i]);
    assert_null(config_tablets(config, "c1")[4]);
    assert_string_equal(config_tablets(config, "c2")[0], "t9");
    assert_null(config_tablets(config, "c3"));
    config_free(config);
}

static void faults_have_their_line(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"[server]\nurl=https://x\n[sever]\nkind=cht\n", ":4: [sever] is not a section; there are"},
        {"[server]\nurl=https://x\nusr=y\n", ":3: [server] has no usr=; it has url, kind"},
        {"url=https://x\n", ":1: [] is not a section"},
        {"[server]\nurl\n", ":2: is neither"},
        {"[server\n", ":1: is neither"},
        {"[server]\nurl=https://a\nurl=https://b\n", ":3: url= is there twice"},
        {"[server]\nurl=cht.example\n", ":2: url= must be like"},
        {"[server]\nurl=ftp://cht.example\n", ":2: url= must be like"},
        {"[server]\nurl=https://me:pw@cht.example\n", ":2: url= has a user name"},
        {"[server]\nurl=https://cht.example/?x=1\n", ":2: url= has a query"},
        {"[server]\nkind=chd\n", ":2: kind=chd: must be cht or couchdb"},
        {"[server]\nlogin=cookie\n", ":2: login=cookie: must be"},
        {"[server]\nusers=a\naccount=b\n", ":3: account=: there is a users= or account= already"},
        {"[server]\ndb=a/b\n", ":2: db=a/b: must be"},
        {"[server]\nca=\n", ":2: ca= is empty"},
        {"[replay]\ndocs=0\n", ":2: docs=0: must be a number from 1 to 10000"},
        {"[replay]\ndocs=-1\n", ":2: docs=-1: must be"},
        {"[replay]\ndocs=5x\n", ":2: docs=5x: must be"},
        {"[replay]\nbytes=33MB\n", ":2: bytes=33MB: must be"},
        {"[replay]\nbytes=99999999999999999999\n", ":2: bytes="},
        {"[replay]\nparallel=17\n", ":2: parallel=17: must be"},
        {"[replay]\npatience=forever\n", ":2: patience=forever: must be"},
        {"[down]\nfetch=maybe\n", ":2: fetch=maybe: must be yes or no"},
        {"[down]\nevery=8d\n", ":2: every=8d: must be a number"},
        {"[down]\nselector=nowhere\n", ":2: selector=: "},
        {"[down]\nselector=dock.ini\n", ":2: selector=dock.ini: must be a Mango selector"},
        {WHOLE "[down]\nselector=dock.selector\n", "selector= is for kind=couchdb"},
        {"[couriers]\nc1=,\n", ":2: c1=: names no tablet"},
        {"[couriers]\nc23456789012345678901234567890123456789012345678901=t1\n", "too long here"},
        {"[deployment]\ndir=/d\n", "[server] url= is missing"},
        {"[server]\nurl=https://x\n", "[deployment] dir= is missing"},
        {"[deployment]\ndir=/d\n[server]\nurl=https://x\n", "users= or account= is missing"},
        {"[deployment]\ndir=/d\n[server]\nurl=https://x\nusers=u\n", "[store] dir= is missing"},
        {"", "is missing"},
    };
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_null(read_text(cases[i].text, NULL, 0, &error));
        assert_int_equal(error.kind, ERROR_USAGE);
        assert_non_null(strstr(error.text, "dock.ini"));
        if (strstr(error.text, cases[i].words) == NULL)
            fail_msg("case %zu: %s", i, error.text);
    }
    assert_null(config_open("/nowhere/dock.ini", &error));
    assert_int_equal(error.kind, ERROR_FAILED);
}

/* inih would cut a long line in two and take the rest for another: it is refused. */
static void long_lines_are_refused(void **state)
{
    char text[1000] = "[server]\nurl=https://";
    struct error error;

    (void)state;
    memset(text + strlen(text), 'a', 500);
    (void)snprintf(text + strlen(text), sizeof text - strlen(text), "\nusers=x\n");
    assert_null(read_text(text, NULL, 0, &error));
    assert_non_null(strstr(error.text, ":2: the line is longer than"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(every_key),
        cmocka_unit_test(faults_have_their_line),
        cmocka_unit_test(long_lines_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
