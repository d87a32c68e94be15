/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/pair.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_CAPACITY_BYTES 65536

struct pipe {
    unsigned char *bytes; /* a ring */
    size_t start, length;
};

struct wires {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct pair_faults faults;
    struct pipe pipes[2]; /* pipes[i]: written by end i */
    bool open[2];
    bool cut;
    uint64_t written_bytes; /* both ways */
    uint64_t random;
};

struct pair_link {
    struct link link;
    struct wires *wires;
    unsigned end;
};

static int closed(struct error *error)
{
    return error_set(error, ERROR_CLOSED, "cable: the other side has gone");
}

/* xorshift64: any fair enough sequence does, as long as the seed gives the same one again. */
static bool stalls(struct wires *wires)
{
    if (wires->faults.stall_one_in == 0)
        return false;
    wires->random ^= wires->random << 13;
    wires->random ^= wires->random >> 7;
    wires->random ^= wires->random << 17;
    return wires->random % wires->faults.stall_one_in == 0;
}

static size_t most(const struct wires *wires, size_t size)
{
    if (wires->faults.most_bytes != 0 && size > wires->faults.most_bytes)
        return wires->faults.most_bytes;
    return size;
}

static ssize_t pair_read(struct link *link, void *bytes, size_t size, struct error *error)
{
    struct pair_link *self = (struct pair_link *)link;
    struct wires *wires = self->wires;
    struct pipe *pipe = &wires->pipes[1 - self->end];
    ssize_t got = 0;

    pthread_mutex_lock(&wires->mutex);
    size = most(wires, size);
    if (size > pipe->length)
        size = pipe->length;
    if (wires->cut || (size == 0 && !wires->open[1 - self->end])) {
        got = closed(error);
    } else if (size > 0 && !stalls(wires)) {
        size_t first = wires->faults.capacity_bytes - pipe->start;

        if (first > size)
            first = size;
        memcpy(bytes, pipe->bytes + pipe->start, first);
        memcpy((unsigned char *)bytes + first, pipe->bytes, size - first);
        pipe->start = (pipe->start + size) % wires->faults.capacity_bytes;
        pipe->length -= size;
        got = (ssize_t)size;
        pthread_cond_broadcast(&wires->changed);
    }
    pthread_mutex_unlock(&wires->mutex);
    return got;
}

/* One byte onto the wire, with the faults that are due at it. */
static void put_byte(struct wires *wires, struct pipe *pipe, unsigned char byte)
{
    wires->written_bytes++;
    if (wires->written_bytes == wires->faults.flip_at_byte)
        byte ^= (unsigned char)(1u << (wires->faults.seed % 8));
    if (wires->written_bytes != wires->faults.drop_at_byte) {
        pipe->bytes[(pipe->start + pipe->length) % wires->faults.capacity_bytes] = byte;
        pipe->length++;
    }
    if (wires->written_bytes == wires->faults.cut_at_byte)
        wires->cut = true;
}

static ssize_t pair_write(struct link *link, const void *bytes, size_t size, struct error *error)
{
    struct pair_link *self = (struct pair_link *)link;
    struct wires *wires = self->wires;
    struct pipe *pipe = &wires->pipes[self->end];
    const unsigned char *next = bytes;
    ssize_t put = 0;

    pthread_mutex_lock(&wires->mutex);
    size = most(wires, size);
    if (size > wires->faults.capacity_bytes - pipe->length)
        size = wires->faults.capacity_bytes - pipe->length;
    if (wires->cut || !wires->open[1 - self->end]) {
        put = closed(error);
    } else if (size > 0 && !stalls(wires)) {
        while ((size_t)put < size && !wires->cut)
            put_byte(wires, pipe, next[put++]);
        pthread_cond_broadcast(&wires->changed);
    }
    pthread_mutex_unlock(&wires->mutex);
    return put;
}

static bool ready(const struct pair_link *self, bool write)
{
    const struct wires *wires = self->wires;

    return wires->cut || !wires->open[1 - self->end] || wires->pipes[1 - self->end].length > 0 ||
           (write && wires->pipes[self->end].length < wires->faults.capacity_bytes);
}

static int pair_wait(struct link *link, bool write, int timeout_ms, struct error *error)
{
    struct pair_link *self = (struct pair_link *)link;
    struct timespec until;
    int result = 0;

    (void)error;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&self->wires->mutex);
    while (!ready(self, write) && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&self->wires->changed, &self->wires->mutex, &until);
    result = ready(self, write) ? 1 : 0;
    pthread_mutex_unlock(&self->wires->mutex);
    return result;
}

static int pair_flush(struct link *link, int timeout_ms, struct error *error)
{
    (void)link;
    (void)timeout_ms;
    (void)error;
    return 0;
}

static void free_wires(struct wires *wires)
{
    pthread_cond_destroy(&wires->changed);
    pthread_mutex_destroy(&wires->mutex);
    free(wires->pipes[0].bytes);
    free(wires->pipes[1].bytes);
    free(wires);
}

static void pair_close(struct link *link)
{
    struct pair_link *self = (struct pair_link *)link;
    struct wires *wires = self->wires;
    bool last;

    pthread_mutex_lock(&wires->mutex);
    wires->open[self->end] = false;
    last = !wires->open[1 - self->end];
    pthread_cond_broadcast(&wires->changed);
    pthread_mutex_unlock(&wires->mutex);
    if (last)
        free_wires(wires);
    free(self);
}

static const struct link_operations operations = {
    .read = pair_read,
    .write = pair_write,
    .wait = pair_wait,
    .flush = pair_flush,
    .close = pair_close,
};

static struct wires *new_wires(const struct pair_faults *faults)
{
    struct wires *wires = calloc(1, sizeof *wires);
    pthread_condattr_t attributes;

    if (wires == NULL)
        return NULL;
    wires->faults = *faults;
    if (wires->faults.capacity_bytes == 0)
        wires->faults.capacity_bytes = DEFAULT_CAPACITY_BYTES;
    wires->random = faults->seed * 2 + 1; /* never 0, where xorshift stays */
    pthread_mutex_init(&wires->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&wires->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    for (unsigned i = 0; i < 2; i++) {
        wires->open[i] = true;
        wires->pipes[i].bytes = malloc(wires->faults.capacity_bytes);
    }
    if (wires->pipes[0].bytes != NULL && wires->pipes[1].bytes != NULL)
        return wires;
    free_wires(wires);
    return NULL;
}

int pair_new(const struct pair_faults *faults, struct link *ends[2], struct error *error)
{
    struct wires *wires = new_wires(faults);
    struct pair_link *links[2] = {calloc(1, sizeof *links[0]), calloc(1, sizeof *links[0])};

    if (wires == NULL || links[0] == NULL || links[1] == NULL) {
        if (wires != NULL)
            free_wires(wires);
        free(links[0]);
        free(links[1]);
        return error_set(error, ERROR_FAILED, "pair: no memory");
    }
    for (unsigned i = 0; i < 2; i++) {
        links[i]->link.operations = &operations;
        links[i]->wires = wires;
        links[i]->end = i;
        ends[i] = &links[i]->link;
    }
    return 0;
}
