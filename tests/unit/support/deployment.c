/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/deployment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct identity *deployment_enroll(struct deployment *deployment, enum role role, const char *name,
                                   const char *user)
{
    struct station station = {.role = role};
    struct identity *identity;
    struct error error;

    (void)snprintf(station.name, sizeof station.name, "%s", name);
    (void)snprintf(station.user, sizeof station.user, "%s", user);
    identity = authority_enroll(
        deployment->authority, &station,
        deployment->server != NULL ? identity_certificate(deployment->server) : NULL, &error);
    if (identity == NULL)
        fail_msg("%s", error.text);
    return identity;
}

struct deployment *deployment_new(void)
{
    struct deployment *deployment = calloc(1, sizeof *deployment);
    struct error error;

    assert_non_null(deployment);
    deployment->authority = authority_new("test", &error);
    if (deployment->authority == NULL)
        fail_msg("%s", error.text);
    deployment->server = deployment_enroll(deployment, ROLE_SERVER, SERVER_NAME, "");
    deployment->tablet = deployment_enroll(deployment, ROLE_TABLET, "t1", "chw1");
    deployment->tablet2 = deployment_enroll(deployment, ROLE_TABLET, "t2", "chw2");
    deployment->courier = deployment_enroll(deployment, ROLE_COURIER, "c1", "");
    deployment->courier2 = deployment_enroll(deployment, ROLE_COURIER, "c2", "");
    deployment->dock = deployment_enroll(deployment, ROLE_DOCK, "dock", "");
    deployment->dock2 = deployment_enroll(deployment, ROLE_DOCK, "dock2", "");
    return deployment;
}

void deployment_free(struct deployment *deployment)
{
    if (deployment == NULL)
        return;
    identity_free(deployment->server);
    identity_free(deployment->tablet);
    identity_free(deployment->tablet2);
    identity_free(deployment->courier);
    identity_free(deployment->courier2);
    identity_free(deployment->dock);
    identity_free(deployment->dock2);
    authority_free(deployment->authority);
    free(deployment);
}

void deployment_revoke(struct deployment *deployment, const struct identity *identity)
{
    struct error error;

    if (authority_revoke(deployment->authority, identity_certificate(identity), &error) != 0)
        fail_msg("%s", error.text);
}

void deployment_list(struct deployment *deployment, struct buffer *der)
{
    struct error error;

    if (authority_list_der(deployment->authority, der, &error) != 0)
        fail_msg("%s", error.text);
}

struct trust *deployment_trust(struct deployment *deployment, bool with_list)
{
    struct buffer der = {0};
    struct error error;
    struct trust *trust = trust_new(authority_certificate(deployment->authority), &error);

    if (trust == NULL)
        fail_msg("%s", error.text);
    if (with_list) {
        deployment_list(deployment, &der);
        if (trust_update(trust, der.data, der.length, NULL, &error) != 1)
            fail_msg("%s", error.text);
        buffer_free(&der);
    }
    return trust;
}

void deployment_write(const struct identity *identity, const char *file, const char *passphrase)
{
    struct secret secret;
    struct error error;

    (void)snprintf(secret.text, sizeof secret.text, "%s", passphrase);
    if (identity_write(identity, file, &secret, &error) != 0)
        fail_msg("%s", error.text);
}
