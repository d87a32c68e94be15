/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/tablet/door.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#define DIGEST_BYTES 32

bool door_host_is_here(const char *host)
{
    static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};

    if (host == NULL)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);
        const char *port;

        if (strncasecmp(host, names[i], length) != 0)
            continue;
        port = host + length;
        if (*port == '\0')
            return true;
        if (*port++ != ':')
            continue;
        length = strspn(port, "0123456789");
        return length >= 1 && length <= 5 && port[length] == '\0';
    }
    return false;
}

bool door_is_origin(const char *text)
{
    const char *host;

    if (strncmp(text, "http://", 7) == 0)
        host = text + 7;
    else if (strncmp(text, "https://", 8) == 0)
        host = text + 8;
    else
        return false;
    return *host != '\0' && strcspn(host, "/?#@ \t\r\n,") == strlen(host);
}

bool door_origin_may_call(const char *origin, const char *host, const char *const *origins)
{
    for (; origins != NULL && *origins != NULL; origins++)
        if (strcasecmp(origin, *origins) == 0)
            return true;
    return strncmp(origin, "http://", 7) == 0 && host != NULL && strcasecmp(origin + 7, host) == 0;
}

/* Equal strings have equal digests, and comparing those tells nothing of where two differ. */
static bool same(const char *given, const char *right)
{
    unsigned char digests[2][DIGEST_BYTES] = {{0}, {1}};
    bool equal;

    equal = EVP_Digest(given, strlen(given), digests[0], NULL, EVP_sha256(), NULL) == 1 &&
            EVP_Digest(right, strlen(right), digests[1], NULL, EVP_sha256(), NULL) == 1;
    equal = CRYPTO_memcmp(digests[0], digests[1], DIGEST_BYTES) == 0 && equal;
    OPENSSL_cleanse(digests, sizeof digests);
    return equal;
}

bool door_may_enter(const char *user, const char *password, const char *right_user,
                    const struct secret *right_password)
{
    bool user_same, password_same;

    user_same = same(user != NULL ? user : "", right_user);
    password_same = same(password != NULL ? password : "", right_password->text);
    return user_same && password_same && right_user[0] != '\0' && right_password->text[0] != '\0';
}
