/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/display.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"

#define UUID "0123456789abcdef0123456789abcdef"

struct display {
    json_t *dbs; /* "DB": {"ID": {rev, who, json, seq, listed, deleted, vanished}} */
    json_int_t seq;
    bool messy;
};

struct display *display_new(void)
{
    struct display *display = calloc(1, sizeof *display);

    assert_non_null(display);
    display->dbs = json_object();
    return display;
}

void display_free(struct display *display)
{
    json_decref(display->dbs);
    free(display);
}

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));

    return text != NULL ? text : "";
}

static bool is(const json_t *object, const char *member)
{
    return json_is_true(json_object_get(object, member));
}

static json_t *find(struct display *display, const char *db, const char *id)
{
    json_t *doc = json_object_get(json_object_get(display->dbs, db), id);

    assert_non_null(doc);
    return doc;
}

void display_put(struct display *display, const char *db, const char *id, const char *rev,
                 const char *who, const char *json)
{
    if (json_object_get(display->dbs, db) == NULL)
        json_object_set_new(display->dbs, db, json_object());
    json_object_set_new(json_object_get(display->dbs, db), id,
                        json_pack("{s:s,s:s,s:s,s:I,s:b}", "rev", rev, "who",
                                  who != NULL ? who : "", "json", json, "seq", ++display->seq,
                                  "listed", 1));
}

void display_remove(struct display *display, const char *db, const char *id, bool deleted)
{
    json_object_set_new(find(display, db, id), "listed", json_false());
    json_object_set_new(find(display, db, id), "deleted", json_boolean(deleted));
}

void display_vanish(struct display *display, const char *db, const char *id)
{
    json_object_set_new(find(display, db, id), "vanished", json_true());
}

void display_begin_anew(struct display *display, const char *db)
{
    json_object_set_new(display->dbs, db, json_object());
    display->seq = 0;
}

void display_mess_up(struct display *display)
{
    display->messy = true;
}

static bool sees(const json_t *doc, const char *who)
{
    const char *whose = text_of(doc, "who");

    return is(doc, "listed") && (*whose == '\0' || strcmp(whose, who) == 0);
}

static json_t *ids(struct display *display, const char *who)
{
    json_t *list = json_array(), *doc;
    const char *id;

    json_object_foreach (json_object_get(display->dbs, "medic"), id, doc)
        if (sees(doc, who))
            json_array_append_new(list,
                                  json_pack("{s:s,s:s}", "id", id, "rev", text_of(doc, "rev")));
    return json_pack("{s:o,s:I,s:b,s:s}", "doc_ids_revs", list, "limit", (json_int_t)10000, "warn",
                     0, "last_seq", "77-abc");
}

static json_t *deletes(struct display *display, const json_t *body)
{
    json_t *list = json_array(), *id;
    size_t at;

    json_array_foreach (json_object_get(body, "doc_ids"), at, id)
        if (is(json_object_get(json_object_get(display->dbs, "medic"), json_string_value(id)),
               "deleted"))
            json_array_append(list, id);
    return json_pack("{s:o}", "doc_ids", list);
}

/* In order of seq. */
static json_t *changes(struct display *display, const char *db, const struct display_ask *ask)
{
    json_t *results = json_array(), *doc, *docs = json_object_get(display->dbs, db);
    json_int_t since = ask->since != NULL ? atoll(ask->since) : 0, last = since, pending = 0;
    size_t limit = ask->limit != NULL ? (size_t)atoll(ask->limit) : SIZE_MAX;
    const char *id;

    for (json_int_t seq = since + 1; seq <= display->seq; seq++) {
        json_object_foreach (docs, id, doc) {
            if (json_integer_value(json_object_get(doc, "seq")) != seq || !sees(doc, ask->who))
                continue;
            if (json_array_size(results) == limit) {
                pending++;
                continue;
            }
            json_array_append_new(results, json_pack("{s:I,s:s,s:[{s:s}]}", "seq", seq, "id", id,
                                                     "changes", "rev", text_of(doc, "rev")));
            last = seq;
        }
    }
    if (pending == 0)
        last = display->seq;
    return json_pack("{s:o,s:I,s:I}", "results", results, "last_seq", last, "pending", pending);
}

static void add_doc(struct buffer *out, const char *id, const json_t *doc, const char *rev,
                    const char *who)
{
    const char *comma = out->data[out->length - 1] == '[' ? "" : ",";

    if (doc == NULL || !sees(doc, who))
        return;
    if (is(doc, "vanished") || (rev != NULL && strcmp(rev, text_of(doc, "rev")) != 0))
        (void)buffer_printf(out, NULL,
                            "%s{\"id\":\"%s\",\"docs\":[{\"error\":{\"error\":\"not_found\"}}]}",
                            comma, id);
    else
        (void)buffer_printf(out, NULL, "%s{\"id\":\"%s\",\"docs\":[{\"ok\":%s}]}", comma, id,
                            text_of(doc, "json"));
}

/* The documents' own texts, byte for byte. */
static char *bulk_get(struct display *display, const char *db, const struct display_ask *ask)
{
    const json_t *docs = json_object_get(display->dbs, db);
    const json_t *asked = json_object_get(ask->body, "docs");
    size_t count = json_array_size(asked);
    struct buffer out = {0};

    (void)buffer_printf(&out, NULL, "{\"results\":[");
    for (size_t i = 0; i < count * (display->messy ? 2 : 1); i++) {
        const json_t *one = json_array_get(asked, display->messy ? count - 1 - i % count : i);
        const char *id = text_of(one, "id");

        add_doc(&out, id, json_object_get(docs, id), text_of(one, "rev"), ask->who);
    }
    if (display->messy)
        add_doc(&out, "extra", json_object_get(docs, "extra"), NULL, ask->who);
    assert_int_equal(buffer_append(&out, "]}", 3, NULL), 0);
    return (char *)out.data;
}

char *display_answer(struct display *display, const struct display_ask *ask, unsigned *status)
{
    json_t *answer = NULL;
    char db[128] = "", *text;

    (void)sscanf(ask->path, "/%127[^/]", db);
    if (strcmp(ask->path, "/api/v1/replication/get-ids") == 0)
        answer = ids(display, ask->who);
    else if (strcmp(ask->path, "/api/v1/replication/get-deletes") == 0)
        answer = deletes(display, ask->body);
    else if (strcmp(ask->path, "/dbinfo") == 0)
        answer = json_pack("{s:s,s:s}", "couchdb", "Welcome", "uuid", UUID);
    else if (strstr(ask->path, "/_changes") == NULL && strstr(ask->path, "/_bulk_get") == NULL)
        return NULL;
    else if (json_object_get(display->dbs, db) == NULL)
        *status = 404;
    else if (strstr(ask->path, "/_bulk_get") != NULL)
        return bulk_get(display, db, ask);
    else
        answer = changes(display, db, ask);
    text = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    return text != NULL ? text : strdup("{\"error\":\"not_found\"}");
}
