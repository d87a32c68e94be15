/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/check/check_store.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/tree.h"
#include "store/store.h"

#define MB 1000000
#define RESERVE_MB 34 /* what the store leaves free, 32 MiB */
#define LITTLE_MB 500

/* ---- the disk ---- */

/* statfs(2)'s f_type, and what is to be said of a store on it. */
enum verdict { GOOD, IN_MEMORY, LAYERED, FAT, NETWORK };

static const struct file_system {
    unsigned long magic;
    const char *name;
    enum verdict verdict;
} file_systems[] = {
    {EXT4_SUPER_MAGIC, "ext4", GOOD},
    {F2FS_SUPER_MAGIC, "f2fs", GOOD},
    {BTRFS_SUPER_MAGIC, "btrfs", GOOD},
    {0x58465342, "xfs", GOOD},
    {TMPFS_MAGIC, "tmpfs", IN_MEMORY},
    {RAMFS_MAGIC, "ramfs", IN_MEMORY},
    {OVERLAYFS_SUPER_MAGIC, "overlay", LAYERED},
    {MSDOS_SUPER_MAGIC, "vfat", FAT},
    {0x2011bab0, "exfat", FAT},
    {NFS_SUPER_MAGIC, "nfs", NETWORK},
    {0xff534d42, "cifs", NETWORK},
    {0xfe534d42, "smb2", NETWORK},
    {0x01021997, "9p", NETWORK},
    {0, "a file system that this version does not know", GOOD},
};

static const struct file_system *find_file_system(const struct statfs *disk)
{
    const struct file_system *system = file_systems;

    /* f_type is signed on some machines. */
    while (system->magic != 0 && system->magic != ((unsigned long)disk->f_type & 0xffffffff))
        system++;
    return system;
}

/* The read-only root of Raspberry Pi OS (raspi-config) and of overlayroot: what is written is in memory
 * alone. */
static bool overlay_is_in_memory(const char *root)
{
    char line[4096];

    return tree_read(root, line, sizeof line, "/proc/cmdline") &&
           (strstr(line, "overlayroot=tmpfs") != NULL || strstr(line, "boot=overlay") != NULL);
}

static void judge(const char *root, const char *folder, const struct file_system *system,
                  struct findings *findings)
{
    switch (system->verdict) {
    case IN_MEMORY:
        findings_missing(findings,
                         "store %s: is in memory (%s): all that it carries would be lost at power "
                         "off: give a folder on the card or a disk",
                         folder, system->name);
        break;
    case LAYERED:
        if (overlay_is_in_memory(root))
            findings_missing(findings,
                             "store %s: is on a root file system that keeps changes in memory: all "
                             "that it carries would be lost at power off: give a folder on a "
                             "partition of its own, or switch that off (raspi-config, Performance, "
                             "Overlay File System)",
                             folder);
        else
            findings_note(
                findings,
                "store %s: is on an overlay: make sure that its upper layer is on a disk, "
                "else all that it carries is lost at power off",
                folder);
        break;
    case FAT:
        findings_note(
            findings,
            "store %s: is on %s, which has no journal and no owners: after a power cut it "
            "may need fsck; ext4 is better",
            folder, system->name);
        break;
    case NETWORK:
        findings_missing(
            findings,
            "store %s: is on %s, over a network, where SQLite's locks cannot be relied "
            "on: give a folder on the card or a disk",
            folder, system->name);
        break;
    case GOOD:
        findings_ok(findings, "store %s: is on %s", folder, system->name);
        break;
    }
}

static void judge_room(const char *folder, const struct statvfs *disk, struct findings *findings)
{
    unsigned long long free_mb = (unsigned long long)disk->f_bavail * disk->f_frsize / MB;

    if (free_mb <= RESERVE_MB)
        findings_missing(findings,
                         "store %s: its disk is full (%llu MB free, %d are kept in reserve): make "
                         "room on it",
                         folder, free_mb, RESERVE_MB);
    else if (free_mb < LITTLE_MB)
        findings_note(findings, "store %s: its disk has only %llu MB free", folder, free_mb);
    else
        findings_ok(findings, "store %s: its disk has %llu MB free", folder, free_mb);
}

/* PLACE is FOLDER, or where it will be made.  false when nothing could be written there. */
static bool check_disk(const char *root, const char *folder, const char *place,
                       struct findings *findings)
{
    struct statvfs room;
    struct statfs disk;

    if (statfs(place, &disk) != 0 || statvfs(place, &room) != 0) {
        findings_missing(findings, "store %s: its disk cannot be looked at: %s", folder,
                         strerror(errno));
        return false;
    }
    if ((room.f_flag & ST_RDONLY) != 0) {
        findings_missing(
            findings,
            "store %s: its file system is mounted read only: sudo mount -o remount,rw, "
            "mend /etc/fstab, or give another folder",
            folder);
        return false;
    }
    judge(root, folder, find_file_system(&disk), findings);
    judge_room(folder, &room, findings);
    if (faccessat(AT_FDCWD, place, R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        findings_missing(findings,
                         "store %s: user %u may not write into %s: run this as the user that runs "
                         "boda-courier, or: sudo chown -R USER %s",
                         folder, (unsigned)geteuid(), place, place);
        return false;
    }
    return true;
}

/* ---- what is in it ---- */

static bool has_database(const char *folder)
{
    char path[PATH_MAX];
    struct stat status;

    return (size_t)snprintf(path, sizeof path, "%s/boda.db", folder) < sizeof path &&
           stat(path, &status) == 0 && status.st_size > 0;
}

static void check_content(const char *folder, const char *station, struct findings *findings)
{
    const struct store_options options = {.directory = folder, .read_only = true};
    struct error error;
    struct store *store;

    if (!has_database(folder)) {
        findings_ok(findings, "store %s: has no store yet; boda-courier begins one", folder);
        return;
    }
    store = store_open(&options, &error);
    if (store == NULL)
        findings_missing(findings, "%s%s", error.text,
                         error.kind == ERROR_CORRUPT
                             ? ": start boda-courier, which moves it aside, and then once more"
                             : "");
    else if (strcmp(store_role(store), "courier") != 0)
        findings_missing(findings,
                         "store %s: is the one of %s %s: give a folder of the courier's own",
                         folder, store_role(store), store_station(store));
    else if (station[0] != '\0' && strcmp(store_station(store), station) != 0)
        findings_missing(
            findings,
            "store %s: belongs to courier %s, the identity to %s: give the folder that "
            "belongs to it",
            folder, store_station(store), station);
    else if (store_check(store, &error) != 0)
        findings_missing(findings,
                         "%s: move the folder aside and start boda-courier with a new one; what it "
                         "carried is handed over again by those who have it still",
                         error.text);
    else
        findings_ok(findings, "store %s: is courier %s's, and undamaged", folder,
                    store_station(store));
    store_close(store);
}

/* boda-courier makes the folder, but not those above it. */
static void check_absent(const char *root, const char *folder, struct findings *findings)
{
    char copy[PATH_MAX];
    const char *parent;
    struct stat status;

    if ((size_t)snprintf(copy, sizeof copy, "%s", folder) >= sizeof copy) {
        findings_missing(findings, "store: its path is too long: give a shorter one");
        return;
    }
    parent = dirname(copy);
    if (stat(parent, &status) != 0 || !S_ISDIR(status.st_mode))
        findings_missing(findings,
                         "store %s: is not there, nor is the folder above it: sudo mkdir -p %s",
                         folder, parent);
    else if (check_disk(root, folder, parent, findings))
        findings_ok(findings, "store %s: is not there yet; boda-courier makes it", folder);
}

void check_store(const char *root, const char *folder, const char *station,
                 struct findings *findings)
{
    struct stat status;
    int cause = stat(folder, &status) == 0 ? 0 : errno;

    if (cause == ENOENT)
        check_absent(root, folder, findings);
    else if (cause != 0)
        findings_missing(findings,
                         "store %s: cannot be looked at: %s: run this as the user that runs "
                         "boda-courier",
                         folder, strerror(cause));
    else if (!S_ISDIR(status.st_mode))
        findings_missing(findings, "store %s: is not a folder: give another one", folder);
    else if (check_disk(root, folder, folder, findings))
        check_content(folder, station, findings);
}
