/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * base/: buffers keep their limits, files are whole and private, errors say their kind.
 */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/process.h"
#include "base/secret.h"

static char folder[PATH_MAX];

static const char *path_of(const char *name)
{
    static char path[PATH_MAX + 64];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    const char *parent = getenv("TMPDIR");

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/boda-base-XXXXXX", parent != NULL ? parent : "/tmp");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(path_of("file"));
    return rmdir(folder);
}

/* A full disk is told apart from other faults by the kind, and the exit status follows the kind. */
static void errors_have_kinds(void **state)
{
    struct error error;

    (void)state;
    assert_int_equal(error_errno(&error, ENOSPC, "store %s", "x"), -1);
    assert_int_equal(error.kind, ERROR_FULL);
    assert_string_equal(error.text, "store x: No space left on device");
    assert_int_equal(error_exit_status(&error), 1);
    assert_int_equal(error_set(&error, ERROR_TEMPORARY, "server is away"), -1);
    assert_int_equal(error_exit_status(&error), 75);
    (void)error_prefix(&error, "dock %d", 7);
    assert_string_equal(error.text, "dock 7: server is away");
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    (void)error_set(&error, ERROR_USAGE, "no");
    assert_int_equal(error_exit_status(&error), 2);
    assert_int_equal(error_set(NULL, ERROR_FAILED, "nobody listens"), -1);
}

/* A text that is too long is cut, not written past its end. */
static void long_errors_are_cut(void **state)
{
    struct error error;
    char text[2 * ERROR_TEXT_BYTES];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)error_set(&error, ERROR_FAILED, "%s", text);
    assert_int_equal(strlen(error.text), ERROR_TEXT_BYTES - 1);
    (void)error_prefix(&error, "%s", "prefix");
    assert_memory_equal(error.text, "prefix: xxx", 11);
    assert_int_equal(strlen(error.text), ERROR_TEXT_BYTES - 1);
}

/* What is appended comes out, over many growths; the limit holds and leaves the content alone. */
static void buffers_grow_to_their_limit(void **state)
{
    struct buffer buffer = {.limit = 100000};
    struct error error;

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        unsigned char byte = (unsigned char)(i % 251);

        assert_int_equal(buffer_append(&buffer, &byte, 1, &error), 0);
    }
    assert_int_equal(buffer_append(&buffer, "x", 1, &error), -1);
    assert_int_equal(error.kind, ERROR_FULL);
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX - 5, &error), -1);
    assert_int_equal(buffer.length, 100000);
    buffer_consume(&buffer, 251);
    for (unsigned i = 0; i < buffer.length; i++)
        assert_int_equal(buffer.data[i], i % 251);
    buffer_consume(&buffer, SIZE_MAX);
    assert_int_equal(buffer.length, 0);
    assert_int_equal(buffer_printf(&buffer, &error, "%s-%d", "rev", 3), 0);
    assert_int_equal(buffer.length, 5);
    assert_memory_equal(buffer.data, "rev-3", 5);
    buffer_cleanse(&buffer);
    assert_null(buffer.data);
}

static void hex_is_strict(void **state)
{
    unsigned char bytes[4];
    char text[9];

    (void)state;
    hex_encode((const unsigned char *)"\x00\x7f\x80\xff", 4, text);
    assert_string_equal(text, "007f80ff");
    assert_int_equal(hex_decode("007F80ff", bytes, 4), 0);
    assert_memory_equal(bytes, "\x00\x7f\x80\xff", 4);
    assert_int_equal(hex_decode("007f80f", bytes, 4), -1);
    assert_int_equal(hex_decode("007f80fff", bytes, 4), -1);
    assert_int_equal(hex_decode("007f80fg", bytes, 4), -1);
    assert_int_equal(hex_decode("", bytes, 4), -1);
}

/* A file is replaced whole, has the mode asked for, and leaves no temporary file behind. */
static void files_are_written_whole(void **state)
{
    struct buffer content = {0};
    struct stat status;
    struct error error;

    (void)state;
    assert_int_equal(file_write(path_of("file"), 0600, "one", 3, &error), 0);
    assert_int_equal(file_write(path_of("file"), 0640, "three", 5, &error), 0);
    assert_int_equal(stat(path_of("file"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_int_equal(file_create(path_of("file"), 0600, "four", 4, &error), -1);
    assert_int_equal(file_read(path_of("file"), 5, &content, &error), 0);
    assert_int_equal(content.length, 5);
    assert_memory_equal(content.data, "three", 5);
    assert_int_equal(file_read(path_of("file"), 4, &content, &error), -1);
    assert_int_equal(error.kind, ERROR_FULL);
    assert_int_equal(content.length, 5);
    buffer_free(&content);
    assert_int_equal(file_read(path_of("none"), 4, &content, &error), -1);
    assert_non_null(strstr(error.text, "No such file"));
    assert_int_equal(unlink(path_of("file")), 0);
    assert_int_equal(rmdir(folder), 0); /* nothing else is in there */
    assert_int_equal(mkdir(folder, 0700), 0);
    buffer_free(&content);
}

/* A key that others can read is refused, with the command that mends it. */
static void secrets_must_be_private(void **state)
{
    struct secret secret;
    struct error error;

    (void)state;
    assert_int_equal(file_write(path_of("file"), 0644, "word\r\nmore\n", 11, &error), 0);
    assert_int_equal(secret_read_file(&secret, path_of("file"), &error), -1);
    assert_non_null(strstr(error.text, "chmod 600"));
    assert_int_equal(chmod(path_of("file"), 0600), 0);
    assert_int_equal(secret_read_file(&secret, path_of("file"), &error), 0);
    assert_string_equal(secret.text, "word");
    secret_cleanse(&secret);
    assert_int_equal(secret.text[0], 0);
    assert_int_equal(file_write(path_of("file"), 0600, "\n", 1, &error), 0);
    assert_int_equal(secret_read_file(&secret, path_of("file"), &error), -1);
    assert_int_equal(file_require_private(folder, &error), -1);
}

/* systemd's credentials folder serves when no file is named, with the mode that systemd gives. */
static void secrets_come_from_systemd(void **state)
{
    struct secret secret;
    struct error error;
    char credential[PATH_MAX + 64];

    (void)state;
    (void)snprintf(credential, sizeof credential, "%s", path_of("boda-passphrase"));
    assert_int_equal(file_write(credential, 0440, "from systemd\n", 13, &error), 0);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
    assert_int_equal(secret_obtain(&secret, NULL, "passphrase", &error), 0);
    assert_string_equal(secret.text, "from systemd");
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_int_equal(unlink(credential), 0);
}

static void generated_secrets_differ(void **state)
{
    struct secret one, two;
    struct error error;

    (void)state;
    assert_int_equal(secret_generate(&one, 5, &error), 0);
    assert_int_equal(secret_generate(&two, 5, &error), 0);
    assert_int_equal(strlen(one.text), 5 * 5 + 4);
    assert_string_not_equal(one.text, two.text);
    assert_int_equal(secret_generate(&one, 0, &error), -1);
    assert_int_equal(secret_generate(&one, 1000, &error), -1);
}

static void clocks_go_forward(void **state)
{
    char text[CLOCK_TEXT_BYTES];
    int64_t before = clock_ms();

    (void)state;
    assert_true(clock_ms() >= before);
    clock_text(text);
    assert_int_equal(strlen(text), 20);
    assert_int_equal(text[19], 'Z');
}

/* One event is one line, whatever the text holds. */
static void log_lines_are_single(void **state)
{
    char line[4096] = "";
    int pipes[2], saved = dup(STDERR_FILENO);
    ssize_t got;

    (void)state;
    assert_true(saved >= 0);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(dup2(pipes[1], STDERR_FILENO), STDERR_FILENO);
    (void)unsetenv("JOURNAL_STREAM");
    assert_int_equal(log_set_level("warning"), 0);
    log_info("below the threshold");
    log_warning("two\nlines\x1b[31m");
    assert_int_equal(log_set_level("loud"), -1);
    assert_int_equal(log_set_level("info"), 0);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    got = read(pipes[0], line, sizeof line - 1);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    (void)close(saved);
    assert_true(got > 0);
    assert_string_equal(line, "warning: two lines?[31m\n");
}

/* A write above RLIMIT_FSIZE is an error of the write, not the end of the process; no core is left. */
static void limits_are_errors(void **state)
{
    struct rlimit limit, small;
    struct error error;

    (void)state;
    assert_int_equal(process_prepare(&error), 0);
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    assert_int_equal(limit.rlim_max, 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(file_write(path_of("file"), 0600, "more than ten bytes", 19, &error), -1);
    assert_int_equal(error.kind, ERROR_FULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(file_write(path_of("file"), 0600, "more than ten bytes", 19, &error), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_kinds),           cmocka_unit_test(long_errors_are_cut),
        cmocka_unit_test(buffers_grow_to_their_limit), cmocka_unit_test(hex_is_strict),
        cmocka_unit_test(files_are_written_whole),     cmocka_unit_test(secrets_must_be_private),
        cmocka_unit_test(secrets_come_from_systemd),   cmocka_unit_test(generated_secrets_differ),
        cmocka_unit_test(clocks_go_forward),           cmocka_unit_test(log_lines_are_single),
        cmocka_unit_test(limits_are_errors),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
