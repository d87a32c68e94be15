/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/drive_page.h"

#include <stdio.h>
#include <string.h>

#include "store/peers.h"
#include "store/streams.h"

#define ROWS 500 /* most of each table */

static const char HEAD[] =
    "<!DOCTYPE html>\r\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Boda courier</title>\r\n"
    "<style>body{font-family:sans-serif;margin:2em;max-width:50em}table{border-collapse:collapse}"
    "td,th{border:1px solid #999;padding:.2em .6em;text-align:left}</style></head><body>\r\n";
static const char HELP[] =
    "<p>Put batch files (.p7m) into the folder <b>" DRIVE_TAKE_INBOX
    "</b>, alone or with the folders that they are in, then eject the drive. "
    "The courier takes them when it is ejected or unplugged, and shows what it did here at the next plug.</p>\r\n";

struct table {
    struct buffer *page;
    struct error *error;
    unsigned rows;
};

/* TEXT as HTML has it. */
static int add_text(struct buffer *page, const char *text, struct error *error)
{
    int result = 0;

    for (; *text != '\0' && result == 0; text++) {
        if (strchr("<>&\"'", *text) != NULL || (unsigned char)*text < 0x20)
            result = buffer_printf(page, error, "&#%u;",
                                   (unsigned char)*text < 0x20 ? '?' : (unsigned)*text);
        else
            result = buffer_append(page, text, 1, error);
    }
    return result;
}

/* One row, of NULL-terminated CELLS. */
static int add_row(struct table *table, const char *const *cells)
{
    struct buffer *page = table->page;
    struct error *error = table->error;

    if (table->rows++ >= ROWS)
        return 0;
    if (buffer_printf(page, error, "<tr>") != 0)
        return -1;
    for (; *cells != NULL; cells++)
        if (buffer_printf(page, error, "<td>") != 0 || add_text(page, *cells, error) != 0 ||
            buffer_printf(page, error, "</td>") != 0)
            return -1;
    return buffer_printf(page, error, "</tr>\r\n");
}

static int show_stream(const struct stream *stream, void *context)
{
    char waiting[24], missing[24];
    const char *const cells[] = {stream->from,           stream->to, waiting,
                                 stream->oldest_waiting, missing,    NULL};

    if (stream->waiting == 0 && stream->missing == 0)
        return 0;
    snprintf(waiting, sizeof waiting, "%llu", (unsigned long long)stream->waiting);
    snprintf(missing, sizeof missing, "%llu", (unsigned long long)stream->missing);
    return add_row(context, cells);
}

static int show_visit(const struct peer_visit *visit, void *context)
{
    const char *const cells[] = {visit->role, visit->name, visit->last_visit, NULL};

    return add_row(context, cells);
}

static int add_waiting(struct store *store, const struct drive_page_facts *facts,
                       struct table *table)
{
    struct error *error = table->error;

    if (buffer_printf(
            table->page, error,
            "<h2>Waiting</h2>\r\n<p>%llu batches wait, %llu of them are on this drive%s.</p>\r\n",
            (unsigned long long)facts->waiting, (unsigned long long)facts->shown,
            facts->shown < facts->waiting ? ": the oldest ones, as there is no room for more"
                                          : "") != 0 ||
        buffer_printf(
            table->page, error,
            "<table><tr><th>from</th><th>to</th><th>batches</th><th>oldest since</th><th>missing</th></tr>\r\n") !=
            0 ||
        streams_each(store, show_stream, table, error) != 0)
        return -1;
    return buffer_printf(table->page, error, "</table>\r\n");
}

static int add_visits(struct store *store, struct table *table)
{
    table->rows = 0;
    if (buffer_printf(
            table->page, table->error,
            "<h2>Visits</h2>\r\n<table><tr><th>who</th><th>name</th><th>last</th></tr>\r\n") != 0 ||
        peers_each(store, show_visit, table, table->error) != 0)
        return -1;
    return buffer_printf(table->page, table->error, "</table>\r\n");
}

static int add_left(const struct drive_taken *taken, struct buffer *page, struct error *error)
{
    if (taken->left_count == 0)
        return 0;
    if (buffer_printf(page, error, "<p>No batches, kept in " DRIVE_TAKE_LEFT ":</p>\r\n<ul>\r\n") !=
        0)
        return -1;
    for (unsigned i = 0; i < taken->left_count; i++) {
        const char *name = strrchr(taken->left[i], '/');

        if (buffer_printf(page, error, "<li>") != 0 ||
            add_text(page, name != NULL ? name + 1 : "", error) != 0 ||
            buffer_printf(page, error, "</li>\r\n") != 0)
            return -1;
    }
    return buffer_printf(page, error, "</ul>\r\n");
}

static int add_taken(const struct drive_taken *taken, struct buffer *page, struct error *error)
{
    const struct import_counts *counts = &taken->counts;

    if (buffer_printf(
            page, error,
            "<h2>The last time</h2>\r\n<p>%llu batches were taken in, %llu were here already, %llu files were altered, "
            "cut, or no batches.</p>\r\n",
            (unsigned long long)counts->taken, (unsigned long long)counts->had,
            (unsigned long long)counts->wrong) != 0)
        return -1;
    if ((taken->unreadable || taken->incomplete) &&
        buffer_printf(
            page, error, "<p>%s</p>\r\n",
            taken->unreadable
                ? "The drive was damaged, and was made anew."
                : "More was on the drive than can be kept: the drive as it was stays at the "
                  "courier, as drive.damaged, for the administrator.") != 0)
        return -1;
    return add_left(taken, page, error);
}

int drive_page_make(struct store *store, const struct drive_page_facts *facts, struct buffer *page,
                    struct error *error)
{
    struct table table = {.page = page, .error = error};

    if (buffer_append(page, HEAD, sizeof HEAD - 1, error) != 0 ||
        buffer_printf(page, error, "<h1>Boda courier %s</h1>\r\n", store_station(store)) != 0 ||
        buffer_append(page, HELP, sizeof HELP - 1, error) != 0 ||
        add_waiting(store, facts, &table) != 0 || add_visits(store, &table) != 0 ||
        (facts->taken != NULL && add_taken(facts->taken, page, error) != 0))
        return -1;
    return buffer_printf(page, error, "</body></html>\r\n");
}
