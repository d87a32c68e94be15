/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/bench/support/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void bench_die(const char *what, const struct error *error)
{
    fprintf(stderr, "bench: %s: %s\n", what, error != NULL ? error->text : strerror(errno));
    exit(1);
}

double bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void bench_note(struct bench_series *series, double value)
{
    size_t i = series->count;

    if (i == BENCH_ROUNDS_MAX)
        bench_die("too many rounds", NULL);
    series->count++;
    for (; i > 0 && series->values[i - 1] > value; i--)
        series->values[i] = series->values[i - 1];
    series->values[i] = value;
}

double bench_median(const struct bench_series *series)
{
    return series->values[series->count / 2];
}

double bench_least(const struct bench_series *series)
{
    return series->values[0];
}

double bench_most(const struct bench_series *series)
{
    return series->values[series->count - 1];
}
