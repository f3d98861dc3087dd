/* SPDX-License-Identifier: MIT */
/* test_bad_peers.c: peers that lie, and peers that die. See ends.h. */
#include "ends.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "ring.h"

/* --- Peers that lie -------------------------------------------------------------------------------- */

START_TEST(impossible_indices_are_eproto_for_either_end) {
  face_t f = face_make("indices", 4, 100);
  char arena[400];
  struct iovec v;

  f.header->a2e_tail.value = 5;
  ck_assert_uint_eq(ndnshm_ready(f.engine, NDNSHM_PACKETS), NDNSHM_PACKETS);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), &v, 1), -EPROTO);
  assert_errmsg(f.engine, "ring", f.shm, "tail index");
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, &v, 1), -EPROTO);
  ck_assert_uint_eq(f.header->a2e_head.value, 0);
  f.header->e2a_tail.value = UINT32_MAX;
  ck_assert_int_eq(ndnshm_recv(f.app, arena, sizeof(arena), &v, 1), -EPROTO);
  assert_errmsg(f.app, "ring", f.shm, "tail index");
  f.header->a2e_head.value = 1;
  for (int i = 0; i < 4; i++) send_text(f.app, "x");
  f.header->a2e_head.value = UINT32_C(1) << 31;
  ck_assert_int_eq(send_text(f.app, "x"), -EPROTO);
  assert_errmsg(f.app, "ring", f.shm, "head index");
  ck_assert_int_eq(ndnshm_reserve(f.app, 1, &v), -EPROTO);
  ck_assert_int_eq(ndnshm_send_batch(f.app, &(struct iovec){&f, 1}, 1), -EPROTO);
  ck_assert_uint_eq(ndnshm_ready(f.app, NDNSHM_SPACE), NDNSHM_SPACE);
  face_drop(&f);
}
END_TEST

/* A producer in the app's place that writes what it likes. */
static void lie_about_lengths(face_t* f, const uint32_t lengths[], unsigned int n) {
  const ndnshm__geometry_t* g = &f->view.geometry;
  ndnshm__region_header_t* h = f->header;
  ndnshm__tx_t tx;

  ck_assert_int_eq(ndnshm__tx_init(&tx, (unsigned char*) h + g->a2e_offset, &h->a2e_tail.value, &h->a2e_head.value, g),
                   0);
  for (unsigned int i = 0; i < n; i++) ndnshm__tx_set_length(&tx, i, lengths[i]);
  ndnshm__tx_publish(&tx, n);
}

START_TEST(packets_before_an_impossible_length_arrive_then_eproto) {
  static const uint32_t lengths[] = {3, 100, 101, 3};
  static const uint32_t huge = UINT32_MAX;
  face_t f = face_plan("lengths");
  char arena[400];
  struct iovec v[4];

  face_create(&f, 8, 100);
  lie_about_lengths(&f, lengths, 4);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 4), 2);
  ck_assert(v[0].iov_len == 3 && v[1].iov_len == 100);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 4), -EPROTO);
  assert_errmsg(f.engine, "ring", f.shm, "packet length");
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 4), -EPROTO);
  ck_assert_uint_eq(f.header->a2e_head.value, 2);
  ndnshm_free(f.engine);
  ndnshm__region_unmap(&f.view);
  ck_assert_int_eq(ndnshm_new(&f.engine), 0);
  face_create(&f, 8, 100);
  lie_about_lengths(&f, lengths, 2);
  lie_about_lengths(&f, &huge, 1);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 4), 2);
  ndnshm_release(f.engine);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 4), -EPROTO);
  face_drop(&f);
}
END_TEST

START_TEST(slots_of_length_0_are_skipped_and_freed) {
  static const uint32_t lengths[] = {0, 3, 0, 0, 2};
  face_t f = face_plan("zero");
  char arena[400];
  struct iovec v[8];
  ndnshm_stats_t stats;

  face_create(&f, 8, 100);
  lie_about_lengths(&f, lengths, 5);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 8), 2);
  ck_assert(v[0].iov_len == 3 && v[1].iov_len == 2);
  ck_assert_uint_eq(f.header->a2e_head.value, 5);
  lie_about_lengths(&f, lengths, 5);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 8), 2);
  ck_assert(v[0].iov_len == 3 && v[1].iov_len == 2);
  ndnshm_release(f.engine);
  ck_assert_uint_eq(f.header->a2e_head.value, 10);
  lie_about_lengths(&f, lengths, 1);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 8), 0);
  lie_about_lengths(&f, lengths, 1);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 8), 0);
  ck_assert_uint_eq(f.header->a2e_head.value, 12);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 8), 0);
  ck_assert_int_eq(ndnshm_get_stats(f.engine, &stats), 0);
  ck_assert(stats.rx_packets == 4 && stats.rx_bytes == 10);
  face_drop(&f);
}
END_TEST

START_TEST(a_header_rewritten_in_mid_traffic_changes_nothing) {
  face_t f = face_make("rewritten", 4, 100);
  char packet[100];

  memset(packet, 'p', sizeof(packet));
  for (uint32_t i = 0; i < 100; i++) {
    f.header->magic = i;
    f.header->capacity = i % 3 == 0 ? 0 : UINT32_MAX - i;
    f.header->slot_size = i % 5 == 0 ? 0 : UINT32_MAX - i;
    memset(f.header->reserved, (int) i, sizeof(f.header->reserved));
    ck_assert_int_eq(ndnshm_send(f.app, &(struct iovec){packet, sizeof(packet)}, 1), 100);
    ck_assert_int_eq(send_text(f.engine, "reply"), 5);
    assert_receives(f.app, "reply");
    ck_assert_uint_eq(ndnshm_get_mtu(f.engine), 100);
    ck_assert_uint_eq(ndnshm_get_capacity(f.app), 4);
    if (i % 4 != 3) continue;
    for (int n = 0; n < 4; n++) {
      char arena[100];
      struct iovec v;

      ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), &v, 1), 1);
      ck_assert_uint_eq(v.iov_len, 100);
      ck_assert_mem_eq(v.iov_base, packet, 100);
    }
  }
  face_drop(&f);
}
END_TEST

/* --- Death of the peer ------------------------------------------------------------------------------ */

/* The end of file is there, is told once and again, and says whose. */
static void assert_sees_death(ndnshm_t* ep, const char* path) {
  ck_assert_msg(readable(ndnshm_fd(ep), DEADLINE_MS), "the peer's death was not seen");
  while (ndnshm_wake(ep) >= 0) continue;
  ck_assert_int_eq(ndnshm_wake(ep), NDNSHM_EOF);
  assert_errmsg(ep, "read", path, "the peer is gone");
}

START_TEST(a_parked_app_sees_its_engine_killed) {
  face_t f = face_plan("killed");
  peer_t engine = {.face = &f};

  peer_fork(&engine, engine_body);
  peer_wait_ready(&engine);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert_uint_eq(ndnshm_park(f.app, NDNSHM_PACKETS), 0);
  ck_assert(!readable(ndnshm_fd(f.app), 0));
  peer_kill(&engine);
  assert_sees_death(f.app, f.e2a_path);
  assert_receives_nothing(f.app);
  remove_names(&f);
  face_drop(&f);
}
END_TEST

START_TEST(the_last_packets_of_a_killed_engine_are_received) {
  face_t f = face_plan("lastwords");
  peer_t engine = {.face = &f, .packets = 3};

  peer_fork(&engine, engine_body);
  peer_wait_ready(&engine);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  peer_kill(&engine);
  assert_sees_death(f.app, f.e2a_path);
  for (int i = 0; i < 3; i++) assert_receives(f.app, "last words");
  assert_receives_nothing(f.app);
  remove_names(&f);
  face_drop(&f);
}
END_TEST

START_TEST(sending_to_a_killed_engine_raises_no_signal) {
  face_t f = face_plan("nosignal");
  peer_t engine = {.face = &f, .park = true};

  peer_fork(&engine, engine_body);
  peer_wait_ready(&engine);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  peer_kill(&engine);
  signal(SIGPIPE, SIG_DFL);
  ck_assert_int_eq(send_text(f.app, "to nobody"), 9);
  remove_names(&f);
  face_drop(&f);
}
END_TEST

START_TEST(an_engine_without_an_app_yet_sees_no_end) {
  face_t f = face_plan("noapp");

  face_create(&f, 4, 100);
  ck_assert_uint_eq(ndnshm_park(f.engine, NDNSHM_PACKETS), 0);
  ck_assert(!readable(ndnshm_fd(f.engine), 0));
  ck_assert_int_eq(send_text(f.engine, "in advance"), 10);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert(!readable(ndnshm_fd(f.engine), 0));
  assert_receives(f.app, "in advance");
  face_drop(&f);
}
END_TEST

START_TEST(an_engine_sees_its_app_killed_and_serves_the_next) {
  face_t f = face_plan("nextapp");
  peer_t app = {.face = &f, .packets = 2, .park = true};

  peer_fork(&app, app_body);
  face_create(&f, 4, 100);
  peer_go(&app);
  ck_assert_int_eq(send_text(f.engine, "unread"), 6);
  peer_kill(&app);
  assert_sees_death(f.engine, f.a2e_path);
  for (int i = 0; i < 2; i++) assert_receives(f.engine, "last words");
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert_int_eq(ndnshm_wake(f.engine), 1); /* it cannot know whether the one before told of all that it sent */
  ck_assert_uint_eq(ndnshm_park(f.engine, NDNSHM_PACKETS), 0);
  ck_assert_int_eq(send_text(f.app, "next"), 4);
  ck_assert_int_eq(ndnshm_wake(f.engine), 1);
  assert_receives(f.engine, "next");
  assert_receives(f.app, "unread");
  face_drop(&f);
}
END_TEST

START_TEST(either_end_sees_the_others_shutdown) {
  face_t f = face_make("shutdown", 4, 100);

  send_text(f.app, "before");
  ndnshm_shutdown(f.app);
  assert_sees_death(f.engine, f.a2e_path);
  assert_receives(f.engine, "before");
  ndnshm_free(f.app);
  ck_assert_int_eq(ndnshm_new(&f.app), 0);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  send_text(f.engine, "after");
  ndnshm_shutdown(f.engine);
  assert_sees_death(f.app, f.e2a_path);
  assert_receives(f.app, "after");
  face_drop(&f);
}
END_TEST

static void add_lies(TCase* tcase) {
  tcase_add_test(tcase, impossible_indices_are_eproto_for_either_end);
  tcase_add_test(tcase, packets_before_an_impossible_length_arrive_then_eproto);
  tcase_add_test(tcase, slots_of_length_0_are_skipped_and_freed);
  tcase_add_test(tcase, a_header_rewritten_in_mid_traffic_changes_nothing);
}

static void add_death(TCase* tcase) {
  tcase_add_test(tcase, a_parked_app_sees_its_engine_killed);
  tcase_add_test(tcase, the_last_packets_of_a_killed_engine_are_received);
  tcase_add_test(tcase, sending_to_a_killed_engine_raises_no_signal);
  tcase_add_test(tcase, an_engine_without_an_app_yet_sees_no_end);
  tcase_add_test(tcase, an_engine_sees_its_app_killed_and_serves_the_next);
  tcase_add_test(tcase, either_end_sees_the_others_shutdown);
}

int main(void) {
  Suite* suite = suite_create("bad_peers");

  add_lies(harness_tcase(suite, "lies"));
  add_death(harness_tcase(suite, "death"));
  return harness_main(suite);
}
