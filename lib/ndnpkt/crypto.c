/* SPDX-License-Identifier: MIT */
/* crypto.c: the calls of libcrypto. Fetching an algorithm and making a context cost more than hashing a small packet,
 * so both are kept. Nothing is kept of what was hashed or signed but the copy of an Interest's two pieces, for
 * Ed25519, which takes its message in one. One thread at a time for each ndnpkt_crypto_t. */
#include "crypto.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "key.h"

struct ndnpkt_crypto_s {
  EVP_MD* sha256;
  EVP_MD_CTX* hash;
  EVP_MD_CTX* signing;
  EVP_MAC* hmac;
  EVP_MAC_CTX* mac;
  uint8_t* joined; /* two pieces as one */
  size_t joined_cap;
};

/* --- Life ------------------------------------------------------------------------------------- */

void ndnpkt_crypto_free(ndnpkt_crypto_t* crypto) {
  if (crypto == NULL) return;
  free(crypto->joined);
  EVP_MAC_CTX_free(crypto->mac);
  EVP_MAC_free(crypto->hmac);
  EVP_MD_CTX_free(crypto->signing);
  EVP_MD_CTX_free(crypto->hash);
  EVP_MD_free(crypto->sha256);
  free(crypto);
}

int ndnpkt_crypto_new(ndnpkt_crypto_t** ret_crypto) {
  ndnpkt_crypto_t* crypto = ret_crypto == NULL ? NULL : calloc(1, sizeof(*crypto));
  int err = ret_crypto == NULL ? -EINVAL : -ENOMEM;

  if (crypto == NULL) return err;
  ERR_set_mark();
  crypto->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
  crypto->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
  crypto->hash = EVP_MD_CTX_new();
  crypto->signing = EVP_MD_CTX_new();
  crypto->mac = crypto->hmac == NULL ? NULL : EVP_MAC_CTX_new(crypto->hmac);
  if (crypto->sha256 == NULL || crypto->hmac == NULL)
    err = -ENOTSUP;
  else if (crypto->hash != NULL && crypto->signing != NULL && crypto->mac != NULL)
    err = EVP_DigestInit_ex2(crypto->hash, crypto->sha256, NULL) == 1 ? 0 : -ENOMEM;
  ERR_pop_to_mark();
  if (err < 0)
    ndnpkt_crypto_free(crypto);
  else
    *ret_crypto = crypto;
  return err;
}

/* --- Hashing ---------------------------------------------------------------------------------- */

int ndnpkt_sha256(ndnpkt_crypto_t* crypto, const ndnpkt_bytes_t pieces[], unsigned int n,
                  uint8_t ret_digest[NDNPKT_DIGEST_BYTES]) {
  int good = EVP_DigestInit_ex2(crypto->hash, NULL, NULL); /* with the algorithm that it has */

  for (unsigned int i = 0; i < n && good == 1; i++)
    good = EVP_DigestUpdate(crypto->hash, pieces[i].base, pieces[i].len);
  return good == 1 && EVP_DigestFinal_ex(crypto->hash, ret_digest, NULL) == 1 ? 0 : -EIO;
}

int ndnpkt__random(uint8_t* buf, size_t len) {
  return RAND_bytes(buf, (int) len) == 1 ? 0 : -EIO;
}

static int hmac_sign(ndnpkt_crypto_t* crypto, const ndnpkt_key_t* key, const ndnpkt_bytes_t pieces[2],
                     uint8_t* ret_out) {
  char name[] = "SHA256";
  OSSL_PARAM digest[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0), OSSL_PARAM_construct_end()};
  size_t len = 0;
  bool good = EVP_MAC_init(crypto->mac, key->secret, key->secret_len, digest) == 1;

  for (unsigned int i = 0; i < 2 && good; i++) good = EVP_MAC_update(crypto->mac, pieces[i].base, pieces[i].len) == 1;
  return good && EVP_MAC_final(crypto->mac, ret_out, &len, NDNPKT_DIGEST_BYTES) == 1 ? 0 : -EIO;
}

/* --- Keys ------------------------------------------------------------------------------------- */

/* Both pieces as one: where they lie, if there is only one. */
static int join(ndnpkt_crypto_t* crypto, const ndnpkt_bytes_t pieces[2], ndnpkt_bytes_t* ret_whole) {
  size_t len = pieces[0].len + pieces[1].len;

  *ret_whole = pieces[0];
  if (pieces[1].len == 0) return 0;
  if (len > crypto->joined_cap) {
    uint8_t* larger = realloc(crypto->joined, len);

    if (larger == NULL) return -ENOMEM;
    crypto->joined = larger;
    crypto->joined_cap = len;
  }
  if (pieces[0].len > 0) memcpy(crypto->joined, pieces[0].base, pieces[0].len);
  memcpy(crypto->joined + pieces[0].len, pieces[1].base, pieces[1].len);
  *ret_whole = (ndnpkt_bytes_t){crypto->joined, len};
  return 0;
}

/* Ed25519 hashes by itself. */
static const char* digest_of(const ndnpkt_key_t* key) {
  return key->type == NDNPKT_SIGNATURE_ED25519 ? NULL : "SHA256";
}

int ndnpkt__key_sign(ndnpkt_crypto_t* crypto, const ndnpkt_key_t* key, const ndnpkt_bytes_t pieces[2], uint8_t* ret_out,
                     size_t* ret_len) {
  ndnpkt_bytes_t whole;
  int err;

  *ret_len = NDNPKT_DIGEST_BYTES;
  if (key->type == NDNPKT_SIGNATURE_HMAC_SHA256) return hmac_sign(crypto, key, pieces, ret_out);
  *ret_len = NDNPKT_SIGNATURE_MAX;
  if ((err = join(crypto, pieces, &whole)) < 0) return err;
  ERR_set_mark();
  if (EVP_MD_CTX_reset(crypto->signing) != 1 ||
      EVP_DigestSignInit_ex(crypto->signing, NULL, digest_of(key), NULL, NULL, key->pkey, NULL) != 1 ||
      EVP_DigestSign(crypto->signing, ret_out, ret_len, whole.base, whole.len) != 1)
    err = -EIO;
  ERR_pop_to_mark();
  return err;
}

int ndnpkt__key_verify(ndnpkt_crypto_t* crypto, const ndnpkt_key_t* key, const ndnpkt_bytes_t pieces[2],
                       ndnpkt_bytes_t value) {
  uint8_t mac[NDNPKT_DIGEST_BYTES];
  ndnpkt_bytes_t whole;
  int err;

  if (key->type == NDNPKT_SIGNATURE_HMAC_SHA256) {
    err = hmac_sign(crypto, key, pieces, mac);
    if (err < 0) return err;
    /* in the same time wherever they differ: else it could be guessed byte by byte */
    return value.len == sizeof(mac) && CRYPTO_memcmp(value.base, mac, sizeof(mac)) == 0 ? 0 : -EBADMSG;
  }
  if ((err = join(crypto, pieces, &whole)) < 0) return err;
  ERR_set_mark();
  if (EVP_MD_CTX_reset(crypto->signing) != 1 ||
      EVP_DigestVerifyInit_ex(crypto->signing, NULL, digest_of(key), NULL, NULL, key->pkey, NULL) != 1)
    err = -EIO;
  else if (EVP_DigestVerify(crypto->signing, value.base, value.len, whole.base, whole.len) != 1)
    err = -EBADMSG;
  ERR_pop_to_mark();
  return err;
}
