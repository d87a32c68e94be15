/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/usable.h"

int usable_answer(const struct cht_answer *answer, struct error *error)
{
    if (answer->result == CHT_UNAVAILABLE)
        return error_set(error, ERROR_CLOSED, "%s", answer->text);
    if (answer->result == CHT_LOGIN_FAILED || (answer->status >= 400 && answer->status < 500))
        return error_set(error, ERROR_REFUSED, "%s", answer->text);
    if (answer->status != 200 && answer->text[0] != '\0')
        return error_set(error, ERROR_TEMPORARY, "%s", answer->text);
    if (answer->status != 200 || !answer->json)
        return error_set(error, ERROR_TEMPORARY,
                         "the server's answer cannot be used: status %ld, and %s; is something "
                         "else between this dock and the server",
                         answer->status, answer->json ? "JSON" : "no JSON");
    return 0;
}
