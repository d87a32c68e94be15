/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * How fast, and in how much memory, batches go from a store to files and from files to a store, beside cp and an fsync
 * of each of the same files.
 *
 *   files_bench [MEDIUM [FILES]]      the folder to export to; only so many small files, and their time alone
 *
 * What is compared takes turns; the figures are medians of several rounds, with the least and the most in brackets.
 * Each begins after what was written before has reached the disk, with a new folder and a new store, in a process of
 * its own, whose peak is its memory.
 *
 * One line a measurement on standard output: name, figures, the goal.
 */
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/batch.h"
#include "store/export.h"
#include "store/import.h"
#include "tests/bench/support/bench.h"
#include "tests/bench/support/stations.h"

#define MEGABYTE 1000000
#define LARGE_BATCHES 256
#define LARGE_BYTES MEGABYTE
#define SMALL_BATCHES 10000
#define SMALL_BYTES 300 /* before it is sealed */
#define ROUNDS 3
#define BATCHES_A_COMMIT 256

struct bench {
    struct stations stations;
    const char *medium; /* the folder, or NULL: one of the stations' */
    char full[STATIONS_FOLDER_BYTES + 16], copy[STATIONS_FOLDER_BYTES + 16];
    unsigned count;
    uint64_t bytes; /* of all files */
    long peak_kb;
};

static void shell(const char *format, const char *first, const char *second)
{
    char command[1200];

    /* NOLINTNEXTLINE(clang-diagnostic-format-nonliteral): our own words */
    (void)snprintf(command, sizeof command, format, first, second);
    if (system(command) != 0) /* NOLINT(cert-env33-c): our own words */
        bench_die(command, NULL);
}

/* COUNT sealed batches of about SIZE bytes in the store "full".  One is sealed; the others have another tag, which makes
 * them batches by their form, with ids of their own. */
static void fill(struct bench *bench, unsigned count, size_t size)
{
    const struct stations *stations = &bench->stations;
    struct store *store = stations_open(stations, stations->courier, "full");
    struct manifest manifest = {.from = "t1",
                                .user = "chw1",
                                .epoch = "00000000000000e1",
                                .kind = "docs",
                                .db = "medic",
                                .seq = 1,
                                .docs = 1};
    unsigned char *random = malloc(size);
    char *line = malloc(size * 2 + 2);
    struct buffer bytes = {0};
    struct label label;
    struct error error;

    if (random == NULL || line == NULL)
        bench_die("memory", NULL);
    stations_fill(&bench->stations, random, size);
    for (size_t i = 0; i < size; i++)
        (void)snprintf(line + 2 * i, 3, "%02x", random[i]);
    (void)strcpy(line + 2 * size, "\n");
    (void)snprintf(manifest.to, sizeof manifest.to, "%s", identity_name(stations->dock));
    if (batch_seal(stations->tablet, identity_certificate(stations->dock), &manifest, line,
                   2 * size + 1, &bytes, &label, &error) != 0)
        bench_die("seal", &error);
    (void)snprintf(label.to, sizeof label.to, "server");
    for (unsigned i = 0; i < count; i++) {
        if (i % BATCHES_A_COMMIT == 0 && store_begin(store, &error) != 0)
            bench_die("begin", &error);
        memcpy(bytes.data + bytes.length - sizeof i, &i, sizeof i);
        label.seq = i + 1;
        if (EVP_Digest(bytes.data, bytes.length, label.id, NULL, EVP_sha256(), NULL) != 1)
            bench_die("SHA-256", NULL);
        if (batches_add(store, &label, bytes.data, bytes.length, &error) != 0)
            bench_die("add", &error);
        if ((i % BATCHES_A_COMMIT == BATCHES_A_COMMIT - 1 || i == count - 1) &&
            store_commit(store, &error) != 0)
            bench_die("commit", &error);
    }
    bench->count = count;
    bench->bytes = (uint64_t)count * bytes.length;
    store_close(store);
    buffer_free(&bytes);
    free(random);
    free(line);
}

static void export(struct bench *bench)
{
    struct store *store = stations_open(&bench->stations, bench->stations.courier, "full");
    struct export_counts counts;
    struct error error;

    if (export_run(store, bench->full, false, &counts, &error) != 0)
        bench_die("export", &error);
    if (counts.written != bench->count)
        bench_die("export: not all", NULL);
    store_close(store);
}

static void import(struct bench *bench)
{
    struct store *store = stations_open(&bench->stations, bench->stations.courier, "empty");
    const struct import_options options = {.store = store};
    struct error error;
    struct import *import = import_new(&options, &error);

    if (import == NULL || import_path(import, bench->full, &error) != 0 ||
        import_commit(import, &error) != 0)
        bench_die("import", &error);
    if (import_counts(import)->taken != bench->count)
        bench_die("import: not all", NULL);
    import_free(import);
    store_close(store);
}

static void copy(struct bench *bench)
{
    shell("cp -r '%s' '%s'", bench->full, bench->copy);
    shell("find '%s' -type f -exec sync {} +", bench->copy, "");
}

/* Seconds that WORK takes in a process of its own. */
static double time_of(struct bench *bench, void (*work)(struct bench *bench))
{
    struct rusage usage;
    double start;
    int status;
    pid_t child;

    stations_settle(&bench->stations);
    start = bench_now();
    child = fork();
    if (child < 0)
        bench_die("fork", NULL);
    if (child == 0) {
        work(bench);
        _exit(0);
    }
    if (wait4(child, &status, 0, &usage) != child || status != 0)
        exit(1);
    if (work != copy && usage.ru_maxrss > bench->peak_kb)
        bench->peak_kb = usage.ru_maxrss;
    return bench_now() - start;
}

static void print_line(const struct bench *bench, const char *name, const struct bench_series *rate,
                       const struct bench_series *ratio)
{
    printf("%s of %u files, %.1f MB: %.1f MB/s (%.1f..%.1f), ratio to cp and fsync %.2f "
           "(%.2f..%.2f, goal >= 0.7)\n",
           name, bench->count, (double)bench->bytes / MEGABYTE, bench_median(rate),
           bench_least(rate), bench_most(rate), bench_median(ratio), bench_least(ratio),
           bench_most(ratio));
}

static void begin(const struct bench *bench)
{
    if (mkdir(bench->full, 0700) != 0)
        bench_die(bench->full, NULL);
}

static void end(const struct bench *bench)
{
    shell("rm -rf '%s' '%s'", bench->full, bench->copy);
    stations_clear(&bench->stations, "empty");
}

static void measure(struct bench *bench, unsigned count, size_t size)
{
    struct bench_series exported = {0}, imported = {0}, export_ratio = {0}, import_ratio = {0};

    fill(bench, count, size);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double megabytes = (double)bench->bytes / MEGABYTE, export_s, import_s, copy_s;

        begin(bench);
        export_s = time_of(bench, export);
        copy_s = time_of(bench, copy);
        import_s = time_of(bench, import);
        end(bench);
        bench_note(&exported, megabytes / export_s);
        bench_note(&imported, megabytes / import_s);
        bench_note(&export_ratio, copy_s / export_s);
        bench_note(&import_ratio, copy_s / import_s);
    }
    print_line(bench, "export", &exported, &export_ratio);
    print_line(bench, "import", &imported, &import_ratio);
    stations_clear(&bench->stations, "full");
}

/* On a medium that is not this machine's disk: how long it takes. */
static void measure_time(struct bench *bench, unsigned count)
{
    double export_s, import_s;

    fill(bench, count, SMALL_BYTES);
    begin(bench);
    export_s = time_of(bench, export);
    import_s = time_of(bench, import);
    printf("%u files, %.1f MB: export %.1f s, import %.1f s\n", count,
           (double)bench->bytes / MEGABYTE, export_s, import_s);
    end(bench);
    stations_clear(&bench->stations, "full");
}

int main(int argc, char **argv)
{
    struct bench bench = {.medium = argc > 1 ? argv[1] : NULL};
    unsigned files = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;

    stations_make(&bench.stations, NULL);
    if (bench.medium == NULL)
        bench.medium = bench.stations.folder;
    (void)snprintf(bench.full, sizeof bench.full, "%s/files", bench.medium);
    (void)snprintf(bench.copy, sizeof bench.copy, "%s/copy", bench.medium);
    if (files == 0) {
        measure(&bench, LARGE_BATCHES, LARGE_BYTES);
        measure(&bench, SMALL_BATCHES, SMALL_BYTES);
    } else {
        measure_time(&bench, files);
    }
    printf("peak memory of export and import: %.1f MB (goal <= 16)\n",
           (double)bench.peak_kb / 1000);
    stations_free(&bench.stations);
    return 0;
}
