/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/bench/support/stations.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "store/authority.h"
#include "store/batches.h"
#include "tests/bench/support/bench.h"

#define BATCHES_A_COMMIT 256

static struct identity *enroll(const struct stations *stations, enum role role, const char *name,
                               const char *user)
{
    struct station station = {.role = role};
    struct error error;
    struct identity *identity;

    snprintf(station.name, sizeof station.name, "%s", name);
    snprintf(station.user, sizeof station.user, "%s", user);
    identity = authority_enroll(stations->authority, &station, NULL, &error);
    if (identity == NULL)
        bench_die("enroll", &error);
    return identity;
}

void stations_make(struct stations *stations, const char *parent)
{
    struct error error;

    memset(stations, 0, sizeof *stations);
    stations->random = 88172645463325252u;
    if (parent == NULL)
        parent = getenv("TMPDIR");
    snprintf(stations->folder, sizeof stations->folder, "%s/boda-bench-XXXXXX",
             parent != NULL ? parent : "/tmp");
    if (mkdtemp(stations->folder) == NULL)
        bench_die(stations->folder, NULL);
    stations->authority = authority_new("bench", &error);
    if (stations->authority == NULL)
        bench_die("authority", &error);
    stations->tablet = enroll(stations, ROLE_TABLET, "t1", "chw1");
    stations->courier = enroll(stations, ROLE_COURIER, "c1", "");
    stations->dock = enroll(stations, ROLE_DOCK, "dock", "");
}

void stations_free(struct stations *stations)
{
    identity_free(stations->tablet);
    identity_free(stations->courier);
    identity_free(stations->dock);
    authority_free(stations->authority);
    if (rmdir(stations->folder) != 0)
        bench_die(stations->folder, NULL);
}

struct store *stations_open(const struct stations *stations, const struct identity *identity,
                            const char *name)
{
    struct store_options options = {.station = identity_name(identity),
                                    .role = role_name(identity_role(identity))};
    char path[STATIONS_FOLDER_BYTES + 64];
    struct error error;
    struct store *store;

    snprintf(path, sizeof path, "%s/%s", stations->folder, name);
    options.directory = path;
    store = store_open(&options, &error);
    if (store == NULL)
        bench_die("store", &error);
    return store;
}

void stations_clear(const struct stations *stations, const char *name)
{
    char command[STATIONS_FOLDER_BYTES + 128];

    snprintf(command, sizeof command, "rm -rf '%s/%s'", stations->folder, name);
    if (system(command) != 0) /* NOLINT(cert-env33-c): our own words */
        bench_die(command, NULL);
}

void stations_fill(struct stations *stations, unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i + 8 <= size; i += 8) {
        stations->random ^= stations->random << 13;
        stations->random ^= stations->random >> 7;
        stations->random ^= stations->random << 17;
        memcpy(bytes + i, &stations->random, 8);
    }
}

void stations_add(struct stations *stations, struct store *store, unsigned count, size_t size,
                  bool applied)
{
    unsigned char *bytes = calloc(1, size);
    struct label label = {.from = "t1", .to = "server", .epoch = "00000000000000e1", .size = size};
    struct error error;
    unsigned length;

    if (bytes == NULL)
        bench_die("memory", NULL);
    for (unsigned i = 0; i < count; i++) {
        if (i % BATCHES_A_COMMIT == 0 && store_begin(store, &error) != 0)
            bench_die("begin", &error);
        stations_fill(stations, bytes, size);
        memcpy(bytes, &stations->seq, sizeof stations->seq);
        label.seq = ++stations->seq;
        if (EVP_Digest(bytes, size, label.id, &length, EVP_sha256(), NULL) != 1)
            bench_die("SHA-256", NULL);
        if (batches_add(store, &label, bytes, size, &error) != 0 ||
            (applied && batches_apply(store, &label, false, &error) != 0))
            bench_die("add", &error);
        if ((i % BATCHES_A_COMMIT == BATCHES_A_COMMIT - 1 || i == count - 1) &&
            store_commit(store, &error) != 0)
            bench_die("commit", &error);
    }
    free(bytes);
}

void stations_settle(const struct stations *stations)
{
    int fd = open(stations->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || syncfs(fd) != 0)
        bench_die(stations->folder, NULL);
    close(fd);
}

struct visit_options stations_visit(const struct identity *identity, struct store *store)
{
    enum role role = identity_role(identity);
    bool host = role != ROLE_COURIER;
    struct visit_options options = {.store = store,
                                    .identity = identity,
                                    .side = host ? SESSION_HOST : SESSION_GADGET,
                                    .roles = host ? 1u << ROLE_COURIER
                                                  : 1u << ROLE_TABLET | 1u << ROLE_DOCK,
                                    .own_mail = role == ROLE_TABLET ? identity_name(identity)
                                                : role == ROLE_DOCK ? SERVER_NAME
                                                                    : NULL,
                                    .once = host};
    struct error error;

    options.trust = trust_new(identity_ca(identity), &error);
    if (options.trust == NULL)
        bench_die("trust", &error);
    return options;
}
