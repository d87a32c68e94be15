/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A deployment in memory - tablet "t1", courier "c1", dock "dock" - with stores in a folder of their own,
 * for measurements.  Whatever fails ends the program.
 */
#ifndef BODA_TESTS_BENCH_SUPPORT_STATIONS_H
#define BODA_TESTS_BENCH_SUPPORT_STATIONS_H

#include "link/link.h"
#include "link/visit.h"
#include "store/identity.h"
#include "store/store.h"

#define STATIONS_FOLDER_BYTES 256

struct stations {
    struct authority *authority;
    struct identity *tablet, *courier, *dock;
    char folder[STATIONS_FOLDER_BYTES];
    uint64_t seq, random; /* of the batches made so far */
};

/* In a fresh folder below PARENT (NULL: TMPDIR, or /tmp). */
void stations_make(struct stations *stations, const char *parent);

/* The stores have been cleared. */
void stations_free(struct stations *stations);

/* IDENTITY's store, called NAME in the folder. */
struct store *stations_open(const struct stations *stations, const struct identity *identity,
                            const char *name);
void stations_clear(const struct stations *stations, const char *name);

/* SIZE bytes (a multiple of 8) that no link or file system compresses. */
void stations_fill(struct stations *stations, unsigned char *bytes, size_t size);

/* COUNT batches of SIZE bytes from t1 to the server; held, or APPLIED long ago. */
void stations_add(struct stations *stations, struct store *store, unsigned count, size_t size,
                  bool applied);

/* What was written before is on the disk. */
void stations_settle(const struct stations *stations);

/* The options of a visit of IDENTITY with its STORE, as its program makes them; a host's ends after the
 * first round that moves nothing.  The trust in them is freed with trust_free. */
struct visit_options stations_visit(const struct identity *identity, struct store *store);

#endif
