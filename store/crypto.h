/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * OpenSSL's words in our errors.
 */
#ifndef BODA_STORE_CRYPTO_H
#define BODA_STORE_CRYPTO_H

#include "base/error.h"

/* As error_set, with ": " and the first reason in OpenSSL's queue behind, which is then emptied.
 * Returns -1. */
int crypto_error(struct error *error, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
