/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/process.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

int process_prepare(struct error *error)
{
    const struct rlimit none = {0, 0};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)sigemptyset(&ignore.sa_mask);
    if (sigaction(SIGPIPE, &ignore, NULL) != 0 || sigaction(SIGXFSZ, &ignore, NULL) != 0)
        return error_errno(error, errno, "process: its signals cannot be set");
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return error_errno(error, errno, "process: core files cannot be forbidden");
    return 0;
}

/* Else glibc keeps it, and grows its threshold (mallopt(3)). */
void process_bound_memory(void)
{
#ifdef M_MMAP_THRESHOLD
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 4 << 20);
    (void)mallopt(M_ARENA_MAX, 2);
#endif
}
