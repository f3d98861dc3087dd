/* SPDX-License-Identifier: MIT */
/* test_mgmt_link.c: what a client takes off the packets of a stream, and what it puts into those that go out. */
#include <string.h>

#include "harness.h"
#include "link.h"
#include "wire.h"

static uvface__link_kind_t strip(const char* hex, const char* expected) {
  ndnpkt_bytes_t packet = wire_hex(hex);
  uvface__link_kind_t kind = uvface__link_strip(&packet);

  if (expected != NULL) wire_assert_same(packet, wire_hex(expected));
  return kind;
}

#define INTEREST "0507 0703 080161 0a00"
#define DATA "0607 0705 0803616263"

TEST(a_bare_packet_is_left_alone) {
  ck_assert_int_eq(strip(DATA, DATA), UVFACE__LINK_PACKET);
  ck_assert_int_eq(strip("0500", "0500"), UVFACE__LINK_PACKET);
}

TEST(a_whole_fragment_comes_out_bare) {
  ck_assert_int_eq(strip("6411 6206b643ffffffff 5007 06050703080161", "06050703080161"), UVFACE__LINK_PACKET);
  ck_assert_int_eq(strip("640e fd034c0101 fd0340 0101 5003 06 0100", NULL), UVFACE__LINK_DROP); /* broken */
  ck_assert_int_eq(strip("640e fd034c0101 fd03400101 5002 0600", "0600"), UVFACE__LINK_PACKET);
  ck_assert_int_eq(strip("6407 520100 5002 0600", "0600"), UVFACE__LINK_PACKET);
}

TEST(idle_packets_and_parts_are_dropped) {
  ck_assert_int_eq(strip("6400", NULL), UVFACE__LINK_DROP);
  ck_assert_int_eq(strip("6402 5000", NULL), UVFACE__LINK_DROP);
  ck_assert_int_eq(strip("6403 620101", NULL), UVFACE__LINK_DROP);
  ck_assert_int_eq(strip("640a 520100 530102 5002 0600", NULL), UVFACE__LINK_DROP);
}

TEST(a_nack_stays_a_link_packet) {
  static const char nack[] = "6424fd032005fd0321019650190517070b08026e6f0805726f7574650a045fab86130c0207d0";

  ck_assert_int_eq(strip(nack, nack), UVFACE__LINK_NACK);
}

/* What becomes of a packet on its way out, with as much room as it needs. */
static void assert_nonced(const char* hex, const char* expected) {
  ndnpkt_bytes_t packet = wire_hex(hex), want = wire_hex(expected);
  uint8_t buf[WIRE_MAX];

  memcpy(buf, packet.base, packet.len);
  wire_assert_same((ndnpkt_bytes_t){buf, uvface__link_add_nonce(buf, packet.len, packet.len + 64, 0x01020304)}, want);
}

TEST(an_interest_without_a_nonce_gets_one_in_its_place) {
  assert_nonced("0505 0703080161", "050b 0703080161 0a0401020304");
  assert_nonced("0509 0703080161 0c020fa0", "050f 0703080161 0a0401020304 0c020fa0");
  assert_nonced("0513 0703080161 2100 1200 1e05070308 0162 2201ff",
                "0519 0703080161 2100 1200 1e050703080162 0a0401020304 2201ff");
}

TEST(what_has_a_nonce_or_is_none_is_left_alone) {
  static const char* const packets[] = {
      "050b 0703080161 0a0401020305", DATA,          "6402 5000", "050b 0703080161 0a04010203", "05", "",
      "0505 0703080161 00",           INTEREST "00", "0500",
  };

  for (size_t i = 0; i < sizeof(packets) / sizeof(*packets); i++) assert_nonced(packets[i], packets[i]);
}

TEST(an_interest_that_grows_gets_a_longer_head) {
  for (size_t name = 200; name < 400; name++) {
    uint8_t buf[1024] = {0}, before[1024];
    ndnpkt_interest_t interest = {.lifetime_ms = NDNPKT_LIFETIME_DEFAULT_MS};
    uint8_t component[400];
    ssize_t n = ndnpkt_append(component, 0, sizeof(component), 8, (ndnpkt_bytes_t){before, name - 10});
    size_t bytes;

    memset(before, 'n', sizeof(before));
    n = ndnpkt_append(component, 0, sizeof(component), 8, (ndnpkt_bytes_t){before, name - 10});
    ck_assert_int_gt(n, 0);
    interest.name = (ndnpkt_name_t){component, (size_t) n};
    n = ndnpkt_interest_encode(NULL, buf, sizeof(buf), &interest, NULL);
    ck_assert_int_gt(n, 0);
    bytes = uvface__link_add_nonce(buf, (size_t) n, (size_t) n + 64, 7);
    ck_assert_int_eq(ndnpkt_interest_decode(buf, bytes, &interest), 0);
    ck_assert(interest.has_nonce);
    ck_assert_uint_eq(interest.nonce, 7);
    wire_assert_same(interest.name, (ndnpkt_name_t){component, interest.name.len});
    ck_assert_uint_eq(uvface__link_add_nonce(buf, bytes, bytes + 64, 8), bytes);
  }
}

TEST(without_room_it_stays_as_it_is) {
  ndnpkt_bytes_t packet = wire_hex("0505 0703080161");
  uint8_t buf[32];

  memcpy(buf, packet.base, packet.len);
  ck_assert_uint_eq(uvface__link_add_nonce(buf, packet.len, packet.len + 5, 1), packet.len);
  ck_assert_mem_eq(buf, packet.base, packet.len);
  ck_assert_uint_eq(uvface__link_add_nonce(buf, packet.len, packet.len + 6, 1), packet.len + 6);
}
