/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A courier's drive in a folder, without a gadget: hosts write to its image by the mtools, or as they like.
 */
#ifndef BODA_TESTS_UNIT_SUPPORT_DRIVEN_H
#define BODA_TESTS_UNIT_SUPPORT_DRIVEN_H

#include "gadget/drive_content.h"
#include "tests/unit/support/filed.h"

#define DRIVEN_BYTES (16u << 20)

struct driven {
    struct filed *f;
    char *folder; /* where the image is */
    char *image;
    int stop_fd;
    struct drive_content *content;
};

/* For cmocka_unit_test_setup_teardown: *STATE has the store of courier "c1", empty, and no image yet. */
int driven_set_up(void **state);
int driven_tear_down(void **state);

/* The courier starts anew, with this store. */
void driven_again(struct driven *d);

/* drive_content_refresh, which must not fail. */
void driven_refresh(struct driven *d);

/* Run a command of the shell, in which $I is the image and $M the medium's folder; its status. */
int driven_shell(const struct driven *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What it prints; free it. */
char *driven_output(const struct driven *d, const char *command);

/* Whether the image has the file PATH, and nobody's reading of it finds fault. */
bool driven_has(const struct driven *d, const char *path);

/* A batch of tablet t1 to the server, as a file of the image whose path is AHEAD and then its own name; $M/dropped too. */
void driven_drop(struct driven *d, uint64_t seq, const char *ahead, struct label *label);

/* Whether the store holds it. */
bool driven_took(struct driven *d, const struct label *label);

#endif
