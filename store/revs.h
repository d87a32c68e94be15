/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Known leaf revisions (what `_revs_diff` is answered from) and `_local` documents.
 */
#ifndef BODA_STORE_REVS_H
#define BODA_STORE_REVS_H

#include "base/buffer.h"
#include "store/store.h"

#define DOC_DB_BYTES 129  /* a database's name, with its zero */
#define DOC_ID_BYTES 1025 /* a document's id, with its zero; longer ids are refused */
#define DOC_REV_BYTES 129 /* "N-digest", with its zero */

/* Known: held on this tablet, or listed by the server's view: need not be sent up.  1 known, 0 not, -1. */
int revs_known(struct store *store, const char *db, const char *id, const char *rev,
               struct error *error);

/* Held on this tablet: 1, 0, -1. */
int revs_is_here(struct store *store, const char *db, const char *id, const char *rev,
                 struct error *error);

/* A revision is here: the app has sent or offered it, or it is on the shelf.  revs_forget: an ancestor of one that is here is
 * no leaf any more; it stays known, as an ancestor is for CouchDB. */
int revs_add(struct store *store, const char *db, const char *id, const char *rev,
             struct error *error);
int revs_forget(struct store *store, const char *db, const char *id, const char *rev,
                struct error *error);

/* The server has it, by its view: known, but not here unless it was. */
int revs_at_server(struct store *store, const char *db, const char *id, const char *rev,
                   struct error *error);

/* The app asks for it though it should have it: it is not here any more.  1 it was here, 0 not, -1. */
int revs_lost(struct store *store, const char *db, const char *id, const char *rev,
              struct error *error);

/* All of DB that is here and not on the shelf: it is not here any more.  1 there was some, 0 not, -1. */
int revs_lost_off_shelf(struct store *store, const char *db, struct error *error);

/* The next revision that is here, of all databases, behind AFTER (its db "" : the first), in order of db, id and rev:
 * 1, 0 no more, -1.  AFTER and OUT may be one. */
struct rev_here {
    char db[DOC_DB_BYTES], id[DOC_ID_BYTES], rev[DOC_REV_BYTES];
};
int revs_next_here(struct store *store, const struct rev_here *after, struct rev_here *out,
                   struct error *error);

/* The largest known generation of the document that is below REV's and whose rev is known: CouchDB's
 * `possible_ancestors` for _revs_diff.  Calls SHOW for each known rev of the document. */
int revs_each(struct store *store, const char *db, const char *id,
              int (*show)(const char *rev, void *context), void *context, struct error *error);

/* `_local/ID` of DB: its JSON text appended to BODY and its rev number ("0-N" in CouchDB's words).
 * 1 found, 0 not, -1. */
int revs_local_get(struct store *store, const char *db, const char *id, uint64_t *rev,
                   struct buffer *body, struct error *error);

/* Put it with the next rev number, if REV is the present one (0: not there yet).  1 put, 0 conflict,
 * -1.  SIZE at most 64 KiB, checked by the caller. */
int revs_local_put(struct store *store, const char *db, const char *id, uint64_t rev,
                   const void *body, size_t size, struct error *error);

#endif
