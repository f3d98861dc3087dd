/* SPDX-License-Identifier: MIT */
/* key.h: what a key is made of. Filled once by key.c or pib.c, and read by any thread from then on. */
#ifndef NDNPKT_KEY_H
#define NDNPKT_KEY_H

#include <openssl/evp.h>

#include "ndnpkt.h"

struct ndnpkt_key_s {
  int type; /* NDNPKT_SIGNATURE_*; -1: nothing is loaded */
  bool can_sign;
  EVP_PKEY* pkey;         /* of ECDSA, Ed25519 */
  uint8_t *secret, *name; /* of HMAC; the certificate's, if there is one: both from malloc() */
  size_t secret_len, name_len;
  char error[512]; /* "call object: reason" */
};

/* Writes the text of a failure and returns code. */
int ndnpkt__key_fail(ndnpkt_key_t* key, int code, const char* format, ...) __attribute__((format(printf, 3, 4)));

/* Loads what ndnpkt_key_load() knows; object is what the text of a failure calls it. */
int ndnpkt__key_load_as(ndnpkt_key_t* key, ndnpkt_bytes_t bytes, const char* object);

/* Loads an Ed25519 private key from its 32 bytes. */
int ndnpkt__key_load_seed(ndnpkt_key_t* key, ndnpkt_bytes_t bytes, const char* object);

/* Reads a file of at most 64 KiB. ret_bytes: receives memory that ndnpkt__key_forget() takes back. Returns 0, or a
 * negative errno value with its text. */
int ndnpkt__key_read(ndnpkt_key_t* key, const char* path, ndnpkt_bytes_t* ret_bytes);
void ndnpkt__key_forget(ndnpkt_bytes_t bytes);

#endif
