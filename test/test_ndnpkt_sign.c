/* SPDX-License-Identifier: MIT */
/* test_ndnpkt_sign.c: signatures of each type, those of python-ndn verified and made byte for byte where they are
 * always the same, ours verified; any changed byte; signers that are keys, callbacks, older or newer structs;
 * digests. */
#include "signed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "wire.h"

static ndnpkt_crypto_t* crypto;

/* Each test runs in a process of its own. */
static void start(void) {
  ck_assert_int_eq(ndnpkt_crypto_new(&crypto), 0);
}

static ndnpkt_key_t* key_from(const char* hex) {
  ndnpkt_key_t* key = NULL;

  ck_assert_int_eq(ndnpkt_key_new(&key), 0);
  ck_assert_msg(ndnpkt_key_load(key, wire_hex(hex)) == 0, "%s", ndnpkt_key_errmsg(key));
  return key;
}

static ndnpkt_key_t* secret_key(const char* secret) {
  ndnpkt_key_t* key = NULL;

  ck_assert_int_eq(ndnpkt_key_new(&key), 0);
  ck_assert_int_eq(ndnpkt_key_set_secret(key, wire_text(secret)), 0);
  return key;
}

/* The key that verifies a type, NULL for a digest. */
static ndnpkt_key_t* public_key(int type) {
  return type == NDNPKT_SIGNATURE_DIGEST_SHA256  ? NULL
         : type == NDNPKT_SIGNATURE_HMAC_SHA256  ? secret_key(SECRET)
         : type == NDNPKT_SIGNATURE_SHA256_ECDSA ? key_from(ECDSA_SPKI)
                                                 : key_from(ED25519_SPKI);
}

static ndnpkt_key_t* private_key(int type) {
  return type == NDNPKT_SIGNATURE_SHA256_ECDSA ? key_from(ECDSA_PKCS8)
         : type == NDNPKT_SIGNATURE_ED25519    ? key_from(ED25519_PKCS8)
                                               : public_key(type);
}

static ndnpkt_packet_t decode(ndnpkt_bytes_t bytes) {
  ndnpkt_packet_t packet;

  ck_assert_int_eq(ndnpkt_packet_decode(bytes.base, bytes.len, &packet), 0);
  return packet;
}

static const ndnpkt_signature_t* signature_of(const ndnpkt_packet_t* packet) {
  return packet->kind == NDNPKT_DATA ? &packet->data.signature : &packet->interest.signature;
}

static const struct {
  int type;
  const char *data, *interest;
} signed_by_python[] = {{NDNPKT_SIGNATURE_DIGEST_SHA256, DIGEST_DATA, DIGEST_INTEREST},
                        {NDNPKT_SIGNATURE_HMAC_SHA256, HMAC_DATA, HMAC_INTEREST},
                        {NDNPKT_SIGNATURE_ED25519, ED25519_DATA, ED25519_INTEREST},
                        {NDNPKT_SIGNATURE_SHA256_ECDSA, ECDSA_DATA, ECDSA_INTEREST}};

TEST_LOOP(packets_of_python_ndn_verify, 4) {
  ndnpkt_key_t* key = public_key(signed_by_python[_i].type);
  ndnpkt_packet_t data = decode(wire_hex(signed_by_python[_i].data));
  ndnpkt_packet_t interest = decode(wire_hex(signed_by_python[_i].interest));

  start();
  ck_assert_uint_eq(data.data.signature.type, (uint64_t) signed_by_python[_i].type);
  ck_assert_int_eq(ndnpkt_verify(crypto, signature_of(&data), key), 0);
  ck_assert_int_eq(ndnpkt_verify(crypto, signature_of(&interest), key), 0);
  ck_assert_int_eq(ndnpkt_interest_check(crypto, &interest.interest), 0);
  ndnpkt_key_free(key);
  ndnpkt_crypto_free(crypto);
}

/* ECDSA takes a random number, the others make the same bytes each time. */
TEST_LOOP(interests_are_signed_as_python_ndn_does, 3) {
  ndnpkt_key_t* key = private_key(signed_by_python[_i].type);
  ndnpkt_interest_t interest = {.name = wire_name("/a/b"),
                                .has_nonce = true,
                                .nonce = 0x01020304,
                                .lifetime_ms = 1000,
                                .parameters = wire_text("hello")};
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  uint8_t buf[512];
  ssize_t len;

  start();
  signer.key = key;
  signer.key_name = signed_by_python[_i].type == NDNPKT_SIGNATURE_HMAC_SHA256 ? wire_name("/k") : wire_name(KEY_NAME);
  len = ndnpkt_interest_encode(crypto, buf, sizeof(buf), &interest, &signer);
  ck_assert_int_gt(len, 0);
  wire_assert_same((ndnpkt_bytes_t){buf, (size_t) len}, wire_hex(signed_by_python[_i].interest));
  ndnpkt_key_free(key);
  ndnpkt_crypto_free(crypto);
}

/* --- Ours ------------------------------------------------------------------------------------- */

static const int types[] = {NDNPKT_SIGNATURE_DIGEST_SHA256, NDNPKT_SIGNATURE_HMAC_SHA256, NDNPKT_SIGNATURE_ED25519,
                            NDNPKT_SIGNATURE_SHA256_ECDSA};

static ssize_t sign_interest(uint8_t* buf, size_t cap, const ndnpkt_key_t* key, size_t params) {
  static const uint8_t zeros[1000];
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  ndnpkt_interest_t interest = {
      .name = wire_name("/a/b"),
      .lifetime_ms = NDNPKT_LIFETIME_DEFAULT_MS,
      .parameters = {zeros, params},
      .signature = {
          .nonce = wire_text("nonce"), .has_time = true, .time_ms = 1700000000000, .has_seq_num = true, .seq_num = 7}};

  signer.key = key;
  return ndnpkt_interest_encode(crypto, buf, cap, &interest, &signer);
}

static ssize_t sign_data(uint8_t* buf, size_t cap, const ndnpkt_key_t* key, size_t content) {
  static const uint8_t zeros[1000];
  ndnpkt_data_t data = {.name = wire_name("/a/b/v=1"), .content = {zeros, content}};
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  ssize_t len;

  signer.key = key;
  if (key != NULL) signer.key_name = wire_name(KEY_NAME);
  len = ndnpkt_data_encode(crypto, buf, cap, &data, &signer);
  ck_assert(len < 0 || (size_t) len <= content + ndnpkt_data_overhead(&data, &signer));
  return len;
}

/* At every length around that at which the outer head grows, which the length of an ECDSA signature decides. */
TEST_LOOP(what_is_signed_verifies_at_every_length, 4) {
  ndnpkt_key_t *key = private_key(types[_i]), *other = public_key(types[_i]);
  uint8_t buf[2048];

  start();
  for (size_t size = 0; size < 260; size++) {
    ssize_t len = sign_data(buf, sizeof(buf), key, size);
    ndnpkt_packet_t packet = decode((ndnpkt_bytes_t){buf, (size_t) len});

    ck_assert_uint_eq(packet.data.content.len, size);
    ck_assert_int_eq(ndnpkt_verify(crypto, &packet.data.signature, other), 0);
    len = sign_interest(buf, sizeof(buf), key, size);
    packet = decode((ndnpkt_bytes_t){buf, (size_t) len});
    ck_assert_int_eq(ndnpkt_verify(crypto, &packet.interest.signature, other), 0);
    ck_assert_int_eq(ndnpkt_interest_check(crypto, &packet.interest), 0);
    wire_assert_same(packet.interest.signature.nonce, wire_text("nonce"));
    ck_assert(packet.interest.signature.has_time && packet.interest.signature.time_ms == 1700000000000);
    ck_assert(packet.interest.signature.has_seq_num && packet.interest.signature.seq_num == 7);
  }
  ndnpkt_key_free(other);
  ndnpkt_key_free(key);
  ndnpkt_crypto_free(crypto);
}

static bool is_good(ndnpkt_bytes_t bytes, const ndnpkt_key_t* key) {
  ndnpkt_packet_t packet;

  if (ndnpkt_packet_decode(bytes.base, bytes.len, &packet) < 0 || packet.link.wrapped) return false;
  if (packet.kind == NDNPKT_INTEREST && ndnpkt_interest_check(crypto, &packet.interest) < 0) return false;
  return ndnpkt_verify(crypto, signature_of(&packet), key) == 0;
}

/* Of an Interest the elements in front of the parameters may change on the way; of all others each bit counts. */
TEST_LOOP(any_changed_byte_breaks_the_signature, 4) {
  static const uint8_t flips[] = {0x01, 0x02, 0x80, 0xff};
  ndnpkt_key_t *key = private_key(types[_i]), *other = public_key(types[_i]);
  uint8_t packets[2][512];
  ssize_t lens[2];

  start();
  lens[0] = sign_data(packets[0], sizeof(packets[0]), key, 20);
  lens[1] = sign_interest(packets[1], sizeof(packets[1]), key, 20);
  for (unsigned int p = 0; p < 2; p++) {
    ndnpkt_bytes_t bytes = {packets[p], (size_t) lens[p]};

    ck_assert(is_good(bytes, other));
    for (size_t at = 0; at < bytes.len; at++) {
      for (size_t i = 0; i < sizeof(flips); i++) {
        packets[p][at] ^= flips[i];
        ck_assert_msg(!is_good(bytes, other), "packet %u, byte %zu ^ %#x", p, at, flips[i]);
        packets[p][at] ^= flips[i];
      }
    }
  }
  ndnpkt_key_free(other);
  ndnpkt_key_free(key);
  ndnpkt_crypto_free(crypto);
}

TEST(only_the_right_key_verifies) {
  ndnpkt_key_t* keys[] = {secret_key("another secret"), public_key(NDNPKT_SIGNATURE_SHA256_ECDSA),
                          public_key(NDNPKT_SIGNATURE_ED25519), NULL};
  static const int want[4][4] = {{-EKEYREJECTED, -EKEYREJECTED, -EKEYREJECTED, 0}, /* a digest has no key */
                                 {-EBADMSG, -EKEYREJECTED, -EKEYREJECTED, -EKEYREJECTED},
                                 {-EKEYREJECTED, -EKEYREJECTED, 0, -EKEYREJECTED},
                                 {-EKEYREJECTED, 0, -EKEYREJECTED, -EKEYREJECTED}};
  ndnpkt_key_t* empty;
  ndnpkt_packet_t packet;

  start();
  ck_assert_int_eq(ndnpkt_key_new(&empty), 0);
  for (size_t i = 0; i < 4; i++) {
    packet = decode(wire_hex(signed_by_python[i].data));
    for (size_t k = 0; k < 4; k++) ck_assert_int_eq(ndnpkt_verify(crypto, &packet.data.signature, keys[k]), want[i][k]);
    ck_assert_int_eq(ndnpkt_verify(crypto, &packet.data.signature, empty), -EKEYREJECTED);
  }
  packet = decode(wire_hex("060c 0703080141 16031b0101 1700"));
  ck_assert_int_eq(ndnpkt_verify(crypto, &packet.data.signature, NULL), -ENOTSUP); /* RSA */
  packet = decode(wire_hex("060c 0703080141 16031b0100 1700"));
  ck_assert_int_eq(ndnpkt_verify(crypto, &packet.data.signature, NULL), -EBADMSG); /* no digest at all */
  packet = decode(wire_hex("0505 0703080141"));
  ck_assert_int_eq(ndnpkt_verify(crypto, &packet.interest.signature, NULL), -ENOKEY);
  ck_assert_int_eq(ndnpkt_verify(NULL, &packet.interest.signature, NULL), -EINVAL);
  ck_assert_int_eq(ndnpkt_verify(crypto, NULL, NULL), -EINVAL);
  ndnpkt_key_free(empty);
  for (size_t i = 0; i < 3; i++) ndnpkt_key_free(keys[i]);
  ndnpkt_crypto_free(crypto);
}

/* ndn-cxx's signed Interest; the same with elements of an application around the signature; and with the digest in the
 * middle of the name, where the signature would not cover what follows. */
TEST(signed_interests_of_ndn_cxx) {
#define CXX_NAME "0805 6c6f63616c 0803 6e646e 0806 707265666978"
#define CXX_DIGEST "0220 6f29586053ee9fccd8a422122925287c0a18435f4074c40abb0d5b30e4aa6220"
#define CXX_INFO "2c0d 1b0100 2608 0102030405060708"
#define CXX_VALUE "2e20 12471ae0f8723ac1156c370a38711ebebf2817de9b2dd94e9b7e62f117b876c1"
  ndnpkt_packet_t packet =
      decode(wire_hex("0577 0736" CXX_NAME CXX_DIGEST "1200 0a044c1ecb4a 2404c0c1c2c3" CXX_INFO CXX_VALUE));

  start();
  ck_assert_int_eq(ndnpkt_interest_check(crypto, &packet.interest), 0);
  wire_assert_same(packet.interest.signature.nonce, wire_hex("0102030405060708"));
  wire_assert_same(packet.interest.signature.pieces[0], wire_hex(CXX_NAME));
  wire_assert_same(packet.interest.signature.pieces[1], wire_hex("2404c0c1c2c3" CXX_INFO));
  packet = decode(
      wire_hex("058f 0736" CXX_NAME "0220 bc3630a4d65e0db5483dfa0d28b3312fcac1d441ec8961d4175e61751778108e 1200 "
               "0a044c1ecb4a 2404c0c1c2c3 fd01fe08 1020304050607080" CXX_INFO CXX_VALUE "fd020008 1122334455667788"));
  ck_assert_int_eq(ndnpkt_interest_check(crypto, &packet.interest), 0);
  wire_assert_same(packet.interest.signature.pieces[1], wire_hex("2404c0c1c2c3 fd01fe08 1020304050607080" CXX_INFO));
  packet = decode(wire_hex("0564 072d" CXX_DIGEST "0809 6c6f63616c686f7374 1200 2400" CXX_INFO CXX_VALUE));
  ck_assert_ptr_null(packet.interest.signature.value.base);
  /* InterestSignatureValue without info, info without value, both without parameters: not signed */
  packet = decode(wire_hex("0548 0722" CXX_DIGEST "2400" CXX_VALUE));
  ck_assert_ptr_null(packet.interest.signature.value.base);
  packet = decode(wire_hex("0535 0722" CXX_DIGEST "2400" CXX_INFO));
  ck_assert_ptr_null(packet.interest.signature.value.base);
  packet = decode(wire_hex("0536 0703080141" CXX_INFO CXX_VALUE));
  ck_assert_ptr_null(packet.interest.signature.value.base);
  ndnpkt_crypto_free(crypto);
}

/* --- Signers ---------------------------------------------------------------------------------- */

typedef struct notary_s {
  int answer;
  size_t len;
  unsigned int n;
  uint8_t seen[64];
  size_t seen_len;
} notary_t;

static int notary_sign(void* ctx, const ndnpkt_bytes_t pieces[], unsigned int n, uint8_t* out, size_t* len) {
  notary_t* notary = ctx;

  ck_assert_uint_ge(*len, NDNPKT_SIGNATURE_MAX);
  notary->n = n;
  notary->seen_len = 0;
  for (unsigned int i = 0; i < n; i++) {
    memcpy(notary->seen + notary->seen_len, pieces[i].base, pieces[i].len);
    notary->seen_len += pieces[i].len;
  }
  memset(out, 0xab, notary->len < *len ? notary->len : *len);
  *len = notary->len;
  return notary->answer;
}

TEST(a_callback_signs_instead_of_a_key) {
  notary_t notary = {.len = 256};
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  ndnpkt_data_t data = {.name = wire_name("/a"), .content = wire_text("x")};
  ndnpkt_interest_t interest = {.name = wire_name("/a"), .lifetime_ms = NDNPKT_LIFETIME_DEFAULT_MS};
  ndnpkt_packet_t packet;
  uint8_t buf[1024];
  ssize_t len;

  start();
  signer.type = NDNPKT_SIGNATURE_SHA256_RSA;
  signer.sign = notary_sign;
  signer.ctx = &notary;
  signer.key_name = wire_name("/k");
  len = ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, &signer);
  packet = decode((ndnpkt_bytes_t){buf, (size_t) len});
  ck_assert_uint_eq(packet.data.signature.type, NDNPKT_SIGNATURE_SHA256_RSA);
  ck_assert(ndnpkt_name_equal(packet.data.signature.key_name, wire_name("/k")));
  ck_assert_uint_eq(packet.data.signature.value.len, 256);
  ck_assert_uint_eq(notary.n, 1);
  wire_assert_same((ndnpkt_bytes_t){notary.seen, notary.seen_len},
                   wire_hex("0703080161 150178 160a 1b0101 1c05 0703 08016b"));
  ck_assert_uint_le((size_t) len, 1 + ndnpkt_data_overhead(&data, &signer));
  notary.len = 1; /* much shorter than there was room for: the head shrinks */
  len = ndnpkt_interest_encode(crypto, buf, sizeof(buf), &interest, &signer);
  packet = decode((ndnpkt_bytes_t){buf, (size_t) len});
  ck_assert_int_eq(ndnpkt_interest_check(crypto, &packet.interest), 0);
  ck_assert_uint_eq(packet.interest.signature.value.len, 1);
  ck_assert_uint_eq(notary.n, 2);
  wire_assert_same((ndnpkt_bytes_t){notary.seen, notary.seen_len},
                   wire_hex("080161 2400 2c0a 1b0101 1c05 0703 08016b"));
  notary.len = NDNPKT_SIGNATURE_MAX + 1;
  ck_assert_int_eq(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, &signer), -EINVAL);
  notary.answer = -EAGAIN;
  ck_assert_int_eq(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, &signer), -EAGAIN);
  ck_assert_int_eq(ndnpkt_interest_encode(crypto, buf, sizeof(buf), &interest, &signer), -EAGAIN);
  ndnpkt_crypto_free(crypto);
}

TEST(signers_that_cannot_sign_are_refused) {
  ndnpkt_key_t* keys[2] = {public_key(NDNPKT_SIGNATURE_ED25519), NULL};
  ndnpkt_data_t data = {.name = wire_name("/a")};
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  uint8_t buf[512];

  start();
  ck_assert_int_eq(ndnpkt_key_new(&keys[1]), 0);
  for (size_t i = 0; i < 2; i++) {
    signer.key = keys[i];
    ck_assert_int_eq(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, &signer), -EKEYREJECTED);
    ck_assert_uint_eq(ndnpkt_data_overhead(&data, &signer), 0);
    ndnpkt_key_free(keys[i]);
  }
  signer = (ndnpkt_signer_t) NDNPKT_SIGNER_INIT;
  signer.type = NDNPKT_SIGNATURE_ED25519; /* and nobody to do it */
  ck_assert_int_eq(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, &signer), -EINVAL);
  signer = (ndnpkt_signer_t) NDNPKT_SIGNER_INIT;
  signer.key_name = wire_hex("0805aa");
  ck_assert_int_eq(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, &signer), -EINVAL);
  ck_assert_int_eq(ndnpkt_data_encode(NULL, buf, sizeof(buf), &data, NULL), -EINVAL);
  ndnpkt_crypto_free(crypto);
}

TEST(signers_of_older_and_newer_programs) {
  struct {
    ndnpkt_signer_t known;
    uint64_t newer;
  } signer = {NDNPKT_SIGNER_INIT, 0};
  static const size_t impossible[] = {0, 7, sizeof(ndnpkt_signer_t) + 1, 4096};
  ndnpkt_data_t data = {.name = wire_name("/a")};
  uint8_t buf[512];

  start();
  signer.known.size = offsetof(ndnpkt_signer_t, key); /* a program that knows no keys: what follows is not read */
  signer.known.key = (const ndnpkt_key_t*) &signer;
  ck_assert_int_gt(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, &signer.known), 0);
  signer.known = (ndnpkt_signer_t) NDNPKT_SIGNER_INIT;
  signer.known.size = sizeof(signer);
  ck_assert_int_gt(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, &signer.known), 0);
  signer.newer = 1; /* wants what is not known here */
  ck_assert_int_eq(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, &signer.known), -EINVAL);
  for (size_t i = 0; i < sizeof(impossible) / sizeof(*impossible); i++) {
    signer.known.size = impossible[i];
    ck_assert_int_eq(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, &signer.known), -EINVAL);
  }
  ndnpkt_crypto_free(crypto);
}

/* --- Digests ---------------------------------------------------------------------------------- */

/* FIPS 180's own example, in pieces. */
TEST(sha256_is_sha256) {
  ndnpkt_bytes_t pieces[] = {wire_text("a"), wire_text(""), wire_text("bc")};
  uint8_t digest[NDNPKT_DIGEST_BYTES];

  start();
  for (int i = 0; i < 2; i++) {
    ck_assert_int_eq(ndnpkt_sha256(crypto, pieces, 3, digest), 0);
    wire_assert_same((ndnpkt_bytes_t){digest, sizeof(digest)},
                     wire_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
  }
  ck_assert_int_eq(ndnpkt_crypto_new(NULL), -EINVAL);
  ndnpkt_crypto_free(NULL);
  ndnpkt_crypto_free(crypto);
}

static int matches(const char* name, bool can_be_prefix, const char* data) {
  ndnpkt_interest_t interest = {.name = wire_name(name), .can_be_prefix = can_be_prefix};
  ndnpkt_packet_t packet = decode(wire_hex(data));

  return ndnpkt_interest_matches(crypto, &interest, &packet.data, packet.wire);
}

TEST(data_answers_by_name_prefix_or_implicit_digest) {
  start();
  ck_assert_int_eq(matches("/a/b/v=1", false, DIGEST_DATA), 1);
  ck_assert_int_eq(matches("/a/b", false, DIGEST_DATA), 0);
  ck_assert_int_eq(matches("/a/b", true, DIGEST_DATA), 1);
  ck_assert_int_eq(matches("/a/c", true, DIGEST_DATA), 0);
  ck_assert_int_eq(matches("/a/b/v=1/sha256digest=" DIGEST_DATA_FULL_NAME, false, DIGEST_DATA), 1);
  ck_assert_int_eq(matches("/a/b/v=1/sha256digest=" DIGEST_DATA_FULL_NAME, true, DIGEST_DATA), 1);
  ck_assert_int_eq(matches("/a/b/v=1/sha256digest=" DIGEST_DATA_FULL_NAME, false, HMAC_DATA), 0);
  ck_assert_int_eq(matches("/a/b/v=2/sha256digest=" DIGEST_DATA_FULL_NAME, false, DIGEST_DATA), 0);
  ck_assert_int_eq(matches("/a/b/sha256digest=" DIGEST_DATA_FULL_NAME "/c", true, DIGEST_DATA), 0);
  ndnpkt_crypto_free(crypto);
}
