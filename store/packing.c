/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/packing.h"

#include <openssl/crypto.h>
#include <string.h>
#include <zstd.h>

#define LEVEL 3
#define WINDOW_LOG_MAX 23 /* level 3 uses up to 21 */

/* ZSTD_e_end of the last piece may need several calls, ZSTD_e_continue of the first, too. */
static int feed(ZSTD_CCtx *context, const void *bytes, size_t size, ZSTD_EndDirective directive,
                ZSTD_outBuffer *out)
{
    ZSTD_inBuffer in = {bytes, size, 0};
    size_t left;

    do {
        left = ZSTD_compressStream2(context, out, &in, directive);
        if (ZSTD_isError(left) || (left > 0 && out->pos == out->size))
            return -1;
    } while (in.pos < in.size || (directive == ZSTD_e_end && left > 0));
    return 0;
}

int packing_pack(const void *head, size_t head_size, const void *body, size_t body_size,
                 struct envelope_bytes *out, struct error *error)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t bound = ZSTD_compressBound(head_size + body_size);
    ZSTD_outBuffer packed = {OPENSSL_malloc(bound), bound, 0};
    int result = -1;

    memset(out, 0, sizeof *out);
    if (context == NULL || packed.dst == NULL) {
        (void)error_set(error, ERROR_FAILED, "batch: no memory to pack %zu bytes", body_size);
        goto done;
    }
    if (ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context, head_size + body_size)) ||
        feed(context, head, head_size, ZSTD_e_continue, &packed) != 0 ||
        feed(context, body, body_size, ZSTD_e_end, &packed) != 0) {
        (void)error_set(error, ERROR_FAILED, "batch: %zu bytes cannot be packed", body_size);
        goto done;
    }
    out->data = packed.dst;
    out->size = packed.pos;
    packed.dst = NULL;
    result = 0;
done:
    OPENSSL_clear_free(packed.dst, packed.pos);
    ZSTD_freeCCtx(context);
    return result;
}

/* One step of the expansion: 0 when the frame has ended, 1 when there is more, -1. */
static int expand(ZSTD_DCtx *context, ZSTD_inBuffer *in, size_t most, struct buffer *plain,
                  struct error *error)
{
    size_t room = most + 1 - plain->length, left, before = in->pos;
    ZSTD_outBuffer out;

    if (room > ZSTD_DStreamOutSize())
        room = ZSTD_DStreamOutSize();
    if (buffer_reserve(plain, room, error) != 0)
        return -1;
    out = (ZSTD_outBuffer){plain->data + plain->length, room, 0};
    left = ZSTD_decompressStream(context, &out, in);
    plain->length += out.pos;
    if (ZSTD_isError(left))
        return error_set(error, ERROR_CORRUPT, "cannot be expanded: %s", ZSTD_getErrorName(left));
    if (plain->length > most)
        return error_set(error, ERROR_CORRUPT, "expands to more than %zu bytes", most);
    if (left == 0)
        return 0;
    if (out.pos == 0 && in->pos == before)
        return error_set(error, ERROR_CORRUPT, "cannot be expanded: its frame is cut");
    return 1;
}

int packing_unpack(const void *bytes, size_t size, size_t most, struct buffer *plain,
                   struct error *error)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_inBuffer in = {bytes, size, 0};
    unsigned long long claimed = ZSTD_getFrameContentSize(bytes, size);
    int more = 1;

    if (context == NULL ||
        ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
        more = error_set(error, ERROR_FAILED, "no memory to expand");
    /* Room for all at once: growing step by step leaves holes as large as the document.  A frame that
     * lies about it (the two "unknown" values are above every cap) costs address space, no memory. */
    if (more == 1 && claimed <= most &&
        buffer_reserve(plain, (size_t)claimed + ZSTD_DStreamOutSize(), error) != 0)
        more = -1;
    while (more == 1)
        more = expand(context, &in, most, plain, error);
    if (more == 0 && in.pos != size)
        more = error_set(error, ERROR_CORRUPT, "cannot be expanded: has more than one frame");
    ZSTD_freeDCtx(context);
    if (more != 0)
        buffer_cleanse(plain);
    return more;
}
