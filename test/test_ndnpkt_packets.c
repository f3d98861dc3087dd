/* SPDX-License-Identifier: MIT */
/* test_ndnpkt_packets.c: Interests and Data: the vectors that ndn-cxx tests itself with, both ways; packets cut at
 * every byte and with an element put in at every place; the rules for unknown elements. Every packet is decoded from a
 * heap block of exactly its size. Does not test signatures or link headers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "wire.h"

#define PREFIX "0805 6c6f63616c 0803 6e646e 0806 707265666978" /* /local/ndn/prefix */
#define C0_DIGEST "0220 ff9100e04eaadcf30674d98026a051ba25f56b69bfa026dcccd72c6ea0f7315a"
#define ZERO_DIGEST "02200000000000000000000000000000000000000000000000000000000000000000"
#define FULL                                                  \
  "0556 0736" PREFIX C0_DIGEST                                \
  "2100 1200 1e05 0703080148 0a04 4c1ecb4a 0c02 76a1 2201 dc" \
  "2404 c0c1c2c3"

static ndnpkt_crypto_t* new_crypto(void) {
  ndnpkt_crypto_t* crypto = NULL;

  ck_assert_int_eq(ndnpkt_crypto_new(&crypto), 0);
  return crypto;
}

/* --- Interests -------------------------------------------------------------------------------- */

TEST(interests_are_encoded_as_ndn_cxx_does) {
  static const uint8_t hops = 220;
  ndnpkt_crypto_t* crypto = new_crypto();
  ndnpkt_interest_t interest = {.name = wire_name("/local/ndn/prefix"),
                                .has_nonce = true,
                                .nonce = 0x01020304,
                                .lifetime_ms = NDNPKT_LIFETIME_DEFAULT_MS};
  uint8_t buf[256];
  ssize_t len = ndnpkt_interest_encode(NULL, buf, sizeof(buf), &interest, NULL);

  wire_assert_same((ndnpkt_bytes_t){buf, (size_t) len}, wire_hex("051c 0714" PREFIX "0a04 01020304"));
  interest.nonce = 1;
  interest.parameters = wire_hex("c0c1c2c3");
  len = ndnpkt_interest_encode(crypto, buf, sizeof(buf), &interest, NULL);
  wire_assert_same((ndnpkt_bytes_t){buf, (size_t) len},
                   wire_hex("0544 0736" PREFIX C0_DIGEST "0a04 00000001 2404 c0c1c2c3"));
  interest.can_be_prefix = interest.must_be_fresh = true;
  interest.forwarding_hint = wire_hex("0703080148");
  interest.nonce = 0x4c1ecb4a;
  interest.lifetime_ms = 30369;
  interest.hop_limit = &hops;
  len = ndnpkt_interest_encode(crypto, buf, sizeof(buf), &interest, NULL);
  wire_assert_same((ndnpkt_bytes_t){buf, (size_t) len}, wire_hex(FULL));
  ndnpkt_crypto_free(crypto);
}

TEST(interests_of_ndn_cxx_are_decoded) {
  ndnpkt_bytes_t full = wire_hex(FULL);
  ndnpkt_interest_t interest;
  char text[256];

  ck_assert_int_eq(ndnpkt_interest_decode(full.base, full.len, &interest), 0);
  ck_assert_str_eq(ndnpkt_name_to_uri(interest.name, text, sizeof(text)),
                   "/local/ndn/prefix/params-sha256=ff9100e04eaadcf30674d98026a051ba25f56b69bfa026dcccd72c6ea0f7315a");
  ck_assert(interest.can_be_prefix && interest.must_be_fresh && interest.has_nonce);
  ck_assert_uint_eq(interest.nonce, 0x4c1ecb4a);
  ck_assert_uint_eq(interest.lifetime_ms, 30369);
  ck_assert_uint_eq(*interest.hop_limit, 220);
  wire_assert_same(interest.forwarding_hint, wire_hex("0703080148"));
  wire_assert_same(interest.parameters, wire_hex("c0c1c2c3"));
  wire_assert_same(interest.digested, wire_hex("2404 c0c1c2c3"));
  ck_assert_ptr_null(interest.signature.value.base);

  full = wire_hex("0505 0703080149");
  ck_assert_int_eq(ndnpkt_interest_decode(full.base, full.len, &interest), 0);
  ck_assert(!interest.can_be_prefix && !interest.must_be_fresh && !interest.has_nonce);
  ck_assert(interest.hop_limit == NULL && interest.forwarding_hint.base == NULL && interest.parameters.base == NULL);
  ck_assert_uint_eq(interest.lifetime_ms, NDNPKT_LIFETIME_DEFAULT_MS);
  ck_assert_uint_eq(interest.digested.len, 0);
}

/* Unknown elements in between, the older form of the hint, elements behind the parameters: what ndn-cxx takes. */
TEST(odd_interests_of_ndn_cxx_are_decoded) {
  static const char* const cases[] = {
      "0507 0703080149 2100",
      "0531 0703080149 fc00 2100 fc00 1200 fc00 1e0b 1f09 1e023e15 0703080148 fc00 0a044acb1e4c fc00 0c0276a1 fc00 "
      "2201d6 fc00",
      "055b 0725 080149 0220f16db273f40436a852063f864d5072b01ead53151f5a688ea1560492bebedd05 fc00 2100 fc00 1200 fc00 "
      "1e0b 1f09 1e023e15 0703080148 fc00 0a044acb1e4c fc00 0c0276a1 fc00 2201d6 fc00 2404c0c1c2c3 fc00",
      /* HopLimit and ApplicationParameters twice: the first counts, and neither is critical */
      "0536 0725 080149" C0_DIGEST "2201d6 2200 2404c0c1c2c3 22020101",
      "0541 0725 080149" C0_DIGEST "2100 1200 0a044acb1e4c 0c0276a1 2201d6 2404c0c1c2c3 2401ee"};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    ck_assert_msg(wire_decode_hex(cases[i]) == NDNPKT_INTEREST, "%s", cases[i]);
}

TEST(broken_interests_are_refused) {
  static const char* const cases[] = {
      "4202cafe",
      "0500",
      "0502 1200",
      "0502 0700",            /* asks for nothing */
      "0507 fc00 0703080149", /* before the name */
      "0529 2100 0703080149 1200 1e0b 1f09 1e023e15 0703080148 0a044acb1e4c 0c0276a1 2201d6 2404c0c1c2c3", /* order */
      "0509 0703080149 1200 2100",
      "050d 0703080149 0a044acb1e4c 1200",
      "0512 0703080149 0a044acb1e4c 1e05 0703080148",
      "050f 0703080149 0c0276a1 0a044acb1e4c",
      "050c 0703080149 2201d6 0c0276a1",
      "0509 0703080149 2100 2100", /* twice */
      "0508 0703080149 210102",
      "0508 0703080149 120102",
      "0507 0703080149 0a00",
      "050a 0703080149 0a0304c263",
      "050c 0703080149 0a05efa420b262",
      "0507 0703080149 2200",
      "0509 0703080149 22021356",
      "0507 0703080149 0c00",
      "0507 0703080149 fb00",                    /* critical, unknown */
      "0510 0703080149 09030d0101 0a0401000000", /* the Selectors of format 0.2 */
      "050a 0703080149 1e03 0700fe",             /* a hint with a part of an element */
      "050c 0703080149 1e05 0703000148",         /* a hint with no name */
      "0509 0703080149 1e02 0500",               /* a hint with something critical */
      "0509 0703080149 2402cafe",                /* parameters without digest */
      "0527 0725 080149 0220e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", /* and the reverse */
      ("0550 074a 080149" ZERO_DIGEST "080132" ZERO_DIGEST "2402cafe") /* two digests */};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    ck_assert_msg(wire_decode_hex(cases[i]) == -EBADMSG, "%s", cases[i]);
}

TEST(the_parameters_digest_is_checked) {
  static const char* const right[] = {
      FULL, "0505 0703080149",
      "055b 0725 080149 0220f16db273f40436a852063f864d5072b01ead53151f5a688ea1560492bebedd05 fc00 2100 fc00 1200 fc00 "
      "1e0b 1f09 1e023e15 0703080148 fc00 0a044acb1e4c fc00 0c0276a1 fc00 2201d6 fc00 2404c0c1c2c3 fc00",
      "0545 0725 08014a 02205fda67967ee302fc457e41b7d3d51ba6a9379574d193fd88f64954bf16c2927a 2100 1200 1e05 0703080148 "
      "0a044acb1e4c 0c0276a1 2201d6 2402cafe fc00"};
  ndnpkt_crypto_t* crypto = new_crypto();
  ndnpkt_bytes_t wrong = wire_hex(
      "052b 0725 080149 0220 0000000000000000000000000000000000000000000000000000000000000000"
      "2402cafe");
  ndnpkt_interest_t interest;

  for (size_t i = 0; i < sizeof(right) / sizeof(*right); i++) {
    ndnpkt_bytes_t bytes = wire_hex(right[i]);

    ck_assert_int_eq(ndnpkt_interest_decode(bytes.base, bytes.len, &interest), 0);
    ck_assert_msg(ndnpkt_interest_check(crypto, &interest) == 0, "%s", right[i]);
  }
  ck_assert_int_eq(ndnpkt_interest_decode(wrong.base, wrong.len, &interest), 0);
  ck_assert_int_eq(ndnpkt_interest_check(crypto, &interest), -EBADMSG);
  ndnpkt_crypto_free(crypto);
}

TEST(interests_that_cannot_be_are_not_encoded) {
  ndnpkt_crypto_t* crypto = new_crypto();
  ndnpkt_interest_t interest = {.name = {NULL, 0}};
  uint8_t buf[256];

  ck_assert_int_eq(ndnpkt_interest_encode(crypto, buf, sizeof(buf), &interest, NULL), -EINVAL);
  interest.name = wire_hex("08");
  ck_assert_int_eq(ndnpkt_interest_encode(crypto, buf, sizeof(buf), &interest, NULL), -EINVAL);
  interest.name = wire_hex("080141" C0_DIGEST);
  ck_assert_int_eq(ndnpkt_interest_encode(crypto, buf, sizeof(buf), &interest, NULL), -EINVAL);
  interest.name = wire_name("/a");
  interest.forwarding_hint = wire_hex("0705 61"); /* cut off */
  ck_assert_int_eq(ndnpkt_interest_encode(NULL, buf, sizeof(buf), &interest, NULL), -EINVAL);
  interest.forwarding_hint = wire_hex("0703080148 2100"); /* critical, and no name */
  ck_assert_int_eq(ndnpkt_interest_encode(NULL, buf, sizeof(buf), &interest, NULL), -EINVAL);
  interest.forwarding_hint = (ndnpkt_bytes_t){NULL, 0};
  interest.parameters = wire_text("");
  ck_assert_int_eq(ndnpkt_interest_encode(NULL, buf, sizeof(buf), &interest, NULL), -EINVAL);
  ndnpkt_crypto_free(crypto);
}

/* --- Data ------------------------------------------------------------------------------------- */

/* ndn-cxx's Data, whose signature is RSA's. */
#define SIGNATURE                                                                          \
  "2fd6f16e806f10beb16f3e31ece3b9ea83304003fca013d9b3c625162da65841696256d8b36a387656ea61" \
  "b232701cb64d101ddc928e52a58a1dd9965ec0620bcf3a9d7fcabea14171857a8b5da964d666b4e98d0c28" \
  "43eea664e855f61c190bef99251edc78b3a7aa0d145830e5376a6ddb56aca3fc907ab8669c0ef6b764d1"
#define DATA1                                                                                  \
  "06c5 0714" PREFIX                                                                           \
  "1404 1902 2710 1508 5355434345535321 161b 1b0101 1c16 0714 0804 74657374 0803 6b6579 0807 " \
  "6c6f6361746f72 1780" SIGNATURE

TEST(data_of_ndn_cxx_is_decoded) {
  ndnpkt_bytes_t bytes = wire_hex(DATA1);
  ndnpkt_data_t data;

  ck_assert_int_eq(ndnpkt_data_decode(bytes.base, bytes.len, &data), 0);
  ck_assert(ndnpkt_name_equal(data.name, wire_name("/local/ndn/prefix")));
  ck_assert_uint_eq(data.content_type, 0);
  ck_assert_uint_eq(data.freshness_ms, 10000);
  ck_assert_uint_eq(data.final_block.len, 0);
  wire_assert_same(data.content, wire_text("SUCCESS!"));
  ck_assert_uint_eq(data.signature.type, NDNPKT_SIGNATURE_SHA256_RSA);
  ck_assert(ndnpkt_name_equal(data.signature.key_name, wire_name("/test/key/locator")));
  ck_assert_ptr_null(data.signature.key_digest.base);
  wire_assert_same(data.signature.value, wire_hex(SIGNATURE));
  wire_assert_same(data.signature.pieces[0], (ndnpkt_bytes_t){bytes.base + 2, bytes.len - 2 - 130});
  ck_assert_uint_eq(data.signature.pieces[1].len, 0);
}

TEST(odd_data_of_ndn_cxx_is_decoded) {
  static const char* const cases[] = {
      "062c 0703080144 16031b0100 1720612a79399e60304a9f701c1ecac7956bf2f1b046e6c6f0d6c29b3fe3a29bad76",
      "0609 0700 16031b0100 1700",
      "060b 0700 1400 16031b0100 1700",
      ("063a 0703080144 fc00 1400 fc00 1500 fc00 16031b0100 fc00 "
       "1720612a79399e60304a9f701c1ecac7956bf2f1b046e6c6f0d6c29b3fe3a29bad76 fc00"),
      "0610 0700 16081b0103 1c03 1d01aa 1700 fc00", /* KeyDigest */
      "0613 0700 160d1b0103 1c08 f000 0700 f002aabb 1700",
      "060d 0700 16071b0103 1c02 f000 1700",
      "0611 0700 160b1b0103 fd00fd04 fd00fe00 1700", /* ValidityPeriod, as certificates have it */
      "060d 0700 16051b0100 1c00 1700 fc00" /* an empty KeyLocator, as PyNDN writes it */};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    ck_assert_msg(wire_decode_hex(cases[i]) == (int) NDNPKT_DATA, "%s", cases[i]);
}

#define SHORT "16031b0100 1700"

TEST(broken_data_is_refused) {
  static const char* const cases[] = {
      "4202cafe",
      "0610 1400 0703080145 1500" SHORT, /* order */
      "0610 0703080145 1500 1400" SHORT,
      "0610 0703080145 1400 16031b0100 1500 1700",
      "0610 0703080145 1400 1500 1700 16031b0100",
      "0610 0703080145 1400" SHORT "1700",
      "0607" SHORT,
      "0605 0703080145",
      "060a 0703080145 16031b0100",
      "0607 0703080145 1700",
      "0609 0703080145 1600 1700",     /* no SignatureType */
      "060b 0703080145 16021b00 1700", /* which is no number */
      "0610 0703080145 1400 1503aabbcc 1600 1700",
      "060d 0700 1403 180100 16021b00 1700",
      "0613 0700 1408 1a06 080141 080142" SHORT, /* FinalBlockId: two components */
      "060d 0700 1402 1a00" SHORT,               /* none */
      "060e 0700 1403 180201" SHORT,             /* cut off */
      "060f 0700 1404 1803 0102" SHORT,
      "0610 0700 1405 1803 010203" SHORT, /* numbers have no three bytes */
      "060d 0700 1402 8100" SHORT,        /* critical, unknown */
      "060f 0700 1404 19010a 18" SHORT,
      "0611 0700 160b1b0103 1c06 0704 0804 4141 1700", /* a locator whose name is cut off */
      "060f 0700 16091b0103 1c04 0700 0700 1700",      /* two names */
      "060f 0700 16091b0103 1c04 0700 1d00 1700",      /* a name and a digest */
      "0610 0700 160a1b0103 1c05 070008ff ff 1700",    /* bytes behind the name that are no element */
      "060f 0700 16091b0103 1c04 0700 2100 1700",      /* what is critical and unknown, behind a name */
      "060d 0700 16071b0103 1c02 2100 1700",           /* or in its place */
      "060b 0700 16051b0100 2600 1700",                /* an empty nonce */
      "060b 0700 16051b0100 2800 1700"};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    ck_assert_msg(wire_decode_hex(cases[i]) == -EBADMSG, "%s", cases[i]);
}

static ssize_t make_data(ndnpkt_crypto_t* crypto, uint8_t* buf, size_t cap, size_t content) {
  static const uint8_t bytes[70000] = "content";
  ndnpkt_data_t data = {.name = wire_name("/demo/file/seg=9"),
                        .content_type = 3,
                        .freshness_ms = 1000,
                        .final_block = wire_name("/seg=300"),
                        .content = {bytes, content}};

  return ndnpkt_data_encode(crypto, buf, cap, &data, NULL);
}

TEST(data_round_trips_at_every_length_size) {
  static const size_t contents[] = {0, 1, 100, 170, 252, 253, 8000, 8600, 65500, 66000};
  ndnpkt_crypto_t* crypto = new_crypto();
  uint8_t* buf = malloc(70000);

  for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
    ssize_t len = make_data(crypto, buf, 70000, contents[i]);
    ndnpkt_data_t data;
    uint64_t last = 0;

    ck_assert_int_gt(len, 0);
    ck_assert_int_eq(wire_decode((ndnpkt_bytes_t){buf, (size_t) len}), NDNPKT_DATA);
    ck_assert_int_eq(ndnpkt_data_decode(buf, (size_t) len, &data), 0);
    ck_assert(ndnpkt_name_equal(data.name, wire_name("/demo/file/seg=9")));
    ck_assert_uint_eq(data.content_type, 3);
    ck_assert_uint_eq(data.freshness_ms, 1000);
    ck_assert_int_eq(ndnpkt_component_number(data.final_block, NDNPKT_COMPONENT_SEGMENT, &last), 0);
    ck_assert_uint_eq(last, 300);
    ck_assert_uint_eq(data.content.len, contents[i]);
    ck_assert(contents[i] < 7 || memcmp(data.content.base, "content", 7) == 0);
    ck_assert_uint_le((size_t) len, contents[i] + ndnpkt_data_overhead(&data, NULL));
    ck_assert_uint_ge((size_t) len + 12, contents[i] + ndnpkt_data_overhead(&data, NULL));
    ck_assert_int_eq(ndnpkt_verify(crypto, &data.signature, NULL), 0);
  }
  free(buf);
  ndnpkt_crypto_free(crypto);
}

TEST(data_that_cannot_be_is_not_encoded) {
  ndnpkt_crypto_t* crypto = new_crypto();
  ndnpkt_data_t data = {.name = wire_hex("0805 61")}; /* cut off */
  uint8_t buf[256];

  ck_assert_int_eq(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, NULL), -EINVAL);
  data.name = wire_hex("0101 61"); /* a digest of one byte */
  ck_assert_int_eq(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, NULL), -EINVAL);
  data.name = wire_name("/a");
  data.final_block = wire_name("/b/c"); /* two components */
  ck_assert_int_eq(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, NULL), -EINVAL);
  data.final_block = wire_hex("08");
  ck_assert_int_eq(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, NULL), -EINVAL);
  data = (ndnpkt_data_t){.name = {NULL, 0}}; /* which a Data may be without */
  ck_assert_int_gt(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, NULL), 0);
  data.name = wire_name("/a/params-sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  ck_assert_int_gt(ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, NULL), 0);
  ndnpkt_crypto_free(crypto);
}

/* --- Both ------------------------------------------------------------------------------------- */

TEST(packets_cut_anywhere_are_broken) {
  static const char* const packets[] = {FULL, DATA1};

  for (size_t i = 0; i < 2; i++) {
    ndnpkt_bytes_t whole = wire_hex(packets[i]);

    for (size_t len = 0; len < whole.len; len++)
      ck_assert_int_eq(wire_decode((ndnpkt_bytes_t){whole.base, len}), -EBADMSG);
    ck_assert_int_eq(wire_decode((ndnpkt_bytes_t){whole.base, whole.len + 1}), -EBADMSG); /* and one byte more */
  }
}

TEST(encoders_stay_within_their_buffer) {
  static const uint8_t hops = 7;
  ndnpkt_crypto_t* crypto = new_crypto();
  ndnpkt_interest_t plain = {.has_nonce = true, .hop_limit = &hops}, full = {.parameters = wire_text("p")};
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  uint8_t whole[512], name[8];
  ssize_t len, plain_len, full_len;

  ck_assert_int_eq(ndnpkt_name_from_uri("/a/b", name, sizeof(name), &plain.name), 0);
  full.name = plain.name;
  len = make_data(crypto, whole, sizeof(whole), 20);
  plain_len = ndnpkt_interest_encode(NULL, whole, sizeof(whole), &plain, NULL);
  full_len = ndnpkt_interest_encode(crypto, whole, sizeof(whole), &full, &signer);
  ck_assert(len > 0 && plain_len > 0 && full_len > 0);
  for (size_t cap = 0; cap < 200; cap++) {
    uint8_t* buf = malloc(cap > 0 ? cap : 1);

    ck_assert_int_eq(make_data(crypto, buf, cap, 20), cap < (size_t) len ? -ENOBUFS : len);
    ck_assert_int_eq(ndnpkt_interest_encode(NULL, buf, cap, &plain, NULL),
                     cap < (size_t) plain_len ? -ENOBUFS : plain_len);
    ck_assert_int_eq(ndnpkt_interest_encode(crypto, buf, cap, &full, &signer),
                     cap < (size_t) full_len ? -ENOBUFS : full_len);
    free(buf);
  }
  ndnpkt_crypto_free(crypto);
}

/* Puts an element in front of the index-th one in a packet. Returns false if there are not so many. */
static bool splice(ndnpkt_bytes_t packet, size_t index, ndnpkt_bytes_t add, uint8_t* out, size_t* ret_len) {
  ndnpkt_tlv_t outer, inner;
  ndnpkt_bytes_t rest = packet;
  uint8_t body[1024];
  size_t before;

  ndnpkt_tlv_next(&rest, &outer);
  rest = outer.value;
  while (index-- > 0)
    if (ndnpkt_tlv_next(&rest, &inner) <= 0) return false;
  before = outer.value.len - rest.len;
  memcpy(body, outer.value.base, before);
  memcpy(body + before, add.base, add.len);
  memcpy(body + before + add.len, rest.base, rest.len);
  *ret_len = (size_t) ndnpkt_append(out, 0, 1024, outer.type, (ndnpkt_bytes_t){body, outer.value.len + add.len});
  return true;
}

/* Types 240 and 1000 are not critical; 241 and 1001 are, and 8, being below 32. Nothing precedes the name. */
TEST(unknown_elements_break_a_packet_if_critical) {
  static const struct {
    const char* hex;
    bool critical;
  } cases[] = {{"f000", false}, {"f002aabb", false}, {"fd03e800", false},
               {"f100", true},  {"fd03e900", true},  {"0800", true}};
  static const char* const packets[] = {FULL, DATA1};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    for (size_t p = 0; p < 2; p++) {
      uint8_t out[1024];
      size_t at = 0, len;

      for (; splice(wire_hex(packets[p]), at, wire_hex(cases[i].hex), out, &len); at++)
        ck_assert_int_eq(wire_decode((ndnpkt_bytes_t){out, len}) > 0, at > 0 && !cases[i].critical);
      ck_assert_uint_ge(at, 6);
    }
  }
}
