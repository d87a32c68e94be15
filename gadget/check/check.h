/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * `boda-courier check`: can this board be a courier, and if not, what is to be done?  Looks only; changes,
 * loads and mounts nothing, asks nothing.
 *
 * One line a finding: `ok`, `missing` (must be mended) or `note`, then words.  What is looked at:
 * - USB device controller (UDC): one is there, its speed and state, and nobody else holds it: another
 *   gadget of configfs, or a legacy gadget module (g_ether and its like).
 * - board: for a Raspberry Pi whether the model can be a gadget, which socket the cable goes into, and
 *   without a UDC the line that config.txt lacks, or the one that is wrong (dr_mode=host, otg_mode=1,
 *   a section that this model does not read), or that it was not restarted since; for other boards
 *   what the device tree says of their USB ports.
 * - kernel: libcomposite and FunctionFS are there, or which option it lacks; configfs; asynchronous I/O.
 * - drive (where asked for): mtools, dosfstools, the kernel's mass storage.
 * - set-up: whether this user may do it, and the LEDs that --lamp can have.
 * - identity (where given): private, PKCS#12, a courier's; opened when a passphrase is at hand.
 * - store (where given): a disk that keeps it at power off, room, writable, and when there is a store
 *   already: a courier's, this courier's, and undamaged.
 * The last line sums up.
 */
#ifndef BODA_GADGET_CHECK_H
#define BODA_GADGET_CHECK_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

struct check_options {
    const char *root;            /* before every path of the board's; NULL or "": the real board */
    const char *udc;             /* NULL: the first one */
    const char *identity;        /* a file as given, not below root; NULL: not checked */
    const char *passphrase_file; /* NULL: CREDENTIALS_DIRECTORY, else the identity stays closed */
    bool drive;                  /* also what --drive needs */
    const char *store;           /* a folder as given, not below root; NULL: not checked */
};

/* The exit status: 0 when the board can be a courier, 1 when not; -1 when OUT cannot be written. */
int check_run(const struct check_options *options, FILE *out, struct error *error);

#endif
