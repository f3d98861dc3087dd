/* SPDX-License-Identifier: MIT */
/* test_packets.c: sending and receiving, of either end. See ends.h. */
#include "ends.h"

#include <errno.h>
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

/* Sizes of up to three pieces. */
static const struct {
  size_t pieces[3];
  unsigned int n;
  int code;
} refused[] = {
    {{101}, 1, -EMSGSIZE},
    {{100, 1}, 2, -EMSGSIZE},
    {{1, 100}, 2, -EMSGSIZE},
    {{60, 60}, 2, -EMSGSIZE},
    {{34, 34, 34}, 3, -EMSGSIZE},
    {{0, 101, 0}, 3, -EMSGSIZE},
    {{SIZE_MAX}, 1, -EMSGSIZE},
    {{2, SIZE_MAX}, 2, -EMSGSIZE},
    {{SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 1}, 2, -EMSGSIZE},
    {{0}, 0, -EINVAL},
    {{0}, 1, -EINVAL},
    {{0, 0, 0}, 3, -EINVAL},
};

TEST(packet_that_no_slot_holds_is_refused_and_leaves_no_trace) {
  face_t f = face_make("sizes", 4, 100);
  unsigned char* slots = (unsigned char*) f.header + f.view.geometry.a2e_offset;
  char bytes[100];
  ndnshm_stats_t stats;

  memset(bytes, 'x', sizeof(bytes));
  for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
    struct iovec pieces[3];

    for (int k = 0; k < 3; k++) pieces[k] = (struct iovec){bytes, refused[i].pieces[k]};
    ck_assert_int_eq(ndnshm_send(f.app, pieces, refused[i].n), refused[i].code);
    if (refused[i].n == 1) ck_assert_int_eq(ndnshm_send_batch(f.app, pieces, 1), refused[i].code);
    if (refused[i].n == 1) ck_assert_int_eq(ndnshm_reserve(f.app, pieces[0].iov_len, pieces), refused[i].code);
  }
  for (uint32_t i = 0; i < 4 * f.view.geometry.stride; i++) ck_assert_uint_eq(slots[i], 0);
  assert_receives_nothing(f.engine);
  ck_assert_int_eq(ndnshm_get_stats(f.app, &stats), 0);
  ck_assert_uint_eq(stats.tx_packets, 0);
  ck_assert_int_eq(ndnshm_send(f.app, (struct iovec[]){{bytes, 40}, {bytes, 60}}, 2), 100);
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

TEST(receive_says_how_large_an_arena_the_next_packet_needs) {
  face_t f = face_make("small-arena", 8, 100);
  char arena[100];
  struct iovec v[2] = {{arena, 7}, {arena, 7}};

  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 1, v, 2), 0); /* nothing needs none */
  send_text(f.app, "two");
  send_text(f.app, "larger");
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 2, v, 2), -ENOBUFS);
  ck_assert_uint_eq(v[0].iov_len, 3);
  ck_assert_uint_eq(v[1].iov_len, 7);
  ck_assert_str_eq(ndnshm_errmsg(f.engine), "");
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 8, v, 2), 1); /* what fits is not held up by what does not */
  ck_assert_mem_eq(v[0].iov_base, "two", 3);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 0, v, 2), -ENOBUFS);
  ck_assert_uint_eq(v[0].iov_len, 6);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 6, v, 2), 1);
  ck_assert_mem_eq(v[0].iov_base, "larger", 6);
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

/* No packet, so there is nobody to release their slots but the peek itself. */
TEST(peek_gives_empty_slots_back_at_once) {
  face_t f = face_make("empty", 4, 16);
  unsigned char* slots = (unsigned char*) f.header + f.view.geometry.a2e_offset;
  struct iovec v[4];

  for (int i = 0; i < 4; i++) ck_assert_int_eq(send_text(f.app, "x"), 1);
  for (size_t i = 0; i < 4; i++) memset(slots + i * f.view.geometry.stride, 0, sizeof(uint32_t));
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 4), 0);
  ck_assert_uint_eq(f.header->a2e_head.value, 4);
  ck_assert_int_eq(send_text(f.app, "y"), 1);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 4), 1);
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
