/* SPDX-License-Identifier: MIT */
/* test_tables.c: the tables of the example forwarder: which route an Interest takes, who gets its Data, what the
 * content store keeps and for how long, and that of a face that is forgotten nothing is left. Knows no faces: time is
 * an argument. */
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

/* Faces. A test's process is its own, so they begin as zeros. */
static hop_t hops[10];

static int fib_put(fib_t* fib, const char* uri, hop_t* hop, uint64_t cost) {
  uint8_t name[128]; /* which the table must not hold on to */
  ndnpkt_name_t prefix;
  ck_assert_int_eq(ndnpkt_name_from_uri(uri, name, sizeof(name), &prefix), 0);
  int err = fib_add(fib, prefix, hop, cost, UINT64_MAX);
  memset(name, 0xff, sizeof(name));
  return err;
}

static int fib_get(const fib_t* fib, const char* uri, const hop_t* from) {
  hop_t* hop = fib_find(fib, wire_name(uri), from);
  return hop != NULL ? (int) (hop - hops) : -1;
}

TEST(fib_finds_the_longest_prefix) {
  fib_t fib;
  static const char* const uris[] = {"/", "/a/b", "/a/b/c/d"};
  ck_assert_int_eq(fib_init(&fib, 1), 0);
  ck_assert_int_eq(fib_get(&fib, "/a", NULL), -1);
  for (unsigned int i = 0; i < 3; i++) ck_assert_int_eq(fib_put(&fib, uris[i], &hops[i], 0), 0);
  ck_assert_int_eq(fib_get(&fib, "/a", NULL), 0);
  ck_assert_int_eq(fib_get(&fib, "/a/b", NULL), 1);
  ck_assert_int_eq(fib_get(&fib, "/a/b/c/x/y/z", NULL), 1);
  ck_assert_int_eq(fib_get(&fib, "/a/b/c/d/e", NULL), 2);
  ck_assert_int_eq(fib_get(&fib, "/b/b/c/d/e", NULL), 0);
  ck_assert_int_eq(fib_get(&fib, "/a/b/c/d/e", &hops[2]), 1); /* never back to where it came from */
  ck_assert_int_eq(fib_get(&fib, "/", &hops[0]), -1);
  fib_free(&fib);
}

TEST(fib_takes_the_cheapest_then_the_youngest_route) {
  fib_t fib;
  ck_assert_int_eq(fib_init(&fib, 1), 0);
  ck_assert_int_eq(fib_put(&fib, "/a", &hops[0], 5), 0);
  ck_assert_int_eq(fib_put(&fib, "/a", &hops[1], 5), 0);
  ck_assert_int_eq(fib_put(&fib, "/a", &hops[2], 6), 0);
  ck_assert_int_eq(fib_get(&fib, "/a/x", NULL), 1);
  ck_assert_int_eq(fib_get(&fib, "/a/x", &hops[1]), 0);
  ck_assert_int_eq(fib_put(&fib, "/a", &hops[2], 4), 0); /* the same route at a new price */
  ck_assert_int_eq(fib_get(&fib, "/a/x", NULL), 2);
  ck_assert_uint_eq(fib.table.count, 3);
  fib_remove(&fib, fib_route(&fib, wire_name("/a"), &hops[2], NULL));
  ck_assert_ptr_null(fib_route(&fib, wire_name("/a"), &hops[2], NULL));
  fib_remove(&fib, NULL);
  ck_assert_int_eq(fib_get(&fib, "/a/x", NULL), 1);
  fib_remove(&fib, fib_route(&fib, wire_name("/a"), &hops[1], NULL));
  ck_assert_ptr_null(fib_route(&fib, wire_name("/a"), NULL, &hops[0])); /* no other leads there */
  ck_assert_ptr_eq(fib_route(&fib, wire_name("/a"), NULL, &hops[1])->hop, &hops[0]);
  fib_free(&fib);
}

TEST(fib_gives_a_face_no_more_than_its_part) {
  fib_t fib;
  char uri[96] = "";
  ck_assert_int_eq(fib_init(&fib, 1), 0);
  for (unsigned int i = 0; i < HOP_ROUTES_MAX; i++) {
    snprintf(uri, sizeof(uri), "/a/%u", i);
    ck_assert_int_eq(fib_put(&fib, uri, &hops[0], 0), 0);
  }
  ck_assert_int_eq(fib_put(&fib, "/more", &hops[0], 0), -ENOSPC);
  ck_assert_int_eq(fib_put(&fib, "/more", &hops[1], 0), 0);
  ck_assert_int_eq(fib_put(&fib, uri, &hops[0], 9), 0); /* one that is there */
  ck_assert_int_eq(fib_get(&fib, "/a/7/x", NULL), 0);
  while (hops[0].routes != NULL) fib_remove(&fib, hops[0].routes);
  ck_assert_uint_eq(hops[0].nroutes, 0);
  ck_assert_uint_eq(fib.table.count, 1);
  ck_assert_int_eq(fib_get(&fib, "/a/7/x", NULL), -1);
  uri[0] = '\0';
  for (unsigned int i = 0; i <= FIB_DEPTH_MAX; i++) strcat(uri, "/a");
  ck_assert_int_eq(fib_put(&fib, uri + 2, &hops[0], 0), 0);
  ck_assert_int_eq(fib_put(&fib, uri, &hops[0], 0), -EINVAL);
  fib_free(&fib);
}

static pit_result_t pit_ask_to(pit_t* pit, const char* uri, unsigned int from, unsigned int to, uint32_t nonce,
                               uint64_t now_ms) {
  ndnpkt_interest_t interest = {.name = wire_name(uri), .has_nonce = true, .nonce = nonce, .lifetime_ms = 1000};
  return pit_add(pit, &interest, (ndnpkt_bytes_t){NULL, 0}, &hops[from], &hops[to], now_ms);
}

static pit_result_t pit_ask(pit_t* pit, const char* uri, unsigned int from, uint32_t nonce, uint64_t now_ms) {
  return pit_ask_to(pit, uri, from, 9, nonce, now_ms);
}

/* The faces of a match, as bits, which is given back. */
static uint64_t faces_of(pit_t* pit, pit_match_t match) {
  uint64_t faces = 0;
  for (const pit_in_t* in = match.ins; in != NULL; in = in->next) faces |= (uint64_t) 1 << (in->hop - hops);
  pit_release(pit, &match);
  return faces;
}

static uint64_t pit_answer(pit_t* pit, const char* uri, unsigned int from, uint64_t now_ms) {
  return faces_of(pit, pit_satisfy(pit, wire_name(uri), &hops[from], now_ms));
}

static pit_t* pit_new(size_t max_ins, uint64_t now_ms) {
  pit_t* pit = malloc(sizeof(*pit));
  ck_assert_int_eq(pit_init(pit, 1, max_ins, now_ms), 0);
  return pit;
}

/* Nothing may be pending, for no face. */
static void pit_end(pit_t* pit) {
  ck_assert_uint_eq(pit->table.count, 0);
  ck_assert_uint_eq(pit->nins, 0);
  ck_assert_uint_eq(pit->can_be_prefix, 0);
  for (unsigned int i = 0; i < 10; i++) {
    ck_assert_uint_eq(hops[i].nins, 0);
    ck_assert_ptr_null(hops[i].ins);
    ck_assert_ptr_null(hops[i].asked);
  }
  pit_free(pit);
  free(pit);
}

TEST(pit_forwards_once_and_answers_all) {
  pit_t* pit = pit_new(100, 5000);
  ck_assert_int_eq(pit_ask(pit, "/a", 0, 10, 5000), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/a", 1, 11, 5000), PIT_AGGREGATE);
  ck_assert_int_eq(pit_ask(pit, "/a", 2, 10, 5000), PIT_LOOP);
  ck_assert_int_eq(pit_ask(pit, "/a", 0, 10, 5000), PIT_LOOP);
  ck_assert_int_eq(pit_ask(pit, "/a", 0, 12, 5000), PIT_FORWARD);
  ck_assert_uint_eq(pit_answer(pit, "/a", 8, 5000), 0); /* nobody asked face 8 */
  ck_assert_uint_eq(pit_answer(pit, "/a/x", 9, 5000), 0);
  ck_assert_uint_eq(pit_answer(pit, "/a", 9, 5000), 3);
  ck_assert_uint_eq(pit_answer(pit, "/a", 9, 5000), 0);
  pit_end(pit);
}

TEST(pit_takes_no_missing_nonce_for_a_loop) {
  pit_t* pit = pit_new(100, 0);
  ndnpkt_interest_t interest = {.name = wire_name("/a"), .lifetime_ms = 1000};
  ck_assert_int_eq(pit_add(pit, &interest, (ndnpkt_bytes_t){NULL, 0}, &hops[0], &hops[9], 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/a", 1, 0, 0), PIT_AGGREGATE);
  ck_assert_int_eq(pit_add(pit, &interest, (ndnpkt_bytes_t){NULL, 0}, &hops[0], &hops[9], 0), PIT_FORWARD);
  ck_assert_uint_eq(pit_answer(pit, "/a", 9, 0), 3);
  pit_end(pit);
}

TEST(pit_gives_a_face_no_more_than_its_part) {
  pit_t* pit = pit_new(2 * HOP_PART, 0);
  ck_assert_int_eq(pit_ask(pit, "/a", 0, 1, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/b", 0, 2, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/c", 0, 3, 0), PIT_FULL);
  ck_assert_int_eq(pit_ask(pit, "/b", 0, 4, 0), PIT_FORWARD); /* it waits for that already */
  for (unsigned int i = 1; i < HOP_PART; i++) {
    ck_assert_int_eq(pit_ask(pit, "/a", i, 10 + i, 0), PIT_AGGREGATE);
    ck_assert_int_eq(pit_ask(pit, "/b", i, 20 + i, 0), PIT_AGGREGATE);
  }
  ck_assert_int_eq(pit_ask(pit, "/b", 8, 5, 0), PIT_FULL); /* the whole table is */
  ck_assert_uint_eq(pit_answer(pit, "/a", 9, 0), (1 << HOP_PART) - 1);
  ck_assert_int_eq(pit_ask(pit, "/c", 0, 6, 0), PIT_FORWARD);
  pit_forget(pit, &hops[9]);
  pit_end(pit);
}

TEST(pit_forgets_a_face_that_waited) {
  pit_t* pit = pit_new(100, 0);
  ck_assert_int_eq(pit_ask(pit, "/a", 0, 1, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/b", 0, 2, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/b", 1, 3, 0), PIT_AGGREGATE);
  ck_assert_int_eq(pit_ask(pit, "/c", 2, 4, 0), PIT_FORWARD);
  pit_forget(pit, &hops[0]);
  ck_assert_int_eq(pit_ask(pit, "/a", 1, 5, 0), PIT_FORWARD); /* nobody was left who waited for it */
  ck_assert_uint_eq(pit_answer(pit, "/a", 9, 0), 2);
  ck_assert_uint_eq(pit_answer(pit, "/b", 9, 0), 2);
  ck_assert_uint_eq(pit_answer(pit, "/c", 9, 0), 4);
  pit_end(pit);
}

TEST(pit_forgets_what_a_face_was_asked_for) {
  pit_t* pit = pit_new(100, 0);
  ck_assert_int_eq(pit_ask(pit, "/a", 0, 1, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask_to(pit, "/b", 0, 8, 2, 0), PIT_FORWARD);
  pit_forget(pit, &hops[9]);
  ck_assert_int_eq(pit_ask_to(pit, "/a", 1, 8, 3, 0), PIT_FORWARD); /* its successor is asked anew */
  ck_assert_uint_eq(pit_answer(pit, "/a", 9, 0), 0);
  ck_assert_uint_eq(pit_answer(pit, "/a", 8, 0), 2);
  ck_assert_uint_eq(pit_answer(pit, "/b", 8, 0), 1);
  pit_end(pit);
}

TEST(pit_follows_a_route_that_changed) {
  pit_t* pit = pit_new(100, 0);
  ck_assert_int_eq(pit_ask_to(pit, "/a", 0, 8, 1, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask_to(pit, "/a", 0, 9, 2, 0), PIT_FORWARD);
  ck_assert_uint_eq(pit_answer(pit, "/a", 8, 0), 0);
  ck_assert_uint_eq(pit_answer(pit, "/a", 9, 0), 1);
  ck_assert_int_eq(pit_ask_to(pit, "/b", 0, 8, 3, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask_to(pit, "/b", 8, 9, 4, 0), PIT_FORWARD); /* who was asked asks: it cannot answer itself */
  ck_assert_uint_eq(pit_answer(pit, "/b", 9, 0), 1 | 1 << 8);
  pit_end(pit);
}

TEST(pit_keeps_tokens) {
  pit_t* pit = pit_new(100, 0);
  ndnpkt_interest_t interest = {.name = wire_name("/a"), .lifetime_ms = 1000};
  uint8_t token[NDNPKT_PIT_TOKEN_MAX];
  memset(token, 7, sizeof(token));
  ck_assert_int_eq(pit_add(pit, &interest, (ndnpkt_bytes_t){token, sizeof(token)}, &hops[0], &hops[9], 0), PIT_FORWARD);
  memset(token, 8, sizeof(token));
  ck_assert_int_eq(pit_ask(pit, "/a", 1, 0, 0), PIT_AGGREGATE);
  pit_match_t match = pit_satisfy(pit, interest.name, &hops[9], 0);
  for (pit_in_t* in = match.ins; in != NULL; in = in->next) {
    ck_assert_uint_eq(in->token_bytes, in->hop == &hops[0] ? sizeof(token) : 0);
    for (size_t i = 0; i < in->token_bytes; i++) ck_assert_uint_eq(in->token[i], 7);
  }
  ck_assert_uint_eq(faces_of(pit, match), 3);
  pit_end(pit);
}

TEST(pit_refuses_the_very_interest_from_the_face_that_was_asked) {
  pit_t* pit = pit_new(100, 0);
  ndnpkt_interest_t interest = {.name = wire_name("/a"), .lifetime_ms = 1000};
  ck_assert_int_eq(pit_ask(pit, "/a", 0, 1, 0), PIT_FORWARD);
  ck_assert(!pit_refuse(pit, &interest, &hops[8], 0).found);
  interest.can_be_prefix = true;
  ck_assert(!pit_refuse(pit, &interest, &hops[9], 0).found);
  interest.can_be_prefix = false;
  ck_assert_uint_eq(faces_of(pit, pit_refuse(pit, &interest, &hops[9], 0)), 1);
  pit_end(pit);
}

TEST(pit_matches_prefixes) {
  pit_t* pit = pit_new(100, 0);
  ndnpkt_interest_t interest = {.name = wire_name("/a/b"), .can_be_prefix = true, .lifetime_ms = 1000};
  ck_assert_int_eq(pit_add(pit, &interest, (ndnpkt_bytes_t){NULL, 0}, &hops[3], &hops[9], 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/a/b/c", 4, 1, 0), PIT_FORWARD);
  ck_assert_int_eq(pit_ask(pit, "/a/b", 5, 1, 0), PIT_FORWARD); /* another entry: not a prefix */
  pit_match_t match = pit_satisfy(pit, wire_name("/a/b/c"), &hops[9], 0);
  ck_assert_uint_eq(match.prefix_size, wire_name("/a/b").len);
  ck_assert_uint_eq(faces_of(pit, match), 1 << 3 | 1 << 4);
  ck_assert_uint_eq(pit_answer(pit, "/a/b", 9, 0), 1 << 5);
  pit_end(pit);
}

TEST(pit_entries_end_with_their_lifetime) {
  pit_t* pit = pit_new(5000 * HOP_PART, 0);
  for (uint32_t i = 0; i < 3000; i++) {
    char uri[32];
    snprintf(uri, sizeof(uri), "/a/seg=%u", i);
    ck_assert_int_eq(pit_ask(pit, uri, 0, i, i), PIT_FORWARD); /* ends at 1000 + i */
  }
  pit_sweep(pit, 1499);
  ck_assert_uint_le(pit->expired, 500);
  ck_assert_uint_ge(pit->expired, 500 - WHEEL_TICK_MS);
  ck_assert_uint_eq(pit_answer(pit, "/a/seg=1000", 9, 1999), 1);
  ck_assert_uint_eq(pit_answer(pit, "/a/seg=1001", 9, 2001), 0); /* just too late */
  ndnpkt_interest_t lasting = {.name = wire_name("/long"), .lifetime_ms = 50000};
  ck_assert_int_eq(pit_add(pit, &lasting, (ndnpkt_bytes_t){NULL, 0}, &hops[0], &hops[9], 2001), PIT_FORWARD);
  pit_sweep(pit, 30000); /* a long sleep: more than once round the wheel */
  ck_assert_uint_eq(pit->table.count, 1);
  pit_sweep(pit, 60000);
  pit_end(pit);
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
