/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/fat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRY_BYTES 32u
#define LONG_UNITS 13u
#define LONG_ATTRIBUTE 0x0fu

struct fat {
    unsigned char *bytes;
    size_t size;
    size_t table, table_bytes; /* the first of the two */
    size_t root, root_entries, data, cluster_bytes;
    unsigned made; /* short names that were made up */
};

static unsigned get16(const unsigned char *at)
{
    return at[0] | (unsigned)at[1] << 8;
}

static void put16(unsigned char *at, unsigned value)
{
    at[0] = (unsigned char)(value & 0xff);
    at[1] = (unsigned char)(value >> 8 & 0xff);
}

struct fat *fat_open(const char *path)
{
    struct fat *fat = calloc(1, sizeof *fat);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat status;
    unsigned sector;

    assert_non_null(fat);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    fat->size = (size_t)status.st_size;
    fat->bytes = mmap(NULL, fat->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(fat->bytes, MAP_FAILED);
    assert_int_equal(close(fd), 0);
    /* The boot sector: BPB_BytsPerSec, RsvdSecCnt, FATSz16, RootEntCnt, SecPerClus. */
    sector = get16(fat->bytes + 11);
    assert_int_equal(sector, 512);
    assert_memory_equal(fat->bytes + 54, "FAT16", 5);
    fat->table = (size_t)get16(fat->bytes + 14) * sector;
    fat->table_bytes = (size_t)get16(fat->bytes + 22) * sector;
    fat->root = fat->table + 2 * fat->table_bytes;
    fat->root_entries = get16(fat->bytes + 17);
    fat->data = fat->root + fat->root_entries * ENTRY_BYTES;
    fat->cluster_bytes = (size_t)fat->bytes[13] * sector;
    return fat;
}

void fat_close(struct fat *fat)
{
    assert_int_equal(munmap(fat->bytes, fat->size), 0);
    free(fat);
}

static unsigned char *cluster_at(const struct fat *fat, uint16_t cluster)
{
    size_t at = fat->data + (size_t)(cluster - 2) * fat->cluster_bytes;

    assert_true(cluster >= 2 && at + fat->cluster_bytes <= fat->size);
    return fat->bytes + at;
}

uint16_t fat_next(const struct fat *fat, uint16_t cluster)
{
    return (uint16_t)get16(fat->bytes + fat->table + 2 * (size_t)cluster);
}

void fat_link(struct fat *fat, uint16_t cluster, uint16_t next)
{
    for (unsigned copy = 0; copy < 2; copy++)
        put16(fat->bytes + fat->table + copy * fat->table_bytes + 2 * (size_t)cluster, next);
}

uint16_t fat_take(struct fat *fat)
{
    uint16_t cluster = 2;

    while (fat_next(fat, cluster) != 0)
        cluster++;
    memset(cluster_at(fat, cluster), 0, fat->cluster_bytes);
    fat_link(fat, cluster, FAT_END);
    return cluster;
}

void fat_put(struct fat *fat, uint16_t cluster, const void *bytes, size_t size)
{
    assert_true(size <= fat->cluster_bytes);
    memcpy(cluster_at(fat, cluster), bytes, size);
}

static unsigned char *folder_at(const struct fat *fat, uint16_t cluster, size_t *entries)
{
    *entries = cluster == 0 ? fat->root_entries : fat->cluster_bytes / ENTRY_BYTES;
    return cluster == 0 ? fat->bytes + fat->root : cluster_at(fat, cluster);
}

/* COUNT unused entries at the end of a folder. */
static unsigned char *unused(struct fat *fat, uint16_t cluster, size_t count)
{
    size_t entries, i = 0;
    unsigned char *folder = folder_at(fat, cluster, &entries);

    while (i < entries && folder[i * ENTRY_BYTES] != 0)
        i++;
    assert_true(i + count <= entries);
    return folder + i * ENTRY_BYTES;
}

static void fill(unsigned char *entry, const char *name, unsigned attribute, uint16_t begin,
                 uint32_t size)
{
    memset(entry, 0, ENTRY_BYTES);
    memcpy(entry, name, 11);
    entry[11] = (unsigned char)attribute;
    put16(entry + 24, 0x5a21); /* a date */
    put16(entry + 26, begin);
    put16(entry + 28, size & 0xffff);
    put16(entry + 30, size >> 16);
}

void fat_add_short(struct fat *fat, uint16_t cluster, const char *name, unsigned attribute,
                   uint16_t begin, uint32_t size)
{
    fill(unused(fat, cluster, 1), name, attribute, begin, size);
}

/* One part of a long name: units NAME[FROM...], zero behind its end, 0xffff behind that. */
static void fill_long(unsigned char *entry, const uint16_t *name, size_t count, size_t from)
{
    static const unsigned char places[LONG_UNITS] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};

    for (size_t i = 0; i < LONG_UNITS; i++) {
        size_t at = from + i;

        put16(entry + places[i], at < count ? name[at] : at == count ? 0 : 0xffff);
    }
    entry[11] = LONG_ATTRIBUTE;
}

void fat_add(struct fat *fat, uint16_t cluster, const uint16_t *name, size_t count,
             unsigned attribute, uint16_t begin, uint32_t size)
{
    size_t parts = (count + LONG_UNITS - 1) / LONG_UNITS;
    unsigned char *entry = unused(fat, cluster, parts + 1), sum = 0;
    char old[16];

    (void)snprintf(old, sizeof old, "MADE%04uP7M", fat->made++);
    for (unsigned i = 0; i < 11; i++)
        sum = (unsigned char)((sum >> 1) + (sum << 7) + old[i]);
    for (size_t part = parts; part > 0; part--, entry += ENTRY_BYTES) {
        memset(entry, 0, ENTRY_BYTES);
        fill_long(entry, name, count, (part - 1) * LONG_UNITS);
        entry[0] = (unsigned char)(part | (part == parts ? 0x40 : 0));
        entry[13] = sum;
    }
    fill(entry, old, attribute, begin, size);
}

uint16_t fat_find(const struct fat *fat, uint16_t cluster, const char *name)
{
    size_t entries;
    const unsigned char *folder = folder_at(fat, cluster, &entries);

    for (size_t i = 0; i < entries; i++)
        if (memcmp(folder + i * ENTRY_BYTES, name, 11) == 0 &&
            folder[i * ENTRY_BYTES + 11] != LONG_ATTRIBUTE)
            return (uint16_t)get16(folder + i * ENTRY_BYTES + 26);
    return 0;
}
