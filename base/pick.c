/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/pick.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "base/buffer.h"

#define STEPS_MOST 8
#define KEPT_IDLE_BYTES (4u << 20) /* more than this is given back behind a value */

struct step {
    const char *name; /* NULL: each element of an array */
    size_t length;
};

/* A place, and how far the containers that are open now lead to it. */
struct track {
    const struct pick_place *place;
    struct step steps[STEPS_MOST];
    unsigned count; /* steps */
    unsigned at;    /* the open containers are its first AT steps: while it equals depth - 1 */
    unsigned had;   /* bit N: the member of step N was there */
    bool armed;     /* the next value is that of step AT */
    bool open;      /* within its value, */
    unsigned depth; /* which is a container at this depth */
    size_t start;   /* of its value, within `kept` */
    bool seen;
};

struct pick {
    struct track tracks[PICK_PLACES_MOST];
    unsigned count;
    pick_receive *receive;
    void *context;
    yajl_handle parser;
    struct buffer kept; /* the bytes of the outermost value in hand */
    bool keeping;       /* and they go on in the present chunk, */
    const char *chunk;
    size_t from; /* here */
    unsigned depth;
    bool over;
    enum pick_fault fault;
    struct error error; /* filled when a callback stops the parser */
};

/* yajl's callbacks, and what they call, return 1 to go on and 0 to stop. */
static int refuse(struct pick *pick, const char *what, const char *why)
{
    pick->fault = PICK_MALFORMED;
    (void)error_set(&pick->error, ERROR_CORRUPT, "%s%s", what, why);
    return 0;
}

static int refuse_step(struct pick *pick, const struct step *step, const char *why)
{
    char name[64] = "an element";

    if (step->name != NULL)
        (void)snprintf(name, sizeof name, "`%.*s`", (int)step->length, step->name);
    return refuse(pick, name, why);
}

static bool is_picked(const struct pick *pick, const struct track *track)
{
    return track->open || (track->armed && track->count == pick->depth);
}

/* ---- the bytes of values ---- */

/* Outside of strings a raw line break is white space; inside, JSON does not allow it. */
static void flatten(unsigned char *bytes, size_t size, char unwanted)
{
    unsigned char *at = bytes, *end = bytes + size;

    while ((at = memchr(at, unwanted, (size_t)(end - at))) != NULL)
        *at++ = ' ';
}

static bool is_between(unsigned char byte)
{
    return byte == ' ' || byte == '\t' || byte == ',' || byte == ':';
}

/* What comes ahead of a value is kept, too, as its first byte is only told of behind it. */
static int trim(struct pick *pick, struct track *track)
{
    const struct buffer *kept = &pick->kept;

    while (track->armed && track->start < kept->length && is_between(kept->data[track->start]))
        track->start++;
    if (kept->length - track->start <= track->place->most_bytes)
        return 1;
    return refuse(pick, track->place->path, " is too large");
}

/* The present chunk up to END goes behind what is kept. */
static int keep(struct pick *pick, size_t end)
{
    size_t size = end - pick->from, before = pick->kept.length;
    bool idle = true;

    if (buffer_append(&pick->kept, pick->chunk + pick->from, size, &pick->error) != 0) {
        pick->fault = PICK_RECEIVER;
        return 0;
    }
    if (size > 0) {
        flatten(pick->kept.data + before, size, '\n');
        flatten(pick->kept.data + before, size, '\r');
    }
    pick->from = end;
    for (unsigned i = 0; i < pick->count; i++) {
        struct track *track = &pick->tracks[i];

        if (is_picked(pick, track) && !trim(pick, track))
            return 0;
        idle = idle && (!is_picked(pick, track) || track->start == pick->kept.length);
    }
    /* White space without end ahead of a value costs nothing. */
    if (idle) {
        for (unsigned i = 0; i < pick->count; i++)
            pick->tracks[i].start = 0;
        pick->kept.length = 0;
    }
    return 1;
}

static int begin_keeping(struct pick *pick, struct track *track)
{
    size_t here = yajl_get_bytes_consumed(pick->parser);

    if (pick->keeping && !keep(pick, here))
        return 0;
    if (!pick->keeping)
        pick->kept.length = 0;
    pick->keeping = true;
    pick->from = here;
    track->start = pick->kept.length;
    return 1;
}

static void end_keeping(struct pick *pick)
{
    for (unsigned i = 0; i < pick->count; i++)
        if (is_picked(pick, &pick->tracks[i]))
            return;
    pick->keeping = false;
    pick->kept.length = 0;
    if (pick->kept.capacity > KEPT_IDLE_BYTES)
        buffer_cleanse(&pick->kept);
}

/* The value is here as a whole. */
static int deliver(struct pick *pick, struct track *track)
{
    size_t size;
    int result;

    if (!keep(pick, yajl_get_bytes_consumed(pick->parser)))
        return 0;
    track->armed = false;
    track->open = false;
    size = pick->kept.length - track->start;
    pick->fault = PICK_RECEIVER;
    if (buffer_append(&pick->kept, "\n", 1, &pick->error) != 0)
        return 0;
    result = pick->receive((unsigned)(track - pick->tracks),
                           (const char *)pick->kept.data + track->start, size, pick->context,
                           &pick->error);
    pick->kept.length--;
    return result == 0;
}

/* ---- where the parser is ---- */

static bool leads_on(const struct pick *pick, const struct track *track)
{
    return pick->depth > 0 && track->at == pick->depth - 1;
}

static int arm(struct pick *pick, struct track *track)
{
    if (track->count == pick->depth) {
        track->seen = true;
        if (!begin_keeping(pick, track))
            return 0;
    }
    track->armed = true;
    return 1;
}

/* Behind [ or an element: another one may come. */
static int expect_element(struct pick *pick)
{
    for (unsigned i = 0; i < pick->count; i++) {
        struct track *track = &pick->tracks[i];

        if (leads_on(pick, track) && track->steps[track->at].name == NULL && !arm(pick, track))
            return 0;
    }
    return 1;
}

static int on_key(void *context, const unsigned char *key, size_t size)
{
    struct pick *pick = context;

    for (unsigned i = 0; i < pick->count; i++) {
        struct track *track = &pick->tracks[i];
        const struct step *step = &track->steps[track->at];

        if (!leads_on(pick, track) || step->name == NULL || step->length != size ||
            memcmp(step->name, key, size) != 0)
            continue;
        if ((track->had & 1u << track->at) != 0)
            return refuse_step(pick, step, " is there twice");
        track->had |= 1u << track->at;
        if (!arm(pick, track))
            return 0;
    }
    return 1;
}

static int scalar(struct pick *pick)
{
    if (pick->depth == 0)
        return refuse(pick, "the text", " must be a JSON object");
    for (unsigned i = 0; i < pick->count; i++) {
        struct track *track = &pick->tracks[i];

        if (!track->armed)
            continue;
        if (track->count > pick->depth)
            return refuse_step(pick, &track->steps[track->at],
                               track->steps[track->at + 1].name == NULL ? " must be an array"
                                                                        : " must be an object");
        if (!deliver(pick, track))
            return 0;
    }
    if (pick->keeping)
        end_keeping(pick);
    return expect_element(pick);
}

static int open_container(struct pick *pick, bool map)
{
    if (pick->depth == 0 && !map)
        return refuse(pick, "the text", " must be a JSON object");
    if (pick->depth == PICK_DEPTH_MOST)
        return refuse(pick, "the text", " is nested too deep");
    for (unsigned i = 0; i < pick->count; i++) {
        struct track *track = &pick->tracks[i];

        if (!track->armed)
            continue;
        if (track->count == pick->depth) {
            if (!keep(pick, yajl_get_bytes_consumed(pick->parser)))
                return 0;
            track->armed = false;
            track->open = true;
            track->depth = pick->depth;
            continue;
        }
        if ((track->steps[track->at + 1].name != NULL) != map)
            return refuse_step(pick, &track->steps[track->at],
                               map ? " must be an array" : " must be an object");
        track->armed = false;
        track->at++;
        track->had &= ~(1u << track->at);
    }
    pick->depth++;
    return map ? 1 : expect_element(pick);
}

static int on_end(void *context)
{
    struct pick *pick = context;

    for (unsigned i = 0; i < pick->count; i++) {
        struct track *track = &pick->tracks[i];

        track->armed = false;
        if (leads_on(pick, track) && track->at > 0)
            track->at--;
    }
    pick->depth--;
    pick->over = pick->depth == 0;
    for (unsigned i = 0; i < pick->count; i++) {
        struct track *track = &pick->tracks[i];

        if (track->open && track->depth == pick->depth && !deliver(pick, track))
            return 0;
    }
    if (pick->keeping)
        end_keeping(pick);
    return expect_element(pick);
}

/* ---- yajl's callbacks ---- */

static int on_null(void *context)
{
    return scalar(context);
}

static int on_boolean(void *context, int value)
{
    (void)value;
    return scalar(context);
}

static int on_number(void *context, const char *text, size_t size)
{
    (void)text;
    (void)size;
    return scalar(context);
}

static int on_string(void *context, const unsigned char *text, size_t size)
{
    (void)text;
    (void)size;
    return scalar(context);
}

static int on_start_map(void *context)
{
    return open_container(context, true);
}

static int on_start_array(void *context)
{
    return open_container(context, false);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end,
};

/* ---- the text ---- */

static int read_path(struct track *track, const struct pick_place *place)
{
    const char *at = place->path;

    track->place = place;
    while (*at != '\0' && track->count < STEPS_MOST) {
        struct step *step = &track->steps[track->count++];

        if (at[0] == '[' && at[1] == ']' && track->count > 1) {
            at += 2;
        } else {
            step->name = at;
            step->length = strcspn(at, ".[");
            if (step->length == 0)
                return -1;
            at += step->length;
        }
        if (at[0] == '.' && at[1] != '\0')
            at++;
    }
    return *at == '\0' && track->count > 0 ? 0 : -1;
}

struct pick *pick_new(const struct pick_place *places, unsigned count, pick_receive *receive,
                      void *context, struct error *error)
{
    struct pick *pick = calloc(1, sizeof *pick);

    if (pick != NULL)
        pick->parser = yajl_alloc(&callbacks, NULL, pick);
    if (pick == NULL || pick->parser == NULL) {
        free(pick);
        (void)error_set(error, ERROR_FAILED, "JSON: no memory to read it");
        return NULL;
    }
    /* Whoever reads the values checks their UTF-8. */
    (void)yajl_config(pick->parser, yajl_dont_validate_strings, 1);
    pick->receive = receive;
    pick->context = context;
    for (; pick->count < count && pick->count < PICK_PLACES_MOST; pick->count++)
        if (read_path(&pick->tracks[pick->count], &places[pick->count]) != 0)
            break;
    if (pick->count == count)
        return pick;
    (void)error_set(error, ERROR_FAILED, "JSON: a place that cannot be read");
    pick_free(pick);
    return NULL;
}

void pick_free(struct pick *pick)
{
    if (pick == NULL)
        return;
    yajl_free(pick->parser);
    buffer_cleanse(&pick->kept);
    free(pick);
}

static int finish(struct pick *pick, yajl_status status, struct error *error)
{
    if (status == yajl_status_ok)
        return 0;
    if (status == yajl_status_error)
        (void)refuse(pick, "invalid UTF-8 JSON", "");
    if (error != NULL)
        *error = pick->error;
    return -1;
}

int pick_feed(struct pick *pick, const void *bytes, size_t size, struct error *error)
{
    yajl_status status;

    pick->chunk = bytes;
    pick->from = 0;
    status = yajl_parse(pick->parser, bytes, size);
    if (status == yajl_status_ok && pick->keeping && !keep(pick, size))
        status = yajl_status_client_canceled;
    return finish(pick, status, error);
}

int pick_end(struct pick *pick, struct error *error)
{
    yajl_status status = yajl_complete_parse(pick->parser);

    if (status == yajl_status_ok && !pick->over)
        status = yajl_status_error;
    return finish(pick, status, error);
}

bool pick_seen(const struct pick *pick, unsigned place)
{
    return pick->tracks[place].seen;
}

enum pick_fault pick_fault(const struct pick *pick)
{
    return pick->fault;
}
