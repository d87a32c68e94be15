/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/identity, pkcs12, station: an identity file gives back what was written, and every file that
 * is not one is refused with words of its own.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/file.h"
#include "store/pkcs12.h"
#include "tests/unit/support/deployment.h"

static char folder[PATH_MAX];
static char file[PATH_MAX + 16];
static struct deployment *deployment;

static int set_up(void **state)
{
    const char *parent = getenv("TMPDIR");

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/boda-identity-XXXXXX",
                   parent != NULL ? parent : "/tmp");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(file, sizeof file, "%s/x.p12", folder);
    deployment = deployment_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    deployment_free(deployment);
    (void)unlink(file);
    return rmdir(folder);
}

static struct secret pass(const char *text)
{
    struct secret secret = {{0}};

    (void)snprintf(secret.text, sizeof secret.text, "%s", text);
    return secret;
}

static void refused(const char *passphrase, const char *words)
{
    struct secret secret = pass(passphrase);
    struct error error = {0};
    struct identity *identity = identity_open(file, &secret, &error);

    assert_null(identity);
    if (strstr(error.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", error.text, words);
    assert_non_null(strstr(error.text, file));
}

/* Name, role, user, key and certificates come back out of the file, which is private. */
static void a_file_gives_back_what_was_written(void **state)
{
    struct secret secret = pass("open sesame"), mine, theirs;
    struct identity *identity;
    struct stat status;
    struct error error;

    (void)state;
    deployment_write(deployment->tablet, file, "open sesame");
    assert_int_equal(stat(file, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    identity = identity_open(file, &secret, &error);
    if (identity == NULL)
        fail_msg("%s", error.text);
    assert_string_equal(identity_name(identity), "t1");
    assert_string_equal(identity_user(identity), "chw1");
    assert_int_equal(identity_role(identity), ROLE_TABLET);
    assert_int_equal(EVP_PKEY_eq(identity_key(identity), identity_key(deployment->tablet)), 1);
    assert_int_equal(X509_cmp(identity_ca(identity), authority_certificate(deployment->authority)),
                     0);
    assert_int_equal(X509_cmp(identity_server(identity), identity_certificate(deployment->server)),
                     0);

    /* The secret is of the key alone: the same from the file, another for another key. */
    assert_int_equal(identity_secret(identity, &theirs, &error), 0);
    assert_int_equal(identity_secret(deployment->tablet, &mine, &error), 0);
    assert_string_equal(mine.text, theirs.text);
    assert_int_equal(strlen(mine.text), 32);
    assert_int_equal(identity_secret(deployment->tablet2, &theirs, &error), 0);
    assert_string_not_equal(mine.text, theirs.text);
    identity_free(identity);
}

/* The server's identity has itself as the server. */
static void the_server_is_its_own_server(void **state)
{
    struct secret secret = pass("x");
    struct identity *identity;
    struct error error;

    (void)state;
    deployment_write(deployment->server, file, "x");
    identity = identity_open(file, &secret, &error);
    assert_non_null(identity);
    assert_ptr_equal(identity_server(identity), identity_certificate(identity));
    assert_int_equal(identity_role(identity), ROLE_SERVER);
    identity_free(identity);
    identity_free(NULL);
}

/* Wrong passphrase, readable by others, cut at every length, not PKCS#12: each with its words. */
static void bad_files_are_refused(void **state)
{
    struct buffer whole = {0};
    struct error error;

    (void)state;
    deployment_write(deployment->courier, file, "right");
    refused("wrong", "the passphrase is wrong");
    assert_int_equal(chmod(file, 0640), 0);
    refused("right", "chmod 600");
    assert_int_equal(file_read(file, 65536, &whole, &error), 0);
    for (size_t size = 0; size < whole.length; size += 97) {
        assert_int_equal(file_write(file, 0600, whole.data, size, &error), 0);
        refused("right", "is not a PKCS#12 file");
    }
    assert_int_equal(file_write(file, 0600, "hello\n", 6, &error), 0);
    refused("right", "is not a PKCS#12 file");
    assert_int_equal(unlink(file), 0);
    refused("right", "cannot be opened");
    buffer_free(&whole);
}

static void write_parts(EVP_PKEY *key, X509 *certificate, X509 *ca, X509 *server)
{
    X509 *const others[2] = {ca, server};
    struct secret secret = pass("p");
    struct error error;

    if (pkcs12_write(file, &secret, "x", key, certificate, others, &error) != 0)
        fail_msg("%s", error.text);
}

/* Parts that do not fit each other are refused: no CA, another deployment's CA or server, the
 * certificate of a station that is not the server in the server's place is no server at all. */
static void parts_must_fit(void **state)
{
    struct deployment *other = deployment_new();
    EVP_PKEY *key = identity_key(deployment->tablet);
    X509 *certificate = identity_certificate(deployment->tablet);
    X509 *ca = authority_certificate(deployment->authority);
    struct error error;

    (void)state;
    write_parts(key, certificate, NULL, NULL);
    refused("p", "has no CA certificate");
    write_parts(key, certificate, authority_certificate(other->authority), NULL);
    refused("p", "was not issued by this deployment");
    write_parts(key, certificate, ca, identity_certificate(other->server));
    refused("p", "its server certificate is not this deployment's");
    write_parts(key, NULL, ca, NULL);
    refused("p", "has no certificate");
    assert_null(identity_new("x", identity_key(other->tablet), certificate, ca, NULL, &error));
    assert_non_null(strstr(error.text, "its key is not the certificate's"));
    deployment_free(other);
}

/* Only keys on P-256 are certified or opened. */
static void other_curves_are_refused(void **state)
{
    EVP_PKEY *key = EVP_EC_gen("P-384");
    struct station station = {.name = "t9", .user = "chw9", .role = ROLE_TABLET};
    struct error error;

    (void)state;
    assert_non_null(key);
    assert_null(authority_certify(deployment->authority, &station, key, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
    assert_non_null(strstr(error.text, "not on the curve P-256"));
    EVP_PKEY_free(key);
}

/* No certificate ends, whatever the clock says. */
static void certificates_do_not_expire(void **state)
{
    ASN1_TIME *end = ASN1_TIME_new();

    (void)state;
    assert_non_null(end);
    assert_int_equal(ASN1_TIME_set_string(end, "99991231235959Z"), 1);
    assert_int_equal(
        ASN1_TIME_compare(X509_get0_notAfter(identity_certificate(deployment->dock)), end), 0);
    assert_int_equal(
        ASN1_TIME_compare(X509_get0_notAfter(authority_certificate(deployment->authority)), end),
        0);
    ASN1_TIME_free(end);
}

static void check(enum role role, const char *name, const char *user, const char *words)
{
    struct station station = {.role = role};
    struct error error = {0};
    int result;

    (void)snprintf(station.name, sizeof station.name, "%s", name);
    (void)snprintf(station.user, sizeof station.user, "%s", user);
    result = station_check(&station, &error);
    if (words == NULL) {
        assert_int_equal(result, 0);
        return;
    }
    assert_int_equal(result, -1);
    if (strstr(error.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", error.text, words);
}

/* Names, roles and users fit each other. */
static void stations_are_checked(void **state)
{
    (void)state;
    check(ROLE_TABLET, "t1", "chw1", NULL);
    check(ROLE_TABLET, "t1", "", "needs its CHT user");
    check(ROLE_TABLET, "t1", "a:b", "needs its CHT user");
    check(ROLE_TABLET, "T1", "chw1", "a name is");
    check(ROLE_TABLET, "", "chw1", "a name is");
    check(ROLE_TABLET, "../x", "chw1", "a name is");
    check(ROLE_DOCK, "dock", "chw1", "only a tablet");
    check(ROLE_DOCK, "server", "", "is the server's");
    check(ROLE_SERVER, "dock", "", "is the server's");
    check(ROLE_NONE, "x", "", "no role");
    assert_int_equal(role_from_name("courier"), ROLE_COURIER);
    assert_int_equal(role_from_name("none"), ROLE_NONE);
    assert_string_equal(role_name(ROLE_DOCK), "dock");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_gives_back_what_was_written),
        cmocka_unit_test(the_server_is_its_own_server),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(parts_must_fit),
        cmocka_unit_test(other_curves_are_refused),
        cmocka_unit_test(certificates_do_not_expire),
        cmocka_unit_test(stations_are_checked),
    };

    return cmocka_run_group_tests_name("identity", tests, set_up, tear_down);
}
