/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What a check has found: one line each, in words.  Control bytes in a line become '?', so that text of
 * a file of the board cannot play with a terminal.
 */
#ifndef BODA_GADGET_FINDINGS_H
#define BODA_GADGET_FINDINGS_H

#include <stdio.h>

struct findings {
    FILE *out;
    unsigned missing; /* how many must be mended */
};

/* As it should be. */
void findings_ok(struct findings *findings, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Must be mended; the words say how. */
void findings_missing(struct findings *findings, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Good to know. */
void findings_note(struct findings *findings, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
