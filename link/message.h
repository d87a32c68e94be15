/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The control messages of the exchange (docs/protocol.md, "Frames") as C values: written to frames,
 * read from them with every bound checked.
 */
#ifndef BODA_LINK_MESSAGE_H
#define BODA_LINK_MESSAGE_H

#include "link/frame.h"
#include "store/peers.h"

#define MESSAGE_PROTOCOL 1
#define MESSAGE_PAGE_LABELS 500 /* in an OFFER */
#define MESSAGE_PAGE_IDS 1000   /* in an APPLIED or FREED */
#define MESSAGE_DATA_BYTES 65536
#define MESSAGE_DATA_HEADER_BYTES 12

/* Readers return -1 with ERROR_CORRUPT for what is not of the form that the page gives. */

struct hello {
    int64_t protocol;
    char store[STORE_UUID_BYTES];
    uint64_t free_bytes;
    uint64_t crl;
    struct cursor cursor; /* zeroes when absent */
};
int message_hello(struct buffer *out, const struct hello *hello, struct error *error);
int message_read_hello(const struct frame *frame, struct hello *hello, struct error *error);

struct offer {
    uint32_t n;
    int64_t position;
    struct label label;
};
/* OFFERS: an array made of message_offer values, taken over. */
json_t *message_offer(const struct offer *offer);
int message_offers(struct buffer *out, json_t *offers, bool more, struct error *error);
/* OFFERS has room for MESSAGE_PAGE_LABELS. */
int message_read_offers(const struct frame *frame, struct offer *offers, size_t *count, bool *more,
                        struct error *error);

/* What the receiver says of each offer of a page: in WANT one of WANTED, HAVE, FULL for each; in STORED
 * one of STORED, WRONG, FULL for some. */
enum verdict {
    VERDICT_NONE,
    VERDICT_WANTED,
    VERDICT_HAVE,
    VERDICT_FULL,
    VERDICT_STORED,
    VERDICT_WRONG
};
struct answer {
    enum verdict verdict;
    uint64_t offset; /* with WANTED */
};
/* ANSWERS are those to the offers FIRST_N, FIRST_N + 1, ... */
int message_want(struct buffer *out, uint32_t first_n, const struct answer *answers, size_t count,
                 struct error *error);
int message_read_want(const struct frame *frame, uint32_t first_n, struct answer *answers,
                      size_t count, struct error *error);
int message_stored(struct buffer *out, uint32_t first_n, const struct answer *answers, size_t count,
                   struct error *error);
int message_read_stored(const struct frame *frame, uint32_t first_n, struct answer *answers,
                        size_t count, struct error *error);

int message_pull(struct buffer *out, const struct cursor *cursor, struct error *error);
int message_read_pull(const struct frame *frame, struct cursor *cursor, struct error *error);

/* APPLIED and FREED (TYPE).  IDS has room for MESSAGE_PAGE_IDS. */
int message_ids(struct buffer *out, uint8_t type, unsigned char (*ids)[BATCH_ID_BYTES],
                size_t count, struct error *error);
int message_read_ids(const struct frame *frame, unsigned char (*ids)[BATCH_ID_BYTES], size_t *count,
                     struct error *error);

int message_bye(struct buffer *out, struct error *error);
/* Tell the peer of FAULT, its text without what only this station's operator needs. */
int message_error(struct buffer *out, const struct error *fault, struct error *error);
/* Fills ERROR with what the peer (TITLE) said; always -1. */
int message_read_error(const struct frame *frame, const char *title, struct error *error);

#endif
