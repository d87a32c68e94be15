/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/users.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define FILE_BYTES_MOST (4u << 20)
#define FIELDS_MOST 64 /* columns that are looked at; users.csv has about a dozen */
#define NAME_BYTES 256

struct entry {
    struct cht_user user;
    struct secret password;
    char name[NAME_BYTES];
};

struct users {
    bool account;
    struct entry *entries; /* sorted by name */
    size_t count, capacity;
};

/* What is read so far.  Fields are unquoted in place and ended by a zero. */
struct reading {
    const char *file;
    char *at, *end;
    unsigned long line;   /* of `at` */
    unsigned long record; /* the line that the record begins in */
    char *fields[FIELDS_MOST];
    size_t fields_count;
};

/* A quoted field at reading->at, RFC 4180 section 2, rules 5 to 7: quotes within are doubled. */
static int read_quoted(struct reading *r, struct error *error)
{
    unsigned long began = r->line;
    char *out = ++r->at, *start = out;

    for (;; r->at++) {
        if (r->at == r->end)
            return error_set(error, ERROR_USAGE, "%s:%lu: a quotation mark is not closed", r->file,
                             began);
        if (*r->at == '"') {
            if (r->at + 1 == r->end || r->at[1] != '"')
                break;
            r->at++;
        }
        r->line += *r->at == '\n';
        *out++ = *r->at;
    }
    *r->at++ = '\0'; /* the closing mark; *out may lie ahead of it */
    *out = '\0';
    if (r->at < r->end && *r->at != ',' && *r->at != '\n' && *r->at != '\r')
        return error_set(error, ERROR_USAGE,
                         "%s:%lu: there is text behind a closing quotation mark", r->file, r->line);
    if (r->fields_count < FIELDS_MOST)
        r->fields[r->fields_count++] = start;
    return 0;
}

/* Read one record; the text has one writable byte behind its end.  1, 0 at the end of the file, -1. */
static int read_record(struct reading *r, struct error *error)
{
    char ended;

    r->fields_count = 0;
    while (r->at < r->end && (*r->at == '\n' || *r->at == '\r'))
        r->line += *r->at++ == '\n';
    r->record = r->line;
    if (r->at == r->end)
        return 0;
    do {
        if (r->at < r->end && *r->at == '"') {
            if (read_quoted(r, error) != 0)
                return -1;
        } else {
            if (r->fields_count < FIELDS_MOST)
                r->fields[r->fields_count++] = r->at;
            while (r->at < r->end && *r->at != ',' && *r->at != '\n' && *r->at != '\r')
                r->at++;
        }
        ended = r->at < r->end ? *r->at : '\n';
        *r->at = '\0';
        if (r->at < r->end)
            r->at++;
    } while (ended == ',');
    if (ended == '\r' && r->at < r->end && *r->at == '\n')
        ended = *r->at++;
    r->line += ended == '\n';
    return 1;
}

static int find_column(const struct reading *r, const char *name)
{
    for (size_t i = 0; i < r->fields_count; i++)
        if (strcmp(r->fields[i], name) == 0)
            return (int)i;
    return -1;
}

/* realloc would leave a copy of the passwords behind. */
static int grow(struct users *users)
{
    size_t capacity = users->capacity > 0 ? 2 * users->capacity : 16;
    struct entry *larger = calloc(capacity, sizeof *larger);

    if (larger == NULL)
        return -1;
    if (users->count > 0) {
        memcpy(larger, users->entries, users->count * sizeof *larger);
        explicit_bzero(users->entries, users->count * sizeof *larger);
    }
    free(users->entries);
    users->entries = larger;
    users->capacity = capacity;
    return 0;
}

static int add_entry(struct users *users, const struct reading *r, size_t name_column,
                     size_t password_column, struct error *error)
{
    const char *name, *password;
    struct entry *entry;

    if (r->fields_count <= name_column || r->fields_count <= password_column)
        return error_set(error, ERROR_USAGE, "%s:%lu: the line has fewer columns than the header",
                         r->file, r->record);
    name = r->fields[name_column];
    password = r->fields[password_column];
    if (*name == '\0' || strlen(name) >= NAME_BYTES || strchr(name, ':') != NULL)
        return error_set(error, ERROR_USAGE,
                         "%s:%lu: the user name is empty, too long, or has a colon", r->file,
                         r->record);
    if (*password == '\0' || strlen(password) >= SECRET_BYTES)
        return error_set(error, ERROR_USAGE, "%s:%lu: user %s: the password is empty or too long",
                         r->file, r->record, name);
    if (users->count == users->capacity && grow(users) != 0)
        return error_set(error, ERROR_FAILED, "%s: no memory", r->file);
    entry = &users->entries[users->count++];
    (void)snprintf(entry->name, sizeof entry->name, "%s", name);
    (void)snprintf(entry->password.text, sizeof entry->password.text, "%s", password);
    return 0;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int index_entries(struct users *users, const char *file, struct error *error)
{
    if (users->count == 0)
        return error_set(error, ERROR_USAGE, "%s: names no user", file);
    if (users->account && users->count != 1)
        return error_set(
            error, ERROR_USAGE,
            "%s: an account= file has one user, this one has %zu; did you mean users=?", file,
            users->count);
    qsort(users->entries, users->count, sizeof *users->entries, compare_entries);
    for (size_t i = 0; i < users->count; i++) {
        struct entry *entry = &users->entries[i];

        if (i > 0 && strcmp(entry[-1].name, entry->name) == 0)
            return error_set(error, ERROR_USAGE, "%s: user %s is there twice", file, entry->name);
        entry->user.name = entry->name;
        entry->user.password = &entry->password;
    }
    return 0;
}

static int read_users(struct users *users, struct reading *r, struct error *error)
{
    int name_column, password_column, got;

    if (r->end - r->at >= 3 && memcmp(r->at, "\xef\xbb\xbf", 3) == 0)
        r->at += 3; /* spreadsheets write a byte order mark */
    got = read_record(r, error);
    if (got < 0)
        return -1;
    name_column = find_column(r, "username");
    password_column = find_column(r, "password");
    if (name_column < 0 || password_column < 0)
        return error_set(error, ERROR_USAGE,
                         "%s:1: the header line must name the columns username and password",
                         r->file);
    for (;;) {
        got = read_record(r, error);
        if (got <= 0)
            return got;
        if (add_entry(users, r, (size_t)name_column, (size_t)password_column, error) != 0)
            return -1;
    }
}

struct users *users_open(const char *file, bool account, struct error *error)
{
    struct buffer content = {0};
    struct reading reading = {.file = file, .line = 1};
    struct users *users = calloc(1, sizeof *users);

    if (users == NULL) {
        (void)error_set(error, ERROR_FAILED, "%s: no memory", file);
        return NULL;
    }
    users->account = account;
    if (file_require_private(file, error) != 0 ||
        file_read(file, FILE_BYTES_MOST, &content, error) != 0)
        goto fail;
    if (content.length > 0 && memchr(content.data, '\0', content.length) != NULL) {
        (void)error_set(error, ERROR_USAGE, "%s: has a zero byte; it must be CSV in UTF-8", file);
        goto fail;
    }
    if (buffer_append(&content, "", 1, error) != 0)
        goto fail;
    reading.at = (char *)content.data;
    reading.end = reading.at + content.length - 1;
    if (read_users(users, &reading, error) != 0 || index_entries(users, file, error) != 0)
        goto fail;
    buffer_cleanse(&content);
    return users;

fail:
    buffer_cleanse(&content);
    users_free(users);
    return NULL;
}

void users_free(struct users *users)
{
    if (users == NULL)
        return;
    if (users->entries != NULL)
        explicit_bzero(users->entries, users->count * sizeof *users->entries);
    free(users->entries);
    free(users);
}

const struct cht_user *users_find(const struct users *users, const char *chtuser)
{
    size_t low = 0, high = users->count;

    if (users->account)
        return &users->entries[0].user;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(chtuser, users->entries[middle].name);

        if (order == 0)
            return &users->entries[middle].user;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
