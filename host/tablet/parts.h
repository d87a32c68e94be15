/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Where the parts of a document are that are not always shown: its `_revisions`, the data of its attachments.
 */
#ifndef BODA_HOST_TABLET_PARTS_H
#define BODA_HOST_TABLET_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "store/revs.h"

struct parts_span {
    size_t from, to; /* bytes of the document; equal: it is not there */
};

/* An attachment with its data. */
struct parts_attachment {
    char name[DOC_ID_BYTES], type[256], digest[128]; /* cut to their size; "": none */
    struct parts_span member;                        /* "data":"..." */
    struct parts_span base64;                        /* what is between the quotes of its value */
    uint64_t length_bytes;                           /* of what it stands for */
};

typedef int parts_show(const struct parts_attachment *attachment, void *context,
                       struct error *error);

/* Read the document JSON (SIZE bytes).  REVISIONS: the member, with a comma beside it, so that what is left without it is
 * JSON.  SHOW is called for each attachment in their order; what it returns other than 0 ends the reading and is
 * returned.  -1 with ERROR_CORRUPT when it is no document. */
int parts_read(const char *json, size_t size, struct parts_span *revisions, parts_show *show,
               void *context, struct error *error);

#endif
