/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/gone.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "host/dock/listing.h"

#define QUESTION_IDS_MOST 1000
#define IDS_MOST 100000u /* that are told as gone; as many as a view has room for */

struct gone {
    char after[DOC_ID_BYTES]; /* asked for last */
    bool begun;
    json_t *asked; /* of the question out: "ID": false, true once it was answered */
    bool out;
    struct buffer body;
    char **ids;
    size_t count, capacity;
};

struct gone *gone_new(struct error *error)
{
    struct gone *gone = calloc(1, sizeof *gone);

    if (gone == NULL)
        (void)error_set(error, ERROR_FAILED, "get-deletes: no memory");
    return gone;
}

void gone_free(struct gone *gone)
{
    if (gone == NULL)
        return;
    for (size_t i = 0; i < gone->count; i++)
        free(gone->ids[i]);
    free(gone->ids);
    json_decref(gone->asked);
    buffer_free(&gone->body);
    free(gone);
}

static int dump(const char *text, size_t size, void *context)
{
    return buffer_append(context, text, size, NULL);
}

static int write_body(struct gone *gone, struct error *error)
{
    json_t *ids = json_array(), *json = json_pack("{s:o}", "doc_ids", ids), *value;
    bool failed = json == NULL;
    const char *id;

    gone->body.length = 0;
    json_object_foreach (gone->asked, id, value)
        failed = failed || json_array_append_new(ids, json_string(id)) != 0;
    failed = failed || json_dump_callback(json, dump, &gone->body, JSON_COMPACT) != 0;
    json_decref(json);
    return failed ? error_set(error, ERROR_FAILED, "get-deletes: no memory") : 0;
}

int gone_next(struct gone *gone, struct store *store, const char *tablet, const char *db,
              const struct buffer **body, struct error *error)
{
    struct holding next;
    int found = 1;

    *body = &gone->body;
    if (gone->out)
        return 1;
    json_decref(gone->asked);
    gone->asked = json_object();
    if (gone->asked == NULL)
        return error_set(error, ERROR_FAILED, "get-deletes: no memory");
    while (found == 1 && json_object_size(gone->asked) < QUESTION_IDS_MOST &&
           gone->count < IDS_MOST) {
        found = holdings_next_unlisted(store, tablet, db, gone->begun ? gone->after : NULL, &next,
                                       error);
        if (found != 1)
            break;
        memcpy(gone->after, next.id, sizeof gone->after);
        gone->begun = true;
        if (json_object_set_new(gone->asked, next.id, json_false()) != 0)
            log_debug("tablet %s: document %s is not asked for, as it is no UTF-8", tablet,
                      next.id);
    }
    if (found < 0 || json_object_size(gone->asked) == 0)
        return found < 0 ? -1 : 0;
    gone->out = true;
    return write_body(gone, error) == 0 ? 1 : -1;
}

static int on_id(const char *id, void *context, struct error *error)
{
    struct gone *gone = context;

    (void)error;
    if (json_object_get(gone->asked, id) != NULL)
        (void)json_object_set_new(gone->asked, id, json_true());
    return 0;
}

static int add(struct gone *gone, const char *id, struct error *error)
{
    if (gone->count == gone->capacity) {
        size_t capacity = gone->capacity == 0 ? 256 : gone->capacity * 2;
        char **larger = realloc(gone->ids, capacity * sizeof *larger);

        if (larger == NULL)
            return error_set(error, ERROR_FAILED, "get-deletes: no memory");
        gone->ids = larger;
        gone->capacity = capacity;
    }
    gone->ids[gone->count] = strdup(id);
    if (gone->ids[gone->count] == NULL)
        return error_set(error, ERROR_FAILED, "get-deletes: no memory");
    gone->count++;
    return 0;
}

int gone_take(struct gone *gone, const char *body, size_t size, struct error *error)
{
    const char *id;
    json_t *value;

    if (listing_take_deletes(body, size, on_id, gone, error) != 0)
        return -1;
    gone->out = false;
    /* They were asked in order, and jansson keeps it. */
    json_object_foreach (gone->asked, id, value)
        if (json_is_true(value) && add(gone, id, error) != 0)
            return -1;
    return 0;
}

const char *const *gone_ids(const struct gone *gone, size_t *count)
{
    *count = gone->count;
    return (const char *const *)gone->ids;
}

int gone_digest(const struct gone *gone, char text[GONE_DIGEST_BYTES], struct error *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool good = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;

    text[0] = '\0';
    for (size_t i = 0; i < gone->count && good; i++)
        good = EVP_DigestUpdate(hash, gone->ids[i], strlen(gone->ids[i]) + 1) == 1;
    good = good && EVP_DigestFinal_ex(hash, digest, NULL) == 1;
    EVP_MD_CTX_free(hash);
    if (!good)
        return error_set(error, ERROR_FAILED, "get-deletes: no digest from OpenSSL");
    if (gone->count > 0)
        hex_encode(digest, 32, text);
    return 0;
}
