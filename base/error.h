/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * One failure, in words for the operator.
 *
 * A function that can fail takes a `struct error *` as its last argument, returns -1 (or NULL) and
 * fills it.  The text begins with the object it is about, says what was tried and what the operator
 * can do, and has no full stop.  The kind says how the caller should go on.
 */
#ifndef BODA_BASE_ERROR_H
#define BODA_BASE_ERROR_H

#include <stddef.h>

#define ERROR_TEXT_BYTES 512

enum error_kind {
    ERROR_FAILED,    /* a fault that trying again will not mend */
    ERROR_USAGE,     /* the operator's words are off */
    ERROR_TEMPORARY, /* server, cable or lock not there: try again later */
    ERROR_FULL,      /* disk or quota is full: goes on once there is room */
    ERROR_CORRUPT,   /* bytes are not what they claim to be */
    ERROR_REFUSED,   /* the other side may not do this: certificate, role, revocation */
    ERROR_CLOSED     /* the other side has gone: cable pulled, program ended */
};

struct error {
    enum error_kind kind;
    char text[ERROR_TEXT_BYTES];
};

/* Fill ERROR (may be NULL) and return -1, so that `return error_set(...)` reads well.  Text beyond
 * ERROR_TEXT_BYTES - 1 bytes is cut. */
int error_set(struct error *error, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, with ": " and the text of ERRNUM behind; ENOSPC, EDQUOT and EFBIG make the kind
 * ERROR_FULL. */
int error_errno(struct error *error, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "PREFIX: " ahead of the text that ERROR (may be NULL) has; the kind stays.  Returns -1. */
int error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The exit status of a program that ends with ERROR: 2 for usage, 75 (EX_TEMPFAIL) for temporary
 * or closed, else 1. */
int error_exit_status(const struct error *error);

/* clang's analyzer looks into one file at a time and so does not see that these return -1. */
#if defined __clang_analyzer__ && !defined BODA_BASE_ERROR_C
#define error_set(...) (error_set(__VA_ARGS__), -1)
#define error_errno(...) (error_errno(__VA_ARGS__), -1)
#define error_prefix(...) (error_prefix(__VA_ARGS__), -1)
#endif

#endif
