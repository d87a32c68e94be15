/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/stores.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void stores_ok(bool ok, const struct error *error, const char *what, const char *file, int line)
{
    if (!ok)
        fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, error->text);
    _assert_true(ok, what, file, line);
}

struct store *stores_open(const char *directory)
{
    struct store_options options = {.directory = directory,
                                    .station = "c1",
                                    .role = "courier",
                                    .reserve_bytes = 1,
                                    .busy_ms = 200};
    struct error error = {0};
    struct store *store = store_open(&options, &error);

    STORES_OK(store != NULL, &error);
    return store;
}

unsigned char *stores_bytes(unsigned seed, size_t size)
{
    uint64_t state = seed;
    unsigned char *bytes = malloc(size + 8);
    size_t at;

    assert_non_null(bytes);
    for (at = 0; at < size; at += 8) {
        uint64_t word = stores_random(&state);

        memcpy(bytes + at, &word, sizeof word);
    }
    return bytes;
}

unsigned char *stores_batch(struct label *label, const char *from, const char *to, uint64_t seq,
                            unsigned seed, size_t size)
{
    unsigned char *bytes = stores_bytes(seed, size);

    memset(label, 0, sizeof *label);
    assert_int_equal(EVP_Digest(bytes, size, label->id, NULL, EVP_sha256(), NULL), 1);
    (void)snprintf(label->from, sizeof label->from, "%s", from);
    (void)snprintf(label->to, sizeof label->to, "%s", to);
    (void)snprintf(label->epoch, sizeof label->epoch, "%s", STORES_EPOCH);
    label->seq = seq;
    label->size = size;
    return bytes;
}

void stores_add(struct store *store, struct label *label, const char *from, const char *to,
                uint64_t seq, unsigned seed, size_t size)
{
    unsigned char *bytes = stores_batch(label, from, to, seq, seed, size);
    struct error error = {0};

    STORES_OK(store_begin(store, &error) == 0, &error);
    STORES_OK(batches_add(store, label, bytes, size, &error) == 0, &error);
    STORES_OK(store_commit(store, &error) == 0, &error);
    free(bytes);
}

/* splitmix64, which Steele, Lea and Flood gave to the public domain. */
uint64_t stores_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t stores_seed(void)
{
    const char *given = getenv("BODA_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10)
                                  : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000;

    printf("BODA_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}
