/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/diff.h"

#include <stdio.h>
#include <string.h>

json_t *diff_new(void)
{
    json_t *question = json_object();

    if (question == NULL || diff_ask(question, DIFF_ABSENT_ID, DIFF_ABSENT_REV, NULL) != 0) {
        json_decref(question);
        return NULL;
    }
    return question;
}

static bool lists(const json_t *revs, const char *rev)
{
    size_t at;
    const json_t *each;

    json_array_foreach (revs, at, each) {
        if (json_is_string(each) && strcmp(json_string_value(each), rev) == 0)
            return true;
    }
    return false;
}

int diff_ask(json_t *question, const char *id, const char *rev, struct error *error)
{
    json_t *revs = json_object_get(question, id);

    if (revs == NULL) {
        revs = json_array();
        if (json_object_set_new(question, id, revs) != 0)
            goto failed;
    }
    if (!lists(revs, rev) && json_array_append_new(revs, json_string(rev)) != 0)
        goto failed;
    return 0;

failed:
    return error_set(error, ERROR_FAILED,
                     "_revs_diff: an id or rev is not UTF-8, or there is no memory");
}

struct target {
    struct buffer *out;
    struct error *error;
};

static int take(const char *text, size_t size, void *context)
{
    struct target *target = context;

    return buffer_append(target->out, text, size, target->error);
}

int diff_write(const json_t *question, struct buffer *out, struct error *error)
{
    struct target target = {out, error};

    (void)error_set(error, ERROR_FAILED, "_revs_diff: its question cannot be written as JSON");
    return json_dump_callback(question, take, &target, JSON_COMPACT) == 0 ? 0 : -1;
}

json_t *diff_read(const char *body, size_t size, struct error *error)
{
    json_t *answer = json_loadb(body, size, 0, NULL);
    const char *id;
    json_t *entry;

    if (!json_is_object(answer))
        goto garbage;
    json_object_foreach (answer, id, entry) {
        if (!json_is_array(json_object_get(entry, "missing")))
            goto garbage;
    }
    if (!diff_missing(answer, DIFF_ABSENT_ID, DIFF_ABSENT_REV))
        goto garbage;
    return answer;

garbage:
    json_decref(answer);
    (void)error_set(error, ERROR_TEMPORARY,
                    "_revs_diff: the answer is not CouchDB's; something between the dock and the "
                    "server may have answered in its place");
    return NULL;
}

bool diff_missing(const json_t *answer, const char *id, const char *rev)
{
    return lists(json_object_get(json_object_get(answer, id), "missing"), rev);
}

json_t *diff_read_results(const char *body, size_t size)
{
    json_t *results = json_loadb(body, size, 0, NULL);

    if (!json_is_array(results)) {
        json_decref(results);
        return NULL;
    }
    return results;
}

static const char *string_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));

    return text != NULL ? text : "";
}

bool diff_entry(const json_t *results, const char *id, const char *rev, const char **word,
                const char **reason)
{
    bool found = false;
    size_t at;
    const json_t *entry;

    json_array_foreach (results, at, entry) {
        const char *its_rev = string_of(entry, "rev");

        if (strcmp(string_of(entry, "id"), id) != 0 || string_of(entry, "error")[0] == '\0')
            continue;
        if (found && strcmp(its_rev, rev) != 0)
            continue;
        *word = string_of(entry, "error");
        *reason = string_of(entry, "reason");
        found = true;
        if (strcmp(its_rev, rev) == 0)
            break;
    }
    return found;
}

void diff_failure(long status, const char *body, size_t size, struct diff_words *words)
{
    static const struct {
        long status;
        const char *meaning;
    } known[] = {{400, "bad request"},  {403, "forbidden"},   {404, "not found"},
                 {412, "bad stub"},     {413, "too large"},   {414, "too long"},
                 {500, "server error"}, {502, "bad gateway"}, {504, "gateway time-out"}};
    json_t *json = json_loadb(body, size, 0, NULL);
    const char *word = json_string_value(json_object_get(json, "error"));
    const char *reason = json_string_value(json_object_get(json, "reason"));

    for (size_t i = 0; i < sizeof known / sizeof *known && word == NULL; i++) {
        if (known[i].status == status)
            word = known[i].meaning;
    }
    (void)snprintf(words->word, sizeof words->word, "%ld %s", status, word != NULL ? word : "");
    (void)snprintf(words->reason, sizeof words->reason, "%s", reason != NULL ? reason : "");
    json_decref(json);
}
