/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/check/config_txt.h"

#include <stdio.h>
#include <string.h>

#define LINE_BYTES 256

struct reading {
    const char *const *filters;
    struct config_txt *config;
    char section[32];
    bool model_fits, condition_holds;
    unsigned number;
};

static bool is_model(const char *name)
{
    return strncmp(name, "pi", 2) == 0 || strncmp(name, "cm", 2) == 0;
}

/* Filters of one kind replace each other, those of several kinds add up, [all] ends both ("Conditional
 * filters"). */
static void enter_section(struct reading *reading, const char *line)
{
    char *name = reading->section;
    char *end;

    (void)snprintf(name, sizeof reading->section, "%s", line + 1);
    end = strchr(name, ']');
    if (end != NULL)
        *end = '\0';
    if (strcmp(name, "all") == 0) {
        reading->model_fits = true;
        reading->condition_holds = true;
    } else if (is_model(name)) {
        reading->model_fits = false;
        for (const char *const *filter = reading->filters; *filter != NULL; filter++)
            if (strcmp(*filter, name) == 0)
                reading->model_fits = true;
    } else {
        reading->condition_holds = false;
    }
}

static void keep(const struct reading *reading, struct config_txt_line *line, const char *text)
{
    line->number = reading->number;
    (void)snprintf(line->text, sizeof line->text, "%s", text);
    (void)snprintf(line->section, sizeof line->section, "%s", reading->section);
}

/* The dr_mode among an overlay's parameters: "dwc2,dr_mode=host,...". */
static void take_mode(char *mode, size_t size, const char *parameters)
{
    const char *at = strstr(parameters, "dr_mode=");
    int length;

    (void)snprintf(mode, size, "otg"); /* as the overlay has it */
    if (at == NULL)
        return;
    at += strlen("dr_mode=");
    length = (int)strcspn(at, ", \t");
    (void)snprintf(mode, size, "%.*s", length, at);
}

/* What stands behind WORD when LINE is an overlay of that name. */
static const char *overlay(const char *line, const char *word)
{
    size_t length = strlen(word);

    if (strncmp(line, "dtoverlay=", 10) != 0 || strncmp(line + 10, word, length) != 0)
        return NULL;
    line += 10 + length;
    return *line == '\0' || *line == ',' || *line == ':' || *line == ' ' ? line : NULL;
}

static void take_line(struct reading *reading, const char *line)
{
    struct config_txt *config = reading->config;
    bool applies = reading->model_fits && reading->condition_holds;
    const char *parameters;

    if (line[0] == '[') {
        enter_section(reading, line);
    } else if (strncmp(line, "include ", 8) == 0) {
        config->includes = true;
    } else if (strncmp(line, "otg_mode=", 9) == 0) {
        if (applies && line[9] == '1')
            keep(reading, &config->otg_mode, line);
        else if (applies)
            config->otg_mode.number = 0;
    } else if ((parameters = overlay(line, "dwc2")) != NULL) {
        keep(reading, applies ? &config->overlay : &config->elsewhere, line);
        if (applies)
            take_mode(config->mode, sizeof config->mode, parameters);
    } else if (applies && overlay(line, "dwc-otg") != NULL) {
        keep(reading, &config->overlay, line);
        (void)snprintf(config->mode, sizeof config->mode, "host");
    }
}

void config_txt_parse(const char *text, size_t size, const char *const *filters,
                      struct config_txt *config)
{
    struct reading reading = {
        .filters = filters, .config = config, .model_fits = true, .condition_holds = true};
    const char *end = text + size;
    char line[LINE_BYTES];

    memset(config, 0, sizeof *config);
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        const char *next = stop != NULL ? stop + 1 : end;

        if (stop == NULL)
            stop = end;
        while (text < stop && (*text == ' ' || *text == '\t'))
            text++;
        while (stop > text && (stop[-1] == ' ' || stop[-1] == '\t' || stop[-1] == '\r'))
            stop--;
        (void)snprintf(line, sizeof line, "%.*s", (int)(stop - text), text);
        reading.number++;
        take_line(&reading, line);
        text = next;
    }
}
