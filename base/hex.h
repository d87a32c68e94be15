/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Bytes as lower-case hexadecimal digits and back.
 */
#ifndef BODA_BASE_HEX_H
#define BODA_BASE_HEX_H

#include <stddef.h>

/* Write 2 * SIZE digits and a terminating zero to TEXT (2 * SIZE + 1 bytes). */
void hex_encode(const unsigned char *bytes, size_t size, char *text);

/* Read exactly 2 * SIZE lower- or upper-case digits of the string TEXT.  -1 if TEXT is shorter,
 * longer, or has another character. */
int hex_decode(const char *text, unsigned char *bytes, size_t size);

#endif
