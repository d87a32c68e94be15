/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/uri.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

static int read_params(struct uri *uri, char *query, struct error *error)
{
    char *next = query, *param, *value;

    while ((param = strsep(&next, "&")) != NULL) {
        if (*param == '\0')
            continue;
        if (uri->params_count == URI_PARAMS_MOST)
            return error_set(error, ERROR_USAGE, "the query has more than %d parameters",
                             URI_PARAMS_MOST);
        for (char *plus = param; (plus = strchr(plus, '+')) != NULL;)
            *plus = ' ';
        value = param + strcspn(param, "=");
        if (*value == '=')
            *value++ = '\0';
        (void)MHD_http_unescape(param);
        (void)MHD_http_unescape(value);
        uri->params[uri->params_count].name = param;
        uri->params[uri->params_count++].value = value;
    }
    return 0;
}

int uri_read(struct uri *uri, const char *raw, struct error *error)
{
    char *query;

    memset(uri, 0, sizeof *uri);
    if (raw[0] != '/' || strstr(raw, "%00") != NULL)
        return error_set(error, ERROR_USAGE, "the path is malformed");
    uri->text = strdup(raw);
    if (uri->text == NULL)
        return error_set(error, ERROR_FAILED, "http: no memory");
    query = strchr(uri->text, '?');
    if (query == NULL)
        return 0;
    *query = '\0';
    return read_params(uri, query + 1, error);
}

void uri_free(struct uri *uri)
{
    free(uri->text);
    memset(uri, 0, sizeof *uri);
}

int uri_segment(const struct uri *uri, unsigned n, bool rest, char *out, size_t size)
{
    const char *at = uri->text;
    size_t length;
    char *text;

    for (; at != NULL && n > 0; n--)
        at = strchr(at + 1, '/');
    if (at == NULL || at[1] == '\0')
        return 0;
    at++;
    text = rest ? strdup(at) : strndup(at, strcspn(at, "/"));
    if (text == NULL)
        return -1;
    length = MHD_http_unescape(text);
    if (length < size)
        memcpy(out, text, length + 1);
    free(text);
    return length < size ? 1 : -1;
}

const char *uri_param(const struct uri *uri, const char *name)
{
    for (unsigned i = 0; i < uri->params_count; i++)
        if (strcmp(uri->params[i].name, name) == 0)
            return uri->params[i].value;
    return NULL;
}

int uri_flag(const struct uri *uri, const char *name, bool *value, struct error *error)
{
    const char *text = uri_param(uri, name);

    if (text == NULL)
        return 0;
    *value = strcmp(text, "true") == 0;
    if (*value || strcmp(text, "false") == 0)
        return 0;
    return error_set(error, ERROR_USAGE, "`%s` must be true or false", name);
}

int uri_number(const struct uri *uri, const char *name, int64_t most, int64_t *value,
               struct error *error)
{
    const char *text = uri_param(uri, name);
    unsigned long long number;

    if (text == NULL)
        return 0;
    if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text))
        return error_set(error, ERROR_USAGE, "`%s` must be a whole number, 0 or more", name);
    number = strtoull(text, NULL, 10); /* ULLONG_MAX for one that is larger */
    *value = number > (unsigned long long)most ? most : (int64_t)number;
    return 0;
}
