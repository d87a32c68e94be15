/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * gadget/keeper: the worker's end is the keeper's, in whatever way it comes; a signal comes through; the
 * worker is nobody's root; what it asks is checked.  Without a gadget: tests/vm has those.
 */
#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "gadget/keeper.h"

#define BOUND_MS 20000

static atomic_bool asked;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&asked, true);
}

/* Only root may keep; the refusal is the whole test of others. */
static void need_root(void)
{
    struct error error;

    if (geteuid() == 0)
        return;
    assert_int_equal(keeper_run(&(struct keeper_options){0}, &error), -1);
    assert_int_equal(error.kind, ERROR_FAILED);
    skip();
}

static int run(int (*work)(struct keeper *keeper, void *context), void *context)
{
    const struct keeper_options options = {.work = work, .context = context};
    struct error error;

    return keeper_run(&options, &error);
}

/* ---- workers ---- */

static int work_status(struct keeper *keeper, void *context)
{
    const int *status = context;

    (void)keeper;
    return *status;
}

static int work_die(struct keeper *keeper, void *context)
{
    (void)keeper;
    (void)context;
    (void)raise(SIGKILL);
    return 0;
}

/* Says its name in CONTEXT, the write end of a pipe, and waits for SIGTERM; 7 when it came. */
static int work_wait(struct keeper *keeper, void *context)
{
    const struct sigaction action = {.sa_handler = on_signal};
    const int *told = context;
    pid_t self = getpid();
    sigset_t term, usual;

    (void)keeper;
    (void)sigaction(SIGTERM, &action, NULL);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &term, &usual);
    if (sigismember(&usual, SIGTERM) || write(*told, &self, sizeof self) != (ssize_t)sizeof self)
        return 1;
    while (!atomic_load(&asked))
        (void)sigsuspend(&usual);
    return 7;
}

static int work_ask(struct keeper *keeper, void *context)
{
    static const char *const names[] = {"", ".", "..", "../c1", "-c", "C1", "c/1", "c1\n"};
    char folder[256], longest[300];
    struct error error;

    (void)context;
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (keeper_set_up(keeper, names[i], folder, sizeof folder, &error) != -1 ||
            error.kind != ERROR_USAGE)
            return 1;
    if (keeper_set_up(keeper, longest, folder, sizeof folder, &error) != -1 ||
        error.kind != ERROR_USAGE)
        return 2;
    /* Nothing was set up. */
    if (keeper_bind(keeper, &error) != -1 || error.kind != ERROR_FAILED ||
        keeper_udc(keeper)[0] != '\0')
        return 3;
    if (keeper_has_drive(keeper) || keeper_insert(keeper, &error) != -1 ||
        error.kind != ERROR_FAILED || keeper_eject(keeper, &error) != -1 ||
        error.kind != ERROR_FAILED || strstr(error.text, "has no drive") == NULL)
        return 4;
    return 42;
}

/* A worker that is not ours any more: CONTEXT has the bytes it sends, their number first. */
static int work_garbage(struct keeper *keeper, void *context)
{
    const unsigned char *bytes = context;
    int fd;

    (void)keeper;
    for (fd = 3; fd < 64; fd++) {
        int kind = 0;
        socklen_t size = sizeof kind;

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) == 0 && kind == SOCK_SEQPACKET)
            break;
    }
    if (send(fd, bytes + 1, bytes[0], MSG_NOSIGNAL) != bytes[0])
        return 1;
    for (;;)
        pause();
}

static int work_nobody(struct keeper *keeper, void *context)
{
    const uid_t *user = context;
    uid_t real, effective, saved;

    (void)keeper;
    if (getresuid(&real, &effective, &saved) != 0 || real != *user || effective != *user ||
        saved != *user || setuid(0) == 0 || access("/etc/shadow", R_OK) == 0)
        return 1;
    return 0;
}

/* ---- tests ---- */

static void test_status(void **state)
{
    int status = 0;

    (void)state;
    need_root();
    assert_int_equal(run(work_status, &status), 0);
    status = 75;
    assert_int_equal(run(work_status, &status), 75);
    assert_int_equal(run(work_die, NULL), 1);
}

/* A keeper in a process of its own, and its worker's id. */
static pid_t spawn(pid_t *worker)
{
    pid_t child;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        _exit(run(work_wait, &ends[1]));
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], worker, sizeof *worker), sizeof *worker);
    close(ends[0]);
    return child;
}

static int status_of(pid_t child)
{
    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_signal(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

    (void)state;
    need_root();
    for (unsigned i = 0; i < 3; i++) {
        pid_t worker, keeper = spawn(&worker);
        int status;

        assert_int_equal(kill(keeper, signals[i]), 0);
        status = status_of(keeper);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 7);
        assert_int_equal(kill(worker, 0), -1);
    }
}

static void test_worker_killed(void **state)
{
    pid_t worker, keeper;
    int status;

    (void)state;
    need_root();
    keeper = spawn(&worker);
    assert_int_equal(kill(worker, SIGKILL), 0);
    status = status_of(keeper);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

static void test_keeper_killed(void **state)
{
    int64_t until = clock_ms() + BOUND_MS;
    pid_t worker, keeper;

    (void)state;
    need_root();
    keeper = spawn(&worker);
    assert_int_equal(kill(keeper, SIGKILL), 0);
    assert_true(WIFSIGNALED(status_of(keeper)));
    /* It is reaped by whoever takes orphans: dead, or not there. */
    for (bool alive = true; alive;) {
        char path[64], line[256] = "";
        FILE *file;

        snprintf(path, sizeof path, "/proc/%d/stat", (int)worker);
        file = fopen(path, "r");
        if (file != NULL) {
            if (fgets(line, sizeof line, file) == NULL)
                line[0] = '\0';
            fclose(file);
        }
        alive = file != NULL && strstr(line, ") Z") == NULL && strstr(line, ") X") == NULL &&
                line[0] != '\0';
        assert_true(clock_ms() < until);
        usleep(5000);
    }
}

static void test_questions(void **state)
{
    unsigned char sent[256];

    (void)state;
    need_root();
    assert_int_equal(run(work_ask, NULL), 42);
    /* Too short, too long, of no kind: killed. */
    memset(sent, 0xff, sizeof sent);
    sent[0] = 3;
    assert_int_equal(run(work_garbage, sent), 1);
    sent[0] = 255;
    assert_int_equal(run(work_garbage, sent), 1);
    sent[0] = 76;
    assert_int_equal(run(work_garbage, sent), 1);
}

static void test_user(void **state)
{
    struct keeper_options options = {.user = "no-such-user", .work = work_nobody};
    const struct passwd *nobody;
    struct error error;
    uid_t user;

    (void)state;
    need_root();
    assert_int_equal(keeper_run(&options, &error), -1);
    assert_int_equal(error.kind, ERROR_USAGE);
    options.user = "root";
    assert_int_equal(keeper_run(&options, &error), -1);
    assert_int_equal(error.kind, ERROR_USAGE);
    nobody = getpwnam("nobody");
    assert_non_null(nobody);
    if (nobody == NULL)
        return;
    user = nobody->pw_uid;
    options.user = "nobody";
    options.context = &user;
    assert_int_equal(keeper_run(&options, &error), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_worker_killed), cmocka_unit_test(test_keeper_killed),
        cmocka_unit_test(test_questions),     cmocka_unit_test(test_user),
    };

    (void)log_set_level("error");
    return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
