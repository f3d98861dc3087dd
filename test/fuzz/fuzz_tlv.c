/* SPDX-License-Identifier: MIT */
/* fuzz_tlv.c: the examples' NDN codec, on packets, names and name URIs. Input: one byte of what it is, the rest.
 *
 * What a decoder accepts must lie within the input, and encoded again must decode to the same; what
 * ndn_name_to_uri() writes must read back. Does not judge what ought to be accepted: test_tlv.c does. */
#include <errno.h>
#include <string.h>

#include "../../docs/examples/ndn.h"
#include "fuzz.h"

#define URI_MAX 4096

/* --- Packets ---------------------------------------------------------------------------------- */

static void check_view(ndn_bytes_t whole, ndn_bytes_t view) {
  FUZZ_REQUIRE(view.len == 0 ||
               (view.base >= whole.base && view.len <= whole.len && view.base <= whole.base + (whole.len - view.len)));
}

static bool same(ndn_bytes_t a, ndn_bytes_t b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.base, b.base, a.len) == 0);
}

static void check_same_interest(const ndn_interest_t* a, const ndn_interest_t* b) {
  FUZZ_REQUIRE(ndn_name_equal(a->name, b->name) && ndn_name_compare(a->name, b->name) == 0);
  FUZZ_REQUIRE(a->can_be_prefix == b->can_be_prefix && a->must_be_fresh == b->must_be_fresh);
  FUZZ_REQUIRE(a->has_nonce == b->has_nonce && (!a->has_nonce || a->nonce == b->nonce));
  FUZZ_REQUIRE(a->lifetime_ms == b->lifetime_ms && (a->hop_limit == NULL) == (b->hop_limit == NULL));
  FUZZ_REQUIRE(a->hop_limit == NULL || *a->hop_limit == *b->hop_limit);
}

/* Encoded again, and once more as a Nack. */
static void again_interest(const ndn_interest_t* interest, size_t len) {
  const size_t head = 32;
  uint8_t* buf = malloc(head + len);
  uint8_t nack[32];
  ndn_interest_t decoded;
  ndn_packet_t packet;
  ssize_t n;
  size_t nack_len;

  FUZZ_REQUIRE(buf != NULL);
  n = ndn_interest_encode(buf + head, len, interest); /* never longer than what it came from */
  FUZZ_REQUIRE(n > 0 && ndn_interest_decode(buf + head, (size_t) n, &decoded) == 0);
  check_same_interest(interest, &decoded);
  nack_len = ndn_nack_header(nack, 300, (size_t) n);
  FUZZ_REQUIRE(nack_len <= head);
  memcpy(buf + head - nack_len, nack, nack_len);
  FUZZ_REQUIRE(ndn_packet_decode(buf + head - nack_len, nack_len + (size_t) n, &packet) == 0);
  FUZZ_REQUIRE(packet.kind == NDN_NACK && packet.nack_reason == 300);
  check_same_interest(interest, &packet.interest);
  free(buf);
}

static void again_data(const ndn_data_t* data) {
  size_t cap = ndn_data_overhead(data->name.len) + data->content.len + data->final_block.len;
  uint8_t* buf = malloc(cap);
  ndn_data_t decoded;
  ssize_t n;

  FUZZ_REQUIRE(buf != NULL);
  n = ndn_data_encode(buf, cap, data);
  FUZZ_REQUIRE(n > 0 && ndn_data_decode(buf, (size_t) n, &decoded) == 0 && ndn_data_verify(&decoded));
  FUZZ_REQUIRE(ndn_name_equal(data->name, decoded.name) && same(data->content, decoded.content));
  FUZZ_REQUIRE(same(data->final_block, decoded.final_block));
  FUZZ_REQUIRE(data->content_type == decoded.content_type && data->freshness_ms == decoded.freshness_ms);
  buf[n - 1] ^= 1;
  FUZZ_REQUIRE(!ndn_data_verify(&decoded));
  free(buf);
}

static void check_packet(ndn_bytes_t input) {
  ndn_packet_t packet;
  int err = ndn_packet_decode(input.base, input.len, &packet);

  FUZZ_REQUIRE(err == 0 || err == -EBADMSG);
  if (err < 0) return;
  check_view(input, packet.wire);
  if (packet.kind == NDN_DATA) {
    check_view(packet.wire, packet.data.name);
    check_view(packet.wire, packet.data.final_block);
    check_view(packet.wire, packet.data.content);
    check_view(packet.wire, packet.data.signed_part);
    check_view(packet.wire, packet.data.signature);
    ndn_data_verify(&packet.data);
    again_data(&packet.data);
  } else if (packet.kind == NDN_INTEREST || packet.kind == NDN_NACK) {
    check_view(packet.wire, packet.interest.name);
    again_interest(&packet.interest, packet.wire.len);
  }
}

/* --- Names ------------------------------------------------------------------------------------ */

/* Text has one form only for a number, so one that is longer than needed does not come back. */
static bool has_long_number(ndn_name_t name) {
  ndn_tlv_t component;
  uint64_t number;
  uint8_t buf[8];

  while (ndn_tlv_next(&name, &component) > 0)
    if ((component.type == NDN_SEGMENT || component.type == NDN_VERSION) &&
        ndn_uint_decode(component.value, &number) == 0 && ndn_uint_encode(buf, number) != component.value.len)
      return true;
  return false;
}

static void again_name(ndn_name_t name) {
  size_t text_bytes = 16 * name.len + 2;
  char* text = malloc(text_bytes);
  char* cut = malloc(name.len + 4);
  uint8_t* buf = malloc(name.len + 1);
  ndn_name_t read;

  FUZZ_REQUIRE(text != NULL && cut != NULL && buf != NULL);
  ndn_name_to_uri(name, text, text_bytes);
  FUZZ_REQUIRE(strlen(ndn_name_to_uri(name, cut, name.len + 4)) < name.len + 4);
  if (!has_long_number(name)) {
    FUZZ_REQUIRE(ndn_name_from_uri(text, buf, name.len + 1, &read) == 0);
    FUZZ_REQUIRE(ndn_name_equal(name, read) && ndn_name_hash(1, name) == ndn_name_hash(1, read));
  }
  free(buf);
  free(cut);
  free(text);
}

static int sign(int n) {
  return (n > 0) - (n < 0);
}

/* The first byte of the input is where it is cut into two names. */
static void check_names(ndn_bytes_t input) {
  size_t cut;
  ndn_name_t a, b;

  if (input.len == 0) return;
  cut = input.base[0] % input.len;
  a = (ndn_name_t){input.base + 1, cut};
  b = (ndn_name_t){input.base + 1 + cut, input.len - 1 - cut};
  if (ndn_name_check(a) < 0 || ndn_name_check(b) < 0) return;
  FUZZ_REQUIRE(sign(ndn_name_compare(a, b)) == -sign(ndn_name_compare(b, a)));
  FUZZ_REQUIRE((ndn_name_compare(a, b) == 0) == ndn_name_equal(a, b));
  FUZZ_REQUIRE(ndn_name_has_prefix((ndn_name_t){input.base + 1, input.len - 1}, a));
  again_name(a);
  again_name(b);
}

static void check_uri(ndn_bytes_t input) {
  char uri[URI_MAX + 1];
  size_t len = input.len < URI_MAX ? input.len : URI_MAX, cap = 2 * len + 1;
  uint8_t* buf = malloc(cap);
  ndn_name_t name;
  int err;

  FUZZ_REQUIRE(buf != NULL);
  if (len > 0) memcpy(uri, input.base, len);
  uri[len] = '\0';
  err = ndn_name_from_uri(uri, buf, len / 2, &name); /* often too short */
  FUZZ_REQUIRE(err == 0 || err == -EINVAL || err == -ENOBUFS);
  err = ndn_name_from_uri(uri, buf, cap, &name);
  FUZZ_REQUIRE(err == 0 || err == -EINVAL || err == -ENOBUFS);
  if (err == 0) again_name(name);
  free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ndn_bytes_t input;
  uint8_t* copy;

  if (size == 0) return 0;
  copy = malloc(size > 1 ? size - 1 : 1); /* of exactly the packet's size, for ASan to see the end */
  FUZZ_REQUIRE(copy != NULL);
  memcpy(copy, data + 1, size - 1);
  input = (ndn_bytes_t){copy, size - 1};
  switch (data[0] % 4) {
    case 0: check_names(input); break;
    case 1: check_uri(input); break;
    default: check_packet(input); break;
  }
  free(copy);
  return 0;
}
