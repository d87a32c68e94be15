/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What anybody can send who knows a station's certificate: bytes that claim to be SignedData, or a
 * sealed batch, or a zstd frame.
 */
#include <stdint.h>
#include <string.h>

#include <openssl/crypto.h>

#include "store/envelope.h"
#include "store/packing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct envelope_bytes copy = {OPENSSL_malloc(size + 1), size};
    struct envelope_verified verified;
    struct buffer plain = {0};
    struct error error;

    (void)envelope_is_sealed(data, size);
    if (copy.data == NULL)
        return 0;
    memcpy(copy.data, data, size);
    if (envelope_verify(&copy, &verified, &error) == 0)
        envelope_verified_free(&verified);
    (void)packing_unpack(data, size, 1u << 16, &plain, &error);
    buffer_free(&plain);
    return 0;
}
