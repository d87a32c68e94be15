/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What Boda must know of a document, read from its JSON text without building it in memory (yajl):
 * the text itself is never written anew, so a document arrives as it was recorded, byte for byte.
 */
#ifndef BODA_STORE_DOC_H
#define BODA_STORE_DOC_H

#include "store/revs.h"

#define DOC_WORD_BYTES 65
#define DOC_ANCESTORS_MOST 1000 /* CouchDB's default for _revs_limit */

struct doc {
    char id[DOC_ID_BYTES];
    char rev[DOC_REV_BYTES];
    char type[DOC_WORD_BYTES];         /* the string `type`, cut; "" if none */
    char contact_type[DOC_WORD_BYTES]; /* the string `contact_type`, cut; "" if none */
    bool deleted;                      /* `_deleted` is true */
    bool purged;                       /* has the member `purged` */
    bool has_form;                     /* has the member `form` */
    bool has_revisions;                /* has the member `_revisions` */
    bool has_stub;                     /* an attachment of it has "stub":true in place of data */
    unsigned members;                  /* how many members the object has */
    size_t revisions_at;               /* where in the text the object `_revisions` is */
    size_t revisions_bytes;            /* 0: there is none */
};

/* Read one document of SIZE bytes (an object; JSON as RFC 8259, UTF-8, nested at most 500 deep).
 * ERROR_FAILED with yajl's or our words if it is none, or has no string `_id`, or an `_id` that is
 * too long.  A missing `_rev` leaves rev "". */
int doc_read(const char *json, size_t size, struct doc *doc, struct error *error);

struct doc_ancestors {
    size_t count;
    const char *revs[DOC_ANCESTORS_MOST]; /* into TEXT, the parent first */
    char text[DOC_ANCESTORS_MOST][DOC_REV_BYTES];
};

/* The ancestors that `_revisions` of DOC, as read from JSON, names.  None where it is missing, malformed, or not of
 * this revision. */
void doc_ancestors(const char *json, const struct doc *doc, struct doc_ancestors *ancestors);

/* A contact (person or place): replayed ahead of the documents that name it. */
bool doc_is_contact(const struct doc *doc);

/* Documents that CHT never sends up (docs/cht.md): types form, translations, ui-extension; ids
 * resources, branding, service-worker-meta, zscore-charts, settings, partners, extension-libs;
 * `_design/` documents; purge stubs (exactly _id, _rev, _deleted, purged [and _revisions]). */
bool doc_never_goes_up(const struct doc *doc);

#endif
