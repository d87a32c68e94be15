/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * One document of the shelf on its way to a client, piece by piece: its bytes as they came from the server, but for
 * what was not asked for.
 */
#ifndef BODA_HOST_TABLET_SHOWN_H
#define BODA_HOST_TABLET_SHOWN_H

#include "host/tablet/opened.h"

struct shown_options {
    bool revs;        /* with its _revisions */
    bool attachments; /* with their data; else "length" and "stub":true */
};

struct shown {
    struct opened *opened;
    struct opened_place place;
    struct buffer cuts; /* struct shown_cut, in their order */
    size_t cut;         /* those that are behind */
    size_t at;          /* bytes that are behind */
    struct buffer tail; /* goes ahead of the closing brace */
};

/* Begin with the document at PLACE, JSON its bytes (they need only last during the call).  TAIL: more members,
 * ",\"_conflicts\":[...]", or NULL.  Freed with shown_end, in any case; begun again after that. */
int shown_begin(struct shown *shown, struct opened *opened, const struct opened_place *place,
                const char *json, const struct shown_options *options, const char *tail,
                struct error *error);

/* Append about MOST more bytes to OUT.  HELD: its bytes, or NULL, when the opened batch is asked for them.  1 there is
 * more, 0 that was all, -1. */
int shown_more(struct shown *shown, const char *held, struct buffer *out, size_t most,
               struct error *error);
void shown_end(struct shown *shown);

#endif
