/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A board for tests of the check: a tree of files as its kernel would show them, below a folder of the
 * test's own; and what the check says of it.
 */
#ifndef BODA_TESTS_SUPPORT_BOARD_H
#define BODA_TESTS_SUPPORT_BOARD_H

#include <stdbool.h>
#include <stddef.h>

#include "gadget/check/check.h"

#define BOARD_CONFIG "boot/firmware/config.txt"
#define BOARD_PORT "sys/firmware/devicetree/base/soc/usb@7e980000"
#define BOARD_MODULES "lib/modules/6.1.0/"
#define BOARD_UDC "sys/class/udc/20980000.usb"
#define BOARD_LINE "dtoverlay=dwc2,dr_mode=peripheral"

extern char *board; /* its folder, of the present test */

/* A test's set-up and tear-down. */
int board_make(void **state);
int board_drop(void **state);

/* Write a file, and the folders above it. */
void board_put(const char *name, const char *text);
void board_put_bytes(const char *name, const char *bytes, size_t size);
/* A property of the device tree: a string with its zero. */
void board_put_property(const char *name, const char *text);
/* A file or folder, which must be there. */
void board_take_away(const char *name);

/* A kernel with all that is needed, as modules of which none is loaded; configfs is mounted. */
void board_put_kernel(void);
/* With that, a Raspberry Pi; CONFIG may be NULL. */
void board_put_pi(const char *model, const char *config);
/* Its USB port as the overlay dwc2 makes it; MODE NULL: as it is without it. */
void board_put_port(const char *mode);
void board_put_udc(void);
/* A Raspberry Pi that lacks nothing. */
void board_put_ready(const char *model);

struct said {
    char *text;
    size_t size;
    int status;
};

/* Run the check, with this board as root. */
struct said board_check(struct check_options options);

/* The status was this one; free SAID. */
void board_end(struct said *said, int status);

/* Is there a line of this LEVEL with all the WORDS (up to a NULL)? */
bool board_has_line(const char *text, const char *level, const char *const *words);

/* SAYS(said, "missing", WORDS...): a line of that level has all these words. */
#define SAYS(said, level, ...)                                                                 \
    do {                                                                                       \
        if (!board_has_line((said).text, level, (const char *const[]){__VA_ARGS__, NULL}))     \
            fail_msg("no line '%s' with: %s; it says:\n%s", level, #__VA_ARGS__, (said).text); \
    } while (0)
#define SAYS_NOT(said, word)                                            \
    do {                                                                \
        if (strstr((said).text, word) != NULL)                          \
            fail_msg("it should not say '%s':\n%s", word, (said).text); \
    } while (0)

#endif
