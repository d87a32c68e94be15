/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/drive_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define RUN_MS 120000
#define MEMORY_BYTES (256ull << 20)
#define PROCESSOR_SECONDS 60
#define WORDS_BYTES 256 /* of what it says on standard error, the last line is told */
#define NAP_NS 2000000

/* A run. */
struct child {
    pid_t pid;
    int out, err; /* our ends of its standard output and error; -1: ended */
    char words[WORDS_BYTES];
    size_t words_length;
};

/* ---- in the child, where only what is safe in a signal handler may be called ---- */

/* A service manager may forbid it, and has bounds of its own. */
static void set_bounds(const struct drive_tool *tool)
{
    const rlim_t file = tool->file_bytes != 0 ? tool->file_bytes : DRIVE_TOOL_FILE_BYTES;
    const struct rlimit memory = {MEMORY_BYTES, MEMORY_BYTES}, files = {file, file},
                        processor = {PROCESSOR_SECONDS, PROCESSOR_SECONDS}, core = {0, 0};

    (void)setrlimit(RLIMIT_AS, &memory);
    (void)setrlimit(RLIMIT_CPU, &processor);
    (void)setrlimit(RLIMIT_FSIZE, &files);
    (void)setrlimit(RLIMIT_CORE, &core);
}

static void be_tool(const struct drive_tool *tool, const char *const *arguments, int out, int err,
                    pid_t parent)
{
    static const char *const places[] = {"/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"};
    /* No configuration file; names as UTF-8; no zone, as the board has none.  A table with a fault is no reason to read
     * none of the files. */
    char *const environment[] = {"PATH=/usr/bin:/bin",
                                 "MTOOLSRC=/dev/null",
                                 "MTOOLS_SKIP_CHECK=1",
                                 "HOME=/nonexistent",
                                 "LC_ALL=C.UTF-8",
                                 "TZ=UTC",
                                 NULL};
    char path[64];
    sigset_t none;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent || null < 0 ||
        dup2(null, 0) < 0 || dup2(out >= 0 ? out : null, 1) < 0 || dup2(err, 2) < 0)
        _exit(126);
    set_bounds(tool);
    (void)umask(077);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        stpcpy(stpcpy(path, places[i]), arguments[0]);
        (void)execve(path, (char *const *)(uintptr_t)arguments, environment);
        if (errno != ENOENT)
            break;
    }
    _exit(errno == ENOENT ? 127 : 126);
}

/* ---- in the parent ---- */

static int start(const struct drive_tool *tool, const char *const *arguments, bool wants_output,
                 struct child *child, struct error *error)
{
    int out[2] = {-1, -1}, err[2];
    pid_t self = getpid();

    if (pipe2(err, O_CLOEXEC) != 0)
        return error_errno(error, errno, "drive: no pipe to %s", arguments[0]);
    if (wants_output && pipe2(out, O_CLOEXEC) != 0) {
        (void)close(err[0]);
        (void)close(err[1]);
        return error_errno(error, errno, "drive: no pipe to %s", arguments[0]);
    }
    child->pid = fork();
    if (child->pid == 0)
        be_tool(tool, arguments, out[1], err[1], self);
    (void)close(err[1]);
    if (wants_output)
        (void)close(out[1]);
    child->err = err[0];
    child->out = out[0];
    child->words_length = 0;
    if (child->pid > 0)
        return 0;
    error_errno(error, errno, "drive: %s cannot be started", arguments[0]);
    (void)close(child->err);
    if (wants_output)
        (void)close(child->out);
    return -1;
}

/* The end of what it says. */
static void keep_words(struct child *child, const char *bytes, size_t size)
{
    size_t over;

    if (size >= sizeof child->words) {
        bytes += size - (sizeof child->words - 1);
        size = sizeof child->words - 1;
    }
    over = child->words_length + size > sizeof child->words - 1
               ? child->words_length + size - (sizeof child->words - 1)
               : 0;
    memmove(child->words, child->words + over, child->words_length - over);
    child->words_length -= over;
    memcpy(child->words + child->words_length, bytes, size);
    child->words_length += size;
}

/* What has come on *FD, which is closed at its end. */
static int take(struct child *child, int *fd, struct buffer *output, struct error *error)
{
    char bytes[16384];
    ssize_t got = read(*fd, bytes, sizeof bytes);
    size_t room;

    if (got < 0 && errno == EINTR)
        return 0;
    if (got <= 0) {
        (void)close(*fd);
        *fd = -1;
        return 0;
    }
    if (fd == &child->err) {
        keep_words(child, bytes, (size_t)got);
        return 0;
    }
    if (output == NULL)
        return 0;
    room = output->limit == 0 || output->limit - output->length > (size_t)got
               ? (size_t)got
               : output->limit - output->length;
    if (buffer_append(output, bytes, room, error) != 0)
        return -1;
    return room == (size_t)got
               ? 0
               : error_set(error, ERROR_FULL, "drive: more is there than can be looked at");
}

/* Until it has closed both; -1: it is to be killed. */
static int hear(const struct drive_tool *tool, struct child *child, const char *name,
                int64_t until_ms, struct buffer *output, struct error *error)
{
    while (child->out >= 0 || child->err >= 0) {
        struct pollfd fds[] = {{.fd = child->out, .events = POLLIN},
                               {.fd = child->err, .events = POLLIN},
                               {.fd = tool->stop_fd, .events = POLLIN}};
        int64_t left_ms = until_ms - clock_ms();

        if (left_ms <= 0)
            return error_set(error, ERROR_TEMPORARY, "drive: %s took too long", name);
        if (poll(fds, 3, (int)left_ms) < 0 && errno != EINTR)
            return error_errno(error, errno, "drive: %s cannot be waited for", name);
        if ((fds[2].revents & POLLIN) != 0)
            return error_set(error, ERROR_CLOSED, "drive: %s was stopped", name);
        if ((fds[0].revents != 0 && take(child, &child->out, output, error) != 0) ||
            (fds[1].revents != 0 && take(child, &child->err, output, error) != 0))
            return -1;
    }
    return 0;
}

/* Its status; one that has closed its output and goes on is killed in the end. */
static int reap(const struct child *child, int64_t until_ms)
{
    const struct timespec nap = {.tv_nsec = NAP_NS};
    bool killed = false;
    int status = 0;
    pid_t pid;

    while ((pid = waitpid(child->pid, &status, killed ? 0 : WNOHANG)) != child->pid) {
        if (pid < 0 && errno != EINTR)
            return -1;
        if (!killed && clock_ms() >= until_ms) {
            (void)kill(child->pid, SIGKILL);
            killed = true;
        }
        if (!killed)
            (void)nanosleep(&nap, NULL);
    }
    return status;
}

/* Its last line, or what ended it. */
static int tell(struct child *child, const char *name, int status, struct error *error)
{
    char *line;

    if (WIFSIGNALED(status))
        return error_set(error, ERROR_FAILED, "drive: %s was ended by signal %d", name,
                         WTERMSIG(status));
    while (child->words_length > 0 && child->words[child->words_length - 1] == '\n')
        child->words_length--;
    child->words[child->words_length] = '\0';
    line = strrchr(child->words, '\n');
    return error_set(error, ERROR_FAILED, "drive: %s: %s", name,
                     child->words_length == 0 ? "failed"
                     : line != NULL           ? line + 1
                                              : child->words);
}

int drive_tool_run(const struct drive_tool *tool, const char *const *arguments,
                   struct buffer *output, struct error *error)
{
    int64_t until_ms = clock_ms() + RUN_MS;
    struct child child;
    int heard, status;

    if (tool->until_ms < until_ms)
        until_ms = tool->until_ms;
    if (start(tool, arguments, output != NULL, &child, error) != 0)
        return -1;
    heard = hear(tool, &child, arguments[0], until_ms, output, error);
    if (heard != 0)
        (void)kill(child.pid, SIGKILL);
    status = reap(&child, heard != 0 ? 0 : until_ms);
    if (child.out >= 0)
        (void)close(child.out);
    if (child.err >= 0)
        (void)close(child.err);
    if (heard != 0)
        return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return error_set(error, ERROR_USAGE,
                         "drive: %s is not installed: apt-get install mtools dosfstools",
                         arguments[0]);
    (void)tell(&child, arguments[0], status, error);
    return 1;
}
