/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * store/batch: what was sealed opens to the same bytes, for its destination alone; everything else is
 * refused with words of its own and gives nothing of the content.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <zstd.h>

#include "base/file.h"
#include "store/batch.h"
#include "store/envelope.h"
#include "store/packing.h"
#include "tests/unit/support/deployment.h"

#define LINES "{\"_id\":\"a\",\"n\":1e400}\n{\"_id\":\"b\"}\n"

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

static struct manifest usual(void)
{
    struct manifest manifest = {.from = "t1",
                                .to = "server",
                                .epoch = "0123456789abcdef",
                                .seq = 7,
                                .kind = "docs",
                                .db = "medic",
                                .user = "chw1",
                                .docs = 2,
                                .created = "2026-01-31T12:00:00Z"};
    return manifest;
}

static void seal(const struct identity *signer, const struct identity *recipient,
                 const struct manifest *manifest, const char *lines, struct buffer *out,
                 struct label *label)
{
    struct error error;

    if (batch_seal(signer, identity_certificate(recipient), manifest, lines, strlen(lines), out,
                   label, &error) != 0)
        fail_msg("%s", error.text);
}

/* Seal any bytes as the plaintext, past every check: what a hostile signer can do. */
static void seal_raw(const struct identity *signer, const char *plain, size_t size,
                     struct buffer *out)
{
    struct envelope_bytes packed, signed_data;
    struct error error;

    if (packing_pack(plain, size, "", 0, &packed, &error) != 0 ||
        envelope_sign(signer, &packed, &signed_data, &error) != 0 ||
        envelope_seal(identity_certificate(deployment->server), &signed_data, out, &error) != 0)
        fail_msg("%s", error.text);
}

static void assert_nothing(const struct opened_batch *opened)
{
    static const struct opened_batch none;

    assert_memory_equal(opened, &none, sizeof none);
}

static void refused_by(const struct identity *recipient, bool with_list, const struct label *label,
                       const void *bytes, size_t size, bool is_revocation, const char *words)
{
    struct trust *trust = deployment_trust(deployment, with_list);
    struct opened_batch opened;
    struct error error = {0};
    bool revoked = !is_revocation;

    assert_int_equal(batch_open(recipient, trust, label, bytes, size, &opened, &revoked, &error),
                     -1);
    assert_nothing(&opened);
    assert_int_equal(revoked, is_revocation);
    if (strstr(error.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", error.text, words);
    assert_int_equal(strncmp(error.text, "batch", 5), 0);
    trust_free(trust);
}

static void refused(const struct label *label, const struct buffer *batch, const char *words)
{
    refused_by(deployment->server, true, label, batch->data, batch->length, false, words);
}

/* The bytes that were sealed come out, with manifest and signer; two seals of the same differ. */
static void it_opens_to_the_same_bytes(void **state)
{
    struct manifest manifest = usual();
    struct buffer batch = {0}, again = {0};
    struct label label, other;
    struct opened_batch opened;
    struct trust *trust = deployment_trust(deployment, true);
    struct error error;
    const char *line;
    size_t at = 0, length;

    (void)state;
    seal(deployment->tablet, deployment->server, &manifest, LINES, &batch, &label);
    assert_int_equal(label.size, batch.length);
    assert_int_equal(label_check(&label, &error), 0);
    if (batch_open(deployment->server, trust, &label, batch.data, batch.length, &opened, NULL,
                   &error) != 0)
        fail_msg("%s", error.text);
    assert_memory_equal(&opened.manifest, &manifest, sizeof manifest);
    assert_string_equal(opened.signer.name, "t1");
    assert_string_equal(opened.signer.user, "chw1");
    assert_int_equal(opened.lines_bytes, strlen(LINES));
    assert_memory_equal(opened.lines, LINES, strlen(LINES));
    assert_int_equal(opened_batch_line(&opened, &at, &line, &length), 1);
    assert_int_equal(length, strlen("{\"_id\":\"a\",\"n\":1e400}"));
    assert_int_equal(opened_batch_line(&opened, &at, &line, &length), 1);
    assert_memory_equal(line, "{\"_id\":\"b\"}", length);
    assert_int_equal(opened_batch_line(&opened, &at, &line, &length), 0);
    opened_batch_free(&opened);
    opened_batch_free(&opened);

    seal(deployment->tablet, deployment->server, &manifest, LINES, &again, &other);
    assert_memory_not_equal(label.id, other.id, sizeof label.id);
    trust_free(trust);
    buffer_free(&batch);
    buffer_free(&again);
}

/* A batch without lines, and one of an unknown kind, are batches. */
static void empty_and_unknown_kinds_open(void **state)
{
    struct manifest manifest = usual();
    struct trust *trust = deployment_trust(deployment, false);
    struct buffer batch = {0};
    struct label label;
    struct opened_batch opened;
    struct error error;

    (void)state;
    manifest.docs = 0;
    strcpy(manifest.kind, "bundle-2");
    seal(deployment->tablet, deployment->server, &manifest, "", &batch, &label);
    assert_int_equal(batch_open(deployment->server, trust, &label, batch.data, batch.length,
                                &opened, NULL, &error),
                     0);
    assert_string_equal(opened.manifest.kind, "bundle-2");
    assert_int_equal(opened.lines_bytes, 0);
    opened_batch_free(&opened);
    buffer_free(&batch);
    trust_free(trust);
}

/* Only its destination opens it: not the dock's own key, not another tablet, not a courier. */
static void a_wrong_key_opens_nothing(void **state)
{
    struct manifest manifest = usual();
    struct buffer batch = {0};
    struct label label;
    struct deployment *other = deployment_new();

    (void)state;
    seal(deployment->tablet, deployment->server, &manifest, LINES, &batch, &label);
    refused_by(deployment->dock, true, &label, batch.data, batch.length, false,
               "is not sealed to dock");
    refused_by(deployment->courier, true, NULL, batch.data, batch.length, false,
               "is not sealed to c1");
    refused_by(deployment->tablet, true, &label, batch.data, batch.length, false,
               "is not sealed to t1");
    refused_by(other->server, true, &label, batch.data, batch.length, false,
               "is not sealed to server");
    deployment_free(other);
    buffer_free(&batch);
}

/* With its label: every flipped bit of every byte is refused, as is every cut and every addition. */
static void every_flip_is_refused(void **state)
{
    struct manifest manifest = usual();
    struct buffer batch = {0};
    struct label label;

    (void)state;
    seal(deployment->tablet, deployment->server, &manifest, LINES, &batch, &label);
    for (size_t i = 0; i < batch.length; i++) {
        batch.data[i] ^= (unsigned char)(1u << (i & 7));
        refused_by(deployment->server, false, &label, batch.data, batch.length, false,
                   "does not match its id");
        batch.data[i] ^= (unsigned char)(1u << (i & 7));
    }
    buffer_free(&batch);
}

static const char *const structural[] = {"is not a batch", "is not sealed to",
                                         "was altered or cut"};

/* Without a label: every flipped bit is refused, or opens to the same content.  The latter are the
 * bytes that carry none (docs/batch.md, "Faults"): few, and all ahead of the content. */
static void flips_without_a_label(void **state)
{
    struct manifest manifest = usual();
    struct trust *trust = deployment_trust(deployment, true);
    struct buffer batch = {0};
    struct label label;
    struct opened_batch opened;
    struct error error;
    unsigned meaningless = 0;

    (void)state;
    seal(deployment->tablet, deployment->server, &manifest, LINES, &batch, &label);
    for (size_t i = 0; i < batch.length; i++) {
        unsigned char kept = batch.data[i];

        batch.data[i] ^= (unsigned char)(1u << (i & 7));
        if (batch_open(deployment->server, trust, NULL, batch.data, batch.length, &opened, NULL,
                       &error) == 0) {
            assert_memory_equal(&opened.manifest, &manifest, sizeof manifest);
            assert_int_equal(opened.lines_bytes, strlen(LINES));
            assert_memory_equal(opened.lines, LINES, strlen(LINES));
            if (getenv("SHOW_FLIPS") != NULL)
                print_message("byte %zu (0x%02x) carries no content\n", i, kept);
            opened_batch_free(&opened);
            meaningless++;
        } else {
            bool known = false;

            assert_nothing(&opened);
            for (size_t k = 0; k < sizeof structural / sizeof structural[0]; k++)
                known = known || strstr(error.text, structural[k]) != NULL;
            if (!known)
                fail_msg("byte %zu: unexpected words: %s", i, error.text);
        }
        batch.data[i] = kept;
    }
    assert_in_range(meaningless, 0, 16);
    trust_free(trust);
    buffer_free(&batch);
}

/* A batch cut at every length, or with a byte more, is refused. */
static void every_cut_is_refused(void **state)
{
    struct manifest manifest = usual();
    struct buffer batch = {0};
    struct label label;
    struct error error;

    (void)state;
    seal(deployment->tablet, deployment->server, &manifest, LINES, &batch, &label);
    for (size_t size = 0; size < batch.length; size++) {
        refused_by(deployment->server, true, NULL, batch.data, size, false, "is not a batch");
        refused_by(deployment->server, true, &label, batch.data, size, false,
                   "does not match its id");
    }
    assert_int_equal(buffer_append(&batch, "", 1, &error), 0);
    refused(NULL, &batch, "is not a batch");
    refused(&label, &batch, "does not match its id");
    buffer_free(&batch);
}

/* Another deployment's station, and a revoked one: told apart, also by *revoked. */
static void signers_must_be_ours(void **state)
{
    struct deployment *other = deployment_new();
    struct identity *lost = deployment_enroll(deployment, ROLE_TABLET, "t9", "chw1");
    struct manifest manifest = usual();
    struct buffer foreign = {0}, of_lost = {0};
    struct label label;

    (void)state;
    seal(other->tablet, deployment->server, &manifest, LINES, &foreign, &label);
    refused(&label, &foreign, "signer t1 was not issued by this deployment");

    strcpy(manifest.from, "t9");
    seal(lost, deployment->server, &manifest, LINES, &of_lost, &label);
    deployment_revoke(deployment, lost);
    refused_by(deployment->server, true, &label, of_lost.data, of_lost.length, true,
               "signer t9 is revoked");
    identity_free(lost);
    deployment_free(other);
    buffer_free(&foreign);
    buffer_free(&of_lost);
}

/* Each field of a label that contradicts the manifest is named. */
static void labels_must_agree(void **state)
{
    struct manifest manifest = usual();
    struct buffer batch = {0};
    struct label label, wrong;

    (void)state;
    seal(deployment->tablet, deployment->server, &manifest, LINES, &batch, &label);
    wrong = label;
    strcpy(wrong.from, "t2");
    refused(&wrong, &batch, "label contradicts the manifest: from");
    wrong = label;
    strcpy(wrong.to, "t2");
    refused(&wrong, &batch, "label contradicts the manifest: to");
    wrong = label;
    strcpy(wrong.epoch, "0123456789abcdee");
    refused(&wrong, &batch, "label contradicts the manifest: epoch");
    wrong = label;
    wrong.seq = 8;
    refused(&wrong, &batch, "label contradicts the manifest: seq");
    wrong = label;
    wrong.size++;
    refused(&wrong, &batch, "does not match its id");
    wrong = label;
    wrong.id[31] ^= 1;
    refused(&wrong, &batch, "does not match its id");
    buffer_free(&batch);
}

static void cannot_seal(const struct identity *signer, const struct manifest *manifest,
                        const char *lines, const char *words)
{
    struct buffer out = {0};
    struct label label;
    struct error error = {0};

    assert_int_equal(batch_seal(signer, identity_certificate(deployment->server), manifest, lines,
                                strlen(lines), &out, &label, &error),
                     -1);
    assert_int_equal(out.length, 0);
    if (strstr(error.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", error.text, words);
    buffer_free(&out);
}

static void raw_is_refused(const struct identity *signer, const char *plain, const char *words)
{
    struct buffer batch = {0};

    seal_raw(signer, plain, strlen(plain), &batch);
    refused(NULL, &batch, words);
    buffer_free(&batch);
}

#define HEAD                                                                              \
    "{\"boda\":1,\"from\":\"%s\",\"to\":\"%s\",\"epoch\":\"0123456789abcdef\",\"seq\":7," \
    "\"kind\":\"docs\",\"db\":\"medic\",\"user\":\"%s\",\"docs\":%u,\"created\":\"\"}\n"

static const char *head(const char *from, const char *to, const char *user, unsigned docs)
{
    static char text[1024];

    (void)snprintf(text, sizeof text, HEAD, from, to, user, docs);
    return text;
}

/* Nobody signs for somebody else, whatever is done past batch_seal's own refusal. */
static void nobody_signs_for_another(void **state)
{
    struct manifest manifest = usual();

    (void)state;
    strcpy(manifest.from, "server");
    cannot_seal(deployment->tablet, &manifest, LINES, "signer t1 (tablet) may not sign for server");
    raw_is_refused(deployment->tablet, head("server", "server", "chw1", 0),
                   "signer t1 (tablet) may not sign for server");
    raw_is_refused(deployment->tablet, head("t2", "server", "chw1", 0),
                   "signer t1 (tablet) may not sign for t2");
    raw_is_refused(deployment->tablet, head("t1", "server", "chw2", 0),
                   "signer t1 may not sign for the user chw2");
    raw_is_refused(deployment->tablet, head("t1", "server", "", 0),
                   "signer t1 may not sign for the user (none)");
    raw_is_refused(deployment->server, head("t1", "server", "chw1", 0),
                   "signer server (server) may not sign for t1");
    raw_is_refused(deployment->dock, head("dock", "server", "", 0),
                   "signer dock (dock) may not sign for dock");
    raw_is_refused(deployment->dock, head("server", "server", "", 0),
                   "signer dock (dock) may not sign for server");
    raw_is_refused(deployment->courier, head("c1", "server", "", 0),
                   "signer c1 (courier) may not sign for c1");
    raw_is_refused(deployment->tablet, head("t1", "t2", "chw1", 0),
                   "is addressed to t2, not to server");
}

/* The manifest's count is the lines', and every line has its end. */
static void lines_must_be_whole(void **state)
{
    struct manifest manifest = usual();
    char plain[2048];

    (void)state;
    cannot_seal(deployment->tablet, &manifest, "{}\n", "has 1 lines, not the 2 of its manifest");
    cannot_seal(deployment->tablet, &manifest, "{}\n{}", "its last line has no end");
    (void)snprintf(plain, sizeof plain, "%s{}\n{}\n{}\n", head("t1", "server", "chw1", 2));
    raw_is_refused(deployment->tablet, plain, "has 3 lines, not the 2 of its manifest");
    (void)snprintf(plain, sizeof plain, "%s{}", head("t1", "server", "chw1", 1));
    raw_is_refused(deployment->tablet, plain, "its last line has no end");
    raw_is_refused(deployment->tablet, "{\"boda\":1}", "manifest: its line has no end");
    raw_is_refused(deployment->tablet, "", "manifest: its line has no end");
    raw_is_refused(deployment->tablet, "{\"boda\":1}\n", "manifest: has no member from");
}

static void bad_manifest(const char *line, const char *words)
{
    struct manifest manifest;
    struct error error = {0};

    assert_int_equal(manifest_read(line, strlen(line), &manifest, &error), -1);
    if (strstr(error.text, words) == NULL)
        fail_msg("%.300s: '%s' does not say '%s'", line, error.text, words);
}

#define WHOLE                                                                       \
    "{\"boda\":1,\"from\":\"t1\",\"to\":\"server\",\"epoch\":\"0123456789abcdef\"," \
    "\"seq\":7,\"kind\":\"docs\",\"db\":\"medic\",\"user\":\"chw1\",\"docs\":2,"    \
    "\"created\":\"\"}"

/* WHOLE with OLD replaced by NEW. */
static const char *changed(const char *old, const char *new)
{
    static char text[8192];
    const char *at = strstr(WHOLE, old);

    assert_non_null(at);
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - WHOLE), WHOLE, new, at + strlen(old));
    return text;
}

/* Every member is required, of its type and within its bounds; unknown ones are ignored. */
static void manifests_are_checked(void **state)
{
    static const char *const members[] = {"boda", "from", "to",   "epoch", "seq",
                                          "kind", "db",   "user", "docs",  "created"};
    static char text[8192], old[64], new[64], words[64];
    struct manifest manifest;
    struct error error;

    (void)state;
    assert_int_equal(manifest_read(WHOLE, strlen(WHOLE), &manifest, &error), 0);
    (void)changed("{", "{\"later\":[1],");
    assert_int_equal(
        manifest_read(changed("{", "{\"later\":[1],"), strlen(WHOLE) + 12, &manifest, &error), 0);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        (void)snprintf(old, sizeof old, "\"%s\":", members[i]);
        (void)snprintf(new, sizeof new, "\"x%s\":", members[i]);
        (void)snprintf(words, sizeof words, "manifest: has no member %s", members[i]);
        bad_manifest(changed(old, new), words);
        (void)snprintf(new, sizeof new, "\"%s\":[],\"x\":", members[i]);
        (void)snprintf(words, sizeof words, "manifest: its member %s is out of bounds", members[i]);
        bad_manifest(changed(old, new), words);
    }
    bad_manifest(changed("\"boda\":1", "\"boda\":2"), "update it");
    bad_manifest(changed("\"t1\"", "\"T1\""), "member from");
    bad_manifest(changed("\"server\"", "\"a/b\""), "member to");
    bad_manifest(changed("abcdef", "abcdeF"), "member epoch");
    bad_manifest(changed("abcdef", "abcde"), "member epoch");
    bad_manifest(changed("\"seq\":7", "\"seq\":-1"), "member seq");
    bad_manifest(changed("\"seq\":7", "\"seq\":9007199254740992"), "member seq");
    bad_manifest(changed("\"seq\":7", "\"seq\":1.5"), "member seq");
    bad_manifest(changed("\"seq\":7", "\"seq\":99999999999999999999"), "not a JSON object");
    bad_manifest(changed("\"docs\",", "\"\","), "member kind");
    bad_manifest(changed("\"chw1\"", "\"c:1\""), "member user");
    bad_manifest(changed("\"seq\":7", "\"seq\":7,\"seq\":8"), "not a JSON object");
    bad_manifest(changed("chw1", "c\\u0000w1"), "not a JSON object");
    bad_manifest("[]", "not a JSON object");
    bad_manifest("", "not a JSON object");
    bad_manifest(WHOLE " x", "not a JSON object");
    memset(text, ' ', MANIFEST_MAX_BYTES);
    strcpy(text + MANIFEST_MAX_BYTES, WHOLE);
    bad_manifest(text, "is longer than 4096 bytes");
}

/* A frame that expands without end is stopped at the cap, one that is no frame is refused, and so are
 * many documents beyond 4 MiB. */
static void bombs_are_stopped(void **state)
{
    struct envelope_bytes packed, signed_data;
    struct manifest manifest = usual();
    struct buffer batch = {0};
    struct error error;
    size_t size = (size_t)BATCH_DOC_MAX_BYTES + 65536;
    char *zeroes = calloc(1, size);
    size_t start = strlen(head("t1", "server", "chw1", 2));

    (void)state;
    assert_non_null(zeroes);
    seal_raw(deployment->tablet, zeroes, size, &batch);
    assert_true(batch.length < 65536);
    refused(NULL, &batch, "expands to more than 33558530 bytes");
    buffer_free(&batch);

    memset(zeroes, ' ', size);
    memcpy(zeroes, head("t1", "server", "chw1", 2), start);
    zeroes[start + BATCH_PLAIN_BYTES - 1] = '\n';
    zeroes[start + BATCH_PLAIN_BYTES] = '\n';
    seal_raw(deployment->tablet, zeroes, start + BATCH_PLAIN_BYTES + 1, &batch);
    refused(NULL, &batch, "expands to more than 4194304 bytes");
    buffer_free(&batch);
    manifest.docs = 2;
    zeroes[start + BATCH_PLAIN_BYTES + 1] = '\0';
    cannot_seal(deployment->tablet, &manifest, zeroes + start,
                "expands to more than 4194304 bytes");
    free(zeroes);

    packed.data = OPENSSL_malloc(5);
    assert_non_null(packed.data);
    memcpy(packed.data, "hello", 5);
    packed.size = 5;
    assert_int_equal(envelope_sign(deployment->tablet, &packed, &signed_data, &error), 0);
    assert_int_equal(
        envelope_seal(identity_certificate(deployment->server), &signed_data, &batch, &error), 0);
    refused(NULL, &batch, "cannot be expanded");
    buffer_free(&batch);
}

/* Frames that are cut, doubled, or lie about their size or window. */
static void frames_are_whole(void **state)
{
    struct envelope_bytes packed;
    struct buffer plain = {0};
    struct error error;
    unsigned char twice[512];
    ZSTD_CCtx *context = ZSTD_createCCtx();
    char *big = calloc(1, 32u << 20);
    void *frame = malloc(ZSTD_compressBound(32u << 20));
    size_t size;

    (void)state;
    assert_int_equal(packing_pack("head\n", 5, "body\n", 5, &packed, &error), 0);
    assert_true(2 * packed.size <= sizeof twice);
    memcpy(twice, packed.data, packed.size);
    memcpy(twice + packed.size, packed.data, packed.size);
    for (size_t cut = 0; cut < packed.size; cut++) {
        assert_int_equal(packing_unpack(twice, cut, 100, &plain, &error), -1);
        assert_non_null(strstr(error.text, "cannot be expanded"));
        assert_null(plain.data);
    }
    assert_int_equal(packing_unpack(twice, 2 * packed.size, 100, &plain, &error), -1);
    assert_non_null(strstr(error.text, "more than one frame"));
    assert_int_equal(packing_unpack(twice, packed.size, 9, &plain, &error), -1);
    assert_non_null(strstr(error.text, "expands to more than 9 bytes"));
    assert_int_equal(packing_unpack(twice, packed.size, 10, &plain, &error), 0);
    assert_memory_equal(plain.data, "head\nbody\n", 10);
    buffer_free(&plain);
    envelope_bytes_cleanse(&packed);

    /* A window of 16 MiB: memory that a batch may not ask for. */
    assert_non_null(context);
    assert_non_null(big);
    assert_non_null(frame);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 24);
    size = ZSTD_compress2(context, frame, ZSTD_compressBound(32u << 20), big, 32u << 20);
    assert_false(ZSTD_isError(size));
    assert_int_equal(packing_unpack(frame, size, 40u << 20, &plain, &error), -1);
    assert_non_null(strstr(error.text, "cannot be expanded"));
    ZSTD_freeCCtx(context);
    free(big);
    free(frame);
}

/* The inner layers are told apart: nothing signed inside, two kinds of CMS exchanged, bytes that are
 * none, millions of tiny elements. */
static void layers_are_what_they_should_be(void **state)
{
    struct envelope_bytes bytes, signed_data;
    struct buffer batch = {0};
    struct error error;
    size_t size = 1u << 20;

    (void)state;
    bytes.data = OPENSSL_zalloc(100);
    bytes.size = 100;
    assert_int_equal(
        envelope_seal(identity_certificate(deployment->server), &bytes, &batch, &error), 0);
    refused(NULL, &batch, "is not signed");
    buffer_free(&batch);

    bytes.data = OPENSSL_zalloc(100);
    bytes.size = 100;
    assert_int_equal(envelope_sign(deployment->tablet, &bytes, &signed_data, &error), 0);
    refused_by(deployment->server, false, NULL, signed_data.data, signed_data.size, false,
               "is not a batch");
    /* The signed bytes themselves, changed within the seal by somebody else: the content, and the
     * last byte, which is the signature's. */
    signed_data.data[signed_data.size - 1] ^= 1;
    assert_int_equal(
        envelope_seal(identity_certificate(deployment->server), &signed_data, &batch, &error), 0);
    refused(NULL, &batch, "its signature is wrong");
    buffer_free(&batch);

    bytes.data = OPENSSL_zalloc(size + 5);
    assert_non_null(bytes.data);
    bytes.size = size + 5;
    memcpy(bytes.data, "\x30\x83\x10\x00\x00", 5); /* a SEQUENCE of half a million empty elements */
    refused_by(deployment->server, false, NULL, bytes.data, bytes.size, false, "is not a batch");
    envelope_bytes_cleanse(&bytes);
    refused_by(deployment->server, false, NULL, "\x30\x80\x00\x00", 4, false, "is not a batch");
}

/* A content that was changed beneath a right seal has a wrong signature. */
static void changed_content_is_noticed(void **state)
{
    struct envelope_bytes bytes, signed_data;
    struct envelope_verified verified;
    struct error error;
    unsigned refusals = 0;
    size_t size;

    (void)state;
    bytes.data = OPENSSL_zalloc(16);
    bytes.size = 16;
    assert_int_equal(envelope_sign(deployment->tablet, &bytes, &signed_data, &error), 0);
    size = signed_data.size;
    for (size_t i = 0; i < size; i++) {
        bytes.data = OPENSSL_memdup(signed_data.data, size);
        bytes.size = size;
        assert_non_null(bytes.data);
        bytes.data[i] ^= (unsigned char)(1u << (i & 7));
        if (envelope_verify(&bytes, &verified, &error) != 0) {
            refusals++;
            assert_null(verified.content);
            continue;
        }
        /* What opens still holds the same content: unsigned parts, like the certificate's text,
         * are checked by whoever asks whether to trust the signer. */
        assert_int_equal(verified.size, 16);
        for (size_t k = 0; k < 16; k++)
            assert_int_equal(verified.content[k], 0);
        envelope_verified_free(&verified);
    }
    assert_true(refusals > 16);
    envelope_bytes_cleanse(&signed_data);
}

static void write_file(const char *folder, const char *name, const void *bytes, size_t size)
{
    char path[4096];
    struct error error;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    if (file_write(path, 0600, bytes, size, &error) != 0)
        fail_msg("%s", error.text);
}

/* For tests/scenario/batch_openssl.sh, which opens a batch without Boda: in the folder BATCH_FILES a
 * batch, its lines, the server's identity (passphrase `test`), the CA and the list as PEM. */
static void files_for_openssl(void **state)
{
    const char *folder = getenv("BATCH_FILES");
    struct manifest manifest = usual();
    struct buffer batch = {0}, lines = {0};
    struct label label;
    struct error error;
    BIO *pem = BIO_new(BIO_s_mem());
    char path[4096], *text;
    long size;

    (void)state;
    assert_non_null(pem);
    if (folder == NULL) {
        BIO_free(pem);
        skip();
    }
    assert_int_equal(manifest_write(&manifest, &lines, &error), 0);
    assert_int_equal(buffer_append(&lines, "\n" LINES, strlen("\n" LINES), &error), 0);
    write_file(folder, "lines", lines.data, lines.length);
    seal(deployment->tablet, deployment->server, &manifest, LINES, &batch, &label);
    write_file(folder, "batch", batch.data, batch.length);
    (void)snprintf(path, sizeof path, "%s/server.p12", folder);
    deployment_write(deployment->server, path, "test");
    assert_int_equal(PEM_write_bio_X509(pem, authority_certificate(deployment->authority)), 1);
    size = BIO_get_mem_data(pem, &text);
    write_file(folder, "ca.crt", text, (size_t)size);
    assert_int_equal(BIO_reset(pem), 1);
    assert_int_equal(PEM_write_bio_X509_CRL(pem, authority_list(deployment->authority)), 1);
    size = BIO_get_mem_data(pem, &text);
    write_file(folder, "crl.pem", text, (size_t)size);
    BIO_free(pem);
    buffer_free(&batch);
    buffer_free(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_to_the_same_bytes),
        cmocka_unit_test(empty_and_unknown_kinds_open),
        cmocka_unit_test(a_wrong_key_opens_nothing),
        cmocka_unit_test(every_flip_is_refused),
        cmocka_unit_test(flips_without_a_label),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(signers_must_be_ours),
        cmocka_unit_test(labels_must_agree),
        cmocka_unit_test(nobody_signs_for_another),
        cmocka_unit_test(lines_must_be_whole),
        cmocka_unit_test(manifests_are_checked),
        cmocka_unit_test(bombs_are_stopped),
        cmocka_unit_test(frames_are_whole),
        cmocka_unit_test(layers_are_what_they_should_be),
        cmocka_unit_test(changed_content_is_noticed),
        cmocka_unit_test(files_for_openssl),
    };

    return cmocka_run_group_tests_name("batch", tests, set_up, tear_down);
}
