/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/reply.h"

#include <stdbool.h>
#include <string.h>

static bool add(struct MHD_Response *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool add_cors(struct MHD_Response *response, const struct reply *reply)
{
    static const char *const preflight[][2] = {
        {"Access-Control-Allow-Methods", "GET, HEAD, POST, PUT"},
        {"Access-Control-Allow-Headers",
         "accept, authorization, content-type, origin, referer, x-requested-with"},
        {"Access-Control-Max-Age", "600"},
        /* A page from the network that calls the loopback: Private Network Access (WICG). */
        {"Access-Control-Allow-Private-Network", "true"},
    };

    if (!add(response, "Access-Control-Allow-Origin", reply->origin) ||
        !add(response, "Access-Control-Allow-Credentials", "true") ||
        !add(response, "Vary", "Origin"))
        return false;
    for (size_t i = 0; reply->preflight && i < sizeof preflight / sizeof *preflight; i++)
        if (!add(response, preflight[i][0], preflight[i][1]))
            return false;
    return true;
}

static bool add_headers(struct MHD_Response *response, const struct reply *reply,
                        const struct answer *answer, bool page)
{
    const char *type = answer->type != NULL ? answer->type : "application/json";

    if (!add(response, "Cache-Control", "must-revalidate") ||
        !add(response, "X-Content-Type-Options", "nosniff") ||
        (answer->status != 204 && !add(response, "Content-Type", type)) ||
        (answer->policy != NULL && !add(response, "Content-Security-Policy", answer->policy)) ||
        (answer->etag[0] != '\0' && !add(response, "ETag", answer->etag)) ||
        (answer->allow != NULL && !add(response, "Allow", answer->allow)))
        return false;
    /* In a browser it would pop up a dialog: not for pages. */
    if (answer->status == 401 && !page &&
        !add(response, "WWW-Authenticate", "Basic realm=\"boda\""))
        return false;
    return reply->origin == NULL || add_cors(response, reply);
}

static struct MHD_Response *make(const struct reply *reply, struct answer *answer)
{
    struct buffer *body = &answer->body;
    struct MHD_Response *response;

    if (answer->more != NULL)
        return MHD_create_response_from_callback(
            answer->length_bytes > 0 ? (uint64_t)answer->length_bytes : MHD_SIZE_UNKNOWN,
            ANSWER_PIECE_BYTES, reply->reader, reply->context, NULL);
    response = MHD_create_response_from_buffer(body->length, body->data, MHD_RESPMEM_MUST_FREE);
    if (response != NULL)
        memset(body, 0, sizeof *body); /* it is the response's now */
    return response;
}

enum MHD_Result reply_send(const struct reply *reply, struct MHD_Connection *connection,
                           struct answer *answer)
{
    bool page = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin") != NULL;
    struct MHD_Response *response = make(reply, answer);
    enum MHD_Result result = MHD_NO;

    if (response == NULL)
        return MHD_NO;
    if (add_headers(response, reply, answer, page))
        result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}
