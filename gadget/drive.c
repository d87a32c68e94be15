/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/drive.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gadget/drive_content.h"
#include "gadget/lun.h"

#define LOOK_MS 1000
#define SETTLE_MS 1500 /* a host's reset looks like an unplug, for less than this */
#define SUSPEND_MS \
    10000 /* some controllers say no more of an unplug; a PC that sleeps has flushed what it wrote */

struct drive {
    struct drive_options options;
    struct store *store; /* the thread's */
    struct drive_content *content;
    pthread_t thread;
    int wake_fd, stop_fd;
    atomic_int host;      /* enum functionfs_host */
    atomic_uint arrivals; /* of hosts, since the start */
    /* The thread's own. */
    unsigned seen;   /* arrivals that were seen to have left */
    int host_before; /* as of the last look, and when it became so */
    int64_t since_ms;
    bool in, ejected; /* the image is in the drive; a host has taken it out */
    char said[ERROR_TEXT_BYTES];
};

static void say(struct drive *drive, const struct error *error)
{
    if (error->kind != ERROR_CLOSED && strcmp(drive->said, error->text) != 0)
        log_warning("courier %s: drive: %s", drive->options.name, error->text);
    memcpy(drive->said, error->text, sizeof drive->said);
}

/* The image as it is goes in, until it can be made anew. */
static void insert(struct drive *drive)
{
    struct error error;

    if (!drive_content_is_there(drive->content))
        return;
    drive->in = keeper_insert(drive->options.keeper, &error) == 0;
    if (drive->in)
        log_debug("courier %s: drive: in", drive->options.name);
    else
        say(drive, &error);
}

/* The drive is in nobody's hands: take in what is on it, make it anew if need be. */
static void refresh(struct drive *drive)
{
    struct error error;

    if (drive_content_refresh(drive->content, &error) == 0)
        drive->said[0] = '\0';
    else
        say(drive, &error);
}

/* The host has gone, or none was there yet. */
static void renew(struct drive *drive)
{
    struct error error;

    if (keeper_eject(drive->options.keeper, &error) != 0) {
        say(drive, &error);
        return;
    }
    drive->in = drive->ejected = false;
    refresh(drive);
    insert(drive);
}

/* It stays out until the host has gone: a drive that comes back by itself looks as if it had not been ejected. */
static void look(struct drive *drive)
{
    struct error error;
    int in = lun_is_in(keeper_gadget(drive->options.keeper), &error);

    if (in < 0)
        say(drive, &error);
    if (in != 0)
        return;
    log_info("courier %s: drive: ejected", drive->options.name);
    drive->in = false;
    drive->ejected = true;
    refresh(drive);
}

/* What there is to do now; how long to wait for the next time, -1: until something changes. */
static int turn(struct drive *drive)
{
    int host = atomic_load(&drive->host);
    unsigned arrivals = atomic_load(&drive->arrivals);
    int64_t now_ms = clock_ms(), left_ms;

    if (host != drive->host_before) {
        drive->host_before = host;
        drive->since_ms = now_ms;
    }
    if (host == FUNCTIONFS_HOST_THERE) {
        if (drive->in)
            look(drive);
        return drive->in ? LOOK_MS : -1;
    }
    if (arrivals == drive->seen)
        return -1;
    left_ms = drive->since_ms + (host == FUNCTIONFS_HOST_GONE ? SETTLE_MS : SUSPEND_MS) - now_ms;
    if (left_ms > 0)
        return (int)left_ms;
    drive->seen = arrivals;
    renew(drive);
    return 0;
}

static void *work(void *context)
{
    struct drive *drive = context;
    struct pollfd fds[] = {{.fd = drive->stop_fd, .events = POLLIN},
                           {.fd = drive->wake_fd, .events = POLLIN}};
    uint64_t count;

    renew(drive);
    while (poll(fds, 2, turn(drive)) >= 0 || errno == EINTR) {
        if ((fds[0].revents & POLLIN) != 0)
            break;
        (void)!read(drive->wake_fd, &count, sizeof count); /* only resets it */
    }
    return NULL;
}

static void wake(int fd)
{
    const uint64_t one = 1;

    (void)!write(fd, &one, sizeof one);
}

void drive_host(enum functionfs_host host, void *context)
{
    struct drive *drive = context;

    if (host == FUNCTIONFS_HOST_THERE)
        atomic_fetch_add(&drive->arrivals, 1);
    atomic_store(&drive->host, host);
    wake(drive->wake_fd);
}

/* Signals are the other threads'. */
static int start(struct drive *drive, struct error *error)
{
    sigset_t all, usual;
    int result;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &usual);
    result = pthread_create(&drive->thread, NULL, work, drive);
    pthread_sigmask(SIG_SETMASK, &usual, NULL);
    return result == 0 ? 0 : error_errno(error, result, "drive: no thread");
}

static void release(struct drive *drive)
{
    drive_content_free(drive->content);
    store_close(drive->store);
    if (drive->wake_fd >= 0)
        (void)close(drive->wake_fd);
    if (drive->stop_fd >= 0)
        (void)close(drive->stop_fd);
    free(drive);
}

struct drive *drive_start(const struct drive_options *options, struct error *error)
{
    struct drive *drive = calloc(1, sizeof *drive);
    struct drive_content_options content = {
        .folder = options->folder, .name = options->name, .bytes = options->bytes};

    if (drive == NULL) {
        error_set(error, ERROR_FAILED, "drive: no memory");
        return NULL;
    }
    drive->options = *options;
    drive->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    drive->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (drive->wake_fd < 0 || drive->stop_fd < 0) {
        error_errno(error, errno, "drive: no eventfd");
    } else if ((drive->store = store_another(options->store, error)) != NULL) {
        content.store = drive->store;
        content.stop_fd = drive->stop_fd;
        drive->content = drive_content_new(&content, error);
        if (drive->content != NULL && start(drive, error) == 0)
            return drive;
    }
    release(drive);
    return NULL;
}

void drive_stop(struct drive *drive)
{
    if (drive == NULL)
        return;
    wake(drive->stop_fd);
    (void)pthread_join(drive->thread, NULL);
    release(drive);
}
