/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/run.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/cable.h"
#include "host/dock/receipts.h"
#include "host/dock/replay.h"
#include "host/dock/transfer.h"
#include "host/dock/turn.h"

#define POLL_MS 500
#define COURIER_WAIT_MS 10000 /* for a courier, with --once */
#define AGAIN_MS 60000        /* after a replay that failed for a cause that may pass */
#define TURN_WAIT_MS 60000    /* for another process's replay, with --once; patience= if longer */

struct moved {
    uint64_t applied, receipts;
    bool others; /* another process replayed meanwhile, and something came of it */
};

static struct cht *open_server(const struct dock *dock, struct error *error)
{
    const struct config *config = dock->config;
    struct cht_options options = {.url = config->url,
                                  .kind = config->kind,
                                  .basic = config->basic,
                                  .plain = transfer_is_local(config->url),
                                  .ca_file = config->ca,
                                  .most_parallel = config->parallel,
                                  .patience_s = config->patience_s,
                                  .passwords = dock->passwords,
                                  .stop = dock->stop};

    return cht_new(&options, error);
}

static bool is_stopped(const struct dock *dock)
{
    return dock->stop != NULL && atomic_load(dock->stop);
}

static void wait_a_poll(const struct dock *dock)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L / 5};

    for (int i = 0; i < 5 && !is_stopped(dock); i++)
        (void)nanosleep(&pause, NULL); /* a signal cuts it short */
}

/* The newest revocation list of the store: couriers bring it, to this process or another one. */
static int refresh_trust(struct dock *dock, struct error *error)
{
    struct trust *trust = trust_open(dock->self, dock->store, error);

    if (trust == NULL)
        return -1;
    trust_free(dock->trust);
    dock->trust = trust;
    return 0;
}

/* Replay, and make receipts of what came of it, also when not all went well. */
static int replay(struct dock *dock, struct cht *cht, struct moved *moved, struct error *error)
{
    struct replay_options options = {.store = dock->store,
                                     .server = dock->server,
                                     .trust = dock->trust,
                                     .cht = cht,
                                     .users = dock->users,
                                     .db = dock->config->db,
                                     .most_docs = dock->config->most_docs,
                                     .most_bytes = dock->config->most_bytes,
                                     .parallel = dock->config->parallel,
                                     .stop = dock->stop};
    struct replay_counts counts = {0};
    int64_t start_ms = clock_ms();
    int result = replay_run(&options, &counts, error);
    struct error receipt_error;

    moved->applied = counts.applied_batches;
    if (receipts_make(dock->store, dock->server, dock->trust, dock->config->deployment,
                      &moved->receipts, &receipt_error) != 0) {
        if (result == 0 && error != NULL)
            *error = receipt_error;
        else
            log_error("%s", receipt_error.text);
        result = -1;
    }
    if (counts.docs > 0 || counts.applied_batches > 0)
        log_info("replay: %llu of %llu batches applied, %llu documents, %llu sent, %llu proven, "
                 "%llu refused, %llu batches set aside, %llu receipts, %.1f s",
                 (unsigned long long)counts.applied_batches, (unsigned long long)counts.batches,
                 (unsigned long long)counts.docs, (unsigned long long)counts.sent_docs,
                 (unsigned long long)counts.proven_docs, (unsigned long long)counts.refused_docs,
                 (unsigned long long)counts.aside_batches, (unsigned long long)moved->receipts,
                 (double)(clock_ms() - start_ms) / 1000.0);
    return result;
}

/* Replay if it is this process's turn: 1; 0 another process is at it; -1. */
static int replay_in_turn(struct dock *dock, struct cht *cht, struct moved *moved,
                          struct error *error)
{
    int turn, result = turn_take(dock->config->store, &turn, error);

    memset(moved, 0, sizeof *moved);
    if (result == 1 && (refresh_trust(dock, error) != 0 || replay(dock, cht, moved, error) != 0))
        result = -1;
    turn_give(turn);
    return result;
}

/* What another process's courier brings after it has begun is the upload's, too. */
int run_upload(struct dock *dock, struct error *error)
{
    struct cht *cht = open_server(dock, error);
    struct moved moved;
    int result;

    if (cht == NULL)
        return -1;
    do {
        result = replay_in_turn(dock, cht, &moved, error);
    } while (result == 1 && moved.applied + moved.receipts > 0 && !is_stopped(dock));
    if (result == 0)
        log_info("store %s: another boda-dock replays it and does this work as well",
                 dock->config->store);
    cht_free(cht);
    return result < 0 ? -1 : 0;
}

/* ---- the cable ------------------------------------------------------------------------------ */

struct cable {
    struct cable_options options;
    struct store_options store;
    const struct config *config;
    atomic_bool met; /* a courier was there */
    atomic_bool end; /* what the cable takes for its stop */
    atomic_bool *dock_stop;
    pthread_t thread;
    int result;
    struct error error;
};

static const char *const *tablets_of(const char *courier, void *context)
{
    struct cable *cable = context;

    atomic_store(&cable->met, true);
    return config_tablets(cable->config, courier);
}

static int on_idle(struct store *store, struct trust *trust, void *context, struct error *error)
{
    struct cable *cable = context;

    (void)store;
    (void)trust;
    (void)error;
    atomic_store(&cable->met, true);
    return 0;
}

static void fill_cable(struct cable *cable, struct dock *dock, const char *address, bool once)
{
    memset(cable, 0, sizeof *cable);
    cable->config = dock->config;
    cable->dock_stop = dock->stop;
    cable->store.directory = dock->config->store;
    cable->store.station = identity_name(dock->self);
    cable->store.role = "dock";
    cable->options.address = address;
    cable->options.store = &cable->store;
    cable->options.identity = dock->self;
    cable->options.own_mail = SERVER_NAME;
    cable->options.tablets = tablets_of;
    cable->options.idle = on_idle;
    cable->options.context = cable;
    cable->options.once = once;
    cable->options.stop = once ? &cable->end : dock->stop;
}

static void *cable_thread(void *context)
{
    struct cable *cable = context;

    cable->result = cable_run(&cable->options, &cable->error);
    if (!cable->options.once)
        atomic_store(cable->dock_stop, true); /* without a cable there is nothing to wait for */
    return NULL;
}

static int start_cable(struct cable *cable, struct error *error)
{
    int errnum = pthread_create(&cable->thread, NULL, cable_thread, cable);

    return errnum == 0 ? 0 : error_errno(error, errnum, "cable: its thread cannot be started");
}

static void add_ms(struct timespec *time, long ms)
{
    time->tv_nsec += ms * 1000000L;
    time->tv_sec += time->tv_nsec / 1000000000L;
    time->tv_nsec %= 1000000000L;
}

/* One visit, or ERROR_TEMPORARY when no courier is there for a while.  The thread is there so that
 * somebody watches the time. */
static int visit(struct dock *dock, struct cable *cable, struct error *error)
{
    int64_t until_ms = clock_ms() + COURIER_WAIT_MS;
    bool gave_up = false;
    struct timespec pause;

    atomic_store(&cable->met, false);
    atomic_store(&cable->end, false);
    if (start_cable(cable, error) != 0)
        return -1;
    do {
        if (is_stopped(dock)) {
            atomic_store(&cable->end, true);
        } else if (!gave_up && !atomic_load(&cable->met) && clock_ms() >= until_ms) {
            gave_up = true;
            atomic_store(&cable->end, true);
        }
        (void)clock_gettime(CLOCK_REALTIME, &pause);
        add_ms(&pause, 50);
    } while (pthread_timedjoin_np(cable->thread, NULL, &pause) != 0);
    if (cable->result == 0)
        return 0;
    if (gave_up && !atomic_load(&cable->met))
        return error_set(error, ERROR_TEMPORARY,
                         "cable %s: no courier was there that can be used, for %d s; plug one "
                         "in and try again",
                         cable->options.address, COURIER_WAIT_MS / 1000);
    if (error != NULL)
        *error = cable->error;
    return -1;
}

/* Replay, behind another process that is at it: the courier waits for that one's work, too. */
static int replay_after_others(struct dock *dock, struct cht *cht, struct moved *moved,
                               struct error *error)
{
    int64_t wait_ms = (int64_t)dock->config->patience_s * 1000, until_ms, before, after;
    bool waited = false;
    int result;

    until_ms = clock_ms() + (wait_ms > TURN_WAIT_MS ? wait_ms : TURN_WAIT_MS);
    if (store_version(dock->store, &before, error) != 0)
        return -1;
    while ((result = replay_in_turn(dock, cht, moved, error)) == 0) {
        if (is_stopped(dock) || clock_ms() >= until_ms)
            return error_set(error, ERROR_TEMPORARY,
                             "store %s: another boda-dock still replays it; what it applies is "
                             "confirmed at the courier's next visit",
                             dock->config->store);
        waited = true;
        wait_a_poll(dock);
    }
    if (result < 0 || store_version(dock->store, &after, error) != 0)
        return -1;
    moved->others = waited && after != before;
    return 0;
}

int run_once(struct dock *dock, const char *address, struct error *error)
{
    struct error replay_error;
    struct cht *cht = open_server(dock, error);
    struct moved moved;
    struct cable cable;
    int visited, replayed = 0;

    if (cht == NULL)
        return -1;
    fill_cable(&cable, dock, address, true);
    do {
        memset(&moved, 0, sizeof moved);
        visited = visit(dock, &cable, error);
        if (is_stopped(dock))
            break;
        /* What came before a cut is there to be replayed. */
        replayed = replay_after_others(dock, cht, &moved, &replay_error);
    } while (visited == 0 && !is_stopped(dock) &&
             (moved.applied + moved.receipts > 0 || moved.others));
    cht_free(cht);
    if (replayed == 0)
        return visited;
    if (visited != 0)
        log_error("%s", replay_error.text);
    else if (error != NULL)
        *error = replay_error;
    return -1;
}

/* ---- both at once --------------------------------------------------------------------------- */

/* Wait until the store is not at VERSION any more, until UNTIL_MS (0: no bound), or for an end. */
static int wait_for_news(struct dock *dock, int64_t version, int64_t until_ms, struct error *error)
{
    int64_t now = version;

    while (!is_stopped(dock)) {
        wait_a_poll(dock);
        if (store_version(dock->store, &now, error) != 0)
            return -1;
        if (now != version || (until_ms > 0 && clock_ms() >= until_ms))
            break;
    }
    return 0;
}

static void tell_others(const struct dock *dock, bool *told)
{
    if (!*told)
        log_info("store %s: another boda-dock replays it; this one looks after its courier, and "
                 "replays when the other has ended",
                 dock->config->store);
    *told = true;
}

static int replay_loop(struct dock *dock, struct cht *cht, struct error *error)
{
    char said[ERROR_TEXT_BYTES] = "";
    struct moved moved;
    int64_t version, until_ms;
    bool told = false;
    int result;

    while (!is_stopped(dock)) {
        until_ms = 0;
        /* Taken before the replay, so that what comes meanwhile is not missed. */
        if (store_version(dock->store, &version, error) != 0)
            return -1;
        result = replay_in_turn(dock, cht, &moved, error);
        if (result == 0) {
            tell_others(dock, &told);
            wait_a_poll(dock);
            continue;
        }
        if (result == 1) {
            said[0] = '\0';
        } else if (error->kind == ERROR_CORRUPT) {
            return -1;
        } else if (!is_stopped(dock)) {
            if (strcmp(said, error->text) != 0)
                log_error("%s", error->text);
            memcpy(said, error->text, sizeof said);
            /* A refused login is not tried again, but a full disk or an ill server may mend. */
            until_ms = error->kind == ERROR_REFUSED ? 0 : clock_ms() + AGAIN_MS;
        }
        if (wait_for_news(dock, version, until_ms, error) != 0)
            return -1;
    }
    return 0;
}

int run_forever(struct dock *dock, const char *address, struct error *error)
{
    struct cht *cht = open_server(dock, error);
    struct cable cable;
    int result;

    if (cht == NULL)
        return -1;
    fill_cable(&cable, dock, address, false);
    if (start_cable(&cable, error) != 0) {
        cht_free(cht);
        return -1;
    }
    result = replay_loop(dock, cht, error);
    atomic_store(dock->stop, true);
    (void)pthread_join(cable.thread, NULL);
    cht_free(cht);
    if (result == 0 && cable.result != 0) {
        if (error != NULL)
            *error = cable.error;
        result = -1;
    }
    return result;
}
