/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/replay.h"

#include <string.h>

#include "host/dock/retry.h"

#define MOST_DOCS 500
#define MOST_BYTES (8u << 20)
#define PARALLEL 4

static int run_waves(struct walk *walk, struct error *error)
{
    const struct error *noted;
    int result = walk_contacts(walk, error);

    if (result == 0)
        result = walk_rest(walk, error);
    walk->counts->sent_docs = sender_counts(walk->sender)->sent_docs;
    if (result != 0 || retry_run(walk, error) != 0)
        return -1;
    noted = sender_noted(walk->sender);
    if (noted == NULL)
        return 0;
    if (error != NULL)
        *error = *noted;
    return -1;
}

int replay_run(const struct replay_options *options, struct replay_counts *counts,
               struct error *error)
{
    struct replay_counts own;
    struct sender_options sending = {
        .cht = options->cht,
        .db = options->db,
        .most_docs = options->most_docs == 0 ? MOST_DOCS : options->most_docs,
        .most_bytes = options->most_bytes == 0 ? MOST_BYTES : options->most_bytes,
        .parallel = options->parallel == 0 ? PARALLEL : options->parallel,
        .stop = options->stop,
    };
    struct walk walk = {.options = options, .counts = counts == NULL ? &own : counts};
    struct error fault;
    int result = -1;

    memset(walk.counts, 0, sizeof *walk.counts);
    walk.tally = sending.tally = tally_new(options->store, error);
    if (walk.tally == NULL)
        return -1;
    walk.sender = sender_new(&sending, error);
    if (walk.sender == NULL)
        goto done;
    result = run_waves(&walk, &fault);
    if (result != 0) {
        sender_abandon(walk.sender);
        if (error != NULL)
            *error = fault;
    }
    walk.counts->requests = sender_counts(walk.sender)->requests;
    sender_free(walk.sender);
done:
    walk.counts->applied_batches += tally_counts(walk.tally)->applied_batches;
    walk.counts->proven_docs = tally_counts(walk.tally)->proven_docs;
    walk.counts->refused_docs = tally_counts(walk.tally)->refused_docs;
    tally_free(walk.tally);
    return result;
}
