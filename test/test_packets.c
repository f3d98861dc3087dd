/* SPDX-License-Identifier: MIT */
/* test_packets.c: sending and receiving, of either end. See ends.h. */
#include "ends.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BURST 256

/* --- Sending and receiving ------------------------------------------------------------------------- */

TEST(pieces_are_gathered_into_one_packet) {
  face_t f = face_make("gather", 4, 10);
  struct iovec pieces[] = {
      {(void*) (uintptr_t) "ab", 2},
      {NULL, 0},
      {(void*) (uintptr_t) "cdefg", 5},
      {(void*) (uintptr_t) "hij", 3},
  };

  ck_assert_int_eq(ndnshm_send(f.app, pieces, 4), 10);
  assert_receives(f.engine, "abcdefghij");
  face_drop(&f);
}

TEST(packets_of_no_byte_or_more_than_the_mtu_are_refused) {
  face_t f = face_make("sizes", 4, 10);
  struct iovec v[] = {{&f, 4}, {&f, 11}, {&f, 0}, {&f, 7}, {&f, SIZE_MAX - 3}};
  struct iovec slot;

  ck_assert_int_eq(ndnshm_send(f.app, v, 0), -EINVAL);
  ck_assert_int_eq(ndnshm_send(f.app, NULL, 1), -EINVAL);
  ck_assert_int_eq(ndnshm_send(f.app, &v[2], 1), -EINVAL);
  ck_assert_int_eq(ndnshm_send(f.app, &v[1], 1), -EMSGSIZE);
  ck_assert_int_eq(ndnshm_send(f.app, &v[4], 1), -EMSGSIZE);
  ck_assert_int_eq(ndnshm_send(f.app, &v[3], 2), -EMSGSIZE); /* the sum overflows to 3 */
  ck_assert_int_eq(ndnshm_send_batch(f.app, v, 0), -EINVAL);
  ck_assert_int_eq(ndnshm_send_batch(f.app, NULL, 1), -EINVAL);
  ck_assert_int_eq(ndnshm_send_batch(f.app, v, 2), -EMSGSIZE);
  v[1].iov_len = 10;
  ck_assert_int_eq(ndnshm_send_batch(f.app, v, 3), -EINVAL);
  ck_assert_int_eq(ndnshm_reserve(f.app, 0, &slot), -EINVAL);
  ck_assert_int_eq(ndnshm_reserve(f.app, 1, NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_reserve(f.app, 11, &slot), -EMSGSIZE);
  assert_receives_nothing(f.engine);
  ck_assert_int_eq(ndnshm_send(f.app, &v[1], 1), 10);
  face_drop(&f);
}

TEST(full_ring_refuses_and_counts) {
  face_t f = face_make("full", 4, 100);
  struct iovec slot;
  ndnshm_stats_t stats;

  for (int i = 0; i < 4; i++) ck_assert_int_eq(send_text(f.app, "x"), 1);
  ck_assert_int_eq(send_text(f.app, "x"), -EAGAIN);
  ck_assert_int_eq(ndnshm_send_batch(f.app, &(struct iovec){&f, 1}, 1), -EAGAIN);
  ck_assert_int_eq(ndnshm_reserve(f.app, 1, &slot), -EAGAIN);
  ck_assert_int_eq(ndnshm_get_stats(f.app, &stats), 0);
  ck_assert_uint_eq(stats.tx_full, 3);
  ck_assert_uint_eq(stats.tx_packets, 4);
  assert_receives(f.engine, "x");
  ck_assert_int_eq(send_text(f.app, "x"), 1);
  face_drop(&f);
}

TEST(batch_takes_as_many_as_find_room_in_one_publication) {
  face_t f = face_make("batch", 8, 100);
  struct iovec v[10];
  ndnshm_stats_t stats;

  for (int i = 0; i < 10; i++) v[i] = (struct iovec){(void*) (uintptr_t) & "0123456789"[i], 1};
  ck_assert_uint_eq(ndnshm_park(f.engine, NDNSHM_PACKETS), 0);
  ck_assert_int_eq(ndnshm_send_batch(f.app, v, 5), 5);
  ck_assert_int_eq(ndnshm_send_batch(f.app, &v[5], 5), 3);
  ck_assert_int_eq(ndnshm_send_batch(f.app, &v[8], 2), -EAGAIN);
  ck_assert_int_eq(ndnshm_get_stats(f.app, &stats), 0);
  ck_assert_uint_eq(stats.wakeups_sent, 1);
  for (int i = 0; i < 8; i++) assert_receives(f.engine, (char[2]){(char) ('0' + i), '\0'});
  assert_receives_nothing(f.engine);
  face_drop(&f);
}

TEST(reserved_slot_is_sent_when_committed) {
  face_t f = face_make("reserve", 4, 100);
  struct iovec slot, second;

  ck_assert_int_eq(ndnshm_commit(f.app, 1), -EINVAL);
  ck_assert_int_eq(ndnshm_reserve(f.app, 10, &slot), 0);
  ck_assert_uint_eq(slot.iov_len, 10);
  memcpy(slot.iov_base, "in place!!", 10);
  assert_receives_nothing(f.engine);
  ck_assert_int_eq(ndnshm_reserve(f.app, 1, &second), -EALREADY);
  ck_assert_int_eq(send_text(f.app, "must not overtake"), -EAGAIN);
  ck_assert_int_eq(ndnshm_send_batch(f.app, &(struct iovec){&f, 1}, 1), -EAGAIN);
  ck_assert_uint_eq(ndnshm_ready(f.app, NDNSHM_SPACE), 0);
  ck_assert_int_eq(ndnshm_commit(f.app, 11), -EMSGSIZE);
  ck_assert_int_eq(ndnshm_commit(f.app, 8), 0);
  ck_assert_int_eq(ndnshm_commit(f.app, 8), -EINVAL);
  assert_receives(f.engine, "in place");
  face_drop(&f);
}

TEST(reservation_can_be_given_back_unsent) {
  face_t f = face_make("giveback", 1, 100);
  struct iovec slot;

  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(ndnshm_reserve(f.app, 100, &slot), 0);
    memset(slot.iov_base, 'x', 100);
    ck_assert_int_eq(ndnshm_commit(f.app, 0), 0);
  }
  assert_receives_nothing(f.engine);
  ck_assert_int_eq(send_text(f.app, "y"), 1);
  assert_receives(f.engine, "y");
  face_drop(&f);
}

TEST(receive_fills_the_arena_with_whole_aligned_packets) {
  face_t f = face_make("arena", 8, 100);
  char packet[60];
  _Alignas(8) char arena[132];
  struct iovec v[8];

  for (int i = 0; i < 5; i++) {
    memset(packet, 'a' + i, sizeof(packet));
    ck_assert_int_eq(ndnshm_send(f.app, &(struct iovec){packet, sizeof(packet)}, 1), 60);
  }
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 99, v, 8), -ENOBUFS);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 130, v, 8), 2);
  for (int i = 0; i < 2; i++) {
    ck_assert_ptr_eq(v[i].iov_base, arena + 64 * i);
    ck_assert_uint_eq(v[i].iov_len, 60);
    memset(packet, 'a' + i, sizeof(packet));
    ck_assert_mem_eq(v[i].iov_base, packet, 60);
  }
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 124, v, 8), 2); /* to the last byte */
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 100, v, 8), 1);
  ck_assert_int_eq(((char*) v[0].iov_base)[59], 'e');
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 100, v, 8), 0);
  face_drop(&f);
}

TEST(receive_takes_no_more_than_asked_nor_than_64) {
  face_t f = face_make("max", 128, 16);
  char arena[128 * 16];
  struct iovec v[128];

  for (int i = 0; i < 100; i++) ck_assert_int_eq(send_text(f.app, "x"), 1);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 0), 0);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 2), 2);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 3), 3);
  ndnshm_release(f.engine);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 128), 64);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 128), 31);
  ndnshm_release(f.engine);
  ck_assert_uint_eq(f.header->a2e_head.value, 100);
  ck_assert_int_eq(ndnshm_recv(f.engine, NULL, 9999, v, 1), -EINVAL);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), NULL, 1), -EINVAL);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, NULL, 1), -EINVAL);
  face_drop(&f);
}

TEST(peeked_packets_are_the_slots_until_released) {
  face_t f = face_make("peek", 2, 16);
  struct iovec v[2], other;

  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 2), 0);
  send_text(f.app, "one");
  send_text(f.app, "two");
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 2), 2);
  ck_assert_mem_eq(v[0].iov_base, "one", 3);
  ck_assert_mem_eq(v[1].iov_base, "two", 3);
  ck_assert_int_eq((const char*) v[1].iov_base - (const char*) v[0].iov_base, 20);
  memcpy((char*) (f.header + 1) + 4, "ONE", 3); /* the peer may still write: these are no copies */
  ck_assert_mem_eq(v[0].iov_base, "ONE", 3);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, &other, 1), -EALREADY);
  ck_assert_int_eq(send_text(f.app, "no room yet"), -EAGAIN);
  ndnshm_release(f.engine);
  ndnshm_release(f.engine);
  ck_assert_uint_eq(f.header->a2e_head.value, 2);
  ck_assert_int_eq(send_text(f.app, "room"), 4);
  assert_receives(f.engine, "room");
  face_drop(&f);
}

TEST(peek_stops_at_its_bytes_but_hands_out_one_packet_always) {
  static const size_t limits[] = {0, 1, 9, 10, 19, 20, 29, 30, SIZE_MAX};
  static const int expected[] = {1, 1, 1, 1, 1, 2, 2, 3, 4};
  face_t f = face_make("bytes", 32, 16);
  struct iovec v[4];
  ndnshm_stats_t stats;
  uint64_t packets = 0;

  for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
    while (send_text(f.app, "ten bytes.") > 0) continue;
    ck_assert_int_eq(ndnshm_peek(f.engine, limits[i], v, 4), expected[i]);
    packets += (uint64_t) expected[i];
    ndnshm_release(f.engine);
    ck_assert_uint_eq(f.header->a2e_head.value, packets);
  }
  ck_assert_int_eq(ndnshm_get_stats(f.engine, &stats), 0);
  ck_assert(stats.rx_packets == packets && stats.rx_bytes == 10 * packets);
  face_drop(&f);
}

TEST(receive_during_a_peek_hands_out_nothing_twice) {
  face_t f = face_make("peekrecv", 4, 16);
  char arena[64];
  struct iovec v[4];
  uint32_t head;
  int err;

  send_text(f.app, "one");
  send_text(f.app, "two");
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 1), 1);
  err = ndnshm_recv(f.engine, arena, sizeof(arena), v, 4);
  ndnshm_release(f.engine);
  head = f.header->a2e_head.value;
  face_drop(&f);
  ck_assert_int_eq(err, -EALREADY);
  ck_assert_uint_eq(head, 1);
}

TEST(peeked_packets_stay_readable_after_shutdown) {
  face_t f = face_make("views", 4, 16);
  struct iovec packet;

  send_text(f.app, "still here");
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, &packet, 1), 1);
  ndnshm_shutdown(f.app);
  ndnshm_shutdown(f.engine);
  ck_assert_int_eq(names_there(&f), 0);
  ck_assert_mem_eq(packet.iov_base, "still here", 10);
  ndnshm_release(f.engine);
  face_drop(&f);
}

/* Lengths vary and a packet's bytes are its number's, so a packet out of place shows. */
static struct iovec numbered_packet(unsigned char* bytes, uint64_t number, size_t mtu) {
  struct iovec packet = {bytes, 1 + (size_t) (number % mtu)};

  memset(bytes, (int) (number % 251), packet.iov_len);
  return packet;
}

static bool is_numbered(const struct iovec* packet, uint64_t number, size_t mtu) {
  const unsigned char* bytes = packet->iov_base;

  for (size_t i = 0; i < packet->iov_len; i++)
    if (bytes[i] != number % 251) return false;
  return packet->iov_len == 1 + (size_t) (number % mtu);
}

typedef struct traffic_s {
  ndnshm_t *from, *to;
  uint64_t sent, taken;
  unsigned int random;
} traffic_t;

static unsigned int traffic_random(traffic_t* t, unsigned int below) {
  t->random = t->random * 1664525u + 1013904223u;
  return (t->random >> 8) % below;
}

static void traffic_send(traffic_t* t) {
  unsigned char bytes[BURST][200];
  size_t mtu = ndnshm_get_mtu(t->from);
  struct iovec v[BURST];
  unsigned int n = 1 + traffic_random(t, 12);
  uint64_t used = t->sent - t->taken;
  uint32_t capacity = ndnshm_get_capacity(t->from);
  int got;

  for (unsigned int i = 0; i < n; i++) v[i] = numbered_packet(bytes[i], t->sent + i, mtu);
  got = n == 1 ? ndnshm_send(t->from, v, 1) : ndnshm_send_batch(t->from, v, n);
  if (n == 1 && got > 0) got = got == (int) v[0].iov_len ? 1 : -1;
  HOLDS(used == capacity ? got == -EAGAIN : got == (int) (capacity - used < n ? capacity - used : n));
  if (got > 0) t->sent += (unsigned int) got;
}

static void traffic_reserve(traffic_t* t) {
  unsigned char bytes[200];
  struct iovec packet = numbered_packet(bytes, t->sent, ndnshm_get_mtu(t->from));
  struct iovec slot;

  if (ndnshm_reserve(t->from, packet.iov_len, &slot) < 0) {
    HOLDS(t->sent - t->taken == ndnshm_get_capacity(t->from));
    return;
  }
  memcpy(slot.iov_base, bytes, packet.iov_len);
  if (traffic_random(t, 3) == 0) {
    HOLDS(ndnshm_commit(t->from, 0) == 0);
    return;
  }
  HOLDS(ndnshm_commit(t->from, packet.iov_len) == 0);
  t->sent++;
}

static void traffic_take(traffic_t* t) {
  unsigned char arena[2000];
  struct iovec v[BURST];
  bool peek = traffic_random(t, 2) == 0;
  unsigned int max = 1 + traffic_random(t, 20);
  size_t arena_bytes = 200 + traffic_random(t, sizeof(arena) - 200);
  int n = peek ? ndnshm_peek(t->to, SIZE_MAX, v, max) : ndnshm_recv(t->to, arena, arena_bytes, v, max);

  HOLDS(n >= 0 && n <= (int) max && (n > 0 || t->sent == t->taken));
  if (peek) traffic_send(t); /* must not touch what is peeked */
  for (int i = 0; i < n; i++) HOLDS(is_numbered(&v[i], t->taken + (unsigned int) i, ndnshm_get_mtu(t->to)));
  if (peek) ndnshm_release(t->to);
  t->taken += (unsigned int) n;
}

TEST(random_operations_match_a_queue) {
  static void (*const operations[])(traffic_t * t) = {
      traffic_send,
      traffic_reserve,
      traffic_take,
      traffic_take,
  };
  const unsigned int rounds = 100000 / harness_slow();
  face_t f = face_make("random", 8, 200);
  traffic_t ways[2] = {{.from = f.app, .to = f.engine, .random = (unsigned int) harness_now_ns()},
                       {.from = f.engine, .to = f.app, .random = 7}};
  ndnshm_stats_t stats;

  fprintf(stderr, "# seed %u\n", ways[0].random);
  for (unsigned int i = 0; i < rounds; i++) operations[traffic_random(&ways[i % 2], 4)](&ways[i % 2]);
  ck_assert_uint_gt(ways[0].taken, rounds / 10);
  ck_assert_int_eq(ndnshm_get_stats(f.app, &stats), 0);
  ck_assert_uint_eq(stats.tx_packets, ways[0].sent);
  ck_assert_uint_eq(stats.rx_packets, ways[1].taken);
  ck_assert_uint_eq(f.header->a2e_tail.value, (uint32_t) ways[0].sent);
  ck_assert_uint_eq(f.header->a2e_head.value, (uint32_t) ways[0].taken);
  face_drop(&f);
}
