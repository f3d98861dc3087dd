/* SPDX-License-Identifier: MIT */
/* test_uvface_loop.c: how the adapter behaves in a loop: turns and budgets, parking and waking, full
 * rings, deadlines, options, statistics. Both ends of each face are on one loop, or in two threads. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ndnshm.h>

#include "faces.h"

/* --- Turns ------------------------------------------------------------------------------------ */

static ssize_t received, largest_call;
static size_t received_bytes;
static int got_packet;

static void count_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  ck_assert_int_gt(npkts, 0);
  received += npkts;
  if (npkts > largest_call) largest_call = npkts;
  for (ssize_t p = 0; p < npkts; p++) received_bytes += pkts[p].len;
  got_packet = 1;
}

static void reset_counts(void) {
  received = largest_call = 0;
  received_bytes = 0;
  got_packet = 0;
}

TEST(turn_takes_at_most_64_packets) {
  pair_t pair;

  pair_open(&pair, NULL);
  reset_counts();
  ck_assert_int_eq(fill_ring(&pair.app), 256);
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  for (int turn = 1; turn <= 4; turn++) {
    uv_run(&pair.loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(received, 64 * turn);
  }
  ck_assert_int_eq(largest_call, 64);
  pair_close(&pair);
}

TEST_LOOP(turn_takes_at_most_256_KiB, 2) {
  static char large[60000];
  pair_t pair;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_buf_t buf = uv_buf_init(large, sizeof(large));

  options.slot_size = sizeof(large);
  options.flags = _i == 0 ? 0 : UVFACE_RECV_BORROW;
  pair_open(&pair, &options);
  reset_counts();
  while (uvface_try_send(&pair.app, &buf, 1) > 0) continue;
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  for (int turn = 1; turn <= 3; turn++) {
    uv_run(&pair.loop, UV_RUN_NOWAIT);
    ck_assert_uint_le(received_bytes, (size_t) turn * (256 * 1024 + sizeof(large)));
    ck_assert_int_ge(received, turn * 4);
  }
  pair_close(&pair);
}

TEST_LOOP(every_run_mode_delivers, 2) {
  pair_t pair;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  pair_open(&pair, NULL);
  reset_counts();
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  run_until_parked(&pair.loop, &pair.engine);
  ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), 1);
  for (int turns = 0; turns < 3 && received == 0; turns++) uv_run(&pair.loop, _i == 0 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
  ck_assert_int_eq(received, 1);
  pair_close(&pair);
}

static void send_from_timer(uv_timer_t* timer) {
  char byte = 't';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  ck_assert_int_eq(uvface_try_send(timer->data, &buf, 1), 1);
}

TEST(packet_sent_in_timer_wakes_parked_face) {
  pair_t pair;
  uv_timer_t timer;

  pair_open(&pair, NULL);
  reset_counts();
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  run_until_parked(&pair.loop, &pair.engine);
  uv_timer_init(&pair.loop, &timer);
  timer.data = &pair.app;
  uv_timer_start(&timer, send_from_timer, 1, 0);
  RUN_UNTIL(&pair.loop, got_packet);
  ck_assert_uint_ge(stats_of(&pair.engine).wakeups_received, 1);
  ck_assert_uint_eq(stats_of(&pair.app).wakeups_sent, stats_of(&pair.engine).wakeups_received);
  timer.data = NULL;
  uv_close((uv_handle_t*) &timer, NULL);
  pair_close(&pair);
}

TEST(stopped_face_leaves_packets_and_is_not_woken) {
  pair_t pair;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  pair_open(&pair, NULL);
  reset_counts();
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  run_until_parked(&pair.loop, &pair.engine);
  ASSERT_OK(uvface_recv_stop(&pair.engine));
  for (int i = 0; i < 10; i++) ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), 1);
  run_for(&pair.loop, 10);
  ck_assert_int_eq(received, 0);
  ck_assert_uint_eq(stats_of(&pair.app).wakeups_sent, 0);
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  RUN_UNTIL(&pair.loop, got_packet);
  ck_assert_int_eq(received, 10);
  pair_close(&pair);
}

TEST(idle_faces_cost_no_cpu) {
  pair_t pair;

  pair_open(&pair, NULL);
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  ASSERT_OK(uvface_recv_start(&pair.app, count_packets));
  run_until_parked(&pair.loop, &pair.engine);
  run_until_parked(&pair.loop, &pair.app);
  run_asleep(&pair.loop, 1000);
  pair_close(&pair);
}

/* --- Time of our own ----------------------------------------------------------------------------- */

static uint64_t own_ns; /* 0 = the clock's */

/* In front of libuv's, so that no other process can make time pass. A look at the clock takes a while, too. */
uint64_t uv_hrtime(void) {
  if (own_ns == 0) return harness_now_ns();
  own_ns += 100;
  return own_ns;
}

/* In front of the harness's: nobody takes the CPU from a thread that has time of its own. */
int getrusage(__rusage_who_t who, struct rusage* usage) {
  int err = (int) syscall(SYS_getrusage, who, usage);

  usage->ru_nvcsw = 0;
  if (own_ns != 0) usage->ru_nivcsw = 0;
  return err;
}

/* Turns the loop for so long; the pair's engine gets a packet each 10 us, the other one's now and then. */
static void keep_one_busy(pair_t* busy, uvface_t* seldom_app, uint64_t ms, uint64_t seldom_ns) {
  uint64_t end_ns = own_ns + ms * 1000000, next_ns = own_ns;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  for (; own_ns < end_ns; own_ns += 10000) {
    uvface_try_send(&busy->app, &buf, 1);
    if (own_ns >= next_ns) {
      uvface_try_send(seldom_app, &buf, 1);
      next_ns = own_ns + seldom_ns;
    }
    uv_run(&busy->loop, UV_RUN_NOWAIT);
  }
}

TEST(face_beside_a_busy_one_is_not_put_to_sleep_between_packets) {
  pair_t busy;
  uvface_t engine, app;
  uvface_stats_t before, after;
  const char* name = harness_name("beside");

  pair_open(&busy, NULL);
  ASSERT_OK(uvface_init(&busy.loop, &engine));
  ASSERT_OK(uvface_init(&busy.loop, &app));
  ASSERT_OK(uvface_create(&engine, name, NULL));
  ASSERT_OK(uvface_connect(&app, name, NULL));
  ASSERT_OK(uvface_recv_start(&busy.engine, count_packets));
  own_ns = harness_now_ns();
  ASSERT_OK(uvface_recv_start(&engine, count_packets));
  keep_one_busy(&busy, &app, 10, 300000);
  before = stats_of(&engine);
  keep_one_busy(&busy, &app, 100, 300000); /* 300 us is beyond any window */
  after = stats_of(&engine);
  ck_assert_uint_ge(after.rx_packets - before.rx_packets, 10);
  ck_assert_uint_le((after.parks - before.parks) * 4, after.rx_packets - before.rx_packets);
  before = after;
  keep_one_busy(&busy, &app, 100, 1000000000); /* but it is when nothing comes for long */
  ck_assert_uint_ge(stats_of(&engine).parks - before.parks, 1);
  own_ns = 0;
  uvface_close(&engine, NULL);
  uvface_close(&app, NULL);
  pair_close(&busy);
}

TEST(closing_a_hot_face_leaves_the_loop_asleep) {
  pair_t pair;
  uvface_t other;

  pair_open(&pair, NULL);
  ASSERT_OK(uvface_init(&pair.loop, &other));
  ASSERT_OK(uvface_create(&other, harness_name("other"), NULL));
  ASSERT_OK(uvface_recv_start(&other, count_packets)); /* hot from now on ... */
  close_face(&other);                                  /* ... and gone */
  run_asleep(&pair.loop, 500);
  pair_close(&pair);
}

/* --- Full rings ------------------------------------------------------------------------------- */

static int send_status;
static int send_done;

static void note_status(uvface_send_t* req, int status) {
  (void) req;
  send_status = status;
  send_done = 1;
}

TEST(full_ring_costs_no_cpu_and_times_out) {
  pair_t pair;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_send_t req;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uint64_t start_ns;
  int timeout_ms = 600 * (int) harness_slow();

  options.send_timeout_ms = timeout_ms;
  pair_open(&pair, &options);
  fill_ring(&pair.app);
  start_ns = harness_now_ns();
  send_done = 0;
  ASSERT_OK(uvface_send(&req, &pair.app, &buf, 1, note_status));
  run_asleep(&pair.loop, 500);
  RUN_UNTIL(&pair.loop, send_done);
  ck_assert_int_eq(send_status, UV_ETIMEDOUT);
  ck_assert_uint_ge((harness_now_ns() - start_ns) / 1000000u, (unsigned int) timeout_ms - 10);
  ck_assert_uint_eq(stats_of(&pair.app).tx_packets, 256);
  ck_assert_uint_ge(stats_of(&pair.app).tx_full, 1);
  pair_close(&pair);
}

TEST(space_wakes_a_waiting_sender) {
  pair_t pair;
  uvface_send_t req;
  ndnshm_header_t header = {0};
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  NEEDS_NAMES();
  pair_open(&pair, NULL);
  fill_ring(&pair.app);
  reset_counts();
  send_done = 0;
  ASSERT_OK(uvface_send(&req, &pair.app, &buf, 1, note_status));
  RUN_UNTIL(&pair.loop, ndnshm_inspect(pair.name, &header) == 0 && header.a2e_waiting != 0);
  ck_assert_int_eq(send_done, 0);
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  RUN_UNTIL(&pair.loop, send_done);
  ck_assert_int_eq(send_status, 0);
  ck_assert_uint_eq(stats_of(&pair.engine).wakeups_sent, 1); /* for space */
  RUN_UNTIL(&pair.loop, received == 257);
  pair_close(&pair);
}

/* A face that would be looked at for 4 s is still looked at after some turns: no turn took that long. */
TEST(spin_of_a_turn_is_bounded_whatever_the_options_say) {
  pair_t pair;
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  options.hot_ns = options.spin_ns = UINT32_C(4000000000);
  pair_open(&pair, &options);
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  for (int turn = 0; turn < 10; turn++) uv_run(&pair.loop, UV_RUN_NOWAIT);
  if (sysconf(_SC_NPROCESSORS_ONLN) > 1) ck_assert_int_eq(uv_backend_timeout(&pair.loop), 0);
  pair_close(&pair);
}

/* Stands in front of the library's, so that something can happen between announcing and looking again. */
static void (*in_fence)(void);

void ndnshm_fence(void) {
  static uint32_t word;
  void (*now)(void) = in_fence;

  in_fence = NULL;
  if (now != NULL) now();
  __atomic_exchange_n(&word, 1, __ATOMIC_SEQ_CST);
}

static uv_loop_t late_loop;
static uvface_t late_app;
static char late_name[80];

static void app_comes_late(void) {
  ASSERT_OK(uvface_connect(&late_app, late_name, NULL));
}

TEST(app_that_attaches_while_the_engine_parks_is_served) {
  uv_loop_t loop;
  uvface_t engine;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_send_t req;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  options.hot_ns = options.spin_ns = 0;
  snprintf(late_name, sizeof(late_name), "%s", harness_name("late"));
  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uv_loop_init(&late_loop));
  ASSERT_OK(uvface_init(&loop, &engine));
  ASSERT_OK(uvface_init(&late_loop, &late_app));
  ASSERT_OK(uvface_create(&engine, late_name, &options));
  fill_ring(&engine);
  send_done = 0;
  ASSERT_OK(uvface_send(&req, &engine, &buf, 1, note_status)); /* nobody is there yet to wake for space */
  in_fence = app_comes_late;
  RUN_UNTIL(&loop, in_fence == NULL);
  reset_counts();
  ASSERT_OK(uvface_recv_start(&late_app, count_packets));
  RUN_UNTIL(&late_loop, received >= 256);
  RUN_UNTIL(&loop, send_done);
  ck_assert_int_eq(send_status, 0);
  uvface_close(&late_app, NULL);
  uvface_close(&engine, NULL);
  finish_loop(&late_loop);
  finish_loop(&loop);
}

TEST(queued_buffers_array_may_be_reused_at_once) {
  pair_t pair;
  uvface_send_t req;
  char text[] = "gathered from nine pieces";
  uv_buf_t bufs[9];

  pair_open(&pair, NULL);
  fill_ring(&pair.app);
  for (int b = 0; b < 9; b++) bufs[b] = uv_buf_init(text + 3 * b, b < 8 ? 3 : 1);
  send_done = 0;
  ASSERT_OK(uvface_send(&req, &pair.app, bufs, 9, note_status));
  memset(bufs, 0xee, sizeof(bufs));
  reset_counts();
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  RUN_UNTIL(&pair.loop, send_done);
  RUN_UNTIL(&pair.loop, received == 257);
  ck_assert_uint_eq(received_bytes, 256 + strlen(text));
  pair_close(&pair);
}

/* --- Encoding in place ------------------------------------------------------------------------ */

static char last_packet[64];

static void keep_last(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  ck_assert_int_gt(npkts, 0);
  snprintf(last_packet, sizeof(last_packet), "%.*s", (int) pkts[npkts - 1].len, pkts[npkts - 1].base);
  got_packet = 1;
}

TEST(reserved_slot_is_sent_by_commit) {
  pair_t pair;
  uvface_send_t req;
  char byte = 'q';
  uv_buf_t slot, buf = uv_buf_init(&byte, 1);

  pair_open(&pair, NULL);
  ck_assert_int_eq(uvface_commit(&pair.app, 1), UV_EINVAL);
  ck_assert_int_eq(uvface_reserve(&pair.app, uvface_get_mtu(&pair.app) + 1, &slot), UV_EMSGSIZE);
  ASSERT_OK(uvface_reserve(&pair.app, 10, &slot));
  ck_assert_uint_eq(slot.len, 10);
  ck_assert_int_eq(uvface_reserve(&pair.app, 10, &slot), UV_EALREADY);
  ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), UV_EAGAIN);
  memcpy(slot.base, "in place!!", 10);
  ck_assert_int_eq(uvface_commit(&pair.app, 11), UV_EMSGSIZE);
  send_done = 0;
  ASSERT_OK(uvface_send(&req, &pair.app, &buf, 1, note_status)); /* waits for the reservation to end */
  run_for(&pair.loop, 20);
  ck_assert_int_eq(send_done, 0);
  ASSERT_OK(uvface_commit(&pair.app, 8));
  RUN_UNTIL(&pair.loop, send_done);
  ck_assert_uint_eq(stats_of(&pair.app).tx_packets, 2);
  got_packet = 0;
  ASSERT_OK(uvface_recv_start(&pair.engine, keep_last));
  RUN_UNTIL(&pair.loop, got_packet);
  ck_assert_str_eq(last_packet, "q");
  ASSERT_OK(uvface_reserve(&pair.app, 10, &slot)); /* dropped at close */
  pair_close(&pair);
}

TEST(huge_packets_pass) {
  size_t huge_bytes = 1000000;
  char* huge = calloc(1, huge_bytes);
  pair_t pair;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_buf_t buf = uv_buf_init(huge, (unsigned int) huge_bytes);

  options.capacity = 4;
  options.slot_size = (uint32_t) huge_bytes;
  pair_open(&pair, &options);
  ck_assert_uint_eq(uvface_get_mtu(&pair.app), huge_bytes);
  for (int i = 0; i < 4; i++) ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), (int) huge_bytes);
  ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), UV_EAGAIN);
  reset_counts();
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  RUN_UNTIL(&pair.loop, received == 4);
  ck_assert_uint_eq(received_bytes, 4 * huge_bytes);
  pair_close(&pair);
  free(huge);
}

/* --- The end ---------------------------------------------------------------------------------- */

static int ended;

static void count_until_end(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) pkts;
  if (npkts > 0) {
    received += npkts;
    return;
  }
  ck_assert_int_eq(npkts, UV_EOF);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(face), "the peer is gone"));
  ended++;
}

TEST(everything_sent_before_death_is_delivered_then_one_eof) {
  pair_t pair;

  pair_open(&pair, NULL);
  reset_counts();
  ended = 0;
  ck_assert_int_eq(fill_ring(&pair.app), 256);
  uvface_close(&pair.app, NULL);
  ASSERT_OK(uvface_recv_start(&pair.engine, count_until_end));
  RUN_UNTIL(&pair.loop, ended);
  run_for(&pair.loop, 20);
  ck_assert_int_eq(received, 256);
  ck_assert_int_eq(ended, 1);
  pair_close(&pair);
}

TEST(death_while_not_receiving_is_told_on_start) {
  pair_t pair;

  pair_open(&pair, NULL);
  reset_counts();
  ended = 0;
  fill_ring(&pair.app);
  uvface_close(&pair.app, NULL);
  run_for(&pair.loop, 20);
  ASSERT_OK(uvface_recv_start(&pair.engine, count_until_end));
  RUN_UNTIL(&pair.loop, ended);
  ck_assert_int_eq(received, 256);
  pair_close(&pair);
}

TEST(pending_sends_fail_when_the_peer_goes) {
  pair_t pair;
  uvface_send_t req;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  pair_open(&pair, NULL);
  fill_ring(&pair.engine);
  send_done = 0;
  ASSERT_OK(uvface_send(&req, &pair.engine, &buf, 1, note_status));
  uvface_close(&pair.app, NULL);
  RUN_UNTIL(&pair.loop, send_done);
  ck_assert_int_eq(send_status, UV_EPIPE);
  pair_close(&pair);
}

/* --- Options and names ------------------------------------------------------------------------ */

static int try_create(uv_loop_t* loop, const char* name, const uvface_options_t* options, char* message) {
  uvface_t face;
  int err;

  ASSERT_OK(uvface_init(loop, &face));
  err = uvface_create(&face, name, options);
  snprintf(message, 256, "%s", uvface_errmsg(&face));
  uvface_close(&face, NULL);
  uv_run(loop, UV_RUN_DEFAULT);
  return err;
}

TEST(bad_options_and_names_are_told) {
  uv_loop_t loop;
  char message[256];
  char long_name[202];
  uvface_options_t o = UVFACE_OPTIONS_INIT;
  struct {
    uvface_options_t known;
    uint64_t unknown;
  } newer = {UVFACE_OPTIONS_INIT, 1};
  const char* name = harness_name("opt");

  newer.known.size = sizeof(newer);

  memset(long_name, 'n', 201);
  long_name[201] = '\0';
  ASSERT_OK(uv_loop_init(&loop));
  ck_assert_int_eq(try_create(&loop, long_name, NULL, message), UV_ENAMETOOLONG);
  ck_assert_int_eq(try_create(&loop, "", NULL, message), UV_EINVAL);
  ck_assert_int_eq(try_create(&loop, ".hidden", NULL, message), UV_EINVAL);
  ck_assert_int_eq(try_create(&loop, "a/b", NULL, message), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(message, "uvface_create: name 'a/b'"));
  ck_assert_int_eq(try_create(&loop, NULL, NULL, message), UV_EINVAL);
  o.mtu = 8800;
  o.capacity = 16;
  ck_assert_int_eq(try_create(&loop, name, &o, message), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(message, "mtu excludes both"));
  o = (uvface_options_t) UVFACE_OPTIONS_INIT;
  o.size = 3;
  ck_assert_int_eq(try_create(&loop, name, &o, message), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(message, "impossible size 3"));
  ck_assert_int_eq(try_create(&loop, name, &newer.known, message), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(message, "does not know"));
  o = (uvface_options_t) UVFACE_OPTIONS_INIT;
  o.reserved[14] = 1;
  ck_assert_int_eq(try_create(&loop, name, &o, message), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(message, "reserved[14]: is a member that this library does not know"));
  o = (uvface_options_t) UVFACE_OPTIONS_INIT;
  o.flags = 0x80;
  ck_assert_int_eq(try_create(&loop, name, &o, message), UV_EINVAL);
  o = (uvface_options_t) UVFACE_OPTIONS_INIT;
  o.send_timeout_ms = -2;
  ck_assert_int_eq(try_create(&loop, name, &o, message), UV_EINVAL);
  o = (uvface_options_t) UVFACE_OPTIONS_INIT;
  o.slot_size = UINT32_MAX;
  ck_assert_int_eq(try_create(&loop, name, &o, message), UV_EINVAL);
  o = (uvface_options_t) UVFACE_OPTIONS_INIT;
  o.mode = 01777;
  ck_assert_int_eq(try_create(&loop, name, &o, message), UV_EINVAL);
  ck_assert_int_eq(uv_loop_close(&loop), 0);
}

TEST(live_name_is_taken_and_its_face_unharmed) {
  pair_t pair;
  uvface_t second;
  uvface_t lone;

  NEEDS_NAMES();
  pair_open(&pair, NULL);
  ASSERT_OK(uvface_init(&pair.loop, &lone)); /* an engine whose app has not come yet */
  ASSERT_OK(uvface_create(&lone, harness_name("lone"), NULL));
  reset_counts();
  ended = 0;
  ASSERT_OK(uvface_recv_start(&lone, count_until_end));
  ASSERT_OK(uvface_init(&pair.loop, &second));
  ck_assert_int_eq(uvface_create(&second, harness_name("lone"), NULL), UV_EADDRINUSE);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&second), "a live engine has the name"));
  ck_assert_int_eq(uvface_create(&second, pair.name, NULL), UV_EADDRINUSE);
  run_for(&pair.loop, 20);
  ck_assert_int_eq(ended, 0); /* being asked for is not being attached and left */
  uvface_close(&lone, NULL);
  uvface_close(&second, NULL);
  pair_close(&pair);
}

TEST(refused_app_is_no_death_to_the_engine) {
  uv_loop_t loop;
  uvface_t engine, app;
  const char* name = harness_name("refuse");

  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &engine));
  ASSERT_OK(uvface_init(&loop, &app));
  ASSERT_OK(uvface_create(&engine, name, NULL));
  reset_counts();
  ended = 0;
  ASSERT_OK(uvface_recv_start(&engine, count_until_end));
  stop_probe(&loop);                         /* which would miss the name */
  ASSERT_OK(unlink(harness_e2a_path(name))); /* as an app sees it while an engine takes over a name */
  ASSERT_OK(mkfifo(harness_e2a_path(name), 0600));
  ck_assert_int_eq(uvface_connect(&app, name, NULL), UV_ECONNREFUSED);
  run_for(&loop, 20);
  ck_assert_int_eq(ended, 0);
  ASSERT_OK(unlink(harness_e2a_path(name)));
  uvface_close(&app, NULL);
  uvface_close(&engine, NULL);
  finish_loop(&loop);
}

TEST(stats_tell_what_the_face_is) {
  pair_t pair;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_stats_t stats;

  options.capacity = 100;
  options.slot_size = 1500;
  pair_open(&pair, &options);
  stats = stats_of(&pair.app);
  ck_assert_uint_eq(stats.capacity, 128);
  ck_assert_uint_eq(stats.slot_size, 1500);
  ck_assert_uint_eq(stats.peer_caps, 3);
  ck_assert_uint_eq(uvface_get_mtu(&pair.app), 1500);
  ck_assert_str_eq(uvface_version_string(), UVFACE_TEST_VERSION);
  pair_close(&pair);
}

/* --- A peer that forgets to wake --------------------------------------------------------------- */

#define FORGOTTEN 60     /* so many wake-ups are withheld, out of ... */
#define TRIALS_MAX 3000u /* ... at most so many packets: on a busy machine many a trial is void */
#define IN_TIME_NS (5000000u * harness_slow())
#define NEVER_NS (UINT64_C(20000000000) * harness_slow())

typedef struct forgetful_s {
  unsigned char* region;
  int a2e_fd;
  int sent, forgotten, taken_in_time;
  uv_async_t finished;
} forgetful_t;

static uint32_t* word_at(forgetful_t* peer, size_t offset) {
  return (uint32_t*) (void*) (peer->region + offset);
}

/* last_ns: set to when the word was seen last to have another value; may be NULL. */
static bool becomes(uint32_t* word, uint32_t value, uint64_t timeout_ns, uint64_t* last_ns) {
  uint64_t end_ns = harness_now_ns() + timeout_ns;

  for (;;) {
    uint64_t now_ns = harness_now_ns();

    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value) return true;
    if (last_ns != NULL) *last_ns = now_ns;
    if (now_ns > end_ns) return false;
  }
}

static void busy_wait(uint64_t ns) {
  uint64_t end_ns = harness_now_ns() + ns;

  while (harness_now_ns() < end_ns) continue;
}

/* An app by hand: makes the engine park anew at any fraction of a millisecond, publishes a while later, and
 * does not write the byte that should follow; unless this thread was held up and the recheck may be over. */
static void forgetful_thread(void* arg) {
  forgetful_t* peer = arg;
  size_t stride = 9024;
  uint32_t len = 1;

  for (uint32_t n = 1; n <= TRIALS_MAX && peer->forgotten < FORGOTTEN; n++) {
    uint64_t awake_ns;

    busy_wait(n * 7919 % 1000 * 1000);
    awake_ns = harness_now_ns(); /* before the write, which may give the CPU to the engine */
    __atomic_store_n(word_at(peer, 320), 0, __ATOMIC_SEQ_CST);
    if (write(peer->a2e_fd, "", 1) != 1 || !becomes(word_at(peer, 320), 1, NEVER_NS, &awake_ns)) break;
    busy_wait(300000);
    memcpy(peer->region + 448 + ((n - 1) % 256) * stride, &len, sizeof(len));
    peer->region[448 + ((n - 1) % 256) * stride + sizeof(len)] = 'x';
    __atomic_store_n(word_at(peer, 64), n, __ATOMIC_RELEASE);
    peer->sent++;
    if (harness_now_ns() - awake_ns > 800000) {
      if (write(peer->a2e_fd, "", 1) != 1) break;
    } else {
      peer->forgotten++;
      peer->taken_in_time += becomes(word_at(peer, 128), n, IN_TIME_NS, NULL);
    }
    if (!becomes(word_at(peer, 128), n, NEVER_NS, NULL)) break;
  }
  uv_async_send(&peer->finished);
}

static int forgetful_done;

static void on_forgetful_done(uv_async_t* async) {
  async->data = NULL;
  forgetful_done = 1;
}

TEST(unannounced_packet_is_found_by_the_recheck) {
  if (harness_under_valgrind()) SKIP("valgrind has descriptors and threads of its own");
  uv_loop_t loop;
  uvface_t engine;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  const char* name = harness_name("forget");
  forgetful_t peer = {0};
  uv_thread_t thread;
  int fd;

  options.hot_ns = options.spin_ns = 0;
  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &engine));
  ASSERT_OK(uvface_create(&engine, name, &options));
  fd = open(harness_shm_path(name), O_RDWR | O_CLOEXEC);
  ck_assert_int_ge(fd, 0);
  peer.region = mmap(NULL, 448 + 512 * 9024, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ck_assert_ptr_ne(peer.region, MAP_FAILED);
  close(fd);
  peer.a2e_fd = open(harness_a2e_path(name), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  ck_assert_int_ge(peer.a2e_fd, 0);
  ASSERT_OK(uv_async_init(&loop, &peer.finished, on_forgetful_done));
  reset_counts();
  forgetful_done = 0;
  ASSERT_OK(uvface_recv_start(&engine, count_packets));
  ASSERT_OK(uv_thread_create(&thread, forgetful_thread, &peer));
  RUN_UNTIL(&loop, forgetful_done);
  ASSERT_OK(uv_thread_join(&thread));
  ck_assert_int_eq(received, peer.sent);
  ck_assert_int_ge(peer.forgotten, FORGOTTEN / 4);          /* or the test has tested nothing */
  ck_assert_int_ge(peer.taken_in_time * 4, peer.forgotten); /* a busy machine delays many, a late recheck all */
  ck_assert_uint_ge(stats_of(&engine).recheck_hits * 4, (unsigned int) peer.forgotten);
  close(peer.a2e_fd);
  munmap(peer.region, 448 + 512 * 9024);
  uv_close((uv_handle_t*) &peer.finished, NULL);
  uvface_close(&engine, NULL);
  finish_loop(&loop);
}

/* --- Two threads, two loops ------------------------------------------------------------------- */

/* Valgrind runs one thread at a time, so that each ring full costs two waits for the other's time slice. */
#define THREAD_PACKETS (harness_under_valgrind() ? 10000u : 200000u)

typedef struct sender_s {
  uv_loop_t loop;
  uvface_t face;
  uv_idle_t idle;
  uint32_t next, end;
  const char* name;
} sender_t;

static void send_more(uv_idle_t* idle) {
  sender_t* s = idle->data;
  uv_buf_t buf = uv_buf_init((char*) &s->next, sizeof(s->next));

  while (s->next < s->end && uvface_try_send(&s->face, &buf, 1) > 0) s->next++;
  if (s->next < s->end) return;
  idle->data = NULL;
  uv_close((uv_handle_t*) idle, NULL);
  uvface_close(&s->face, NULL);
}

static void sender_thread(void* arg) {
  sender_t* s = arg;

  uv_loop_init(&s->loop);
  uvface_init(&s->loop, &s->face);
  if (uvface_connect(&s->face, s->name, NULL) != 0) abort();
  uv_idle_init(&s->loop, &s->idle);
  s->idle.data = s;
  uv_idle_start(&s->idle, send_more);
  uv_run(&s->loop, UV_RUN_DEFAULT);
  if (uv_loop_close(&s->loop) != 0) abort();
}

static uint32_t expected;

static void check_sequence(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  if (npkts < 0) {
    ended = 1;
    return;
  }
  for (ssize_t p = 0; p < npkts; p++) {
    uint32_t value;

    memcpy(&value, pkts[p].base, sizeof(value));
    ck_assert_uint_eq(value, expected);
    expected++;
  }
}

TEST(loops_in_two_threads_are_independent) {
  uv_loop_t loop;
  uvface_t face;
  sender_t sender = {.end = THREAD_PACKETS, .name = harness_name("threads")};
  uv_thread_t thread;

  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &face));
  ASSERT_OK(uvface_create(&face, sender.name, NULL));
  expected = 0;
  ended = 0;
  ASSERT_OK(uvface_recv_start(&face, check_sequence));
  ASSERT_OK(uv_thread_create(&thread, sender_thread, &sender));
  RUN_UNTIL(&loop, ended);
  ck_assert_uint_eq(expected, sender.end);
  ASSERT_OK(uv_thread_join(&thread));
  uvface_close(&face, NULL);
  finish_loop(&loop);
}

/* --- Who has come ------------------------------------------------------------------------------- */

TEST(app_that_comes_and_says_nothing_is_seen) {
  uv_loop_t loop;
  uvface_t engine, app;
  const char* name = harness_name("seen");

  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &engine));
  ASSERT_OK(uvface_init(&loop, &app));
  ASSERT_OK(uvface_create(&engine, name, NULL));
  run_for(&loop, 1200); /* more than one slow look */
  ck_assert_uint_eq(stats_of(&engine).attached, 0);
  ASSERT_OK(uvface_connect(&app, name, NULL));
  RUN_UNTIL(&loop, stats_of(&engine).attached == 1);
  uvface_close(&app, NULL);
  uvface_close(&engine, NULL);
  finish_loop(&loop);
}
