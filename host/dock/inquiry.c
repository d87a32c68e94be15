/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/inquiry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/dock/diff.h"
#include "host/dock/request.h"

#define DOCS_ENOUGH 2000 /* a question with so many does not wait for more */
#define MEMBERS_MOST 8

struct question {
    struct inquiry *inquiry;
    struct question *next;
    const struct cht_user *user;
    char *path;
    json_t *json;
    struct buffer text;
    size_t docs;
    void *members[MEMBERS_MOST];
    size_t count;
};

struct inquiry {
    struct request_shared *shared;
    inquiry_done *done;
    struct question *first; /* waiting, the oldest first */
};

static void free_question(struct question *question)
{
    if (question == NULL)
        return;
    json_decref(question->json);
    buffer_free(&question->text);
    free(question->path);
    free(question);
}

struct inquiry *inquiry_new(struct request_shared *shared, inquiry_done *done, struct error *error)
{
    struct inquiry *inquiry = calloc(1, sizeof *inquiry);

    if (inquiry == NULL) {
        (void)error_set(error, ERROR_FAILED, "replay: no memory");
        return NULL;
    }
    inquiry->shared = shared;
    inquiry->done = done;
    return inquiry;
}

void inquiry_free(struct inquiry *inquiry)
{
    if (inquiry == NULL)
        return;
    while (inquiry->first != NULL) {
        struct question *question = inquiry->first;

        inquiry->first = question->next;
        free_question(question);
    }
    free(inquiry);
}

static void give_out(struct question *question, const struct cht_answer *answer)
{
    bool good = answer->result == CHT_ANSWERED && answer->status == 200;
    json_t *diff = good ? diff_read(answer->body, answer->size, NULL) : NULL;

    for (size_t i = 0; i < question->count; i++)
        question->inquiry->done(question->members[i], answer, diff, question->count > 1);
    json_decref(diff);
    free_question(question);
}

static void on_answer(const struct cht_answer *answer, void *context)
{
    struct question *question = context;

    question->inquiry->shared->in_flight--;
    give_out(question, answer);
}

static struct question *new_question(struct inquiry *inquiry, const struct cht_user *user,
                                     const char *path)
{
    struct question *question = calloc(1, sizeof *question);

    if (question == NULL || (question->path = strdup(path)) == NULL ||
        (question->json = diff_new()) == NULL) {
        free_question(question);
        return NULL;
    }
    question->inquiry = inquiry;
    question->user = user;
    return question;
}

static bool is_enough(const struct question *question)
{
    return question->docs >= DOCS_ENOUGH || question->count == MEMBERS_MOST;
}

int inquiry_send(struct inquiry *inquiry, bool any, struct error *error)
{
    struct question *question = inquiry->first, **at = &inquiry->first;
    struct cht_answer none = {.result = CHT_UNAVAILABLE, .body = ""};

    while (!any && question != NULL && !is_enough(question)) {
        at = &question->next;
        question = *at;
    }
    if (question == NULL)
        return 0;
    *at = question->next;
    if (diff_write(question->json, &question->text, error) != 0 ||
        cht_submit(inquiry->shared->cht, question->user, "POST", question->path,
                   question->text.data, question->text.length, on_answer, question, error) != 0) {
        (void)snprintf(none.text, sizeof none.text, "%.200s", error->text);
        give_out(question, &none);
        return -1;
    }
    json_decref(question->json);
    question->json = NULL;
    inquiry->shared->requests++;
    inquiry->shared->in_flight++;
    return 1;
}

int inquiry_add(struct inquiry *inquiry, const struct cht_user *user, const char *path,
                const struct parcel *parcel, size_t from, size_t to, void *member,
                struct error *error)
{
    struct question **at = &inquiry->first;

    while (*at != NULL && ((*at)->user != user || is_enough(*at) || strcmp((*at)->path, path) != 0))
        at = &(*at)->next;
    if (*at == NULL && (*at = new_question(inquiry, user, path)) == NULL)
        return error_set(error, ERROR_FAILED, "_revs_diff: no memory");
    if (parcel_ask(parcel, from, to, (*at)->json, error) != 0)
        return -1;
    (*at)->members[(*at)->count++] = member;
    (*at)->docs += parcel_open_items(parcel, from, to);
    return 0;
}

void inquiry_drop(struct inquiry *inquiry)
{
    struct cht_answer none = {.result = CHT_UNAVAILABLE, .body = "", .text = "replay: stopped"};

    while (inquiry->first != NULL) {
        struct question *question = inquiry->first;

        inquiry->first = question->next;
        give_out(question, &none);
    }
}
