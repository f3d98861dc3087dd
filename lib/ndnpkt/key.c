/* SPDX-License-Identifier: MIT */
/* key.c: keys, and where they come from: bytes and files in the formats that libcrypto reads, ndn-rs's certificates,
 * secrets. Asks nobody for a passphrase: an encrypted key is refused. A key is written by one thread until it is
 * loaded, and read by any after that. */
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tlv.h"

#define FILE_MAX_BYTES 65536
#define SEED_BYTES 32

/* --- Life ------------------------------------------------------------------------------------- */

int ndnpkt_key_new(ndnpkt_key_t** ret_key) {
  ndnpkt_key_t* key = ret_key == NULL ? NULL : calloc(1, sizeof(*key));

  if (key == NULL) return ret_key == NULL ? -EINVAL : -ENOMEM;
  key->type = -1;
  *ret_key = key;
  return 0;
}

void ndnpkt_key_free(ndnpkt_key_t* key) {
  if (key == NULL) return;
  EVP_PKEY_free(key->pkey);
  if (key->secret != NULL) OPENSSL_cleanse(key->secret, key->secret_len);
  free(key->secret);
  free(key->name);
  free(key);
}

int ndnpkt_key_type(const ndnpkt_key_t* key) {
  return key->type;
}

bool ndnpkt_key_can_sign(const ndnpkt_key_t* key) {
  return key->can_sign;
}

ndnpkt_name_t ndnpkt_key_name(const ndnpkt_key_t* key) {
  return (ndnpkt_name_t){key->name, key->name_len};
}

const char* ndnpkt_key_errmsg(const ndnpkt_key_t* key) {
  return key->error;
}

int ndnpkt__key_fail(ndnpkt_key_t* key, int code, const char* format, ...) {
  va_list args;

  va_start(args, format);
  vsnprintf(key->error, sizeof(key->error), format, args);
  va_end(args);
  return code;
}

/* --- From bytes ------------------------------------------------------------------------------- */

static int refuse_passphrase(char* pass, size_t room, size_t* ret_len, const OSSL_PARAM params[], void* asked) {
  (void) pass;
  (void) room;
  (void) ret_len;
  (void) params;
  *(bool*) asked = true;
  return 0;
}

/* Reads what is a private key, or else what is a public one. Returns 0, -EBADMSG if it is neither, -ENOMEM. */
static int read_pkey(ndnpkt_bytes_t bytes, EVP_PKEY** ret_pkey, bool* ret_private, bool* ret_encrypted) {
  static const int kinds[] = {EVP_PKEY_KEYPAIR, EVP_PKEY_PUBLIC_KEY};

  for (size_t i = 0; i < 2; i++) {
    EVP_PKEY* pkey = NULL;
    OSSL_DECODER_CTX* decoder = OSSL_DECODER_CTX_new_for_pkey(&pkey, NULL, NULL, NULL, kinds[i], NULL, NULL);
    ndnpkt_bytes_t rest = bytes;

    if (decoder == NULL) return -ENOMEM;
    OSSL_DECODER_CTX_set_passphrase_cb(decoder, refuse_passphrase, ret_encrypted);
    OSSL_DECODER_from_data(decoder, &rest.base, &rest.len);
    OSSL_DECODER_CTX_free(decoder);
    *ret_pkey = pkey;
    *ret_private = kinds[i] == EVP_PKEY_KEYPAIR;
    if (pkey != NULL) return 0;
  }
  return -EBADMSG;
}

/* The signature type of a key, or -1. */
static int type_of(const EVP_PKEY* pkey) {
  char group[32] = "";

  if (EVP_PKEY_is_a(pkey, "ED25519")) return NDNPKT_SIGNATURE_ED25519;
  if (!EVP_PKEY_is_a(pkey, "EC")) return -1;
  EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), NULL);
  return strcmp(group, "prime256v1") == 0 ? NDNPKT_SIGNATURE_SHA256_ECDSA : -1;
}

/* From now on it is this key, and whatever failed on the way is of no more interest. */
static int key_is(ndnpkt_key_t* key, int type, EVP_PKEY* pkey, bool can_sign) {
  key->type = type;
  key->can_sign = can_sign;
  key->pkey = pkey;
  key->error[0] = '\0';
  return 0;
}

static int load_pkey(ndnpkt_key_t* key, ndnpkt_bytes_t bytes, const char* object) {
  bool is_private = false, encrypted = false;
  EVP_PKEY* pkey = NULL;
  int type, err = read_pkey(bytes, &pkey, &is_private, &encrypted);

  if (err < 0)
    return ndnpkt__key_fail(key, err, "read key %s: %s", object,
                            err == -ENOMEM ? strerror(ENOMEM)
                            : encrypted    ? "it is encrypted, and nobody is asked for a passphrase"
                                           : "no key in PEM or DER, PKCS#8 or SubjectPublicKeyInfo");
  type = type_of(pkey);
  if (type >= 0) return key_is(key, type, pkey, is_private);
  EVP_PKEY_free(pkey);
  return ndnpkt__key_fail(key, -ENOTSUP, "read key %s: neither Ed25519 nor ECDSA with P-256", object);
}

/* Takes pkey, which libcrypto made of any 32 bytes if it had the memory. */
static int load_raw(ndnpkt_key_t* key, EVP_PKEY* pkey, bool can_sign, const char* object) {
  if (pkey == NULL) return ndnpkt__key_fail(key, -ENOMEM, "read key %s: %s", object, strerror(ENOMEM));
  return key_is(key, NDNPKT_SIGNATURE_ED25519, pkey, can_sign);
}

int ndnpkt__key_load_seed(ndnpkt_key_t* key, ndnpkt_bytes_t bytes, const char* object) {
  if (bytes.len != SEED_BYTES)
    return ndnpkt__key_fail(key, -EBADMSG, "read key %s: %zu bytes, a private Ed25519 key has %d", object, bytes.len,
                            SEED_BYTES);
  return load_raw(key, EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, bytes.base, bytes.len), true, object);
}

/* ndn-rs's certificates: "NDNC", version, signature type (from version 2 on), both ends of validity in nanoseconds
 * since 1970, and a public key, which is the 32 bytes of Ed25519 or a SubjectPublicKeyInfo. */
static int load_ndnc(ndnpkt_key_t* key, ndnpkt_bytes_t bytes, const char* object) {
  uint8_t version = bytes.len > 4 ? bytes.base[4] : 0;
  size_t at = version == 1 ? 5 : 7;
  uint64_t from, until, now_ns;
  struct timespec now;
  ndnpkt_bytes_t rest;

  if ((version != 1 && version != 2) || bytes.len < at + 20 ||
      ndnpkt__load_be(bytes.base + at + 16, 4) != bytes.len - at - 20)
    return ndnpkt__key_fail(key, -EBADMSG, "read certificate %s: not NDNC of version 1 or 2, or cut off", object);
  from = ndnpkt__load_be(bytes.base + at, 8);
  until = ndnpkt__load_be(bytes.base + at + 8, 8);
  clock_gettime(CLOCK_REALTIME, &now);
  now_ns = (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
  if (now_ns < from || now_ns > until)
    return ndnpkt__key_fail(key, -EKEYEXPIRED, "read certificate %s: it is not valid %s", object,
                            now_ns < from ? "yet" : "any more");
  rest = (ndnpkt_bytes_t){bytes.base + at + 20, bytes.len - at - 20};
  if (rest.len != SEED_BYTES) return load_pkey(key, rest, object);
  return load_raw(key, EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, rest.base, rest.len), false, object);
}

int ndnpkt__key_load_as(ndnpkt_key_t* key, ndnpkt_bytes_t bytes, const char* object) {
  int err;

  if (key->type >= 0) return ndnpkt__key_fail(key, -EALREADY, "read key %s: this one is loaded already", object);
  ERR_set_mark();
  err = bytes.len >= 4 && memcmp(bytes.base, "NDNC", 4) == 0 ? load_ndnc(key, bytes, object)
                                                             : load_pkey(key, bytes, object);
  ERR_pop_to_mark();
  return err;
}

int ndnpkt_key_load(ndnpkt_key_t* key, ndnpkt_bytes_t bytes) {
  if (key == NULL || bytes.base == NULL) return -EINVAL;
  return ndnpkt__key_load_as(key, bytes, "from memory");
}

int ndnpkt_key_set_secret(ndnpkt_key_t* key, ndnpkt_bytes_t secret) {
  if (key == NULL || secret.base == NULL || secret.len == 0) return -EINVAL;
  if (key->type >= 0) return ndnpkt__key_fail(key, -EALREADY, "set secret: this key is loaded already");
  key->secret = malloc(secret.len);
  if (key->secret == NULL) return ndnpkt__key_fail(key, -ENOMEM, "malloc secret: %s", strerror(ENOMEM));
  memcpy(key->secret, secret.base, secret.len);
  key->secret_len = secret.len;
  return key_is(key, NDNPKT_SIGNATURE_HMAC_SHA256, NULL, true);
}

/* --- From a file ------------------------------------------------------------------------------ */

/* Reads to the end, at most cap bytes. Returns the size or -1. */
static ssize_t read_all(int fd, uint8_t* buf, size_t cap) {
  size_t len = 0;

  for (;;) {
    ssize_t got = read(fd, buf + len, cap - len);

    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got < 0 ? -1 : (ssize_t) len;
    len += (size_t) got;
    if (len == cap) return (ssize_t) len;
  }
}

void ndnpkt__key_forget(ndnpkt_bytes_t bytes) {
  OPENSSL_clear_free((void*) bytes.base, FILE_MAX_BYTES + 1);
}

int ndnpkt__key_read(ndnpkt_key_t* key, const char* path, ndnpkt_bytes_t* ret_bytes) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  uint8_t* buf = fd < 0 ? NULL : OPENSSL_zalloc(FILE_MAX_BYTES + 1);
  ssize_t len = buf == NULL ? -1 : read_all(fd, buf, FILE_MAX_BYTES + 1);
  int code = fd >= 0 && buf == NULL ? ENOMEM : errno;

  if (fd >= 0) close(fd);
  if (len >= 0 && len <= FILE_MAX_BYTES) {
    *ret_bytes = (ndnpkt_bytes_t){buf, (size_t) len};
    return 0;
  }
  ndnpkt__key_forget((ndnpkt_bytes_t){buf, 0});
  if (len > 0)
    return ndnpkt__key_fail(key, -EFBIG, "read %s: more than %d bytes, no key is as long", path, FILE_MAX_BYTES);
  return ndnpkt__key_fail(key, -code, "%s %s: %s", fd < 0 ? "open" : "read", path, strerror(code));
}

int ndnpkt_key_load_file(ndnpkt_key_t* key, const char* path) {
  ndnpkt_bytes_t bytes = {NULL, 0};
  int err;

  if (key == NULL || path == NULL) return -EINVAL;
  if ((err = ndnpkt__key_read(key, path, &bytes)) < 0) return err;
  err = ndnpkt__key_load_as(key, bytes, path);
  ndnpkt__key_forget(bytes);
  return err;
}
