/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * How fast, and in how much memory, batches go from a tablet's store to a courier's over a Unix socket:
 * two processes, TLS, commits that are durable.
 *
 *   exchange_bench [MEGABYTES]        the first measurement's amount; 256 unless given
 *
 * What is compared takes turns, so that a machine's other work meets both; the figures are medians of
 * several rounds, with the least and the most in brackets.  Both begin with a new database, after what
 * was written before has reached the disk.  The clock runs while both stores are open, from the
 * connection until the host has heard the good-bye.
 *
 * One line a measurement on standard output: name, figures, the goal.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link/socket.h"
#include "tests/bench/support/bench.h"
#include "tests/bench/support/stations.h"

#define MEGABYTE 1000000
#define CHUNK_BYTES 65536
#define SMALL_BATCHES 10000
#define SMALL_BYTES 1500
#define ROUNDS 3
#define ROUNDS_OF_NOTHING 9

struct outcome { /* of the courier's process */
    struct exchange_counts counts;
    long peak_kb; /* VmHWM */
    int result;
};

static long peak_kb(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kb = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %ld", &kb) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kb;
}

static int visit(const struct stations *stations, struct store *store, int fd, bool host,
                 struct exchange_counts *counts, struct error *error)
{
    struct visit_options options =
        stations_visit(host ? stations->tablet : stations->courier, store);
    struct link *link = socket_adopt(fd, error);
    int result;

    if (link == NULL)
        bench_die("visit", error);
    result = visit_run(link, &options, counts, error);
    trust_free(options.trust);
    return result;
}

/* The courier's process: it begins anew, so that its peak is its own.  No return. */
static void courier(const struct stations *stations, int fd, int report)
{
    struct outcome outcome = {0};
    struct store *store = stations_open(stations, stations->courier, "courier");
    struct error error;

    if (write(report, "", 1) != 1) /* ready */
        _exit(1);
    outcome.result = visit(stations, store, fd, false, &outcome.counts, &error);
    if (outcome.result != 0)
        fprintf(stderr, "courier: %s\n", error.text);
    store_close(store);
    outcome.peak_kb = peak_kb();
    if (write(report, &outcome, sizeof outcome) != sizeof outcome)
        _exit(1);
    _exit(0);
}

/* One visit of the tablet to the courier, a process of its own; seconds. */
static double run_visit(const struct stations *stations, struct outcome *outcome)
{
    struct exchange_counts counts;
    struct store *store;
    struct error error;
    int ends[2], report[2], status;
    char ready;
    double seconds;
    pid_t child;

    stations_settle(stations);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 || pipe(report) != 0)
        bench_die("socketpair", NULL);
    child = fork(); /* no store is open: SQLite's connections do not go through fork(2) */
    if (child < 0)
        bench_die("fork", NULL);
    if (child == 0) {
        close(ends[0]);
        courier(stations, ends[1], report[1]);
    }
    close(ends[1]);
    close(report[1]);
    store = stations_open(stations, stations->tablet, "tablet");
    if (read(report[0], &ready, 1) != 1)
        bench_die("courier", NULL);
    seconds = bench_now();
    if (visit(stations, store, ends[0], true, &counts, &error) != 0)
        bench_die("tablet", &error);
    seconds = bench_now() - seconds;
    if (read(report[0], outcome, sizeof *outcome) != sizeof *outcome)
        bench_die("courier", NULL);
    close(report[0]);
    waitpid(child, &status, 0);
    if (outcome->result != 0)
        exit(1);
    store_close(store);
    return seconds;
}

static void sql(sqlite3 *db, const char *text)
{
    char *message = NULL;

    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK) {
        fprintf(stderr, "exchange_bench: %s: %s\n", text, message);
        exit(1);
    }
}

/* Seconds that SQLite alone takes for as many chunks, with the store's settings and 1 MiB a commit. */
static double insert_chunks(struct stations *stations, uint64_t bytes)
{
    unsigned char *chunk = malloc(CHUNK_BYTES);
    sqlite3_stmt *insert;
    sqlite3 *db = NULL;
    char path[300];
    double start;

    stations_settle(stations);
    snprintf(path, sizeof path, "%s/chunks.db", stations->folder);
    if (chunk == NULL || sqlite3_open(path, &db) != SQLITE_OK)
        bench_die("sqlite", NULL);
    stations_fill(stations, chunk, CHUNK_BYTES);
    sql(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -2048;"
            "PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 16777216;"
            "CREATE TABLE chunk (key INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT");
    if (sqlite3_prepare_v2(db, "INSERT INTO chunk (bytes) VALUES (?1)", -1, &insert, NULL) !=
        SQLITE_OK)
        bench_die("sqlite", NULL);
    start = bench_now();
    for (uint64_t i = 0; i * CHUNK_BYTES < bytes; i++) {
        if (i % 16 == 0)
            sql(db, i == 0 ? "BEGIN IMMEDIATE" : "COMMIT; BEGIN IMMEDIATE");
        sqlite3_bind_blob(insert, 1, chunk, CHUNK_BYTES, SQLITE_STATIC);
        if (sqlite3_step(insert) != SQLITE_DONE)
            bench_die(sqlite3_errmsg(db), NULL);
        sqlite3_reset(insert);
    }
    sql(db, "COMMIT");
    start = bench_now() - start;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    unlink(path);
    free(chunk);
    return start;
}

static void measure_bytes(struct stations *stations, unsigned megabytes)
{
    struct store *store = stations_open(stations, stations->tablet, "tablet");
    struct bench_series ours = {0}, sqlite = {0}, ratio = {0};
    uint64_t bytes = (uint64_t)megabytes * MEGABYTE;
    struct outcome outcome;
    long worst_kb = 0;

    stations_add(stations, store, megabytes, MEGABYTE, false);
    store_close(store);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double alone_s = insert_chunks(stations, bytes), exchange_s = run_visit(stations, &outcome);

        stations_clear(stations, "courier");
        bench_note(&sqlite, megabytes / alone_s);
        bench_note(&ours, megabytes / exchange_s);
        bench_note(&ratio, alone_s / exchange_s);
        worst_kb = outcome.peak_kb > worst_kb ? outcome.peak_kb : worst_kb;
    }
    printf("exchange %u MB: %.0f MB/s (%.0f..%.0f), SQLite alone %.0f MB/s (%.0f..%.0f), "
           "ratio %.2f (%.2f..%.2f, goal >= 0.7)\n",
           megabytes, bench_median(&ours), bench_least(&ours), bench_most(&ours),
           bench_median(&sqlite), bench_least(&sqlite), bench_most(&sqlite), bench_median(&ratio),
           bench_least(&ratio), bench_most(&ratio));
    printf("courier's peak memory: %.1f MB (goal <= 16)\n", (double)worst_kb / 1000);
    stations_clear(stations, "tablet");
}

static void measure_small(struct stations *stations)
{
    struct store *store = stations_open(stations, stations->tablet, "tablet");
    struct bench_series rate = {0};
    struct outcome outcome;

    stations_add(stations, store, SMALL_BATCHES, SMALL_BYTES, false);
    store_close(store);
    for (unsigned round = 0; round < ROUNDS; round++) {
        bench_note(&rate, SMALL_BATCHES / run_visit(stations, &outcome));
        stations_clear(stations, "courier");
    }
    printf("exchange of %d batches of %d bytes: %.0f batches/s (%.0f..%.0f, goal >= 5000)\n",
           SMALL_BATCHES, SMALL_BYTES, bench_median(&rate), bench_least(&rate), bench_most(&rate));
    stations_clear(stations, "tablet");
}

/* 100,000 applied batches at the tablet, 1,000 waiting at both. */
static void measure_nothing_new(struct stations *stations)
{
    struct store *store = stations_open(stations, stations->tablet, "tablet");
    struct bench_series time_ms = {0};
    struct outcome outcome;

    stations_add(stations, store, 100000, 16, true);
    stations_add(stations, store, 1000, SMALL_BYTES, false);
    store_close(store);
    run_visit(stations, &outcome);
    for (unsigned round = 0; round < ROUNDS_OF_NOTHING; round++)
        bench_note(&time_ms, run_visit(stations, &outcome) * 1000);
    printf("exchange with nothing new, 100000 applied, 1000 waiting: %.1f ms (%.1f..%.1f, goal <= "
           "50)\n",
           bench_median(&time_ms), bench_least(&time_ms), bench_most(&time_ms));
    stations_clear(stations, "tablet");
    stations_clear(stations, "courier");
}

int main(int argc, char **argv)
{
    struct stations stations;
    unsigned megabytes = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 256;

    stations_make(&stations, NULL);
    if (megabytes > 0)
        measure_bytes(&stations, megabytes);
    if (argc <= 1) {
        measure_small(&stations);
        measure_nothing_new(&stations);
    }
    stations_free(&stations);
    return 0;
}
