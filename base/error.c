/* SPDX-License-Identifier: AGPL-3.0-or-later */
#define BODA_BASE_ERROR_C
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

int error_set(struct error *error, enum error_kind kind, const char *format, ...)
{
    va_list arguments;

    if (error == NULL)
        return -1;
    error->kind = kind;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return -1;
}

int error_errno(struct error *error, int errnum, const char *format, ...)
{
    va_list arguments;
    size_t used;

    if (error == NULL)
        return -1;
    error->kind = ERROR_FAILED;
    if (errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG)
        error->kind = ERROR_FULL;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    used = strlen(error->text);
    (void)snprintf(error->text + used, sizeof error->text - used, ": %s", strerror(errnum));
    return -1;
}

int error_prefix(struct error *error, const char *format, ...)
{
    char text[ERROR_TEXT_BYTES];
    va_list arguments;
    size_t used;

    if (error == NULL)
        return -1;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    used = strlen(text);
    (void)snprintf(text + used, sizeof text - used, ": %s", error->text);
    memcpy(error->text, text, sizeof text);
    return -1;
}

int error_exit_status(const struct error *error)
{
    if (error->kind == ERROR_USAGE)
        return 2;
    if (error->kind == ERROR_TEMPORARY || error->kind == ERROR_CLOSED)
        return EX_TEMPFAIL;
    return 1;
}
