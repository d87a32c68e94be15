/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * JSON read as a stream: the bytes of the values at chosen places are handed over as they came, without the rest being
 * built in memory, and never written anew.
 */
#ifndef BODA_BASE_PICK_H
#define BODA_BASE_PICK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define PICK_PLACES_MOST 8
#define PICK_DEPTH_MOST 502

/* Where: members by name, [] each element of an array, as in "docs[]" or "results[].docs[].ok"; 8 steps at most.  What
 * a path goes through must be of the kind it says, and no member on it may be there twice.  Places may lie within one another: the
 * inner value comes first. */
struct pick_place {
    const char *path;
    size_t most_bytes; /* a larger value there is a fault */
};

enum pick_fault {
    PICK_MALFORMED, /* no JSON, nested too deep, a value too large, a kind that a path does not go through */
    PICK_RECEIVER /* the callback failed, with its own ERROR */
};

/* The value at PLACES[PLACE]: SIZE bytes of JSON as they came, raw line breaks between tokens made blanks; JSON[SIZE]
 * is '\n', so that it is a line of NDJSON as it stands.  The UTF-8 of strings is not looked at.  Valid during the call.
 * 0; -1: the reading fails. */
typedef int pick_receive(unsigned place, const char *json, size_t size, void *context,
                         struct error *error);

struct pick;

/* PLACES (COUNT of them) is borrowed. */
struct pick *pick_new(const struct pick_place *places, unsigned count, pick_receive *receive,
                      void *context, struct error *error);
void pick_free(struct pick *pick); /* NULL is harmless; the bytes are overwritten */

/* The next bytes. -1: it fails as a whole; pick_fault says how. */
int pick_feed(struct pick *pick, const void *bytes, size_t size, struct error *error);

/* All is here: the text was one JSON object. */
int pick_end(struct pick *pick, struct error *error);

/* Whether the member that PLACE ends with was there; for one that ends with []: the array, if only empty. */
bool pick_seen(const struct pick *pick, unsigned place);
enum pick_fault pick_fault(const struct pick *pick);

#endif
