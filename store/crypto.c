/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/crypto.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>

int crypto_error(struct error *error, enum error_kind kind, const char *format, ...)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    char words[ERROR_TEXT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    if (code == 0)
        (void)error_set(error, kind, "%s", words);
    else
        (void)error_set(error, kind, "%s: %s", words, reason != NULL ? reason : "unknown cause");
    ERR_clear_error();
    return -1;
}
