/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/station.h"

#include <openssl/objects.h>
#include <openssl/x509.h>
#include <string.h>

static const char *const role_names[] = {
    [ROLE_NONE] = "none", [ROLE_TABLET] = "tablet", [ROLE_COURIER] = "courier",
    [ROLE_DOCK] = "dock", [ROLE_SERVER] = "server",
};

const char *role_name(enum role role)
{
    return role_names[role];
}

enum role role_from_name(const char *name)
{
    for (enum role role = ROLE_TABLET; role <= ROLE_SERVER; role++)
        if (strcmp(name, role_names[role]) == 0)
            return role;
    return ROLE_NONE;
}

bool station_name_ok(const char *name)
{
    size_t length = strlen(name);

    return length >= 1 && length < STORE_NAME_BYTES && name[0] != '.' && name[0] != '_' &&
           name[0] != '-' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

bool station_user_ok(const char *user)
{
    size_t length = strlen(user);

    if (length == 0 || length >= STORE_NAME_BYTES)
        return false;
    for (const char *at = user; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f || *at == ':')
            return false;
    return true;
}

int station_check(const struct station *station, struct error *error)
{
    if (!station_name_ok(station->name))
        return error_set(error, ERROR_USAGE,
                         "station '%s': a name is 1 to 64 of a-z, 0-9, '.', '_', '-', and begins "
                         "with a letter or digit",
                         station->name);
    if (station->role == ROLE_NONE)
        return error_set(error, ERROR_USAGE, "station %s: has no role", station->name);
    if ((station->role == ROLE_SERVER) != (strcmp(station->name, SERVER_NAME) == 0))
        return error_set(error, ERROR_USAGE,
                         "station %s: the name '" SERVER_NAME "' is the server's and no other's",
                         station->name);
    if (station->role == ROLE_TABLET && !station_user_ok(station->user))
        return error_set(error, ERROR_USAGE,
                         "tablet %s: needs its CHT user's name, 1 to 64 bytes without ':'",
                         station->name);
    if (station->role != ROLE_TABLET && station->user[0] != '\0')
        return error_set(error, ERROR_USAGE, "%s %s: only a tablet has a CHT user",
                         role_name(station->role), station->name);
    return 0;
}

/* The one value of NID in the subject; 1 found, 0 not there, -1 more than one or not fit for TEXT. */
static int subject_text(X509_NAME *subject, int nid, char *text, size_t size)
{
    int at = X509_NAME_get_index_by_NID(subject, nid, -1);
    unsigned char *utf8;
    int length, result = -1;

    text[0] = '\0';
    if (at < 0)
        return 0;
    if (X509_NAME_get_index_by_NID(subject, nid, at) >= 0)
        return -1;
    length = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (length < 0)
        return -1;
    if ((size_t)length < size && memchr(utf8, '\0', (size_t)length) == NULL) {
        memcpy(text, utf8, (size_t)length);
        text[length] = '\0';
        result = 1;
    }
    OPENSSL_free(utf8);
    return result;
}

int station_read(X509 *certificate, struct station *station, struct error *error)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    struct error why;
    char role[16];

    memset(station, 0, sizeof *station);
    if (subject == NULL ||
        subject_text(subject, NID_commonName, station->name, sizeof station->name) != 1 ||
        !station_name_ok(station->name)) {
        station->name[0] = '\0';
        return error_set(error, ERROR_REFUSED, "certificate: its subject has no station name (CN)");
    }
    if (subject_text(subject, NID_organizationalUnitName, role, sizeof role) == 1)
        station->role = role_from_name(role);
    if (subject_text(subject, NID_userId, station->user, sizeof station->user) < 0)
        return error_set(error, ERROR_REFUSED,
                         "certificate of %s: its user (UID) is not a CHT user's name",
                         station->name);
    if (station_check(station, &why) != 0)
        return error_set(error, ERROR_REFUSED, "certificate of %s: %s", station->name, why.text);
    return 0;
}
