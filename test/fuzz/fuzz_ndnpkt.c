/* SPDX-License-Identifier: MIT */
/* fuzz_ndnpkt.c: libndnpkt, on packets, names, name URIs, responses and keys. Input: one byte of what it is, the rest.
 *
 * What a decoder accepts must lie within the input, and encoded again must decode to the same; what
 * ndnpkt_name_to_uri() writes must read back; a command must be signed as it says. Does not judge what ought to be
 * accepted: the tests do. */
#include <errno.h>
#include <ndnpkt.h>
#include <string.h>

#include "fuzz.h"

#define URI_MAX 4096

static ndnpkt_crypto_t* crypto; /* made once: the same input finds it in the same state */

/* --- Packets ---------------------------------------------------------------------------------- */

static void check_view(ndnpkt_bytes_t whole, ndnpkt_bytes_t view) {
  FUZZ_REQUIRE(view.len == 0 ||
               (view.base >= whole.base && view.len <= whole.len && view.base <= whole.base + (whole.len - view.len)));
}

static bool same(ndnpkt_bytes_t a, ndnpkt_bytes_t b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.base, b.base, a.len) == 0);
}

static void check_signature(ndnpkt_bytes_t wire, const ndnpkt_signature_t* signature) {
  int err = ndnpkt_verify(crypto, signature, NULL);

  check_view(wire, signature->key_name);
  check_view(wire, signature->key_digest);
  check_view(wire, signature->nonce);
  check_view(wire, signature->value);
  check_view(wire, signature->pieces[0]);
  check_view(wire, signature->pieces[1]);
  FUZZ_REQUIRE(err == 0 || err == -EBADMSG || err == -ENOKEY || err == -EKEYREJECTED || err == -ENOTSUP);
  FUZZ_REQUIRE((err == -ENOKEY) == (signature->value.base == NULL));
}

static void check_same_interest(const ndnpkt_interest_t* a, const ndnpkt_interest_t* b) {
  FUZZ_REQUIRE(a->can_be_prefix == b->can_be_prefix && a->must_be_fresh == b->must_be_fresh);
  FUZZ_REQUIRE(a->has_nonce == b->has_nonce && (!a->has_nonce || a->nonce == b->nonce));
  FUZZ_REQUIRE(a->lifetime_ms == b->lifetime_ms && (a->hop_limit == NULL) == (b->hop_limit == NULL));
  FUZZ_REQUIRE(a->hop_limit == NULL || *a->hop_limit == *b->hop_limit);
  FUZZ_REQUIRE(same(a->forwarding_hint, b->forwarding_hint) && same(a->parameters, b->parameters));
}

/* Encoded again, with its parameters under a digest at the end of the name, signed if it was. */
static void again_interest(const ndnpkt_interest_t* interest, size_t len) {
  size_t cap = len + 256;
  uint8_t* buf = malloc(cap);
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  bool is_signed = interest->signature.value.base != NULL;
  ndnpkt_interest_t bare = *interest, decoded;
  ssize_t n;

  FUZZ_REQUIRE(buf != NULL);
  if (is_signed) bare.name = interest->signature.pieces[0];
  n = ndnpkt_interest_encode(crypto, buf, cap, &bare, is_signed ? &signer : NULL);
  if (n == -EINVAL) {
    FUZZ_REQUIRE(bare.name.len == 0 || (interest->parameters.base != NULL && !is_signed));
  } else {
    FUZZ_REQUIRE(n > 0 && ndnpkt_interest_decode(buf, (size_t) n, &decoded) == 0);
    check_same_interest(interest, &decoded);
    FUZZ_REQUIRE(ndnpkt_interest_check(crypto, &decoded) == 0);
    FUZZ_REQUIRE(ndnpkt_verify(crypto, &decoded.signature, NULL) == (is_signed ? 0 : -ENOKEY));
    FUZZ_REQUIRE(same(interest->signature.nonce, decoded.signature.nonce));
    FUZZ_REQUIRE(interest->signature.has_time == decoded.signature.has_time &&
                 interest->signature.time_ms == decoded.signature.time_ms &&
                 interest->signature.seq_num == decoded.signature.seq_num);
  }
  free(buf);
}

static void again_command(const ndnpkt_interest_t* interest, size_t len) {
  size_t cap = 2 * len + 512;
  uint8_t* buf = malloc(cap);
  ndnpkt_command_t command, decoded;
  ndnpkt_interest_t made;
  ssize_t n;

  FUZZ_REQUIRE(buf != NULL);
  if (ndnpkt_command_decode(interest, &command) == 0 && !command.malformed) {
    n = ndnpkt_command_encode(crypto, buf, cap, &command, NULL);
    FUZZ_REQUIRE(n > 0 && ndnpkt_interest_decode(buf, (size_t) n, &made) == 0);
    FUZZ_REQUIRE(ndnpkt_command_decode(&made, &decoded) == 0 && !decoded.malformed && decoded.has_parameters);
    FUZZ_REQUIRE(same(command.module, decoded.module) && same(command.verb, decoded.verb));
    FUZZ_REQUIRE(command.parameters.has == decoded.parameters.has);
    FUZZ_REQUIRE(command.parameters.mtu == decoded.parameters.mtu &&
                 same(command.parameters.strategy, decoded.parameters.strategy));
  }
  free(buf);
}

static void check_response(ndnpkt_bytes_t content) {
  ndnpkt_response_t response, decoded;
  size_t cap = content.len + 16; /* what is there, and empty parameters */
  uint8_t* buf;
  ssize_t n;

  if (ndnpkt_response_decode(content, &response) < 0) return;
  check_view(content, response.text);
  check_view(content, response.parameters.uri);
  check_view(content, response.parameters.name);
  check_view(content, response.parameters.strategy);
  buf = malloc(cap);
  FUZZ_REQUIRE(buf != NULL);
  n = ndnpkt_response_encode(buf, cap, &response);
  FUZZ_REQUIRE(n > 0 && ndnpkt_response_decode((ndnpkt_bytes_t){buf, (size_t) n}, &decoded) == 0);
  FUZZ_REQUIRE(response.code == decoded.code && same(response.text, decoded.text) && decoded.has_parameters);
  FUZZ_REQUIRE(response.parameters.has == decoded.parameters.has &&
               response.parameters.face_id == decoded.parameters.face_id);
  free(buf);
}

static void again_data(const ndnpkt_data_t* data) {
  size_t cap = ndnpkt_data_overhead(data, NULL) + data->content.len;
  uint8_t* buf = malloc(cap);
  ndnpkt_data_t decoded;
  ssize_t n;

  FUZZ_REQUIRE(buf != NULL);
  n = ndnpkt_data_encode(crypto, buf, cap, data, NULL);
  FUZZ_REQUIRE(n > 0 && ndnpkt_data_decode(buf, (size_t) n, &decoded) == 0);
  FUZZ_REQUIRE(ndnpkt_verify(crypto, &decoded.signature, NULL) == 0);
  FUZZ_REQUIRE(ndnpkt_name_equal(data->name, decoded.name) && same(data->content, decoded.content));
  FUZZ_REQUIRE(same(data->final_block, decoded.final_block));
  FUZZ_REQUIRE(data->content_type == decoded.content_type && data->freshness_ms == decoded.freshness_ms);
  buf[n - 1] ^= 1;
  FUZZ_REQUIRE(ndnpkt_verify(crypto, &decoded.signature, NULL) == -EBADMSG);
  free(buf);
}

static void again_link(const ndnpkt_link_t* link) {
  uint8_t* buf = malloc(NDNPKT_LINK_HEADER_MAX + link->fragment.len);
  ndnpkt_link_t decoded;
  ssize_t n;

  FUZZ_REQUIRE(buf != NULL);
  n = ndnpkt_link_encode(buf, NDNPKT_LINK_HEADER_MAX, link);
  FUZZ_REQUIRE(n > 0);
  if (link->fragment.len > 0) memcpy(buf + n, link->fragment.base, link->fragment.len);
  FUZZ_REQUIRE(ndnpkt_link_decode(buf, (size_t) n + link->fragment.len, &decoded) == 0);
  FUZZ_REQUIRE(link->nack == decoded.nack && link->nack_reason == decoded.nack_reason);
  FUZZ_REQUIRE(link->has_sequence == decoded.has_sequence && link->sequence == decoded.sequence);
  FUZZ_REQUIRE(link->frag_index == decoded.frag_index && link->frag_count == decoded.frag_count);
  FUZZ_REQUIRE(link->congestion_mark == decoded.congestion_mark && same(link->pit_token, decoded.pit_token));
  FUZZ_REQUIRE(same(link->fragment, decoded.fragment));
  free(buf);
}

static void check_packet(ndnpkt_bytes_t input) {
  ndnpkt_packet_t packet;
  int err = ndnpkt_packet_decode(input.base, input.len, &packet);

  FUZZ_REQUIRE(err == 0 || err == -EBADMSG);
  if (err < 0) return;
  check_view(input, packet.wire);
  check_view(input, packet.link.pit_token);
  again_link(&packet.link);
  if (packet.kind == NDNPKT_DATA) {
    check_view(packet.wire, packet.data.name);
    check_view(packet.wire, packet.data.final_block);
    check_view(packet.wire, packet.data.content);
    check_signature(packet.wire, &packet.data.signature);
    again_data(&packet.data);
    check_response(packet.data.content);
  } else if (packet.kind == NDNPKT_INTEREST || packet.kind == NDNPKT_NACK) {
    check_view(packet.wire, packet.interest.name);
    check_view(packet.wire, packet.interest.forwarding_hint);
    check_view(packet.wire, packet.interest.parameters);
    check_view(packet.wire, packet.interest.digested);
    check_signature(packet.wire, &packet.interest.signature);
    ndnpkt_interest_check(crypto, &packet.interest);
    again_interest(&packet.interest, packet.wire.len);
    again_command(&packet.interest, packet.wire.len);
  }
}

/* --- Names ------------------------------------------------------------------------------------ */

static void again_name(ndnpkt_name_t name) {
  size_t text_bytes = 16 * name.len + 2;
  char* text = malloc(text_bytes);
  char* cut = malloc(name.len + 4);
  uint8_t* buf = malloc(name.len + 1);
  ndnpkt_name_t read;

  FUZZ_REQUIRE(text != NULL && cut != NULL && buf != NULL);
  ndnpkt_name_to_uri(name, text, text_bytes);
  FUZZ_REQUIRE(strlen(ndnpkt_name_to_uri(name, cut, name.len + 4)) < name.len + 4);
  FUZZ_REQUIRE(ndnpkt_name_from_uri(text, buf, name.len + 1, &read) == 0 && ndnpkt_name_equal(name, read));
  free(buf);
  free(cut);
  free(text);
}

static int sign(int n) {
  return (n > 0) - (n < 0);
}

/* The first byte of the input is where it is cut into two names. */
static void check_names(ndnpkt_bytes_t input) {
  size_t cut;
  ndnpkt_name_t a, b;

  if (input.len == 0) return;
  cut = input.base[0] % input.len;
  a = (ndnpkt_name_t){input.base + 1, cut};
  b = (ndnpkt_name_t){input.base + 1 + cut, input.len - 1 - cut};
  if (ndnpkt_name_check(a) < 0 || ndnpkt_name_check(b) < 0) return;
  FUZZ_REQUIRE(sign(ndnpkt_name_compare(a, b)) == -sign(ndnpkt_name_compare(b, a)));
  FUZZ_REQUIRE((ndnpkt_name_compare(a, b) == 0) == ndnpkt_name_equal(a, b));
  FUZZ_REQUIRE(ndnpkt_name_has_prefix((ndnpkt_name_t){input.base + 1, input.len - 1}, a));
  again_name(a);
  again_name(b);
}

static void check_uri(ndnpkt_bytes_t input) {
  char uri[URI_MAX + 1];
  size_t len = input.len < URI_MAX ? input.len : URI_MAX, cap = 2 * len + 1;
  uint8_t* buf = malloc(cap);
  ndnpkt_name_t name;
  int err;

  FUZZ_REQUIRE(buf != NULL);
  if (len > 0) memcpy(uri, input.base, len);
  uri[len] = '\0';
  err = ndnpkt_name_from_uri(uri, buf, len / 2, &name); /* often too short */
  FUZZ_REQUIRE(err == 0 || err == -EINVAL || err == -ENOBUFS);
  err = ndnpkt_name_from_uri(uri, buf, cap, &name);
  FUZZ_REQUIRE(err == 0 || err == -EINVAL || err == -ENOBUFS);
  if (err == 0) again_name(name);
  free(buf);
}

/* --- Keys ------------------------------------------------------------------------------------- */

static void check_key(ndnpkt_bytes_t input) {
  ndnpkt_key_t* key;
  int err;

  FUZZ_REQUIRE(ndnpkt_key_new(&key) == 0);
  err = ndnpkt_key_load(key, input);
  FUZZ_REQUIRE(err == 0 || err == -EBADMSG || err == -ENOTSUP || err == -EKEYEXPIRED || err == -ENOMEM);
  FUZZ_REQUIRE((err == 0) == (ndnpkt_key_type(key) >= 0) && (err == 0) == (ndnpkt_key_errmsg(key)[0] == '\0'));
  ndnpkt_key_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ndnpkt_bytes_t input;
  uint8_t* copy;

  if (size == 0) return 0;
  if (crypto == NULL) FUZZ_REQUIRE(ndnpkt_crypto_new(&crypto) == 0);
  copy = malloc(size > 1 ? size - 1 : 1); /* of exactly the packet's size, for ASan to see the end */
  FUZZ_REQUIRE(copy != NULL);
  memcpy(copy, data + 1, size - 1);
  input = (ndnpkt_bytes_t){copy, size - 1};
  switch (data[0] % 16) {
    case 0:
    case 4: check_names(input); break;
    case 1:
    case 5: check_uri(input); break;
    case 8: check_response(input); break;
    case 9: check_key(input); break;
    default: check_packet(input); break;
  }
  free(copy);
  return 0;
}
