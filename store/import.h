/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Batch files from any medium into the store (docs/files.md).  Files are a stranger's: no symbolic link is followed,
 * nothing but regular files is opened, and no more is read than a batch may have.
 */
#ifndef BODA_STORE_IMPORT_H
#define BODA_STORE_IMPORT_H

#include "store/batches.h"

struct trust;

struct import_options {
    struct store *store;
    /* By whom revoked.crl is checked; it is kept if it is newer.  NULL: by the CA that the store has noted. */
    struct trust *trust;
    /* At a destination: the label of a batch whose file's name says nothing, from its signed manifest.  -1 with words
     * when it cannot be opened.  NULL: such files are left. */
    int (*open)(void *context, const void *bytes, size_t size, struct label *label,
                struct error *error);
    void *context;
};

struct import_counts {
    uint64_t taken, taken_bytes; /* batches that are new here, committed */
    uint64_t had;                /* batches that were here, or applied here, already */
    uint64_t others;             /* batches for another station: left */
    uint64_t ignored;            /* files that are not Boda's */
    uint64_t wrong;              /* left, with a log line each that says why */
    uint64_t full;               /* left, as there was no room for them */
    bool list;                   /* a newer revocation list was taken */
};

struct import;

/* The caller frees it with import_free.  OPTIONS is copied; what it points to must outlive the import. */
struct import *import_new(const struct import_options *options, struct error *error);
void import_free(struct import *import); /* what is not committed is lost; NULL is harmless */

/* Take PATH in: a batch file, a revocation list (its name ends in .crl), or a folder with such files and folders of
 * stations, one level deep.  0 also where files were left, COUNTS say so; -1 when the store or the folder fails: what
 * was committed stays, and a later import goes on.  Batches are committed in groups: call import_commit at the end. */
int import_path(struct import *import, const char *path, struct error *error);

/* The bytes of one file, as import_path takes it.  NAME without folders; TO the station of its folder, or NULL. */
int import_bytes(struct import *import, const char *name, const char *to, const void *bytes,
                 size_t size, struct error *error);

int import_commit(struct import *import, struct error *error);

const struct import_counts *import_counts(const struct import *import);

#endif
