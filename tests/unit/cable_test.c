/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * host/cable: visits one courier after the other, waits for them, survives bad ones, and stops at
 * once when it is told to.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "host/cable.h"
#include "link/socket.h"
#include "tests/unit/support/deployment.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

#define BOUND_MS 20000

struct fixture {
    struct deployment *deployment;
    char *folders[2];
    char address[200];
    struct store_options host_store;
    struct cable_options options;
    atomic_bool stop;
    atomic_int idle;
    pthread_t thread;
    int result;
    struct error error;
    int listener;
};

static int on_idle(struct store *store, struct trust *trust, void *context, struct error *error)
{
    struct fixture *f = context;

    (void)error;
    assert_non_null(store);
    assert_non_null(trust);
    atomic_fetch_add(&f->idle, 1);
    return 0;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->deployment = deployment_new();
    f->folders[0] = folder_new();
    f->folders[1] = folder_new();
    (void)snprintf(f->address, sizeof f->address, "unix:%s/cable", f->folders[0]);
    f->host_store = (struct store_options){
        .directory = f->folders[0], .station = "t1", .role = "tablet", .reserve_bytes = 4096};
    f->options = (struct cable_options){.address = f->address,
                                        .store = &f->host_store,
                                        .identity = f->deployment->tablet,
                                        .own_mail = "t1",
                                        .idle = on_idle,
                                        .context = f,
                                        .stop = &f->stop};
    f->listener = -1;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->listener >= 0)
        socket_unlisten(f->listener, f->address);
    folder_remove(f->folders[0]);
    folder_remove(f->folders[1]);
    deployment_free(f->deployment);
    free(f);
    return 0;
}

static void *run(void *context)
{
    struct fixture *f = context;

    f->result = cable_run(&f->options, &f->error);
    return NULL;
}

static void start(struct fixture *f)
{
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

/* Within a second, as a SIGTERM asks for; under valgrind it may be slower. */
static void stop(struct fixture *f)
{
    int64_t began_ms = clock_ms();

    atomic_store(&f->stop, true);
    assert_int_equal(pthread_join(f->thread, NULL), 0);
    assert_true(clock_ms() - began_ms < 5000);
}

static void plug(struct fixture *f)
{
    struct error error;

    f->listener = socket_listen(f->address, &error);
    STORES_OK(f->listener >= 0, &error);
}

static struct link *accept_host(struct fixture *f)
{
    struct error error;
    struct link *link = socket_accept(f->listener, BOUND_MS, &error);

    STORES_OK(link != NULL, &error);
    return link;
}

static bool enough(void *context)
{
    struct fixture *f = context;

    return atomic_load(&f->idle) > 0;
}

/* The courier's side of one visit; it says BYE after the host was idle, if the host does not. */
static int serve(struct fixture *f, bool leave, struct exchange_counts *counts)
{
    const struct store_options options = {
        .directory = f->folders[1], .station = "c1", .role = "courier", .reserve_bytes = 4096};
    struct link *link = accept_host(f);
    struct error error;
    struct store *store = store_open(&options, &error);
    struct trust *trust = deployment_trust(f->deployment, false);
    const struct visit_options visit = {
        .store = store,
        .identity = f->deployment->courier,
        .trust = trust,
        .side = SESSION_GADGET,
        .roles = 1u << ROLE_TABLET | 1u << ROLE_DOCK,
        .own_mail = "c1",
        .hooks = {.stop = leave ? enough : NULL, .context = f},
    };
    int result;

    STORES_OK(store != NULL, &error);
    result = visit_run(link, &visit, counts, &error);
    trust_free(trust);
    store_close(store);
    return result;
}

static void add_batch(struct fixture *f)
{
    struct error error;
    struct store *store = store_open(&f->host_store, &error);
    struct label label;

    STORES_OK(store != NULL, &error);
    stores_add(store, &label, "t1", SERVER_NAME, 1, 1, 3000);
    store_close(store);
}

static void test_once_hands_over(void **state)
{
    struct fixture *f = *state;
    struct exchange_counts counts;

    add_batch(f);
    f->options.once = true;
    start(f); /* nobody is there yet: it waits */
    plug(f);
    assert_int_equal(serve(f, false, &counts), 0);
    assert_int_equal(pthread_join(f->thread, NULL), 0);
    STORES_OK(f->result == 0, &f->error);
    assert_int_equal(counts.taken_batches, 1);
    assert_true(atomic_load(&f->idle) >= 1);
}

static void test_one_courier_after_the_other(void **state)
{
    struct fixture *f = *state;
    struct exchange_counts counts;

    add_batch(f);
    plug(f);
    start(f);
    assert_int_equal(serve(f, true, &counts), 0);
    assert_int_equal(counts.taken_batches, 1);
    atomic_store(&f->idle, 0);
    assert_int_equal(serve(f, true, &counts), 0);
    assert_int_equal(counts.taken_batches, 0);
    stop(f);
    assert_int_equal(f->result, 0);
}

/* Connections that end at once, or are not TLS, do not keep it from the next courier. */
static void test_bad_couriers_are_survived(void **state)
{
    struct fixture *f = *state;
    struct exchange_counts counts;
    struct error error;
    struct link *link;

    plug(f);
    start(f);
    link = accept_host(f);
    link->operations->close(link);
    link = accept_host(f);
    (void)link->operations->write(link, "HTTP/1.1 200 OK\r\n\r\n", 19, &error);
    link->operations->close(link);
    assert_int_equal(serve(f, true, &counts), 0);
    stop(f);
    assert_int_equal(f->result, 0);
}

static void test_stops_while_nobody_is_there(void **state)
{
    struct fixture *f = *state;

    start(f);
    stop(f);
    assert_int_equal(f->result, 0);
}

static void *serve_in_thread(void *context)
{
    struct exchange_counts counts;

    (void)serve(context, false, &counts);
    return NULL;
}

static void test_stops_in_a_visit(void **state)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    struct fixture *f = *state;
    int64_t began_ms = clock_ms();
    pthread_t courier;

    plug(f);
    start(f);
    assert_int_equal(pthread_create(&courier, NULL, serve_in_thread, f), 0);
    while (atomic_load(&f->idle) == 0 && clock_ms() - began_ms < BOUND_MS)
        (void)nanosleep(&moment, NULL);
    assert_true(atomic_load(&f->idle) > 0);
    stop(f);
    assert_int_equal(f->result, 0);
    assert_int_equal(pthread_join(courier, NULL), 0);
}

static void test_bad_address_ends(void **state)
{
    struct fixture *f = *state;

    f->options.address = "tcp:1";
    assert_int_equal(cable_run(&f->options, &f->error), -1);
    assert_int_equal(f->error.kind, ERROR_USAGE);
}

/* One USB device that is not there, and was not: the end, for now.  Any courier is waited for. */
static void test_usb_device_that_has_gone(void **state)
{
    struct fixture *f = *state;

    f->options.address = "usb:255:127";
    assert_int_equal(cable_run(&f->options, &f->error), -1);
    assert_int_equal(f->error.kind, ERROR_TEMPORARY);
    f->options.address = "usb:255";
    assert_int_equal(cable_run(&f->options, &f->error), -1);
    assert_int_equal(f->error.kind, ERROR_USAGE);
    f->options.address = "usb";
    start(f);
    stop(f);
    assert_int_equal(f->result, 0);
}

static void test_foreign_store_ends(void **state)
{
    struct fixture *f = *state;

    add_batch(f);
    f->host_store.station = "t9";
    assert_int_equal(cable_run(&f->options, &f->error), -1);
    assert_non_null(strstr(f->error.text, "t9"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_once_hands_over),           TEST(test_one_courier_after_the_other),
        TEST(test_bad_couriers_are_survived), TEST(test_stops_while_nobody_is_there),
        TEST(test_stops_in_a_visit),          TEST(test_bad_address_ends),
        TEST(test_foreign_store_ends),        TEST(test_usb_device_that_has_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
