/* SPDX-License-Identifier: MIT */
/* test_tables.c: the tables of the example forwarder: which route an Interest takes, who gets its Data, what the content
 * store keeps and for how long. Knows no faces: a face is a number, time is an argument. */
#include "tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "wire.h"

/* Signed with a context that is made once in each test's process. */
static ssize_t encode_data(uint8_t* buf, size_t cap, const ndnpkt_data_t* data) {
  static ndnpkt_crypto_t* crypto;
  if (crypto == NULL) ck_assert_int_eq(ndnpkt_crypto_new(&crypto), 0);
  return ndnpkt_data_encode(crypto, buf, cap, data, NULL);
}

static size_t make_data(uint8_t* buf, size_t cap, const char* uri, uint64_t freshness_ms, size_t content) {
  static const uint8_t bytes[NDNPKT_PACKET_MAX] = "content";
  ndnpkt_data_t data = {.name = wire_name(uri), .freshness_ms = freshness_ms, .content = {bytes, content}};
  ssize_t len = encode_data(buf, cap, &data);
  ck_assert_int_gt(len, 0);
  return (size_t) len;
}

TEST(fib_finds_the_longest_prefix) {
  fib_t fib;
  uint8_t bufs[3][32];
  ndnpkt_name_t routes[3];
  static const char* const uris[] = {"/", "/a/b", "/a/b/c/d"};
  ck_assert_int_eq(fib_init(&fib, 1), 0);
  ck_assert_int_eq(fib_find(&fib, wire_name("/a")), -1);
  for (unsigned int i = 0; i < 3; i++) {
    ck_assert_int_eq(ndnpkt_name_from_uri(uris[i], bufs[i], sizeof(bufs[i]), &routes[i]), 0);
    ck_assert_int_eq(fib_add(&fib, routes[i], i), 0);
  }
  ck_assert_int_eq(fib_add(&fib, routes[1], 5), -EEXIST);
  ck_assert_int_eq(fib_find(&fib, wire_name("/a")), 0);
  ck_assert_int_eq(fib_find(&fib, wire_name("/a/b")), 1);
  ck_assert_int_eq(fib_find(&fib, wire_name("/a/b/c/x/y/z")), 1);
  ck_assert_int_eq(fib_find(&fib, wire_name("/a/b/c/d/e")), 2);
  ck_assert_int_eq(fib_find(&fib, wire_name("/b/b/c/d/e")), 0);
  fib_free(&fib);
}

static pit_result_t pit_ask(pit_t* pit, const char* uri, unsigned int from, uint32_t nonce, uint64_t now_ms) {
  ndnpkt_interest_t interest = {.name = wire_name(uri), .has_nonce = true, .nonce = nonce, .lifetime_ms = 1000};
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
  ck_assert_uint_eq(pit_satisfy(pit, wire_name("/a"), 8, 5000).faces, 0); /* nobody asked face 8 */
  ck_assert_uint_eq(pit_satisfy(pit, wire_name("/a/x"), 9, 5000).faces, 0);
  ck_assert_uint_eq(pit_satisfy(pit, wire_name("/a"), 9, 5000).faces, 3);
  ck_assert_uint_eq(pit_satisfy(pit, wire_name("/a"), 9, 5000).faces, 0);
  pit_forget_face(pit, 0);
  ck_assert_uint_eq(pit_satisfy(pit, wire_name("/b"), 9, 5000).faces, 0);
  ck_assert_uint_eq(pit->table.count, 0);
  pit_free(pit);
  free(pit);
}

TEST(pit_matches_prefixes) {
  pit_t* pit = malloc(sizeof(*pit));
  ck_assert_int_eq(pit_init(pit, 1, 100, 0), 0);
  ndnpkt_interest_t interest = {.name = wire_name("/a/b"), .can_be_prefix = true, .lifetime_ms = 1000};
  ck_assert_int_eq(pit_add(pit, &interest, 3, 9, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/a/b/c", 4, 1, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/a/b", 5, 1, 0), PIT_FORWARD); /* another entry: not a prefix */
  pit_match_t match = pit_satisfy(pit, wire_name("/a/b/c"), 9, 0);
  ck_assert_uint_eq(match.faces, 1 << 3 | 1 << 4);
  ck_assert_uint_eq(match.prefix_size, wire_name("/a/b").len);
  ck_assert_uint_eq(pit->can_be_prefix, 0);
  ck_assert_uint_eq(pit_satisfy(pit, wire_name("/a/b"), 9, 0).faces, 1 << 5);
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
  ck_assert_uint_eq(pit_satisfy(pit, wire_name("/a/seg=1000"), 9, 1999).faces, 1);
  ck_assert_uint_eq(pit_satisfy(pit, wire_name("/a/seg=1001"), 9, 2001).faces, 0); /* just too late */
  ndnpkt_interest_t lasting = {.name = wire_name("/long"), .lifetime_ms = 50000};
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
  ndnpkt_data_t data;
  size_t len = make_data(buf, sizeof(buf), uri, 100, 20);
  ck_assert_int_eq(ndnpkt_data_decode(buf, len, &data), 0);
  cs_add(cs, (ndnpkt_bytes_t){buf, len}, &data, prefix_size > 0 ? prefix_size : data.name.len, now_ms);
}

static bool cs_has(cs_t* cs, const char* uri, bool can_be_prefix, bool must_be_fresh, uint64_t now_ms) {
  ndnpkt_interest_t interest = {.name = wire_name(uri), .can_be_prefix = can_be_prefix, .must_be_fresh = must_be_fresh};
  ndnpkt_bytes_t wire = cs_find(cs, &interest, now_ms);
  return wire.len > 0 && wire_decode(wire) == (int) NDNPKT_DATA;
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
  ndnpkt_data_t data = {.name = wire_name(uri), .content = {content, n * 7919 % sizeof(content)}};
  ssize_t len = encode_data(buf, NDNPKT_PACKET_MAX, &data);
  ck_assert_int_gt(len, 0);
  return (size_t) len;
}

static bool cs_has_numbered(cs_t* cs, unsigned int n) {
  uint8_t expected[NDNPKT_PACKET_MAX];
  char uri[32];
  snprintf(uri, sizeof(uri), "/a/seg=%u", n);
  ndnpkt_interest_t interest = {.name = wire_name(uri)};
  ndnpkt_bytes_t wire = cs_find(cs, &interest, 0);
  if (wire.len == 0) return false;
  ck_assert_uint_eq(wire.len, numbered_data(expected, n));
  ck_assert_mem_eq(wire.base, expected, wire.len);
  return true;
}

/* Half of the packets are put where the store says, half are copied by it; some places are lent in vain. */
TEST(cs_goes_round_in_its_block) {
  cs_t cs;
  uint8_t buf[NDNPKT_PACKET_MAX];
  ck_assert_int_eq(cs_init(&cs, 1, 3000000), 0);
  for (unsigned int n = 0; n < 5000; n++) {
    ndnpkt_data_t data;
    ndnpkt_bytes_t wire = {buf, numbered_data(buf, n)};
    if (n % 3 == 0) memset(cs_place(&cs, sizeof(buf)), 0xff, sizeof(buf));
    uint8_t* place = n % 2 == 0 ? cs_place(&cs, wire.len) : NULL;
    if (place != NULL) wire.base = memcpy(place, buf, wire.len);
    ck_assert_int_eq(ndnpkt_data_decode(wire.base, wire.len, &data), 0);
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
  uint8_t buf[NDNPKT_PACKET_MAX];
  ndnpkt_data_t data;
  size_t len = numbered_data(buf, n);
  ck_assert_int_eq(ndnpkt_data_decode(buf, len, &data), 0);
  cs_add(cs, (ndnpkt_bytes_t){buf, len}, &data, data.name.len, 0);
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
  for (; cs_place(&cs, NDNPKT_PACKET_MAX) != NULL; n++) put_numbered(&cs, n);
  ck_assert_uint_le(cs.bytes, cs.block_bytes);
  for (unsigned int i = first; i < n; i++) ck_assert(cs_has_numbered(&cs, i)); /* which earns each a second round */
  cs_trim(&cs);
  ck_assert_uint_le(cs.bytes, 100000);
  ck_assert_uint_ge(cs.bytes, 100000 - 2 * NDNPKT_PACKET_MAX);
  cs_free(&cs);
  ck_assert_int_eq(cs_init(&cs, 1, 0), 0);
  ck_assert_ptr_null(cs_place(&cs, 1));
  cs_free(&cs);
}

TEST(cs_knows_fresh_and_prefix) {
  cs_t cs;
  ck_assert_int_eq(cs_init(&cs, 1, 4000), 0);
  cs_put(&cs, "/a/b/v=1", wire_name("/a").len, 0); /* fresh until 100 */
  ck_assert(cs_has(&cs, "/a/b/v=1", false, true, 99));
  ck_assert(!cs_has(&cs, "/a/b/v=1", false, true, 100));
  ck_assert(cs_has(&cs, "/a/b/v=1", false, false, 100));
  ck_assert(cs_has(&cs, "/a", true, false, 0));
  ck_assert(!cs_has(&cs, "/a", false, false, 0));
  ck_assert(!cs_has(&cs, "/a/b", true, false, 0)); /* only the prefix it was asked for with */
  cs_put(&cs, "/a/b/v=1", 0, 200);                 /* the same again: fresh once more */
  ck_assert(cs_has(&cs, "/a", true, true, 299));
  cs_put(&cs, "/a/c", wire_name("/a").len, 300); /* the newest answer to a prefix wins */
  ck_assert(cs_has(&cs, "/a", true, true, 399));
  ck_assert_uint_eq(cs.table.count, 3);
  cs_free(&cs);
}
