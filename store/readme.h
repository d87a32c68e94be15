/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * README.TXT for whoever finds Boda's files on a stick: what they are, that nobody can read them, where to bring them.
 */
#ifndef BODA_STORE_README_H
#define BODA_STORE_README_H

#define README_NAME "README.TXT"

/* English, French, Swahili, Nepali; UTF-8 with a byte order mark, CRLF. */
const char *readme(void);

#endif
