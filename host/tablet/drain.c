/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/drain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define READ_BYTES 65536
#define AT_ONCE_BYTES (1u << 20) /* of one connection, before others get their turn */
#define MOST_BYTES (64u << 20)
#define MOST_MS 3000
#define TICK_MS 250

struct drain {
    struct {
        int fd;
        size_t bytes;
        int64_t until_ms;
    } guests[DRAIN_MOST];
    int count;
    unsigned char bytes[READ_BYTES];
};

struct drain *drain_new(struct error *error)
{
    struct drain *drain = calloc(1, sizeof *drain);

    if (drain == NULL)
        (void)error_set(error, ERROR_FAILED, "http: no memory");
    return drain;
}

void drain_free(struct drain *drain)
{
    for (int i = 0; drain != NULL && i < drain->count; i++)
        (void)close(drain->guests[i].fd);
    free(drain);
}

void drain_add(struct drain *drain, int fd)
{
    int copy;

    if (drain->count == DRAIN_MOST)
        return;
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return;
    drain->guests[drain->count].fd = copy;
    drain->guests[drain->count].bytes = 0;
    drain->guests[drain->count++].until_ms = clock_ms() + MOST_MS;
}

int drain_fill(const struct drain *drain, struct pollfd *polled)
{
    for (int i = 0; i < drain->count; i++)
        polled[i] = (struct pollfd){.fd = drain->guests[i].fd, .events = POLLIN};
    return drain->count;
}

int drain_timeout_ms(const struct drain *drain)
{
    return drain->count > 0 ? TICK_MS : -1;
}

/* Whether to go on. */
static int swallow(struct drain *drain, int guest)
{
    ssize_t got;

    for (size_t at_once = 0; at_once < AT_ONCE_BYTES; at_once += (size_t)got) {
        got = recv(drain->guests[guest].fd, drain->bytes, sizeof drain->bytes, MSG_DONTWAIT);
        if (got < 0)
            return errno == EAGAIN || errno == EINTR;
        if (got == 0)
            return 0;
        drain->guests[guest].bytes += (size_t)got;
    }
    return drain->guests[guest].bytes < MOST_BYTES;
}

void drain_read(struct drain *drain)
{
    int64_t now_ms = drain->count > 0 ? clock_ms() : 0;

    for (int i = 0; i < drain->count;) {
        if (now_ms < drain->guests[i].until_ms && swallow(drain, i)) {
            i++;
            continue;
        }
        (void)close(drain->guests[i].fd);
        drain->guests[i] = drain->guests[--drain->count];
    }
}
