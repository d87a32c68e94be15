/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 2048

static enum log_level threshold = LOG_LEVEL_INFO;

static const struct {
    const char *name;
    const char *journal_prefix; /* sd-daemon(3) */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", "<3>"},
    [LOG_LEVEL_WARNING] = {"warning", "<4>"},
    [LOG_LEVEL_INFO] = {"info", "<6>"},
    [LOG_LEVEL_DEBUG] = {"debug", "<7>"},
};

int log_set_level(const char *name)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(name, levels[i].name) == 0) {
            threshold = (enum log_level)i;
            return 0;
        }
    return -1;
}

void log_write(enum log_level level, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    int used;

    if (level > threshold)
        return;
    if (getenv("JOURNAL_STREAM") != NULL)
        used = snprintf(line, sizeof line, "%s", levels[level].journal_prefix);
    else
        used = level < LOG_LEVEL_INFO ? snprintf(line, sizeof line, "%s: ", levels[level].name) : 0;
    va_start(arguments, format);
    (void)vsnprintf(line + used, sizeof line - (size_t)used - 1, format, arguments);
    va_end(arguments);
    for (unsigned char *c = (unsigned char *)line; *c != '\0'; c++) {
        if (*c == '\n' || *c == '\t')
            *c = ' ';
        else if (*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    used = (int)strlen(line);
    line[used++] = '\n';
    /* One write a line, so that lines of several threads do not mix; a log that cannot be written
     * must not stop the work. */
    if (write(STDERR_FILENO, line, (size_t)used) < 0)
        return;
}
