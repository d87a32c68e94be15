/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What TLS and framing cost: the processor seconds for a gigabyte of DATA frames from one process to
 * another over a Unix socket, without a store.
 *
 *   session_bench [MEGABYTES]         2000 unless given
 *
 * Counted is the whole of each process from the end of the handshake until the last frame is there, what
 * the kernel does for the socket too.  One line a measurement on standard output: name, figures, goal.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link/frame.h"
#include "link/session.h"
#include "link/socket.h"
#include "link/visit.h"
#include "tests/bench/support/bench.h"
#include "tests/bench/support/stations.h"

#define MEGABYTE 1000000u
#define ROUNDS 3
#define DATA_BYTES (12u + 65536u) /* n, offset, and as much as a DATA frame may have */
/* As link/visit.c moves them. */
#define READ_BYTES (64u << 10)
#define SEND_BYTES (192u << 10)
#define WAIT_MS 10000

struct cost { /* of one end, in seconds */
    double all, kernel;
};

static double seconds(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static struct cost cost_now(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        bench_die("getrusage", NULL);
    return (struct cost){.all = seconds(&usage.ru_utime) + seconds(&usage.ru_stime),
                         .kernel = seconds(&usage.ru_stime)};
}

static struct cost cost_since(const struct cost *start)
{
    struct cost now = cost_now();

    return (struct cost){.all = now.all - start->all, .kernel = now.kernel - start->kernel};
}

static struct session *begin(const struct stations *stations, int fd, bool host)
{
    struct visit_options options =
        stations_visit(host ? stations->tablet : stations->courier, NULL);
    struct error error;
    struct link *link = socket_adopt(fd, &error);
    struct session *session;

    if (link == NULL)
        bench_die("socket", &error);
    session = session_open(link, options.side, options.identity, options.trust, options.roles,
                           VISIT_HANDSHAKE_MS, &error);
    if (session == NULL)
        bench_die("session", &error);
    trust_free(options.trust);
    return session;
}

static void wait_for(struct session *session, bool write)
{
    struct error error;

    if (session_wait(session, write, WAIT_MS, &error) < 0)
        bench_die("wait", &error);
}

static void send_frames(struct session *session, uint64_t frames)
{
    unsigned char *payload = calloc(1, DATA_BYTES);
    struct buffer out = {0};
    size_t sent = 0;
    struct error error;

    if (payload == NULL)
        bench_die("memory", NULL);
    while (frames > 0 || out.length > sent) {
        ssize_t put;

        for (; frames > 0 && out.length - sent < SEND_BYTES; frames--) {
            if (frame_encode(&out, FRAME_DATA, 0, payload, DATA_BYTES, &error) != 0)
                bench_die("frame", &error);
        }
        put = session_write(session, out.data + sent, out.length - sent, &error);
        if (put < 0)
            bench_die("write", &error);
        if (put == 0)
            wait_for(session, true);
        sent += (size_t)put;
        if (sent == out.length || sent > SEND_BYTES) {
            buffer_consume(&out, sent);
            sent = 0;
        }
    }
    buffer_free(&out);
    free(payload);
}

static uint64_t take_frames(struct buffer *in)
{
    struct frame frame;
    size_t at = 0, used;
    uint64_t taken = 0;
    struct error error;
    int got;

    while ((got = frame_decode(in->data + at, in->length - at, &frame, &used, &error)) == 1) {
        if (frame.type != FRAME_DATA || frame.size != DATA_BYTES)
            bench_die("a frame is not what was sent", NULL);
        at += used;
        taken++;
    }
    if (got < 0)
        bench_die("frame", &error);
    buffer_consume(in, at);
    return taken;
}

static void receive_frames(struct session *session, uint64_t frames)
{
    struct buffer in = {0};
    struct error error;

    while (frames > 0) {
        size_t room = READ_BYTES;
        ssize_t got = 0;

        if (buffer_reserve(&in, READ_BYTES, &error) != 0)
            bench_die("memory", &error);
        for (; room > 0; room -= (size_t)got) {
            got = session_read(session, in.data + in.length, room, &error);
            if (got < 0)
                bench_die("read", &error);
            if (got == 0)
                break;
            in.length += (size_t)got;
        }
        if (room == READ_BYTES)
            wait_for(session, false);
        else
            frames -= take_frames(&in);
    }
    buffer_free(&in);
}

/* The gadget's process; no return. */
static void receiver(const struct stations *stations, int fd, int report, uint64_t frames)
{
    struct session *session = begin(stations, fd, false);
    struct cost start = cost_now(), cost;

    receive_frames(session, frames);
    cost = cost_since(&start);
    if (write(report, &cost, sizeof cost) != sizeof cost)
        _exit(1);
    session_close(session);
    _exit(0);
}

static void run(const struct stations *stations, uint64_t frames, struct cost *sender,
                struct cost *taker)
{
    struct session *session;
    struct cost start;
    int ends[2], report[2];
    pid_t child;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 || pipe(report) != 0)
        bench_die("socketpair", NULL);
    child = fork();
    if (child < 0)
        bench_die("fork", NULL);
    if (child == 0) {
        close(ends[0]);
        receiver(stations, ends[1], report[1], frames);
    }
    close(ends[1]);
    close(report[1]);
    session = begin(stations, ends[0], true);
    start = cost_now();
    send_frames(session, frames);
    *sender = cost_since(&start);
    if (read(report[0], taker, sizeof *taker) != sizeof *taker)
        bench_die("receiver", NULL);
    close(report[0]);
    session_close(session);
    waitpid(child, NULL, 0);
}

static void print_end(const char *end, const struct bench_series *all,
                      const struct bench_series *kernel)
{
    printf("TLS and framing, %s: %.2f CPU seconds a GB (%.2f..%.2f; %.2f of them the kernel's; "
           "goal <= 1.5)\n",
           end, bench_median(all), bench_least(all), bench_most(all), bench_median(kernel));
}

int main(int argc, char **argv)
{
    uint64_t megabytes = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000;
    uint64_t frames = (megabytes * MEGABYTE + DATA_BYTES - 1) / DATA_BYTES;
    double gigabytes = (double)frames * DATA_BYTES / 1e9;
    struct bench_series sender = {0}, taker = {0}, both = {0}, kernel[2] = {0};
    struct stations stations;

    (void)signal(SIGPIPE, SIG_IGN);
    stations_make(&stations, NULL);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct cost one, other;

        run(&stations, frames, &one, &other);
        bench_note(&sender, one.all / gigabytes);
        bench_note(&taker, other.all / gigabytes);
        bench_note(&both, (one.all + other.all) / gigabytes);
        bench_note(&kernel[0], one.kernel / gigabytes);
        bench_note(&kernel[1], other.kernel / gigabytes);
    }
    print_end("the sender", &sender, &kernel[0]);
    print_end("the receiver", &taker, &kernel[1]);
    printf("TLS and framing, both ends: %.2f CPU seconds a GB (%.2f..%.2f)\n", bench_median(&both),
           bench_least(&both), bench_most(&both));
    stations_free(&stations);
    return 0;
}
