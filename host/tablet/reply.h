/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * From an answer to libmicrohttpd's response: its headers, and for pages those of CORS.
 */
#ifndef BODA_HOST_TABLET_REPLY_H
#define BODA_HOST_TABLET_REPLY_H

#include <microhttpd.h>

#include "host/tablet/answer.h"

struct reply {
    const char *origin; /* of a page that may call; NULL: no page */
    bool preflight;
    /* Gives the bytes of an answer that is made piece by piece. */
    MHD_ContentReaderCallback reader;
    void *context;
};

/* Queue ANSWER on CONNECTION.  A whole body is the response's from then on. */
enum MHD_Result reply_send(const struct reply *reply, struct MHD_Connection *connection,
                           struct answer *answer);

#endif
