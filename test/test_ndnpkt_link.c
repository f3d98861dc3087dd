/* SPDX-License-Identifier: MIT */
/* test_ndnpkt_link.c: link headers: every one that has a member, both ways, ndn-cxx's own vectors, what is skipped and
 * what is refused. Every packet is decoded from a heap block of exactly its size. */
#include <errno.h>
#include <string.h>

#include "harness.h"
#include "wire.h"

#define INTEREST "0505 0703080141"

TEST(packets_are_unwrapped) {
  static const struct {
    const char* hex;
    int kind;
  } cases[] = {{INTEREST, NDNPKT_INTEREST},
               {"6400", NDNPKT_IDLE},
               {"6402 5000", NDNPKT_IDLE},
               {"6406 520100 530101", NDNPKT_IDLE},
               {"6409 5007" INTEREST, NDNPKT_INTEREST},
               {"640f 6204d0d1d2d3 5007" INTEREST, NDNPKT_INTEREST},
               {"640e fd034c0101 5007" INTEREST, NDNPKT_INTEREST}, /* NonDiscovery: skipped */
               {"640d fd032c00 5007" INTEREST, NDNPKT_INTEREST},   /* IncomingFaceId */
               {"640d fd033100 5007" INTEREST, NDNPKT_INTEREST},   /* the same before 2019, critical but known */
               {"6421 fd03440800000000000000 02 fd03440800000000000000 04 5007" INTEREST, NDNPKT_INTEREST}, /* Acks */
               {"640f 530101 520100 5007" INTEREST, NDNPKT_INTEREST}, /* in another order than ndn-cxx writes */
               {"640f 520100 530102 5007" INTEREST, NDNPKT_FRAGMENT},
               {"640a 520101 530102 5002 03e8", NDNPKT_FRAGMENT},
               {"640d fd032000 5007" INTEREST, NDNPKT_NACK},
               {"6412 fd032005 fd03210196 5007" INTEREST, NDNPKT_NACK}};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    ck_assert_msg(wire_decode_hex(cases[i].hex) == cases[i].kind, "%s", cases[i].hex);
}

TEST(broken_link_packets_are_refused) {
  static const char* const cases[] = {
      "",
      "0700",                                               /* neither Interest nor Data nor LpPacket */
      "6407 5005 0503 070141",                              /* a broken Interest inside */
      "640e fd034d0101 5007" INTEREST,                      /* unknown, and may not be skipped */
      "6411 520100 fd03220102 5007" INTEREST,               /* ndn-cxx's: 802 */
      "640b 5500 5007" INTEREST,                            /* unknown, of one byte */
      "640c 5007" INTEREST "530101",                        /* the fragment is last */
      "6412 5007" INTEREST "5007" INTEREST,                 /* and there is one */
      "640f 520100 520100 5007" INTEREST,                   /* twice */
      "640f 6201aa 6201bb 5007" INTEREST,                   /* twice */
      "6404 fd032000",                                      /* a Nack of nothing */
      "6412 fd032000 500c 060a 0703080141 16031b0100",      /* a Nack of a Data that is broken */
      "6414 fd032000 500e 060c 0703080141 16031b0100 1700", /* a Nack of Data */
      "6412 fd032005 fd0321 02 96 5007" INTEREST,           /* a reason that is cut off */
      "6411 fd032004 fd0321 00 5007" INTEREST,              /* or empty */
      "640c 530100 5007" INTEREST,                          /* of no fragment */
      "640c 520101 5007" INTEREST,                          /* the second of one */
      "640f 520102 530102 5007" INTEREST,                   /* the third of two */
      "640b 6200 5007" INTEREST,                            /* a token has a byte at least */
      "642c 6221 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20 5007" INTEREST, /* and 32 at most */
      "640f 5104a4a5a6a7 5007" INTEREST, /* a sequence number has eight bytes */
      "640f 510800000000 5007" INTEREST,
      "640d fd034000 5007" INTEREST, /* a mark that is no number */
      "6404 5003 6400"};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    ck_assert_msg(wire_decode_hex(cases[i]) == -EBADMSG, "%s", cases[i]);
}

static ndnpkt_link_t decode(const char* hex) {
  ndnpkt_bytes_t bytes = wire_hex(hex);
  ndnpkt_link_t link = {.frag_count = 77};

  ck_assert_int_eq(ndnpkt_link_decode(bytes.base, bytes.len, &link), 0);
  return link;
}

TEST(headers_are_kept) {
  ndnpkt_link_t link =
      decode("642f 5108a0a1a2a3a4a5a6a7 520101 530103 6206 01b643ffffff fd032005 fd03210164 fd03400102 5007" INTEREST);

  ck_assert(link.wrapped && link.nack && link.has_sequence);
  ck_assert_uint_eq(link.sequence, 0xa0a1a2a3a4a5a6a7);
  ck_assert_uint_eq(link.frag_index, 1);
  ck_assert_uint_eq(link.frag_count, 3);
  wire_assert_same(link.pit_token, wire_hex("01b643ffffff"));
  ck_assert_uint_eq(link.nack_reason, NDNPKT_NACK_DUPLICATE);
  ck_assert_uint_eq(link.congestion_mark, 2);
  wire_assert_same(link.fragment, wire_hex(INTEREST));
  link = decode(INTEREST);
  ck_assert(!link.wrapped && !link.nack && !link.has_sequence);
  ck_assert(link.frag_index == 0 && link.frag_count == 1 && link.congestion_mark == 0 && link.pit_token.len == 0);
  wire_assert_same(link.fragment, wire_hex(INTEREST));
}

static void encodes_to(const ndnpkt_link_t* link, const char* hex) {
  uint8_t buf[NDNPKT_LINK_HEADER_MAX + 16];
  ssize_t len = ndnpkt_link_encode(buf, NDNPKT_LINK_HEADER_MAX, link);

  ck_assert_int_ge(len, 0);
  if (link->fragment.len > 0) memcpy(buf + len, link->fragment.base, link->fragment.len);
  wire_assert_same((ndnpkt_bytes_t){buf, (size_t) len + link->fragment.len}, wire_hex(hex));
}

TEST(headers_are_encoded_as_ndn_cxx_does) {
  ndnpkt_link_t link = {.has_sequence = true, .sequence = 1000, .fragment = wire_hex("03e8")};

  encodes_to(&link, "640e 5108 00000000000003e8 5002 03e8");
  link = (ndnpkt_link_t){.nack = true, .nack_reason = NDNPKT_NACK_DUPLICATE};
  encodes_to(&link, "6409 fd032005 fd03210164");
  link = (ndnpkt_link_t){.nack = true, .fragment = wire_hex(INTEREST)};
  encodes_to(&link, "640d fd032000 5007" INTEREST);
  link = (ndnpkt_link_t){.frag_index = 0, .frag_count = 2, .congestion_mark = 1, .fragment = wire_hex("03e8")};
  encodes_to(&link, "640f 520100 530102 fd03400101 5002 03e8");
  link = (ndnpkt_link_t){.wrapped = true, .pit_token = wire_text("token")};
  encodes_to(&link, "6407 6205 746f6b656e");
  link = (ndnpkt_link_t){.wrapped = true};
  encodes_to(&link, "6400");
}

TEST(the_longest_headers_fit_and_shorter_room_is_refused) {
  uint8_t token[NDNPKT_PIT_TOKEN_MAX + 1] = {1}, buf[NDNPKT_LINK_HEADER_MAX];
  ndnpkt_link_t link = {.nack = true,
                        .has_sequence = true,
                        .nack_reason = UINT64_MAX,
                        .sequence = UINT64_MAX,
                        .frag_index = UINT64_MAX - 1,
                        .frag_count = UINT64_MAX,
                        .congestion_mark = UINT64_MAX,
                        .pit_token = {token, NDNPKT_PIT_TOKEN_MAX},
                        .fragment = {NULL, (size_t) 1 << (sizeof(size_t) == 8 ? 40 : 30)}};
  ssize_t len = ndnpkt_link_encode(buf, sizeof(buf), &link);

  ck_assert_int_gt(len, 100);
  for (size_t cap = 0; cap < (size_t) len; cap++) ck_assert_int_eq(ndnpkt_link_encode(buf, cap, &link), -ENOBUFS);
  link.pit_token.len++;
  ck_assert_int_eq(ndnpkt_link_encode(buf, sizeof(buf), &link), -EINVAL);
  link = (ndnpkt_link_t){.frag_index = 1, .frag_count = 1};
  ck_assert_int_eq(ndnpkt_link_encode(buf, sizeof(buf), &link), -EINVAL);
  link = (ndnpkt_link_t){.frag_index = 1};
  ck_assert_int_eq(ndnpkt_link_encode(buf, sizeof(buf), &link), -EINVAL);
}

TEST(link_packets_cut_anywhere_are_broken) {
  ndnpkt_bytes_t whole = wire_hex("6418 6204d0d1d2d3 fd032005 fd03210196 5007" INTEREST);

  ck_assert_int_eq(wire_decode(whole), NDNPKT_NACK);
  for (size_t len = 0; len < whole.len; len++)
    ck_assert_int_eq(wire_decode((ndnpkt_bytes_t){whole.base, len}), -EBADMSG);
}
