/* SPDX-License-Identifier: MIT */
/* pib.c: private keys out of ndn-rs's FilePib, a directory with a directory for each key, which is called by the hash
 * of the certificate's name. Reads it, and never writes. The hash forgets the types of components, so the name is taken
 * as the caller has it. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "key.h"
#include "tlv.h"

#define PATH_BYTES 4096

/* Hexadecimal SHA-256 of the length (32 bits, big endian) and the value of each component. */
static int hash_name(ndnpkt_name_t name, char ret_hex[2 * NDNPKT_DIGEST_BYTES + 1]) {
  EVP_MD_CTX* hash = EVP_MD_CTX_new();
  uint8_t digest[NDNPKT_DIGEST_BYTES];
  ndnpkt_tlv_t component;
  bool good = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;

  while (good && ndnpkt_tlv_next(&name, &component) > 0) {
    uint8_t len[4];

    ndnpkt__store_be(len, sizeof(len), component.value.len);
    good = EVP_DigestUpdate(hash, len, sizeof(len)) == 1 &&
           EVP_DigestUpdate(hash, component.value.base, component.value.len) == 1;
  }
  good = good && EVP_DigestFinal_ex(hash, digest, NULL) == 1;
  EVP_MD_CTX_free(hash);
  for (size_t i = 0; good && i < sizeof(digest); i++) snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
  return good ? 0 : -ENOMEM;
}

/* Where the PIB is. Returns 0, -ENOENT, -ENAMETOOLONG. */
static int find_directory(ndnpkt_key_t* key, const char* directory, char ret_path[PATH_BYTES]) {
  const char* home = getenv("HOME");
  int len;

  if (directory == NULL) directory = getenv("NDN_PIB");
  if (directory == NULL && home == NULL)
    return ndnpkt__key_fail(key, -ENOENT, "find PIB: neither $NDN_PIB nor $HOME is set");
  len = directory != NULL ? snprintf(ret_path, PATH_BYTES, "%s", directory)
                          : snprintf(ret_path, PATH_BYTES, "%s/.ndn/pib", home);
  if (len >= PATH_BYTES)
    return ndnpkt__key_fail(key, -ENAMETOOLONG, "find PIB: its path is longer than %d", PATH_BYTES);
  return 0;
}

static int load_private(ndnpkt_key_t* key, const char* directory, const char* hash) {
  char path[PATH_BYTES + 128];
  ndnpkt_bytes_t bytes = {NULL, 0};
  bool seed = false;
  int err;

  snprintf(path, sizeof(path), "%s/keys/%s/private.pkcs8.der", directory, hash);
  err = ndnpkt__key_read(key, path, &bytes);
  if (err == -ENOENT) {
    seed = true;
    snprintf(path, sizeof(path), "%s/keys/%s/private.key", directory, hash);
    err = ndnpkt__key_read(key, path, &bytes);
  }
  if (err < 0) return err;
  err = seed ? ndnpkt__key_load_seed(key, bytes, path) : ndnpkt__key_load_as(key, bytes, path);
  ndnpkt__key_forget(bytes);
  return err;
}

int ndnpkt_key_load_pib(ndnpkt_key_t* key, const char* directory, ndnpkt_name_t name) {
  char root[PATH_BYTES], hash[2 * NDNPKT_DIGEST_BYTES + 1], uri[256];
  uint8_t* copy;
  int err;

  if (key == NULL || name.len == 0 || ndnpkt_name_check(name) < 0) return -EINVAL;
  if (key->type >= 0) return ndnpkt__key_fail(key, -EALREADY, "read key from PIB: this one is loaded already");
  if ((err = find_directory(key, directory, root)) < 0) return err;
  copy = malloc(name.len);
  if (copy == NULL || hash_name(name, hash) < 0) {
    free(copy);
    return ndnpkt__key_fail(key, -ENOMEM, "read key from PIB: %s", strerror(ENOMEM));
  }
  err = load_private(key, root, hash);
  if (err == -ENOENT)
    ndnpkt__key_fail(key, err, "open %s/keys/%.16s...: no key of the certificate %s", root, hash,
                     ndnpkt_name_to_uri(name, uri, sizeof(uri)));
  if (err < 0) {
    free(copy);
    return err;
  }
  memcpy(copy, name.base, name.len);
  key->name = copy;
  key->name_len = name.len;
  return 0;
}
