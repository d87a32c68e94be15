/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/check/check_parts.h"

#include <openssl/err.h>
#include <openssl/pkcs12.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "gadget/check/check_store.h"
#include "store/identity.h"

#define IDENTITY_MAX_BYTES 65536

static int require_pkcs12(const char *file, struct error *error)
{
    struct buffer bytes = {0};
    const unsigned char *at;
    PKCS12 *pkcs12 = NULL;

    if (file_require_private(file, error) != 0 ||
        file_read(file, IDENTITY_MAX_BYTES, &bytes, error) != 0)
        return -1;
    at = bytes.data;
    if (bytes.length > 0)
        pkcs12 = d2i_PKCS12(NULL, &at, (long)bytes.length);
    buffer_cleanse(&bytes);
    ERR_clear_error();
    if (pkcs12 == NULL)
        return error_set(error, ERROR_CORRUPT, "%s: is not a PKCS#12 file", file);
    PKCS12_free(pkcs12);
    return 0;
}

/* As secret_obtain, but it must never ask: false when there is no file to read it from. */
static bool passphrase_path(const struct check_options *options, char *path, size_t size)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    int length;

    if (options->passphrase_file == NULL && credentials == NULL)
        return false;
    if (options->passphrase_file != NULL)
        length = snprintf(path, size, "%s", options->passphrase_file);
    else
        length = snprintf(path, size, "%s/boda-passphrase", credentials);
    return length > 0 && (size_t)length < size &&
           (options->passphrase_file != NULL || access(path, R_OK) == 0);
}

static struct identity *open_identity(const char *file, const char *passphrase_file,
                                      struct error *error)
{
    struct identity *identity;
    struct secret passphrase;

    if (secret_read_file(&passphrase, passphrase_file, error) != 0)
        return NULL;
    identity = identity_open(file, &passphrase, error);
    secret_cleanse(&passphrase);
    return identity;
}

/* NAME becomes the station's when it is known. */
static void check_identity(const struct check_options *options, struct findings *findings,
                           char name[STORE_NAME_BYTES])
{
    const char *file = options->identity;
    struct identity *identity;
    char path[PATH_MAX];
    struct error error;

    if (require_pkcs12(file, &error) != 0) {
        findings_missing(findings, "identity %s%s", error.text,
                         error.kind == ERROR_CORRUPT
                             ? ": make one with: boda enroll courier NAME -o FILE.p12"
                             : "");
        return;
    }
    if (!passphrase_path(options, path, sizeof path)) {
        findings_note(findings,
                      "identity %s: is private and PKCS#12, but was not opened: give "
                      "--passphrase-file FILE to see whose it is",
                      file);
        return;
    }
    identity = open_identity(file, path, &error);
    if (identity == NULL) {
        findings_missing(findings, "identity %s", error.text);
        return;
    }
    (void)snprintf(name, STORE_NAME_BYTES, "%s", identity_name(identity));
    if (identity_role(identity) == ROLE_COURIER)
        findings_ok(findings, "identity %s: is courier %s", file, name);
    else
        findings_missing(findings,
                         "identity %s: is the one of a %s: a courier needs its own: boda enroll "
                         "courier NAME -o FILE.p12",
                         file, role_name(identity_role(identity)));
    identity_free(identity);
}

void check_station(const char *root, const struct check_options *options, struct findings *findings)
{
    char name[STORE_NAME_BYTES] = "";

    if (options->identity != NULL)
        check_identity(options, findings, name);
    if (options->store != NULL)
        check_store(root, options->store, name, findings);
}
