/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A station's store: one SQLite database, `boda.db`, in a folder of its own (docs/design.md,
 * "Stores").  All three stations use the same schema and the same code.
 *
 * A `struct store` is one connection and belongs to one thread; a program opens one for each thread
 * that needs one.  Functions that change something must be called between store_begin and
 * store_commit, unless their contract says that they make their own transaction.  A transaction is
 * never held while waiting for a peer.  When store_commit has returned 0 the change survives a power
 * cut (WAL, synchronous=FULL).
 *
 * When a changing function fails because SQLite does (full disk, damage, no memory), the whole
 * transaction is rolled back there and then: nothing since store_begin is stored, and store_begin can be
 * called again (store_rollback is harmless, store_commit would fail).  Errors of the contract itself
 * (an offset that does not fit, a batch that is not there) leave the transaction as it is.
 *
 * Where a function walks and calls SHOW, a result of SHOW other than 0 ends the walk and is returned;
 * ERROR is then SHOW's to fill.  SHOW may read the store, but not change it, unless said otherwise.
 *
 * Errors: ERROR_FULL when the disk is full, ERROR_TEMPORARY when another program holds the database
 * for longer than the busy time-out (10 s), ERROR_CORRUPT when SQLite says so, ERROR_FAILED else.
 */
#ifndef BODA_STORE_STORE_H
#define BODA_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define STORE_NAME_BYTES 65  /* a station's name or a CHT user's, with its zero */
#define STORE_UUID_BYTES 33  /* 128 random bits in hex, with its zero */
#define STORE_EPOCH_BYTES 17 /* 64 random bits in hex, with its zero */

struct store;

struct store_options {
    const char *directory;  /* made (0700) when missing, unless read_only */
    const char *station;    /* the station's name; NULL: whatever the store says */
    const char *role;       /* "tablet", "courier", "dock"; NULL with a NULL station */
    uint64_t quota_bytes;   /* most bytes of batches that the store takes; 0: no quota */
    uint64_t reserve_bytes; /* bytes of the disk left free; 0: 32 MiB; tests use smaller ones */
    bool read_only;         /* for `boda status`; works beside a running station */
    bool *none;  /* set, if given, where the folder has no store yet; NULL is returned then */
    int busy_ms; /* how long to wait for another program; 0: 10 s; tests use less */
};

/* Open the store, making it if the folder has none, and bring an older schema up to date.
 * - A store of a newer schema is left alone: ERROR_FAILED that says to update the program.
 * - A database that is damaged (not a database, or quick_check fails) is moved aside as
 *   boda.db.damaged-N with its -wal and -shm, a log line says so and where, and ERROR_CORRUPT is
 *   returned: the operator starts the program again to begin a new store.  It is never silently
 *   recreated over.  A file of zero bytes (power cut at its making) is no damage but a fresh store.
 *   What is checked, by the first connection only: a database of up to 16 MiB whole (quick_check);
 *   a larger one, when it was not closed cleanly, without the bytes of batches, whose hashes are
 *   checked when they are used; all of it when damage was met or store_check found some
 *   (boda.db.suspect notes that).
 * - With a NULL station, or read_only, a folder without a store stays as it is: ERROR_FAILED.
 * - A store that belongs to another station or role: ERROR_FAILED that names both.
 * - Not writable: ERROR_FAILED that names the file and the user.
 * The caller frees it with store_close. */
struct store *store_open(const struct store_options *options, struct error *error);
void store_close(struct store *store); /* NULL is harmless */

/* Another connection to the same store with the same options, for another thread. */
struct store *store_another(const struct store *store, struct error *error);

const char *store_uuid(const struct store *store);    /* made with the store; 32 hex digits */
const char *store_epoch(const struct store *store);   /* made with the store; 16 hex digits */
const char *store_station(const struct store *store); /* the name given when it was made */
const char *store_role(const struct store *store);

/* One write transaction (BEGIN IMMEDIATE).  They do not nest. */
int store_begin(struct store *store, struct error *error);
int store_commit(struct store *store, struct error *error); /* on failure: rolled back */
void store_rollback(struct store *store);                   /* harmless outside a transaction */

/* A number that changes whenever any connection, this one or another process's, has committed; what
 * is above its lower 32 bits, with the commits of others alone. */
int store_version(struct store *store, int64_t *version, struct error *error);

/* PRAGMA integrity_check and foreign_key_check.  -1 with ERROR_CORRUPT and SQLite's first words. */
int store_check(struct store *store, struct error *error);

/* 0 if MORE_BYTES from the station SOURCE may still be taken; else ERROR_FULL with what is missing:
 * free disk less the reserve, the store's quota, and the source's share (with a quota: a source may
 * have at most half of it; without: half of (stored + free disk)).  The store's own station is not
 * bound to a share.  Pages that freed batches left in the database count as free disk. */
int store_room(struct store *store, const char *source, uint64_t more_bytes, struct error *error);

/* Bytes that may still be taken, whoever sends them. */
int store_free_bytes(struct store *store, uint64_t *bytes, struct error *error);

#endif
