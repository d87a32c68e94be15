/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PREFIX "unix:"
#define BACKLOG 8

struct socket_link {
    struct link link;
    int fd;
};

static int closed(struct error *error)
{
    return error_set(error, ERROR_CLOSED, "cable: the other side has gone");
}

static ssize_t socket_read(struct link *link, void *bytes, size_t size, struct error *error)
{
    struct socket_link *self = (struct socket_link *)link;
    ssize_t got = recv(self->fd, bytes, size, MSG_DONTWAIT);

    if (got > 0)
        return got;
    if (got == 0 || errno == ECONNRESET || errno == EPIPE)
        return closed(error);
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return 0;
    return error_errno(error, errno, "cable: cannot read");
}

static ssize_t socket_write(struct link *link, const void *bytes, size_t size, struct error *error)
{
    struct socket_link *self = (struct socket_link *)link;
    ssize_t put = send(self->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (put >= 0)
        return put;
    if (errno == ECONNRESET || errno == EPIPE || errno == ENOTCONN)
        return closed(error);
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS)
        return 0;
    return error_errno(error, errno, "cable: cannot write");
}

static int socket_wait(struct link *link, bool write, int timeout_ms, struct error *error)
{
    struct socket_link *self = (struct socket_link *)link;
    struct pollfd poll_fd = {.fd = self->fd, .events = POLLIN};
    int ready;

    if (write)
        poll_fd.events |= POLLOUT;
    ready = poll(&poll_fd, 1, timeout_ms);
    if (ready < 0 && errno != EINTR)
        return error_errno(error, errno, "cable: cannot wait");
    return ready > 0 ? 1 : 0;
}

/* What a socket has taken is the kernel's to deliver, also after close. */
static int socket_flush(struct link *link, int timeout_ms, struct error *error)
{
    (void)link;
    (void)timeout_ms;
    (void)error;
    return 0;
}

static void socket_close(struct link *link)
{
    struct socket_link *self = (struct socket_link *)link;

    close(self->fd);
    free(self);
}

static const struct link_operations operations = {
    .read = socket_read,
    .write = socket_write,
    .wait = socket_wait,
    .flush = socket_flush,
    .close = socket_close,
};

struct link *socket_adopt(int fd, struct error *error)
{
    struct socket_link *self = calloc(1, sizeof *self);

    if (self == NULL) {
        close(fd);
        error_set(error, ERROR_FAILED, "cable: no memory");
        return NULL;
    }
    self->link.operations = &operations;
    self->fd = fd;
    return &self->link;
}

static int read_address(const char *text, struct sockaddr_un *address, struct error *error)
{
    const char *path;

    if (strncmp(text, PREFIX, strlen(PREFIX)) != 0 || text[strlen(PREFIX)] == '\0')
        return error_set(error, ERROR_USAGE, "cable: '%s' is not an address; give unix:PATH", text);
    path = text + strlen(PREFIX);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path)
        return error_set(error, ERROR_USAGE,
                         "cable: the path in '%s' is longer than the %zu bytes that a Unix socket "
                         "can have; give a shorter one",
                         text, sizeof address->sun_path - 1);
    memcpy(address->sun_path, path, strlen(path) + 1);
    return 0;
}

static int connect_to(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int saved;

    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

struct link *socket_connect(const char *address, struct error *error)
{
    struct sockaddr_un parsed;
    int fd;

    if (read_address(address, &parsed, error) != 0)
        return NULL;
    fd = connect_to(&parsed);
    if (fd >= 0)
        return socket_adopt(fd, error);
    /* EAGAIN: the backlog is full, unix(7). */
    if (errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN || errno == EINTR) {
        error_set(error, ERROR_TEMPORARY, "cable: no courier answers at %s", address);
        return NULL;
    }
    error_errno(error, errno, "cable: cannot connect to %s", address);
    return NULL;
}

/* A file left by a dead process is in the way of bind(2); one with a living listener is not ours. */
static int clear_the_way(const struct sockaddr_un *address, struct error *error)
{
    struct stat status;
    int fd;

    if (lstat(address->sun_path, &status) != 0) {
        if (errno == ENOENT)
            return 0;
        return error_errno(error, errno, "cable: cannot look at %s", address->sun_path);
    }
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, ERROR_USAGE, "cable: %s is there and no socket; give another path",
                         address->sun_path);
    fd = connect_to(address);
    if (fd >= 0 || errno == EAGAIN) {
        if (fd >= 0)
            close(fd);
        return error_set(error, ERROR_FAILED,
                         "cable: another program listens at %s; stop it or give another path",
                         address->sun_path);
    }
    if (errno != ECONNREFUSED)
        return error_errno(error, errno, "cable: cannot tell who listens at %s", address->sun_path);
    if (unlink(address->sun_path) != 0 && errno != ENOENT)
        return error_errno(error, errno, "cable: cannot remove the dead socket %s",
                           address->sun_path);
    return 0;
}

int socket_listen(const char *address, struct error *error)
{
    struct sockaddr_un parsed;
    int fd;

    if (read_address(address, &parsed, error) != 0 || clear_the_way(&parsed, error) != 0)
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(error, errno, "cable: cannot make a socket");
    /* The mode of the bound file is the socket's less the umask (unix(7)); before bind, so that there
     * is no moment in which others may connect. */
    if (fchmod(fd, 0600) != 0 || bind(fd, (struct sockaddr *)&parsed, sizeof parsed) != 0) {
        error_errno(error, errno, "cable: cannot listen at %s", address);
        close(fd);
        return -1;
    }
    if (chmod(parsed.sun_path, 0600) != 0 || listen(fd, BACKLOG) != 0) {
        error_errno(error, errno, "cable: cannot listen at %s", address);
        unlink(parsed.sun_path);
        close(fd);
        return -1;
    }
    return fd;
}

void socket_unlisten(int listener, const char *address)
{
    struct sockaddr_un parsed;

    if (listener < 0)
        return;
    if (read_address(address, &parsed, NULL) == 0)
        unlink(parsed.sun_path);
    close(listener);
}

struct link *socket_accept(int listener, int timeout_ms, struct error *error)
{
    struct pollfd poll_fd = {.fd = listener, .events = POLLIN};
    int ready = poll(&poll_fd, 1, timeout_ms);
    int fd = -1;

    if (ready < 0 && errno != EINTR) {
        error_errno(error, errno, "cable: cannot wait for a connection");
        return NULL;
    }
    if (ready > 0) {
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR &&
            errno != ECONNABORTED && errno != EMFILE && errno != ENFILE && errno != ENOMEM) {
            error_errno(error, errno, "cable: cannot take a connection");
            return NULL;
        }
    }
    if (fd < 0) {
        error_set(error, ERROR_TEMPORARY, "cable: nobody has connected");
        return NULL;
    }
    return socket_adopt(fd, error);
}
