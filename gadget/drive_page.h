/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * STATUS.HTM of the drive: what waits here for whom and since when, who came when, what the last look at the drive brought.
 * No patient data; all that a stranger has named is escaped.
 */
#ifndef BODA_GADGET_DRIVE_PAGE_H
#define BODA_GADGET_DRIVE_PAGE_H

#include "gadget/drive_take.h"

struct drive_page_facts {
    uint64_t waiting,
        shown; /* batches that the store would hand over, and those that are on the drive */
    const struct drive_taken *taken; /* of the last look; NULL: there was none */
};

/* Append the page to PAGE.  The same store and facts give the same page. */
int drive_page_make(struct store *store, const struct drive_page_facts *facts, struct buffer *page,
                    struct error *error);

#endif
