/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A tablet whose shelf is filled as the inbox fills it, and requests to its endpoint without HTTP.
 */
#ifndef BODA_TESTS_UNIT_SUPPORT_SHELVED_H
#define BODA_TESTS_UNIT_SUPPORT_SHELVED_H

#include "host/tablet/inbox.h"
#include "host/tablet/routes.h"
#include "tests/unit/support/deployment.h"

struct shelved {
    struct deployment *deployment;
    struct trust *trust;
    char *folder;
    struct store *store;
    struct inbox *inbox;
    struct service service;
    uint64_t seq; /* of the last batch */
    struct error error;
};

/* For cmocka_unit_test_setup_teardown: *STATE is the tablet "t1" of user "chw1". */
int shelved_set_up(void **state);
int shelved_tear_down(void **state);

/* The server's next batch, of KIND for DB, comes with these lines, and is taken in. */
void shelved_receive(struct shelved *s, const char *kind, const char *db, const char *lines);

/* A request with BODY (NULL: none), fed in pieces, and the whole of its answer, which the caller frees.  *STATUS 0: an
 * answer was begun and then failed.  ACCEPT: the header, or NULL. */
char *shelved_ask(struct shelved *s, const char *method, const char *uri, const char *accept,
                  const char *body, unsigned *status, size_t *size);

/* The answer is STATUS and TEXT, or has the text behind '*', or has not that behind '!'. */
void shelved_expect(struct shelved *s, const char *method, const char *uri, const char *body,
                    unsigned status, const char *text);

#endif
