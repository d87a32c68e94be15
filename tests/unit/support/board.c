/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/support/folder.h"

char *board;

int board_make(void **state)
{
    (void)state;
    (void)unsetenv("CREDENTIALS_DIRECTORY");
    board = folder_new();
    return 0;
}

int board_drop(void **state)
{
    (void)state;
    folder_remove(board);
    return 0;
}

void board_put_bytes(const char *name, const char *bytes, size_t size)
{
    char *path = folder_path(board, name);
    FILE *file;

    for (char *at = path + strlen(board) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(path);
}

void board_put(const char *name, const char *text)
{
    board_put_bytes(name, text, strlen(text));
}

void board_put_property(const char *name, const char *text)
{
    board_put_bytes(name, text, strlen(text) + 1);
}

void board_take_away(const char *name)
{
    char *path = folder_path(board, name);

    if (access(path, F_OK) == 0) {
        folder_remove(path);
    } else {
        free(path);
        fail_msg("%s was never there", name);
    }
}

void board_put_kernel(void)
{
    board_put("proc/sys/kernel/osrelease", "6.1.0\n");
    board_put("proc/sys/fs/aio-max-nr", "65536\n");
    board_put("proc/filesystems", "nodev\tsysfs\n\text4\n");
    board_put("proc/self/mounts", "configfs /sys/kernel/config configfs rw 0 0\n");
    board_put(BOARD_MODULES "modules.builtin", "kernel/fs/configfs/configfs.ko\n");
    board_put(BOARD_MODULES "modules.dep",
              "kernel/drivers/usb/dwc2/dwc2.ko.xz: kernel/drivers/usb/gadget/udc/udc-core.ko.xz\n"
              "kernel/drivers/usb/gadget/libcomposite.ko.xz: kernel/fs/configfs/configfs.ko.xz\n"
              "kernel/drivers/usb/gadget/function/usb_f_fs.ko.xz: "
              "kernel/drivers/usb/gadget/libcomposite.ko.xz\n");
    board_put(BOARD_MODULES "kernel/drivers/usb/dwc2/dwc2.ko.xz", "");
    board_put(BOARD_MODULES "kernel/drivers/usb/gadget/libcomposite.ko.xz", "");
    board_put(BOARD_MODULES "kernel/drivers/usb/gadget/function/usb_f_fs.ko.xz", "");
    board_put("sys/kernel/config/usb_gadget/.keep", "");
}

void board_put_pi(const char *model, const char *config)
{
    board_put_kernel();
    board_put_property("proc/device-tree/model", model);
    if (config != NULL)
        board_put(BOARD_CONFIG, config);
}

void board_put_port(const char *mode)
{
    board_put_property(BOARD_PORT "/compatible",
                       mode != NULL ? "brcm,bcm2835-usb" : "brcm,bcm2708-usb");
    if (mode != NULL)
        board_put_property(BOARD_PORT "/dr_mode", mode);
}

void board_put_udc(void)
{
    board_put(BOARD_UDC "/maximum_speed", "high-speed\n");
    board_put(BOARD_UDC "/state", "not attached\n");
    board_put(BOARD_UDC "/function", "\n");
}

void board_put_ready(const char *model)
{
    board_put_pi(model, "[all]\ndtoverlay=dwc2,dr_mode=peripheral\n");
    board_put_port("peripheral");
    board_put_udc();
    board_put("sys/class/leds/ACT/brightness", "0\n");
}

struct said board_check(struct check_options options)
{
    struct said said = {0};
    struct error error;
    FILE *out = open_memstream(&said.text, &said.size);

    assert_non_null(out);
    options.root = board;
    said.status = check_run(&options, out, &error);
    assert_int_equal(fclose(out), 0);
    assert_in_range(said.status, 0, 1);
    /* The exit status and the findings agree. */
    assert_int_equal(said.status, strncmp(said.text, "missing", 7) == 0 ||
                                      strstr(said.text, "\nmissing") != NULL);
    assert_true((said.status == 0) == (strstr(said.text, "This board can be a courier.") != NULL));
    return said;
}

bool board_has_line(const char *text, const char *level, const char *const *words)
{
    char line[4096];

    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        (void)snprintf(line, sizeof line, "%.*s", (int)length, text);
        text += length + (text[length] == '\n');
        if (strncmp(line, level, strlen(level)) != 0)
            continue;
        for (unsigned i = 0;; i++) {
            if (words[i] == NULL)
                return true;
            if (strstr(line, words[i]) == NULL)
                break;
        }
    }
    return false;
}

void board_end(struct said *said, int status)
{
    if (said->status != status)
        fail_msg("status %d, not %d:\n%s", said->status, status, said->text);
    free(said->text);
}
