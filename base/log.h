/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Log to standard error, one line an event, as the journal likes it: a "<N>" priority prefix when
 * standard error is the journal's (JOURNAL_STREAM is set), plain words else.  No document bodies and
 * no keys are ever logged; document ids only at debug level.
 *
 * The threshold is the one piece of state that the whole process shares; main sets it once, before
 * it starts a thread.
 */
#ifndef BODA_BASE_LOG_H
#define BODA_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* NAME is one of error, warning, info, debug.  0, or -1 when it is none of them. */
int log_set_level(const char *name);

/* One line; line breaks within it become spaces, control bytes '?'.  Safe from several threads. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
