/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/fetch.h"

#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/dock/certificates.h"
#include "host/dock/errand.h"
#include "store/holdings.h"
#include "store/peers.h"

#define ERRANDS_MOST 4 /* tablets that are served at once */
#define WAIT_MS 1000

/* What was said of a tablet last: the same is not said with each turn. */
struct said {
    char tablet[STORE_NAME_BYTES];
    char text[ERROR_TEXT_BYTES];
    struct said *next;
};

struct fetch {
    struct said *said;
    bool said_account;
};

struct run {
    struct fetch *fetch;
    const struct fetch_options *options;
    struct fetch_counts *counts;
    struct errand_shared shared;
    struct place {
        struct errand *errand; /* NULL: free */
        X509 *recipient;
    } places[ERRANDS_MOST];
    unsigned busy;
    bool ending; /* begin nothing more */
    bool faulty;
    struct error error; /* the gravest */
};

/* ---- words ---------------------------------------------------------------------------------- */

struct fetch *fetch_new(struct error *error)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);

    if (fetch == NULL)
        (void)error_set(error, ERROR_FAILED, "fetch: no memory");
    return fetch;
}

void fetch_free(struct fetch *fetch)
{
    if (fetch == NULL)
        return;
    while (fetch->said != NULL) {
        struct said *said = fetch->said;

        fetch->said = said->next;
        free(said);
    }
    free(fetch);
}

/* TEXT "": all is well with TABLET. */
static void say(struct fetch *fetch, const char *tablet, const char *text)
{
    struct said *said = fetch->said;

    while (said != NULL && strcmp(said->tablet, tablet) != 0)
        said = said->next;
    if (said == NULL && *text != '\0' && (said = calloc(1, sizeof *said)) != NULL) {
        memcpy(said->tablet, tablet, strlen(tablet) + 1);
        said->next = fetch->said;
        fetch->said = said;
    }
    if (*text != '\0' && (said == NULL || strcmp(said->text, text) != 0))
        log_warning("%s", text);
    if (said != NULL)
        memcpy(said->text, text, strlen(text) + 1);
}

/* ---- faults --------------------------------------------------------------------------------- */

static int gravity(enum error_kind kind)
{
    return kind == ERROR_REFUSED ? 0 : kind == ERROR_TEMPORARY ? 1 : kind == ERROR_CLOSED ? 2 : 3;
}

/* What concerns one tablet alone does not end the run. */
static void note(struct run *run, const struct error *error)
{
    if (!run->faulty || gravity(error->kind) > gravity(run->error.kind))
        run->error = *error;
    run->faulty = true;
    if (gravity(error->kind) < 2 || run->ending)
        return;
    run->ending = true;
    for (unsigned i = 0; i < ERRANDS_MOST; i++)
        if (run->places[i].errand != NULL)
            errand_abandon(run->places[i].errand);
}

static bool is_stopped(const struct run *run)
{
    return run->options->stop != NULL && atomic_load(run->options->stop);
}

static void note_stop(struct run *run)
{
    struct error error;

    (void)error_set(&error, ERROR_CLOSED,
                    "fetch: stopped; what is left is fetched by the next run");
    note(run, &error);
}

/* ---- withdrawing ---------------------------------------------------------------------------- */

/* All that this store has numbered for TABLET, within a transaction. */
static int withdraw_all(struct store *store, const char *tablet, uint64_t *count,
                        struct error *error)
{
    const struct batch_filter filter = {SERVER_NAME, tablet, BATCH_HELD};
    struct batch batch;
    int64_t after = 0;
    int found;

    while ((found = batches_next(store, &filter, after, &batch, error)) == 1) {
        after = batch.position;
        if (batch.label.seq == 0 || strcmp(batch.label.epoch, store_epoch(store)) != 0)
            continue;
        if (holdings_withdraw(store, tablet, batch.label.id, error) != 0)
            return -1;
        (*count)++;
    }
    return found;
}

static int is_any_under_way(struct store *store, const char *tablet, struct error *error)
{
    const struct batch_filter filter = {SERVER_NAME, tablet, BATCH_HELD};
    struct batch batch;

    return batches_next(store, &filter, 0, &batch, error);
}

/* The tablet's key is not to be used any more; RENEWED (may be NULL) is the one that takes its place. */
static int withdraw_from(struct run *run, const char *tablet, X509 *renewed, struct error *error)
{
    struct store *store = run->options->store;
    unsigned char *der = NULL;
    int size, result = is_any_under_way(store, tablet, error);
    uint64_t count = 0;

    if (result < 0 || (result == 0 && renewed == NULL))
        return result;
    result = -1;
    size = renewed == NULL ? 0 : i2d_X509(renewed, &der);
    if (size < 0)
        return error_set(error, ERROR_FAILED, "tablet %s: no memory", tablet);
    if (store_begin(store, error) != 0)
        goto done;
    if (withdraw_all(store, tablet, &count, error) != 0 ||
        (der != NULL && peers_set_certificate(store, tablet, der, (size_t)size, error) != 0)) {
        store_rollback(store);
        goto done;
    }
    result = store_commit(store, error);
    if (result == 0 && count > 0)
        log_info("down: tablet %s: %s; %llu batches withdrawn", tablet,
                 renewed == NULL ? "its certificate is revoked" : "it has a new certificate",
                 (unsigned long long)count);
    run->counts->withdrawn += result == 0 ? count : 0;
done:
    OPENSSL_free(der);
    return result;
}

/* ---- errands -------------------------------------------------------------------------------- */

static void end_errand(struct run *run, struct place *place)
{
    const struct fetch_counts *c = errand_counts(place->errand);
    const struct error *error = errand_error(place->errand);
    const char *tablet = errand_tablet(place->errand);

    if (c->batches + c->views + c->withdrawn > 0)
        log_info("down: tablet %s: %llu documents in %llu batches, %llu view%s, %llu withdrawn",
                 tablet, (unsigned long long)c->docs, (unsigned long long)c->batches,
                 (unsigned long long)c->views, c->views == 1 ? "" : "s",
                 (unsigned long long)c->withdrawn);
    run->counts->tablets += c->tablets;
    run->counts->requests += c->requests;
    run->counts->docs += c->docs;
    run->counts->batches += c->batches;
    run->counts->views += c->views;
    run->counts->withdrawn += c->withdrawn;
    /* That the server is away, or the store failed, is said once for all. */
    if (error == NULL || gravity(error->kind) < 2)
        say(run->fetch, tablet, error == NULL ? "" : error->text);
    if (error != NULL)
        note(run, error);
    errand_free(place->errand);
    X509_free(place->recipient);
    *place = (struct place){0};
    run->busy--;
}

/* Takes the certificate's X509. */
static int begin_errand(struct run *run, const struct certificate *certificate, struct error *error)
{
    const struct station *tablet = &certificate->station;
    const struct cht_user *user = users_find(run->options->users, tablet->user);
    struct place *place = run->places;
    struct error unknown;

    if (user == NULL) {
        (void)error_set(&unknown, ERROR_REFUSED,
                        "tablet %s: its user %s is not in the file users=, so nothing is fetched "
                        "for it",
                        tablet->name, tablet->user);
        say(run->fetch, tablet->name, unknown.text);
        note(run, &unknown);
        X509_free(certificate->x509);
        return 0;
    }
    while (place->errand != NULL)
        place++;
    place->errand = errand_new(&run->shared, tablet, certificate->x509, user, error);
    if (place->errand == NULL) {
        X509_free(certificate->x509);
        return -1;
    }
    place->recipient = certificate->x509;
    run->busy++;
    return 0;
}

static bool may_ask(struct run *run)
{
    if (!run->options->account || run->options->kind != CHT_KIND_CHT)
        return true;
    if (!run->fetch->said_account)
        log_warning("down: with account= nothing is fetched, as the server tells an account what "
                    "that account may see and not what each tablet's user may; give users=, or "
                    "set [down] fetch=no");
    run->fetch->said_account = true;
    return false;
}

/* Whatever is to be done for the station NAME. */
static int begin(struct run *run, const char *name, struct error *error)
{
    const struct fetch_options *o = run->options;
    struct certificate certificate;
    struct error why;
    int found =
        certificates_find(o->store, o->trust, o->deployment, name, &certificate, &why, error);

    if (found < 0)
        return -1;
    if (found == 0) {
        if (certificate.revoked)
            return withdraw_from(run, name, NULL, error);
        log_debug("tablet %s: nothing is fetched for it: %s", name, why.text);
        return 0;
    }
    if (certificate.station.role == ROLE_TABLET && certificate.renewed &&
        withdraw_from(run, name, certificate.x509, error) != 0) {
        X509_free(certificate.x509);
        return -1;
    }
    if (certificate.station.role == ROLE_TABLET && may_ask(run))
        return begin_errand(run, &certificate, error);
    X509_free(certificate.x509);
    return 0;
}

static void advance(struct run *run)
{
    for (unsigned i = 0; i < ERRANDS_MOST; i++) {
        struct place *place = &run->places[i];

        if (place->errand == NULL)
            continue;
        errand_advance(place->errand);
        if (errand_over(place->errand))
            end_errand(run, place);
    }
}

static void work(struct run *run, char (*names)[STORE_NAME_BYTES], size_t count)
{
    struct error error;
    size_t at = 0;

    while (run->busy > 0 || (at < count && !run->ending)) {
        while (at < count && run->busy < ERRANDS_MOST && !run->ending)
            if (begin(run, names[at++], &error) != 0)
                note(run, &error);
        advance(run);
        if (cht_run(run->options->cht, run->busy > 0 ? WAIT_MS : 0, &error) != 0)
            note(run, &error);
        if (is_stopped(run))
            note_stop(run);
    }
}

int fetch_run(struct fetch *fetch, const struct fetch_options *options, struct fetch_counts *counts,
              struct error *error)
{
    struct fetch_counts own;
    struct run run = {.fetch = fetch, .options = options, .counts = counts == NULL ? &own : counts};
    char(*names)[STORE_NAME_BYTES];
    size_t count;

    memset(run.counts, 0, sizeof *run.counts);
    run.shared.options = options;
    if (certificates_names(options->store, options->deployment, &names, &count, error) != 0)
        return -1;
    work(&run, names, count);
    free(names);
    if (!run.faulty)
        return 0;
    if (run.error.kind == ERROR_CLOSED)
        run.error.kind = ERROR_TEMPORARY;
    if (error != NULL)
        *error = run.error;
    return -1;
}
