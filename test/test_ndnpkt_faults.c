/* SPDX-License-Identifier: MIT */
/* test_ndnpkt_faults.c: every call by which libndnpkt asks libcrypto, the C library or the kernel for something fails
 * once in each operation; the operation must then fail with an error that says so, leave nothing behind, and work when
 * it is repeated. The linker puts the wrappers below in front of the calls (-Wl,--wrap, test/meson.build). */
#include "signed.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/decoder.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "wire.h"

#define MAX_CALLS 100

/* --- Calls that fail -------------------------------------------------------------------------- */

static unsigned int fail_at, counted;
static const char* failed;

static bool fails(const char* name) {
  if (fail_at == 0 || ++counted != fail_at) return false;
  failed = name;
  errno = EIO;
  return true;
}

#define WRAP(type, name, parameters, arguments, failure)       \
  type __real_##name parameters;                               \
  type __wrap_##name parameters;                               \
  type __wrap_##name parameters {                              \
    return fails(#name) ? (failure) : __real_##name arguments; \
  }

WRAP(void*, malloc, (size_t bytes), (bytes), NULL)
WRAP(void*, calloc, (size_t n, size_t bytes), (n, bytes), NULL)
WRAP(void*, realloc, (void* old, size_t bytes), (old, bytes), NULL)
WRAP(void*, CRYPTO_zalloc, (size_t bytes, const char* file, int line), (bytes, file, line), NULL)
WRAP(ssize_t, read, (int fd, void* to, size_t bytes), (fd, to, bytes), -1)
WRAP(int, RAND_bytes, (unsigned char* buf, int n), (buf, n), 0)
WRAP(EVP_MD*, EVP_MD_fetch, (OSSL_LIB_CTX * lib, const char* name, const char* query), (lib, name, query), NULL)
WRAP(EVP_MAC*, EVP_MAC_fetch, (OSSL_LIB_CTX * lib, const char* name, const char* query), (lib, name, query), NULL)
WRAP(EVP_MD_CTX*, EVP_MD_CTX_new, (void), (), NULL)
WRAP(EVP_MAC_CTX*, EVP_MAC_CTX_new, (EVP_MAC * mac), (mac), NULL)
WRAP(int, EVP_MD_CTX_reset, (EVP_MD_CTX * ctx), (ctx), 0)
WRAP(int, EVP_DigestInit_ex, (EVP_MD_CTX * ctx, const EVP_MD* md, ENGINE* engine), (ctx, md, engine), 0)
WRAP(int, EVP_DigestInit_ex2, (EVP_MD_CTX * ctx, const EVP_MD* md, const OSSL_PARAM* params), (ctx, md, params), 0)
WRAP(int, EVP_DigestUpdate, (EVP_MD_CTX * ctx, const void* bytes, size_t len), (ctx, bytes, len), 0)
WRAP(int, EVP_DigestFinal_ex, (EVP_MD_CTX * ctx, unsigned char* out, unsigned int* len), (ctx, out, len), 0)
WRAP(int, EVP_MAC_init, (EVP_MAC_CTX * ctx, const unsigned char* key, size_t len, const OSSL_PARAM* params),
     (ctx, key, len, params), 0)
WRAP(int, EVP_MAC_update, (EVP_MAC_CTX * ctx, const unsigned char* bytes, size_t len), (ctx, bytes, len), 0)
WRAP(int, EVP_MAC_final, (EVP_MAC_CTX * ctx, unsigned char* out, size_t* len, size_t cap), (ctx, out, len, cap), 0)
WRAP(int, EVP_DigestSignInit_ex,
     (EVP_MD_CTX * ctx, EVP_PKEY_CTX** pctx, const char* md, OSSL_LIB_CTX* lib, const char* query, EVP_PKEY* key,
      const OSSL_PARAM* params),
     (ctx, pctx, md, lib, query, key, params), 0)
WRAP(int, EVP_DigestSign, (EVP_MD_CTX * ctx, unsigned char* out, size_t* len, const unsigned char* bytes, size_t n),
     (ctx, out, len, bytes, n), 0)
WRAP(int, EVP_DigestVerifyInit_ex,
     (EVP_MD_CTX * ctx, EVP_PKEY_CTX** pctx, const char* md, OSSL_LIB_CTX* lib, const char* query, EVP_PKEY* key,
      const OSSL_PARAM* params),
     (ctx, pctx, md, lib, query, key, params), 0)
WRAP(EVP_PKEY*, EVP_PKEY_new_raw_private_key_ex,
     (OSSL_LIB_CTX * lib, const char* type, const char* query, const unsigned char* bytes, size_t len),
     (lib, type, query, bytes, len), NULL)
WRAP(EVP_PKEY*, EVP_PKEY_new_raw_public_key_ex,
     (OSSL_LIB_CTX * lib, const char* type, const char* query, const unsigned char* bytes, size_t len),
     (lib, type, query, bytes, len), NULL)
WRAP(OSSL_DECODER_CTX*, OSSL_DECODER_CTX_new_for_pkey,
     (EVP_PKEY * *key, const char* input, const char* structure, const char* type, int selection, OSSL_LIB_CTX* lib,
      const char* query),
     (key, input, structure, type, selection, lib, query), NULL)

int __real_open64(const char* path, int flags, ...);
int __wrap_open64(const char* path, int flags, ...);
int __wrap_open64(const char* path, int flags, ...) {
  va_list args;
  mode_t mode;

  va_start(args, flags);
  mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
  va_end(args);
  return fails("open") ? -1 : __real_open64(path, flags, mode);
}

/* --- Each operation, with each call failing --------------------------------------------------- */

/* Check allocates in its assertions, so an operation has none of them, and takes what it needs ready made. */
typedef int (*operation_fn)(void* arg);

/* Returns how many calls there were to fail. */
static unsigned int fail_each(operation_fn operation, void* arg) {
  for (unsigned int n = 1; n < MAX_CALLS; n++) {
    int code;

    fail_at = n;
    counted = 0;
    failed = NULL;
    code = operation(arg);
    fail_at = 0;
    if (failed == NULL) {
      ck_assert_int_eq(code, 0);
      return n - 1;
    }
    ck_assert_msg(code == -ENOMEM || code == -EIO || code == -ENOTSUP, "%s failed, and the result was %d", failed,
                  code);
    ck_assert_int_eq(operation(arg), 0);
  }
  ck_abort_msg("there is no end of calls");
  return 0;
}

static int make_crypto(void* arg) {
  ndnpkt_crypto_t* crypto = NULL;
  int err = ndnpkt_crypto_new(&crypto);

  (void) arg;
  HOLDS((err == 0) == (crypto != NULL));
  ndnpkt_crypto_free(crypto);
  return err;
}

TEST(contexts) {
  ck_assert_uint_ge(fail_each(make_crypto, NULL), 7);
}

typedef struct stage_s {
  ndnpkt_crypto_t* crypto;
  ndnpkt_key_t *key, *other; /* that signs, that verifies */
  uint8_t buf[1024];
  ndnpkt_bytes_t packet;
  ndnpkt_name_t name, full_name;
  ndnpkt_bytes_t data;
} stage_t;

static int sign_data(void* arg) {
  stage_t* stage = arg;
  ndnpkt_data_t data = {.name = stage->name, .content = wire_text("hello")};
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  ssize_t len;

  signer.key = stage->key;
  len = ndnpkt_data_encode(stage->crypto, stage->buf, sizeof(stage->buf), &data, &signer);
  if (len > 0) stage->packet = (ndnpkt_bytes_t){stage->buf, (size_t) len};
  return len < 0 ? (int) len : 0;
}

/* In a context of its own: only there has an Interest to be put together in new memory. */
static int sign_interest(void* arg) {
  stage_t* stage = arg;
  ndnpkt_crypto_t* crypto = NULL;
  ndnpkt_interest_t interest = {.name = stage->name, .parameters = wire_text("hello")};
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  ssize_t len = ndnpkt_crypto_new(&crypto);

  signer.key = stage->key;
  if (len == 0) len = ndnpkt_interest_encode(crypto, stage->buf, sizeof(stage->buf), &interest, &signer);
  if (len > 0) stage->packet = (ndnpkt_bytes_t){stage->buf, (size_t) len};
  ndnpkt_crypto_free(crypto);
  return len < 0 ? (int) len : 0;
}

static int verify(void* arg) {
  stage_t* stage = arg;
  ndnpkt_packet_t packet;
  ndnpkt_crypto_t* crypto = NULL;
  int err = ndnpkt_crypto_new(&crypto);

  HOLDS(ndnpkt_packet_decode(stage->packet.base, stage->packet.len, &packet) == 0);
  if (err == 0)
    err = ndnpkt_verify(crypto, packet.kind == NDNPKT_DATA ? &packet.data.signature : &packet.interest.signature,
                        stage->other);
  ndnpkt_crypto_free(crypto);
  return err;
}

static ndnpkt_key_t* key_from(const char* hex) {
  ndnpkt_key_t* key = NULL;

  ck_assert_int_eq(ndnpkt_key_new(&key), 0);
  ck_assert_int_eq(ndnpkt_key_load(key, wire_hex(hex)), 0);
  return key;
}

static ndnpkt_key_t* secret_key(void) {
  ndnpkt_key_t* key = NULL;

  ck_assert_int_eq(ndnpkt_key_new(&key), 0);
  ck_assert_int_eq(ndnpkt_key_set_secret(key, wire_text(SECRET)), 0);
  return key;
}

TEST_LOOP(signatures, 4) {
  static stage_t stage;

  stage.name = wire_name("/a");
  stage.key = _i == 0 ? NULL : _i == 1 ? secret_key() : key_from(_i == 2 ? ED25519_PKCS8 : ECDSA_PKCS8);
  stage.other = _i == 0 ? NULL : _i == 1 ? secret_key() : key_from(_i == 2 ? ED25519_SPKI : ECDSA_SPKI);
  ck_assert_int_eq(ndnpkt_crypto_new(&stage.crypto), 0);
  ck_assert_uint_ge(fail_each(sign_data, &stage), 3);
  ck_assert_uint_ge(fail_each(verify, &stage), 9);
  ck_assert_uint_ge(fail_each(sign_interest, &stage), 9);
  ck_assert_uint_ge(fail_each(verify, &stage), 9);
  ndnpkt_crypto_free(stage.crypto);
  ndnpkt_key_free(stage.key);
  ndnpkt_key_free(stage.other);
}

static int make_command(void* arg) {
  stage_t* stage = arg;
  ndnpkt_command_t command = {.module = wire_text("rib"), .verb = wire_text("register")};
  ssize_t len = ndnpkt_command_encode(stage->crypto, stage->buf, sizeof(stage->buf), &command, NULL);

  if (len > 0) stage->packet = (ndnpkt_bytes_t){stage->buf, (size_t) len};
  return len < 0 ? (int) len : 0;
}

static int check_digests(void* arg) {
  stage_t* stage = arg;
  ndnpkt_interest_t interest, full = {.name = stage->full_name};
  ndnpkt_data_t data;
  int err;

  HOLDS(ndnpkt_interest_decode(stage->packet.base, stage->packet.len, &interest) == 0);
  HOLDS(ndnpkt_data_decode(stage->data.base, stage->data.len, &data) == 0);
  err = ndnpkt_interest_check(stage->crypto, &interest);
  if (err == 0) err = ndnpkt_interest_matches(stage->crypto, &full, &data, stage->data);
  return err == 1 ? 0 : err;
}

TEST(commands_and_digests) {
  static stage_t stage;

  stage.full_name = wire_name("/a/b/v=1/sha256digest=" DIGEST_DATA_FULL_NAME);
  stage.data = wire_hex(DIGEST_DATA);
  ck_assert_int_eq(ndnpkt_crypto_new(&stage.crypto), 0);
  ck_assert_uint_ge(fail_each(make_command, &stage), 8);
  ck_assert_uint_ge(fail_each(check_digests, &stage), 6);
  ndnpkt_crypto_free(stage.crypto);
}

/* --- Keys ------------------------------------------------------------------------------------- */

typedef struct source_s {
  ndnpkt_bytes_t bytes;
  const char *path, *pib;
  ndnpkt_name_t name;
} source_t;

static int load(void* arg) {
  const source_t* source = arg;
  ndnpkt_key_t* key = NULL;
  int err = ndnpkt_key_new(&key);

  if (err < 0) return err;
  err = source->path != NULL         ? ndnpkt_key_load_file(key, source->path)
        : source->pib != NULL        ? ndnpkt_key_load_pib(key, source->pib, source->name)
        : source->bytes.base != NULL ? ndnpkt_key_load(key, source->bytes)
                                     : ndnpkt_key_set_secret(key, wire_text(SECRET));
  HOLDS((err == 0) == (ndnpkt_key_type(key) >= 0));
  HOLDS((err == 0) == (ndnpkt_key_errmsg(key)[0] == '\0'));
  ndnpkt_key_free(key);
  return err;
}

TEST(keys) {
  char directory[] = "/tmp/ndnpkt-faults-XXXXXX", keys[64], dir[160], path[192];
  source_t sources[] = {{.bytes = wire_hex(ED25519_PKCS8)},
                        {.bytes = wire_hex(ECDSA_SPKI)},
                        {.bytes = wire_hex("4e444e4301 0000000000000000 ffffffffffffffff 00000020" ED25519_PUBLIC)},
                        {.path = NULL},
                        {.path = path},
                        {.pib = directory, .name = wire_name(KEY_NAME)}};
  ndnpkt_bytes_t seed = wire_hex(ED25519_SEED);
  FILE* file;

  ck_assert_ptr_nonnull(mkdtemp(directory));
  snprintf(keys, sizeof(keys), "%s/keys", directory);
  snprintf(dir, sizeof(dir), "%s/" KEY_NAME_HASH, keys);
  snprintf(path, sizeof(path), "%s/private.key", dir);
  ck_assert(mkdir(keys, 0700) == 0 && mkdir(dir, 0700) == 0);
  file = fopen(path, "we");
  ck_assert_uint_eq(fwrite(seed.base, 1, seed.len, file), seed.len);
  fclose(file);
  ck_assert_uint_ge(fail_each(load, &sources[5]), 6);
  file = fopen(path, "we");
  fputs(ECDSA_PEM, file);
  fclose(file);
  for (size_t i = 0; i < 5; i++) ck_assert_uint_ge(fail_each(load, &sources[i]), 2);
  ck_assert(unlink(path) == 0 && rmdir(dir) == 0 && rmdir(keys) == 0 && rmdir(directory) == 0);
}
