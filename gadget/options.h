/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The command line of boda-courier.
 */
#ifndef BODA_GADGET_OPTIONS_H
#define BODA_GADGET_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* The words are argv's. */
struct options {
    const char *identity, *store, *listen, *passphrase_file, *lamp, *udc, *user;
    uint64_t quota_bytes, drive_bytes; /* 0: none */
    bool usb, check, all;
    const char *files;  /* "export", "import"; NULL: neither */
    char *const *words; /* behind it */
    int words_count;
};

/* Read argv into OPTIONS (empty before), and set the log's level.  -1: run; else the exit status, as help
 * or what is wrong has been printed. */
int options_read(int argc, char **argv, struct options *options);

#endif
