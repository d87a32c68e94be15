/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/lamp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define LEDS_FOLDER "/sys/class/leds"
#define BUSY_MS 100
#define FAULT_MS 1000

struct lamp {
    int folder; /* the LED's; -1: no LED */
    bool failed;
    enum lamp_signal signal;
};

/* The LEDs that are there, for the message to the operator. */
static void list_leds(const char *folder, char *names, size_t size)
{
    DIR *directory = opendir(folder);
    struct dirent *entry;
    size_t used = 0;

    names[0] = '\0';
    while (directory != NULL && (entry = readdir(directory)) != NULL && used < size - 1) {
        if (entry->d_name[0] == '.')
            continue;
        used += (size_t)snprintf(names + used, size - used, " %s", entry->d_name);
    }
    if (directory != NULL)
        closedir(directory);
    if (names[0] == '\0')
        snprintf(names, size, " none");
}

struct lamp *lamp_new(const char *name, const char *folder, struct error *error)
{
    struct lamp *lamp = calloc(1, sizeof *lamp);
    char path[512], names[256];

    if (lamp == NULL) {
        error_set(error, ERROR_FAILED, "lamp: no memory");
        return NULL;
    }
    lamp->folder = -1;
    if (name == NULL)
        return lamp;
    if (folder == NULL)
        folder = LEDS_FOLDER;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (strchr(name, '/') == NULL && name[0] != '.')
        lamp->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lamp->folder < 0) {
        list_leds(folder, names, sizeof names);
        error_set(error, ERROR_USAGE, "lamp %s: there is no such LED; the board has:%s", name,
                  names);
        lamp_free(lamp);
        return NULL;
    }
    lamp->signal = LAMP_FAULT;
    lamp_show(lamp, LAMP_OFF);
    return lamp;
}

void lamp_free(struct lamp *lamp)
{
    if (lamp == NULL)
        return;
    lamp_show(lamp, LAMP_OFF);
    if (lamp->folder >= 0)
        close(lamp->folder);
    free(lamp);
}

static int put(const struct lamp *lamp, const char *file, const char *text)
{
    int fd = openat(lamp->folder, file, O_WRONLY | O_CLOEXEC);
    bool done;

    if (fd < 0)
        return -1;
    done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return done ? 0 : -1;
}

static int put_number(const struct lamp *lamp, const char *file, unsigned number)
{
    char text[16];

    snprintf(text, sizeof text, "%u", number);
    return put(lamp, file, text);
}

/* The trigger `timer` makes the files delay_on and delay_off appear; a board without it burns
 * steadily instead. */
static int blink(const struct lamp *lamp, unsigned ms)
{
    if (put(lamp, "trigger", "timer") == 0 && put_number(lamp, "delay_on", ms) == 0 &&
        put_number(lamp, "delay_off", ms) == 0)
        return 0;
    return put(lamp, "brightness", "255");
}

static int steady(const struct lamp *lamp, bool on)
{
    (void)put(lamp, "trigger", "none"); /* an LED without triggers has brightness alone */
    return put(lamp, "brightness", on ? "255" : "0");
}

void lamp_show(struct lamp *lamp, enum lamp_signal signal)
{
    int result;

    if (lamp->folder < 0 || signal == lamp->signal)
        return;
    lamp->signal = signal;
    if (signal == LAMP_BUSY || signal == LAMP_FAULT)
        result = blink(lamp, signal == LAMP_BUSY ? BUSY_MS : FAULT_MS);
    else
        result = steady(lamp, signal == LAMP_READY);
    if (result != 0 && !lamp->failed)
        log_warning("lamp: cannot switch it: %s; let the program write to the LED's files",
                    strerror(errno));
    lamp->failed = result != 0;
}
