/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/envelope.h"

#include <openssl/bio.h>
#include <openssl/buffer.h>
#include <openssl/cms.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <limits.h>
#include <string.h>

#include "store/crypto.h"

void envelope_bytes_cleanse(struct envelope_bytes *bytes)
{
    OPENSSL_clear_free(bytes->data, bytes->size);
    bytes->data = NULL;
    bytes->size = 0;
}

/* ---- DER ---- */

/* The element at AT: its content, and where the next one begins.  Definite lengths of at most four
 * bytes, tags of one byte: all that a batch has. */
static int read_element(const unsigned char *at, const unsigned char *end, bool *constructed,
                        const unsigned char **content, const unsigned char **next)
{
    size_t length, digits;

    if (end - at < 2 || (at[0] & 0x1f) == 0x1f)
        return -1;
    *constructed = (at[0] & 0x20) != 0;
    length = at[1];
    at += 2;
    if (length >= 0x80) {
        digits = length & 0x7f;
        if (digits == 0 || digits > 4 || (size_t)(end - at) < digits)
            return -1;
        for (length = 0; digits > 0; digits--)
            length = length << 8 | *at++;
    }
    if ((size_t)(end - at) < length)
        return -1;
    *content = at;
    *next = at + length;
    return 0;
}

/* Whether DER is one element of which all but one leaf is small.  Asked before OpenSSL builds an
 * object of every element: 40 MB of tiny ones would take ten times that. */
static bool is_small_but_for_one_leaf(const unsigned char *der, size_t size)
{
    const unsigned char *at = der, *end = der + size, *content, *next, *largest, *largest_end;
    bool constructed;

    if (read_element(at, end, &constructed, &content, &next) != 0 || next != end)
        return false;
    while (constructed && content < next) {
        end = next;
        largest = largest_end = content;
        for (at = content; at < end; at = next) {
            if (read_element(at, end, &constructed, &content, &next) != 0)
                return false;
            if (next - at > largest_end - largest) {
                largest = at;
                largest_end = next;
            }
        }
        if (read_element(largest, largest_end, &constructed, &content, &next) != 0)
            return false;
    }
    return size - (size_t)(next - content) <= ENVELOPE_HEADER_MAX_BYTES;
}

/* The CMS structure that fills BYTES, of type NID; NULL if it is none. */
static CMS_ContentInfo *parse(const void *bytes, size_t size, int nid)
{
    const unsigned char *at = bytes;
    CMS_ContentInfo *cms;

    if (size > INT_MAX - 1 || !is_small_but_for_one_leaf(bytes, size))
        return NULL;
    cms = d2i_CMS_ContentInfo(NULL, &at, (long)size);
    if (cms != NULL &&
        (at != (const unsigned char *)bytes + size || OBJ_obj2nid(CMS_get0_type(cms)) != nid)) {
        CMS_ContentInfo_free(cms);
        cms = NULL;
    }
    return cms;
}

/* Give a detached CMS the CONTENT, which it then owns. */
static int attach(CMS_ContentInfo *cms, struct envelope_bytes *content)
{
    ASN1_OCTET_STRING **place;

    if (content->size > INT_MAX || CMS_set_detached(cms, 0) != 1)
        return -1;
    place = CMS_get0_content(cms);
    if (place == NULL || *place == NULL)
        return -1;
    ASN1_STRING_set0(*place, content->data, (int)content->size);
    content->data = NULL;
    content->size = 0;
    return 0;
}

/* A memory BIO with room for SIZE bytes, so that it never grows by copying. */
static BIO *roomy_bio(size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    BUF_MEM *memory = BUF_MEM_new();

    if (bio == NULL || memory == NULL || BUF_MEM_grow(memory, size) != size) {
        BIO_free(bio);
        BUF_MEM_free(memory);
        return NULL;
    }
    memory->length = 0;
    BIO_set_mem_buf(bio, memory, BIO_CLOSE);
    return bio;
}

/* What was written to a memory BIO becomes the caller's; the BIO can only be freed then. */
static void take_written(BIO *bio, struct envelope_bytes *out)
{
    BUF_MEM *memory = NULL;

    BIO_get_mem_ptr(bio, &memory);
    out->data = (unsigned char *)memory->data;
    out->size = memory->length;
    memory->data = NULL;
    memory->length = memory->max = 0;
}

/* ---- Sign and seal ---- */

static CMS_ContentInfo *sign(const struct identity *signer, const struct envelope_bytes *content)
{
    const unsigned flags = CMS_BINARY | CMS_DETACHED | CMS_PARTIAL | CMS_NOSMIMECAP;
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
    BIO *in = BIO_new_mem_buf(content->data, (int)content->size);

    if (cms == NULL || in == NULL ||
        CMS_add1_signer(cms, identity_certificate(signer), identity_key(signer), EVP_sha256(),
                        flags) == NULL ||
        CMS_final(cms, in, NULL, flags) != 1) {
        CMS_ContentInfo_free(cms);
        cms = NULL;
    }
    BIO_free(in);
    return cms;
}

int envelope_sign(const struct identity *signer, struct envelope_bytes *content,
                  struct envelope_bytes *signed_data, struct error *error)
{
    CMS_ContentInfo *cms = content->size <= INT_MAX ? sign(signer, content) : NULL;
    int size = -1;

    memset(signed_data, 0, sizeof *signed_data);
    if (cms != NULL && attach(cms, content) == 0)
        size = i2d_CMS_ContentInfo(cms, &signed_data->data);
    CMS_ContentInfo_free(cms);
    envelope_bytes_cleanse(content);
    if (size <= 0)
        return crypto_error(error, ERROR_FAILED, "batch: cannot be signed by %s",
                            identity_name(signer));
    signed_data->size = (size_t)size;
    return 0;
}

/* ECDH-ES with the SHA-256 KDF; OpenSSL picks AES-256 key wrap as the content's key has 256 bits. */
static CMS_ContentInfo *encrypt(X509 *recipient, const struct envelope_bytes *plain, BIO *out)
{
    const unsigned flags = CMS_BINARY | CMS_DETACHED | CMS_PARTIAL;
    CMS_ContentInfo *cms = CMS_encrypt(NULL, NULL, EVP_aes_256_gcm(), flags);
    BIO *in = BIO_new_mem_buf(plain->data, (int)plain->size);
    CMS_RecipientInfo *info = NULL;
    EVP_PKEY_CTX *context;

    if (cms == NULL || in == NULL)
        goto fail;
    info = CMS_add1_recipient_cert(cms, recipient, CMS_KEY_PARAM);
    context = info != NULL ? CMS_RecipientInfo_get0_pkey_ctx(info) : NULL;
    if (context == NULL || CMS_RecipientInfo_type(info) != CMS_RECIPINFO_AGREE ||
        EVP_PKEY_CTX_set_ecdh_kdf_md(context, EVP_sha256()) != 1 ||
        CMS_final(cms, in, out, flags) != 1)
        goto fail;
    BIO_free(in);
    return cms;

fail:
    BIO_free(in);
    CMS_ContentInfo_free(cms);
    return NULL;
}

static int append_der(CMS_ContentInfo *cms, struct buffer *out, struct error *error)
{
    unsigned char *at;
    int size = i2d_CMS_ContentInfo(cms, NULL);

    if (size <= 0)
        return crypto_error(error, ERROR_FAILED, "batch: cannot be sealed");
    if (buffer_reserve(out, (size_t)size, error) != 0)
        return -1;
    at = out->data + out->length;
    if (i2d_CMS_ContentInfo(cms, &at) != size)
        return crypto_error(error, ERROR_FAILED, "batch: cannot be sealed");
    out->length += (size_t)size;
    return 0;
}

int envelope_seal(X509 *recipient, struct envelope_bytes *signed_data, struct buffer *out,
                  struct error *error)
{
    BIO *bio = signed_data->size <= INT_MAX ? roomy_bio(signed_data->size) : NULL;
    CMS_ContentInfo *cms = bio != NULL ? encrypt(recipient, signed_data, bio) : NULL;
    struct envelope_bytes sealed = {0};
    int result;

    envelope_bytes_cleanse(signed_data);
    if (cms != NULL)
        take_written(bio, &sealed);
    BIO_free(bio);
    if (cms == NULL || attach(cms, &sealed) != 0)
        result = crypto_error(error, ERROR_FAILED, "batch: cannot be sealed");
    else
        result = append_der(cms, out, error);
    envelope_bytes_cleanse(&sealed);
    CMS_ContentInfo_free(cms);
    return result;
}

/* ---- Unseal and verify ---- */

bool envelope_is_sealed(const void *bytes, size_t size)
{
    CMS_ContentInfo *cms = parse(bytes, size, NID_id_smime_ct_authEnvelopedData);
    bool sealed = cms != NULL;

    CMS_ContentInfo_free(cms);
    ERR_clear_error();
    return sealed;
}

static bool is_recipient(CMS_ContentInfo *cms, X509 *certificate)
{
    STACK_OF(CMS_RecipientInfo) *infos = CMS_get0_RecipientInfos(cms);

    for (int i = 0; i < sk_CMS_RecipientInfo_num(infos); i++) {
        CMS_RecipientInfo *info = sk_CMS_RecipientInfo_value(infos, i);
        STACK_OF(CMS_RecipientEncryptedKey) * keys;

        if (CMS_RecipientInfo_type(info) != CMS_RECIPINFO_AGREE)
            continue;
        keys = CMS_RecipientInfo_kari_get0_reks(info);
        for (int k = 0; k < sk_CMS_RecipientEncryptedKey_num(keys); k++)
            if (CMS_RecipientEncryptedKey_cert_cmp(sk_CMS_RecipientEncryptedKey_value(keys, k),
                                                   certificate) == 0)
                return true;
    }
    return false;
}

/* Decrypt to OUT, at most ROOM bytes.  What was decrypted is kept only when the cipher says that the
 * tag was right, which it knows at the end.  Not by CMS_decrypt, as that holds the content twice. */
static int decrypt(CMS_ContentInfo *cms, const struct identity *recipient, size_t room,
                   struct envelope_bytes *out)
{
    BIO *in = NULL;
    int got = 1, result = -1;

    out->data = OPENSSL_malloc(room + 1);
    if (out->data == NULL ||
        CMS_decrypt_set1_pkey(cms, identity_key(recipient), identity_certificate(recipient)) != 1)
        goto done;
    in = CMS_dataInit(cms, NULL);
    if (in == NULL || BIO_method_type(in) != BIO_TYPE_CIPHER)
        goto done;
    while (got > 0 && out->size <= room) {
        got = BIO_read(in, out->data + out->size, (int)(room + 1 - out->size));
        if (got > 0)
            out->size += (size_t)got;
    }
    if (got == 0 && BIO_get_cipher_status(in) > 0)
        result = 0;
done:
    BIO_free_all(in);
    if (result != 0) {
        OPENSSL_clear_free(out->data, room + 1);
        memset(out, 0, sizeof *out);
    }
    return result;
}

int envelope_unseal(const struct identity *recipient, const void *bytes, size_t size,
                    struct envelope_bytes *signed_data, struct error *error)
{
    ASN1_OCTET_STRING **content;
    CMS_ContentInfo *cms;
    int result = -1;

    memset(signed_data, 0, sizeof *signed_data);
    cms = parse(bytes, size, NID_id_smime_ct_authEnvelopedData);
    content = cms != NULL ? CMS_get0_content(cms) : NULL;
    if (content == NULL || *content == NULL)
        (void)error_set(error, ERROR_CORRUPT, "is not a batch");
    else if (!is_recipient(cms, identity_certificate(recipient)))
        (void)error_set(error, ERROR_REFUSED, "is not sealed to %s", identity_name(recipient));
    else if (decrypt(cms, recipient, (size_t)ASN1_STRING_length(*content), signed_data) != 0)
        (void)error_set(error, ERROR_CORRUPT, "was altered or cut");
    else
        result = 0;
    ERR_clear_error();
    CMS_ContentInfo_free(cms);
    return result;
}

/* The certificate of the only signer, checked to be SHA-256 on P-256; NULL else. */
static X509 *only_signer(CMS_ContentInfo *cms)
{
    STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(cms);
    X509_ALGOR *digest = NULL;
    X509 *signer = NULL;

    if (sk_CMS_SignerInfo_num(infos) != 1)
        return NULL;
    CMS_SignerInfo_get0_algs(sk_CMS_SignerInfo_value(infos, 0), NULL, &signer, &digest, NULL);
    if (signer == NULL || digest == NULL || OBJ_obj2nid(digest->algorithm) != NID_sha256)
        return NULL;
    return signer;
}

int envelope_verify(struct envelope_bytes *signed_data, struct envelope_verified *out,
                    struct error *error)
{
    CMS_ContentInfo *cms;
    ASN1_OCTET_STRING **content;

    memset(out, 0, sizeof *out);
    cms = parse(signed_data->data, signed_data->size, NID_pkcs7_signed);
    envelope_bytes_cleanse(signed_data);
    content = cms != NULL ? CMS_get0_content(cms) : NULL;
    if (content == NULL || *content == NULL ||
        OBJ_obj2nid(CMS_get0_eContentType(cms)) != NID_pkcs7_data ||
        sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)) != 1) {
        (void)error_set(error, ERROR_CORRUPT, "is not signed");
        goto fail;
    }
    if (CMS_verify(cms, NULL, NULL, NULL, NULL, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY) != 1 ||
        (out->signer = only_signer(cms)) == NULL) {
        (void)error_set(error, ERROR_CORRUPT, "its signature is wrong");
        goto fail;
    }
    ERR_clear_error();
    out->cms = cms;
    out->content = ASN1_STRING_get0_data(*content);
    out->size = (size_t)ASN1_STRING_length(*content);
    return 0;

fail:
    ERR_clear_error();
    CMS_ContentInfo_free(cms);
    memset(out, 0, sizeof *out);
    return -1;
}

void envelope_verified_free(struct envelope_verified *verified)
{
    CMS_ContentInfo_free(verified->cms);
    memset(verified, 0, sizeof *verified);
}
