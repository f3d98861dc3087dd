/* SPDX-License-Identifier: MIT */
/* crypto.h: all of libcrypto that packets need: SHA-256, HMAC, signatures with keys, random bytes. What it leaves in
 * libcrypto's queue of errors is taken away again. A ndnpkt_crypto_t is for one thread at a time. */
#ifndef NDNPKT_CRYPTO_H
#define NDNPKT_CRYPTO_H

#include "ndnpkt.h"

/* Returns 0 or -EIO. */
int ndnpkt__random(uint8_t* buf, size_t len);

/* Signs with a key that can. ret_out: room for NDNPKT_SIGNATURE_MAX bytes. Returns 0, -ENOMEM or -EIO. */
int ndnpkt__key_sign(ndnpkt_crypto_t* crypto, const ndnpkt_key_t* key, const ndnpkt_bytes_t pieces[2], uint8_t* ret_out,
                     size_t* ret_len);

/* Returns 0 if it is the key's signature of the pieces, -EBADMSG, -ENOMEM or -EIO. */
int ndnpkt__key_verify(ndnpkt_crypto_t* crypto, const ndnpkt_key_t* key, const ndnpkt_bytes_t pieces[2],
                       ndnpkt_bytes_t value);

#endif
