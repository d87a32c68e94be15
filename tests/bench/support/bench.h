/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What every measurement needs: a clock, a way out, and medians of several rounds.
 */
#ifndef BODA_TESTS_BENCH_SUPPORT_BENCH_H
#define BODA_TESTS_BENCH_SUPPORT_BENCH_H

#include <stddef.h>

#include "base/error.h"

#define BENCH_ROUNDS_MAX 15

/* Say that WHAT failed, with ERROR's text or (NULL) errno's, and exit with 1. */
_Noreturn void bench_die(const char *what, const struct error *error);

double bench_now(void); /* seconds of the monotonic clock, which all processes share */

/* The same figure of several rounds, in ascending order. */
struct bench_series {
    size_t count;
    double values[BENCH_ROUNDS_MAX];
};

void bench_note(struct bench_series *series, double value);
double bench_median(const struct bench_series *series);
double bench_least(const struct bench_series *series);
double bench_most(const struct bench_series *series);

#endif
