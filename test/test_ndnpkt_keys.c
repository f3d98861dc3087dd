/* SPDX-License-Identifier: MIT */
/* test_ndnpkt_keys.c: keys from PEM, DER, files, ndn-rs's certificates and its FilePib; what is none of these, and the
 * text that says why; one key in two threads. Files live in a directory of the test's own, which goes when it ends. */
#include "signed.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "wire.h"

/* --- Helpers ---------------------------------------------------------------------------------- */

static char directory[64];

static const char* path_of(const char* name) {
  static char paths[4][256];
  static unsigned int turn;
  char* path = paths[turn++ % 4];

  snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
  return path;
}

static void make_directory(void) {
  snprintf(directory, sizeof(directory), "/tmp/ndnpkt-keys-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void write_file(const char* name, ndnpkt_bytes_t bytes) {
  FILE* file = fopen(path_of(name), "we");

  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(bytes.base, 1, bytes.len, file), bytes.len);
  ck_assert_int_eq(fclose(file), 0);
}

static ndnpkt_key_t* new_key(void) {
  ndnpkt_key_t* key = NULL;

  ck_assert_int_eq(ndnpkt_key_new(&key), 0);
  ck_assert_int_eq(ndnpkt_key_type(key), -1);
  ck_assert(!ndnpkt_key_can_sign(key));
  ck_assert_str_eq(ndnpkt_key_errmsg(key), "");
  ck_assert_uint_eq(ndnpkt_key_name(key).len, 0);
  return key;
}

/* Whether the key verifies what was signed with its private half. */
static int verifies(const ndnpkt_key_t* key, const char* packet_hex) {
  ndnpkt_crypto_t* crypto;
  ndnpkt_bytes_t bytes = wire_hex(packet_hex);
  ndnpkt_data_t data;
  int err;

  ck_assert_int_eq(ndnpkt_crypto_new(&crypto), 0);
  ck_assert_int_eq(ndnpkt_data_decode(bytes.base, bytes.len, &data), 0);
  err = ndnpkt_verify(crypto, &data.signature, key);
  ndnpkt_crypto_free(crypto);
  return err;
}

/* --- Bytes ------------------------------------------------------------------------------------ */

TEST(keys_come_from_pkcs8_and_public_key_info) {
  static const struct {
    const char* hex;
    int type;
    bool can_sign;
    const char* packet;
  } cases[] = {{ED25519_PKCS8, NDNPKT_SIGNATURE_ED25519, true, ED25519_DATA},
               {ED25519_SPKI, NDNPKT_SIGNATURE_ED25519, false, ED25519_DATA},
               {ECDSA_PKCS8, NDNPKT_SIGNATURE_SHA256_ECDSA, true, ECDSA_DATA},
               {ECDSA_SPKI, NDNPKT_SIGNATURE_SHA256_ECDSA, false, ECDSA_DATA}};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    ndnpkt_key_t* key = new_key();

    ck_assert_msg(ndnpkt_key_load(key, wire_hex(cases[i].hex)) == 0, "%s", ndnpkt_key_errmsg(key));
    ck_assert_int_eq(ndnpkt_key_type(key), cases[i].type);
    ck_assert(ndnpkt_key_can_sign(key) == cases[i].can_sign);
    ck_assert_int_eq(verifies(key, cases[i].packet), 0);
    ck_assert_int_eq(ndnpkt_key_load(key, wire_hex(cases[i].hex)), -EALREADY);
    ck_assert_str_eq(ndnpkt_key_errmsg(key), "read key from memory: this one is loaded already");
    ck_assert_int_eq(ndnpkt_key_set_secret(key, wire_text("x")), -EALREADY);
    ndnpkt_key_free(key);
  }
}

TEST(keys_come_from_pem) {
  static const char* const pems[] = {ECDSA_PEM,
                                     "-----BEGIN PUBLIC KEY-----\n"
                                     "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAET0NtWeFREyjsGVltFUeWBKiaUQt8\n"
                                     "uai7eh+y/9Q4TIIr1x4WqW/l9S5e+yqpRICZEbAx6lvtgoqLDNo6sexbWA==\n"
                                     "-----END PUBLIC KEY-----\n"};

  for (size_t i = 0; i < 2; i++) {
    ndnpkt_key_t* key = new_key();

    ck_assert_msg(ndnpkt_key_load(key, wire_text(pems[i])) == 0, "%s", ndnpkt_key_errmsg(key));
    ck_assert(ndnpkt_key_can_sign(key) == (i == 0));
    ck_assert_int_eq(verifies(key, ECDSA_DATA), 0);
    ndnpkt_key_free(key);
  }
}

/* An Ed25519 key under the passphrase "x"; a public key of P-384; one of RSA; and no keys at all. */
#define ENCRYPTED_PEM                                                  \
  "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"                            \
  "MIGaMFYGCSqGSIb3DQEFDTBJMCgGCSqGSIb3DQEFDDAbBAgr8BT8WAhKhQIBATAM\n" \
  "BggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQ+HKjXRxqbXB5F8Pre0mf3wRAXRNz\n" \
  "SxITVAcuO406fxihOllkSpzRUimYmOwPaiW54FvSbu8SpMbHipCOdMhldngKwcJg\n" \
  "0guLkAFdlbLh96BEXg==\n"                                             \
  "-----END ENCRYPTED PRIVATE KEY-----\n"
#define P384_SPKI                                                                                                  \
  "3076301006072a8648ce3d020106052b8104002203620004017d1b23736ca886ad6b29192fb375e8326098167319cf15ecf756844cf8e1" \
  "89363f31afbf9be4303cb0e787e4b47ea53a03e37e55b77cc70224a78d995724569c71a4878e89297b6a94f2dc539b453bf1e195a3a10f" \
  "73412c682912678c59db"
#define RSA_SPKI                                                                                                   \
  "30819f300d06092a864886f70d010101050003818d0030818902818100a90814bdf6e1feb8a54e876c5cdac3b53921f84903c22e575d35" \
  "d689992103e11acdb474c4cb0480288ec9d215f7d127674bcabaefc7f22c171b10c9637bf902c0c8553ad10b20d6681bb1cb2bdd7b8f42" \
  "ece81c8d232a970eb97cead2894550ec31e81054af9120a4cfa5d2a92accbd8fe7ca541491abc08e217ed180c91e030203010001"

TEST(what_is_no_key_is_refused_with_a_reason) {
  static const struct {
    const char *text, *hex;
    int code;
    const char* errmsg;
  } cases[] = {
      {ENCRYPTED_PEM, NULL, -EBADMSG, "read key from memory: it is encrypted, and nobody is asked for a passphrase"},
      {NULL, P384_SPKI, -ENOTSUP, "read key from memory: neither Ed25519 nor ECDSA with P-256"},
      {NULL, RSA_SPKI, -ENOTSUP, "read key from memory: neither Ed25519 nor ECDSA with P-256"},
      {"nonsense", NULL, -EBADMSG, "read key from memory: no key in PEM or DER, PKCS#8 or SubjectPublicKeyInfo"},
      {"", NULL, -EBADMSG, "read key from memory: no key in PEM or DER, PKCS#8 or SubjectPublicKeyInfo"},
      {NULL, "302e020100300506032b65700422042000", -EBADMSG,
       "read key from memory: no key in PEM or DER, PKCS#8 or SubjectPublicKeyInfo"},
  };
  ndnpkt_key_t* key = new_key();

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    ndnpkt_bytes_t bytes = cases[i].text != NULL ? wire_text(cases[i].text) : wire_hex(cases[i].hex);

    ck_assert_int_eq(ndnpkt_key_load(key, bytes), cases[i].code);
    ck_assert_str_eq(ndnpkt_key_errmsg(key), cases[i].errmsg);
    ck_assert_int_eq(ndnpkt_key_type(key), -1);
  }
  ck_assert_int_eq(ndnpkt_key_load(key, (ndnpkt_bytes_t){NULL, 0}), -EINVAL);
  ck_assert_int_eq(ndnpkt_key_load(NULL, wire_text("x")), -EINVAL);
  ck_assert_int_eq(ndnpkt_key_set_secret(key, wire_text("")), -EINVAL);
  ck_assert_int_eq(ndnpkt_key_set_secret(NULL, wire_text("x")), -EINVAL);
  ck_assert_int_eq(ndnpkt_key_load_file(NULL, "/x"), -EINVAL);
  ck_assert_int_eq(ndnpkt_key_load_file(key, NULL), -EINVAL);
  ck_assert_int_eq(ndnpkt_key_new(NULL), -EINVAL);
  ck_assert_int_eq(ndnpkt_key_load(key, wire_hex(ED25519_PKCS8)), 0); /* and it is of use still */
  ndnpkt_key_free(key);
  ndnpkt_key_free(NULL);
}

/* --- Certificates of ndn-rs ------------------------------------------------------------------- */

#define EVER "0000000000000000 ffffffffffffffff"
#define LONG_AGO "0000000000000001 0000000000000002"
#define NOT_YET "fffffffffffffff0 ffffffffffffffff"
#define SPKI_44 "0000002c" ED25519_SPKI
#define SPKI_91 "0000005b" ECDSA_SPKI

TEST(certificates_of_ndn_rs_are_public_keys) {
  static const struct {
    const char *hex, *packet;
    int code;
    const char* errmsg;
  } cases[] = {
      {"4e444e43 02 0005" EVER SPKI_44, ED25519_DATA, 0, ""},
      {"4e444e43 02 0003" EVER SPKI_91, ECDSA_DATA, 0, ""},
      {"4e444e43 02 0005" EVER "00000020" ED25519_PUBLIC, ED25519_DATA, 0, ""},
      {"4e444e43 01" EVER "00000020" ED25519_PUBLIC, ED25519_DATA, 0, ""},
      {"4e444e43 02 0005" LONG_AGO SPKI_44, NULL, -EKEYEXPIRED,
       "read certificate from memory: it is not valid any more"},
      {"4e444e43 02 0005" NOT_YET SPKI_44, NULL, -EKEYEXPIRED, "read certificate from memory: it is not valid yet"},
      {"4e444e43 03 0005" EVER SPKI_44, NULL, -EBADMSG,
       "read certificate from memory: not NDNC of version 1 or 2, or cut off"},
      {"4e444e43", NULL, -EBADMSG, "read certificate from memory: not NDNC of version 1 or 2, or cut off"},
      {"4e444e43 02 0005" EVER "00000002", NULL, -EBADMSG,
       "read certificate from memory: not NDNC of version 1 or 2, or cut off"},
      {"4e444e43 02 0005" EVER "ffffffff 00", NULL, -EBADMSG,
       "read certificate from memory: not NDNC of version 1 or 2, or cut off"},
      {"4e444e43 02 0005" EVER "00000001 00", NULL, -EBADMSG,
       "read key from memory: no key in PEM or DER, PKCS#8 or SubjectPublicKeyInfo"}};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    ndnpkt_key_t* key = new_key();

    ck_assert_int_eq(ndnpkt_key_load(key, wire_hex(cases[i].hex)), cases[i].code);
    ck_assert_str_eq(ndnpkt_key_errmsg(key), cases[i].errmsg);
    ck_assert(!ndnpkt_key_can_sign(key));
    if (cases[i].packet != NULL) ck_assert_int_eq(verifies(key, cases[i].packet), 0);
    ndnpkt_key_free(key);
  }
}

/* --- Files ------------------------------------------------------------------------------------ */

TEST(keys_come_from_files) {
  static uint8_t large[65537];
  ndnpkt_key_t* key = new_key();
  char text[512];

  make_directory();
  write_file("key.pem", wire_text(ECDSA_PEM));
  write_file("large", (ndnpkt_bytes_t){large, sizeof(large)});
  write_file("largest", (ndnpkt_bytes_t){large, sizeof(large) - 1});
  ck_assert_int_eq(ndnpkt_key_load_file(key, path_of("none")), -ENOENT);
  snprintf(text, sizeof(text), "open %s/none: No such file or directory", directory);
  ck_assert_str_eq(ndnpkt_key_errmsg(key), text);
  ck_assert_int_eq(ndnpkt_key_load_file(key, directory), -EISDIR);
  snprintf(text, sizeof(text), "read %s: Is a directory", directory);
  ck_assert_str_eq(ndnpkt_key_errmsg(key), text);
  ck_assert_int_eq(ndnpkt_key_load_file(key, path_of("large")), -EFBIG);
  ck_assert_int_eq(ndnpkt_key_load_file(key, path_of("largest")), -EBADMSG);
  snprintf(text, sizeof(text), "read key %s/largest: no key in PEM or DER, PKCS#8 or SubjectPublicKeyInfo", directory);
  ck_assert_str_eq(ndnpkt_key_errmsg(key), text);
  ck_assert_msg(ndnpkt_key_load_file(key, path_of("key.pem")) == 0, "%s", ndnpkt_key_errmsg(key));
  ck_assert_int_eq(verifies(key, ECDSA_DATA), 0);
  ndnpkt_key_free(key);
  unlink(path_of("key.pem"));
  unlink(path_of("large"));
  unlink(path_of("largest"));
  ck_assert_int_eq(rmdir(directory), 0);
}

TEST(keys_come_from_the_pib_of_ndn_rs) {
  ndnpkt_name_t name = wire_name(KEY_NAME);
  ndnpkt_key_t* key;
  char text[512];

  make_directory();
  ck_assert_int_eq(mkdir(path_of("keys"), 0700), 0);
  ck_assert_int_eq(mkdir(path_of("keys/" KEY_NAME_HASH), 0700), 0);
  setenv("NDN_PIB", directory, 1);
  key = new_key();
  ck_assert_int_eq(ndnpkt_key_load_pib(key, NULL, name), -ENOENT);
  snprintf(text, sizeof(text), "open %s/keys/%.16s...: no key of the certificate %s", directory, KEY_NAME_HASH,
           KEY_NAME);
  ck_assert_str_eq(ndnpkt_key_errmsg(key), text);
  write_file("keys/" KEY_NAME_HASH "/private.key", wire_hex(ED25519_SEED "00"));
  ck_assert_int_eq(ndnpkt_key_load_pib(key, NULL, name), -EBADMSG);
  write_file("keys/" KEY_NAME_HASH "/private.key", wire_hex(ED25519_SEED));
  ck_assert_msg(ndnpkt_key_load_pib(key, NULL, name) == 0, "%s", ndnpkt_key_errmsg(key));
  ck_assert_int_eq(ndnpkt_key_type(key), NDNPKT_SIGNATURE_ED25519);
  ck_assert(ndnpkt_key_can_sign(key) && ndnpkt_name_equal(ndnpkt_key_name(key), name));
  ck_assert_int_eq(verifies(key, ED25519_DATA), 0);
  ck_assert_int_eq(ndnpkt_key_load_pib(key, NULL, name), -EALREADY);
  ndnpkt_key_free(key);
  key = new_key();
  write_file("keys/" KEY_NAME_HASH "/private.pkcs8.der", wire_hex(ECDSA_PKCS8)); /* goes before the older file */
  ck_assert_msg(ndnpkt_key_load_pib(key, directory, name) == 0, "%s", ndnpkt_key_errmsg(key));
  ck_assert_int_eq(verifies(key, ECDSA_DATA), 0);
  ndnpkt_key_free(key);
  unlink(path_of("keys/" KEY_NAME_HASH "/private.pkcs8.der"));
  unlink(path_of("keys/" KEY_NAME_HASH "/private.key"));
  rmdir(path_of("keys/" KEY_NAME_HASH));
  rmdir(path_of("keys"));
  ck_assert_int_eq(rmdir(directory), 0);
}

TEST(a_pib_is_found_by_environment) {
  static char long_path[5000];
  ndnpkt_key_t* key = new_key();

  unsetenv("NDN_PIB");
  setenv("HOME", "/nowhere", 1);
  ck_assert_int_eq(ndnpkt_key_load_pib(key, NULL, wire_name("/k")), -ENOENT);
  ck_assert_ptr_nonnull(strstr(ndnpkt_key_errmsg(key), "open /nowhere/.ndn/pib/keys/"));
  unsetenv("HOME");
  ck_assert_int_eq(ndnpkt_key_load_pib(key, NULL, wire_name("/k")), -ENOENT);
  ck_assert_str_eq(ndnpkt_key_errmsg(key), "find PIB: neither $NDN_PIB nor $HOME is set");
  memset(long_path, 'x', sizeof(long_path) - 1);
  ck_assert_int_eq(ndnpkt_key_load_pib(key, long_path, wire_name("/k")), -ENAMETOOLONG);
  ck_assert_int_eq(ndnpkt_key_load_pib(key, "/x", wire_name("/")), -EINVAL);
  ck_assert_int_eq(ndnpkt_key_load_pib(key, "/x", wire_hex("08")), -EINVAL);
  ck_assert_int_eq(ndnpkt_key_load_pib(NULL, "/x", wire_name("/k")), -EINVAL);
  ndnpkt_key_free(key);
}

/* --- Threads ---------------------------------------------------------------------------------- */

enum { ROUNDS = 200 };

typedef struct worker_s {
  const ndnpkt_key_t* key;
  uint64_t times[ROUNDS];
  int failures;
} worker_t;

static void* sign_and_verify(void* arg) {
  worker_t* worker = arg;
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  ndnpkt_crypto_t* crypto = NULL;

  signer.key = worker->key;
  worker->failures += ndnpkt_crypto_new(&crypto) < 0;
  for (int i = 0; i < ROUNDS && worker->failures == 0; i++) {
    ndnpkt_command_t command = {.module = wire_text("rib"), .verb = wire_text("register")};
    ndnpkt_interest_t interest = {.lifetime_ms = 0};
    uint8_t buf[512];
    ssize_t len = ndnpkt_command_encode(crypto, buf, sizeof(buf), &command, &signer);

    worker->failures += len < 0 || ndnpkt_interest_decode(buf, (size_t) len, &interest) < 0 ||
                        ndnpkt_verify(crypto, &interest.signature, worker->key) < 0;
    worker->times[i] = interest.signature.time_ms;
  }
  ndnpkt_crypto_free(crypto);
  return NULL;
}

/* And no two commands of a process have the same time. */
TEST(one_key_serves_two_threads) {
  static worker_t workers[2];
  ndnpkt_key_t* key = new_key();
  pthread_t thread;

  ck_assert_int_eq(ndnpkt_key_load(key, wire_hex(ECDSA_PKCS8)), 0);
  workers[0].key = workers[1].key = key;
  ck_assert_int_eq(pthread_create(&thread, NULL, sign_and_verify, &workers[0]), 0);
  sign_and_verify(&workers[1]);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_int_eq(workers[0].failures + workers[1].failures, 0);
  for (size_t i = 0; i < ROUNDS; i++)
    for (size_t j = 0; j < ROUNDS; j++) HOLDS(workers[0].times[i] != workers[1].times[j]);
  ndnpkt_key_free(key);
}
