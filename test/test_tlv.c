/* SPDX-License-Identifier: MIT */
/* test_tlv.c: the examples' NDN codec and forwarding tables, which the whole demo stands on: numbers of every
 * size and form, packets cut at every byte and changed at every byte, the rules for unknown elements, round
 * trips, and real captures if UVFACE_NDN_PCAPS names a directory of them. Every packet is decoded from a heap
 * block of exactly its size, so that under ASan a read past the end is an error. Does not test faces. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "ndn.h"
#include "tables.h"

/* --- Helpers ---------------------------------------------------------------------------------- */

static void check_view(const uint8_t* buf, size_t len, ndn_bytes_t view) {
  ck_assert(view.len == 0 || (view.base >= buf && view.len <= len && view.base <= buf + len - view.len));
}

static void check_views(const uint8_t* buf, size_t len, const ndn_packet_t* packet) {
  check_view(buf, len, packet->wire);
  if (packet->kind == NDN_DATA) {
    check_view(buf, len, packet->data.name);
    check_view(buf, len, packet->data.final_block);
    check_view(buf, len, packet->data.content);
    check_view(buf, len, packet->data.signed_part);
    check_view(buf, len, packet->data.signature);
    ndn_data_verify(&packet->data);
  } else if (packet->kind == NDN_INTEREST || packet->kind == NDN_NACK) {
    check_view(buf, len, packet->interest.name);
    ck_assert(packet->interest.hop_limit == NULL || *packet->interest.hop_limit <= UINT8_MAX);
  }
}

/* Decodes a copy that ends where its heap block ends. Returns its kind, or -EBADMSG. */
static int decode(const void* bytes, size_t len) {
  uint8_t* copy = malloc(len > 0 ? len : 1);
  ndn_packet_t packet;
  ndn_interest_t interest;
  ndn_data_t data;
  memcpy(copy, bytes, len);
  int err = ndn_packet_decode(copy, len, &packet);
  ck_assert(err == 0 || err == -EBADMSG);
  if (err == 0) check_views(copy, len, &packet);
  ndn_interest_decode(copy, len, &interest);
  ndn_data_decode(copy, len, &data);
  free(copy);
  return err < 0 ? err : (int) packet.kind;
}

static size_t from_hex(const char* hex, uint8_t* buf) {
  size_t len = 0;
  for (unsigned int byte; sscanf(hex, "%2x", &byte) == 1; hex += 2) buf[len++] = (uint8_t) byte;
  return len;
}

static int decode_hex(const char* hex) {
  uint8_t buf[512];
  return decode(buf, from_hex(hex, buf));
}

/* A name in static memory; there are eight of them. */
static ndn_name_t name_of(const char* uri) {
  static uint8_t bufs[8][256];
  static unsigned int turn;
  uint8_t* buf = bufs[turn++ % 8];
  ndn_name_t name;
  ck_assert_int_eq(ndn_name_from_uri(uri, buf, sizeof(bufs[0]), &name), 0);
  return name;
}

static size_t make_interest(uint8_t* buf, size_t cap) {
  static const uint8_t hops = 7;
  ndn_interest_t interest = {.name = name_of("/demo/file/v=3/seg=300"),
                             .can_be_prefix = true,
                             .must_be_fresh = true,
                             .has_nonce = true,
                             .nonce = 0xdeadbeef,
                             .lifetime_ms = 1000,
                             .hop_limit = &hops};
  return (size_t) ndn_interest_encode(buf, cap, &interest);
}

static size_t make_data(uint8_t* buf, size_t cap, const char* uri, uint64_t freshness_ms, size_t content) {
  static const uint8_t bytes[NDN_PACKET_MAX] = "content";
  ndn_data_t data = {.name = name_of(uri),
                     .content_type = 3,
                     .freshness_ms = freshness_ms,
                     .final_block = name_of("/seg=300"),
                     .content = {bytes, content}};
  return (size_t) ndn_data_encode(buf, cap, &data);
}

/* --- Numbers and elements --------------------------------------------------------------------- */

TEST(varnum_has_four_sizes) {
  static const struct {
    uint64_t value;
    size_t size;
  } cases[] = {{0, 1},         {252, 1},        {253, 3},
               {255, 3},       {256, 3},        {65535, 3},
               {65536, 5},     {UINT32_MAX, 5}, {(uint64_t) UINT32_MAX + 1, 9},
               {UINT64_MAX, 9}};
  uint8_t buf[9];
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    uint64_t value = 1;
    ck_assert_uint_eq(ndn_varnum_encode(buf, cases[i].value), cases[i].size);
    ck_assert_uint_eq(ndn_varnum_decode(buf, cases[i].size, &value), cases[i].size);
    ck_assert_uint_eq(value, cases[i].value);
    for (size_t len = 0; len < cases[i].size; len++) ck_assert_uint_eq(ndn_varnum_decode(buf, len, &value), 0);
  }
}

TEST(varnum_rejects_longer_forms) {
  static const char* const cases[] = {
      "fd0000", "fd00fc", "fe00000000", "fe0000ffff", "ff0000000000000000", "ff00000000ffffffff"};
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    uint8_t buf[16];
    uint64_t value;
    ck_assert_uint_eq(ndn_varnum_decode(buf, from_hex(cases[i], buf), &value), 0);
  }
}

TEST(element_must_fit_and_have_a_type) {
  static const char* const cases[] = {"00",   "0000",     "ff000000010000000000", "08",           "0801",      "0802aa",
                                      "08fd", "08fdffff", "08ffffffffffffffffff", "08fefffffff0", "fd00080100"};
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    uint8_t buf[16];
    ndn_bytes_t rest = {buf, from_hex(cases[i], buf)};
    ndn_tlv_t tlv;
    ck_assert_int_eq(ndn_tlv_next(&rest, &tlv), -EBADMSG);
  }
  uint8_t two[] = {0x08, 0x01, 0xaa, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00};
  ndn_bytes_t rest = {two, sizeof(two)};
  ndn_tlv_t tlv;
  ck_assert_int_eq(ndn_tlv_next(&rest, &tlv), 1);
  ck_assert(tlv.type == 8 && tlv.value.len == 1 && tlv.value.base == two + 2 && tlv.whole.len == 3);
  ck_assert_int_eq(ndn_tlv_next(&rest, &tlv), 1);
  ck_assert(tlv.type == UINT32_MAX && tlv.value.len == 0);
  ck_assert_int_eq(ndn_tlv_next(&rest, &tlv), 0);
}

TEST(integers_are_1_2_4_or_8_bytes) {
  static const uint64_t values[] = {0, 255, 256, 65535, 65536, UINT32_MAX, (uint64_t) UINT32_MAX + 1, UINT64_MAX};
  static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 8, 8};
  static const uint8_t bytes[10] = {0};
  uint64_t value;
  for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
    uint8_t buf[8];
    ck_assert_uint_eq(ndn_uint_encode(buf, values[i]), sizes[i]);
    ck_assert_int_eq(ndn_uint_decode((ndn_bytes_t){buf, sizes[i]}, &value), 0);
    ck_assert_uint_eq(value, values[i]);
  }
  for (size_t len = 0; len < sizeof(bytes); len++) {
    bool good = len == 1 || len == 2 || len == 4 || len == 8;
    ck_assert_int_eq(ndn_uint_decode((ndn_bytes_t){bytes, len}, &value), good ? 0 : -EBADMSG);
  }
}

/* --- Names ------------------------------------------------------------------------------------ */

TEST(names_are_in_canonical_order) {
  static const char* const order[] = {"/",   "/a",     "/a/b",   "/b",       "/aa",  "/aa/a",
                                      "/ab", "/seg=1", "/seg=2", "/seg=256", "/v=0", "/300=a"};
  size_t count = sizeof(order) / sizeof(*order);
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < count; j++) {
      int got = ndn_name_compare(name_of(order[i]), name_of(order[j]));
      ck_assert_int_eq((got > 0) - (got < 0), (i > j) - (i < j));
      ck_assert(ndn_name_equal(name_of(order[i]), name_of(order[j])) == (i == j));
    }
  }
}

TEST(prefixes_end_between_components) {
  ck_assert(ndn_name_has_prefix(name_of("/a/b"), name_of("/a")));
  ck_assert(ndn_name_has_prefix(name_of("/a/b"), name_of("/a/b")));
  ck_assert(ndn_name_has_prefix(name_of("/a"), name_of("/")));
  ck_assert(!ndn_name_has_prefix(name_of("/ab"), name_of("/a")));
  ck_assert(!ndn_name_has_prefix(name_of("/a"), name_of("/a/b")));
  uint64_t step = 5;
  ndn_name_t rest = name_of("/demo/file/seg=1"), whole = rest;
  ndn_tlv_t component;
  while (ndn_tlv_next(&rest, &component) > 0) {
    step = ndn_component_hash(step, component.whole);
    ck_assert_uint_eq(step, ndn_name_hash(5, (ndn_name_t){whole.base, whole.len - rest.len}));
  }
  ck_assert_uint_ne(ndn_name_hash(5, name_of("/a/b")), ndn_name_hash(5, name_of("/b/a")));
}

TEST(uris_round_trip) {
  static const char* const cases[][2] = {{"/", "/"},
                                         {"/a/b", "/a/b"},
                                         {"ndn:/a", "/a"},
                                         {"/a/", "/a"},
                                         {"/%41%2f%00", "/A%2F%00"},
                                         {"/...", "/..."},
                                         {"/....", "/...."},
                                         {"/a.b", "/a.b"},
                                         {"/seg=7/v=8", "/seg=7/v=8"},
                                         {"/8=x", "/x"},
                                         {"/65535=x", "/65535=x"},
                                         {"/a%3Db", "/a%3Db"},
                                         {"/50=abc", "/50=abc"}};
  char text[64];
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    ck_assert_str_eq(ndn_name_to_uri(name_of(cases[i][0]), text, sizeof(text)), cases[i][1]);
  ck_assert_str_eq(ndn_name_to_uri(name_of("/abcdefghij"), text, 8), "/abc...");
  ck_assert_uint_eq(name_of("/...").len, 2);
}

TEST(bad_uris_are_refused) {
  static const char* const cases[] = {"",      "a",      "//",      "/a//b", "/.",       "/..",
                                      "/%4",   "/%zz",   "/a b",    "/0=a",  "/65536=a", "/x=a",
                                      "/seg=", "/seg=x", "/seg=-1", "/v=1x", "/1=short", "/seg=99999999999999999999"};
  uint8_t buf[64];
  ndn_name_t name;
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    ck_assert_msg(ndn_name_from_uri(cases[i], buf, sizeof(buf), &name) == -EINVAL, "%s", cases[i]);
  ck_assert_int_eq(ndn_name_from_uri("/abcdefgh", buf, 9, &name), -ENOBUFS);
  ck_assert_int_eq(ndn_name_from_uri("/seg=7", buf, 2, &name), -ENOBUFS);
}

TEST(component_types_are_1_to_65535) {
  ck_assert_int_eq(decode_hex("05050703080141"), NDN_INTEREST);
  ck_assert_int_eq(decode_hex("05050703000141"), -EBADMSG);
  ck_assert_int_eq(decode_hex("05070705fdffff0141"), NDN_INTEREST);
  ck_assert_int_eq(decode_hex("05090707fe000100000141"), -EBADMSG);
  ck_assert_int_eq(decode_hex("05050703010141"), -EBADMSG); /* digests have 32 bytes */
  ck_assert_int_eq(decode_hex("05050703020141"), -EBADMSG);
  ck_assert_int_eq(decode_hex("05020700"), -EBADMSG); /* an Interest asks for something */
}

/* --- Packets ---------------------------------------------------------------------------------- */

TEST(interest_round_trips) {
  uint8_t buf[128];
  size_t len = make_interest(buf, sizeof(buf));
  ndn_interest_t interest;
  char text[64];
  ck_assert_int_eq(decode(buf, len), NDN_INTEREST);
  ck_assert_int_eq(ndn_interest_decode(buf, len, &interest), 0);
  ck_assert_str_eq(ndn_name_to_uri(interest.name, text, sizeof(text)), "/demo/file/v=3/seg=300");
  ck_assert(interest.can_be_prefix && interest.must_be_fresh && interest.has_nonce);
  ck_assert_uint_eq(interest.nonce, 0xdeadbeef);
  ck_assert_uint_eq(interest.lifetime_ms, 1000);
  ck_assert_uint_eq(*interest.hop_limit, 7);
  interest = (ndn_interest_t){.name = name_of("/a"), .lifetime_ms = NDN_LIFETIME_DEFAULT_MS};
  ck_assert_int_eq(ndn_interest_encode(buf, sizeof(buf), &interest), 7);
  ck_assert_int_eq(ndn_interest_decode(buf, 7, &interest), 0);
  ck_assert(!interest.can_be_prefix && !interest.must_be_fresh && !interest.has_nonce);
  ck_assert(interest.hop_limit == NULL && interest.lifetime_ms == NDN_LIFETIME_DEFAULT_MS);
}

TEST(data_round_trips_at_every_length_size) {
  static const size_t contents[] = {0, 1, 150, 252, 253, 8000, 8600};
  for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
    uint8_t* buf = malloc(NDN_PACKET_MAX);
    size_t len = make_data(buf, NDN_PACKET_MAX, "/demo/file/seg=9", 1000, contents[i]);
    ndn_data_t data;
    uint64_t last = 0;
    ck_assert_int_eq(decode(buf, len), NDN_DATA);
    ck_assert_int_eq(ndn_data_decode(buf, len, &data), 0);
    ck_assert(ndn_name_equal(data.name, name_of("/demo/file/seg=9")));
    ck_assert_uint_eq(data.content_type, 3);
    ck_assert_uint_eq(data.freshness_ms, 1000);
    ck_assert(ndn_component_number(data.final_block, NDN_SEGMENT, &last) && last == 300);
    ck_assert_uint_eq(data.content.len, contents[i]);
    ck_assert(contents[i] < 7 || memcmp(data.content.base, "content", 7) == 0);
    ck_assert_uint_le(len, contents[i] + ndn_data_overhead(data.name.len));
    ck_assert(ndn_data_verify(&data));
    free(buf);
  }
}

/* The bytes are written out from the format's definition; the digest of "abc" is FIPS 180's own example. */
TEST(signature_is_sha256_of_name_to_signature_info) {
  uint8_t buf[64], digest[NDN_DIGEST_BYTES];
  char hex[65] = "";
  ndn_data_t data = {.name = name_of("/a"), .content = {(const uint8_t*) "x", 1}};
  ssize_t len = ndn_data_encode(buf, sizeof(buf), &data);
  ck_assert_int_eq(len, 2 + 5 + 3 + 5 + 34);
  static const uint8_t bytes[] = {6, 47, 7, 3, 8, 1, 'a', 0x15, 1, 'x', 0x16, 3, 0x1b, 1, 0, 0x17, 32};
  ck_assert_mem_eq(buf, bytes, sizeof(bytes));
  ndn_sha256((ndn_bytes_t){(const uint8_t*) "abc", 3}, digest);
  for (size_t i = 0; i < sizeof(digest); i++) sprintf(hex + 2 * i, "%02x", digest[i]);
  ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  ndn_sha256((ndn_bytes_t){buf + 2, 13}, digest);
  ck_assert_mem_eq(buf + 17, digest, sizeof(digest));
}

TEST(packets_cut_anywhere_are_broken) {
  uint8_t packets[3][256];
  size_t lens[3] = {make_interest(packets[0], 256), make_data(packets[1], 256, "/a/seg=1", 10, 20), 0};
  lens[2] = ndn_nack_header(packets[2], NDN_NACK_NO_ROUTE, lens[0]);
  memcpy(packets[2] + lens[2], packets[0], lens[0]);
  lens[2] += lens[0];
  for (size_t i = 0; i < 3; i++) {
    ck_assert_int_gt(decode(packets[i], lens[i]), 0);
    for (size_t len = 0; len < lens[i]; len++) ck_assert_int_eq(decode(packets[i], len), -EBADMSG);
    packets[i][lens[i]] = 0; /* and one byte too many */
    ck_assert_int_eq(decode(packets[i], lens[i] + 1), -EBADMSG);
  }
}

TEST(any_changed_byte_breaks_the_signature) {
  static const uint8_t flips[] = {0x01, 0x02, 0x80, 0xff};
  uint8_t buf[256];
  size_t len = make_data(buf, sizeof(buf), "/a/seg=1", 10, 20);
  for (size_t at = 0; at < len; at++) {
    for (size_t i = 0; i < sizeof(flips); i++) {
      ndn_data_t data;
      buf[at] ^= flips[i];
      decode(buf, len);
      ck_assert(ndn_data_decode(buf, len, &data) < 0 || !ndn_data_verify(&data));
      buf[at] ^= flips[i];
    }
  }
}

TEST(encoders_stay_within_their_buffer) {
  uint8_t whole[256];
  size_t interest = make_interest(whole, sizeof(whole));
  size_t data = make_data(whole, sizeof(whole), "/a/seg=1", 10, 20);
  for (size_t cap = 0; cap < data; cap++) {
    uint8_t* buf = malloc(cap > 0 ? cap : 1);
    ck_assert_int_eq((ssize_t) make_data(buf, cap, "/a/seg=1", 10, 20), -ENOBUFS);
    if (cap < interest) ck_assert_int_eq((ssize_t) make_interest(buf, cap), -ENOBUFS);
    free(buf);
  }
}

/* Puts an element in front of the index-th one in a packet. Returns false if there are not so many. */
static bool splice(const uint8_t* packet, size_t len, size_t index, const char* hex, uint8_t* out, size_t* ret_len) {
  ndn_bytes_t rest = {packet, len};
  ndn_tlv_t outer, inner;
  ndn_tlv_next(&rest, &outer);
  rest = outer.value;
  while (index-- > 0)
    if (ndn_tlv_next(&rest, &inner) <= 0) return false;
  uint8_t add[16];
  size_t added = from_hex(hex, add), before = outer.value.len - rest.len;
  size_t head = ndn_varnum_encode(out, outer.type);
  head += ndn_varnum_encode(out + head, outer.value.len + added);
  memcpy(out + head, outer.value.base, before);
  memcpy(out + head + before, add, added);
  memcpy(out + head + before + added, rest.base, rest.len);
  *ret_len = head + outer.value.len + added;
  return true;
}

/* Types 240 and 1000 are not critical; 241 and 1001 are, and 8, being below 32. Nothing precedes the name. */
TEST(unknown_elements_break_a_packet_if_critical) {
  static const struct {
    const char* hex;
    bool critical;
  } cases[] = {{"f000", false}, {"f002aabb", false}, {"fd03e800", false},
               {"f100", true},  {"fd03e900", true},  {"0800", true}};
  uint8_t packets[2][256], out[300];
  size_t lens[2] = {make_interest(packets[0], 256), make_data(packets[1], 256, "/a/seg=1", 10, 20)};
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    for (size_t p = 0; p < 2; p++) {
      size_t at = 0, len;
      for (; splice(packets[p], lens[p], at, cases[i].hex, out, &len); at++)
        ck_assert_int_eq(decode(out, len) > 0, at > 0 && !cases[i].critical);
      ck_assert_uint_ge(at, 5);
    }
  }
}

TEST(known_elements_keep_their_order) {
  ck_assert_int_eq(decode_hex("050b"
                              "0703080141"
                              "0a04a0a1a2a3"),
                   NDN_INTEREST);
  ck_assert_int_eq(decode_hex("050b"
                              "0a04a0a1a2a3"
                              "0703080141"),
                   -EBADMSG); /* Nonce before Name */
  ck_assert_int_eq(decode_hex("050f"
                              "0703080141"
                              "0a04a0a1a2a3"
                              "2100"
                              "1200"),
                   -EBADMSG);
  ck_assert_int_eq(decode_hex("0511"
                              "0703080141"
                              "0a04a0a1a2a3"
                              "0a04a0a1a2a3"),
                   -EBADMSG); /* twice */
  ck_assert_int_eq(decode_hex("050b"
                              "0703080141"
                              "220105"
                              "220106"),
                   NDN_INTEREST); /* not critical */
  ck_assert_int_eq(decode_hex("050a"
                              "0703080141"
                              "0a03a0a1a2"),
                   -EBADMSG); /* a Nonce has four bytes */
  ck_assert_int_eq(decode_hex("0508"
                              "0703080141"
                              "210100"),
                   -EBADMSG); /* CanBePrefix has none */
  ck_assert_int_eq(decode_hex("0507"
                              "0703080141"
                              "2200"),
                   -EBADMSG); /* HopLimit has one */
  ck_assert_int_eq(decode_hex("0507"
                              "0703080141"
                              "0c00"),
                   -EBADMSG);
  ck_assert_int_eq(decode_hex("060e"
                              "0703080141"
                              "16031b0100"
                              "1700"
                              "1500"),
                   -EBADMSG);
  ck_assert_int_eq(decode_hex("060c"
                              "0703080141"
                              "16031b0100"
                              "1700"),
                   NDN_DATA);
  ck_assert_int_eq(decode_hex("0605"
                              "0703080141"),
                   -EBADMSG); /* no signature */
  ck_assert_int_eq(decode_hex("0607"
                              "0703080141"
                              "1700"),
                   -EBADMSG);
}

TEST(link_packets_are_unwrapped) {
  ck_assert_int_eq(decode_hex("6400"), NDN_NOTHING);
  ck_assert_int_eq(decode_hex("6407"
                              "5005"
                              "0503"
                              "070141"),
                   -EBADMSG);
  ck_assert_int_eq(decode_hex("6409"
                              "5007"
                              "05050703080141"),
                   NDN_INTEREST);
  ck_assert_int_eq(decode_hex("640f"
                              "6204d0d1d2d3"
                              "5007"
                              "05050703080141"),
                   NDN_INTEREST); /* PitToken */
  ck_assert_int_eq(decode_hex("640e"
                              "fd034c0101"
                              "5007"
                              "05050703080141"),
                   NDN_INTEREST); /* skipped */
  ck_assert_int_eq(decode_hex("640e"
                              "fd034d0101"
                              "5007"
                              "05050703080141"),
                   -EBADMSG); /* may not */
  ck_assert_int_eq(decode_hex("640b"
                              "5500"
                              "5007"
                              "05050703080141"),
                   -EBADMSG);
  ck_assert_int_eq(decode_hex("640c"
                              "5007"
                              "05050703080141"
                              "530101"),
                   -EBADMSG); /* Fragment is last */
  ck_assert_int_eq(decode_hex("640f"
                              "520100"
                              "530102"
                              "5007"
                              "05050703080141"),
                   NDN_FRAGMENT);
  ck_assert_int_eq(decode_hex("640d"
                              "fd032000"
                              "5007"
                              "05050703080141"),
                   NDN_NACK);
  ck_assert_int_eq(decode_hex("6404"
                              "fd032000"),
                   -EBADMSG); /* a Nack of nothing */
}

TEST(nack_gives_its_reason) {
  uint8_t buf[256];
  uint8_t interest[128];
  size_t len = make_interest(interest, sizeof(interest));
  size_t head = ndn_nack_header(buf, NDN_NACK_NO_ROUTE, len);
  ck_assert_uint_le(head, 32);
  memcpy(buf + head, interest, len);
  ndn_packet_t packet;
  ck_assert_int_eq(ndn_packet_decode(buf, head + len, &packet), 0);
  ck_assert(packet.kind == NDN_NACK && packet.nack_reason == NDN_NACK_NO_ROUTE);
  ck_assert(packet.wire.base == buf + head && packet.wire.len == len && packet.interest.nonce == 0xdeadbeef);
}

/* --- Tables ----------------------------------------------------------------------------------- */

TEST(fib_finds_the_longest_prefix) {
  fib_t fib;
  uint8_t bufs[3][32];
  ndn_name_t routes[3];
  static const char* const uris[] = {"/", "/a/b", "/a/b/c/d"};
  ck_assert_int_eq(fib_init(&fib, 1), 0);
  ck_assert_int_eq(fib_find(&fib, name_of("/a")), -1);
  for (unsigned int i = 0; i < 3; i++) {
    ck_assert_int_eq(ndn_name_from_uri(uris[i], bufs[i], sizeof(bufs[i]), &routes[i]), 0);
    ck_assert_int_eq(fib_add(&fib, routes[i], i), 0);
  }
  ck_assert_int_eq(fib_add(&fib, routes[1], 5), -EEXIST);
  ck_assert_int_eq(fib_find(&fib, name_of("/a")), 0);
  ck_assert_int_eq(fib_find(&fib, name_of("/a/b")), 1);
  ck_assert_int_eq(fib_find(&fib, name_of("/a/b/c/x/y/z")), 1);
  ck_assert_int_eq(fib_find(&fib, name_of("/a/b/c/d/e")), 2);
  ck_assert_int_eq(fib_find(&fib, name_of("/b/b/c/d/e")), 0);
  fib_free(&fib);
}

static pit_result_t pit_ask(pit_t* pit, const char* uri, unsigned int from, uint32_t nonce, uint64_t now_ms) {
  ndn_interest_t interest = {.name = name_of(uri), .has_nonce = true, .nonce = nonce, .lifetime_ms = 1000};
  return pit_add(pit, &interest, from, 9, now_ms);
}

TEST(pit_forwards_once_and_answers_all) {
  pit_t* pit = malloc(sizeof(*pit));
  ck_assert_int_eq(pit_init(pit, 1, 2, 5000), 0);
  ck_assert_int_eq(pit_ask(pit, "/a", 0, 10, 5000), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/a", 1, 11, 5000), PIT_AGGREGATE);
  ck_assert_int_eq(pit_ask(pit, "/a", 2, 10, 5000), PIT_LOOP);
  ck_assert_int_eq(pit_ask(pit, "/a", 0, 10, 5000), PIT_LOOP);
  ck_assert_int_eq(pit_ask(pit, "/a", 0, 12, 5000), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/b", 0, 13, 5000), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/c", 0, 14, 5000), PIT_FULL);
  ck_assert_uint_eq(pit_satisfy(pit, name_of("/a"), 8, 5000).faces, 0); /* nobody asked face 8 */
  ck_assert_uint_eq(pit_satisfy(pit, name_of("/a/x"), 9, 5000).faces, 0);
  ck_assert_uint_eq(pit_satisfy(pit, name_of("/a"), 9, 5000).faces, 3);
  ck_assert_uint_eq(pit_satisfy(pit, name_of("/a"), 9, 5000).faces, 0);
  pit_forget_face(pit, 0);
  ck_assert_uint_eq(pit_satisfy(pit, name_of("/b"), 9, 5000).faces, 0);
  ck_assert_uint_eq(pit->table.count, 0);
  pit_free(pit);
  free(pit);
}

TEST(pit_matches_prefixes) {
  pit_t* pit = malloc(sizeof(*pit));
  ck_assert_int_eq(pit_init(pit, 1, 100, 0), 0);
  ndn_interest_t interest = {.name = name_of("/a/b"), .can_be_prefix = true, .lifetime_ms = 1000};
  ck_assert_int_eq(pit_add(pit, &interest, 3, 9, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/a/b/c", 4, 1, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/a/b", 5, 1, 0), PIT_FORWARD); /* another entry: not a prefix */
  pit_match_t match = pit_satisfy(pit, name_of("/a/b/c"), 9, 0);
  ck_assert_uint_eq(match.faces, 1 << 3 | 1 << 4);
  ck_assert_uint_eq(match.prefix_size, name_of("/a/b").len);
  ck_assert_uint_eq(pit->can_be_prefix, 0);
  ck_assert_uint_eq(pit_satisfy(pit, name_of("/a/b"), 9, 0).faces, 1 << 5);
  pit_free(pit);
  free(pit);
}

TEST(pit_entries_end_with_their_lifetime) {
  pit_t* pit = malloc(sizeof(*pit));
  ck_assert_int_eq(pit_init(pit, 1, 5000, 0), 0);
  for (uint32_t i = 0; i < 3000; i++) {
    char uri[32];
    snprintf(uri, sizeof(uri), "/a/seg=%u", i);
    ck_assert_int_eq(pit_ask(pit, uri, 0, i, i), PIT_FORWARD); /* ends at 1000 + i */
  }
  pit_sweep(pit, 1499);
  ck_assert_uint_le(pit->expired, 500);
  ck_assert_uint_ge(pit->expired, 500 - WHEEL_TICK_MS);
  ck_assert_uint_eq(pit_satisfy(pit, name_of("/a/seg=1000"), 9, 1999).faces, 1);
  ck_assert_uint_eq(pit_satisfy(pit, name_of("/a/seg=1001"), 9, 2001).faces, 0); /* just too late */
  ndn_interest_t lasting = {.name = name_of("/long"), .lifetime_ms = 50000};
  ck_assert_int_eq(pit_add(pit, &lasting, 0, 9, 2001), PIT_FORWARD);
  pit_sweep(pit, 30000); /* a long sleep: more than once round the wheel */
  ck_assert_uint_eq(pit->table.count, 1);
  pit_sweep(pit, 60000);
  ck_assert_uint_eq(pit->table.count, 0);
  pit_free(pit);
  free(pit);
}

static void cs_put(cs_t* cs, const char* uri, size_t prefix_size, uint64_t now_ms) {
  uint8_t buf[256];
  ndn_data_t data;
  size_t len = make_data(buf, sizeof(buf), uri, 100, 20);
  ck_assert_int_eq(ndn_data_decode(buf, len, &data), 0);
  cs_add(cs, (ndn_bytes_t){buf, len}, &data, prefix_size > 0 ? prefix_size : data.name.len, now_ms);
}

static bool cs_has(cs_t* cs, const char* uri, bool can_be_prefix, bool must_be_fresh, uint64_t now_ms) {
  ndn_interest_t interest = {.name = name_of(uri), .can_be_prefix = can_be_prefix, .must_be_fresh = must_be_fresh};
  ndn_bytes_t wire = cs_find(cs, &interest, now_ms);
  return wire.len > 0 && decode(wire.base, wire.len) == NDN_DATA;
}

TEST(cs_drops_what_was_not_used) {
  cs_t cs;
  ck_assert_int_eq(cs_init(&cs, 1, 4000), 0);
  cs_put(&cs, "/a/seg=0", 0, 0);
  size_t one = cs.bytes;
  for (unsigned int i = 1; i < 1000; i++) {
    char uri[32];
    snprintf(uri, sizeof(uri), "/a/seg=%u", i);
    cs_put(&cs, uri, 0, 0);
    ck_assert(cs_has(&cs, "/a/seg=0", false, false, 0)); /* used all the time */
    cs_trim(&cs);
    ck_assert_uint_le(cs.bytes, 4000);
  }
  ck_assert(!cs_has(&cs, "/a/seg=1", false, false, 0));
  ck_assert(cs_has(&cs, "/a/seg=999", false, false, 0));
  ck_assert_uint_eq(cs.table.count, 4000 / one);
  cs_free(&cs);
}

/* The packet number n, of a size of its own, which nobody finds in a wrong place: its content says who it is. */
static size_t numbered_data(uint8_t* buf, unsigned int n) {
  static uint8_t content[8000];
  char uri[32];
  snprintf(uri, sizeof(uri), "/a/seg=%u", n);
  memset(content, (int) (n % 251), sizeof(content));
  ndn_data_t data = {.name = name_of(uri), .content = {content, n * 7919 % sizeof(content)}};
  ssize_t len = ndn_data_encode(buf, NDN_PACKET_MAX, &data);
  ck_assert_int_gt(len, 0);
  return (size_t) len;
}

static bool cs_has_numbered(cs_t* cs, unsigned int n) {
  uint8_t expected[NDN_PACKET_MAX];
  char uri[32];
  snprintf(uri, sizeof(uri), "/a/seg=%u", n);
  ndn_interest_t interest = {.name = name_of(uri)};
  ndn_bytes_t wire = cs_find(cs, &interest, 0);
  if (wire.len == 0) return false;
  ck_assert_uint_eq(wire.len, numbered_data(expected, n));
  ck_assert_mem_eq(wire.base, expected, wire.len);
  return true;
}

/* Half of the packets are put where the store says, half are copied by it; some places are lent in vain. */
TEST(cs_goes_round_in_its_block) {
  cs_t cs;
  uint8_t buf[NDN_PACKET_MAX];
  ck_assert_int_eq(cs_init(&cs, 1, 3000000), 0);
  for (unsigned int n = 0; n < 5000; n++) {
    ndn_data_t data;
    ndn_bytes_t wire = {buf, numbered_data(buf, n)};
    if (n % 3 == 0) memset(cs_place(&cs, sizeof(buf)), 0xff, sizeof(buf));
    uint8_t* place = n % 2 == 0 ? cs_place(&cs, wire.len) : NULL;
    if (place != NULL) wire.base = memcpy(place, buf, wire.len);
    ck_assert_int_eq(ndn_data_decode(wire.base, wire.len, &data), 0);
    cs_add(&cs, wire, &data, data.name.len, 0);
    if (place != NULL) ck_assert_ptr_ne(cs_place(&cs, wire.len), place); /* it was kept as it lay */
    ck_assert(cs_has_numbered(&cs, 0));                                  /* used all the time */
    ck_assert(cs_has_numbered(&cs, n));
    ck_assert(n < 100 || cs_has_numbered(&cs, n - n % 100));
    if (n % 16 != 0) continue;
    cs_trim(&cs);
    ck_assert_uint_le(cs.bytes, 3000000);
    ck_assert_uint_ge(cs.bytes, n < 1000 ? 0 : 3000000 - 2 * sizeof(buf));
  }
  ck_assert(!cs_has_numbered(&cs, 3001));
  cs_free(&cs);
}

static void put_numbered(cs_t* cs, unsigned int n) {
  uint8_t buf[NDN_PACKET_MAX];
  ndn_data_t data;
  size_t len = numbered_data(buf, n);
  ck_assert_int_eq(ndn_data_decode(buf, len, &data), 0);
  cs_add(cs, (ndn_bytes_t){buf, len}, &data, data.name.len, 0);
}

/* However much comes before it is trimmed, nothing that was found is overwritten, and nothing beyond the block. */
TEST(cs_takes_no_more_than_there_is_room_for) {
  cs_t cs;
  unsigned int n = 0;
  ck_assert_int_eq(cs_init(&cs, 1, 100000), 0);
  for (; cs.free >= cs.oldest; n++) { /* until the newest lie before the oldest */
    put_numbered(&cs, n);
    cs_trim(&cs);
  }
  unsigned int first = n;
  for (; cs_place(&cs, NDN_PACKET_MAX) != NULL; n++) put_numbered(&cs, n);
  ck_assert_uint_le(cs.bytes, cs.block_bytes);
  for (unsigned int i = first; i < n; i++) ck_assert(cs_has_numbered(&cs, i)); /* which earns each a second round */
  cs_trim(&cs);
  ck_assert_uint_le(cs.bytes, 100000);
  ck_assert_uint_ge(cs.bytes, 100000 - 2 * NDN_PACKET_MAX);
  cs_free(&cs);
  ck_assert_int_eq(cs_init(&cs, 1, 0), 0);
  ck_assert_ptr_null(cs_place(&cs, 1));
  cs_free(&cs);
}

TEST(cs_knows_fresh_and_prefix) {
  cs_t cs;
  ck_assert_int_eq(cs_init(&cs, 1, 4000), 0);
  cs_put(&cs, "/a/b/v=1", name_of("/a").len, 0); /* fresh until 100 */
  ck_assert(cs_has(&cs, "/a/b/v=1", false, true, 99));
  ck_assert(!cs_has(&cs, "/a/b/v=1", false, true, 100));
  ck_assert(cs_has(&cs, "/a/b/v=1", false, false, 100));
  ck_assert(cs_has(&cs, "/a", true, false, 0));
  ck_assert(!cs_has(&cs, "/a", false, false, 0));
  ck_assert(!cs_has(&cs, "/a/b", true, false, 0)); /* only the prefix it was asked for with */
  cs_put(&cs, "/a/b/v=1", 0, 200);                 /* the same again: fresh once more */
  ck_assert(cs_has(&cs, "/a", true, true, 299));
  cs_put(&cs, "/a/c", name_of("/a").len, 300); /* the newest answer to a prefix wins */
  ck_assert(cs_has(&cs, "/a", true, true, 399));
  ck_assert_uint_eq(cs.table.count, 3);
  cs_free(&cs);
}

/* --- Captures --------------------------------------------------------------------------------- */

/* What is known to be in a capture: how many packets decode to each kind, in UDP datagrams of port 6363 and
 * in Ethernet frames of NDN's own type. Those that are broken are so on purpose, or of an older format. */
typedef struct capture_s {
  const char* file;
  int interests, data, nacks, fragments, nothing, broken;
} capture_t;

static const capture_t captures[] = {
    {"bug3603.pcap", 0, 1, 0, 0, 0, 0},
    {"ipv4-udp-fragmented.pcap", 1, 1, 0, 0, 0, 3},
    {"ipv6-udp-fragmented.pcap", 1, 1, 0, 0, 0, 1},
    {"nameuri.pcap", 0, 1, 0, 0, 0, 0},
    {"packet03.pcap", 1, 1, 0, 0, 0, 1},
    {"ndnlpv2.pcap", 1, 1, 5, 2, 1, 2},
};

/* Datagrams put together from IP fragments, which these captures hold in order. */
typedef struct reassembly_s {
  uint8_t bytes[65536];
  size_t len;
} reassembly_t;

static unsigned int load16(const uint8_t* at) {
  return (unsigned int) (at[0] << 8 | at[1]);
}

static void count_packet(const uint8_t* bytes, size_t len, capture_t* seen) {
  int kind = decode(bytes, len);
  *(kind == NDN_INTEREST   ? &seen->interests
    : kind == NDN_DATA     ? &seen->data
    : kind == NDN_NACK     ? &seen->nacks
    : kind == NDN_FRAGMENT ? &seen->fragments
    : kind == NDN_NOTHING  ? &seen->nothing
                           : &seen->broken) += 1;
}

static void take_udp(const uint8_t* bytes, size_t len, capture_t* seen) {
  if (len > 8 && load16(bytes + 4) == len && (load16(bytes) == 6363 || load16(bytes + 2) == 6363))
    count_packet(bytes + 8, len - 8, seen);
}

static void take_ip_part(const uint8_t* bytes, size_t len, size_t offset, bool more, reassembly_t* parts,
                         capture_t* seen) {
  if (offset == 0) parts->len = 0;
  if (offset != parts->len || offset + len > sizeof(parts->bytes)) return;
  memcpy(parts->bytes + offset, bytes, len);
  parts->len += len;
  if (!more) take_udp(parts->bytes, parts->len, seen);
}

static void take_ip4(const uint8_t* bytes, size_t len, reassembly_t* parts, capture_t* seen) {
  size_t head = len >= 20 ? (size_t) (bytes[0] & 15) * 4 : 0;
  if (head < 20 || load16(bytes + 2) > len || load16(bytes + 2) < head || bytes[9] != 17) return;
  unsigned int fragment = load16(bytes + 6);
  size_t offset = (fragment & 0x1fff) * 8;
  take_ip_part(bytes + head, load16(bytes + 2) - head, offset, (fragment & 0x2000) != 0, parts, seen);
}

static void take_ip6(const uint8_t* bytes, size_t len, reassembly_t* parts, capture_t* seen) {
  if (len < 48 || load16(bytes + 4) + 40u > len) return;
  size_t payload = load16(bytes + 4);
  unsigned int fragment = load16(bytes + 42);
  if (bytes[6] == 17)
    take_ip_part(bytes + 40, payload, 0, false, parts, seen);
  else if (bytes[6] == 44 && bytes[40] == 17 && payload > 8)
    take_ip_part(bytes + 48, payload - 8, fragment & 0xfff8, (fragment & 1) != 0, parts, seen);
}

static void take_frame(const uint8_t* bytes, size_t len, reassembly_t* parts, capture_t* seen) {
  if (len < 14) return;
  unsigned int type = load16(bytes + 12);
  ndn_bytes_t rest = {bytes + 14, len - 14};
  ndn_tlv_t packet; /* without the padding of short frames */
  if (type == 0x0800)
    take_ip4(rest.base, rest.len, parts, seen);
  else if (type == 0x86dd)
    take_ip6(rest.base, rest.len, parts, seen);
  else if (type == 0x8624 && ndn_tlv_next(&rest, &packet) > 0)
    count_packet(packet.whole.base, packet.whole.len, seen);
}

static uint32_t load32(const uint8_t* at, bool little) {
  return (uint32_t) (little ? load16((uint8_t[]){at[3], at[2]}) << 16 | load16((uint8_t[]){at[1], at[0]})
                            : load16(at) << 16 | load16(at + 2));
}

/* Classic files of Ethernet frames; others are only attacked with. */
static void take_file(const uint8_t* bytes, size_t len, capture_t* seen) {
  static reassembly_t parts;
  bool little = len > 24 && bytes[0] == 0xd4;
  if (len <= 24 || (!little && bytes[0] != 0xa1) || load32(bytes + 20, little) != 1) return;
  size_t at = 24;
  while (len - at > 16) {
    size_t size = load32(bytes + at + 8, little);
    at += 16;
    if (size > len - at) return;
    take_frame(bytes + at, size, &parts, seen);
    at += size;
  }
}

/* Every suffix of the file, as an attacker may send it; and what looks like an element anywhere. */
static size_t attack(const uint8_t* bytes, size_t len) {
  size_t good = 0;
  for (size_t at = 0; at < len; at++) {
    ndn_bytes_t rest = {bytes + at, len - at};
    ndn_tlv_t element;
    decode(rest.base, rest.len);
    if (ndn_tlv_next(&rest, &element) > 0) good += decode(element.whole.base, element.whole.len) > 0;
  }
  return good;
}

static uint8_t* read_file(const char* directory, const char* file, size_t* ret_len) {
  char path[4096];
  snprintf(path, sizeof(path), "%s/%s", directory, file);
  FILE* stream = fopen(path, "rb");
  ck_assert_msg(stream != NULL, "%s: %s", path, strerror(errno));
  uint8_t* bytes = malloc(1 << 20);
  *ret_len = fread(bytes, 1, 1 << 20, stream);
  fclose(stream);
  return bytes;
}

TEST(captures_decode_as_known) {
  const char* directory = getenv("UVFACE_NDN_PCAPS");
  size_t files = 0, known = 0, good = 0;
  if (directory == NULL) SKIP("UVFACE_NDN_PCAPS does not name a directory");
  DIR* dir = opendir(directory);
  ck_assert_msg(dir != NULL, "%s: %s", directory, strerror(errno));
  for (struct dirent* entry; (entry = readdir(dir)) != NULL;) {
    if (strlen(entry->d_name) < 6 || strcmp(entry->d_name + strlen(entry->d_name) - 5, ".pcap") != 0) continue;
    size_t len;
    uint8_t* bytes = read_file(directory, entry->d_name, &len);
    capture_t seen = {.file = entry->d_name};
    take_file(bytes, len, &seen);
    good += attack(bytes, len);
    free(bytes);
    files++;
    for (size_t i = 0; i < sizeof(captures) / sizeof(*captures); i++) {
      const capture_t* want = &captures[i];
      if (strcmp(want->file, seen.file) != 0) continue;
      known++;
      ck_assert_msg(want->interests == seen.interests && want->data == seen.data && want->nacks == seen.nacks &&
                        want->fragments == seen.fragments && want->nothing == seen.nothing &&
                        want->broken == seen.broken,
                    "%s: %d Interests, %d Data, %d Nacks, %d fragments, %d empty, %d broken", seen.file, seen.interests,
                    seen.data, seen.nacks, seen.fragments, seen.nothing, seen.broken);
    }
  }
  closedir(dir);
  ck_assert_msg(known > 0 && good > 0, "%s: %zu captures, none of them known", directory, files);
}

/* --- Suite ------------------------------------------------------------------------------------ */
