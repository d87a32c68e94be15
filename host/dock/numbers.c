/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/numbers.h"

#include <errno.h>
#include <stdlib.h>

int numbers_read(const char *word, int64_t *number, struct error *error)
{
    char *behind = NULL;

    errno = 0;
    *number = word[0] >= '0' && word[0] <= '9' ? strtoll(word, &behind, 10) : 0;
    if (*number < 1 || errno != 0 || *behind != '\0')
        return error_set(error, ERROR_USAGE, "%s: is not a number as the list shows", word);
    return 0;
}
