/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/tablet/newcomer: a second client that reads from the beginning makes what is not on the shelf be sent again; the first
 * one, and whoever reads on, changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "store/streams.h"
#include "tests/unit/support/shelved.h"
#include "tests/unit/support/stores.h"

#define META "medic-user-chw1-meta"
#define THEIRS \
    "{\"_id\":\"theirs\",\"_rev\":\"1-t\",\"_revisions\":{\"start\":1,\"ids\":[\"t\"]}}\n"

/* The ids of what is held, each behind a blank. */
static const char *held(struct shelved *s)
{
    static char names[400];
    struct rev_here here = {.db = ""};

    names[0] = '\0';
    while (revs_next_here(s->store, &here, &here, &s->error) == 1) {
        strcat(names, " ");
        strcat(names, here.id);
    }
    return names;
}

static bool is_due(struct shelved *s)
{
    char due[STORE_NAME_BYTES];

    return streams_next_due(s->store, "", due, &s->error) == 1;
}

static void reads(struct shelved *s, const char *uri)
{
    shelved_expect(s, "GET", uri, NULL, 200, "*\"last_seq\"");
}

/* What the app has sent in both databases, and what the server has; the receipt of it is made. */
static void fill(struct shelved *s)
{
    shelved_receive(s, "docs", "medic", THEIRS);
    shelved_expect(s, "POST", "/medic/_bulk_docs",
                   "{\"docs\":[{\"_id\":\"mine\",\"_rev\":\"1-m\"}],\"new_edits\":false}", 201,
                   "[]\n");
    shelved_expect(s, "POST", "/" META "/_bulk_docs",
                   "{\"docs\":[{\"_id\":\"read\",\"_rev\":\"1-r\"}],\"new_edits\":false}", 201,
                   "[]\n");
    STORES_OK(inbox_work(s->inbox, s->store, s->trust, &s->error) >= 0, &s->error);
    assert_string_equal(held(s), " mine theirs read");
    assert_false(is_due(s));
}

static void test_first(void **state)
{
    struct shelved *s = *state;

    fill(s);
    reads(s, "/medic/_changes");
    reads(s, "/medic/_changes?since=0&feed=normal&style=all_docs");
    reads(s, "/medic/_changes?since=1");
    reads(s, "/medic/_changes?since=now");
    assert_string_equal(held(s), " mine theirs read");
    assert_false(is_due(s));
}

static void test_second(void **state)
{
    struct shelved *s = *state;

    fill(s);
    reads(s, "/medic/_changes?since=0");
    reads(s, "/medic/_changes?since=1");
    reads(s, "/medic/_changes?since=0");
    assert_string_equal(held(s), " theirs read");
    assert_true(is_due(s));
    /* It is known none the less: nobody sends it up again. */
    shelved_expect(s, "POST", "/medic/_revs_diff", "{\"mine\":[\"1-m\"]}", 200, "{}");
}

/* Neither whoever looks for some documents nor whoever looks at the end begins to replicate. */
static void test_others(void **state)
{
    struct shelved *s = *state;

    fill(s);
    reads(s, "/medic/_changes?since=1");
    reads(s, "/medic/_changes?since=0&filter=_doc_ids&doc_ids=[\"theirs\"]");
    reads(s, "/medic/_changes?descending=true&limit=1");
    shelved_expect(s, "GET", "/medic/_changes?since=0&limit=x", NULL, 400, "*bad_request");
    reads(s, "/" META "/_changes?since=0");
    assert_string_equal(held(s), " mine theirs read");
    assert_false(is_due(s));
}

static void test_nothing_to_send(void **state)
{
    struct shelved *s = *state;

    shelved_receive(s, "docs", "medic", THEIRS);
    STORES_OK(inbox_work(s->inbox, s->store, s->trust, &s->error) >= 0, &s->error);
    for (int i = 0; i < 3; i++) {
        reads(s, "/medic/_changes?since=1");
        reads(s, "/medic/_changes?since=0");
    }
    assert_string_equal(held(s), " theirs");
    assert_false(is_due(s));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, shelved_set_up, shelved_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_first),
        TEST(test_second),
        TEST(test_others),
        TEST(test_nothing_to_send),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
