/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/functionfs.h"

#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gadget/descriptors.h"
#include "gadget/ep0.h"
#include "link/bulk.h"

#define SUSPEND_MS 2000   /* after that a suspended cable is an unplugged one */
#define TAKE_BACK_MS 5000 /* for the controller to give transfers back */
#define NONCE_MS 1000     /* for RESET's data, which a host sends at once */
#define EVENTS_AT_ONCE 16

/* One transfer of an endpoint. */
struct request {
    struct iocb iocb; /* first: what an event points to */
    unsigned slot;
    bool sends, flying;
};

struct functionfs {
    int ep0_fd, in_fd, out_fd; /* named as USB does, by the host's view: IN is what we send */
    int aio_fd;                /* eventfd: AIO has completed something */
    io_context_t aio;
    struct request in[BULK_SLOTS], out[BULK_SLOTS];
    unsigned flying;
    struct ep0 ep0;
    int64_t suspended_ms; /* since when; 0: it is not */
    struct bulk *bulk;    /* the present link, NULL: none */
    bool stuck;           /* the controller has kept a transfer: nothing goes on */
    enum functionfs_host host;
    void (*changed)(enum functionfs_host host, void *context); /* NULL: nobody watches */
    void *changed_context;
};

static int gone(struct error *error)
{
    return error_set(error, ERROR_CLOSED, "cable: unplugged");
}

/* ---- the bulk endpoints ---- */

/* A completion's result; link/bulk hears of it unless the transfer was taken back. */
static void complete(struct functionfs *self, const struct io_event *event, bool report)
{
    struct request *request = (struct request *)(void *)event->obj;
    long result = (long)event->res;
    struct error error;

    request->flying = false;
    self->flying--;
    if (!report || self->bulk == NULL)
        return;
    if (result < 0) {
        /* ESHUTDOWN, EAGAIN: disabled; ECONNRESET: taken back; and what controllers say of a cable
         * that was pulled in the middle. */
        if (result == -ESHUTDOWN || result == -EAGAIN || result == -ECONNRESET || result == -EINTR)
            gone(&error);
        else
            error_errno(&error, (int)-result, "cable: the USB controller failed a transfer");
        bulk_fail(self->bulk, &error);
    } else if (request->sends) {
        if ((unsigned long)result == request->iocb.u.c.nbytes) {
            bulk_sent(self->bulk, request->slot);
        } else {
            error_set(&error, ERROR_CLOSED, "cable: the USB controller sent %ld of %lu bytes",
                      result, request->iocb.u.c.nbytes);
            bulk_fail(self->bulk, &error);
        }
    } else {
        bulk_received(self->bulk, request->slot, (size_t)result);
    }
}

static void reap(struct functionfs *self, bool report)
{
    struct io_event events[2 * BULK_SLOTS];
    struct timespec none = {0, 0};
    uint64_t count;
    int got;

    (void)!read(self->aio_fd, &count, sizeof count); /* only resets it */
    got = io_getevents(self->aio, 0, 2 * BULK_SLOTS, events, &none);
    for (int i = 0; i < got; i++)
        complete(self, &events[i], report);
}

static int submit(struct functionfs *self, struct request *request, struct error *error)
{
    struct iocb *iocb = &request->iocb;
    int result;

    io_set_eventfd(iocb, self->aio_fd);
    result = io_submit(self->aio, 1, &iocb);
    if (result == 1) {
        request->flying = true;
        self->flying++;
        return 0;
    }
    if (result == -EAGAIN || result == -ESHUTDOWN || result == -ENODEV)
        return gone(error);
    return error_errno(error, result < 0 ? -result : EIO,
                       "functionfs: the kernel does not take a transfer of %lu bytes",
                       iocb->u.c.nbytes);
}

/* Take back all that is in flight.  A controller that does not give a transfer back may still write to
 * its bytes. */
static int take_back(struct functionfs *self)
{
    int64_t until_ms = clock_ms() + TAKE_BACK_MS;
    struct pollfd aio = {.fd = self->aio_fd, .events = POLLIN};
    struct io_event event;

    for (unsigned i = 0; i < BULK_SLOTS && !self->stuck; i++) {
        if (self->in[i].flying)
            (void)io_cancel(self->aio, &self->in[i].iocb, &event);
        if (self->out[i].flying)
            (void)io_cancel(self->aio, &self->out[i].iocb, &event);
    }
    while (self->flying > 0 && !self->stuck) {
        int64_t left_ms = until_ms - clock_ms();

        if (left_ms <= 0) {
            self->stuck = true;
            log_error(
                "functionfs: the USB controller kept %u transfers for %d s; this program ends "
                "and has to be started again",
                self->flying, TAKE_BACK_MS / 1000);
            break;
        }
        (void)poll(&aio, 1, (int)left_ms);
        reap(self, false);
    }
    return self->stuck ? -1 : 0;
}

/* ---- ep0 ---- */

static void end_session(struct functionfs *self, const char *why)
{
    struct error error;

    if (self->bulk != NULL) {
        error_set(&error, ERROR_CLOSED, "cable: %s", why);
        bulk_fail(self->bulk, &error);
    }
    (void)take_back(self);
}

/* Only a signal ends this read when a host gave the request up between its two parts, of which some
 * controllers do not tell; it comes again, as it may come too early. */
static ssize_t read_in_time(const struct functionfs *self, unsigned char *bytes, size_t length)
{
    static const struct itimerval begin = {.it_value = {.tv_usec = NONCE_MS % 1000 * 1000,
                                                        .tv_sec = NONCE_MS / 1000},
                                           .it_interval = {.tv_usec = 100000}},
                                  end;
    ssize_t got;
    int saved;

    (void)setitimer(ITIMER_REAL, &begin, NULL);
    got = read(self->ep0_fd, bytes, length);
    saved = errno;
    (void)setitimer(ITIMER_REAL, &end, NULL);
    errno = saved;
    return got;
}

static void take_nonce(struct functionfs *self)
{
    unsigned char nonce[BULK_NONCE_BYTES];
    ssize_t got;

    end_session(self, "the host begins a new session");
    self->ep0.asked = false;
    if (self->stuck)
        return;
    /* What is in flight is back: now the request may succeed. */
    got = read_in_time(self, nonce, sizeof nonce);
    if (got == (ssize_t)sizeof nonce) {
        ep0_ask(&self->ep0, nonce);
    } else if (got < 0 && errno == EINTR) {
        log_debug("functionfs: a host gave up RESET in its middle");
        (void)!write(self->ep0_fd, nonce, 0); /* a stall: the kernel still expects its data */
    }
}

static void tell_watcher(struct functionfs *self)
{
    enum functionfs_host host = !self->ep0.enabled    ? FUNCTIONFS_HOST_GONE
                                : self->ep0.suspended ? FUNCTIONFS_HOST_SUSPENDED
                                                      : FUNCTIONFS_HOST_THERE;

    if (host != self->host && self->changed != NULL)
        self->changed(host, self->changed_context);
    self->host = host;
}

static void answer(struct functionfs *self, const struct usb_functionfs_event *event)
{
    char nothing;

    switch (ep0_event(&self->ep0, event)) {
    case EP0_NOTHING:
        break;
    case EP0_END:
        end_session(self, "unplugged");
        break;
    case EP0_TAKE_NONCE:
        take_nonce(self);
        break;
    case EP0_STALL_IN:
        (void)!read(self->ep0_fd, &nothing, 0); /* fails with EL2HLT: that is the stall */
        break;
    case EP0_STALL_OUT:
        (void)!write(self->ep0_fd, &nothing, 0);
        break;
    }
    if (!self->ep0.suspended)
        self->suspended_ms = 0;
    else if (self->suspended_ms == 0)
        self->suspended_ms = clock_ms();
    tell_watcher(self);
}

static int read_events(struct functionfs *self, struct error *error)
{
    struct usb_functionfs_event events[EVENTS_AT_ONCE];
    ssize_t got = read(self->ep0_fd, events, sizeof events);

    /* EIDRM: the host has given up the request that was to be answered. */
    if (got < 0 && errno != EAGAIN && errno != EINTR && errno != EIDRM)
        return error_errno(error, errno, "functionfs: its events cannot be read");
    for (size_t i = 0; got > 0 && i < (size_t)got / sizeof events[0]; i++)
        answer(self, &events[i]);
    return 0;
}

/* ---- one look at everything ---- */

/* How long to wait: not beyond the moment at which a suspended cable counts as unplugged. */
static int bound_ms(const struct functionfs *self, int timeout_ms)
{
    int64_t left_ms;

    if (self->suspended_ms == 0 || self->bulk == NULL)
        return timeout_ms;
    left_ms = self->suspended_ms + SUSPEND_MS - clock_ms();
    if (left_ms < 0)
        left_ms = 0;
    return left_ms < timeout_ms ? (int)left_ms : timeout_ms;
}

static int look(struct functionfs *self, int timeout_ms, const sigset_t *wake, struct error *error)
{
    struct pollfd fds[] = {{.fd = self->ep0_fd, .events = POLLIN},
                           {.fd = self->aio_fd, .events = POLLIN}};
    int wait_ms = bound_ms(self, timeout_ms);
    struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000L};

    if (ppoll(fds, 2, &wait, wake) < 0 && errno != EINTR)
        return error_errno(error, errno, "functionfs: cannot wait");
    if ((fds[1].revents & POLLIN) != 0)
        reap(self, true);
    if (fds[0].revents != 0 && read_events(self, error) != 0)
        return -1;
    if (self->suspended_ms != 0 && self->bulk != NULL &&
        clock_ms() - self->suspended_ms >= SUSPEND_MS)
        end_session(self, "unplugged");
    if (self->stuck)
        return error_set(error, ERROR_FAILED, "functionfs: the USB controller keeps transfers");
    return 0;
}

/* ---- the port ---- */

static int port_send(void *context, unsigned slot, const unsigned char *bytes, size_t length,
                     struct error *error)
{
    struct functionfs *self = context;
    struct request *request = &self->in[slot];

    /* AIO does not write to what it sends. */
    io_prep_pwrite(&request->iocb, self->in_fd, (void *)(uintptr_t)bytes, length, 0);
    return submit(self, request, error);
}

static int port_receive(void *context, unsigned slot, unsigned char *bytes, struct error *error)
{
    struct functionfs *self = context;
    struct request *request = &self->out[slot];

    io_prep_pread(&request->iocb, self->out_fd, bytes, BULK_TRANSFER_BYTES, 0);
    return submit(self, request, error);
}

static int port_turn(void *context, int timeout_ms, struct error *error)
{
    return look(context, timeout_ms, NULL, error);
}

static int port_close(void *context)
{
    struct functionfs *self = context;

    self->bulk = NULL;
    return take_back(self);
}

static const struct bulk_port port = {
    .send = port_send, .receive = port_receive, .turn = port_turn, .close = port_close};

/* ---- life ---- */

static int open_endpoint(const char *folder, const char *name, struct error *error)
{
    char path[PATH_MAX];
    int fd;

    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path)
        return error_set(error, ERROR_USAGE, "functionfs: %s: the path is too long", folder);
    /* Without O_NONBLOCK a transfer that is begun while no host is there would block. */
    fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(error, errno, "functionfs: cannot open %s", path);
    return fd;
}

static int set_up(struct functionfs *self, const char *folder, struct error *error)
{
    int result;

    self->ep0_fd = open_endpoint(folder, "ep0", error);
    if (self->ep0_fd < 0 || descriptors_write(self->ep0_fd, error) != 0)
        return -1;
    self->in_fd = open_endpoint(folder, "ep1", error);
    if (self->in_fd < 0)
        return -1;
    self->out_fd = open_endpoint(folder, "ep2", error);
    if (self->out_fd < 0)
        return -1;
    self->aio_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->aio_fd < 0)
        return error_errno(error, errno, "functionfs: no eventfd");
    result = io_setup(2 * BULK_SLOTS, &self->aio);
    if (result < 0)
        return error_errno(error, -result,
                           "functionfs: no asynchronous I/O; the kernel needs CONFIG_AIO, and "
                           "fs.aio-max-nr room for %u more",
                           2 * BULK_SLOTS);
    return 0;
}

static void on_alarm(int number)
{
    (void)number; /* it ends a read, and that is all */
}

struct functionfs *functionfs_open(const char *folder, struct error *error)
{
    const struct sigaction alarm_action = {.sa_handler = on_alarm};
    struct functionfs *self = calloc(1, sizeof *self);

    if (self == NULL) {
        error_set(error, ERROR_FAILED, "functionfs: no memory");
        return NULL;
    }
    self->ep0_fd = self->in_fd = self->out_fd = self->aio_fd = -1;
    (void)sigaction(SIGALRM, &alarm_action, NULL);
    for (unsigned slot = 0; slot < BULK_SLOTS; slot++) {
        self->in[slot].slot = self->out[slot].slot = slot;
        self->in[slot].sends = true;
    }
    if (set_up(self, folder, error) != 0) {
        functionfs_close(self);
        return NULL;
    }
    return self;
}

void functionfs_close(struct functionfs *self)
{
    int fds[4];

    if (self == NULL)
        return;
    (void)take_back(self);
    memcpy(fds, (int[]){self->in_fd, self->out_fd, self->ep0_fd, self->aio_fd}, sizeof fds);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    if (self->aio != NULL && !self->stuck)
        (void)io_destroy(self->aio);
    free(self);
}

struct link *functionfs_accept(struct functionfs *self, int timeout_ms, const sigset_t *wake,
                               struct error *error)
{
    struct error own;

    if (error == NULL)
        error = &own;
    if (look(self, self->ep0.asked ? 0 : timeout_ms, wake, error) != 0)
        return NULL;
    if (!self->ep0.asked) {
        error_set(error, ERROR_TEMPORARY, "cable: no host has begun a session");
        return NULL;
    }
    self->ep0.asked = false;
    return bulk_new(&port, self, BULK_GADGET, self->ep0.nonce, &self->bulk, error);
}

bool functionfs_bound(const struct functionfs *self)
{
    return self->ep0.bound;
}

void functionfs_watch(struct functionfs *self,
                      void (*changed)(enum functionfs_host host, void *context), void *context)
{
    self->changed = changed;
    self->changed_context = context;
}
