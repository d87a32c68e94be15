/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What goes wrong with a medium, in words for whoever holds it in the hand.
 */
#ifndef BODA_STORE_MEDIUM_ERROR_H
#define BODA_STORE_MEDIUM_ERROR_H

#include "base/error.h"

/* ERRNUM came of trying WHAT ("be read") with the folder PATH, open as FD.  ERROR_FULL when the medium is full,
 * ERROR_FAILED else; -1. */
int medium_error(const char *path, int fd, int errnum, const char *what, struct error *error);

#endif
