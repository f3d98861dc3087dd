/* SPDX-License-Identifier: MIT */
/* test_silent.c: a face whose app never comes, and faces whose peer is stopped: what waiting costs, how it
 * ends, and what becomes of the other faces of the loop. What waiting costs is counted in turns of the loop: no
 * load of other processes adds any. The peers are processes, really stopped. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "faces.h"
#include "puppet.h"

static void count_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) pkts;
  if (npkts > 0) *(unsigned int*) face->data += (unsigned int) npkts;
}

TEST_KINDS(engine_that_no_app_ever_attaches_to_sleeps) {
  unsigned int packets = 0;
  uv_loop_t loop;
  uvface_t face;

  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &face));
  face.data = &packets;
  ASSERT_OK(face_create(&face, harness_name("alone"), NULL));
  ASSERT_OK(uvface_recv_start(&face, count_packets));
  run_for(&loop, 20); /* the first window */
  run_asleep(&loop, 3000);
  ck_assert_uint_eq(packets, 0);
  ck_assert(uvface_is_active(&face));
  uvface_close(&face, NULL); /* enough: its names go, and the loop ends */
  finish_loop(&loop);
}

/* --- A stopped peer ----------------------------------------------------------------------------- */

typedef struct peer_s {
  const char* name;
  bool engine;
} peer_t;

/* A process with a face of its own, until it is killed. */
static int peer_body(void* arg) {
  const peer_t* peer = arg;
  uint64_t end_ns = harness_now_ns() + UINT64_C(20000000000) * harness_slow();
  unsigned int packets = 0;
  uv_loop_t loop;
  uvface_t face;
  int err;

  uv_loop_init(&loop);
  uvface_init(&loop, &face);
  face.data = &packets;
  do {
    err = peer->engine ? face_create(&face, peer->name, NULL) : face_connect(&face, peer->name, NULL);
    if (err != 0) run_for(&loop, 2);
  } while (err != 0 && harness_now_ns() < end_ns);
  if (err != 0) return 1;
  uvface_recv_start(&face, count_packets);
  return uv_run(&loop, UV_RUN_DEFAULT);
}

typedef struct stopped_s {
  uv_loop_t loop;
  uvface_t face;
  uvface_t others[2]; /* the other faces of the loop: an engine and its app */
  unsigned int packets, others_packets;
  char name[80];
  pid_t pid;
} stopped_t;

static void ping_pong(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  stopped_t* s = face->data;

  if (npkts <= 0) ck_abort_msg("%s", uvface_errmsg(face));
  s->others_packets += (unsigned int) npkts;
  if (uvface_try_send(face, pkts, 1) < 0) ck_abort_msg("%s", uvface_errmsg(face));
}

/* Round trips between the other two in a tenth of a second. */
static unsigned int others_rate(stopped_t* s) {
  char byte = 'p';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  unsigned int before;

  ASSERT_OK(uvface_recv_start(&s->others[0], ping_pong));
  ASSERT_OK(uvface_recv_start(&s->others[1], ping_pong));
  if (s->others_packets == 0) ck_assert_int_eq(uvface_try_send(&s->others[1], &buf, 1), 1);
  before = s->others_packets;
  run_for(&s->loop, 100);
  ASSERT_OK(uvface_recv_stop(&s->others[0]));
  ASSERT_OK(uvface_recv_stop(&s->others[1]));
  return s->others_packets - before;
}

static void open_others(stopped_t* s) {
  const char* name = harness_name("others");

  for (int i = 0; i < 2; i++) {
    ASSERT_OK(uvface_init(&s->loop, &s->others[i]));
    s->others[i].data = s;
  }
  ASSERT_OK(face_create(&s->others[0], name, NULL));
  ASSERT_OK(face_connect(&s->others[1], name, NULL));
}

/* A face of ours of one role, its peer attached, parked and then stopped. */
static void open_stopped(stopped_t* s, bool engine, int64_t send_timeout_ms) {
  peer_t peer = {.name = s->name, .engine = !engine};
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_stats_t stats = {.peer_caps = 0};
  uint64_t end_ns = harness_now_ns() + UINT64_C(20000000000) * harness_slow();
  int err;

  memset(s, 0, sizeof(*s));
  snprintf(s->name, sizeof(s->name), "%s", harness_name("stopped"));
  options.send_timeout_ms = send_timeout_ms;
  s->pid = harness_fork(peer_body, &peer);
  ASSERT_OK(uv_loop_init(&s->loop));
  ASSERT_OK(uvface_init(&s->loop, &s->face));
  s->face.data = &s->packets;
  do {
    err = engine ? face_create(&s->face, s->name, &options) : face_connect(&s->face, s->name, &options);
    if (err != 0) run_for(&s->loop, 2);
  } while (err != 0 && harness_now_ns() < end_ns);
  ck_assert_msg(err == 0, "%s", uvface_errmsg(&s->face));
  while (stats.peer_caps == 0 && harness_now_ns() < end_ns) {
    run_for(&s->loop, 2);
    ASSERT_OK(uvface_get_stats(&s->face, &stats));
  }
  ASSERT_OK(uvface_recv_start(&s->face, count_packets));
  kill(s->pid, SIGSTOP);
  ck_assert(harness_wait_state(s->pid, 'T', 20000));
  open_others(s);
}

static void drop_stopped(stopped_t* s) {
  harness_kill(s->pid);
  uvface_close(&s->face, NULL);
  for (int i = 0; i < 2; i++) uvface_close(&s->others[i], NULL);
  uv_run(&s->loop, UV_RUN_DEFAULT);
  ASSERT_OK(uvface_init(&s->loop, &s->face));
  ASSERT_OK(face_create(&s->face, s->name, NULL)); /* what a killed engine left goes with this one */
  uvface_close(&s->face, NULL);
  finish_loop(&s->loop);
}

static int send_status;
static int send_done;

static void note_status(uvface_send_t* req, int status) {
  (void) req;
  send_status = status;
  send_done = 1;
}

TEST_KINDS_LOOP(sends_to_a_stopped_peer_end_at_the_deadline, 2) {
  char byte = 's';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uvface_send_t req;
  uint64_t start_ns, waited_ns, turns = 0;
  patience_t patience;
  stopped_t s;

  open_stopped(&s, _i % 2 == 0, 500);
  ck_assert_int_eq(fill_ring(&s.face), 256);
  ck_assert_int_eq(uvface_try_send(&s.face, &buf, 1), UV_EAGAIN);
  run_for(&s.loop, 20);
  start_ns = harness_now_ns();
  ASSERT_OK(uvface_send(&req, &s.face, &buf, 1, note_status));
  ck_assert_int_eq(uvface_try_send(&s.face, &buf, 1), UV_EAGAIN);
  send_done = 0;
  patience_start(&patience, &s.loop, 20000);
  for (; !send_done && !patience_is_over(&patience); turns++) uv_run(&s.loop, UV_RUN_ONCE);
  patience_stop(&patience);
  ck_assert_int_eq(send_done, 1);
  waited_ns = harness_now_ns() - start_ns;
  ck_assert_int_eq(send_status, UV_ETIMEDOUT);
  ck_assert_uint_ge(waited_ns, UINT64_C(499000000));
  turns_since(start_ns, turns, 200);                              /* half of them are this test's own */
  ck_assert_int_eq(uvface_try_send(&s.face, &buf, 1), UV_EAGAIN); /* not dead */
  ck_assert_uint_eq(s.packets, 0);
  drop_stopped(&s);
}

/* A peer that cannot wake for space, as ndn-rs: the sender looks again by the clock. */
TEST_KINDS(waiting_for_a_peer_that_announces_nothing_is_cheap) {
  char byte = 's';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  unsigned int packets = 0;
  uvface_send_t req;
  uint64_t began_ns;
  puppet_t puppet;
  uv_loop_t loop;
  uvface_t face;

  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &face));
  face.data = &packets;
  ASSERT_OK(face_create(&face, harness_name("plain"), NULL));
  puppet_attach(&puppet, harness_name("plain"));
  ASSERT_OK(uvface_recv_start(&face, count_packets));
  ck_assert_int_eq(fill_ring(&face), 256);
  send_done = 0;
  ASSERT_OK(uvface_send(&req, &face, &buf, 1, note_status));
  run_for(&loop, 20);
  began_ns = harness_now_ns();
  turns_since(began_ns, run_for(&loop, 1000), 1100);   /* one for each millisecond's look */
  ck_assert_int_eq(puppet_take(&puppet, &byte, 1), 1); /* room, said to nobody */
  ck_assert(run_until(&loop, &send_done, 10000));
  ck_assert_int_eq(send_status, 0);
  puppet_drop(&puppet);
  uvface_close(&face, NULL);
  finish_loop(&loop);
}

/* An engine's sends have no deadline of their own: they wait, for nothing, and cost nothing. One good tenth of a second
 * of ten is enough: other processes may spoil some of them, and a stopped app that holds the loop up spoils all. */
TEST_KINDS(stopped_app_holds_up_nobody_else) {
  char byte = 's';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uvface_send_t reqs[100];
  unsigned int solo, beside = 0;
  stopped_t s;

  open_stopped(&s, true, -1);
  solo = others_rate(&s);
  ck_assert_int_eq(fill_ring(&s.face), 256);
  send_done = 0;
  for (int i = 0; i < 100; i++) ASSERT_OK(uvface_send(&reqs[i], &s.face, &buf, 1, note_status));
  for (int i = 0; i < 10 && beside <= solo / 4; i++) beside = others_rate(&s);
  ck_assert_msg(beside > solo / 4, "%u round trips beside a stopped app, %u without", beside, solo);
  run_for(&s.loop, 20);
  run_asleep(&s.loop, 1000);
  ck_assert_int_eq(send_done, 0);
  uvface_close(&s.face, NULL);
  ck_assert(run_until(&s.loop, &send_done, 10000));
  ck_assert_int_eq(send_status, UV_ECANCELED);
  drop_stopped(&s);
}
