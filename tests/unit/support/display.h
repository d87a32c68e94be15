/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The reading side of the scripted server (couch.h): what it shows to whom by get-ids, get-deletes, _changes and
 * _bulk_get.
 */
#ifndef BODA_TESTS_UNIT_SUPPORT_DISPLAY_H
#define BODA_TESTS_UNIT_SUPPORT_DISPLAY_H

#include <jansson.h>
#include <stdbool.h>

struct display;

struct display *display_new(void);
void display_free(struct display *display);

/* Database DB has document ID by one revision, shown to user WHO (NULL: everybody), with the text JSON, a whole document.
 * It takes the place of the one before. */
void display_put(struct display *display, const char *db, const char *id, const char *rev,
                 const char *who, const char *json);

/* It is not listed any more.  DELETED: get-deletes says so. */
void display_remove(struct display *display, const char *db, const char *id, bool deleted);

/* It is listed, and _bulk_get has nothing for it. */
void display_vanish(struct display *display, const char *db, const char *id);

/* The database is begun anew: empty, at sequence 0. */
void display_begin_anew(struct display *display, const char *db);

/* From now on answers of _bulk_get are in another order, have each document twice, and one that was not asked for. */
void display_mess_up(struct display *display);

/* What it was asked, as couch.h. */
struct display_ask {
    const char *method, *path, *who;
    const char *since, *limit; /* of the query, or NULL */
    const json_t *body;
};

/* The answer's JSON, to be freed; NULL if it is not of this side.  *STATUS may be set. */
char *display_answer(struct display *display, const struct display_ask *ask, unsigned *status);

#endif
