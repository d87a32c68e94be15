/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * How fast payload goes over USB, against the kernel's own source and sink with the same libusb transfers:
 * the link alone, with TLS, and whole exchanges with durable commits.  To be run in a test machine with
 * virtual time, as root (tests/bench/usb.sh): one boot, one kernel, side by side.
 *
 *   usb STORES [MEGABYTES]        STORES: a folder on the disk to be measured with; 32 unless given
 *
 * One line a measurement on standard output.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "gadget/configfs.h"
#include "gadget/functionfs.h"
#include "host/usb.h"
#include "link/session.h"
#include "link/visit.h"
#include "tests/bench/support/bench.h"
#include "tests/bench/support/stations.h"
#include "tests/bench/usb/source_sink.h"

#define MEGABYTE 1000000u
#define PIECE_BYTES (64u << 10)
#define BATCH_BYTES 2000000u
#define ROUNDS 3
#define WAIT_MS 600000

enum layer { BARE, TLS, STORE, LAYERS };

static const char *const layer_names[] = {"bare", "TLS", "TLS and stores"};

struct bench {
    struct stations stations;
    uint64_t bytes;
};

/* One end's stream of plain bytes, with TLS or without. */
struct stream {
    struct link *link;
    struct session *session; /* NULL: bare */
};

/* ---- streams ---- */

static void stream_open(struct stream *stream, struct link *link, const struct stations *stations,
                        bool host, bool tls)
{
    struct visit_options options =
        stations_visit(host ? stations->tablet : stations->courier, NULL);
    struct error error;

    stream->link = link;
    stream->session = NULL;
    if (tls) {
        stream->session = session_open(link, options.side, options.identity, options.trust,
                                       options.roles, WAIT_MS, &error);
        if (stream->session == NULL)
            bench_die("session", &error);
    }
    trust_free(options.trust);
}

static void stream_close(struct stream *stream)
{
    if (stream->session != NULL)
        session_close(stream->session);
    else
        stream->link->operations->close(stream->link);
}

static void stream_wait(struct stream *stream, bool write)
{
    struct error error;
    int ready = stream->session != NULL
                    ? session_wait(stream->session, write, WAIT_MS, &error)
                    : stream->link->operations->wait(stream->link, write, WAIT_MS, &error);

    if (ready < 0)
        bench_die("wait", &error);
}

static void stream_send(struct stream *stream, uint64_t bytes)
{
    static const unsigned char piece[PIECE_BYTES];
    struct error error;

    while (bytes > 0) {
        size_t size = bytes < sizeof piece ? (size_t)bytes : sizeof piece;
        ssize_t put = stream->session != NULL
                          ? session_write(stream->session, piece, size, &error)
                          : stream->link->operations->write(stream->link, piece, size, &error);

        if (put < 0)
            bench_die("write", &error);
        if (put == 0)
            stream_wait(stream, true);
        bytes -= (uint64_t)put;
    }
    if (stream->link->operations->flush(stream->link, WAIT_MS, &error) != 0)
        bench_die("flush", &error);
}

static void stream_receive(struct stream *stream, uint64_t bytes)
{
    static unsigned char piece[PIECE_BYTES];
    struct error error;

    while (bytes > 0) {
        size_t size = bytes < sizeof piece ? (size_t)bytes : sizeof piece;
        ssize_t got = stream->session != NULL
                          ? session_read(stream->session, piece, size, &error)
                          : stream->link->operations->read(stream->link, piece, size, &error);

        if (got < 0)
            bench_die("read", &error);
        if (got == 0)
            stream_wait(stream, false);
        bytes -= (uint64_t)got;
    }
}

/* ---- the gadget's process ---- */

static struct link *accept_host(struct functionfs *functionfs)
{
    struct error error;
    struct link *link;

    do
        link = functionfs_accept(functionfs, WAIT_MS, NULL, &error);
    while (link == NULL && error.kind == ERROR_TEMPORARY);
    if (link == NULL)
        bench_die("gadget", &error);
    return link;
}

static void serve_stream(const struct bench *bench, struct link *link, bool tls, bool in)
{
    struct stream stream;

    stream_open(&stream, link, &bench->stations, false, tls);
    if (in) {
        stream_receive(&stream, 1);
        stream_send(&stream, bench->bytes);
        stream_receive(&stream, 1);
    } else {
        stream_receive(&stream, bench->bytes);
        stream_send(&stream, 1);
        stream_receive(&stream, 1);
    }
    stream_close(&stream);
}

static void serve_visit(struct bench *bench, struct link *link, bool in)
{
    struct store *store = stations_open(&bench->stations, bench->stations.courier, "courier");
    struct visit_options options = stations_visit(bench->stations.courier, store);
    struct error error;

    (void)in;
    if (visit_run(link, &options, NULL, &error) != 0 && error.kind != ERROR_CLOSED)
        bench_die("gadget's visit", &error);
    trust_free(options.trust);
    store_close(store);
}

/* Sets the gadget up and serves hosts until it is killed; what is left of it the next one takes away. */
static void gadget(struct bench *bench, enum layer layer, bool in)
{
    const struct configfs_options options = {.name = "bench"};
    struct error error;
    struct configfs *configfs = configfs_open(&options, &error);
    struct functionfs *functionfs;

    if (configfs == NULL)
        bench_die("configfs", &error);
    functionfs = functionfs_open(configfs_folder(configfs), &error);
    if (functionfs == NULL || configfs_bind(configfs, &error) != 0)
        bench_die("gadget", &error);
    for (;;) {
        struct link *link = accept_host(functionfs);

        if (layer == STORE)
            serve_visit(bench, link, in);
        else
            serve_stream(bench, link, layer == TLS, in);
    }
}

/* ---- the host ---- */

static struct link *find_courier(struct usb *usb)
{
    double until = bench_now() + WAIT_MS / 1000.0;
    struct error error;
    struct link *link;

    while ((link = usb_connect(usb, &error)) == NULL && bench_now() < until)
        (void)usb_wait(usb, 1000);
    if (link == NULL)
        bench_die("no courier", &error);
    return link;
}

static double move_stream(const struct bench *bench, struct link *link, bool tls, bool in)
{
    struct stream stream;
    double start;

    stream_open(&stream, link, &bench->stations, true, tls);
    start = bench_now();
    if (in) {
        stream_send(&stream, 1);
        stream_receive(&stream, bench->bytes);
    } else {
        stream_send(&stream, bench->bytes);
        stream_receive(&stream, 1);
    }
    start = bench_now() - start;
    stream_send(&stream, 1);
    stream_close(&stream);
    return start;
}

/* A tablet pushes, or a dock takes; the handshake is not counted, the last commit is. */
struct clock {
    double start, idle;
};

static void on_peer(const struct station *peer, void *context)
{
    struct clock *clock = context;

    (void)peer;
    clock->start = bench_now();
}

static int on_idle(void *context, struct error *error)
{
    struct clock *clock = context;

    (void)error;
    if (clock->idle == 0)
        clock->idle = bench_now();
    return 0;
}

static double move_visit(const struct bench *bench, struct link *link, bool in)
{
    const struct identity *self = in ? bench->stations.dock : bench->stations.tablet;
    struct store *store = stations_open(&bench->stations, self, in ? "dock" : "tablet");
    struct visit_options options = stations_visit(self, store);
    struct exchange_counts counts;
    struct clock clock = {0};
    struct error error;

    options.hooks.peer = on_peer;
    options.hooks.idle = on_idle;
    options.hooks.context = &clock;
    if (visit_run(link, &options, &counts, &error) != 0)
        bench_die("visit", &error);
    if ((in ? counts.taken_bytes : counts.sent_bytes) < bench->bytes)
        bench_die("not all was moved", NULL);
    trust_free(options.trust);
    store_close(store);
    return clock.idle - clock.start;
}

/* The source's store is filled, the taker's is new. */
static void fill_stores(struct bench *bench, bool in)
{
    struct stations *stations = &bench->stations;
    struct store *store;

    stations_clear(stations, "courier");
    stations_clear(stations, "tablet");
    stations_clear(stations, "dock");
    store = in ? stations_open(stations, stations->courier, "courier")
               : stations_open(stations, stations->tablet, "tablet");
    stations_add(stations, store, (unsigned)(bench->bytes / BATCH_BYTES), BATCH_BYTES, false);
    store_close(store);
    stations_settle(stations);
}

/* MB/s of one layer in one direction, median of ROUNDS. */
static double measure(struct bench *bench, enum layer layer, bool in)
{
    struct bench_series series = {0};
    struct error error;
    struct usb *usb;
    pid_t child;

    if (layer == STORE)
        fill_stores(bench, in);
    (void)fflush(NULL);
    child = fork();
    if (child < 0)
        bench_die("fork", NULL);
    if (child == 0)
        gadget(bench, layer, in);
    usb = usb_open("usb", NULL, &error);
    if (usb == NULL)
        bench_die("usb", &error);
    for (int round = 0; round < (layer == STORE ? 1 : ROUNDS); round++) {
        struct link *link = find_courier(usb);

        bench_note(&series, layer == STORE ? move_visit(bench, link, in)
                                           : move_stream(bench, link, layer == TLS, in));
    }
    usb_close(usb);
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    return (double)bench->bytes / MEGABYTE / bench_median(&series);
}

static double yardstick(const struct bench *bench, bool in)
{
    struct source_sink *source_sink = source_sink_open();
    struct bench_series series = {0};

    for (int round = 0; round < ROUNDS; round++)
        bench_note(&series, source_sink_move(source_sink, in, bench->bytes));
    source_sink_close(source_sink);
    return (double)bench->bytes / MEGABYTE / bench_median(&series);
}

static void direction(struct bench *bench, bool in)
{
    double base = yardstick(bench, in);

    printf("USB %s: source/sink %.1f MB/s of virtual time\n",
           in ? "courier to host" : "host to courier", base);
    for (enum layer layer = BARE; layer < LAYERS; layer++) {
        double speed = measure(bench, layer, in);

        printf("USB %s: %s %.1f MB/s, ratio %.3f%s\n", in ? "courier to host" : "host to courier",
               layer_names[layer], speed, speed / base, layer == BARE ? " (goal >= 0.95)" : "");
        (void)fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    struct bench bench = {0};

    if (argc < 2) {
        fputs("usage: usb STORES [MEGABYTES]\n", stderr);
        return 2;
    }
    bench.bytes = (argc > 2 ? strtoul(argv[2], NULL, 10) : 32) * MEGABYTE;
    (void)log_set_level("error");
    stations_make(&bench.stations, argv[1]);
    direction(&bench, false);
    direction(&bench, true);
    return 0;
}
