/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/shown.h"

#include <string.h>

#include "host/tablet/parts.h"

/* What is left out; in place of an attachment's data goes what a stub has. */
struct shown_cut {
    struct parts_span span;
    bool stub;
    uint64_t length_bytes;
};

struct planning {
    struct shown *shown;
    const struct shown_options *options;
};

static int add_cut(struct shown *shown, const struct shown_cut *cut, struct error *error)
{
    return buffer_append(&shown->cuts, cut, sizeof *cut, error);
}

static int cut_data(const struct parts_attachment *attachment, void *context, struct error *error)
{
    const struct planning *planning = context;
    const struct shown_cut cut = {
        .span = attachment->member, .stub = true, .length_bytes = attachment->length_bytes};

    return planning->options->attachments ? 0 : add_cut(planning->shown, &cut, error);
}

/* _revisions may stand ahead of the attachments or behind them. */
static int place_revisions(struct shown *shown, const struct parts_span *span, struct error *error)
{
    const struct shown_cut cut = {.span = *span};
    struct shown_cut *cuts;
    size_t at;

    if (span->from == span->to)
        return 0;
    if (add_cut(shown, &cut, error) != 0)
        return -1;
    cuts = (struct shown_cut *)(void *)shown->cuts.data;
    for (at = shown->cuts.length / sizeof *cuts - 1; at > 0; at--) {
        if (cuts[at - 1].span.from < span->from)
            break;
        cuts[at] = cuts[at - 1];
    }
    cuts[at] = cut;
    return 0;
}

int shown_begin(struct shown *shown, struct opened *opened, const struct opened_place *place,
                const char *json, const struct shown_options *options, const char *tail,
                struct error *error)
{
    struct planning planning = {shown, options};
    struct parts_span revisions;

    memset(shown, 0, sizeof *shown);
    shown->opened = opened;
    shown->place = *place;
    if (place->size < 2 || json[place->size - 1] != '}')
        return error_set(error, ERROR_FAILED, "shelf: a place without a document");
    if (tail != NULL && buffer_append(&shown->tail, tail, strlen(tail), error) != 0)
        return -1;
    if (options->revs && options->attachments)
        return 0;
    if (parts_read(json, place->size, &revisions, cut_data, &planning, error) != 0)
        return -1;
    return options->revs ? 0 : place_revisions(shown, &revisions, error);
}

/* The bytes up to END, the next cut or the last brace, go out; what stands there is told by the caller. */
static int copy(struct shown *shown, const char *json, size_t end, size_t most, struct buffer *out,
                struct error *error)
{
    size_t size = end - shown->at < most ? end - shown->at : most;

    if (buffer_append(out, json + shown->at, size, error) != 0)
        return -1;
    shown->at += size;
    return 0;
}

static int pass_cut(struct shown *shown, const struct shown_cut *cut, struct buffer *out,
                    struct error *error)
{
    shown->at = cut->span.to;
    shown->cut++;
    if (!cut->stub)
        return 0;
    return buffer_printf(out, error, "\"length\":%llu,\"stub\":true",
                         (unsigned long long)cut->length_bytes);
}

int shown_more(struct shown *shown, const char *held, struct buffer *out, size_t most,
               struct error *error)
{
    const struct shown_cut *cuts = (const struct shown_cut *)(void *)shown->cuts.data;
    size_t cuts_count = shown->cuts.length / sizeof *cuts, last = shown->place.size - 1;
    size_t until = out->length + most;

    if (held == NULL) {
        int result = opened_doc(shown->opened, &shown->place, &held, error);

        if (result == 0)
            error->kind = ERROR_FAILED; /* it could be opened a moment ago */
        if (result != 1)
            return -1;
    }
    while (out->length < until) {
        size_t end = shown->cut < cuts_count ? cuts[shown->cut].span.from : last;

        if (shown->at < end) {
            if (copy(shown, held, end, until - out->length, out, error) != 0)
                return -1;
        } else if (shown->cut < cuts_count) {
            if (pass_cut(shown, &cuts[shown->cut], out, error) != 0)
                return -1;
        } else {
            if ((shown->tail.length > 0 &&
                 buffer_append(out, shown->tail.data, shown->tail.length, error) != 0) ||
                buffer_append(out, held + last, 1, error) != 0)
                return -1;
            return 0;
        }
    }
    return 1;
}

void shown_end(struct shown *shown)
{
    buffer_free(&shown->cuts);
    buffer_free(&shown->tail);
    memset(shown, 0, sizeof *shown);
}
