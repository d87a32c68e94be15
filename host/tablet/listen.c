/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define BACKLOG 64

static int read_port(const char *address, uint16_t *port, struct error *error)
{
    static const char *const names[] = {"127.0.0.1:", "localhost:", "[::1]:", "::1:"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *digits;
        unsigned long value;

        if (strncmp(address, names[i], strlen(names[i])) != 0)
            continue;
        digits = address + strlen(names[i]);
        value = strtoul(digits, NULL, 10);
        if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits) || value > 65535)
            break;
        *port = (uint16_t)value;
        return 0;
    }
    return error_set(error, ERROR_USAGE,
                     "--http %s: must be 127.0.0.1:PORT: the endpoint is for "
                     "programs on this machine alone",
                     address);
}

static int listen_at(const struct sockaddr *where, socklen_t size)
{
    const int on = 1;
    int fd = socket(where->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed;

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (where->sa_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
        bind(fd, where, size) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    failed = errno;
    (void)close(fd);
    errno = failed;
    return -1;
}

int listen_loopback(const char *address, int fds[LISTEN_MOST], struct error *error)
{
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t size = sizeof four;
    uint16_t port = 0;

    if (read_port(address, &port, error) != 0)
        return -1;
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    four.sin_port = htons(port);
    fds[0] = listen_at((const struct sockaddr *)&four, sizeof four);
    if (fds[0] < 0)
        return error_errno(error, errno,
                           "http: 127.0.0.1:%u cannot be listened at; another program "
                           "may have the port",
                           port);
    if (getsockname(fds[0], (struct sockaddr *)&four, &size) != 0) {
        (void)error_errno(error, errno, "http: getsockname");
        (void)close(fds[0]);
        return -1;
    }
    port = ntohs(four.sin_port);
    log_info("http: listening on 127.0.0.1:%u", port);
    six.sin6_port = four.sin_port;
    fds[1] = listen_at((const struct sockaddr *)&six, sizeof six);
    if (fds[1] < 0) {
        log_info("http: [::1]:%u is not there (%s): going on without", port, strerror(errno));
        return 1;
    }
    log_info("http: listening on [::1]:%u", port);
    return 2;
}
