/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/keeper.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gadget/claim.h"
#include "gadget/configfs.h"
#include "gadget/lun.h"
#include "gadget/privilege.h"
#include "gadget/view.h"
#include "base/tree.h"
#include "store/station.h"

#define ANSWER_MS 20000
#define STOP_MS 15000

/* What the two say to each other, one message a packet.  A worker may have been taken over by a stranger:
 * nothing but this is read of it. */
enum kind { SET_UP = 1, BIND, INSERT, EJECT };

struct question {
    uint32_t number; /* the answer has it too, so that one that came late is known for what it is */
    uint32_t kind;
    char name[STORE_NAME_BYTES];
};

struct answer {
    uint32_t number;
    int32_t result; /* 0; or -1, and then kind and text */
    uint32_t kind;
    char text[ERROR_TEXT_BYTES];
    char folder[CLAIM_PATH_BYTES];
    char udc[TREE_NAME_BYTES];
    uint32_t drive; /* 1: there is one */
};

/* The worker's side. */
struct keeper {
    int fd;
    pthread_mutex_t asking; /* one thread at a time */
    uint32_t number;
    bool drive;
    char gadget[VIEW_GADGET_BYTES];
    char udc[TREE_NAME_BYTES];
};

/* The keeper's own. */
struct parent {
    const struct keeper_options *options;
    struct privilege_user user;
    struct configfs *configfs;
    int fd, signals;
    pid_t worker;
    int64_t kill_ms; /* when the worker's time to end is over; 0: not asked to end */
    sigset_t usual;  /* the mask before keeper_run */
};

/* ---- the worker ---- */

static int ask_alone(struct keeper *keeper, struct question *question, struct answer *answer,
                     struct error *error)
{
    int64_t until = clock_ms() + ANSWER_MS, left;
    struct pollfd poll_fd = {.fd = keeper->fd, .events = POLLIN};
    ssize_t got;

    question->number = ++keeper->number;
    if (send(keeper->fd, question, sizeof *question, MSG_NOSIGNAL) != (ssize_t)sizeof *question)
        return error_errno(error, errno, "keeper: cannot be asked");
    while ((left = until - clock_ms()) > 0) {
        if (poll(&poll_fd, 1, (int)left) < 0 && errno != EINTR)
            return error_errno(error, errno, "keeper: cannot be waited for");
        got = recv(keeper->fd, answer, sizeof *answer, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            continue;
        if (got < 0)
            return error_errno(error, errno, "keeper: cannot be heard");
        if (got != (ssize_t)sizeof *answer)
            return error_set(error, ERROR_FAILED, "keeper: has ended");
        if (answer->number != question->number)
            continue;
        if (answer->result == 0)
            return 0;
        return error_set(error, (enum error_kind)answer->kind, "%s", answer->text);
    }
    return error_set(error, ERROR_TEMPORARY, "keeper: did not answer within %d s",
                     ANSWER_MS / 1000);
}

static int ask(struct keeper *keeper, struct question *question, struct answer *answer,
               struct error *error)
{
    int result;

    (void)pthread_mutex_lock(&keeper->asking);
    result = ask_alone(keeper, question, answer, error);
    (void)pthread_mutex_unlock(&keeper->asking);
    return result;
}

int keeper_set_up(struct keeper *keeper, const char *name, char *folder, size_t size,
                  struct error *error)
{
    struct question question = {.kind = SET_UP};
    struct answer answer;

    if (strlen(name) >= sizeof question.name)
        return error_set(error, ERROR_USAGE, "gadget: '%s' is no courier's name", name);
    memcpy(question.name, name, strlen(name) + 1);
    if (ask(keeper, &question, &answer, error) != 0)
        return -1;
    if (snprintf(folder, size, "%s", answer.folder) >= (int)size)
        return error_set(error, ERROR_FAILED, "gadget: the path of its folder is too long");
    keeper->drive = answer.drive == 1;
    snprintf(keeper->gadget, sizeof keeper->gadget, VIEW_PREFIX "%s", name);
    return 0;
}

bool keeper_has_drive(const struct keeper *keeper)
{
    return keeper->drive;
}

const char *keeper_gadget(const struct keeper *keeper)
{
    return keeper->gadget;
}

int keeper_insert(struct keeper *keeper, struct error *error)
{
    struct question question = {.kind = INSERT};
    struct answer answer;

    return ask(keeper, &question, &answer, error);
}

int keeper_eject(struct keeper *keeper, struct error *error)
{
    struct question question = {.kind = EJECT};
    struct answer answer;

    return ask(keeper, &question, &answer, error);
}

int keeper_bind(struct keeper *keeper, struct error *error)
{
    struct question question = {.kind = BIND};
    struct answer answer;

    keeper->udc[0] = '\0';
    if (ask(keeper, &question, &answer, error) != 0)
        return -1;
    memcpy(keeper->udc, answer.udc, sizeof keeper->udc);
    return 0;
}

const char *keeper_udc(const struct keeper *keeper)
{
    return keeper->udc;
}

/* Never returns. */
static void be_worker(const struct parent *parent, int fd, pid_t keeper_pid)
{
    struct keeper keeper = {.fd = fd, .asking = PTHREAD_MUTEX_INITIALIZER};
    struct error error;

    if (parent->options->user != NULL && privilege_drop(&parent->user, &error) != 0) {
        log_error("%s", error.text);
        exit(EXIT_FAILURE);
    }
    /* After the drop, which forgets it.  The keeper may have died before. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != keeper_pid ||
        sigprocmask(SIG_SETMASK, &parent->usual, NULL) != 0) {
        log_error("worker: its keeper has gone");
        exit(EXIT_FAILURE);
    }
    exit(parent->options->work(&keeper, parent->options->context));
}

/* ---- the keeper ---- */

static int set_up(struct parent *parent, const struct question *question, struct answer *answer,
                  struct error *error)
{
    const struct configfs_options options = {.name = question->name,
                                             .udc = parent->options->udc,
                                             .user = parent->user.user,
                                             .group = parent->user.group,
                                             .drive = parent->options->image != NULL};

    if (memchr(question->name, '\0', sizeof question->name) == NULL ||
        !station_name_ok(question->name))
        return error_set(error, ERROR_USAGE, "gadget: that is no courier's name");
    if (parent->configfs != NULL)
        return error_set(error, ERROR_FAILED, "gadget: is set up already");
    parent->configfs = configfs_open(&options, error);
    if (parent->configfs == NULL)
        return -1;
    snprintf(answer->folder, sizeof answer->folder, "%s", configfs_folder(parent->configfs));
    answer->drive = configfs_has_drive(parent->configfs);
    return 0;
}

static int bind_gadget(struct parent *parent, struct answer *answer, struct error *error)
{
    if (parent->configfs == NULL)
        return error_set(error, ERROR_FAILED, "gadget: is not set up yet");
    if (configfs_bind(parent->configfs, error) != 0)
        return -1;
    snprintf(answer->udc, sizeof answer->udc, "%s", configfs_udc(parent->configfs));
    return 0;
}

static int change_drive(const struct parent *parent, uint32_t kind, struct error *error)
{
    const struct configfs *configfs = parent->configfs;

    if (configfs == NULL || !configfs_has_drive(configfs))
        return error_set(error, ERROR_FAILED, "gadget: has no drive");
    if (kind == EJECT)
        return lun_eject(configfs_gadget(configfs), error);
    return lun_insert(configfs_gadget(configfs), parent->options->image, parent->user.user,
                      parent->user.group, error);
}

static int do_what_was_asked(struct parent *parent, const struct question *question,
                             struct answer *answer, struct error *error)
{
    switch (question->kind) {
    case SET_UP:
        return set_up(parent, question, answer, error);
    case BIND:
        return bind_gadget(parent, answer, error);
    default:
        return change_drive(parent, question->kind, error);
    }
}

/* One question.  -1: the worker said what no worker of ours says, or has closed its end. */
static int serve(struct parent *parent)
{
    struct question question;
    struct answer answer = {.result = -1};
    struct error error = {.text = ""};
    ssize_t got = recv(parent->fd, &question, sizeof question, MSG_DONTWAIT | MSG_TRUNC);

    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return 0;
    if (got <= 0)
        return -1;
    if (got != (ssize_t)sizeof question || question.kind < SET_UP || question.kind > EJECT) {
        log_error("worker: asked its keeper for what it must not have; killed");
        (void)kill(parent->worker, SIGKILL);
        return -1;
    }
    answer.number = question.number;
    answer.result = do_what_was_asked(parent, &question, &answer, &error);
    if (answer.result != 0) {
        answer.kind = (uint32_t)error.kind;
        memcpy(answer.text, error.text, sizeof answer.text);
    }
    /* One that does not fit is one that the worker does not read: it gave up waiting. */
    (void)send(parent->fd, &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL);
    return 0;
}

/* Signals that came.  1: the worker has ended, with STATUS of waitpid(2). */
static int take_signals(struct parent *parent, int *status)
{
    struct signalfd_siginfo info;

    while (read(parent->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo != SIGCHLD && parent->kill_ms == 0) {
            parent->kill_ms = clock_ms() + STOP_MS;
            (void)kill(parent->worker, SIGTERM);
        }
    return waitpid(parent->worker, status, WNOHANG) == parent->worker ? 1 : 0;
}

/* Until the worker has ended: its status as of waitpid(2). */
static int keep(struct parent *parent)
{
    struct pollfd fds[] = {{.fd = parent->signals, .events = POLLIN},
                           {.fd = parent->fd, .events = POLLIN}};
    int64_t left;
    int status = 0;

    while (take_signals(parent, &status) == 0) {
        left = parent->kill_ms != 0 ? parent->kill_ms - clock_ms() : -1;
        if (parent->kill_ms != 0 && left <= 0) {
            log_warning("worker: did not end within %d s; killed", STOP_MS / 1000);
            (void)kill(parent->worker, SIGKILL);
            left = STOP_MS;
            parent->kill_ms = clock_ms() + left;
        }
        if (poll(fds, 2, (int)left) < 0 && errno != EINTR) {
            log_error("keeper: cannot wait: %s", strerror(errno));
            (void)kill(parent->worker, SIGKILL);
            (void)waitpid(parent->worker, &status, 0);
            break;
        }
        if (fds[1].revents != 0 && serve(parent) != 0)
            fds[1].fd = -1; /* nothing more is heard of it */
    }
    return status;
}

static int exit_status(const struct parent *parent, int status)
{
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    if (parent->kill_ms != 0 && WTERMSIG(status) == SIGTERM)
        return EXIT_SUCCESS; /* before its own handler was there */
    log_error("worker: was ended by signal %d", WTERMSIG(status));
    return EXIT_FAILURE;
}

static int take_over_signals(struct parent *parent, struct error *error)
{
    struct sigaction hangup;
    sigset_t ours;

    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGCHLD);
    /* nohup(1) has it ignored, and means it. */
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(&ours, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &ours, &parent->usual) != 0)
        return error_errno(error, errno, "keeper: its signals cannot be set");
    parent->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    if (parent->signals >= 0)
        return 0;
    error_errno(error, errno, "keeper: its signals cannot be set");
    (void)sigprocmask(SIG_SETMASK, &parent->usual, NULL);
    return -1;
}

static int start(struct parent *parent, struct error *error)
{
    pid_t self = getpid();
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return error_errno(error, errno, "keeper: no socket to its worker");
    (void)fflush(NULL); /* else the child would write it again */
    parent->worker = fork();
    if (parent->worker == 0) {
        (void)close(ends[0]);
        (void)close(parent->signals);
        be_worker(parent, ends[1], self);
    }
    (void)close(ends[1]);
    parent->fd = ends[0];
    if (parent->worker > 0)
        return 0;
    error_errno(error, errno, "keeper: cannot fork");
    (void)close(parent->fd);
    return -1;
}

int keeper_run(const struct keeper_options *options, struct error *error)
{
    struct parent parent = {
        .options = options, .user = {.user = geteuid(), .group = getegid()}, .fd = -1};
    int status;

    if (geteuid() != 0)
        return error_set(
            error, ERROR_FAILED,
            "keeper: a USB gadget is made by root alone; start it as root, with --user "
            "for the rest of the work");
    if (options->user != NULL && privilege_find(options->user, &parent.user, error) != 0)
        return -1;
    if (take_over_signals(&parent, error) != 0)
        return -1;
    status = start(&parent, error);
    if (status == 0) {
        status = exit_status(&parent, keep(&parent));
        configfs_close(parent.configfs);
        (void)close(parent.fd);
    }
    (void)close(parent.signals);
    (void)sigprocmask(SIG_SETMASK, &parent.usual, NULL);
    return status;
}
