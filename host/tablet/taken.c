/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/taken.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buffer.h"

#define FIRST_SLOTS 1024
#define MOST_WORDS_BYTES (64u << 20) /* a request has 32 MB: never reached */

struct taken {
    struct buffer words; /* "id\0rev\0" of each pair */
    uint32_t *slots;     /* 1 + where a pair begins in words; 0: empty.  Open addressing */
    size_t slots_count;  /* a power of two, at least twice the pairs */
    size_t count;
    uint64_t seed; /* chosen at random: a client cannot make everything collide */
};

/* FNV-1a (64 bits) over both words, with the end of the first, from a random start. */
static uint64_t hash(const struct taken *taken, const char *id, const char *rev)
{
    uint64_t value = taken->seed;

    for (const char *at = id; *at != '\0'; at++)
        value = (value ^ (unsigned char)*at) * 0x100000001b3u;
    value = (value ^ 0xff) * 0x100000001b3u;
    for (const char *at = rev; *at != '\0'; at++)
        value = (value ^ (unsigned char)*at) * 0x100000001b3u;
    return value ^ value >> 32;
}

struct taken *taken_new(struct error *error)
{
    struct taken *taken = calloc(1, sizeof *taken);

    if (taken != NULL)
        taken->slots = calloc(FIRST_SLOTS, sizeof *taken->slots);
    if (taken == NULL || taken->slots == NULL) {
        (void)error_set(error, ERROR_FAILED, "outbox: no memory");
        free(taken);
        return NULL;
    }
    taken->slots_count = FIRST_SLOTS;
    taken->words.limit = MOST_WORDS_BYTES;
    if (getrandom(&taken->seed, sizeof taken->seed, 0) != (ssize_t)sizeof taken->seed)
        taken->seed = (uintptr_t)taken; /* only speed hangs on it */
    return taken;
}

void taken_free(struct taken *taken)
{
    if (taken == NULL)
        return;
    buffer_free(&taken->words);
    free(taken->slots);
    free(taken);
}

/* The slot of the pair, or the empty one where it belongs. */
static size_t find(const struct taken *taken, const char *id, const char *rev)
{
    size_t slot = (size_t)hash(taken, id, rev) & (taken->slots_count - 1);

    while (taken->slots[slot] != 0) {
        const char *pair = (const char *)taken->words.data + taken->slots[slot] - 1;

        if (strcmp(pair, id) == 0 && strcmp(pair + strlen(pair) + 1, rev) == 0)
            break;
        slot = (slot + 1) & (taken->slots_count - 1);
    }
    return slot;
}

int taken_has(const struct taken *taken, const char *id, const char *rev)
{
    return taken->slots[find(taken, id, rev)] != 0;
}

static int grow(struct taken *taken, struct error *error)
{
    size_t count = taken->slots_count * 2, at = 0;
    uint32_t *slots = calloc(count, sizeof *slots);

    if (slots == NULL)
        return error_set(error, ERROR_FAILED, "outbox: no memory");
    free(taken->slots);
    taken->slots = slots;
    taken->slots_count = count;
    while (at < taken->words.length) {
        const char *id = (const char *)taken->words.data + at, *rev = id + strlen(id) + 1;

        slots[find(taken, id, rev)] = (uint32_t)at + 1;
        at += strlen(id) + strlen(rev) + 2;
    }
    return 0;
}

int taken_add(struct taken *taken, const char *id, const char *rev, struct error *error)
{
    size_t id_size = strlen(id) + 1, rev_size = strlen(rev) + 1, at = taken->words.length;

    if ((taken->count + 1) * 2 > taken->slots_count && grow(taken, error) != 0)
        return -1;
    if (buffer_reserve(&taken->words, id_size + rev_size, error) != 0 ||
        buffer_append(&taken->words, id, id_size, error) != 0 ||
        buffer_append(&taken->words, rev, rev_size, error) != 0)
        return -1;
    taken->slots[find(taken, id, rev)] = (uint32_t)at + 1;
    taken->count++;
    return 0;
}

size_t taken_count(const struct taken *taken)
{
    return taken->count;
}

int taken_each(const struct taken *taken,
               int (*show)(const char *id, const char *rev, void *context), void *context)
{
    size_t at = 0;

    while (at < taken->words.length) {
        const char *id = (const char *)taken->words.data + at, *rev = id + strlen(id) + 1;
        int result = show(id, rev, context);

        if (result != 0)
            return result;
        at += strlen(id) + strlen(rev) + 2;
    }
    return 0;
}

void taken_clear(struct taken *taken)
{
    /* Small tables are kept for the next request, those of a large one given back. */
    uint32_t *small = NULL;

    if (taken->slots_count > FIRST_SLOTS)
        small = calloc(FIRST_SLOTS, sizeof *small);
    if (small != NULL) {
        free(taken->slots);
        taken->slots = small;
        taken->slots_count = FIRST_SLOTS;
    } else {
        memset(taken->slots, 0, taken->slots_count * sizeof *taken->slots);
    }
    if (taken->words.capacity > (1u << 20))
        buffer_free(&taken->words);
    taken->words.length = 0;
    taken->count = 0;
}
