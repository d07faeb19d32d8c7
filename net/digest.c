/* SPDX-License-Identifier: Apache-2.0 */
/* Digests, by OpenSSL. */
#include "net/digest.h"

#include <openssl/evp.h>

#include "common/invariant.h"

void digest_sha1(struct slice data, uint8_t ret_digest[20])
{
    INVARIANT(EVP_Digest(data.data, data.len, ret_digest, NULL, EVP_sha1(), NULL) == 1);
}

void digest_sha256(struct slice data, uint8_t ret_digest[32])
{
    INVARIANT(EVP_Digest(data.data, data.len, ret_digest, NULL, EVP_sha256(), NULL) == 1);
}
