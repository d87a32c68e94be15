/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Puts files into a courier's drive as its keeper does, for tests in the test machine: lun_insert GADGET UID GID FILE...
 * A line each: "in", or why not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gadget/lun.h"

int main(int argc, char **argv)
{
    struct error error;

    if (argc < 5) {
        (void)fputs("usage: lun_insert GADGET UID GID FILE...\n", stderr);
        return 2;
    }
    for (int i = 4; i < argc; i++) {
        int result;

        if (lun_eject(argv[1], &error) != 0) {
            (void)fprintf(stderr, "%s\n", error.text);
            return EXIT_FAILURE;
        }
        result = lun_insert(argv[1], argv[i], (uid_t)strtoul(argv[2], NULL, 10),
                            (gid_t)strtoul(argv[3], NULL, 10), &error);
        if (result == 0 && lun_is_in(argv[1], &error) != 1)
            return EXIT_FAILURE;
        (void)puts(result == 0 ? "in" : error.text);
        if (geteuid() != 0 || getegid() != 0)
            return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
