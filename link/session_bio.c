/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/session_bio.h"

static int bio_read(BIO *bio, char *bytes, size_t size, size_t *got)
{
    struct session_bio *state = BIO_get_data(bio);
    ssize_t result;

    BIO_clear_retry_flags(bio);
    if (state->read_over)
        return 0;
    result = state->link->operations->read(state->link, bytes, size, &state->error);
    if (result > 0) {
        *got = (size_t)result;
        return 1;
    }
    if (result < 0)
        state->read_over = true;
    else
        BIO_set_retry_read(bio);
    return 0;
}

static int bio_write(BIO *bio, const char *bytes, size_t size, size_t *put)
{
    struct session_bio *state = BIO_get_data(bio);
    ssize_t result = 0;

    BIO_clear_retry_flags(bio);
    if (!state->write_over)
        result = state->link->operations->write(state->link, bytes, size, &state->error);
    if (result > 0) {
        *put = (size_t)result;
        return 1;
    }
    if (result < 0)
        state->write_over = true;
    BIO_set_retry_write(bio);
    return 0;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    /* Every write goes to the link at once; the rest does not apply to a link. */
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *session_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "link");

    if (method == NULL)
        return NULL;
    if (BIO_meth_set_read_ex(method, bio_read) != 1 ||
        BIO_meth_set_write_ex(method, bio_write) != 1 ||
        BIO_meth_set_ctrl(method, bio_control) != 1) {
        BIO_meth_free(method);
        return NULL;
    }
    return method;
}

BIO *session_bio_new(const BIO_METHOD *method, struct session_bio *state)
{
    BIO *bio = BIO_new(method);

    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, state);
    BIO_set_init(bio, 1);
    return bio;
}
