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
    struct buffer words; /* "id\0rev\0ancestor\0...\0" of each revision */
    uint32_t *slots;     /* 1 + where a revision begins in words; 0: empty.  Open addressing */
    size_t slots_count;  /* a power of two, at least twice the revisions */
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

static const char *behind(const char *word)
{
    return word + strlen(word) + 1;
}

/* Where the next revision begins, whose ancestors are these. */
static size_t next(const struct taken *taken, const char *ancestors)
{
    while (*ancestors != '\0')
        ancestors = behind(ancestors);
    return (size_t)(ancestors + 1 - (const char *)taken->words.data);
}

/* The slot of the revision, or the empty one where it belongs. */
static size_t find(const struct taken *taken, const char *id, const char *rev)
{
    size_t slot = (size_t)hash(taken, id, rev) & (taken->slots_count - 1);

    while (taken->slots[slot] != 0) {
        const char *pair = (const char *)taken->words.data + taken->slots[slot] - 1;

        if (strcmp(pair, id) == 0 && strcmp(behind(pair), rev) == 0)
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
        const char *id = (const char *)taken->words.data + at, *rev = behind(id);

        slots[find(taken, id, rev)] = (uint32_t)at + 1;
        at = next(taken, behind(rev));
    }
    return 0;
}

static int append(struct taken *taken, const char *word, struct error *error)
{
    return buffer_append(&taken->words, word, strlen(word) + 1, error);
}

static int append_all(struct taken *taken, const char *id, const char *rev,
                      const struct doc_ancestors *ancestors, struct error *error)
{
    if (append(taken, id, error) != 0 || append(taken, rev, error) != 0)
        return -1;
    for (size_t i = 0; ancestors != NULL && i < ancestors->count; i++)
        if (append(taken, ancestors->revs[i], error) != 0)
            return -1;
    return append(taken, "", error);
}

int taken_add(struct taken *taken, const char *id, const char *rev, struct error *error)
{
    return taken_add_with(taken, id, rev, NULL, error);
}

int taken_add_with(struct taken *taken, const char *id, const char *rev,
                   const struct doc_ancestors *ancestors, struct error *error)
{
    size_t at = taken->words.length;

    if ((taken->count + 1) * 2 > taken->slots_count && grow(taken, error) != 0)
        return -1;
    if (append_all(taken, id, rev, ancestors, error) != 0) {
        taken->words.length = at;
        return -1;
    }
    taken->slots[find(taken, id, rev)] = (uint32_t)at + 1;
    taken->count++;
    return 0;
}

size_t taken_count(const struct taken *taken)
{
    return taken->count;
}

int taken_each(const struct taken *taken,
               int (*show)(const char *id, const char *rev, const char *ancestors, void *context),
               void *context)
{
    size_t at = 0;

    while (at < taken->words.length) {
        const char *id = (const char *)taken->words.data + at, *rev = behind(id);
        int result = show(id, rev, behind(rev), context);

        if (result != 0)
            return result;
        at = next(taken, behind(rev));
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
