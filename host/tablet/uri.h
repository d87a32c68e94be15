/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What a request names: a path, cut at its slashes before it is decoded, so that a name may have %2F, and the
 * parameters of the query.
 */
#ifndef BODA_HOST_TABLET_URI_H
#define BODA_HOST_TABLET_URI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define URI_PARAMS_MOST 24

struct uri {
    char *text; /* the path as it came, and behind its zero the query, decoded in place */
    struct {
        const char *name, *value;
    } params[URI_PARAMS_MOST];
    unsigned params_count;
};

/* RAW as the request line has it, "/a%2Fb/c?x=1".  -1 with ERROR_USAGE when it is malformed: no path, a zero byte, too
 * many parameters.  Freed with uri_free, in any case. */
int uri_read(struct uri *uri, const char *raw, struct error *error);
void uri_free(struct uri *uri);

/* Segment N (0 the first) of the path, decoded, or with REST all that is behind N slashes: 1 found; 0 the path ends
 * before; -1 it has SIZE bytes or more. */
int uri_segment(const struct uri *uri, unsigned n, bool rest, char *out, size_t size);

/* The parameter NAME, the first one of that name; NULL: not there. */
const char *uri_param(const struct uri *uri, const char *name);

/* 0 (*VALUE stays when the parameter is not there), -1 with ERROR_USAGE when it is not true or false; no whole number
 * from 0 on, which is cut to MOST. */
int uri_flag(const struct uri *uri, const char *name, bool *value, struct error *error);
int uri_number(const struct uri *uri, const char *name, int64_t most, int64_t *value,
               struct error *error);

#endif
