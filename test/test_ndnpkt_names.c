/* SPDX-License-Identifier: MIT */
/* test_ndnpkt_names.c: numbers of every size and form, elements, names in order, and names as text both ways: the
 * examples of the specification and those that ndn-cxx tests itself with. Does not test packets. */
#include <errno.h>
#include <string.h>

#include "harness.h"
#include "wire.h"

/* --- Numbers and elements --------------------------------------------------------------------- */

TEST(lengths_have_four_sizes) {
  static const struct {
    size_t len, head;
  } cases[] = {{0, 1}, {252, 1}, {253, 3}, {255, 3}, {256, 3}, {65535, 3}, {65536, 5}};
  static uint8_t value[65536], buf[65536 + 16];

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    ssize_t len = ndnpkt_append(buf, 0, sizeof(buf), 8, (ndnpkt_bytes_t){value, cases[i].len});
    ndnpkt_bytes_t rest = {buf, (size_t) len};
    ndnpkt_tlv_t tlv;

    ck_assert_int_eq(len, (ssize_t) (1 + cases[i].head + cases[i].len));
    ck_assert_int_eq(ndnpkt_tlv_next(&rest, &tlv), 1);
    ck_assert(tlv.type == 8 && tlv.value.len == cases[i].len && tlv.whole.len == (size_t) len && rest.len == 0);
    for (size_t cut = 1; cut < (size_t) len; cut += cut < 8 ? 1 : 997) {
      rest = (ndnpkt_bytes_t){buf, cut};
      ck_assert_int_eq(ndnpkt_tlv_next(&rest, &tlv), -EBADMSG);
    }
  }
}

TEST(element_must_fit_have_a_type_and_shortest_numbers) {
  static const char* const cases[] = {"00",
                                      "0000",
                                      "ff000000010000000000",
                                      "08",
                                      "0801",
                                      "0802aa",
                                      "08fd",
                                      "08fdffff",
                                      "08ffffffffffffffffff",
                                      "08fefffffff0",
                                      "fd00080100",
                                      "08fd0000",
                                      "08fd00fc",
                                      "08fe00000000",
                                      "08fe0000ffff",
                                      "08ff0000000000000000",
                                      "08ff00000000ffffffff",
                                      "fe0000ffff00",
                                      "ff00000000ffffffff00"};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    ndnpkt_bytes_t rest = wire_hex(cases[i]), before = rest;
    ndnpkt_tlv_t tlv = {.type = 77};

    ck_assert_msg(ndnpkt_tlv_next(&rest, &tlv) == -EBADMSG, "%s", cases[i]);
    ck_assert(tlv.type == 77 && rest.base == before.base && rest.len == before.len);
  }
}

TEST(elements_come_one_after_the_other) {
  ndnpkt_bytes_t rest = wire_hex("0801aa feffffffff00");
  ndnpkt_bytes_t two = rest;
  ndnpkt_tlv_t tlv;

  ck_assert_int_eq(ndnpkt_tlv_next(&rest, &tlv), 1);
  ck_assert(tlv.type == 8 && tlv.value.len == 1 && tlv.value.base == two.base + 2 && tlv.whole.len == 3);
  ck_assert_int_eq(ndnpkt_tlv_next(&rest, &tlv), 1);
  ck_assert(tlv.type == UINT32_MAX && tlv.value.len == 0);
  ck_assert_int_eq(ndnpkt_tlv_next(&rest, &tlv), 0);
}

TEST(integers_are_1_2_4_or_8_bytes) {
  static const uint64_t values[] = {0, 255, 256, 65535, 65536, UINT32_MAX, (uint64_t) UINT32_MAX + 1, UINT64_MAX};
  static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 8, 8};
  static const uint8_t zeros[10] = {0};
  uint64_t value;

  for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
    uint8_t buf[16];

    ck_assert_int_eq(ndnpkt_append_uint(buf, 0, sizeof(buf), 50, values[i]), (ssize_t) (2 + sizes[i]));
    ck_assert_int_eq(ndnpkt_uint_decode((ndnpkt_bytes_t){buf + 2, sizes[i]}, &value), 0);
    ck_assert_uint_eq(value, values[i]);
  }
  for (size_t len = 0; len < sizeof(zeros); len++) {
    bool good = len == 1 || len == 2 || len == 4 || len == 8;

    ck_assert_int_eq(ndnpkt_uint_decode((ndnpkt_bytes_t){zeros, len}, &value), good ? 0 : -EBADMSG);
  }
}

TEST(appending_stops_at_the_end_and_hands_errors_on) {
  uint8_t buf[8];
  ssize_t len = ndnpkt_append(buf, 0, sizeof(buf), 8, wire_text("abc"));

  ck_assert_int_eq(len, 5);
  ck_assert_int_eq(ndnpkt_append(buf, len, sizeof(buf), 8, wire_text("d")), 8);
  ck_assert_int_eq(ndnpkt_append(buf, len, sizeof(buf), 8, wire_text("de")), -ENOBUFS);
  ck_assert_int_eq(ndnpkt_append(buf, len, sizeof(buf), 300, wire_text("")), -ENOBUFS);
  ck_assert_int_eq(ndnpkt_append(buf, 9, sizeof(buf), 8, wire_text("")), -ENOBUFS);
  ck_assert_int_eq(ndnpkt_append(buf, 0, sizeof(buf), 8, (ndnpkt_bytes_t){buf, SIZE_MAX - 1}), -ENOBUFS);
  ck_assert_int_eq(ndnpkt_append(buf, 0, sizeof(buf), 0, wire_text("")), -EINVAL);
  ck_assert_int_eq(ndnpkt_append_uint(buf, -ENOBUFS, sizeof(buf), 50, 1), -ENOBUFS);
}

/* --- Names ------------------------------------------------------------------------------------ */

/* The order of ndn-cxx's own test, as components. */
TEST(names_are_in_canonical_order) {
  static const char* const order[] = {"",
                                      "0120 0000000000000000000000000000000000000000000000000000000000000000",
                                      "0120 0000000000000000000000000000000000000000000000000000000000000001",
                                      "0120 ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                                      "0220 0000000000000000000000000000000000000000000000000000000000000000",
                                      "0300",
                                      "030144",
                                      "030146",
                                      "03024141",
                                      "0800",
                                      "080144",
                                      "080144 0800",
                                      "080144 080146",
                                      "080146",
                                      "08024141",
                                      "fd53b200",
                                      "fd53b20144",
                                      "fd53b2024141"};
  size_t count = sizeof(order) / sizeof(*order);

  for (size_t i = 0; i < count; i++) {
    ck_assert_int_eq(ndnpkt_name_check(wire_hex(order[i])), 0);
    for (size_t j = 0; j < count; j++) {
      ndnpkt_name_t a = wire_hex(order[i]), b = wire_hex(order[j]);
      int got = ndnpkt_name_compare(a, b);

      ck_assert_int_eq((got > 0) - (got < 0), (i > j) - (i < j));
      ck_assert(ndnpkt_name_equal(a, b) == (i == j));
    }
  }
}

TEST(prefixes_end_between_components) {
  ck_assert(ndnpkt_name_has_prefix(wire_name("/a/b"), wire_name("/a")));
  ck_assert(ndnpkt_name_has_prefix(wire_name("/a/b"), wire_name("/a/b")));
  ck_assert(ndnpkt_name_has_prefix(wire_name("/a"), wire_name("/")));
  ck_assert(ndnpkt_name_has_prefix(wire_name("/a"), (ndnpkt_name_t){NULL, 0}));
  ck_assert(!ndnpkt_name_has_prefix(wire_name("/ab"), wire_name("/a")));
  ck_assert(!ndnpkt_name_has_prefix(wire_name("/a"), wire_name("/a/b")));
}

TEST(component_types_are_1_to_65535_and_digests_have_32_bytes) {
  ck_assert_int_eq(ndnpkt_name_check(wire_hex("080141")), 0);
  ck_assert_int_eq(ndnpkt_name_check(wire_hex("fdffff0141")), 0);
  ck_assert_int_eq(ndnpkt_name_check(wire_hex("000141")), -EBADMSG);
  ck_assert_int_eq(ndnpkt_name_check(wire_hex("fe000100000141")), -EBADMSG);
  ck_assert_int_eq(ndnpkt_name_check(wire_hex("010141")), -EBADMSG);
  ck_assert_int_eq(ndnpkt_name_check(wire_hex("080141 020141")), -EBADMSG);
  ck_assert_int_eq(ndnpkt_name_check(wire_hex("080241")), -EBADMSG);
}

TEST(a_number_is_one_component_of_its_type) {
  uint64_t number = 5;

  ck_assert_int_eq(ndnpkt_component_number(wire_name("/seg=300"), NDNPKT_COMPONENT_SEGMENT, &number), 0);
  ck_assert_uint_eq(number, 300);
  ck_assert_int_eq(ndnpkt_component_number(wire_name("/v=1"), NDNPKT_COMPONENT_SEGMENT, &number), -EINVAL);
  ck_assert_int_eq(ndnpkt_component_number(wire_name("/seg=1/seg=2"), NDNPKT_COMPONENT_SEGMENT, &number), -EINVAL);
  ck_assert_int_eq(ndnpkt_component_number(wire_name("/50=abc"), NDNPKT_COMPONENT_SEGMENT, &number), -EINVAL);
  ck_assert_int_eq(ndnpkt_component_number(wire_name("/"), NDNPKT_COMPONENT_SEGMENT, &number), -EINVAL);
  ck_assert_uint_eq(number, 300);
}

/* --- Names as text ---------------------------------------------------------------------------- */

#define DIGEST "28bad4b5275bd392dbb670c75cf0b66f13f7942b21e80f55c0e86b374753a548"

TEST(uris_round_trip) {
  static const char* const cases[][3] = {
      {"/", "", "/"},
      {"/a/b", "080161 080162", "/a/b"},
      {"ndn:/a", "080161", "/a"},
      {"/a/", "080161", "/a"},
      {"/%41%2f%00", "0803412f00", "/A%2F%00"},
      {"/...", "0800", "/..."},
      {"/.%2E.", "0800", "/..."},
      {"/....", "08012e", "/...."},
      {"/.A.", "08032e412e", "/.A."},
      {"/-._~", "08042d2e5f7e", "/-._~"},
      {"/8=x", "080178", "/x"},
      {"/9%3DA", "0803393d41", "/9%3DA"},
      {"/foo%25bar", "0807666f6f25626172", "/foo%25bar"},
      {"/65535=...", "fdffff00", "/65535=..."},
      {"/22373=....", "fd5765012e", "/22373=...."},
      {"/32=metadata", "20086d65746164617461", "/32=metadata"},
      {"/seg=42/off=42/v=42/t=42/seq=42", "32012a 34012a 36012a 38012a 3a012a", "/seg=42/off=42/v=42/t=42/seq=42"},
      {"/seg=18446744073709551615", "3208ffffffffffffffff", "/seg=18446744073709551615"},
      {"/50=%2A", "32012a", "/seg=42"},
      {"/50=%01%02%03", "3203010203", "/50=%01%02%03"},
      {"/50=%00%2A", "3202002a", "/50=%00%2A"}, /* a number, but not as short as it could be */
      {"/sha256digest=" DIGEST, "0120" DIGEST, "/sha256digest=" DIGEST},
      {"/params-sha256=" DIGEST, "0220" DIGEST, "/params-sha256=" DIGEST},
      {"/a/sha256digest=28BAD4B5275BD392DBB670C75CF0B66F13F7942B21E80F55C0E86B374753A548", "080161 0120" DIGEST,
       "/a/sha256digest=" DIGEST}};
  char text[256];

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    ndnpkt_name_t name = wire_name(cases[i][0]);

    wire_assert_same(name, wire_hex(cases[i][1]));
    ck_assert_str_eq(ndnpkt_name_to_uri(name, text, sizeof(text)), cases[i][2]);
    wire_assert_same(name, wire_name(text));
  }
}

TEST(bad_uris_are_refused) {
  static const char* const cases[] = {"",
                                      "a",
                                      "//",
                                      "/a//b",
                                      "/.",
                                      "/..",
                                      "/%4",
                                      "/%zz",
                                      "/a b",
                                      "/%",
                                      "/0=a",
                                      "/65536=a",
                                      "/x=a",
                                      "/seg=",
                                      "/seg=x",
                                      "/seg=-1",
                                      "/seg=00",
                                      "/seg=9.3",
                                      "/v=1x",
                                      "/1=short",
                                      "/-1=A",
                                      "/+=A",
                                      "/=A",
                                      "/0x1=A",
                                      "/09=A",
                                      "/9 =A",
                                      "/3=",
                                      "/3=.",
                                      "/SEG=42",
                                      "/t= 84",
                                      "/seg=18446744073709551616",
                                      "/sha256digest=",
                                      "/sha256digest=a791",
                                      "/sha256digest=zzbad4b5275bd392dbb670c75cf0b66f13f7942b21e80f55c0e86b374753a548",
                                      ("/SHA256DIGEST=" DIGEST),
                                      "/4294967304=A",
                                      "/18446744073709551624=A",
                                      "http:/a",
                                      "/a?b",
                                      "/a/b=c"};
  uint8_t buf[128];
  ndnpkt_name_t name = {NULL, 77};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    ck_assert_msg(ndnpkt_name_from_uri(cases[i], buf, sizeof(buf), &name) == -EINVAL, "%s", cases[i]);
  ck_assert_int_eq(ndnpkt_name_from_uri("/abcdefgh", buf, 9, &name), -ENOBUFS);
  ck_assert_int_eq(ndnpkt_name_from_uri("/a/bcdef", buf, 9, &name), -ENOBUFS);
  ck_assert_int_eq(ndnpkt_name_from_uri("/seg=7", buf, 2, &name), -ENOBUFS);
  ck_assert_int_eq(ndnpkt_name_from_uri("/sha256digest=" DIGEST, buf, 33, &name), -ENOBUFS);
  ck_assert_uint_eq(name.len, 77);
}

TEST(text_that_does_not_fit_ends_in_dots) {
  char text[16];

  ck_assert_str_eq(ndnpkt_name_to_uri(wire_name("/abcdefghij"), text, 8), "/abc...");
  ck_assert_str_eq(ndnpkt_name_to_uri(wire_name("/abcdefghij"), text, 12), "/abcdefghij");
  ck_assert_str_eq(ndnpkt_name_to_uri(wire_name("/abcdefghij"), text, 11), "/abcdef...");
  ck_assert_str_eq(ndnpkt_name_to_uri(wire_name("/abcdefghij"), text, 3), "/a");
  ck_assert_str_eq(ndnpkt_name_to_uri(wire_name("/abcdefghij"), text, 1), "");
}

TEST(the_library_has_the_version_of_the_project) {
  char text[32];

  snprintf(text, sizeof(text), "%u.%u.%u", ndnpkt_version() >> 16, ndnpkt_version() >> 8 & 255, ndnpkt_version() & 255);
  ck_assert_str_eq(ndnpkt_version_string(), text);
}
