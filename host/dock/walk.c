/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/walk.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/x509.h>

#include "base/hex.h"
#include "base/log.h"
#include "store/doc.h"
#include "store/peers.h"
#include "store/receipt.h"

/* ---- one batch --------------------------------------------------------------------------------- */

static int set_aside(struct walk *w, const struct label *label, const char *reason,
                     struct error *error)
{
    char id[BATCH_ID_TEXT_BYTES];

    hex_encode(label->id, BATCH_ID_BYTES, id);
    log_warning("batch %.16s from %s: set aside: %s", id, label->from, reason);
    if (store_begin(w->options->store, error) != 0)
        return -1;
    if (batches_set_aside(w->options->store, label->id, reason, error) != 0) {
        store_rollback(w->options->store);
        return -1;
    }
    if (store_commit(w->options->store, error) != 0)
        return -1;
    w->counts->aside_batches++;
    return 0;
}

/* So that receipts can be sealed to the station. */
static int remember_certificate(struct walk *w, const struct opened_batch *opened,
                                struct error *error)
{
    struct store *store = w->options->store;
    struct buffer known = {0};
    unsigned char *der = NULL;
    int size, found, result = -1;

    if (strcmp(w->signer, opened->signer.name) == 0)
        return 0;
    size = i2d_X509(opened->certificate, &der);
    if (size < 0)
        return error_set(error, ERROR_FAILED, "certificate of %s: cannot be encoded",
                         opened->signer.name);
    found = peers_certificate(store, opened->signer.name, &known, error);
    if (found < 0)
        goto done;
    if (found == 0 || known.length != (size_t)size || memcmp(known.data, der, (size_t)size) != 0) {
        if (store_begin(store, error) != 0)
            goto done;
        if (peers_set_certificate(store, opened->signer.name, der, (size_t)size, error) != 0) {
            store_rollback(store);
            goto done;
        }
        if (store_commit(store, error) != 0)
            goto done;
    }
    (void)snprintf(w->signer, sizeof w->signer, "%s", opened->signer.name);
    result = 0;
done:
    buffer_free(&known);
    OPENSSL_free(der);
    return result;
}

/* The signer is revoked.  If the administrator has released the batch: open it all the same; all else is
 * checked as ever.  As walk_open. */
static int open_released(struct walk *w, const struct label *label, const struct buffer *sealed,
                         struct opened_batch *opened, struct error *reason, struct error *error)
{
    char id[BATCH_ID_TEXT_BYTES];
    struct trust *trust;
    struct batch batch;
    int found = batches_find(w->options->store, label->id, &batch, error);

    if (found < 0 || found == 0 || !batch.released)
        return found < 0 ? -1 : 0;
    trust = trust_without_list(w->options->trust, error);
    if (trust == NULL)
        return -1;
    found = batch_open(w->options->server, trust, label, sealed->data, sealed->length, opened, NULL,
                       reason) == 0;
    trust_free(trust);
    hex_encode(label->id, BATCH_ID_BYTES, id);
    if (found == 1)
        log_info(
            "batch %.16s: its signer %s is revoked; it passes, as the administrator released it",
            id, opened->signer.name);
    return found;
}

int walk_open(struct walk *w, const struct label *label, struct opened_batch *opened,
              struct error *reason, struct error *error)
{
    struct buffer sealed = {.limit = BATCH_MAX_BYTES};
    bool revoked = false;
    int result = -1;

    memset(opened, 0, sizeof *opened);
    if (batches_load(w->options->store, label->id, &sealed, error) != 0)
        goto done;
    result = batch_open(w->options->server, w->options->trust, label, sealed.data, sealed.length,
                        opened, &revoked, reason) == 0;
    if (result == 0 && revoked)
        result = open_released(w, label, &sealed, opened, reason, error);
done:
    buffer_free(&sealed);
    return result;
}

/* Only "medic" and the user's own database: with a service account the server's rules would not stop a
 * tablet that signs a batch for another. */
static bool may_write(const struct manifest *manifest)
{
    char own[DOC_DB_BYTES + STORE_NAME_BYTES];

    (void)snprintf(own, sizeof own, "medic-user-%s-meta", manifest->user);
    return strcmp(manifest->db, "medic") == 0 ||
           (manifest->user[0] != '\0' && strcmp(manifest->db, own) == 0);
}

/* How many documents there are, and contacts of them; -1 with the reason why the batch cannot be used. */
static int check_docs(const struct opened_batch *opened, uint64_t *docs, uint64_t *contacts,
                      struct error *error)
{
    const char *line;
    size_t at = 0, length;
    struct doc doc;

    *docs = *contacts = 0;
    if (!may_write(&opened->manifest))
        return error_set(error, ERROR_REFUSED, "it is for database %s, which tablets may not write",
                         opened->manifest.db);
    while (opened_batch_line(opened, &at, &line, &length) == 1) {
        ++*docs;
        if (doc_read(line, length, &doc, error) != 0)
            return error_prefix(error, "its document %llu", (unsigned long long)*docs);
        if (doc.rev[0] == '\0')
            return error_set(error, ERROR_FAILED, "its document %llu has no _rev",
                             (unsigned long long)*docs);
        *contacts += doc_is_contact(&doc);
    }
    return 0;
}

/* Give documents to the sender: the contacts, for this wave, and the others, for the next. */
enum { CONTACTS = 1, OTHERS = 2 };
static int send_docs(struct walk *w, const struct opened_batch *opened, uint32_t batch,
                     unsigned which, struct error *error)
{
    const struct cht_user *user = users_find(w->options->users, opened->manifest.user);
    const char *db = opened->manifest.db, *line;
    size_t at = 0, length;
    struct doc doc;

    if (user == NULL || sender_blocked(w->sender, user, db)) {
        tally_withhold(w->tally, batch);
        if (user == NULL && strcmp(w->unknown, opened->manifest.user) != 0) {
            (void)snprintf(w->unknown, sizeof w->unknown, "%s", opened->manifest.user);
            (void)error_set(error, ERROR_REFUSED,
                            "user %s of tablet %s: not in the dock's users file; add a line for "
                            "it, the batches stay held",
                            opened->manifest.user, opened->manifest.from);
            sender_note(w->sender, error);
        }
        return 0;
    }
    while (opened_batch_line(opened, &at, &line, &length) == 1) {
        if (doc_read(line, length, &doc, error) != 0)
            return -1; /* was read before */
        if ((which & (doc_is_contact(&doc) ? CONTACTS : OTHERS)) == 0)
            continue;
        if ((which == (CONTACTS | OTHERS) && !doc_is_contact(&doc)
                 ? sender_defer(w->sender, user, db, batch, doc.id, doc.rev, line, length, error)
                 : sender_add(w->sender, user, db, batch, doc.id, doc.rev, line, length, error)) !=
            0)
            return -1;
    }
    return 0;
}

/* ---- waves 1 and 2 ------------------------------------------------------------------------------- */

static int apply_receipt(struct walk *w, const struct opened_batch *opened,
                         const struct label *label, struct error *error)
{
    struct error reason;
    uint64_t freed = 0;

    if (store_begin(w->options->store, error) != 0)
        return -1;
    if (receipt_apply(w->options->store, opened, label, &freed, &reason) != 0) {
        store_rollback(w->options->store);
        if (reason.kind == ERROR_CORRUPT)
            return set_aside(w, label, reason.text, error);
        if (error != NULL)
            *error = reason; /* of the store, which may be full */
        return -1;
    }
    if (store_commit(w->options->store, error) != 0)
        return -1;
    w->counts->applied_batches++;
    log_info("receipt from %s: frees %llu batches", label->from, (unsigned long long)freed);
    return 0;
}

/* Send the contacts.  The other documents are left for the next wave, for which the batch is opened again,
 * unless there is room to keep them. */
static int send_first(struct walk *w, const struct opened_batch *opened, uint32_t batch,
                      uint64_t docs, uint64_t contacts, struct error *error)
{
    w->at_once = w->at_once && sender_may_defer(w->sender, docs, opened->lines_bytes);
    if (!w->at_once)
        return contacts == 0 ? 0 : send_docs(w, opened, batch, CONTACTS, error);
    tally_set_given(w->tally, batch);
    return send_docs(w, opened, batch, CONTACTS | OTHERS, error);
}

static int meet(struct walk *w, const struct label *label, struct error *error)
{
    struct opened_batch opened;
    struct error reason;
    uint64_t docs, contacts;
    uint32_t batch;
    int result = -1, found = walk_open(w, label, &opened, &reason, error);

    w->counts->batches++;
    if (found <= 0)
        return found < 0 ? -1 : set_aside(w, label, reason.text, error);
    if (remember_certificate(w, &opened, error) != 0)
        goto done;
    if (strcmp(opened.manifest.kind, "receipt") == 0) {
        result = apply_receipt(w, &opened, label, error);
    } else if (strcmp(opened.manifest.kind, "docs") != 0) {
        result = 0; /* for a later version of this program */
    } else if (check_docs(&opened, &docs, &contacts, &reason) != 0) {
        result = set_aside(w, label, reason.text, error);
    } else if (tally_add(w->tally, label->id, docs, &batch, error) == 0) {
        w->counts->docs += docs;
        w->contacts += contacts;
        result = send_first(w, &opened, batch, docs, contacts, error);
    }
done:
    opened_batch_free(&opened);
    return result;
}

int walk_contacts(struct walk *w, struct error *error)
{
    struct batch batch;
    struct label after;
    bool first = true;
    int found;

    w->at_once = true;
    for (;;) {
        found = batches_next_in_stream(w->options->store, SERVER_NAME, first ? NULL : &after,
                                       &batch, error);
        if (found <= 0)
            break;
        after = batch.label;
        first = false;
        if (meet(w, &batch.label, error) != 0 || sender_step(w->sender, 0, error) != 0)
            return -1;
    }
    return found < 0 ? -1 : sender_next_wave(w->sender, w->at_once, error);
}

static int send_rest(struct walk *w, uint32_t number, struct error *error)
{
    struct opened_batch opened;
    struct error reason;
    struct batch batch;
    int result, found;

    found = batches_find(w->options->store, tally_id(w->tally, number), &batch, error);
    if (found < 0)
        return -1;
    if (found == 0 || batch.state != BATCH_HELD) {
        tally_withhold(w->tally, number); /* set aside or dropped by another program */
        return 0;
    }
    found = walk_open(w, &batch.label, &opened, &reason, error);
    if (found <= 0) {
        tally_withhold(w->tally, number);
        return found < 0 ? -1 : set_aside(w, &batch.label, reason.text, error);
    }
    result = send_docs(w, &opened, number, OTHERS, error);
    opened_batch_free(&opened);
    return result;
}

int walk_rest(struct walk *w, struct error *error)
{
    for (uint32_t i = 0; i < tally_batches(w->tally); i++) {
        if (tally_open(w->tally, i) == 0 || tally_withheld(w->tally, i) || tally_given(w->tally, i))
            continue;
        if (send_rest(w, i, error) != 0 || sender_step(w->sender, 0, error) != 0)
            return -1;
    }
    return sender_drain(w->sender, error);
}
