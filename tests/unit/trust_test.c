/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/trust and authority: the CA's stations pass, revoked and foreign ones do not, and only a newer
 * list of the CA's own replaces the present one.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "store/peers.h"
#include "tests/unit/support/deployment.h"

static struct deployment *deployment;

static int set_up(void **state)
{
    (void)state;
    deployment = deployment_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    deployment_free(deployment);
    return 0;
}

static void refused(struct trust *trust, X509 *certificate, bool is_revocation, const char *words)
{
    struct station station;
    struct error error = {0};
    bool revoked = !is_revocation;

    assert_int_equal(trust_check(trust, certificate, &station, &revoked, &error), -1);
    assert_int_equal(error.kind, ERROR_REFUSED);
    assert_int_equal(revoked, is_revocation);
    if (strstr(error.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", error.text, words);
}

static void passes(struct trust *trust, const struct identity *identity)
{
    struct station station;
    struct error error;
    bool revoked = true;

    if (trust_check(trust, identity_certificate(identity), &station, &revoked, &error) != 0)
        fail_msg("%s", error.text);
    assert_false(revoked);
    assert_string_equal(station.name, identity_name(identity));
    assert_string_equal(station.user, identity_user(identity));
    assert_int_equal(station.role, identity_role(identity));
}

/* Before a list, with one, and after it names a station. */
static void revocation_is_told_apart(void **state)
{
    struct trust *trust = deployment_trust(deployment, false);
    struct buffer der = {0};
    struct error error;
    uint64_t number = 0;

    (void)state;
    assert_int_equal(trust_number(trust), 0);
    passes(trust, deployment->courier);
    deployment_list(deployment, &der);
    assert_int_equal(trust_update(trust, der.data, der.length, &number, &error), 1);
    assert_int_equal(number, 1);
    passes(trust, deployment->courier);
    assert_int_equal(trust_update(trust, der.data, der.length, &number, &error), 0);
    assert_int_equal(number, 1);

    deployment_revoke(deployment, deployment->courier);
    deployment_revoke(deployment, deployment->courier2);
    assert_int_equal(
        authority_revoke(deployment->authority, identity_certificate(deployment->courier), &error),
        -1);
    assert_int_equal(error.kind, ERROR_USAGE);
    der.length = 0;
    deployment_list(deployment, &der);
    assert_int_equal(trust_update(trust, der.data, der.length, NULL, &error), 1);
    assert_int_equal(trust_number(trust), 3);
    refused(trust, identity_certificate(deployment->courier), true, "station c1 is revoked");
    refused(trust, identity_certificate(deployment->courier2), true, "station c2 is revoked");
    passes(trust, deployment->tablet);
    passes(trust, deployment->dock);
    buffer_free(&der);
    trust_free(trust);
}

/* Without its list a trust lets the revoked pass, and still no foreigner; the trust itself is as before. */
static void without_its_list(void **state)
{
    struct identity *lost = deployment_enroll(deployment, ROLE_TABLET, "lost3", "chw1");
    struct deployment *other = deployment_new();
    struct trust *trust, *lenient;
    struct error error;

    (void)state;
    deployment_revoke(deployment, lost);
    trust = deployment_trust(deployment, true);
    lenient = trust_without_list(trust, &error);
    assert_non_null(lenient);
    assert_int_equal(trust_number(lenient), 0);
    passes(lenient, lost);
    refused(lenient, identity_certificate(other->tablet), false,
            "station t1 was not issued by this deployment");
    trust_free(lenient);
    refused(trust, identity_certificate(lost), true, "station lost3 is revoked");
    trust_free(trust);
    identity_free(lost);
    deployment_free(other);
}

/* An older list, a foreign one, one that is cut or has a byte more or a flipped one, one without a
 * number: the present one stays. */
static void other_lists_are_refused(void **state)
{
    struct deployment *other = deployment_new();
    struct trust *trust;
    struct buffer old = {0}, foreign = {0}, der = {0};
    struct error error;
    uint64_t before;

    (void)state;
    deployment_list(deployment, &old);
    deployment_revoke(deployment, deployment->tablet2);
    trust = deployment_trust(deployment, true);
    before = trust_number(trust);
    assert_int_equal(trust_update(trust, old.data, old.length, NULL, &error), 0);
    for (unsigned i = 0; i < 9; i++)
        (void)authority_revoke(other->authority,
                               identity_certificate(i == 0   ? other->tablet
                                                    : i == 1 ? other->dock
                                                             : other->courier),
                               NULL);
    deployment_list(other, &foreign);
    assert_int_equal(trust_update(trust, foreign.data, foreign.length, NULL, &error), -1);
    assert_non_null(strstr(error.text, "was not issued by this deployment"));
    assert_int_equal(error.kind, ERROR_REFUSED);

    deployment_revoke(deployment, deployment->dock2);
    deployment_list(deployment, &der);
    for (size_t size = 0; size < der.length; size++)
        assert_int_equal(trust_update(trust, der.data, size, NULL, &error), -1);
    assert_int_equal(buffer_append(&der, "", 1, &error), 0);
    assert_int_equal(trust_update(trust, der.data, der.length, NULL, &error), -1);
    assert_non_null(strstr(error.text, "are not a list"));
    der.length--;
    for (size_t i = 0; i < der.length; i++) {
        der.data[i] ^= 1;
        assert_int_equal(trust_update(trust, der.data, der.length, NULL, &error), -1);
        der.data[i] ^= 1;
    }
    assert_int_equal(trust_number(trust), before);
    passes(trust, deployment->dock2);
    assert_int_equal(trust_update(trust, der.data, der.length, NULL, &error), 1);
    buffer_free(&old);
    buffer_free(&foreign);
    buffer_free(&der);
    trust_free(trust);
    deployment_free(other);
}

/* Another CA of the same name, a station that plays CA, and the CA itself are no stations. */
static void foreigners_are_refused(void **state)
{
    struct deployment *other = deployment_new();
    struct trust *trust = deployment_trust(deployment, true);
    X509 *forged = X509_dup(identity_certificate(deployment->courier));
    X509_NAME *subject;

    (void)state;
    refused(trust, identity_certificate(other->tablet), false,
            "station t1 was not issued by this deployment");
    refused(trust, authority_certificate(other->authority), false,
            "station without a name was not issued by this deployment");
    refused(trust, authority_certificate(deployment->authority), false, "no station name");

    /* c1's certificate, signed by t1 as if it were a CA. */
    assert_non_null(forged);
    subject = X509_get_subject_name(identity_certificate(deployment->tablet));
    assert_int_equal(X509_set_issuer_name(forged, subject), 1);
    assert_true(X509_sign(forged, identity_key(deployment->tablet), EVP_sha256()) > 0);
    refused(trust, forged, false, "station c1 was not issued by this deployment");
    X509_free(forged);
    trust_free(trust);
    deployment_free(other);
}

/* A forged certificate with a revoked number is foreign, not revoked. */
static void forged_is_not_revoked(void **state)
{
    struct deployment *other = deployment_new();
    struct identity *lost = deployment_enroll(deployment, ROLE_COURIER, "lost", "");
    X509 *forged = X509_dup(identity_certificate(lost));
    struct trust *trust;

    (void)state;
    deployment_revoke(deployment, lost);
    trust = deployment_trust(deployment, true);
    refused(trust, identity_certificate(lost), true, "station lost is revoked");
    assert_non_null(forged);
    assert_true(X509_sign(forged, identity_key(other->tablet), EVP_sha256()) > 0);
    refused(trust, forged, false, "station lost was not issued by this deployment");
    X509_free(forged);
    identity_free(lost);
    trust_free(trust);
    deployment_free(other);
}

/* The store for TLS is a reference of its own, and outlives the trust and its next list. */
static void tls_store_lives_on(void **state)
{
    struct trust *trust = deployment_trust(deployment, true);
    struct error error;
    X509_STORE *store = trust_x509_store(trust, &error);
    X509_STORE_CTX *context = X509_STORE_CTX_new();

    (void)state;
    assert_non_null(store);
    trust_free(trust);
    assert_non_null(context);
    assert_int_equal(
        X509_STORE_CTX_init(context, store, identity_certificate(deployment->tablet), NULL), 1);
    assert_int_equal(X509_verify_cert(context), 1);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    trust_free(NULL);
}

/* A station's trust begins with the list that its store has. */
static void the_stores_list_is_used(void **state)
{
    char folder[PATH_MAX], command[PATH_MAX + 16];
    const char *parent = getenv("TMPDIR");
    struct store_options options = {.directory = folder, .station = "c1", .role = "courier"};
    struct identity *lost = deployment_enroll(deployment, ROLE_TABLET, "lost2", "chw2");
    struct store *store;
    struct trust *trust;
    struct buffer der = {0};
    struct error error;

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/boda-trust-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(folder));
    store = store_open(&options, &error);
    if (store == NULL)
        fail_msg("%s", error.text);
    trust = trust_open(deployment->courier, store, &error);
    assert_non_null(trust);
    assert_int_equal(trust_number(trust), 0);
    trust_free(trust);

    deployment_revoke(deployment, lost);
    deployment_list(deployment, &der);
    assert_int_equal(store_begin(store, &error), 0);
    assert_int_equal(
        peers_set_crl(store, authority_number(deployment->authority), der.data, der.length, &error),
        0);
    assert_int_equal(store_commit(store, &error), 0);
    trust = trust_open(deployment->courier, store, &error);
    assert_non_null(trust);
    assert_int_equal(trust_number(trust), authority_number(deployment->authority));
    refused(trust, identity_certificate(lost), true, "station lost2 is revoked");
    trust_free(trust);
    identity_free(lost);
    buffer_free(&der);
    store_close(store);
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revocation_is_told_apart), cmocka_unit_test(other_lists_are_refused),
        cmocka_unit_test(foreigners_are_refused),   cmocka_unit_test(forged_is_not_revoked),
        cmocka_unit_test(tls_store_lives_on),       cmocka_unit_test(the_stores_list_is_used),
        cmocka_unit_test(without_its_list),
    };

    return cmocka_run_group_tests_name("trust", tests, set_up, tear_down);
}
