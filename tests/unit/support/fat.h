/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * FAT16 images as a stranger may write them: whatever bytes, in folders and in the table of clusters.  Honest changes are
 * made by the mtools.
 */
#ifndef BODA_TESTS_UNIT_SUPPORT_FAT_H
#define BODA_TESTS_UNIT_SUPPORT_FAT_H

#include <stddef.h>
#include <stdint.h>

struct fat;

/* The image PATH, as mkfs.fat made it with at most 512 MB; changes are in the file at once.  Fails the present test when it is
 * none.  Freed with fat_close. */
struct fat *fat_open(const char *path);
void fat_close(struct fat *fat);

/* A free cluster, from now on the only one of a chain, full of zeros. */
uint16_t fat_take(struct fat *fat);

/* What the table says behind CLUSTER; which it says in both copies from now on. */
uint16_t fat_next(const struct fat *fat, uint16_t cluster);
void fat_link(struct fat *fat, uint16_t cluster, uint16_t next);
void fat_put(struct fat *fat, uint16_t cluster, const void *bytes, size_t size);

/* One more entry of the folder that begins at CLUSTER (one cluster is looked at; 0: the root): the long name NAME, COUNT units
 * of UTF-16, and a short one that is made up. */
void fat_add(struct fat *fat, uint16_t cluster, const uint16_t *name, size_t count,
             unsigned attribute, uint16_t begin, uint32_t size);

/* The same with a short name alone, of 11 bytes. */
void fat_add_short(struct fat *fat, uint16_t cluster, const char *name, unsigned attribute,
                   uint16_t begin, uint32_t size);

/* Where the entry with this short name (11 bytes) begins; 0: there is none. */
uint16_t fat_find(const struct fat *fat, uint16_t cluster, const char *name);

#define FAT_FILE 0x20u
#define FAT_FOLDER 0x10u
#define FAT_END 0xffffu

#endif
