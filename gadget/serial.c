/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/serial.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#include "base/hex.h"
#include "base/tree.h"

#define PURPOSE "boda courier serial"
#define SOURCE_BYTES 256
#define CPUINFO_BYTES ((size_t)1 << 20)

/* A board without a number of its own has an empty one, or zeros. */
static bool says_something(const char *text)
{
    return text[strspn(text, " 0")] != '\0';
}

/* "Serial\t\t: 10000000abcdef01", on ARM. */
static bool read_cpuinfo(const char *root, char source[SOURCE_BYTES])
{
    struct buffer content = {0};
    bool found = false;

    if (!tree_load(root, CPUINFO_BYTES, &content, "/proc/cpuinfo"))
        return false;
    for (const char *line = (const char *)content.data; line != NULL && !found;) {
        const char *end = strchr(line, '\n'), *value;
        size_t length;

        if (strncmp(line, "Serial", 6) == 0 && (value = strchr(line, ':')) != NULL &&
            (end == NULL || value < end)) {
            value += 1 + strspn(value + 1, " \t");
            length = strcspn(value, "\r\n");
            if (length < SOURCE_BYTES) {
                memcpy(source, value, length);
                source[length] = '\0';
                found = says_something(source);
            }
        }
        line = end != NULL ? end + 1 : NULL;
    }
    buffer_free(&content);
    return found;
}

static bool read_source(const char *root, char source[SOURCE_BYTES])
{
    if (tree_read(root, source, SOURCE_BYTES, "/sys/firmware/devicetree/base/serial-number") &&
        says_something(source))
        return true;
    if (read_cpuinfo(root, source))
        return true;
    /* "uninitialized" before the first boot is over. */
    return tree_read(root, source, SOURCE_BYTES, "/etc/machine-id") && strlen(source) == 32 &&
           says_something(source);
}

int serial_make(const char *root, const char *name, char serial[SERIAL_BYTES], struct error *error)
{
    char source[SOURCE_BYTES] = "";
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct buffer input = {0};
    bool found = read_source(root, source);
    int result = -1;

    if (!found)
        source[0] = '\0';
    /* The zeros keep the parts apart. */
    if (buffer_append(&input, PURPOSE, sizeof PURPOSE, error) == 0 &&
        buffer_append(&input, name, strlen(name) + 1, error) == 0 &&
        buffer_append(&input, source, strlen(source), error) == 0) {
        if (EVP_Digest(input.data, input.length, digest, NULL, EVP_sha256(), NULL) == 1) {
            hex_encode(digest, (SERIAL_BYTES - 1) / 2, serial);
            result = found ? 1 : 0;
        } else {
            error_set(error, ERROR_FAILED, "gadget: its serial number cannot be hashed");
        }
    }
    buffer_free(&input);
    return result;
}
