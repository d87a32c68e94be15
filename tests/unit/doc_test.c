/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/doc: what must be known of a document is read from its text; what is no document is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/doc.h"

static struct doc taken(const char *json)
{
    struct doc doc;
    struct error error;

    if (doc_read(json, strlen(json), &doc, &error) != 0)
        fail_msg("%s: %s", json, error.text);
    return doc;
}

/* The ancestors of the document JSON are "REV REV ". */
static void ancestors_are(const char *json, const char *expected)
{
    struct doc_ancestors *ancestors = malloc(sizeof *ancestors);
    struct doc doc = taken(json);
    char text[256] = "";

    assert_non_null(ancestors);
    doc_ancestors(json, &doc, ancestors);
    for (size_t i = 0; i < ancestors->count; i++)
        (void)strcat(strcat(text, ancestors->revs[i]), " ");
    assert_string_equal(text, expected);
    free(ancestors);
}

static void refused_bytes(const char *json, size_t size, const char *words)
{
    struct doc doc;
    struct error error = {0};
    char *exact = malloc(size + 1); /* so that ASan sees a read beyond the end */

    assert_non_null(exact);
    exact = realloc(exact, size > 0 ? size : 1);
    assert_non_null(exact);
    memcpy(exact, json, size);
    assert_int_equal(doc_read(exact, size, &doc, &error), -1);
    assert_string_equal(doc.id, "");
    if (strstr(error.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", error.text, words);
    assert_int_equal(strncmp(error.text, "document: ", 10), 0);
    free(exact);
}

static void refused(const char *json, const char *words)
{
    refused_bytes(json, strlen(json), words);
}

/* The members that Boda needs, wherever they stand, and not those of the same name further inside. */
static void members_are_read(void **state)
{
    struct doc doc;

    (void)state;
    doc = taken("{\"fields\":{\"_id\":\"no\",\"type\":\"no\",\"purged\":1},\"type\":\"person\","
                "\"_rev\":\"2-abc\",\"list\":[{\"_id\":\"no\",\"_deleted\":true}],"
                "\"_revisions\":{\"start\":2,\"ids\":[\"abc\",\"def\"]},\"_id\":\"p1\","
                "\"contact_type\":\"chw\",\"form\":null}");
    assert_string_equal(doc.id, "p1");
    assert_string_equal(doc.rev, "2-abc");
    assert_string_equal(doc.type, "person");
    assert_string_equal(doc.contact_type, "chw");
    assert_true(doc.has_revisions);
    assert_true(doc.has_form);
    assert_false(doc.deleted);
    assert_false(doc.purged);
    assert_int_equal(doc.members, 8);
}

/* Escapes are resolved, whitespace is allowed, a missing _rev is "". */
static void text_is_json(void **state)
{
    struct doc doc = taken(" {\"_i\\u0064\" : \"a\\u00e9\\ud83d\\ude00\\/\" } \n");

    (void)state;
    assert_string_equal(doc.id, "a\xc3\xa9\xf0\x9f\x98\x80/");
    assert_string_equal(doc.rev, "");
    assert_int_equal(doc.members, 1);
}

/* Numbers that no machine type holds are passed over untouched. */
static void numbers_are_left_alone(void **state)
{
    (void)state;
    assert_string_equal(taken("{\"_id\":\"a\",\"x\":1e400}").id, "a");
    assert_string_equal(taken("{\"_id\":\"a\",\"x\":-123456789012345678901234567890}").id, "a");
    assert_string_equal(taken("{\"_id\":\"a\",\"x\":[1.5E-700,0.1]}").id, "a");
}

/* Long type words are cut, long ids refused. */
static void lengths_are_bounded(void **state)
{
    char json[4096], word[2048];

    (void)state;
    memset(word, 'w', sizeof word);
    (void)snprintf(json, sizeof json, "{\"_id\":\"%.1024s\",\"type\":\"%.200s\"}", word, word);
    assert_int_equal(strlen(taken(json).id), 1024);
    assert_int_equal(strlen(taken(json).type), DOC_WORD_BYTES - 1);
    (void)snprintf(json, sizeof json, "{\"_id\":\"%.1025s\"}", word);
    refused(json, "its _id is empty, too long or has a NUL");
    (void)snprintf(json, sizeof json, "{\"_id\":\"a\",\"_rev\":\"%.129s\"}", word);
    refused(json, "its _rev is empty, too long or has a NUL");
}

/* Everything that is not one JSON object with one string _id. */
static void others_are_refused(void **state)
{
    (void)state;
    refused("", "document");
    refused("   ", "document");
    refused("[]", "is not an object");
    refused("7", "is not an object");
    refused("\"x\"", "is not an object");
    refused("null", "is not an object");
    refused("{}", "has no _id");
    refused("{\"x\":{\"_id\":\"a\"}}", "has no _id");
    refused("{\"_id\":7}", "its _id is not a string");
    refused("{\"_id\":null}", "its _id is not a string");
    refused("{\"_id\":{}}", "its _id is not a string");
    refused("{\"_id\":[\"a\"]}", "its _id is not a string");
    refused("{\"_id\":\"\"}", "its _id is empty");
    refused("{\"_id\":\"a\\u0000b\"}", "has a NUL");
    refused("{\"_id\":\"a\",\"_rev\":1}", "its _rev is not a string");
    refused("{\"_id\":\"a\",\"_id\":\"b\"}", "has two members _id");
    refused("{\"_id\":\"a\",\"_rev\":\"1-a\",\"_rev\":\"1-b\"}", "has two members _rev");
    refused("{\"_id\":\"a\"} x", "at byte");
    refused("{\"_id\":\"a\"}{}", "at byte");
    refused("{\"_id\":\"a\"", "at byte");
    refused("{\"_id\":\"a\",}", "at byte");
    refused("{\"_id\":\"a\",\"x\":NaN}", "at byte");
    refused("{\"_id\":\"a\" /* no */}", "at byte");
    refused("{\"_id\":\"a\xff\"}", "at byte");
    refused("{\"_id\":\"a\nb\"}", "at byte");
    refused_bytes("{\"_id\":\"a\"}\0", 12, "at byte");
}

/* A document cut at any length is refused. */
static void every_cut_is_refused(void **state)
{
    const char *json =
        "{\"_id\":\"a\",\"_rev\":\"1-a\",\"x\":[1,true,null,\"\\u00e9\",{\"y\":-1e5}]}";

    (void)state;
    (void)taken(json);
    for (size_t size = 0; size < strlen(json); size++)
        refused_bytes(json, size, "document");
}

/* 500 levels are taken, 501 and 100,000 are not, and the stack lives. */
static void depth_is_bounded(void **state)
{
    enum { DEEP = 100000 };
    static char json[2 * DEEP + 64];
    const unsigned depths[] = {499, 500, DEEP};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t at = (size_t)sprintf(json, "{\"_id\":\"a\",\"x\":");

        memset(json + at, '[', depths[i]);
        memset(json + at + depths[i], ']', depths[i]);
        strcpy(json + at + 2 * depths[i], "}");
        if (i == 0)
            (void)taken(json);
        else
            refused(json, "nested more than 500 deep");
    }
}

/* The text of a document, which may be a patient's, is not in the message. */
static void messages_have_no_content(void **state)
{
    struct doc doc;
    struct error error = {0};
    const char *json = "{\"_id\":\"a\",\"name\":\"Akinyi\" Odhiambo}";

    (void)state;
    assert_int_equal(doc_read(json, strlen(json), &doc, &error), -1);
    assert_null(strstr(error.text, "Akinyi"));
    assert_null(strstr(error.text, "Odhiambo"));
}

/* What CHT never sends up, and what is a contact. */
static void kinds_are_told_apart(void **state)
{
    struct doc doc;

    (void)state;
    doc = taken("{\"_id\":\"form:pregnancy\",\"type\":\"form\"}");
    assert_true(doc_never_goes_up(&doc));
    doc = taken("{\"_id\":\"_design/medic-client\"}");
    assert_true(doc_never_goes_up(&doc));
    doc = taken("{\"_id\":\"settings\"}");
    assert_true(doc_never_goes_up(&doc));
    doc = taken("{\"_id\":\"a\",\"_rev\":\"3-a\",\"_deleted\":true,\"purged\":true}");
    assert_true(doc_never_goes_up(&doc));
    doc = taken("{\"_id\":\"a\",\"_rev\":\"3-a\",\"_deleted\":true,\"purged\":true,"
                "\"_revisions\":{}}");
    assert_true(doc_never_goes_up(&doc));
    doc =
        taken("{\"_id\":\"a\",\"_rev\":\"3-a\",\"_deleted\":true,\"purged\":true,\"form\":\"x\"}");
    assert_false(doc_never_goes_up(&doc));
    doc = taken("{\"_id\":\"a\",\"_rev\":\"3-a\",\"_deleted\":true}");
    assert_false(doc_never_goes_up(&doc));
    assert_true(doc.deleted);
    doc = taken("{\"_id\":\"a\",\"type\":\"data_record\",\"form\":\"x\"}");
    assert_false(doc_never_goes_up(&doc));
    assert_false(doc_is_contact(&doc));
    doc = taken("{\"_id\":\"a\",\"type\":\"contact\",\"contact_type\":\"household\"}");
    assert_true(doc_is_contact(&doc));
    doc = taken("{\"_id\":\"a\",\"type\":\"clinic\"}");
    assert_true(doc_is_contact(&doc));
}

static void stubs_are_seen(void **state)
{
    (void)state;
    assert_true(taken("{\"_id\":\"a\",\"_attachments\":{\"p\":{\"digest\":\"x\",\"stub\":true}}}")
                    .has_stub);
    assert_false(
        taken(
            "{\"_id\":\"a\",\"_attachments\":{\"a\":{\"stub\":false,\"data\":\"\"}},\"stub\":true,"
            "\"x\":{\"a\":{\"stub\":true}}}")
            .has_stub);
    assert_false(
        taken("{\"_id\":\"a\",\"_attachments\":{\"a\":{\"stub\":[true],\"x\":{\"stub\":true}}}}")
            .has_stub);
}

/* `_revisions`, wherever it stands and in whatever order; what is not of this revision names none. */
static void ancestors_are_read(void **state)
{
    (void)state;
    ancestors_are(
        "{\"_id\":\"a\",\"_rev\":\"3-c\",\"_revisions\":{\"start\":3,\"ids\":[\"c\",\"b\",\"a\"]}}",
        "2-b 1-a ");
    ancestors_are("{\"_revisions\" : { \"ids\":[\"c\",\"b\"],\"x\":{},\"start\":12} ,\"_id\":\"a\","
                  "\"_rev\":\"12-c\",\"fields\":{\"_revisions\":{\"start\":3}}}",
                  "11-b ");
    ancestors_are(
        "{\"_id\":\"a\",\"_rev\":\"1-c\",\"_revisions\":{\"start\":1,\"ids\":[\"c\",\"b\"]}}", "");
    ancestors_are("{\"_id\":\"a\",\"_rev\":\"3-c\"}", "");
    ancestors_are("{\"_id\":\"a\",\"_rev\":\"3-c\",\"_revisions\":[3]}", "");
    ancestors_are("{\"_id\":\"a\",\"_rev\":\"3-c\",\"_revisions\":null}", "");
    ancestors_are(
        "{\"_id\":\"a\",\"_rev\":\"3-c\",\"_revisions\":{\"start\":3,\"ids\":[\"x\",\"b\"]}}", "");
    ancestors_are(
        "{\"_id\":\"a\",\"_rev\":\"3-c\",\"_revisions\":{\"start\":\"3\",\"ids\":[\"c\",\"b\"]}}",
        "");
    ancestors_are(
        "{\"_id\":\"a\",\"_rev\":\"3-c\",\"_revisions\":{\"start\":3,\"ids\":[\"c\",7,\"a\"]}}",
        "");
    ancestors_are(
        "{\"_id\":\"a\",\"_rev\":\"3-c\",\"_revisions\":{\"start\":1e999,\"ids\":[\"c\"]}}", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_read),
        cmocka_unit_test(stubs_are_seen),
        cmocka_unit_test(text_is_json),
        cmocka_unit_test(numbers_are_left_alone),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(messages_have_no_content),
        cmocka_unit_test(kinds_are_told_apart),
        cmocka_unit_test(ancestors_are_read),
    };

    return cmocka_run_group_tests_name("doc", tests, NULL, NULL);
}
