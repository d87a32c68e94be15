/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What config.txt, the file that a Raspberry Pi's firmware reads at its start, says of the USB port
 * (raspberrypi.com/documentation/computers/config_txt.html).
 */
#ifndef BODA_GADGET_CONFIG_TXT_H
#define BODA_GADGET_CONFIG_TXT_H

#include <stdbool.h>
#include <stddef.h>

struct config_txt_line {
    unsigned number; /* from 1; 0: there is none */
    char text[64];
    char section[32]; /* "" before the first one */
};

struct config_txt {
    struct config_txt_line overlay; /* the last dtoverlay=dwc2 (or dwc-otg) that this model reads */
    char mode[16];                  /* its dr_mode; "otg" without one, "host" for dwc-otg */
    struct config_txt_line elsewhere; /* a dtoverlay=dwc2 in a section that it does not read */
    struct config_txt_line otg_mode;  /* otg_mode=1, which it reads */
    bool includes;                    /* there is an include, which was not followed */
};

/* FILTERS, up to a NULL, are the names of the sections that this model reads besides [all].  A section
 * whose condition cannot be known here (a monitor, a pin) is taken for one that it does not read. */
void config_txt_parse(const char *text, size_t size, const char *const *filters,
                      struct config_txt *config);

#endif
