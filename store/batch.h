/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The batch format (docs/batch.md): CMS AuthEnvelopedData of CMS SignedData of zstd of NDJSON.
 */
#ifndef BODA_STORE_BATCH_H
#define BODA_STORE_BATCH_H

#include "store/batches.h"
#include "store/identity.h"
#include "store/revs.h"

#define BATCH_PLAIN_BYTES (4u << 20)    /* most plaintext of a batch of several documents */
#define BATCH_DOC_MAX_BYTES (32u << 20) /* largest document, which makes a batch of its own */
#define BATCH_LIST_BYTES (24u << 20)    /* most of a view, and of a tablet's receipt */
#define BATCH_KIND_BYTES 33
#define MANIFEST_MAX_BYTES 4096u /* its line, without '\n' */

struct manifest {
    char from[STORE_NAME_BYTES];
    char to[STORE_NAME_BYTES];
    char epoch[STORE_EPOCH_BYTES];
    uint64_t seq;
    char kind[BATCH_KIND_BYTES]; /* "docs", "receipt", "view"; others are carried and kept */
    char db[DOC_DB_BYTES];       /* "" where a kind has none */
    char user[STORE_NAME_BYTES]; /* the CHT user, "" if none */
    uint64_t docs;               /* lines behind the manifest */
    char created[32];            /* wall-clock text, for people; "" at the caller's choice */
};

/* Seal LINES (SIZE bytes of NDJSON without the manifest, each line ended by '\n') for RECIPIENT,
 * signed by SIGNER, who must be one that may sign for manifest->from; manifest->docs must be the number
 * of lines.  The batch's bytes are appended to OUT and its label is filled in.  Peak memory:
 * at most 3 x SIZE beyond the arguments. */
int batch_seal(const struct identity *signer, X509 *recipient, const struct manifest *manifest,
               const void *lines, size_t size, struct buffer *out, struct label *label,
               struct error *error);

/* An opened batch.  `lines` points into `plain`. */
struct opened_batch {
    struct manifest manifest;
    struct station signer;
    X509 *certificate; /* the signer's */
    struct buffer plain;
    const char *lines;
    size_t lines_bytes;
};

/* Open BYTES (SIZE) as RECIPIENT.  Everything is checked before anything of the content is used: the
 * hash against LABEL (NULL: no label to check against), decryption and its tag, the signature, the
 * signer's certificate and revocation (TRUST), that the signer may sign for manifest.from (a tablet
 * for itself and its own user; the server certificate for "server"), that manifest.to is the
 * recipient, that the label agrees, the caps.  Each fault has its own message:
 *   "batch 0123456789ab: does not match its id", "...: is not sealed to NAME", "...: was altered or
 *   cut", "...: is not signed", "...: signer X was not issued by this deployment", "...: signer X is
 *   revoked", "...: label contradicts the manifest: FIELD", "...: expands to more than N bytes": all
 *   are in docs/batch.md, "Faults".  ERROR_FAILED is lack of memory, ERROR_CORRUPT and ERROR_REFUSED
 *   are the batch's faults.
 * On failure OUT is empty (all zero) and *REVOKED (may be NULL) says whether revocation was the
 * cause.  On success the caller frees it with opened_batch_free. */
int batch_open(const struct identity *recipient, struct trust *trust, const struct label *label,
               const void *bytes, size_t size, struct opened_batch *out, bool *revoked,
               struct error *error);
void opened_batch_free(struct opened_batch *opened);

/* Walk the lines: *AT starts at 0; 1 with LINE/LENGTH (without '\n') set, 0 at the end. */
int opened_batch_line(const struct opened_batch *opened, size_t *at, const char **line,
                      size_t *length);

/* The manifest line as JSON text, without '\n', and back (-1: what is wrong with it). */
int manifest_write(const struct manifest *manifest, struct buffer *out, struct error *error);
int manifest_read(const char *line, size_t length, struct manifest *manifest, struct error *error);

#endif
