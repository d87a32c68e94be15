/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/run.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/cable.h"
#include "host/dock/fetch.h"
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
    uint64_t made; /* batches that the fetch made or withdrew */
    bool others;   /* another process replayed meanwhile, and something came of it */
};

/* The server's side of the work. */
struct work {
    struct dock *dock;
    struct cht *cht;
    struct fetch *fetch;
    int64_t fetch_due_ms; /* of clock_ms; INT64_MAX: never by time */
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

static void close_work(struct work *work)
{
    fetch_free(work->fetch);
    cht_free(work->cht);
}

static int open_work(struct work *work, struct dock *dock, struct error *error)
{
    *work = (struct work){.dock = dock, .cht = open_server(dock, error)};
    if (work->cht == NULL)
        return -1;
    work->fetch = fetch_new(error);
    if (work->fetch != NULL)
        return 0;
    close_work(work);
    return -1;
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

/* The newest revocation list of the store: couriers bring it, to this process or another one.  What is under way to
 * those whom it revokes is withdrawn by the next fetch, so that one is due. */
static int refresh_trust(struct work *work, struct error *error)
{
    struct dock *dock = work->dock;
    struct trust *trust = trust_open(dock->self, dock->store, error);

    if (trust == NULL)
        return -1;
    if (dock->trust != NULL && trust_number(trust) > trust_number(dock->trust))
        work->fetch_due_ms = 0;
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

static int fetch(struct work *work, struct moved *moved, struct error *error)
{
    struct dock *dock = work->dock;
    const struct config *config = dock->config;
    struct fetch_options options = {.store = dock->store,
                                    .server = dock->server,
                                    .trust = dock->trust,
                                    .deployment = config->deployment,
                                    .cht = work->cht,
                                    .kind = config->kind,
                                    .users = dock->users,
                                    .account = config->account,
                                    .db = config->db,
                                    .selector = config->selector,
                                    .parallel = config->parallel,
                                    .stop = dock->stop};
    struct fetch_counts counts;
    int64_t start_ms = clock_ms();
    int result = fetch_run(work->fetch, &options, &counts, error);

    moved->made = counts.batches + counts.views + counts.withdrawn;
    if (result != 0 && error->kind != ERROR_REFUSED)
        work->fetch_due_ms = clock_ms() + AGAIN_MS;
    else
        work->fetch_due_ms =
            config->every_s > 0 ? clock_ms() + (int64_t)config->every_s * 1000 : INT64_MAX;
    log_debug("fetch: %llu tablets, %llu requests, %.1f s", (unsigned long long)counts.tablets,
              (unsigned long long)counts.requests, (double)(clock_ms() - start_ms) / 1000.0);
    return result;
}

/* Who cannot log in holds up nobody else; but when the server is away, or the store is full, there is nothing
 * to be done. */
static bool may_fetch(const struct work *work, const struct moved *moved, int replayed,
                      const struct error *error)
{
    return work->dock->config->fetch && !is_stopped(work->dock) &&
           (replayed == 0 || error->kind == ERROR_REFUSED) &&
           (moved->applied > 0 || clock_ms() >= work->fetch_due_ms);
}

static int replay_and_fetch(struct work *work, struct moved *moved, struct error *error)
{
    struct error replay_error = {0};
    int replayed = replay(work->dock, work->cht, moved, &replay_error), fetched = 0;

    if (may_fetch(work, moved, replayed, &replay_error))
        fetched = fetch(work, moved, error);
    /* What may pass is the better reason to try again soon. */
    if (replayed != 0 && (fetched == 0 || error->kind == ERROR_REFUSED))
        *error = replay_error;
    return replayed == 0 ? fetched : -1;
}

/* Replay and fetch if it is this process's turn: 1; 0 another process is at it; -1. */
static int work_in_turn(struct work *work, struct moved *moved, struct error *error)
{
    int turn, result = turn_take(work->dock->config->store, &turn, error);

    memset(moved, 0, sizeof *moved);
    if (result == 1 &&
        (refresh_trust(work, error) != 0 || replay_and_fetch(work, moved, error) != 0))
        result = -1;
    turn_give(turn);
    return result;
}

/* What another process's courier brings after it has begun is the upload's, too. */
int run_upload(struct dock *dock, struct error *error)
{
    struct work work;
    struct moved moved;
    int result;

    if (open_work(&work, dock, error) != 0)
        return -1;
    do {
        result = work_in_turn(&work, &moved, error);
    } while (result == 1 && moved.applied + moved.receipts > 0 && !is_stopped(dock));
    if (result == 0)
        log_info("store %s: another boda-dock replays it and does this work as well",
                 dock->config->store);
    close_work(&work);
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

/* Work, behind another process that is at it: the courier waits for that one's work, too. */
static int work_after_others(struct work *work, struct moved *moved, struct error *error)
{
    struct dock *dock = work->dock;
    int64_t wait_ms = (int64_t)dock->config->patience_s * 1000, until_ms, before, after;
    bool waited = false;
    int result;

    until_ms = clock_ms() + (wait_ms > TURN_WAIT_MS ? wait_ms : TURN_WAIT_MS);
    if (store_version(dock->store, &before, error) != 0)
        return -1;
    while ((result = work_in_turn(work, moved, error)) == 0) {
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
    struct error work_error;
    struct work work;
    struct moved moved;
    struct cable cable;
    int visited, worked = 0;

    if (open_work(&work, dock, error) != 0)
        return -1;
    fill_cable(&cable, dock, address, true);
    do {
        memset(&moved, 0, sizeof moved);
        visited = visit(dock, &cable, error);
        if (is_stopped(dock))
            break;
        /* What came before a cut is there to be replayed. */
        worked = work_after_others(&work, &moved, &work_error);
    } while (visited == 0 && !is_stopped(dock) &&
             (moved.applied + moved.receipts + moved.made > 0 || moved.others));
    close_work(&work);
    if (worked == 0)
        return visited;
    if (visited != 0)
        log_error("%s", work_error.text);
    else if (error != NULL)
        *error = work_error;
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

/* When to look again, news or not: 0 for never. */
static int64_t next_look_ms(const struct work *work, bool failed, const struct error *error)
{
    int64_t fetch_ms = work->dock->config->fetch ? work->fetch_due_ms : INT64_MAX;
    int64_t again_ms = INT64_MAX;

    /* A refused login is not tried again, but a full disk or an ill server may mend. */
    if (failed && error->kind != ERROR_REFUSED)
        again_ms = clock_ms() + AGAIN_MS;
    if (again_ms < fetch_ms)
        return again_ms;
    return fetch_ms == INT64_MAX ? 0 : fetch_ms;
}

static int work_loop(struct work *work, struct error *error)
{
    struct dock *dock = work->dock;
    char said[ERROR_TEXT_BYTES] = "";
    struct moved moved;
    int64_t version;
    bool told = false;
    int result;

    while (!is_stopped(dock)) {
        /* Taken before the replay, so that what comes meanwhile is not missed. */
        if (store_version(dock->store, &version, error) != 0)
            return -1;
        result = work_in_turn(work, &moved, error);
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
        }
        if (wait_for_news(dock, version, next_look_ms(work, result < 0, error), error) != 0)
            return -1;
    }
    return 0;
}

int run_forever(struct dock *dock, const char *address, struct error *error)
{
    struct work work;
    struct cable cable;
    int result;

    if (open_work(&work, dock, error) != 0)
        return -1;
    fill_cable(&cable, dock, address, false);
    if (start_cable(&cable, error) != 0) {
        close_work(&work);
        return -1;
    }
    result = work_loop(&work, error);
    atomic_store(dock->stop, true);
    (void)pthread_join(cable.thread, NULL);
    close_work(&work);
    if (result == 0 && cable.result != 0) {
        if (error != NULL)
            *error = cable.error;
        result = -1;
    }
    return result;
}
