/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "store/batch.h"

#define FORMAT 1
#define NUMBER_MAX ((UINT64_C(1) << 53) - 1)

static bool epoch_ok(const char *epoch)
{
    return strlen(epoch) == STORE_EPOCH_BYTES - 1 &&
           strspn(epoch, "0123456789abcdef") == STORE_EPOCH_BYTES - 1;
}

static bool kind_ok(const char *kind)
{
    return kind[0] != '\0' &&
           strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(kind);
}

static int check(const struct manifest *manifest, struct error *error)
{
    const char *wrong = NULL;

    if (!station_name_ok(manifest->from))
        wrong = "from";
    else if (!station_name_ok(manifest->to))
        wrong = "to";
    else if (!epoch_ok(manifest->epoch))
        wrong = "epoch";
    else if (manifest->seq > NUMBER_MAX)
        wrong = "seq";
    else if (!kind_ok(manifest->kind))
        wrong = "kind";
    else if (manifest->user[0] != '\0' && !station_user_ok(manifest->user))
        wrong = "user";
    else if (manifest->docs > NUMBER_MAX)
        wrong = "docs";
    if (wrong != NULL)
        return error_set(error, ERROR_CORRUPT, "manifest: its member %s is out of bounds", wrong);
    return 0;
}

int manifest_write(const struct manifest *manifest, struct buffer *out, struct error *error)
{
    json_t *json;
    char *text;
    int result;

    if (check(manifest, error) != 0)
        return -1;
    json = json_pack("{si ss ss ss sI ss ss ss sI ss}", "boda", FORMAT, "from", manifest->from,
                     "to", manifest->to, "epoch", manifest->epoch, "seq", (json_int_t)manifest->seq,
                     "kind", manifest->kind, "db", manifest->db, "user", manifest->user, "docs",
                     (json_int_t)manifest->docs, "created", manifest->created);
    text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    if (text == NULL)
        result = error_set(error, ERROR_FAILED, "manifest: its words are not UTF-8");
    else if (strlen(text) > MANIFEST_MAX_BYTES)
        result =
            error_set(error, ERROR_FAILED, "manifest: is longer than %u bytes", MANIFEST_MAX_BYTES);
    else
        result = buffer_append(out, text, strlen(text), error);
    free(text);
    json_decref(json);
    return result;
}

static int text_member(const json_t *json, const char *member, char *out, size_t size,
                       struct error *error)
{
    const json_t *value = json_object_get(json, member);

    if (value == NULL)
        return error_set(error, ERROR_CORRUPT, "manifest: has no member %s", member);
    if (!json_is_string(value) || json_string_length(value) >= size)
        return error_set(error, ERROR_CORRUPT, "manifest: its member %s is out of bounds", member);
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return 0;
}

static int number_member(const json_t *json, const char *member, uint64_t *out, struct error *error)
{
    const json_t *value = json_object_get(json, member);

    if (value == NULL)
        return error_set(error, ERROR_CORRUPT, "manifest: has no member %s", member);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return error_set(error, ERROR_CORRUPT, "manifest: its member %s is out of bounds", member);
    *out = (uint64_t)json_integer_value(value);
    return 0;
}

static int take(const json_t *json, struct manifest *manifest, struct error *error)
{
    uint64_t format;

    if (number_member(json, "boda", &format, error) != 0)
        return -1;
    if (format != FORMAT)
        return error_set(error, ERROR_CORRUPT,
                         "manifest: has format %llu, this program knows %d: update it",
                         (unsigned long long)format, FORMAT);
    if (text_member(json, "from", manifest->from, sizeof manifest->from, error) != 0 ||
        text_member(json, "to", manifest->to, sizeof manifest->to, error) != 0 ||
        text_member(json, "epoch", manifest->epoch, sizeof manifest->epoch, error) != 0 ||
        number_member(json, "seq", &manifest->seq, error) != 0 ||
        text_member(json, "kind", manifest->kind, sizeof manifest->kind, error) != 0 ||
        text_member(json, "db", manifest->db, sizeof manifest->db, error) != 0 ||
        text_member(json, "user", manifest->user, sizeof manifest->user, error) != 0 ||
        number_member(json, "docs", &manifest->docs, error) != 0 ||
        text_member(json, "created", manifest->created, sizeof manifest->created, error) != 0)
        return -1;
    return check(manifest, error);
}

int manifest_read(const char *line, size_t length, struct manifest *manifest, struct error *error)
{
    json_error_t fault;
    json_t *json;
    int result;

    memset(manifest, 0, sizeof *manifest);
    if (length > MANIFEST_MAX_BYTES)
        return error_set(error, ERROR_CORRUPT, "manifest: is longer than %u bytes",
                         MANIFEST_MAX_BYTES);
    json = json_loadb(line, length, JSON_REJECT_DUPLICATES, &fault);
    if (!json_is_object(json))
        result = error_set(error, ERROR_CORRUPT, "manifest: is not a JSON object%s%s",
                           json == NULL ? ": " : "", json == NULL ? fault.text : "");
    else
        result = take(json, manifest, error);
    json_decref(json);
    if (result != 0)
        memset(manifest, 0, sizeof *manifest);
    return result;
}
