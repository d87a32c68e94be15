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
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/log.h"
#include "link/socket.h"
#include "link/visit.h"
#include "store/authority.h"
#include "store/batches.h"

#define MEGABYTE 1000000
#define CHUNK_BYTES 65536
#define SMALL_BATCHES 10000
#define SMALL_BYTES 1500
#define ROUNDS 3
#define ROUNDS_OF_NOTHING 9
#define ROUNDS_MAX 9

struct bench {
    struct authority *authority;
    struct identity *tablet, *courier;
    char folder[256];
    uint64_t seq, random;
};

struct outcome { /* of the courier's process */
    struct exchange_counts counts;
    long peak_kb; /* VmHWM */
    int result;
};

struct series {
    size_t count;
    double values[ROUNDS_MAX];
};

static void die(const char *what, const struct error *error)
{
    fprintf(stderr, "exchange_bench: %s: %s\n", what,
            error != NULL ? error->text : strerror(errno));
    exit(1);
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void note(struct series *series, double value)
{
    size_t i = series->count++;

    for (; i > 0 && series->values[i - 1] > value; i--)
        series->values[i] = series->values[i - 1];
    series->values[i] = value;
}

static double median(const struct series *series)
{
    return series->values[series->count / 2];
}

static double least(const struct series *series)
{
    return series->values[0];
}

static double most(const struct series *series)
{
    return series->values[series->count - 1];
}

static struct identity *enroll(struct bench *bench, enum role role, const char *name,
                               const char *user)
{
    struct station station = {.role = role};
    struct error error;
    struct identity *identity;

    snprintf(station.name, sizeof station.name, "%s", name);
    snprintf(station.user, sizeof station.user, "%s", user);
    identity = authority_enroll(bench->authority, &station, NULL, &error);
    if (identity == NULL)
        die("enroll", &error);
    return identity;
}

static struct store *open_store(const struct bench *bench, const struct identity *identity,
                                const char *name)
{
    struct store_options options = {.station = identity_name(identity),
                                    .role = role_name(identity_role(identity))};
    char path[300];
    struct error error;
    struct store *store;

    snprintf(path, sizeof path, "%s/%s", bench->folder, name);
    options.directory = path;
    store = store_open(&options, &error);
    if (store == NULL)
        die("store", &error);
    return store;
}

/* Bytes that no link or file system compresses. */
static void fill(struct bench *bench, unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i + 8 <= size; i += 8) {
        bench->random ^= bench->random << 13;
        bench->random ^= bench->random >> 7;
        bench->random ^= bench->random << 17;
        memcpy(bytes + i, &bench->random, 8);
    }
}

static void add_batches(struct bench *bench, struct store *store, unsigned count, size_t size,
                        bool applied)
{
    unsigned char *bytes = calloc(1, size);
    struct label label = {.from = "t1", .to = "server", .epoch = "00000000000000e1", .size = size};
    struct error error;
    unsigned length;

    if (bytes == NULL)
        die("memory", NULL);
    for (unsigned i = 0; i < count; i++) {
        if (i % 256 == 0 && store_begin(store, &error) != 0)
            die("begin", &error);
        fill(bench, bytes, size);
        memcpy(bytes, &bench->seq, sizeof bench->seq);
        label.seq = ++bench->seq;
        if (EVP_Digest(bytes, size, label.id, &length, EVP_sha256(), NULL) != 1)
            die("SHA-256", NULL);
        if (batches_add(store, &label, bytes, size, &error) != 0 ||
            (applied && batches_apply(store, &label, false, &error) != 0))
            die("add", &error);
        if ((i % 256 == 255 || i == count - 1) && store_commit(store, &error) != 0)
            die("commit", &error);
    }
    free(bytes);
}

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

static int visit(const struct bench *bench, struct store *store, int fd, bool host,
                 struct exchange_counts *counts, struct error *error)
{
    const struct identity *identity = host ? bench->tablet : bench->courier;
    struct visit_options options = {.store = store,
                                    .identity = identity,
                                    .side = host ? SESSION_HOST : SESSION_GADGET,
                                    .roles = host ? 1u << ROLE_COURIER : 1u << ROLE_TABLET,
                                    .own_mail = host ? "t1" : NULL,
                                    .once = host};
    struct link *link = socket_adopt(fd, error);
    int result;

    options.trust = trust_new(identity_ca(identity), error);
    if (link == NULL || options.trust == NULL)
        die("visit", error);
    result = visit_run(link, &options, counts, error);
    trust_free(options.trust);
    return result;
}

/* The courier's process: it begins anew, so that its peak is its own.  No return. */
static void courier(const struct bench *bench, int fd, int report)
{
    struct outcome outcome = {0};
    struct store *store = open_store(bench, bench->courier, "courier");
    struct error error;

    if (write(report, "", 1) != 1) /* ready */
        _exit(1);
    outcome.result = visit(bench, store, fd, false, &outcome.counts, &error);
    if (outcome.result != 0)
        fprintf(stderr, "courier: %s\n", error.text);
    store_close(store);
    outcome.peak_kb = peak_kb();
    if (write(report, &outcome, sizeof outcome) != sizeof outcome)
        _exit(1);
    _exit(0);
}

/* What was written before is on the disk. */
static void settle(const struct bench *bench)
{
    int fd = open(bench->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || syncfs(fd) != 0)
        die(bench->folder, NULL);
    close(fd);
}

/* One visit of the tablet to the courier, a process of its own; seconds. */
static double run_visit(const struct bench *bench, struct outcome *outcome)
{
    struct exchange_counts counts;
    struct store *store;
    struct error error;
    int ends[2], report[2], status;
    char ready;
    double seconds;
    pid_t child;

    settle(bench);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 || pipe(report) != 0)
        die("socketpair", NULL);
    child = fork(); /* no store is open: SQLite's connections do not go through fork(2) */
    if (child < 0)
        die("fork", NULL);
    if (child == 0) {
        close(ends[0]);
        courier(bench, ends[1], report[1]);
    }
    close(ends[1]);
    close(report[1]);
    store = open_store(bench, bench->tablet, "tablet");
    if (read(report[0], &ready, 1) != 1)
        die("courier", NULL);
    seconds = seconds_now();
    if (visit(bench, store, ends[0], true, &counts, &error) != 0)
        die("tablet", &error);
    seconds = seconds_now() - seconds;
    if (read(report[0], outcome, sizeof *outcome) != sizeof *outcome)
        die("courier", NULL);
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
static double insert_chunks(struct bench *bench, uint64_t bytes)
{
    unsigned char *chunk = malloc(CHUNK_BYTES);
    sqlite3_stmt *insert;
    sqlite3 *db = NULL;
    char path[300];
    double start;

    settle(bench);
    snprintf(path, sizeof path, "%s/chunks.db", bench->folder);
    if (chunk == NULL || sqlite3_open(path, &db) != SQLITE_OK)
        die("sqlite", NULL);
    fill(bench, chunk, CHUNK_BYTES);
    sql(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -2048;"
            "PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 16777216;"
            "CREATE TABLE chunk (key INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT");
    if (sqlite3_prepare_v2(db, "INSERT INTO chunk (bytes) VALUES (?1)", -1, &insert, NULL) !=
        SQLITE_OK)
        die("sqlite", NULL);
    start = seconds_now();
    for (uint64_t i = 0; i * CHUNK_BYTES < bytes; i++) {
        if (i % 16 == 0)
            sql(db, i == 0 ? "BEGIN IMMEDIATE" : "COMMIT; BEGIN IMMEDIATE");
        sqlite3_bind_blob(insert, 1, chunk, CHUNK_BYTES, SQLITE_STATIC);
        if (sqlite3_step(insert) != SQLITE_DONE)
            die(sqlite3_errmsg(db), NULL);
        sqlite3_reset(insert);
    }
    sql(db, "COMMIT");
    start = seconds_now() - start;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    unlink(path);
    free(chunk);
    return start;
}

/* Forget NAME's store. */
static void clear(const struct bench *bench, const char *name)
{
    char command[400];

    snprintf(command, sizeof command, "rm -rf '%s/%s'", bench->folder, name);
    if (system(command) != 0)
        die(command, NULL);
}

static void measure_bytes(struct bench *bench, unsigned megabytes)
{
    struct store *store = open_store(bench, bench->tablet, "tablet");
    struct series ours = {0}, sqlite = {0}, ratio = {0};
    uint64_t bytes = (uint64_t)megabytes * MEGABYTE;
    struct outcome outcome;
    long worst_kb = 0;

    add_batches(bench, store, megabytes, MEGABYTE, false);
    store_close(store);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double alone_s = insert_chunks(bench, bytes), exchange_s = run_visit(bench, &outcome);

        clear(bench, "courier");
        note(&sqlite, megabytes / alone_s);
        note(&ours, megabytes / exchange_s);
        note(&ratio, alone_s / exchange_s);
        worst_kb = outcome.peak_kb > worst_kb ? outcome.peak_kb : worst_kb;
    }
    printf("exchange %u MB: %.0f MB/s (%.0f..%.0f), SQLite alone %.0f MB/s (%.0f..%.0f), "
           "ratio %.2f (%.2f..%.2f, goal >= 0.7)\n",
           megabytes, median(&ours), least(&ours), most(&ours), median(&sqlite), least(&sqlite),
           most(&sqlite), median(&ratio), least(&ratio), most(&ratio));
    printf("courier's peak memory: %.1f MB (goal <= 16)\n", (double)worst_kb / 1000);
    clear(bench, "tablet");
}

static void measure_small(struct bench *bench)
{
    struct store *store = open_store(bench, bench->tablet, "tablet");
    struct series rate = {0};
    struct outcome outcome;

    add_batches(bench, store, SMALL_BATCHES, SMALL_BYTES, false);
    store_close(store);
    for (unsigned round = 0; round < ROUNDS; round++) {
        note(&rate, SMALL_BATCHES / run_visit(bench, &outcome));
        clear(bench, "courier");
    }
    printf("exchange of %d batches of %d bytes: %.0f batches/s (%.0f..%.0f, goal >= 5000)\n",
           SMALL_BATCHES, SMALL_BYTES, median(&rate), least(&rate), most(&rate));
    clear(bench, "tablet");
}

/* 100,000 applied batches at the tablet, 1,000 waiting at both. */
static void measure_nothing_new(struct bench *bench)
{
    struct store *store = open_store(bench, bench->tablet, "tablet");
    struct series time_ms = {0};
    struct outcome outcome;

    add_batches(bench, store, 100000, 16, true);
    add_batches(bench, store, 1000, SMALL_BYTES, false);
    store_close(store);
    run_visit(bench, &outcome);
    for (unsigned round = 0; round < ROUNDS_OF_NOTHING; round++)
        note(&time_ms, run_visit(bench, &outcome) * 1000);
    printf("exchange with nothing new, 100000 applied, 1000 waiting: %.1f ms (%.1f..%.1f, goal <= "
           "50)\n",
           median(&time_ms), least(&time_ms), most(&time_ms));
    clear(bench, "tablet");
    clear(bench, "courier");
}

int main(int argc, char **argv)
{
    struct bench bench = {.random = 88172645463325252u};
    const char *parent = getenv("TMPDIR");
    unsigned megabytes = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 256;
    struct error error;

    snprintf(bench.folder, sizeof bench.folder, "%s/boda-bench-XXXXXX",
             parent != NULL ? parent : "/tmp");
    if (mkdtemp(bench.folder) == NULL)
        die(bench.folder, NULL);
    bench.authority = authority_new("bench", &error);
    if (bench.authority == NULL)
        die("authority", &error);
    bench.tablet = enroll(&bench, ROLE_TABLET, "t1", "chw1");
    bench.courier = enroll(&bench, ROLE_COURIER, "c1", "");
    if (megabytes > 0)
        measure_bytes(&bench, megabytes);
    if (argc <= 1) {
        measure_small(&bench);
        measure_nothing_new(&bench);
    }
    identity_free(bench.tablet);
    identity_free(bench.courier);
    authority_free(bench.authority);
    if (rmdir(bench.folder) != 0)
        die(bench.folder, NULL);
    return 0;
}
