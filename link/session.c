/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "link/session.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__aarch64__) || defined(__arm__)
#include <sys/auxv.h>
#endif

#include "base/clock.h"
#include "link/session_bio.h"

#define READ_AHEAD_BYTES (68u << 10) /* four records and a bit a call of the link */
#define CLOSE_MS 1000

struct session {
    SSL *ssl;
    SSL_CTX *context;
    BIO_METHOD *method;
    struct session_bio bio;
    enum session_side side;
    unsigned roles;
    bool drained;        /* the last read found that the link has nothing more */
    X509 *certificate;   /* the peer's */
    struct station peer; /* its name is "" until its certificate has been seen */
    char cause[128];     /* why its certificate was not accepted, "" if it was */
};

/* ---- whom to accept ---- */

static const char *peer_title(const struct session *session, char title[STORE_NAME_BYTES + 16])
{
    if (session->peer.name[0] != '\0')
        snprintf(title, STORE_NAME_BYTES + 16, "%s %s", role_name(session->peer.role),
                 session->peer.name);
    else
        snprintf(title, STORE_NAME_BYTES + 16, "%s",
                 session->side == SESSION_HOST ? "courier" : "host");
    return title;
}

static void note_cause(struct session *session, int verify_error)
{
    const char *cause = X509_verify_cert_error_string(verify_error);

    if (session->cause[0] != '\0')
        return;
    if (verify_error == X509_V_ERR_CERT_REVOKED)
        cause = "its certificate is revoked";
    else if (verify_error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
             verify_error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
             verify_error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
             verify_error == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
             verify_error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
             verify_error == X509_V_ERR_CERT_SIGNATURE_FAILURE ||
             verify_error == X509_V_ERR_INVALID_CA)
        cause = "its certificate was not issued by this deployment";
    snprintf(session->cause, sizeof session->cause, "%s", cause);
}

/* SSL_set_verify(3).  Only ever makes the verdict stricter: by the role. */
static int judge(int accepted, X509_STORE_CTX *context)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct session *session = SSL_get_app_data(ssl);
    X509 *leaf = X509_STORE_CTX_get0_cert(context);
    struct station station;
    struct error error;

    if (leaf == NULL || station_read(leaf, &station, &error) != 0) {
        if (accepted && X509_STORE_CTX_get_error_depth(context) == 0) {
            snprintf(session->cause, sizeof session->cause, "%.120s", error.text);
            X509_STORE_CTX_set_error(context, X509_V_ERR_APPLICATION_VERIFICATION);
            return 0;
        }
    } else {
        session->peer = station;
    }
    if (!accepted) {
        note_cause(session, X509_STORE_CTX_get_error(context));
        return 0;
    }
    if (X509_STORE_CTX_get_error_depth(context) == 0 &&
        (session->roles & 1u << session->peer.role) == 0) {
        snprintf(session->cause, sizeof session->cause, "a %s is not to be met at this end",
                 role_name(session->peer.role));
        X509_STORE_CTX_set_error(context, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    return 1;
}

/* ---- what went wrong ---- */

/* The alerts of RFC 8446 section 6.2 that a station sends when it judges a certificate; OpenSSL
 * numbers the reason 1000 + alert. */
static const char *alert_words(int alert)
{
    switch (alert) {
    case SSL_AD_CERTIFICATE_REVOKED:
        return "certificate revoked";
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_DECRYPT_ERROR:
        return "certificate not issued by its deployment";
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_ACCESS_DENIED:
        return "its role is not to be met at that end";
    case SSL_AD_CERTIFICATE_REQUIRED:
        return "no certificate";
    default:
        return NULL;
    }
}

static int explain_alert(const struct session *session, int alert, struct error *error)
{
    char title[STORE_NAME_BYTES + 16];
    const char *words = alert_words(alert);

    peer_title(session, title);
    if (words != NULL)
        return error_set(error, ERROR_REFUSED,
                         "%s refuses this station: %s; ask the administrator to enrol it", title,
                         words);
    if (alert == SSL_AD_BAD_RECORD_MAC)
        return error_set(error, ERROR_CORRUPT, "%s: bytes were altered on the cable", title);
    return error_set(error, ERROR_CORRUPT, "%s: broke off the TLS session: %s", title,
                     SSL_alert_desc_string_long(alert));
}

/* Words for a failed call, from OpenSSL's queue and the link. */
static int explain(struct session *session, int ssl_error, struct error *error)
{
    char title[STORE_NAME_BYTES + 16], text[160];
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);

    peer_title(session, title);
    if (session->cause[0] != '\0') {
        error_set(error, ERROR_REFUSED, "%s: refused: %s", title, session->cause);
    } else if (ssl_error == SSL_ERROR_ZERO_RETURN) {
        error_set(error, ERROR_CLOSED, "%s: has closed the session", title);
    } else if (session->bio.read_over &&
               (code == 0 || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
        *error = session->bio.error;
    } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        error_set(error, ERROR_REFUSED, "%s: refused: it showed no certificate", title);
    } else if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET &&
               reason < SSL_AD_REASON_OFFSET + 256) {
        explain_alert(session, reason - SSL_AD_REASON_OFFSET, error);
    } else if (ssl_error == SSL_ERROR_SSL && ERR_GET_LIB(code) == ERR_LIB_SSL) {
        ERR_error_string_n(code, text, sizeof text);
        error_set(error, ERROR_CORRUPT, "%s: %s (%s)", title,
                  SSL_is_init_finished(session->ssl)
                      ? "bytes were altered on the cable"
                      : "what came is not the TLS 1.3 of a Boda station",
                  text);
    } else {
        ERR_error_string_n(code, text, sizeof text);
        error_set(error, ERROR_FAILED, "%s: TLS failed: %s", title, text);
    }
    ERR_clear_error();
    return -1;
}

/* ---- set-up ---- */

/* AES-GCM where the CPU has instructions for it, else ChaCha20-Poly1305: many a board has none. */
static bool cpu_has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") != 0;
#elif defined(__aarch64__)
    return (getauxval(AT_HWCAP) & (1ul << 3)) != 0; /* HWCAP_AES */
#elif defined(__arm__)
    return (getauxval(AT_HWCAP2) & (1ul << 0)) != 0; /* HWCAP2_AES */
#else
    return false;
#endif
}

static int set_parameters(SSL_CTX *context)
{
    const char *suites = cpu_has_aes() ? "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                         "TLS_CHACHA20_POLY1305_SHA256"
                                       : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:"
                                         "TLS_AES_256_GCM_SHA384";

    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD_BYTES);
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
                   SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
                   SSL_CTX_set_num_tickets(context, 0) == 1 &&
                   SSL_CTX_set_ciphersuites(context, suites) == 1 &&
                   SSL_CTX_set1_groups_list(context, "X25519:P-256") == 1 &&
                   SSL_CTX_set1_sigalgs_list(context, "ecdsa_secp256r1_sha256") == 1
               ? 0
               : -1;
}

static int set_certificates(SSL_CTX *context, const struct identity *identity, struct trust *trust,
                            struct error *error)
{
    X509_STORE *store = trust_x509_store(trust, error);
    X509_VERIFY_PARAM *parameters = SSL_CTX_get0_param(context);

    if (store == NULL)
        return -1;
    SSL_CTX_set_cert_store(context, store); /* takes the reference */
    /* No clock is trusted, and the roles are in the subject, not in an extended key usage. */
    if (X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_NO_CHECK_TIME) != 1 ||
        X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_ANY) != 1 ||
        SSL_CTX_use_certificate(context, identity_certificate(identity)) != 1 ||
        SSL_CTX_use_PrivateKey(context, identity_key(identity)) != 1)
        return error_set(error, ERROR_FAILED, "station %s: TLS cannot use its certificate and key",
                         identity_name(identity));
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, judge);
    return 0;
}

static int set_up(struct session *session, const struct identity *identity, struct trust *trust,
                  struct error *error)
{
    BIO *bio;

    session->context =
        SSL_CTX_new(session->side == SESSION_HOST ? TLS_client_method() : TLS_server_method());
    if (session->context == NULL || set_parameters(session->context) != 0)
        return error_set(error, ERROR_FAILED, "session: OpenSSL lacks what the protocol needs: %s",
                         ERR_reason_error_string(ERR_peek_error()));
    if (set_certificates(session->context, identity, trust, error) != 0)
        return -1;
    session->ssl = SSL_new(session->context);
    session->method = session_bio_method();
    if (session->ssl == NULL || session->method == NULL)
        return error_set(error, ERROR_FAILED, "session: no memory");
    bio = session_bio_new(session->method, &session->bio);
    if (bio == NULL)
        return error_set(error, ERROR_FAILED, "session: no memory");
    SSL_set_bio(session->ssl, bio, bio);
    if (SSL_set_app_data(session->ssl, session) != 1)
        return error_set(error, ERROR_FAILED, "session: no memory");
    if (session->side == SESSION_HOST)
        SSL_set_connect_state(session->ssl);
    else
        SSL_set_accept_state(session->ssl);
    return 0;
}

/* ---- life ---- */

static int shake_hands(struct session *session, int timeout_ms, struct error *error)
{
    int64_t until = clock_ms() + timeout_ms;

    for (;;) {
        int result, ssl_error, left_ms = (int)(until - clock_ms());

        ERR_clear_error();
        result = SSL_do_handshake(session->ssl);
        if (result == 1)
            return 0;
        ssl_error = SSL_get_error(session->ssl, result);
        if (ssl_error != SSL_ERROR_WANT_READ && ssl_error != SSL_ERROR_WANT_WRITE)
            return explain(session, ssl_error, error);
        if (ssl_error == SSL_ERROR_WANT_WRITE && session->bio.write_over) {
            *error = session->bio.error;
            return -1;
        }
        if (left_ms <= 0)
            return error_set(
                error, ERROR_TEMPORARY,
                "%s: did not finish the TLS handshake within %d ms; unplug and plug in "
                "again",
                session->side == SESSION_HOST ? "courier" : "host", timeout_ms);
        if (session->bio.link->operations->wait(
                session->bio.link, ssl_error == SSL_ERROR_WANT_WRITE, left_ms, error) < 0)
            return -1;
    }
}

/* The chain was judged during the handshake; this asks the deployment's own rule again, so that both
 * ways of asking have to agree. */
static int check_peer(struct session *session, struct trust *trust, struct error *error)
{
    session->certificate = SSL_get1_peer_certificate(session->ssl);
    if (session->certificate == NULL)
        return error_set(error, ERROR_REFUSED, "%s: refused: it showed no certificate",
                         session->side == SESSION_HOST ? "courier" : "host");
    if (trust_check(trust, session->certificate, &session->peer, NULL, error) != 0)
        return -1;
    if ((session->roles & 1u << session->peer.role) == 0)
        return error_set(error, ERROR_REFUSED, "%s %s: refused: a %s is not to be met at this end",
                         role_name(session->peer.role), session->peer.name,
                         role_name(session->peer.role));
    return 0;
}

struct session *session_open(struct link *link, enum session_side side,
                             const struct identity *identity, struct trust *trust, unsigned roles,
                             int timeout_ms, struct error *error)
{
    struct session *session = calloc(1, sizeof *session);
    struct error own;

    if (error == NULL)
        error = &own;
    if (session == NULL) {
        link->operations->close(link);
        error_set(error, ERROR_FAILED, "session: no memory");
        return NULL;
    }
    session->bio.link = link;
    session->side = side;
    session->roles = roles;
    if (set_up(session, identity, trust, error) != 0 ||
        shake_hands(session, timeout_ms, error) != 0 || check_peer(session, trust, error) != 0) {
        session_close(session);
        return NULL;
    }
    return session;
}

/* close_notify (RFC 8446 section 6.1), then what still comes, up to the peer's own: a peer whose last
 * bytes nobody takes would wait for that. */
static void say_good_bye(struct session *session, int64_t until)
{
    unsigned char ignored[4096];
    bool said = false;

    if (session->ssl == NULL || !SSL_is_init_finished(session->ssl))
        return;
    while (!session->bio.write_over && !session->bio.read_over) {
        int64_t left_ms = until - clock_ms();
        int result, ssl_error;

        ERR_clear_error();
        result =
            said ? SSL_read(session->ssl, ignored, sizeof ignored) : SSL_shutdown(session->ssl);
        ssl_error = SSL_get_error(session->ssl, result);
        if (!said && result >= 0) {
            said = true;
            if (result == 1)
                break; /* the peer had said it */
            continue;
        }
        if (left_ms <= 0 ||
            (result <= 0 && ssl_error != SSL_ERROR_WANT_READ && ssl_error != SSL_ERROR_WANT_WRITE))
            break;
        if (result <= 0 &&
            session->bio.link->operations->wait(session->bio.link, !said, (int)left_ms, NULL) < 0)
            break;
    }
    ERR_clear_error();
}

void session_close(struct session *session)
{
    int64_t until = clock_ms() + CLOSE_MS, left_ms;
    struct link *link;

    if (session == NULL)
        return;
    link = session->bio.link;
    say_good_bye(session, until);
    left_ms = until - clock_ms();
    if (!session->bio.write_over)
        (void)link->operations->flush(link, left_ms > 0 ? (int)left_ms : 0, NULL);
    link->operations->close(link);
    X509_free(session->certificate);
    SSL_free(session->ssl);
    BIO_meth_free(session->method);
    SSL_CTX_free(session->context);
    free(session);
}

const struct station *session_peer(const struct session *session)
{
    return &session->peer;
}

X509 *session_certificate(const struct session *session)
{
    return session->certificate;
}

ssize_t session_read(struct session *session, void *bytes, size_t size, struct error *error)
{
    size_t got;
    int ssl_error;

    ERR_clear_error();
    session->drained = false;
    if (SSL_read_ex(session->ssl, bytes, size, &got) == 1)
        return (ssize_t)got;
    ssl_error = SSL_get_error(session->ssl, 0);
    if (ssl_error == SSL_ERROR_WANT_READ || ssl_error == SSL_ERROR_WANT_WRITE) {
        session->drained = true;
        return 0;
    }
    return explain(session, ssl_error, error);
}

ssize_t session_write(struct session *session, const void *bytes, size_t size, struct error *error)
{
    size_t put;
    int ssl_error;

    ERR_clear_error();
    if (SSL_write_ex(session->ssl, bytes, size, &put) == 1)
        return (ssize_t)put;
    ssl_error = SSL_get_error(session->ssl, 0);
    if (session->bio.write_over) {
        *error = session->bio.error;
        return -1;
    }
    if (ssl_error == SSL_ERROR_WANT_READ || ssl_error == SSL_ERROR_WANT_WRITE)
        return 0;
    return explain(session, ssl_error, error);
}

int session_wait(struct session *session, bool write, int timeout_ms, struct error *error)
{
    struct link *link = session->bio.link;

    /* OpenSSL may hold bytes that the link no longer tells of; half a record is among them, so they
     * count only until a read has found nothing in them. */
    if (!session->drained && SSL_has_pending(session->ssl) == 1)
        return 1;
    return link->operations->wait(link, write, timeout_ms, error);
}

int session_flush(struct session *session, int timeout_ms, struct error *error)
{
    struct link *link = session->bio.link;

    return link->operations->flush(link, timeout_ms, error);
}
