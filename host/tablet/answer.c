/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/answer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void answer_json(struct answer *answer, unsigned status, const char *json)
{
    answer->status = status;
    answer->more = NULL;
    answer->body.length = 0;
    if (buffer_append(&answer->body, json, strlen(json), NULL) != 0)
        answer->status = 500; /* no memory: with an empty body */
}

void answer_error(struct answer *answer, unsigned status, const char *word, const char *reason)
{
    json_t *value = json_pack("{s:s, s:s}", "error", word, "reason", reason);
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;

    answer_json(answer, status, text != NULL ? text : "{\"error\":\"unknown_error\"}");
    free(text);
    json_decref(value);
}

void answer_fault(struct answer *answer, const struct error *fault)
{
    if (fault->kind == ERROR_USAGE) {
        answer_error(answer, 400, "bad_request", fault->text);
        return;
    }
    log_error("http: %s", fault->text);
    if (fault->kind == ERROR_FULL)
        answer_error(answer, 507, "insufficient_storage", fault->text);
    else if (fault->kind == ERROR_TEMPORARY)
        answer_error(answer, 503, "service_unavailable", fault->text);
    else
        answer_error(answer, 500, "internal_server_error", fault->text);
}

int answer_string(struct buffer *out, const char *text, struct error *error)
{
    json_t *value = json_string(text);
    char *quoted = value != NULL ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    int result;

    if (quoted != NULL)
        result = buffer_append(out, quoted, strlen(quoted), error);
    else
        result = error_set(error, ERROR_FAILED, "http: no memory, or a word that is not UTF-8");
    free(quoted);
    json_decref(value);
    return result;
}

void answer_free(struct answer *answer)
{
    buffer_cleanse(&answer->body);
    answer->status = 0;
}
