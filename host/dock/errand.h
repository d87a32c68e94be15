/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * One tablet's part of a fetch (docs/down.md, 2), step by step as the server answers: what its user may see is
 * listed, what the tablet does not hold is downloaded, and a view is made.
 */
#ifndef BODA_HOST_DOCK_ERRAND_H
#define BODA_HOST_DOCK_ERRAND_H

#include "host/dock/fetch.h"
#include "host/dock/room.h"
#include "store/station.h"

/* Shared by all errands of a run. */
struct errand_shared {
    const struct fetch_options *options;
    struct room room;
    bool uuid_known;
    char uuid[STORE_UUID_BYTES]; /* the server's, "" if it tells none */
};

struct errand;

/* For TABLET, as CREDENTIALS, sealed to RECIPIENT; the latter two are borrowed. */
struct errand *errand_new(struct errand_shared *shared, const struct station *tablet,
                          X509 *recipient, const struct cht_user *credentials, struct error *error);
void errand_free(struct errand *errand); /* only when it is over; NULL is harmless */

/* Go on as far as is possible now.  To be called again and again. */
void errand_advance(struct errand *errand);

/* Go no step further; it is over when the answers under way are here. */
void errand_abandon(struct errand *errand);

bool errand_over(const struct errand *errand);
const char *errand_tablet(const struct errand *errand);
const struct fetch_counts *errand_counts(const struct errand *errand);

/* What went wrong first, NULL if nothing.  ERROR_TEMPORARY and ERROR_REFUSED concern this tablet alone,
 * ERROR_CLOSED: the server is away. */
const struct error *errand_error(const struct errand *errand);

#endif
