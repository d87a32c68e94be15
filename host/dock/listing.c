/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/listing.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pick.h"

#define ENTRY_BYTES_MOST 65536u                      /* of JSON, for one id or change */
#define SINCE_JSON_BYTES (6u * HOLDINGS_SINCE_BYTES) /* an escape takes six bytes */
#define LEAVES_MOST 512u                             /* of one document */
#define LABEL_END ' '

/* ---- values --------------------------------------------------------------------------------- */

static int malformed(struct error *error, const char *what)
{
    return error_set(error, ERROR_TEMPORARY, "the server's answer cannot be used: %s", what);
}

static bool is_rev(const json_t *value)
{
    const char *text = json_string_value(value);

    return text != NULL && json_string_length(value) == strlen(text) &&
           strlen(text) < DOC_REV_BYTES && *text >= '0' && *text <= '9';
}

/* 1 a document's id; 0 one that is too long to be carried; -1 none. */
static int check_id(const json_t *value)
{
    const char *text = json_string_value(value);

    if (text == NULL || *text == '\0' || json_string_length(value) != strlen(text))
        return -1;
    if (strlen(text) < DOC_ID_BYTES)
        return 1;
    log_warning("server: lists a document whose id has %zu bytes; it is left out, as ids have at "
                "most %d here",
                strlen(text), DOC_ID_BYTES - 1);
    return 0;
}

static json_t *load(const char *json, size_t size)
{
    return json_loadb(json, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
}

/* A sequence as text: CouchDB has strings, PouchDB's servers numbers.  -1: it is neither. */
static int read_sequence(const char *json, size_t size, char text[HOLDINGS_SINCE_BYTES])
{
    json_t *value = load(json, size);
    int length = -1;

    if (json_is_string(value) && json_string_length(value) == strlen(json_string_value(value)))
        length = snprintf(text, HOLDINGS_SINCE_BYTES, "%s", json_string_value(value));
    else if (json_is_integer(value) && json_integer_value(value) >= 0)
        length = snprintf(text, HOLDINGS_SINCE_BYTES, "%" JSON_INTEGER_FORMAT,
                          json_integer_value(value));
    json_decref(value);
    return length > 0 && length < HOLDINGS_SINCE_BYTES ? 0 : -1;
}

static uint64_t number_of(const char *sequence)
{
    return *sequence >= '0' && *sequence <= '9' ? strtoull(sequence, NULL, 10) : 0;
}

/* Read BODY by PLACES; the first COUNT of NEEDED must be there. */
static int read_body(const char *body, size_t size, const struct pick_place *places, unsigned count,
                     unsigned needed, pick_receive *receive, void *context, struct error *error)
{
    struct pick *pick = pick_new(places, count, receive, context, error);
    struct error why = {0};
    char text[128];
    int result = 0;

    if (pick == NULL)
        return -1;
    if (pick_feed(pick, body, size, &why) != 0 || pick_end(pick, &why) != 0) {
        if (pick_fault(pick) == PICK_MALFORMED)
            (void)malformed(error, why.text);
        else if (error != NULL)
            *error = why;
        result = -1;
    }
    for (unsigned i = 0; i < needed && result == 0; i++)
        if (!pick_seen(pick, i)) {
            (void)snprintf(text, sizeof text, "it has no %.*s", (int)strcspn(places[i].path, "[."),
                           places[i].path);
            result = malformed(error, text);
        }
    pick_free(pick);
    return result;
}

/* ---- get-ids -------------------------------------------------------------------------------- */

struct ids {
    struct store *store;
    uint64_t at;
};

static int on_ids(unsigned place, const char *json, size_t size, void *context, struct error *error)
{
    struct ids *ids = context;
    char sequence[HOLDINGS_SINCE_BYTES];
    json_t *value;
    int id, result = 0;

    if (place == 1) {
        if (read_sequence(json, size, sequence) == 0)
            ids->at = number_of(sequence);
        return 0;
    }
    value = load(json, size);
    id = check_id(json_object_get(value, "id"));
    if (id < 0 || !is_rev(json_object_get(value, "rev")))
        result = malformed(error, "an element of doc_ids_revs has not id and rev");
    else if (id == 1)
        result = holdings_list(ids->store, json_string_value(json_object_get(value, "id")),
                               json_string_value(json_object_get(value, "rev")), error);
    json_decref(value);
    return result;
}

int listing_take_ids(struct store *store, const char *tablet, const char *db, const char *body,
                     size_t size, uint64_t *at, struct error *error)
{
    static const struct pick_place places[] = {{"doc_ids_revs[]", ENTRY_BYTES_MOST},
                                               {"last_seq", SINCE_JSON_BYTES}};
    struct ids ids = {.store = store};

    if (holdings_list_begin(store, error) != 0 ||
        read_body(body, size, places, 2, 1, on_ids, &ids, error) != 0)
        return -1;
    *at = ids.at;
    return holdings_listed_all(store, tablet, db, NULL, error);
}

/* ---- _changes ------------------------------------------------------------------------------- */

struct changes {
    struct store *store;
    const char *tablet, *db;
    bool use; /* false: only look whether all is well-formed */
    size_t count;
    char last[HOLDINGS_SINCE_BYTES];
    json_int_t pending; /* -1: not told */
};

static int take_change(struct changes *c, const json_t *change, struct error *error)
{
    const json_t *leaves = json_object_get(change, "changes"), *leaf;
    const char *revs[LEAVES_MOST];
    size_t at, count = json_array_size(leaves);
    int id = check_id(json_object_get(change, "id"));

    if (id < 0 || count == 0 || count > LEAVES_MOST)
        return malformed(error, "a change has not id and changes");
    json_array_foreach (leaves, at, leaf) {
        if (!is_rev(json_object_get(leaf, "rev")))
            return malformed(error, "a change has a revision that is none");
        revs[at] = json_string_value(json_object_get(leaf, "rev"));
    }
    if (!c->use || id == 0)
        return 0;
    return holdings_list_leaves(c->store, c->tablet, c->db,
                                json_string_value(json_object_get(change, "id")), revs, count,
                                error);
}

static int on_changes(unsigned place, const char *json, size_t size, void *context,
                      struct error *error)
{
    struct changes *c = context;
    json_t *value;
    int result = 0;

    if (place == 1)
        return read_sequence(json, size, c->last) == 0
                   ? 0
                   : malformed(error, "its last_seq is no sequence");
    value = load(json, size);
    if (place == 2) {
        c->pending = json_is_integer(value) ? json_integer_value(value) : -1;
    } else {
        c->count++;
        result = take_change(c, value, error);
    }
    json_decref(value);
    return result;
}

static int read_changes(struct changes *c, const char *body, size_t size, struct error *error)
{
    static const struct pick_place places[] = {
        {"results[]", ENTRY_BYTES_MOST}, {"last_seq", SINCE_JSON_BYTES}, {"pending", 64}};

    c->count = 0;
    c->pending = -1;
    return read_body(body, size, places, 3, 2, on_changes, c, error);
}

static int write_since(struct store *store, const char *tablet, const char *db, const char *label,
                       const char *since, struct error *error)
{
    struct listing listing;
    int length;

    if (holdings_listing(store, tablet, db, &listing, error) != 0)
        return -1;
    length = snprintf(listing.since, sizeof listing.since, "%s%c%s", label, LABEL_END, since);
    if (length < 0 || (size_t)length >= sizeof listing.since)
        return malformed(error, "its last_seq is too long");
    return holdings_set_listing(store, tablet, db, &listing, error);
}

/* First the rows go: after a kill in between, what is kept of the sequence is again not what it should be. */
static int empty(struct store *store, const char *tablet, const char *db, struct error *error)
{
    struct listing listing;

    if (holdings_list_begin(store, error) != 0 ||
        holdings_listed_all(store, tablet, db, NULL, error) != 0 || store_begin(store, error) != 0)
        return -1;
    if (holdings_listing(store, tablet, db, &listing, error) != 0)
        goto fail;
    listing.since[0] = '\0';
    if (holdings_set_listing(store, tablet, db, &listing, error) != 0)
        goto fail;
    return store_commit(store, error);

fail:
    store_rollback(store);
    return -1;
}

int listing_take_changes(struct store *store, const char *tablet, const char *db, const char *label,
                         char since[HOLDINGS_SINCE_BYTES], const char *body, size_t size,
                         bool *more, struct error *error)
{
    struct changes c = {.store = store, .tablet = tablet, .db = db};

    *more = true;
    if (read_changes(&c, body, size, error) != 0)
        return -1;
    if (number_of(c.last) < number_of(since)) {
        log_info("tablet %s: database %s is not at the server what it was; it is listed anew",
                 tablet, db);
        since[0] = '\0';
        return empty(store, tablet, db, error);
    }
    *more = c.count > 0 && c.pending != 0;
    if (c.count == 0 && strcmp(c.last, since) == 0)
        return 0;
    if (store_begin(store, error) != 0)
        return -1;
    c.use = true;
    if (read_changes(&c, body, size, error) != 0 ||
        write_since(store, tablet, db, label, c.last, error) != 0) {
        store_rollback(store);
        return -1;
    }
    memcpy(since, c.last, sizeof c.last);
    return store_commit(store, error);
}

int listing_since(struct store *store, const char *tablet, const char *db, const char *label,
                  char since[HOLDINGS_SINCE_BYTES], struct error *error)
{
    struct listing listing;
    size_t length = strlen(label);

    if (holdings_listing(store, tablet, db, &listing, error) != 0)
        return -1;
    since[0] = '\0';
    if (listing.since[0] == '\0')
        return 0;
    if (strncmp(listing.since, label, length) == 0 && listing.since[length] == LABEL_END) {
        (void)snprintf(since, HOLDINGS_SINCE_BYTES, "%s", listing.since + length + 1);
        return 0;
    }
    log_info("tablet %s: database %s is asked for in another way than before; it is listed anew",
             tablet, db);
    return empty(store, tablet, db, error);
}

/* ---- get-deletes ---------------------------------------------------------------------------- */

struct deletes {
    int (*show)(const char *id, void *context, struct error *error);
    void *context;
};

static int on_deletes(unsigned place, const char *json, size_t size, void *context,
                      struct error *error)
{
    const struct deletes *deletes = context;
    json_t *value = load(json, size);
    int id = check_id(value), result = 0;

    (void)place;
    if (id < 0)
        result = malformed(error, "an element of doc_ids is no id");
    else if (id == 1)
        result = deletes->show(json_string_value(value), deletes->context, error);
    json_decref(value);
    return result;
}

int listing_take_deletes(const char *body, size_t size,
                         int (*show)(const char *id, void *context, struct error *error),
                         void *context, struct error *error)
{
    static const struct pick_place places[] = {{"doc_ids[]", ENTRY_BYTES_MOST}};
    struct deletes deletes = {show, context};

    return read_body(body, size, places, 1, 1, on_deletes, &deletes, error);
}
