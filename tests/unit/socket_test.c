/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * link/socket and link/pair: bytes go through in order, nothing blocks, the end is noticed; a listener
 * takes over a dead socket and never a living one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "link/pair.h"
#include "link/socket.h"
#include "tests/unit/support/folder.h"

static char address[300], *folder;

static int make(void **state)
{
    (void)state;
    folder = folder_new();
    snprintf(address, sizeof address, "unix:%s/socket", folder);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

/* A hundred thousand bytes in pieces of odd sizes, both ends in this thread. */
static void pass_bytes(struct link *from, struct link *to)
{
    enum { COUNT = 100000 };
    static unsigned char sent[COUNT], got[COUNT];
    size_t out = 0, in = 0;
    struct error error;

    for (size_t i = 0; i < COUNT; i++)
        sent[i] = (unsigned char)(i * 7 + i / 251);
    while (in < COUNT) {
        ssize_t put = 0, read;

        if (out < COUNT)
            put = from->operations->write(from, sent + out, COUNT - out < 977 ? COUNT - out : 977,
                                          &error);
        assert_true(put >= 0);
        out += (size_t)put;
        read = to->operations->read(to, got + in, COUNT - in < 501 ? COUNT - in : 501, &error);
        assert_true(read >= 0);
        in += (size_t)read;
    }
    assert_memory_equal(sent, got, COUNT);
    assert_int_equal(to->operations->read(to, got, 1, &error), 0);
}

/* A writer without a reader is told "not now", in the end; what is there is read after the close. */
static void fill_and_close(struct link *from, struct link *to)
{
    char bytes[1000] = {0};
    struct error error;
    size_t written = 0, got = 0;
    ssize_t moved;

    while ((moved = from->operations->write(from, bytes, sizeof bytes, &error)) > 0)
        written += (size_t)moved;
    assert_int_equal(moved, 0);
    assert_int_equal(to->operations->wait(to, false, 1000, &error), 1);
    from->operations->close(from);
    while ((moved = to->operations->read(to, bytes, sizeof bytes, &error)) > 0)
        got += (size_t)moved;
    assert_int_equal(moved, -1);
    assert_int_equal(error.kind, ERROR_CLOSED);
    assert_int_equal(got, written);
    assert_int_equal(to->operations->write(to, bytes, 1, &error), -1);
    assert_int_equal(error.kind, ERROR_CLOSED);
    to->operations->close(to);
}

static void test_socket(void **state)
{
    struct error error;
    struct stat status;
    struct link *host, *gadget;
    int listener = socket_listen(address, &error);

    (void)state;
    assert_true(listener >= 0);
    assert_int_equal(stat(address + 5, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_null(socket_accept(listener, 0, &error));
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    host = socket_connect(address, &error);
    gadget = socket_accept(listener, 1000, &error);
    assert_non_null(host);
    assert_non_null(gadget);
    assert_int_equal(host->operations->wait(host, false, 1, &error), 0);
    assert_int_equal(host->operations->wait(host, true, 1000, &error), 1);
    pass_bytes(host, gadget);
    pass_bytes(gadget, host);
    fill_and_close(gadget, host);
    socket_unlisten(listener, address);
    assert_int_equal(access(address + 5, F_OK), -1);
}

/* Nobody there: try again later. Words that are no address: usage. */
static void test_addresses(void **state)
{
    struct error error;
    char text[300];

    (void)state;
    assert_null(socket_connect(address, &error));
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    assert_null(socket_connect("tcp:1", &error));
    assert_int_equal(error.kind, ERROR_USAGE);
    assert_int_equal(socket_listen("unix:", &error), -1);
    assert_int_equal(error.kind, ERROR_USAGE);
    snprintf(text, sizeof text, "unix:/%0200d", 1);
    assert_int_equal(socket_listen(text, &error), -1);
    assert_int_equal(error.kind, ERROR_USAGE);
    assert_int_equal(socket_listen("unix:/nowhere/at/all", &error), -1);
    assert_int_equal(error.kind, ERROR_FAILED);
}

/* A socket that a dead process left is replaced; a living listener, and what is no socket, stay. */
static void test_left_behind(void **state)
{
    struct error error;
    int first = socket_listen(address, &error), second;
    FILE *file;

    (void)state;
    assert_true(first >= 0);
    assert_int_equal(socket_listen(address, &error), -1);
    assert_non_null(strstr(error.text, "another program listens"));
    close(first); /* without socket_unlisten, as when killed */
    second = socket_listen(address, &error);
    assert_true(second >= 0);
    socket_unlisten(second, address);
    file = fopen(address + 5, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(socket_listen(address, &error), -1);
    assert_int_equal(access(address + 5, F_OK), 0);
    assert_int_equal(unlink(address + 5), 0);
}

static void test_pair(void **state)
{
    static const struct pair_faults kinds[] = {
        {0}, {.most_bytes = 3, .capacity_bytes = 50}, {.stall_one_in = 2, .seed = 9}};
    struct link *ends[2];
    struct error error;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pair_new(&kinds[i], ends, &error), 0);
        if (i < 2)
            assert_int_equal(ends[0]->operations->wait(ends[0], false, 1, &error), 0);
        if (i == 0) {
            pass_bytes(ends[0], ends[1]);
            pass_bytes(ends[1], ends[0]);
            fill_and_close(ends[0], ends[1]);
        } else {
            ends[0]->operations->close(ends[0]);
            ends[1]->operations->close(ends[1]);
        }
    }
}

/* Each fault strikes at its byte and nowhere else. */
static void test_pair_faults(void **state)
{
    const struct pair_faults cut = {.cut_at_byte = 3}, flip = {.flip_at_byte = 2},
                             lose = {.drop_at_byte = 2};
    struct link *ends[2];
    struct error error;
    char got[8] = {0};

    (void)state;
    assert_int_equal(pair_new(&cut, ends, &error), 0);
    assert_int_equal(ends[0]->operations->write(ends[0], "abcdef", 6, &error), 3);
    assert_int_equal(ends[1]->operations->read(ends[1], got, 6, &error), -1);
    assert_int_equal(error.kind, ERROR_CLOSED);
    assert_int_equal(ends[0]->operations->write(ends[0], "def", 3, &error), -1);
    ends[0]->operations->close(ends[0]);
    ends[1]->operations->close(ends[1]);
    assert_int_equal(pair_new(&flip, ends, &error), 0);
    assert_int_equal(ends[0]->operations->write(ends[0], "abc", 3, &error), 3);
    assert_int_equal(ends[1]->operations->read(ends[1], got, 6, &error), 3);
    assert_memory_equal(got, "acc", 3);
    ends[0]->operations->close(ends[0]);
    ends[1]->operations->close(ends[1]);
    assert_int_equal(pair_new(&lose, ends, &error), 0);
    assert_int_equal(ends[0]->operations->write(ends[0], "abc", 3, &error), 3);
    assert_int_equal(ends[1]->operations->read(ends[1], got, 6, &error), 2);
    assert_memory_equal(got, "ac", 2);
    ends[0]->operations->close(ends[0]);
    ends[1]->operations->close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_socket),      cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_left_behind), cmocka_unit_test(test_pair),
        cmocka_unit_test(test_pair_faults),
    };

    return cmocka_run_group_tests_name("socket", tests, make, drop);
}
