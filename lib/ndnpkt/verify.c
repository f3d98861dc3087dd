/* SPDX-License-Identifier: MIT */
/* verify.c: whether what a packet says of itself is right: its signature, its parameters digest, its answer to an
 * Interest. Says so with 0, or 1 for the last; any other result means that it was not found right. */
#include <errno.h>
#include <string.h>

#include "crypto.h"
#include "name.h"
#include "tlv.h"

/* Whether value is the SHA-256 of two pieces: 0, -EBADMSG, -EIO. */
static int digest_verify(ndnpkt_crypto_t* crypto, const ndnpkt_bytes_t pieces[], unsigned int n, ndnpkt_bytes_t value) {
  uint8_t digest[NDNPKT_DIGEST_BYTES];
  int err = ndnpkt_sha256(crypto, pieces, n, digest);

  if (err < 0) return err;
  return value.len == sizeof(digest) && memcmp(value.base, digest, sizeof(digest)) == 0 ? 0 : -EBADMSG;
}

int ndnpkt_verify(ndnpkt_crypto_t* crypto, const ndnpkt_signature_t* signature, const ndnpkt_key_t* key) {
  if (crypto == NULL || signature == NULL) return -EINVAL;
  if (signature->value.base == NULL) return -ENOKEY;
  if (signature->type == NDNPKT_SIGNATURE_DIGEST_SHA256)
    return key == NULL
               ? digest_verify(crypto, signature->pieces, signature->pieces[1].len > 0 ? 2 : 1, signature->value)
               : -EKEYREJECTED;
  if (signature->type != NDNPKT_SIGNATURE_SHA256_ECDSA && signature->type != NDNPKT_SIGNATURE_HMAC_SHA256 &&
      signature->type != NDNPKT_SIGNATURE_ED25519)
    return -ENOTSUP;
  if (key == NULL || ndnpkt_key_type(key) < 0 || (uint64_t) ndnpkt_key_type(key) != signature->type)
    return -EKEYREJECTED;
  return ndnpkt__key_verify(crypto, key, signature->pieces, signature->value);
}

int ndnpkt_interest_check(ndnpkt_crypto_t* crypto, const ndnpkt_interest_t* interest) {
  ndnpkt__digest_t digest;

  if (interest->digested.len == 0) return 0;
  if (ndnpkt__name_scan(interest->name, &digest) < 0 || digest.count == 0) return -EBADMSG;
  return digest_verify(crypto, &interest->digested, 1,
                       (ndnpkt_bytes_t){digest.component.base + 2, NDNPKT_DIGEST_BYTES});
}

int ndnpkt_interest_matches(ndnpkt_crypto_t* crypto, const ndnpkt_interest_t* interest, const ndnpkt_data_t* data,
                            ndnpkt_bytes_t wire) {
  ndnpkt_name_t name = interest->name, rest = name;
  ndnpkt_tlv_t last = {0};
  int err;

  while (ndnpkt_tlv_next(&rest, &last) > 0) continue;
  if (last.type == NDNPKT_COMPONENT_IMPLICIT_DIGEST) {
    name.len -= last.whole.len; /* a full name: of one Data packet and no other */
    if (!ndnpkt_name_equal(name, data->name)) return 0;
    err = digest_verify(crypto, &wire, 1, last.value);
    return err == -EBADMSG ? 0 : err == 0 ? 1 : err;
  }
  return interest->can_be_prefix ? ndnpkt_name_has_prefix(data->name, name) : ndnpkt_name_equal(data->name, name);
}
