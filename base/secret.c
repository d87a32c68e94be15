/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <termios.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"

#define GROUP_CHARACTERS 5

static int take_line(struct secret *secret, const char *from, const char *bytes, size_t size,
                     struct error *error)
{
    const char *end = memchr(bytes, '\n', size);
    size_t length = end != NULL ? (size_t)(end - bytes) : size;

    if (length > 0 && bytes[length - 1] == '\r')
        length--;
    if (length == 0)
        return error_set(error, ERROR_FAILED, "%s: its first line is empty, not a secret", from);
    if (length >= sizeof secret->text || memchr(bytes, '\0', length) != NULL)
        return error_set(error, ERROR_FAILED,
                         "%s: its first line is not a secret of at most %zu "
                         "bytes",
                         from, sizeof secret->text - 1);
    memcpy(secret->text, bytes, length);
    secret->text[length] = '\0';
    return 0;
}

static int read_line(struct secret *secret, const char *path, struct error *error)
{
    struct buffer content = {0};
    int result = file_read(path, 65536, &content, error);

    if (result == 0)
        result = take_line(secret, path, (const char *)content.data, content.length, error);
    buffer_cleanse(&content);
    return result;
}

int secret_read_file(struct secret *secret, const char *path, struct error *error)
{
    return file_require_private(path, error) != 0 ? -1 : read_line(secret, path, error);
}

static int read_terminal(struct secret *secret, const char *prompt, struct error *error)
{
    struct termios usual, silent;
    char line[SECRET_BYTES + 1];
    ssize_t got = -1;
    int terminal, result;

    terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0 || tcgetattr(terminal, &usual) != 0) {
        if (terminal >= 0)
            (void)close(terminal);
        return error_set(error, ERROR_USAGE,
                         "%s: give --passphrase-file FILE, or set "
                         "CREDENTIALS_DIRECTORY, or start it on a terminal",
                         prompt);
    }
    silent = usual;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    if (dprintf(terminal, "%s: ", prompt) > 0 && tcsetattr(terminal, TCSAFLUSH, &silent) == 0) {
        got = read(terminal, line, sizeof line - 1);
        (void)tcsetattr(terminal, TCSAFLUSH, &usual);
        (void)dprintf(terminal, "\n");
    }
    (void)close(terminal);
    if (got < 0)
        return error_errno(error, errno, "%s: cannot be read from the terminal", prompt);
    result = take_line(secret, "the terminal", line, (size_t)got, error);
    explicit_bzero(line, sizeof line);
    return result;
}

int secret_obtain(struct secret *secret, const char *path, const char *prompt, struct error *error)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    char credential[PATH_MAX];
    int length;

    if (path != NULL)
        return secret_read_file(secret, path, error);
    if (credentials != NULL) {
        length = snprintf(credential, sizeof credential, "%s/boda-passphrase", credentials);
        /* Whose it is systemd has seen to, from 254 on with an access list, of which the mode shows a
         * group that may read (0440). */
        if (length > 0 && (size_t)length < sizeof credential && access(credential, R_OK) == 0)
            return read_line(secret, credential, error);
    }
    return read_terminal(secret, prompt, error);
}

int secret_generate(struct secret *secret, unsigned words, struct error *error)
{
    static const char alphabet[] = "abcdefghijkmnpqrstuvwxyz23456789"; /* 32 characters */
    unsigned char random[GROUP_CHARACTERS];
    size_t at = 0;

    if (words == 0 || words * (GROUP_CHARACTERS + 1u) > sizeof secret->text)
        return error_set(error, ERROR_USAGE, "secret: %u words cannot be made", words);
    for (unsigned word = 0; word < words; word++) {
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
            return error_errno(error, errno, "secret: the kernel gives no random bytes");
        if (word > 0)
            secret->text[at++] = '-';
        for (size_t i = 0; i < sizeof random; i++)
            secret->text[at++] = alphabet[random[i] & 31];
    }
    secret->text[at] = '\0';
    explicit_bzero(random, sizeof random);
    return 0;
}

void secret_cleanse(struct secret *secret)
{
    explicit_bzero(secret, sizeof *secret);
}
