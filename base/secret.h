/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A secret string (passphrase, password), held by one owner and overwritten when freed.  Never
 * logged.
 */
#ifndef BODA_BASE_SECRET_H
#define BODA_BASE_SECRET_H

#include "base/error.h"

#define SECRET_BYTES 256 /* the longest secret, with its terminating zero */

struct secret {
    char text[SECRET_BYTES];
};

/* The first line of PATH, which must be private (file_require_private). */
int secret_read_file(struct secret *secret, const char *path, struct error *error);

/* Where a program gets the passphrase of its identity: the file PATH if not NULL; else the file
 * `boda-passphrase` in the folder CREDENTIALS_DIRECTORY (systemd.exec(5)), whatever its mode; else a
 * prompt on the terminal; else an error that names the three. */
int secret_obtain(struct secret *secret, const char *path, const char *prompt, struct error *error);

/* WORDS random groups of five letters and digits, joined by '-', easy to read aloud (no 0/o, 1/l);
 * 5 bits a character. */
int secret_generate(struct secret *secret, unsigned words, struct error *error);

void secret_cleanse(struct secret *secret);

#endif
