/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The lamp that tells the people at the cable how things stand: an LED of the board, as the kernel
 * shows it under /sys/class/leds (Documentation/leds/leds-class.rst).
 */
#ifndef BODA_GADGET_LAMP_H
#define BODA_GADGET_LAMP_H

#include "base/error.h"

enum lamp_signal {
    LAMP_OFF,   /* nobody is plugged in */
    LAMP_BUSY,  /* fast blinking: do not unplug */
    LAMP_READY, /* steady: safe to unplug */
    LAMP_FAULT  /* slow blinking: look at the log */
};

struct lamp;

/* The LED NAME; without one (NULL) the log alone speaks.  ERROR_USAGE, naming the LEDs that are
 * there, when it is not.  FOLDER: NULL for /sys/class/leds; tests give another. */
struct lamp *lamp_new(const char *name, const char *folder, struct error *error);

/* Off, and given back.  NULL is harmless. */
void lamp_free(struct lamp *lamp);

/* A lamp that cannot be switched must not stop the work: it is logged once. */
void lamp_show(struct lamp *lamp, enum lamp_signal signal);

#endif
