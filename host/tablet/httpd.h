/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The loopback endpoint: HTTP (libmicrohttpd), who may come in, and CORS (docs/tablet.md).  What is
 * asked and answered is in routes.
 */
#ifndef BODA_HOST_TABLET_HTTPD_H
#define BODA_HOST_TABLET_HTTPD_H

#include "store/identity.h"

struct httpd;

struct httpd_options {
    const char *address;               /* "127.0.0.1:5985" */
    const struct store_options *store; /* opened here: the endpoint has a thread of its own */
    const struct identity *identity;   /* must outlive it */
    const char *const *origins;        /* pages that may call, ends with NULL; may be NULL */
};

/* Open the store and the sockets.  The caller frees it with httpd_free. */
struct httpd *httpd_new(const struct httpd_options *options, struct error *error);
void httpd_free(struct httpd *httpd); /* NULL is harmless */

/* Serve until httpd_stop, which any thread may call. */
int httpd_run(struct httpd *httpd, struct error *error);
void httpd_stop(struct httpd *httpd);

#endif
