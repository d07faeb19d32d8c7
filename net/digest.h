/* SPDX-License-Identifier: Apache-2.0 */
/* Digests, by OpenSSL. */
#ifndef NET_DIGEST_H
#define NET_DIGEST_H

#include <stdint.h>

#include "common/slice.h"

void digest_sha1(struct slice data, uint8_t ret_digest[20]);
void digest_sha256(struct slice data, uint8_t ret_digest[32]);

#endif
