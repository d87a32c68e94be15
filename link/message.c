/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/message.h"

#include <string.h>

#include "base/hex.h"

#define SOFTWARE "boda 0.1"

static int bad(struct error *error, const struct frame *frame, const char *what)
{
    return error_set(error, ERROR_CORRUPT, "peer: frame 0x%02x: %s is missing or not of its form",
                     frame->type, what);
}

/* An integer member from 0 to 2^53 - 1, which every JSON reader gets right. */
static int read_number(json_t *object, const char *name, uint64_t *number)
{
    json_t *value = json_object_get(object, name);

    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) >= (json_int_t)1 << 53)
        return -1;
    *number = (uint64_t)json_integer_value(value);
    return 0;
}

static int read_text(json_t *object, const char *name, char *text, size_t size)
{
    json_t *value = json_object_get(object, name);

    if (!json_is_string(value) || json_string_length(value) >= size)
        return -1;
    memcpy(text, json_string_value(value), json_string_length(value) + 1);
    return 0;
}

static int read_id(const json_t *value, unsigned char *id)
{
    return json_is_string(value) ? hex_decode(json_string_value(value), id, BATCH_ID_BYTES) : -1;
}

static json_t *write_id(const unsigned char *id)
{
    char text[BATCH_ID_TEXT_BYTES];

    hex_encode(id, BATCH_ID_BYTES, text);
    return json_string(text);
}

/* ---- HELLO, PULL ---- */

static json_t *write_cursor(const struct cursor *cursor)
{
    return json_pack("{s:I,s:o}", "position", (json_int_t)cursor->position, "id",
                     write_id(cursor->id));
}

static int read_cursor(json_t *object, struct cursor *cursor)
{
    uint64_t position;

    if (!json_is_object(object) || read_number(object, "position", &position) != 0 ||
        read_id(json_object_get(object, "id"), cursor->id) != 0)
        return -1;
    cursor->position = (int64_t)position;
    return 0;
}

int message_hello(struct buffer *out, const struct hello *hello, struct error *error)
{
    uint64_t most = ((uint64_t)1 << 53) - 1;
    json_t *value = json_pack("{s:I,s:s,s:s,s:I,s:I,s:o}", "protocol", (json_int_t)MESSAGE_PROTOCOL,
                              "software", SOFTWARE, "store", hello->store, "free_bytes",
                              (json_int_t)(hello->free_bytes < most ? hello->free_bytes : most),
                              "crl", (json_int_t)(hello->crl < most ? hello->crl : most), "cursor",
                              write_cursor(&hello->cursor));

    return frame_encode_json(out, FRAME_HELLO, value, error);
}

int message_read_hello(const struct frame *frame, struct hello *hello, struct error *error)
{
    json_t *value = frame_json(frame, error), *cursor;
    unsigned char uuid[(STORE_UUID_BYTES - 1) / 2];
    uint64_t protocol;
    int result = -1;

    if (value == NULL)
        return -1;
    memset(hello, 0, sizeof *hello);
    cursor = json_object_get(value, "cursor");
    if (read_number(value, "protocol", &protocol) != 0) {
        bad(error, frame, "protocol");
    } else if (protocol != MESSAGE_PROTOCOL) {
        hello->protocol = (int64_t)protocol;
        result = 0; /* the rest may have another form there */
    } else if (read_text(value, "store", hello->store, sizeof hello->store) != 0 ||
               hex_decode(hello->store, uuid, sizeof uuid) != 0) {
        bad(error, frame, "store");
    } else if (read_number(value, "free_bytes", &hello->free_bytes) != 0 ||
               read_number(value, "crl", &hello->crl) != 0) {
        bad(error, frame, "free_bytes or crl");
    } else if (cursor != NULL && read_cursor(cursor, &hello->cursor) != 0) {
        bad(error, frame, "cursor");
    } else {
        hello->protocol = MESSAGE_PROTOCOL;
        result = 0;
    }
    json_decref(value);
    return result;
}

int message_pull(struct buffer *out, const struct cursor *cursor, struct error *error)
{
    return frame_encode_json(out, FRAME_PULL, json_pack("{s:o}", "cursor", write_cursor(cursor)),
                             error);
}

int message_read_pull(const struct frame *frame, struct cursor *cursor, struct error *error)
{
    json_t *value = frame_json(frame, error);
    int result;

    if (value == NULL)
        return -1;
    result = read_cursor(json_object_get(value, "cursor"), cursor);
    json_decref(value);
    return result == 0 ? 0 : bad(error, frame, "cursor");
}

/* ---- OFFER ---- */

json_t *message_offer(const struct offer *offer)
{
    const struct label *label = &offer->label;

    return json_pack("{s:I,s:I,s:o,s:s,s:s,s:s,s:I,s:I}", "n", (json_int_t)offer->n, "position",
                     (json_int_t)offer->position, "id", write_id(label->id), "from", label->from,
                     "to", label->to, "epoch", label->epoch, "seq", (json_int_t)label->seq, "size",
                     (json_int_t)label->size);
}

int message_offers(struct buffer *out, json_t *offers, bool more, struct error *error)
{
    return frame_encode_json(out, FRAME_OFFER,
                             json_pack("{s:o,s:b}", "offers", offers, "more", more), error);
}

static int read_offer(json_t *value, struct offer *offer)
{
    uint64_t n, position;

    if (!json_is_object(value) || read_number(value, "n", &n) != 0 || n == 0 || n > UINT32_MAX ||
        read_number(value, "position", &position) != 0 || position == 0 ||
        read_id(json_object_get(value, "id"), offer->label.id) != 0 ||
        read_text(value, "from", offer->label.from, sizeof offer->label.from) != 0 ||
        read_text(value, "to", offer->label.to, sizeof offer->label.to) != 0 ||
        read_text(value, "epoch", offer->label.epoch, sizeof offer->label.epoch) != 0 ||
        read_number(value, "seq", &offer->label.seq) != 0 ||
        read_number(value, "size", &offer->label.size) != 0)
        return -1;
    offer->n = (uint32_t)n;
    offer->position = (int64_t)position;
    return label_check(&offer->label, NULL);
}

int message_read_offers(const struct frame *frame, struct offer *offers, size_t *count, bool *more,
                        struct error *error)
{
    json_t *value = frame_json(frame, error), *list, *flag, *item;
    int result = 0;
    size_t i;

    if (value == NULL)
        return -1;
    list = json_object_get(value, "offers");
    flag = json_object_get(value, "more");
    if (!json_is_array(list) || !json_is_boolean(flag)) {
        result = bad(error, frame, "offers or more");
    } else if (json_array_size(list) > MESSAGE_PAGE_LABELS) {
        result = bad(error, frame, "a page of at most 500 offers");
    } else {
        *count = json_array_size(list);
        *more = json_is_true(flag);
        json_array_foreach (list, i, item) {
            if (read_offer(item, &offers[i]) != 0) {
                result = bad(error, frame, "an offer");
                break;
            }
        }
    }
    json_decref(value);
    return result;
}

/* ---- WANT, STORED ---- */

static json_t *list_verdicts(uint32_t first_n, const struct answer *answers, size_t count,
                             enum verdict verdict)
{
    json_t *list = json_array(), *item;

    for (size_t i = 0; i < count && list != NULL; i++) {
        if (answers[i].verdict != verdict)
            continue;
        if (verdict == VERDICT_WANTED)
            item = json_pack("[I,I]", (json_int_t)(first_n + i), (json_int_t)answers[i].offset);
        else
            item = json_integer((json_int_t)(first_n + i));
        if (json_array_append_new(list, item) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

int message_want(struct buffer *out, uint32_t first_n, const struct answer *answers, size_t count,
                 struct error *error)
{
    return frame_encode_json(
        out, FRAME_WANT,
        json_pack("{s:o,s:o,s:o}", "want", list_verdicts(first_n, answers, count, VERDICT_WANTED),
                  "have", list_verdicts(first_n, answers, count, VERDICT_HAVE), "full",
                  list_verdicts(first_n, answers, count, VERDICT_FULL)),
        error);
}

int message_stored(struct buffer *out, uint32_t first_n, const struct answer *answers, size_t count,
                   struct error *error)
{
    return frame_encode_json(
        out, FRAME_STORED,
        json_pack("{s:o,s:o,s:o}", "stored", list_verdicts(first_n, answers, count, VERDICT_STORED),
                  "wrong", list_verdicts(first_n, answers, count, VERDICT_WRONG), "full",
                  list_verdicts(first_n, answers, count, VERDICT_FULL)),
        error);
}

/* The answers under NAME: ascending, within the page, each n once over all lists. */
static int read_verdicts(json_t *object, const char *name, uint32_t first_n, struct answer *answers,
                         size_t count, enum verdict verdict)
{
    json_t *list = json_object_get(object, name), *item;
    json_int_t n, last = 0;
    size_t i;

    if (!json_is_array(list))
        return -1;
    json_array_foreach (list, i, item) {
        json_t *number = verdict == VERDICT_WANTED ? json_array_get(item, 0) : item;
        struct answer *answer;

        if (!json_is_integer(number))
            return -1;
        n = json_integer_value(number);
        if (n <= last || n < first_n || (uint64_t)n - first_n >= count)
            return -1;
        last = n;
        answer = &answers[(size_t)((uint64_t)n - first_n)];
        if (answer->verdict != VERDICT_NONE)
            return -1;
        answer->verdict = verdict;
        if (verdict == VERDICT_WANTED) {
            json_t *offset = json_array_get(item, 1);

            if (json_array_size(item) != 2 || !json_is_integer(offset) ||
                json_integer_value(offset) < 0)
                return -1;
            answer->offset = (uint64_t)json_integer_value(offset);
        }
    }
    return 0;
}

int message_read_want(const struct frame *frame, uint32_t first_n, struct answer *answers,
                      size_t count, struct error *error)
{
    json_t *value = frame_json(frame, error);
    int result;

    if (value == NULL)
        return -1;
    memset(answers, 0, count * sizeof *answers);
    result = read_verdicts(value, "want", first_n, answers, count, VERDICT_WANTED) != 0 ||
             read_verdicts(value, "have", first_n, answers, count, VERDICT_HAVE) != 0 ||
             read_verdicts(value, "full", first_n, answers, count, VERDICT_FULL) != 0;
    json_decref(value);
    for (size_t i = 0; i < count && result == 0; i++)
        result = answers[i].verdict == VERDICT_NONE;
    return result == 0 ? 0 : bad(error, frame, "one answer for each offer");
}

int message_read_stored(const struct frame *frame, uint32_t first_n, struct answer *answers,
                        size_t count, struct error *error)
{
    json_t *value = frame_json(frame, error);
    int result;

    if (value == NULL)
        return -1;
    memset(answers, 0, count * sizeof *answers);
    result = read_verdicts(value, "stored", first_n, answers, count, VERDICT_STORED) != 0 ||
             read_verdicts(value, "wrong", first_n, answers, count, VERDICT_WRONG) != 0 ||
             read_verdicts(value, "full", first_n, answers, count, VERDICT_FULL) != 0;
    json_decref(value);
    return result == 0 ? 0 : bad(error, frame, "stored, wrong or full");
}

/* ---- APPLIED, FREED ---- */

int message_ids(struct buffer *out, uint8_t type, unsigned char (*ids)[BATCH_ID_BYTES],
                size_t count, struct error *error)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count && list != NULL; i++)
        if (json_array_append_new(list, write_id(ids[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return frame_encode_json(out, type, json_pack("{s:o}", "applied", list), error);
}

int message_read_ids(const struct frame *frame, unsigned char (*ids)[BATCH_ID_BYTES], size_t *count,
                     struct error *error)
{
    json_t *value = frame_json(frame, error), *list, *item;
    int result = 0;
    size_t i;

    if (value == NULL)
        return -1;
    list = json_object_get(value, "applied");
    if (!json_is_array(list) || json_array_size(list) > MESSAGE_PAGE_IDS) {
        result = -1;
    } else {
        *count = json_array_size(list);
        json_array_foreach (list, i, item) {
            if (read_id(item, ids[i]) != 0) {
                result = -1;
                break;
            }
        }
    }
    json_decref(value);
    return result == 0 ? 0 : bad(error, frame, "a list of at most 1000 ids");
}

/* ---- BYE, ERROR ---- */

int message_bye(struct buffer *out, struct error *error)
{
    return frame_encode_json(out, FRAME_BYE, json_object(), error);
}

static const struct {
    const char *code;
    enum error_kind kind;
} codes[] = {
    {"corrupt", ERROR_CORRUPT}, {"refused", ERROR_REFUSED}, {"full", ERROR_FULL},
    {"failed", ERROR_FAILED},   {"version", ERROR_FAILED},
};

int message_error(struct buffer *out, const struct error *fault, struct error *error)
{
    const char *code = "failed";
    json_t *value;

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].kind == fault->kind) {
            code = codes[i].code;
            break;
        }
    if (strstr(fault->text, "protocol version") != NULL)
        code = "version";
    value = json_pack("{s:s,s:s}", "code", code, "message", fault->text);
    if (value == NULL) /* the text was cut within a UTF-8 sequence */
        value = json_pack("{s:s,s:s}", "code", code, "message", "its log says more");
    return frame_encode_json(out, FRAME_ERROR, value, error);
}

int message_read_error(const struct frame *frame, const char *title, struct error *error)
{
    json_t *value = frame_json(frame, error);
    const char *code, *message;
    enum error_kind kind = ERROR_FAILED;

    if (value == NULL)
        return -1;
    code = json_string_value(json_object_get(value, "code"));
    message = json_string_value(json_object_get(value, "message"));
    for (size_t i = 0; i < sizeof codes / sizeof codes[0] && code != NULL; i++)
        if (strcmp(codes[i].code, code) == 0)
            kind = codes[i].kind;
    error_set(error, kind, "%s: ended the session: %s", title,
              message != NULL ? message : "it did not say why");
    json_decref(value);
    return -1;
}
