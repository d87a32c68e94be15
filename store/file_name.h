/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Names of batch files (docs/files.md, "Names"): TO/FROM-EPOCH-SEQ-ID.p7m, ID the first 16 hex digits of the batch's id.
 * A name is advice: it sorts files for those who cannot open them, and whoever takes the bytes checks them.
 */
#ifndef BODA_STORE_FILE_NAME_H
#define BODA_STORE_FILE_NAME_H

#include "store/label.h"

#define FILE_NAME_BYTES 128 /* a batch file's name, with its zero */
#define FILE_NAME_FOLDER_BYTES (STORE_NAME_BYTES + sizeof "~~ (4294967295)" - 1)
#define FILE_NAME_ID_BYTES 8 /* how many bytes of the id a name has */

/* The name of the file of the batch LABEL. */
void file_name_make(const struct label *label, char name[FILE_NAME_BYTES]);

/* The name of the folder of the station TO, of its first one or, from 2 on, of that NUMBER. */
void file_name_folder(const char *to, unsigned number, char folder[FILE_NAME_FOLDER_BYTES]);

/* What a name says of a batch. */
struct file_name {
    char from[STORE_NAME_BYTES];
    char epoch[STORE_EPOCH_BYTES];
    uint64_t seq;
    unsigned char id[FILE_NAME_ID_BYTES];
};

/* Read a file's name (no folders in it), whatever file managers and mail programs did to it: other letter case, words
 * ahead or behind (" (1)").  false: it says nothing. */
bool file_name_read(const char *name, struct file_name *out);

/* NAME is exactly what file_name_make gives for some label: a file of ours. */
bool file_name_is_made(const char *name);

/* NAME ends in .p7m, as a batch file's does, or in .crl, as a revocation list's. */
bool file_name_has_suffix(const char *name);
bool file_name_is_list(const char *name);

/* The station whose batches a folder has, whatever its number; false: FOLDER is no such folder. */
bool file_name_station(const char *folder, char to[STORE_NAME_BYTES]);

/* The label that NAME (may be NULL), found in a folder for the station TO (NULL: not said), gives to a batch with this
 * ID and SIZE.  What tablets make is for the server; what the server makes is for the station of the folder.
 * false: they do not say enough. */
bool file_name_label(const struct file_name *name, const char *to, const unsigned char *id,
                     uint64_t size, struct label *label);

#endif
