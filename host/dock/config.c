/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/config.h"

#include <curl/curl.h>
#include <errno.h>
#include <ini.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "store/store.h"

#define DAY_S (24 * 60 * 60)
#define SELECTOR_FILE_BYTES_MOST 65536u
#define INIH_NAME_BYTES 50 /* inih cuts longer keys (its MAX_NAME) without a word */

struct config_courier {
    char name[STORE_NAME_BYTES];
    const char **tablets; /* ended by NULL */
    size_t count;
};

struct reading {
    struct config *config;
    const char *file;
    char folder[PATH_MAX]; /* of the file */
    FILE *stream;
    int line;
    bool failed; /* *error is filled */
    struct error *error;
};

#define complain(r, ...) ((r)->failed = true, error_set((r)->error, ERROR_USAGE, __VA_ARGS__))

/* ---- values --------------------------------------------------------------------------------- */

typedef int take_value(struct reading *r, const char *key, const char *value);

static int take_text(struct reading *r, char **to, const char *key, const char *text)
{
    if (*to != NULL)
        return complain(r, "%s:%d: %s= is there twice", r->file, r->line, key);
    if (*text == '\0')
        return complain(r, "%s:%d: %s= is empty", r->file, r->line, key);
    *to = strdup(text);
    if (*to == NULL)
        return complain(r, "%s:%d: no memory", r->file, r->line);
    return 0;
}

static int take_path(struct reading *r, char **to, const char *key, const char *path)
{
    char whole[PATH_MAX];
    int length;

    if (*path == '/' || *path == '\0')
        return take_text(r, to, key, path);
    length = snprintf(whole, sizeof whole, "%s/%s", r->folder, path);
    if (length < 0 || (size_t)length >= sizeof whole)
        return complain(r, "%s:%d: %s=: the path is too long", r->file, r->line, key);
    return take_text(r, to, key, whole);
}

struct unit {
    const char *name;
    unsigned long factor;
};

static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit byte_units[] = {{"", 1}, {"KB", 1024}, {"MB", 1048576}, {NULL, 0}};
static const struct unit time_units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {NULL, 0}};

static int take_number(struct reading *r, unsigned long *to, const struct unit *units,
                       unsigned long least, unsigned long most, const char *key, const char *value)
{
    unsigned long number = ULONG_MAX;
    char *behind = NULL;

    errno = 0;
    if (*value >= '0' && *value <= '9')
        number = strtoul(value, &behind, 10);
    if (behind != NULL && errno == 0 && number <= most) {
        while (units->name != NULL && strcmp(units->name, behind) != 0)
            units++;
        if (units->name != NULL && number * units->factor >= least &&
            number * units->factor <= most) {
            *to = number * units->factor;
            return 0;
        }
    }
    return complain(r, "%s:%d: %s=%s: must be a number from %lu to %lu", r->file, r->line, key,
                    value, least, most);
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "[::1]") == 0;
}

static int take_url(struct reading *r, const char *key, const char *value)
{
    char *scheme = NULL, *host = NULL, *part = NULL;
    CURLU *url = curl_url();
    int result = -1;

    if (url == NULL || curl_url_set(url, CURLUPART_URL, value, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)) {
        (void)complain(r, "%s:%d: url= must be like https://host or http://host:port", r->file,
                       r->line);
    } else if (curl_url_get(url, CURLUPART_USER, &part, 0) == CURLUE_OK) {
        (void)complain(r,
                       "%s:%d: url= has a user name in it; passwords go into a file of their "
                       "own, named by users= or account=",
                       r->file, r->line);
    } else if (curl_url_get(url, CURLUPART_QUERY, &part, 0) == CURLUE_OK ||
               curl_url_get(url, CURLUPART_FRAGMENT, &part, 0) == CURLUE_OK) {
        (void)complain(r,
                       "%s:%d: url= has a query or fragment; give the server's address alone, "
                       "the database goes into db=",
                       r->file, r->line);
    } else {
        result = take_text(r, &r->config->url, key, value);
        for (size_t n = result == 0 ? strlen(value) : 0; n > 0 && value[n - 1] == '/'; n--)
            r->config->url[n - 1] = '\0';
        if (result == 0 && strcmp(scheme, "http") == 0 && !is_loopback(host))
            log_warning("%s:%d: url= is http: records and passwords cross the network in the "
                        "clear; use https",
                        r->file, r->line);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(part);
    curl_url_cleanup(url);
    return result;
}

/* ---- keys ----------------------------------------------------------------------------------- */

static int take_deployment(struct reading *r, const char *key, const char *value)
{
    return take_path(r, &r->config->deployment, key, value);
}

static int take_kind(struct reading *r, const char *key, const char *value)
{
    if (strcmp(value, "cht") == 0)
        r->config->kind = CHT_KIND_CHT;
    else if (strcmp(value, "couchdb") == 0)
        r->config->kind = CHT_KIND_COUCHDB;
    else
        return complain(r, "%s:%d: %s=%s: must be cht or couchdb", r->file, r->line, key, value);
    return 0;
}

static int take_db(struct reading *r, const char *key, const char *value)
{
    if (strpbrk(value, "/?#") != NULL)
        return complain(r, "%s:%d: db=%s: must be a database's name, without slashes", r->file,
                        r->line, value);
    return take_text(r, &r->config->db, key, value);
}

static int take_users(struct reading *r, const char *key, const char *value)
{
    if (r->config->users != NULL)
        return complain(r, "%s:%d: %s=: there is a users= or account= already; give one of them",
                        r->file, r->line, key);
    r->config->account = strcmp(key, "account") == 0;
    return take_path(r, &r->config->users, key, value);
}

static int take_ca(struct reading *r, const char *key, const char *value)
{
    return take_path(r, &r->config->ca, key, value);
}

static int take_login(struct reading *r, const char *key, const char *value)
{
    if (strcmp(value, "session") != 0 && strcmp(value, "basic") != 0)
        return complain(r, "%s:%d: %s=%s: must be session or basic", r->file, r->line, key, value);
    r->config->basic = strcmp(value, "basic") == 0;
    return 0;
}

static int take_store(struct reading *r, const char *key, const char *value)
{
    return take_path(r, &r->config->store, key, value);
}

static int take_docs(struct reading *r, const char *key, const char *value)
{
    unsigned long number = 0;

    if (take_number(r, &number, no_units, 1, 10000, key, value) != 0)
        return -1;
    r->config->most_docs = (unsigned)number;
    return 0;
}

static int take_bytes(struct reading *r, const char *key, const char *value)
{
    unsigned long number = 0;

    /* CHT's nginx takes 32 MB; the JSON around the documents needs some of it. */
    if (take_number(r, &number, byte_units, 65536, 30ul << 20, key, value) != 0)
        return -1;
    r->config->most_bytes = number;
    return 0;
}

static int take_parallel(struct reading *r, const char *key, const char *value)
{
    unsigned long number = 0;

    if (take_number(r, &number, no_units, 1, 16, key, value) != 0)
        return -1;
    r->config->parallel = (unsigned)number;
    return 0;
}

static int take_patience(struct reading *r, const char *key, const char *value)
{
    unsigned long number = 0;

    if (take_number(r, &number, time_units, 0, 7 * DAY_S, key, value) != 0)
        return -1;
    r->config->patience_s = (int)number;
    return 0;
}

static int take_fetch(struct reading *r, const char *key, const char *value)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return complain(r, "%s:%d: %s=%s: must be yes or no", r->file, r->line, key, value);
    r->config->fetch = strcmp(value, "yes") == 0;
    return 0;
}

static int take_every(struct reading *r, const char *key, const char *value)
{
    unsigned long number = 0;

    if (take_number(r, &number, time_units, 0, 7 * DAY_S, key, value) != 0)
        return -1;
    r->config->every_s = (int)number;
    return 0;
}

static int take_selector(struct reading *r, const char *key, const char *value)
{
    struct buffer text = {0};
    struct error why;
    char *path = NULL;
    json_t *json = NULL;
    json_error_t words = {.text = "it is not an object"};
    int result = -1;

    if (r->config->selector != NULL)
        return complain(r, "%s:%d: %s= is there twice", r->file, r->line, key);
    if (take_path(r, &path, key, value) != 0)
        return -1;
    if (file_read(path, SELECTOR_FILE_BYTES_MOST, &text, &why) != 0) {
        (void)complain(r, "%s:%d: %s=: %.300s", r->file, r->line, key, why.text);
    } else {
        json = json_loadb((const char *)text.data, text.length, JSON_REJECT_DUPLICATES, &words);
        r->config->selector = json_is_object(json) ? json_dumps(json, JSON_COMPACT) : NULL;
        result = r->config->selector != NULL ? 0
                                             : complain(r,
                                                        "%s:%d: %s=%.200s: must be a Mango "
                                                        "selector, a JSON object: %s",
                                                        r->file, r->line, key, value, words.text);
    }
    json_decref(json);
    buffer_free(&text);
    free(path);
    return result;
}

static const struct key {
    const char *section, *key;
    take_value *take;
} keys[] = {
    {"deployment", "dir", take_deployment},
    {"server", "url", take_url},
    {"server", "kind", take_kind},
    {"server", "db", take_db},
    {"server", "users", take_users},
    {"server", "account", take_users},
    {"server", "ca", take_ca},
    {"server", "login", take_login},
    {"store", "dir", take_store},
    {"replay", "docs", take_docs},
    {"replay", "bytes", take_bytes},
    {"replay", "parallel", take_parallel},
    {"replay", "patience", take_patience},
    {"down", "fetch", take_fetch},
    {"down", "every", take_every},
    {"down", "selector", take_selector},
};

/* ---- couriers ------------------------------------------------------------------------------- */

static int add_tablet(struct reading *r, struct config_courier *courier, const char *tablet)
{
    const char **larger;

    if (strlen(tablet) >= STORE_NAME_BYTES)
        return complain(r, "%s:%d: %s: a station's name has at most %d characters", r->file,
                        r->line, tablet, STORE_NAME_BYTES - 1);
    larger = realloc(courier->tablets, (courier->count + 2) * sizeof *larger);
    if (larger == NULL)
        return complain(r, "%s:%d: no memory", r->file, r->line);
    courier->tablets = larger;
    courier->tablets[courier->count] = strdup(tablet);
    if (courier->tablets[courier->count] == NULL)
        return complain(r, "%s:%d: no memory", r->file, r->line);
    courier->tablets[++courier->count] = NULL;
    return 0;
}

static struct config_courier *find_courier(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->couriers_count; i++)
        if (strcmp(config->couriers[i].name, name) == 0)
            return &config->couriers[i];
    return NULL;
}

/* "NAME=tablet,tablet"; a further line of the same name, or an indented one, goes on with it. */
static int take_courier(struct reading *r, const char *name, const char *value)
{
    struct config *config = r->config;
    struct config_courier *courier = find_courier(config, name), *larger;
    char copy[1024], *rest = copy, *tablet;
    size_t before;

    if (strlen(name) >= INIH_NAME_BYTES - 1 || strlen(value) >= sizeof copy)
        return complain(r, "%s:%d: %s: the courier's name or its list is too long here", r->file,
                        r->line, name);
    if (courier == NULL) {
        larger = realloc(config->couriers, (config->couriers_count + 1) * sizeof *larger);
        if (larger == NULL)
            return complain(r, "%s:%d: no memory", r->file, r->line);
        config->couriers = larger;
        courier = &larger[config->couriers_count++];
        memset(courier, 0, sizeof *courier);
        (void)snprintf(courier->name, sizeof courier->name, "%s", name);
    }
    before = courier->count;
    (void)snprintf(copy, sizeof copy, "%s", value);
    while ((tablet = strtok_r(rest, ", \t", &rest)) != NULL)
        if (add_tablet(r, courier, tablet) != 0)
            return -1;
    if (courier->count == before)
        return complain(r,
                        "%s:%d: %s=: names no tablet; leave the line out to let the courier "
                        "carry all",
                        r->file, r->line, name);
    return 0;
}

/* ---- the file ------------------------------------------------------------------------------- */

static int unknown_key(struct reading *r, const char *section, const char *name)
{
    char known[256] = "";
    size_t used = 0;

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i].section, section) == 0)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
                                     used > 0 ? ", " : "", keys[i].key);
    if (used == 0)
        return complain(r,
                        "%s:%d: [%s] is not a section; there are deployment, server, store, "
                        "couriers, replay, down",
                        r->file, r->line, section);
    return complain(r, "%s:%d: [%s] has no %s=; it has %s", r->file, r->line, section, name, known);
}

static int on_value(void *context, const char *section, const char *name, const char *value)
{
    struct reading *r = context;

    if (r->failed)
        return 0;
    if (strcmp(section, "couriers") == 0)
        return take_courier(r, name, value) == 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].key, name) == 0)
            return keys[i].take(r, name, value) == 0;
    return unknown_key(r, section, name) == 0;
}

/* inih's reader: counts lines, and refuses one that inih would cut in two. */
static char *read_line(char *text, int size, void *context)
{
    struct reading *r = context;
    size_t length;

    if (r->failed || fgets(text, size, r->stream) == NULL)
        return NULL;
    r->line++;
    length = strlen(text);
    if (length + 1 == (size_t)size && text[length - 1] != '\n' && !feof(r->stream)) {
        (void)complain(r,
                       "%s:%d: the line is longer than %d bytes; use a relative path, or go on "
                       "with the list in an indented line",
                       r->file, r->line, size - 3);
        return NULL;
    }
    return text;
}

static int check_whole(struct reading *r)
{
    struct config *config = r->config;

    if (config->deployment == NULL)
        return complain(r, "%s: [deployment] dir= is missing: the folder that boda init made",
                        r->file);
    if (config->url == NULL)
        return complain(r, "%s: [server] url= is missing", r->file);
    if (config->users == NULL)
        return complain(r,
                        "%s: [server] users= or account= is missing: a CSV file with the "
                        "columns username,password",
                        r->file);
    if (config->store == NULL)
        return complain(r, "%s: [store] dir= is missing: the folder for what is on its way",
                        r->file);
    if (config->selector != NULL && config->kind == CHT_KIND_CHT)
        return complain(r,
                        "%s: [down] selector= is for kind=couchdb; CHT chooses by itself what a "
                        "user may see",
                        r->file);
    if (config->kind == CHT_KIND_COUCHDB)
        config->basic = true;
    return config->db != NULL ? 0 : take_text(r, &config->db, "db", "medic");
}

struct config *config_open(const char *file, struct error *error)
{
    struct config *config = calloc(1, sizeof *config);
    struct reading r = {.config = config, .file = file, .error = error};
    char copy[PATH_MAX];
    int line;

    if (config == NULL || strlen(file) >= sizeof r.folder) {
        (void)error_set(error, ERROR_FAILED, "%s: no memory, or the path is too long", file);
        free(config);
        return NULL;
    }
    config->most_docs = 500;
    config->most_bytes = 8u << 20;
    config->parallel = 4;
    config->patience_s = 4 * 60 * 60;
    config->fetch = true;
    config->every_s = 10 * 60;
    (void)snprintf(copy, sizeof copy, "%s", file);
    /* dirname changes its argument, or returns ".". */
    (void)snprintf(r.folder, sizeof r.folder, "%s", dirname(copy));
    r.stream = fopen(file, "re");
    if (r.stream == NULL) {
        (void)error_errno(error, errno, "%s: cannot be opened", file);
        goto fail;
    }
    line = ini_parse_stream(read_line, &r, on_value, &r);
    if (!r.failed && ferror(r.stream))
        (void)complain(&r, "%s: cannot be read", file);
    (void)fclose(r.stream);
    if (!r.failed && line != 0)
        (void)complain(&r, "%s:%d: is neither [section] nor key=value", file, line);
    if (r.failed || check_whole(&r) != 0)
        goto fail;
    return config;

fail:
    config_free(config);
    return NULL;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->couriers_count; i++) {
        for (size_t k = 0; k < config->couriers[i].count; k++)
            free((void *)(uintptr_t)config->couriers[i].tablets[k]);
        free(config->couriers[i].tablets);
    }
    free(config->couriers);
    free(config->deployment);
    free(config->url);
    free(config->db);
    free(config->users);
    free(config->ca);
    free(config->store);
    free(config->selector);
    free(config);
}

const char *const *config_tablets(const struct config *config, const char *courier)
{
    const struct config_courier *found = find_courier(config, courier);

    return found == NULL ? NULL : found->tablets;
}
