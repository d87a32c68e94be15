/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * gadget/: the courier serves one host after the other over a real socket, stops at once, survives
 * being killed at any moment, and its lamp says what it should.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "gadget/courier.h"
#include "gadget/door.h"
#include "link/socket.h"
#include "tests/unit/support/ends.h"
#include "tests/unit/support/folder.h"

static struct deployment *deployment;
static char *folder, address[300];

static int make(void **state)
{
    (void)state;
    deployment = deployment_new();
    folder = folder_new();
    snprintf(address, sizeof address, "unix:%s/socket", folder);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    deployment_free(deployment);
    folder_remove(folder);
    return 0;
}

static void sleep_ms(unsigned ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&time, NULL);
}

/* ---- a courier in a thread that SIGTERM ends, or in a process that can be killed ---- */

struct running {
    struct end end;
    atomic_bool stop;
    struct lamp *lamp;
    pthread_t thread;
    int result;
    struct error error;
};

static void *courier(void *context)
{
    struct running *running = context;
    struct door *door = door_open(address, "c1", &running->error);
    const struct courier_options options = {.accept = door_accept,
                                            .accept_context = door,
                                            .store = running->end.store,
                                            .identity = running->end.identity,
                                            .trust = running->end.trust,
                                            .lamp = running->lamp,
                                            .stop = &running->stop};

    running->result = door != NULL ? courier_run(&options, &running->error) : -1;
    door_close(door);
    return NULL;
}

static void on_signal(int number)
{
    (void)number;
}

static void start(struct running *running, const char *leds)
{
    struct error error;

    memset(running, 0, sizeof *running);
    end_open(&running->end, deployment->courier, deployment, NULL);
    running->lamp = lamp_new(leds != NULL ? "green" : NULL, leds, &error);
    STORES_OK(running->lamp != NULL, &error);
    assert_int_equal(pthread_create(&running->thread, NULL, courier, running), 0);
}

static void stop(struct running *running)
{
    int64_t begin = clock_ms();

    /* As a handler would, which the courier lets run while it waits, and then at once. */
    atomic_store(&running->stop, true);
    /* NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread,cert-pos44-c): it has a handler */
    pthread_kill(running->thread, SIGTERM);
    pthread_join(running->thread, NULL);
    STORES_OK(running->result == 0, &running->error);
    assert_true(clock_ms() - begin < 900);
    lamp_free(running->lamp);
}

static int visit_over(struct link *link, const struct end *host, struct exchange_counts *counts,
                      struct visit_hooks hooks, struct error *error)
{
    const struct visit_options options = {.store = host->store,
                                          .identity = host->identity,
                                          .trust = host->trust,
                                          .side = SESSION_HOST,
                                          .roles = 1u << ROLE_COURIER,
                                          .own_mail = identity_name(host->identity),
                                          .once = true,
                                          .hooks = hooks};

    return visit_run(link, &options, counts, error);
}

/* A host's visit, tried until the courier answers; the result of visit_run. */
static int visit(const struct end *host, struct exchange_counts *counts, struct visit_hooks hooks,
                 struct error *error)
{
    int64_t until = clock_ms() + 20000;
    struct link *link;

    while ((link = socket_connect(address, error)) == NULL) {
        assert_int_equal(error->kind, ERROR_TEMPORARY);
        assert_true(clock_ms() < until);
        sleep_ms(5);
    }
    return visit_over(link, host, counts, hooks, error);
}

static void read_text(const char *name, char text[32])
{
    char *path = folder_path(folder, name);
    FILE *file = fopen(path, "r");

    text[0] = '\0';
    if (file != NULL) {
        if (fgets(text, 32, file) == NULL)
            text[0] = '\0';
        fclose(file);
    }
    free(path);
}

/* The LED's files, as the kernel would show them. */
static char *make_led(void)
{
    static const char *const files[] = {"leds/green/trigger", "leds/green/delay_on",
                                        "leds/green/delay_off", "leds/green/brightness"};
    char *leds = folder_path(folder, "leds"), *green = folder_path(leds, "green");

    assert_int_equal(mkdir(leds, 0700), 0);
    assert_int_equal(mkdir(green, 0700), 0);
    for (unsigned i = 0; i < 4; i++) {
        char *path = folder_path(folder, files[i]);
        FILE *file = fopen(path, "w");

        assert_non_null(file);
        fclose(file);
        free(path);
    }
    free(green);
    return leds;
}

/* Tablet, then another one; both served; the lamp is off in the end; SIGTERM's flag ends it soon. */
static void test_serves(void **state)
{
    struct running running;
    struct end first = {0}, second = {0};
    struct exchange_counts counts;
    struct label label;
    struct error error;
    char *leds = make_led(), text[32];

    (void)state;
    end_open(&first, deployment->tablet, deployment, NULL);
    end_open(&second, deployment->tablet2, deployment, NULL);
    stores_add(first.store, &label, "t1", "server", 1, 1, 50000);
    stores_add(second.store, &label, "t2", "server", 1, 2, 50000);
    start(&running, leds);
    STORES_OK(visit(&first, &counts, (struct visit_hooks){0}, &error) == 0, &error);
    assert_int_equal(counts.sent_batches, 1);
    STORES_OK(visit(&second, &counts, (struct visit_hooks){0}, &error) == 0, &error);
    assert_int_equal(counts.sent_batches, 1);
    stop(&running);
    read_text("leds/green/trigger", text);
    assert_memory_equal(text, "none", 4);
    read_text("leds/green/brightness", text);
    assert_int_equal(text[0], '0');
    assert_int_equal(ends_count(&running.end, BATCH_HELD), 2);
    end_close(&running.end);
    end_close(&first);
    end_close(&second);
    folder_remove(leds);
}

/* Blinking while busy, steady when it is safe to unplug. */
static void test_lamp(void **state)
{
    char *leds = make_led(), text[32];
    struct error error;
    struct lamp *lamp = lamp_new("green", leds, &error);

    (void)state;
    STORES_OK(lamp != NULL, &error);
    lamp_show(lamp, LAMP_BUSY);
    read_text("leds/green/trigger", text);
    assert_memory_equal(text, "timer", 5);
    read_text("leds/green/delay_on", text);
    assert_memory_equal(text, "100", 3);
    lamp_show(lamp, LAMP_READY);
    read_text("leds/green/trigger", text);
    assert_memory_equal(text, "none", 4);
    read_text("leds/green/brightness", text);
    assert_memory_equal(text, "255", 3);
    lamp_free(lamp);
    folder_remove(leds);
}

/* An LED that is not there is refused with the names of those that are. */
static void test_no_led(void **state)
{
    char *leds = make_led();
    struct error error;

    (void)state;
    assert_null(lamp_new("red", leds, &error));
    assert_int_equal(error.kind, ERROR_USAGE);
    assert_non_null(strstr(error.text, "green"));
    assert_null(lamp_new("../leds/green", leds, &error));
    folder_remove(leds);
}

/* A second host waits while the first is plugged in, and is served once it goes. */
struct waiting {
    struct end host;
    struct exchange_counts counts;
    atomic_bool done;
    int result;
    struct error error;
};

static void *wait_in_line(void *context)
{
    struct waiting *waiting = context;

    waiting->result =
        visit(&waiting->host, &waiting->counts, (struct visit_hooks){0}, &waiting->error);
    atomic_store(&waiting->done, true);
    return NULL;
}

static int second_waits(void *context, struct error *error)
{
    struct waiting *waiting = context;

    (void)error;
    sleep_ms(300); /* it must NOT come through: a longer wait could only find more */
    assert_false(atomic_load(&waiting->done));
    return 0;
}

static void test_one_at_a_time(void **state)
{
    struct running running;
    struct waiting waiting = {0};
    struct end first = {0};
    struct label label;
    struct error error;
    pthread_t thread;

    (void)state;
    end_open(&first, deployment->tablet, deployment, NULL);
    end_open(&waiting.host, deployment->tablet2, deployment, NULL);
    stores_add(waiting.host.store, &label, "t2", "server", 1, 2, 5000);
    start(&running, NULL);
    /* The second one begins to connect while the first one's visit is idle. */
    STORES_OK(visit(&first, NULL, (struct visit_hooks){0}, &error) == 0, &error);
    struct link *link = socket_connect(address, &error);
    STORES_OK(link != NULL, &error); /* the "cable" is taken, nobody speaks on it yet */
    if (link == NULL)
        return;
    assert_int_equal(pthread_create(&thread, NULL, wait_in_line, &waiting), 0);
    second_waits(&waiting, &error);
    link->operations->close(link);
    pthread_join(thread, NULL);
    STORES_OK(waiting.result == 0, &waiting.error);
    assert_int_equal(waiting.counts.sent_batches, 1);
    stop(&running);
    end_close(&running.end);
    end_close(&first);
    end_close(&waiting.host);
}

/* Garbage from one host does not keep the next from being served. */
static void test_garbage(void **state)
{
    struct running running;
    struct end host = {0};
    struct error error;
    int64_t until = clock_ms() + 5000;

    (void)state;
    end_open(&host, deployment->tablet, deployment, NULL);
    start(&running, NULL);
    for (unsigned i = 0; i < 3; i++) {
        struct link *link;

        while ((link = socket_connect(address, &error)) == NULL && clock_ms() < until)
            sleep_ms(5);
        assert_non_null(link);
        if (link == NULL)
            return;
        (void)link->operations->write(link, "GET / HTTP/1.0\r\n\r\n", 18, &error);
        link->operations->close(link);
    }
    STORES_OK(visit(&host, NULL, (struct visit_hooks){0}, &error) == 0, &error);
    stop(&running);
    end_close(&running.end);
    end_close(&host);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): it is kept in a struct */
static pid_t spawn(char *store_folder)
{
    pid_t child = fork();

    if (child != 0)
        return child;
    struct running running = {.end = {.folder = store_folder}};
    struct error error;

    (void)log_set_level("error");
    end_open(&running.end, deployment->courier, deployment, NULL);
    running.lamp = lamp_new(NULL, NULL, &error);
    courier(&running);
    _exit(running.result == 0 ? 0 : 1);
}

/* waitid(2) leaves si_pid 0 while the child lives. */
static bool has_ended(pid_t child)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

/* kill -9 at random moments of a push: in the end every batch is there and whole, and no kill costs
 * more than what was on its way: the uncommitted MiB, and what the cable holds. */
static void test_killed(void **state)
{
    const char *often = getenv("BODA_TEST_KILLS");
    unsigned kills = often != NULL ? (unsigned)atoi(often) : 12, killed = 0;
    uint64_t random = stores_seed() * 2 + 1, sizes = 0, sent = 0, seq = 0;
    char *store_folder = folder_new();
    struct exchange_counts counts;
    struct end host = {0}, check = {0};
    struct label label;
    struct error error;

    (void)state;
    end_open(&host, deployment->tablet, deployment, NULL);
    for (bool done = false; !done;) {
        pid_t child = spawn(store_folder), killer = -1;
        int status;

        assert_true(child > 0);
        for (unsigned i = 0; i < 4 && killed < kills; i++) {
            size_t size = 1 + (size_t)(stores_random(&random) % 900000);

            seq++;
            stores_add(host.store, &label, "t1", "server", seq, (unsigned)seq, size);
            sizes += size;
        }
        if (killed < kills) {
            unsigned after = (unsigned)(stores_random(&random) % 60);

            killer = fork();
            assert_true(killer >= 0);
            if (killer == 0) {
                sleep_ms(after);
                kill(child, SIGKILL);
                _exit(0);
            }
        }
        while (killer > 0) {
            /* The socket of a killed courier is still there: connecting is refused until the next. */
            struct link *link = socket_connect(address, &error);

            if (link != NULL) {
                (void)visit_over(link, &host, &counts, (struct visit_hooks){0}, &error);
                sent += counts.sent_bytes;
                break;
            }
            if (has_ended(child))
                break;
            sleep_ms(1);
        }
        if (killer > 0) {
            (void)waitpid(killer, &status, 0);
            killed++;
        } else {
            STORES_OK(visit(&host, &counts, (struct visit_hooks){0}, &error) == 0, &error);
            sent += counts.sent_bytes;
            done = true;
            kill(child, SIGKILL);
        }
        (void)waitpid(child, &status, 0);
    }
    check.folder = store_folder;
    end_open(&check, deployment->courier, deployment, NULL);
    STORES_OK(store_check(check.store, &error) == 0, &error);
    assert_int_equal(ends_count(&check, BATCH_HELD), seq);
    assert_int_equal(ends_count(&check, BATCH_PARTIAL), 0);
    assert_true(sent <= sizes + (uint64_t)kills * 1048576);
    end_close(&check);
    end_close(&host);
}

int main(void)
{
    const struct sigaction action = {.sa_handler = on_signal};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serves),  cmocka_unit_test(test_lamp),
        cmocka_unit_test(test_no_led),  cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_garbage), cmocka_unit_test(test_killed),
    };

    (void)sigaction(SIGTERM, &action, NULL);
    return cmocka_run_group_tests_name("courier", tests, make, drop);
}
