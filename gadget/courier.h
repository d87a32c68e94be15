/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The courier: serves one host after the other, as a cable does.
 */
#ifndef BODA_GADGET_COURIER_H
#define BODA_GADGET_COURIER_H

#include <stdatomic.h>

#include "gadget/lamp.h"
#include "link/visit.h"

struct courier_options {
    const char *listen; /* "unix:PATH" */
    struct store *store;
    const struct identity *identity;
    struct trust *trust;
    struct lamp *lamp;
    const atomic_bool *stop; /* true: end the session cleanly and return */
};

/* 0 when stopped; -1 for what trying again will not mend.  A fault of one visit is logged. */
int courier_run(const struct courier_options *options, struct error *error);

#endif
