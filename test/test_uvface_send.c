/* SPDX-License-Identifier: MIT */
/* test_uvface_send.c: sends that wait: what a turn may spend on them, when their deadline is, what is owed, and what a
 * failed face says. Links the libraries with the points of lib/words.h, where a peer that reads as fast as it is
 * written to steps in. */
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "faces.h"
#include "layout.h"
#include "words.h"

static ndnshm__region_header_t* read_at_once; /* the region of a peer that says so of all that was published */

void ndnshm__point(const char* access) {
  (void) access;
  if (read_at_once != NULL) read_at_once->e2a_head.value = read_at_once->e2a_tail.value;
}

static ndnshm__region_header_t* view_of(const pair_t* pair) {
  int fd = open(harness_shm_path(pair->name), O_RDWR | O_CLOEXEC);
  void* view = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

  ck_assert_ptr_ne(view, MAP_FAILED);
  close(fd);
  return view;
}

/* --- The budget of a turn --------------------------------------------------------------------- */

static int finished;

static void count_finished(uvface_send_t* req, int status) {
  (void) req;
  ck_assert_int_eq(status, 0);
  finished++;
}

TEST_LOOP(peer_that_reads_at_once_does_not_keep_the_loop, 2) {
  static uvface_send_t reqs[1000];
  static char large[8000];
  pair_t pair;
  uv_buf_t bufs[64];
  bool batch = _i == 1;
  int most = 0, before;

  pair_open(&pair, NULL);
  for (int b = 0; b < 64; b++) bufs[b] = uv_buf_init(large, batch ? sizeof(large) : 1);
  fill_ring(&pair.engine);
  finished = 0;
  for (int r = 0; r < 1000; r++) {
    if (batch)
      ASSERT_OK(uvface_send_batch(&reqs[r], &pair.engine, bufs, 64, count_finished));
    else
      ASSERT_OK(uvface_send(&reqs[r], &pair.engine, bufs, 1, count_finished));
  }
  read_at_once = view_of(&pair);
  while (finished < 1000) {
    before = finished;
    uv_run(&pair.loop, UV_RUN_NOWAIT);
    if (finished - before > most) most = finished - before;
  }
  ck_assert_int_le(most, batch ? 1 : 256); /* 64 of 8000 bytes are twice what a turn may copy */
  munmap(read_at_once, 4096);
  read_at_once = NULL;
  pair_close(&pair);
}

/* --- The queue -------------------------------------------------------------------------------- */

#define QUEUED 5

static unsigned int taken;

static void count_taken(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face, (void) pkts;
  ck_assert_int_ge(npkts, 0);
  taken += (unsigned int) npkts;
}

/* What waits when the ring is full is limited; and is as much each time, all of which arrives. */
TEST(queue_takes_as_many_sends_each_time_it_was_empty) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_send_t reqs[QUEUED + 1];
  pair_t pair;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  options.capacity = 4;
  options.slot_size = 64;
  options.queue_max = QUEUED;
  pair_open(&pair, &options);
  for (int round = 0; round < 3; round++) {
    unsigned int full = (unsigned int) fill_ring(&pair.engine);

    finished = 0;
    taken = 0;
    for (int r = 0; r < QUEUED; r++) ASSERT_OK(uvface_send(&reqs[r], &pair.engine, &buf, 1, count_finished));
    ck_assert_int_eq(uvface_send(&reqs[QUEUED], &pair.engine, &buf, 1, count_finished), UV_ENOBUFS);
    ASSERT_OK(uvface_recv_start(&pair.app, count_taken));
    RUN_UNTIL(&pair.loop, finished == QUEUED && taken == full + QUEUED);
    ASSERT_OK(uvface_recv_stop(&pair.app));
  }
  pair_close(&pair);
}

/* --- Deadlines -------------------------------------------------------------------------------- */

static uint64_t sent_ns, told_ns;

static void note_time(uvface_send_t* req, int status) {
  ck_assert_int_eq(status, UV_ETIMEDOUT);
  told_ns = harness_now_ns();
  uv_stop(req->face->loop);
}

static uvface_send_t late_req;

static void send_after_long_work(uv_timer_t* timer) {
  static char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uint64_t end_ns = harness_now_ns() + 400000000;

  while (harness_now_ns() < end_ns) continue; /* the loop's time is this old now */
  sent_ns = harness_now_ns();
  ASSERT_OK(uvface_send(&late_req, timer->data, &buf, 1, note_time));
}

/* How long after the call it was told. */
static uint64_t late_deadline_ns(void) {
  uv_loop_t loop;
  uvface_t engine; /* no app: nothing but timers wakes this loop */
  uv_timer_t timer;
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  options.hot_ns = options.spin_ns = 0;
  options.send_timeout_ms = 20;
  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &engine));
  ASSERT_OK(uvface_create(&engine, harness_name("late"), &options));
  fill_ring(&engine);
  uv_timer_init(&loop, &timer);
  timer.data = &engine;
  uv_timer_start(&timer, send_after_long_work, 1, 0);
  uv_run(&loop, UV_RUN_DEFAULT); /* not ONCE, which takes the time anew before it polls again */
  timer.data = NULL;
  uv_close((uv_handle_t*) &timer, NULL);
  uvface_close(&engine, NULL);
  finish_loop(&loop);
  return told_ns - sent_ns;
}

/* It never comes too soon. On a busy machine it may come late: in time one in some. */
TEST(deadline_counts_from_the_call_not_from_the_turn) {
  uint64_t shortest_ns = UINT64_MAX;

  for (int i = 0; i < 10 && shortest_ns >= 300000000; i++) {
    uint64_t ns = late_deadline_ns();

    ck_assert_uint_ge(ns, 20000000);
    if (ns < shortest_ns) shortest_ns = ns;
  }
  ck_assert_uint_lt(shortest_ns, 300000000);
}

/* --- What is owed ----------------------------------------------------------------------------- */

static int owed;

static void assert_active_while_owed(uvface_send_t* req, int status) {
  ck_assert_int_eq(status, 0);
  owed--;
  ck_assert_int_eq(uvface_is_active(req->face) != 0, owed > 0);
}

TEST(face_is_active_until_its_last_send_is_called_back) {
  pair_t pair;
  uvface_send_t reqs[3];
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  pair_open(&pair, NULL);
  ck_assert_int_eq(uvface_is_active(&pair.app), 0);
  for (owed = 0; owed < 3; owed++) ASSERT_OK(uvface_send(&reqs[owed], &pair.app, &buf, 1, assert_active_while_owed));
  ck_assert_int_ne(uvface_is_active(&pair.app), 0);
  RUN_UNTIL(&pair.loop, owed == 0);
  ck_assert_int_eq(uvface_is_active(&pair.app), 0);
  pair_close(&pair);
}

/* --- A face that has failed ------------------------------------------------------------------- */

static int failure;

static void note_failure(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  (void) pkts;
  ck_assert_int_lt(npkts, 0);
  failure = (int) npkts;
}

static void assert_says_why(const uvface_t* face, const char* call) {
  ck_assert_msg(strstr(uvface_errmsg(face), call) != NULL, "%s", uvface_errmsg(face));
  ck_assert_msg(strstr(uvface_errmsg(face), "impossible packet length") != NULL, "%s", uvface_errmsg(face));
}

/* While it floods, too: the FIFO of a failed face is nobody's any more. */
TEST(failed_face_says_why_and_reads_nothing_more) {
  pair_t pair;
  uvface_send_t req;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uint32_t nonsense = 0xffffffff;
  int fifo, region, unread = 0;
  uvface_stats_t stats = {0};

  pair_open(&pair, NULL);
  region = open(harness_shm_path(pair.name), O_RDWR | O_CLOEXEC);
  fifo = open(harness_a2e_path(pair.name), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  failure = 0;
  ASSERT_OK(uvface_recv_start(&pair.engine, note_failure));
  while (stats.throttled == 0) {
    ck_assert_int_eq(write(fifo, "z", 1), 1);
    uv_run(&pair.loop, UV_RUN_NOWAIT);
    ASSERT_OK(uvface_get_stats(&pair.engine, &stats));
  }
  ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), 1);
  ck_assert_int_eq(pwrite(region, &nonsense, sizeof(nonsense), NDNSHM__HEADER_BYTES), sizeof(nonsense));
  RUN_UNTIL(&pair.loop, failure != 0);
  ck_assert_int_eq(failure, UV_EPROTO);
  ck_assert_int_eq(uvface_recv_start(&pair.engine, note_failure), UV_EPROTO);
  assert_says_why(&pair.engine, "uvface_recv_start");
  ck_assert_int_eq(uvface_send(&req, &pair.engine, &buf, 1, NULL), UV_EPROTO);
  assert_says_why(&pair.engine, "uvface_send");
  ck_assert_int_eq(write(fifo, "more", 4), 4);
  run_for(&pair.loop, 100); /* beyond the looks that end a flood */
  ck_assert_int_eq(ioctl(fifo, FIONREAD, &unread), 0);
  ck_assert_int_ge(unread, 4);
  close(fifo);
  close(region);
  pair_close(&pair);
}
