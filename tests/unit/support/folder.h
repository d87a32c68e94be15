/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A folder of a test's own, below TMPDIR or /tmp.
 */
#ifndef BODA_TESTS_SUPPORT_FOLDER_H
#define BODA_TESTS_SUPPORT_FOLDER_H

/* Make one; its path, which folder_remove frees.  Ends the test program when it cannot. */
char *folder_new(void);

/* Remove it with all that is in it. */
void folder_remove(char *path);

/* "PATH/NAME"; free it. */
char *folder_path(const char *path, const char *name);

/* Run BODY with FOLDER in a child, killed after 60 s; its exit status, 0 when all went well.  A test fails where it was
 * ended by a signal. */
int folder_in_child(int (*body)(const char *folder), const char *folder);

/* In a forked child only: put an empty file system of SIZE_BYTES at PATH, seen by this process alone,
 * and gone with it.  -1 where the kernel does not let us. */
int folder_mount_small(const char *path, unsigned long size_bytes);

/* Then make it read-only. */
int folder_remount_read_only(const char *path);

#endif
