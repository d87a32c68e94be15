/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/batch.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "store/crypto.h"
#include "store/envelope.h"
#include "store/packing.h"

#define LINES_MAX_BYTES (BATCH_DOC_MAX_BYTES + 1u) /* with its '\n' */
#define PLAIN_MAX_BYTES (MANIFEST_MAX_BYTES + 1u + LINES_MAX_BYTES)
#define SHOWN_ID_BYTES 6 /* of an id, in messages */

/* The most bytes of lines that such a batch may have. */
static unsigned lines_most(const struct manifest *manifest)
{
    if (strcmp(manifest->kind, "view") == 0 ||
        (strcmp(manifest->kind, "receipt") == 0 && strcmp(manifest->from, SERVER_NAME) != 0))
        return BATCH_LIST_BYTES;
    return manifest->docs > 1 ? BATCH_PLAIN_BYTES : LINES_MAX_BYTES;
}

/* 0 when LINES are manifest->docs whole lines within the bounds. */
static int check_lines(const struct manifest *manifest, const char *lines, size_t size,
                       struct error *error)
{
    const char *at = lines, *end = lines + size;
    uint64_t count = 0;

    if (size > lines_most(manifest))
        return error_set(error, ERROR_CORRUPT, "expands to more than %u bytes",
                         lines_most(manifest));
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        count++;
    }
    if (at == NULL)
        return error_set(error, ERROR_CORRUPT, "its last line has no end");
    if (count != manifest->docs)
        return error_set(error, ERROR_CORRUPT, "has %llu lines, not the %llu of its manifest",
                         (unsigned long long)count, (unsigned long long)manifest->docs);
    return 0;
}

/* docs/batch.md, "Who may sign for whom". */
static int check_signer(const struct station *signer, const struct manifest *manifest,
                        struct error *error)
{
    bool may;

    if (signer->role == ROLE_SERVER)
        may = strcmp(manifest->from, SERVER_NAME) == 0;
    else
        may = signer->role == ROLE_TABLET && strcmp(manifest->from, signer->name) == 0;
    if (!may)
        return error_set(error, ERROR_REFUSED, "signer %s (%s) may not sign for %s", signer->name,
                         role_name(signer->role), manifest->from);
    if (signer->role == ROLE_TABLET && strcmp(manifest->user, signer->user) != 0)
        return error_set(error, ERROR_REFUSED, "signer %s may not sign for the user %s",
                         signer->name, manifest->user[0] != '\0' ? manifest->user : "(none)");
    return 0;
}

static int hash(const void *bytes, size_t size, unsigned char id[BATCH_ID_BYTES],
                struct error *error)
{
    if (EVP_Digest(bytes, size, id, NULL, EVP_sha256(), NULL) != 1)
        return crypto_error(error, ERROR_FAILED, "batch: its hash cannot be made");
    return 0;
}

static int fill_label(const struct manifest *manifest, const unsigned char *bytes, size_t size,
                      struct label *label, struct error *error)
{
    memset(label, 0, sizeof *label);
    memcpy(label->from, manifest->from, sizeof label->from);
    memcpy(label->to, manifest->to, sizeof label->to);
    memcpy(label->epoch, manifest->epoch, sizeof label->epoch);
    label->seq = manifest->seq;
    label->size = size;
    return hash(bytes, size, label->id, error);
}

static int check_before_sealing(const struct identity *signer, const struct manifest *manifest,
                                const char *lines, size_t size, struct error *error)
{
    struct station station;

    if (station_read(identity_certificate(signer), &station, error) != 0 ||
        check_signer(&station, manifest, error) != 0 ||
        check_lines(manifest, lines, size, error) != 0)
        return error_prefix(error, "batch of %s", manifest->from);
    return 0;
}

int batch_seal(const struct identity *signer, X509 *recipient, const struct manifest *manifest,
               const void *lines, size_t size, struct buffer *out, struct label *label,
               struct error *error)
{
    struct envelope_bytes packed = {0}, signed_data = {0};
    struct buffer head = {0};
    size_t start = out->length;
    int result = -1;

    if (check_before_sealing(signer, manifest, lines, size, error) == 0 &&
        manifest_write(manifest, &head, error) == 0 && buffer_append(&head, "\n", 1, error) == 0 &&
        packing_pack(head.data, head.length, lines, size, &packed, error) == 0 &&
        envelope_sign(signer, &packed, &signed_data, error) == 0 &&
        envelope_seal(recipient, &signed_data, out, error) == 0 &&
        fill_label(manifest, out->data + start, out->length - start, label, error) == 0)
        result = 0;
    if (result != 0)
        out->length = start;
    envelope_bytes_cleanse(&packed);
    envelope_bytes_cleanse(&signed_data);
    buffer_cleanse(&head);
    return result;
}

static int check_label(const struct label *label, const void *bytes, size_t size,
                       struct error *error)
{
    unsigned char id[BATCH_ID_BYTES];

    if (label->size != size)
        return error_set(error, ERROR_CORRUPT,
                         "does not match its id: has %zu bytes, not the %llu of its label", size,
                         (unsigned long long)label->size);
    if (hash(bytes, size, id, error) != 0)
        return -1;
    if (memcmp(id, label->id, sizeof id) != 0)
        return error_set(error, ERROR_CORRUPT, "does not match its id");
    return 0;
}

static int compare_label(const struct label *label, const struct manifest *manifest,
                         struct error *error)
{
    const char *field = NULL;

    if (strcmp(label->from, manifest->from) != 0)
        field = "from";
    else if (strcmp(label->to, manifest->to) != 0)
        field = "to";
    else if (strcmp(label->epoch, manifest->epoch) != 0)
        field = "epoch";
    else if (label->seq != manifest->seq)
        field = "seq";
    if (field != NULL)
        return error_set(error, ERROR_CORRUPT, "label contradicts the manifest: %s", field);
    return 0;
}

static int check_trust(struct trust *trust, X509 *certificate, struct station *signer,
                       bool *revoked, struct error *error)
{
    struct station named;
    struct error why;
    const char *name;
    bool is_revoked = false;

    if (trust_check(trust, certificate, signer, &is_revoked, &why) == 0)
        return 0;
    (void)station_read(certificate, &named, NULL);
    name = named.name[0] != '\0' ? named.name : "without a name";
    if (revoked != NULL)
        *revoked = is_revoked;
    return error_set(
        error, ERROR_REFUSED,
        is_revoked ? "signer %s is revoked" : "signer %s was not issued by this deployment", name);
}

/* Signature, then the signer; leaves the expanded lines in OUT. */
static int verify(struct trust *trust, struct envelope_bytes *signed_data, struct opened_batch *out,
                  bool *revoked, struct error *error)
{
    struct envelope_verified verified = {0};
    int result = -1;

    if (envelope_verify(signed_data, &verified, error) == 0 &&
        check_trust(trust, verified.signer, &out->signer, revoked, error) == 0 &&
        packing_unpack(verified.content, verified.size, PLAIN_MAX_BYTES, &out->plain, error) == 0) {
        if (X509_up_ref(verified.signer) == 1) {
            out->certificate = verified.signer;
            result = 0;
        } else {
            (void)crypto_error(error, ERROR_FAILED, "no memory");
        }
    }
    envelope_verified_free(&verified);
    return result;
}

/* What the signed lines say, against who signed them, who opens them, and the label. */
static int check_content(const struct identity *recipient, const struct label *label,
                         struct opened_batch *out, struct error *error)
{
    const char *plain = (const char *)out->plain.data;
    const char *end = out->plain.length > 0 ? memchr(plain, '\n', out->plain.length) : NULL;

    if (end == NULL)
        return error_set(error, ERROR_CORRUPT, "manifest: its line has no end");
    if (manifest_read(plain, (size_t)(end - plain), &out->manifest, error) != 0 ||
        check_signer(&out->signer, &out->manifest, error) != 0)
        return -1;
    if (strcmp(out->manifest.to, identity_name(recipient)) != 0)
        return error_set(error, ERROR_REFUSED, "is addressed to %s, not to %s", out->manifest.to,
                         identity_name(recipient));
    if (label != NULL && compare_label(label, &out->manifest, error) != 0)
        return -1;
    out->lines = end + 1;
    out->lines_bytes = out->plain.length - (size_t)(out->lines - plain);
    return check_lines(&out->manifest, out->lines, out->lines_bytes, error);
}

static int fail_open(const struct label *label, struct error *error)
{
    char id[2 * SHOWN_ID_BYTES + 1] = "";

    if (label != NULL)
        hex_encode(label->id, SHOWN_ID_BYTES, id);
    return error_prefix(error, label != NULL ? "batch %s" : "batch%s", id);
}

int batch_open(const struct identity *recipient, struct trust *trust, const struct label *label,
               const void *bytes, size_t size, struct opened_batch *out, bool *revoked,
               struct error *error)
{
    struct envelope_bytes signed_data = {0};
    int result = -1;

    memset(out, 0, sizeof *out);
    if (revoked != NULL)
        *revoked = false;
    if (size > BATCH_MAX_BYTES)
        (void)error_set(error, ERROR_CORRUPT, "is larger than %u bytes", BATCH_MAX_BYTES);
    else if ((label == NULL || check_label(label, bytes, size, error) == 0) &&
             envelope_unseal(recipient, bytes, size, &signed_data, error) == 0 &&
             verify(trust, &signed_data, out, revoked, error) == 0 &&
             check_content(recipient, label, out, error) == 0)
        result = 0;
    envelope_bytes_cleanse(&signed_data);
    if (result != 0) {
        opened_batch_free(out);
        (void)fail_open(label, error);
    }
    return result;
}

void opened_batch_free(struct opened_batch *opened)
{
    if (opened == NULL)
        return;
    X509_free(opened->certificate);
    buffer_cleanse(&opened->plain);
    memset(opened, 0, sizeof *opened);
}

int opened_batch_line(const struct opened_batch *opened, size_t *at, const char **line,
                      size_t *length)
{
    const char *end;

    if (*at >= opened->lines_bytes)
        return 0;
    *line = opened->lines + *at;
    end = memchr(*line, '\n', opened->lines_bytes - *at);
    if (end == NULL)
        return 0; /* batch_open has refused such a batch */
    *length = (size_t)(end - *line);
    *at += *length + 1;
    return 1;
}
