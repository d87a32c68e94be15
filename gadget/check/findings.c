/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/check/findings.h"

#include <stdarg.h>

#define LINE_BYTES 2048

static void put(const struct findings *findings, const char *word, const char *format, va_list list)
{
    char line[LINE_BYTES];

    (void)vsnprintf(line, sizeof line, format, list);
    for (char *at = line; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    fprintf(findings->out, "%-8s %s\n", word, line);
}

void findings_ok(struct findings *findings, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    put(findings, "ok", format, list);
    va_end(list);
}

void findings_missing(struct findings *findings, const char *format, ...)
{
    va_list list;

    findings->missing++;
    va_start(list, format);
    put(findings, "missing", format, list);
    va_end(list);
}

void findings_note(struct findings *findings, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    put(findings, "note", format, list);
    va_end(list);
}
