/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/dock/slots.h"

#include <curl/curl.h>
#include <stdlib.h>

struct slot {
    struct transfer *transfer;
    struct flight flight;
};

struct slots {
    const char *url;
    CURLM *multi;
    struct slot *all;
    size_t count, busy;
    struct transfer *ended; /* whose result the caller may be using */
};

static int open_all(struct slots *slots, const char *ca_file, unsigned count, struct error *error)
{
    slots->all = calloc(count, sizeof *slots->all);
    if (slots->all == NULL)
        return error_set(error, ERROR_FAILED, "server %s: no memory", slots->url);
    for (; slots->count < count; slots->count++) {
        struct slot *slot = &slots->all[slots->count];

        slot->transfer = transfer_new(slots->url, ca_file, error);
        if (slot->transfer == NULL)
            return -1;
    }
    return 0;
}

struct slots *slots_new(const char *url, const char *ca_file, unsigned count, struct error *error)
{
    struct slots *slots = calloc(1, sizeof *slots);

    if (slots == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        (void)error_set(error, ERROR_FAILED, "server %s: no memory", url);
        free(slots);
        return NULL;
    }
    slots->url = url;
    slots->multi = curl_multi_init();
    if (slots->multi == NULL ||
        curl_multi_setopt(slots->multi, CURLMOPT_MAXCONNECTS, (long)count) != CURLM_OK ||
        curl_multi_setopt(slots->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)count) != CURLM_OK) {
        (void)error_set(error, ERROR_FAILED, "server %s: no memory", url);
        goto fail;
    }
    if (open_all(slots, ca_file, count, error) != 0)
        goto fail;
    return slots;

fail:
    slots_free(slots);
    return NULL;
}

void slots_free(struct slots *slots)
{
    struct flight flight;

    if (slots == NULL)
        return;
    while (slots_cut(slots, &flight))
        jobs_free_one(flight.job);
    for (size_t i = 0; i < slots->count; i++)
        transfer_free(slots->all[i].transfer);
    free(slots->all);
    (void)curl_multi_cleanup(slots->multi);
    free(slots);
}

size_t slots_busy(const struct slots *slots)
{
    return slots->busy;
}

bool slots_full(const struct slots *slots)
{
    return slots->busy == slots->count;
}

int slots_start(struct slots *slots, const struct flight *flight, const struct transfer_ask *ask,
                struct error *error)
{
    struct slot *slot = slots->all;

    while (slot->flight.use != FLIGHT_NONE)
        slot++;
    if (transfer_start(slot->transfer, ask, error) != 0)
        return -1;
    if (curl_easy_setopt(transfer_handle(slot->transfer), CURLOPT_PRIVATE, slot) != CURLE_OK ||
        curl_multi_add_handle(slots->multi, transfer_handle(slot->transfer)) != CURLM_OK)
        return error_set(error, ERROR_FAILED, "server %s: no memory for a request", slots->url);
    slot->flight = *flight;
    slots->busy++;
    return 0;
}

int slots_perform(struct slots *slots, struct error *error)
{
    int running;

    if (curl_multi_perform(slots->multi, &running) != CURLM_OK)
        return error_set(error, ERROR_FAILED, "server %s: no memory", slots->url);
    return 0;
}

int slots_wait(struct slots *slots, int ms, struct error *error)
{
    if (curl_multi_poll(slots->multi, NULL, 0, ms, NULL) != CURLM_OK)
        return error_set(error, ERROR_FAILED, "server %s: cannot wait for it", slots->url);
    return 0;
}

static void leave(struct slots *slots, struct slot *slot, struct flight *flight)
{
    (void)curl_multi_remove_handle(slots->multi, transfer_handle(slot->transfer));
    buffer_cleanse(&slot->flight.body);
    *flight = slot->flight;
    slot->flight = (struct flight){0};
    slots->busy--;
}

bool slots_end(struct slots *slots, struct flight *flight, struct transfer_result *result)
{
    struct slot *slot = NULL;
    CURLMsg *message;
    CURLcode code;
    int left;

    if (slots->ended != NULL)
        transfer_forget(slots->ended);
    slots->ended = NULL;
    while ((message = curl_multi_info_read(slots->multi, &left)) != NULL) {
        code = message->data.result; /* the message is gone with the handle */
        if (message->msg != CURLMSG_DONE ||
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot) != CURLE_OK)
            continue;
        leave(slots, slot, flight);
        transfer_finish(slot->transfer, code, result);
        slots->ended = slot->transfer;
        return true;
    }
    return false;
}

bool slots_cut(struct slots *slots, struct flight *flight)
{
    for (size_t i = 0; i < slots->count; i++)
        if (slots->all[i].flight.use != FLIGHT_NONE) {
            leave(slots, &slots->all[i], flight);
            return true;
        }
    return false;
}
