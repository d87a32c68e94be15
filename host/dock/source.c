/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/source.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "host/dock/listing.h"

#define PAGE_CHANGES 1000
#define PAGE_BYTES (8u << 20) /* of an answer with so many changes */

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

/* RFC 3986, 2.1; what does not fit into SIZE is cut, and the server will not know it. */
static void encode(char *to, size_t size, const char *text)
{
    size_t used = 0;

    for (; *text != '\0' && used + 4 <= size; text++) {
        if (is_unreserved(*text))
            to[used++] = *text;
        else
            used += (size_t)snprintf(to + used, 4, "%%%02X", (unsigned char)*text);
    }
    to[used] = '\0';
}

/* A listing that is asked for by another selector is another listing. */
static int set_selector(struct source *source, const char *selector, struct error *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[17];

    if (EVP_Digest(selector, strlen(selector), digest, NULL, EVP_sha256(), NULL) != 1)
        return error_set(error, ERROR_FAILED, "selector: no digest from OpenSSL");
    hex_encode(digest, 8, text);
    (void)snprintf(source->label, sizeof source->label, "selector-%s", text);
    return buffer_printf(&source->body, error, "{\"selector\":%s}", selector);
}

int source_open(struct source *source, const char *tablet, const char *db, const char *server_db,
                const char *selector, struct error *error)
{
    (void)snprintf(source->tablet, sizeof source->tablet, "%s", tablet);
    (void)snprintf(source->db, sizeof source->db, "%s", db);
    source->path[0] = '/';
    encode(source->path + 1, sizeof source->path - 1, server_db);
    (void)snprintf(source->label, sizeof source->label, "all");
    return selector == NULL ? 0 : set_selector(source, selector, error);
}

void source_close(struct source *source)
{
    buffer_free(&source->body);
}

int source_ask(struct source *source, struct store *store, char *path,
               struct cht_question *question, struct error *error)
{
    char since[3 * HOLDINGS_SINCE_BYTES];
    bool select = source->body.length > 0;

    if (!source->begun &&
        listing_since(store, source->tablet, source->db, source->label, source->since, error) != 0)
        return -1;
    source->begun = true;
    encode(since, sizeof since, source->since[0] != '\0' ? source->since : "0");
    (void)snprintf(path, SOURCE_PATH_BYTES, "%s/_changes?style=all_docs&limit=%d&since=%s%s",
                   source->path, PAGE_CHANGES, since, select ? "&filter=_selector" : "");
    *question = (struct cht_question){.method = select ? "POST" : "GET",
                                      .path = path,
                                      .body = select ? source->body.data : NULL,
                                      .size = source->body.length,
                                      .most_bytes = PAGE_BYTES};
    return 0;
}

int source_take(struct source *source, struct store *store, const char *body, size_t size,
                bool *more, struct error *error)
{
    return listing_take_changes(store, source->tablet, source->db, source->label, source->since,
                                body, size, more, error);
}
