/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/driven.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gadget/drive.h"
#include "store/file_name.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/stores.h"

int driven_set_up(void **state)
{
    struct driven *d = calloc(1, sizeof *d);
    void *filed;

    assert_non_null(d);
    assert_int_equal(filed_set_up(&filed), 0);
    d->f = filed;
    d->folder = folder_path(d->f->stores, "drive");
    d->image = folder_path(d->folder, DRIVE_IMAGE);
    assert_int_equal(mkdir(d->folder, 0700), 0);
    d->stop_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(d->stop_fd >= 0);
    driven_again(d);
    *state = d;
    return 0;
}

int driven_tear_down(void **state)
{
    struct driven *d = *state;
    void *filed = d->f;

    drive_content_free(d->content);
    assert_int_equal(close(d->stop_fd), 0);
    free(d->folder);
    free(d->image);
    free(d);
    return filed_tear_down(&filed);
}

void driven_again(struct driven *d)
{
    const struct drive_content_options options = {.store = d->f->store,
                                                  .folder = d->folder,
                                                  .name = "c1",
                                                  .bytes = DRIVEN_BYTES,
                                                  .stop_fd = d->stop_fd};

    drive_content_free(d->content);
    d->content = drive_content_new(&options, &d->f->error);
    STORES_OK(d->content != NULL, &d->f->error);
}

void driven_refresh(struct driven *d)
{
    char *stage = folder_path(d->folder, "drive.stage"),
         *next = folder_path(d->folder, "drive.new");

    STORES_OK(drive_content_refresh(d->content, &d->f->error) == 0, &d->f->error);
    assert_true(drive_content_is_there(d->content));
    assert_int_not_equal(access(stage, F_OK), 0);
    assert_int_not_equal(access(next, F_OK), 0);
    free(stage);
    free(next);
}

static void set_variables(const struct driven *d)
{
    assert_int_equal(setenv("I", d->image, 1), 0);
    assert_int_equal(setenv("M", d->f->medium, 1), 0);
    assert_int_equal(setenv("MTOOLSRC", "/dev/null", 1), 0);
    assert_int_equal(setenv("MTOOLS_SKIP_CHECK", "1", 1), 0);
}

int driven_shell(const struct driven *d, const char *format, ...)
{
    char *command;
    va_list arguments;
    int length, status;

    va_start(arguments, format);
    length = vasprintf(&command, format, arguments);
    va_end(arguments);
    assert_true(length > 0);
    set_variables(d);
    status = system(command); /* NOLINT(cert-env33-c): the commands are this test's own */
    free(command);
    return status;
}

char *driven_output(const struct driven *d, const char *command)
{
    struct buffer text = {.limit = 1 << 20};
    struct error error;
    char bytes[4096];
    FILE *stream;
    size_t got;

    set_variables(d);
    stream = popen(command, "r"); /* NOLINT(cert-env33-c) */
    assert_non_null(stream);
    while ((got = fread(bytes, 1, sizeof bytes, stream)) > 0)
        STORES_OK(buffer_append(&text, bytes, got, &error) == 0, &error);
    assert_int_equal(pclose(stream), 0);
    STORES_OK(buffer_append(&text, "", 1, &error) == 0, &error);
    return (char *)text.data;
}

bool driven_has(const struct driven *d, const char *path)
{
    return driven_shell(d, "mtype -i \"$I\" '::/%s' >\"$M/seen\" 2>\"$M/seen.words\"", path) == 0;
}

void driven_drop(struct driven *d, uint64_t seq, const char *ahead, struct label *label)
{
    char name[FILE_NAME_BYTES];
    struct buffer bytes = {0};

    filed_seal(d->f, d->f->deployment->tablet, d->f->deployment->server, seq, "docs", &bytes,
               label);
    filed_put(d->f, "dropped", bytes.data, bytes.length);
    buffer_free(&bytes);
    file_name_make(label, name);
    assert_int_equal(driven_shell(d, "mcopy -i \"$I\" -D o \"$M/dropped\" '::/%s%s'", ahead, name),
                     0);
}

bool driven_took(struct driven *d, const struct label *label)
{
    struct batch batch;

    return batches_find(d->f->store, label->id, &batch, &d->f->error) == 1 &&
           batch.state == BATCH_HELD;
}
