/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * GET /{db}/{id}/{attachment}: its bytes, out of the document's base64.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tablet/delivery.h"
#include "host/tablet/parts.h"
#include "host/tablet/route.h"

struct attachment {
    struct opened_place place;
    struct parts_attachment found;
    size_t at; /* within its base64 */
    EVP_ENCODE_CTX *decoder;
};

/* A header's value: visible ASCII and blanks. */
static bool is_header(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            return false;
    return true;
}

static int compare(const struct parts_attachment *attachment, void *context, struct error *error)
{
    struct request *request = context;
    struct attachment *wanted = request->state;

    (void)error;
    if (strcmp(attachment->name, request->attachment) != 0)
        return 0;
    wanted->found = *attachment;
    return 1;
}

/* JSON may write a slash as \/, which no decoder of base64 knows. */
static size_t drop_backslashes(const char *from, size_t size, unsigned char *to)
{
    size_t length = 0;

    for (size_t i = 0; i < size; i++)
        if (from[i] != '\\')
            to[length++] = (unsigned char)from[i];
    return length;
}

static enum answer_step more(struct request *request, struct buffer *out, struct error *error)
{
    struct attachment *attachment = request->state;
    size_t left = attachment->found.base64.to - attachment->found.base64.from - attachment->at;
    size_t size = left < ANSWER_PIECE_BYTES ? left : ANSWER_PIECE_BYTES;
    unsigned char text[ANSWER_PIECE_BYTES];
    const char *json;
    int got = 0, last = 0;

    if (opened_doc(request->service->opened, &attachment->place, &json, error) != 1 ||
        buffer_reserve(out, ANSWER_PIECE_BYTES, error) != 0)
        return ANSWER_FAILED;
    json += attachment->found.base64.from + attachment->at;
    attachment->at += size;
    if (EVP_DecodeUpdate(attachment->decoder, out->data + out->length, &got, text,
                         (int)drop_backslashes(json, size, text)) < 0 ||
        (size == left &&
         EVP_DecodeFinal(attachment->decoder, out->data + out->length + got, &last) < 0)) {
        (void)error_set(error, ERROR_FAILED, "attachment: is not base64");
        return ANSWER_FAILED;
    }
    out->length += (size_t)(got + last);
    OPENSSL_cleanse(text, sizeof text);
    return size == left ? ANSWER_END : ANSWER_MORE;
}

/* 1 found, 0 not, -1. */
static int find(struct request *request, struct attachment *attachment, struct error *error)
{
    struct parts_span revisions;
    struct shelf_doc doc;
    const char *json, *rev = uri_param(&request->uri, "rev");
    int found = shelf_find(request->service->store, request->db, request->id, rev, &doc, error);

    if (found != 1 || (rev == NULL && doc.deleted))
        return found < 0 ? -1 : 0;
    attachment->place = opened_place(&doc);
    found = opened_doc(request->service->opened, &attachment->place, &json, error);
    if (found == 0 && delivery_give_up(request, request->id, error) == 0)
        return error_set(error, ERROR_TEMPORARY,
                         "shelf: the document cannot be opened; it is asked for anew");
    if (found != 1)
        return -1;
    return parts_read(json, attachment->place.size, &revisions, compare, request, error);
}

void attachment_get(struct request *request)
{
    struct attachment *attachment = calloc(1, sizeof *attachment);
    struct answer *answer = &request->answer;
    struct error error;
    int found;

    request->state = attachment;
    if (attachment != NULL)
        attachment->decoder = EVP_ENCODE_CTX_new();
    if (attachment == NULL || attachment->decoder == NULL)
        found = error_set(&error, ERROR_FAILED, "attachment: no memory");
    else
        found = find(request, attachment, &error);
    if (found < 0) {
        answer_fault(answer, &error);
        return;
    }
    if (found == 0) {
        answer_error(answer, 404, "not_found", "Document is missing attachment");
        return;
    }
    EVP_DecodeInit(attachment->decoder);
    answer->status = 200;
    answer->more = more;
    answer->length_bytes = (int64_t)attachment->found.length_bytes;
    answer->type = attachment->found.type[0] != '\0' && is_header(attachment->found.type)
                       ? attachment->found.type
                       : "application/octet-stream";
    answer->policy = "sandbox"; /* a page that somebody attached may do nothing here */
    if (attachment->found.digest[0] != '\0' && is_header(attachment->found.digest) &&
        strchr(attachment->found.digest, '"') == NULL)
        (void)snprintf(answer->etag, sizeof answer->etag, "\"%s\"", attachment->found.digest);
}

void attachment_free(struct request *request)
{
    struct attachment *attachment = request->state;

    if (attachment != NULL)
        EVP_ENCODE_CTX_free(attachment->decoder);
    free(attachment);
}
