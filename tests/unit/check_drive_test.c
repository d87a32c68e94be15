/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * gadget/check: what the drive needs is told where the drive is asked for, and only there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tests/unit/support/board.h"

static const struct check_options with_drive = {.drive = true};

static void test_nothing_there(void **state)
{
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    said = board_check((struct check_options){0});
    SAYS_NOT(said, "drive");
    board_end(&said, 0);
    said = board_check(with_drive);
    SAYS(said, "missing", "drive: mkfs.fat is not installed", "sudo apt-get install dosfstools");
    SAYS(said, "missing", "drive: mcopy is not installed", "sudo apt-get install mtools");
    SAYS(said, "missing", "drive: mdir is not installed");
    SAYS(said, "missing", "drive: mmd is not installed");
    SAYS(said, "missing", "has no usb_f_mass_storage", "CONFIG_USB_CONFIGFS_MASS_STORAGE",
         "the cable works without it");
    board_end(&said, 1);
}

static void test_all_there(void **state)
{
    struct said said;

    (void)state;
    board_put_ready("Raspberry Pi Zero W Rev 1.1");
    board_put("usr/sbin/mkfs.fat", "");
    board_put("usr/bin/mcopy", "");
    board_put("usr/bin/mdir", "");
    board_put("bin/mmd", "");
    board_put("sys/module/usb_f_mass_storage/refcnt", "0\n");
    said = board_check(with_drive);
    SAYS(said, "ok", "drive: mtools and dosfstools are installed");
    SAYS(said, "ok", "drive: the kernel has usb_f_mass_storage");
    board_end(&said, 0);
    board_take_away("sys/module/usb_f_mass_storage");
    board_put(BOARD_MODULES "modules.dep",
              "kernel/x/usb_f_mass_storage.ko: kernel/libcomposite.ko\n"
              "kernel/x/usb_f_fs.ko:\nkernel/libcomposite.ko:\n");
    board_put(BOARD_MODULES "kernel/x/usb_f_mass_storage.ko", "");
    board_put(BOARD_MODULES "kernel/x/usb_f_fs.ko", "");
    board_put(BOARD_MODULES "kernel/libcomposite.ko", "");
    said = board_check(with_drive);
    SAYS(said, "ok",
         "drive: the kernel has usb_f_mass_storage, as a module that is not loaded now");
    board_end(&said, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, board_make, board_drop)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_nothing_there), TEST(test_all_there)};

    return cmocka_run_group_tests_name("check_drive", tests, NULL, NULL);
}
