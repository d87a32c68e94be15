/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/label.h"

#include <string.h>

#include "base/hex.h"

#define SEQ_LIMIT (UINT64_C(1) << 53) /* JSON numbers are exact below it */

static bool is_name(const char *name)
{
    size_t length = strnlen(name, STORE_NAME_BYTES);

    if (length == 0 || length == STORE_NAME_BYTES)
        return false;
    return strchr("._-", name[0]) == NULL &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

int label_check(const struct label *label, struct error *error)
{
    char text[BATCH_ID_TEXT_BYTES];
    const char *fault = NULL;

    if (!is_name(label->from))
        fault = "`from` is not a station's name";
    else if (!is_name(label->to))
        fault = "`to` is not a station's name";
    else if (strnlen(label->epoch, STORE_EPOCH_BYTES) != STORE_EPOCH_BYTES - 1 ||
             strspn(label->epoch, "0123456789abcdef") != STORE_EPOCH_BYTES - 1)
        fault = "`epoch` is not 16 hexadecimal digits";
    else if (label->seq >= SEQ_LIMIT)
        fault = "`seq` is too large";
    else if (label->size == 0 || label->size > BATCH_MAX_BYTES)
        fault = "`size` is out of bounds";
    if (fault == NULL)
        return 0;
    hex_encode(label->id, BATCH_ID_BYTES, text);
    return error_set(error, ERROR_FAILED, "batch %s: its label is wrong: %s", text, fault);
}

bool label_same(const struct label *a, const struct label *b)
{
    return strcmp(a->from, b->from) == 0 && strcmp(a->to, b->to) == 0 &&
           strcmp(a->epoch, b->epoch) == 0 && a->seq == b->seq && a->size == b->size;
}
