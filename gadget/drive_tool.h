/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Runs mkfs.fat and the mtools, which read and write FAT images for us: a stranger has written what they read, so each
 * runs in a child with bounds in time, memory, size of files and output, without any environment of ours.
 */
#ifndef BODA_GADGET_DRIVE_TOOL_H
#define BODA_GADGET_DRIVE_TOOL_H

#include <stdint.h>

#include "base/buffer.h"

#define DRIVE_TOOL_FILE_BYTES (1ull << 32) /* no file, the image among them, grows above it */

/* What the runs of one piece of work share. */
struct drive_tool {
    int stop_fd;         /* readable: the program is to end, and so does the run */
    int64_t until_ms;    /* of clock_ms: no run goes on after it */
    uint64_t file_bytes; /* most bytes of a file that the tool writes; 0: DRIVE_TOOL_FILE_BYTES */
};

/* Run ARGUMENTS (the first is the program's name; NULL behind the last).  What it writes is appended to OUTPUT up to
 * the buffer's limit; NULL: thrown away.  0: it ended with status 0.  1: with another one; ERROR has its own words.
 * -1: ERROR_USAGE it is not installed; ERROR_FULL its output is longer than OUTPUT may be; ERROR_TEMPORARY it was too
 * slow; ERROR_CLOSED it was stopped by stop_fd; ERROR_FAILED else.  OUTPUT has what came, whatever the result. */
int drive_tool_run(const struct drive_tool *tool, const char *const *arguments,
                   struct buffer *output, struct error *error);

#endif
