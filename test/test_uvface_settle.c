/* SPDX-License-Identifier: MIT */
/* test_uvface_settle.c: wherever a face publishes from, a peer that falls asleep in that moment is woken, and by no
 * more than one byte a turn. The peer is an end of the core in the same process. Its falling asleep unseen is played as
 * in test_settle.c: it announces itself after the publish has looked, and takes no last look. A publish that fences
 * (the points of lib/words.h tell) needs none of this: such a peer would have seen the packet. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faces.h"
#include "ndnshm.h"
#include "words.h"

static int failures; /* of the next wake-up bytes */

/* An engine's way of writing its byte. */
ssize_t write(int fd, const void* bytes, size_t n) {
  if (n == 1 && failures > 0) {
    failures--;
    errno = ENOMEM;
    return -1;
  }
  return syscall(SYS_write, fd, bytes, n);
}

static unsigned int fences;

void ndnshm__point(const char* access) {
  if (strcmp(access, "fence") == 0) fences++;
}

typedef struct scene_s {
  uv_loop_t loop;
  uvface_t face, other;
  ndnshm_t *peer, *others_peer;
  uv_handle_t* handle; /* whose callback publishes */
  int not_yet;         /* so many times more it does not */
  int publishes;       /* so far */
  int deferred;        /* of them, without a fence */
  unsigned int fences_before;
} scene_t;

static ndnshm_t* open_face(scene_t* s, uvface_t* face, const char* tag) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  const char* name = harness_name(tag);
  ndnshm_t* peer;

  options.capacity = 64;
  options.hot_ns = options.spin_ns = 0; /* goes to sleep at once */
  ASSERT_OK(uvface_init(&s->loop, face));
  face->data = s;
  ASSERT_OK(uvface_create(face, name, &options));
  ASSERT_OK(ndnshm_new(&peer));
  ASSERT_OK(ndnshm_connect(peer, name, NULL));
  return peer;
}

static void scene_open(scene_t* s) {
  memset(s, 0, sizeof(*s));
  ASSERT_OK(uv_loop_init(&s->loop));
  s->peer = open_face(s, &s->face, "settle");
  s->others_peer = open_face(s, &s->other, "settle-other");
}

static void scene_close(scene_t* s) {
  uvface_close(&s->face, NULL);
  uvface_close(&s->other, NULL);
  finish_loop(&s->loop);
  ndnshm_free(s->peer);
  ndnshm_free(s->others_peer);
}

/* Bytes that the peer has been sent, whether or not the end came with them. */
static int bytes_for(ndnshm_t* peer) {
  struct pollfd fd = {.fd = ndnshm_fd(peer), .events = POLLIN};
  ndnshm_stats_t before, after;

  ASSERT_OK(ndnshm_get_stats(peer, &before));
  if (poll(&fd, 1, 0) == 1) ndnshm_wake(peer);
  ASSERT_OK(ndnshm_get_stats(peer, &after));
  return (int) (after.wakeups_received - before.wakeups_received);
}

static void send_one(uvface_t* face) {
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  ck_assert_int_eq(uvface_try_send(face, &buf, 1), 1);
}

static void publish_unseen(scene_t* s, uvface_t* face, ndnshm_t* peer) {
  unsigned int before = fences;

  send_one(face);
  s->publishes++;
  if (fences != before) return;
  s->fences_before = before;
  s->deferred++;
  ck_assert_msg(uv_backend_timeout(&s->loop) == 0, "the loop may sleep beside a look that it owes");
  ndnshm_announce(peer, NDNSHM_PACKETS);
}

static void send_to_face(const scene_t* s) {
  struct iovec packet = {"x", 1};

  ck_assert_int_eq(ndnshm_send(s->peer, &packet, 1), 1);
}

/* --- From everywhere ------------------------------------------------------------------------------ */

static void publish_once(scene_t* s) {
  if (s->not_yet > 0)
    s->not_yet--;
  else if (s->publishes == 0)
    publish_unseen(s, &s->face, s->peer);
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) pkts;
  if (npkts > 0) publish_once(face->data);
}

static void on_sent(uvface_send_t* req, int status) {
  ck_assert_int_eq(status, 0);
  publish_once(req->data);
}

static void on_timer(uv_timer_t* handle) {
  publish_once(handle->data);
}
static void on_idle(uv_idle_t* handle) {
  publish_once(handle->data);
}
static void on_prepare(uv_prepare_t* handle) {
  publish_once(handle->data);
}
static void on_check(uv_check_t* handle) {
  publish_once(handle->data);
}
static void on_async(uv_async_t* handle) {
  publish_once(handle->data);
}
static void on_close(uv_handle_t* handle) {
  publish_once(handle->data);
}

static void from_recv_cb(scene_t* s) {
  ASSERT_OK(uvface_recv_start(&s->face, on_packets));
  run_until_parked(&s->loop, &s->face);
  send_to_face(s); /* wakes it: served after the poll */
}

static void from_recv_cb_before_the_poll(scene_t* s) {
  send_to_face(s);
  ASSERT_OK(uvface_recv_start(&s->face, on_packets));
}

static void from_send_cb(scene_t* s) {
  static uvface_send_t req;
  static char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  req.data = s;
  ASSERT_OK(uvface_send(&req, &s->face, &buf, 1, on_sent));
}

static union {
  uv_handle_t handle;
  uv_timer_t timer;
  uv_idle_t idle;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_async_t async;
} foreign;

static void add_foreign(scene_t* s) {
  foreign.handle.data = s;
  s->handle = &foreign.handle;
}

static void from_timer(scene_t* s) {
  uv_timer_init(&s->loop, &foreign.timer);
  uv_timer_start(&foreign.timer, on_timer, 0, 0);
  add_foreign(s);
}

static void from_idle(scene_t* s) {
  uv_idle_init(&s->loop, &foreign.idle);
  uv_idle_start(&foreign.idle, on_idle);
  add_foreign(s);
}

static void from_prepare(scene_t* s) {
  uv_prepare_init(&s->loop, &foreign.prepare);
  uv_prepare_start(&foreign.prepare, on_prepare);
  add_foreign(s);
}

static void from_check(scene_t* s) {
  uv_check_init(&s->loop, &foreign.check);
  uv_check_start(&foreign.check, on_check);
  add_foreign(s);
}

static void from_async(scene_t* s) {
  uv_async_init(&s->loop, &foreign.async, on_async);
  uv_async_send(&foreign.async);
  add_foreign(s);
}

static void from_close_cb(scene_t* s) {
  uv_idle_init(&s->loop, &foreign.idle);
  foreign.handle.data = s;
  uv_close(&foreign.handle, on_close);
}

static void from_outside(scene_t* s) {
  publish_once(s);
}

static void on_face_closed(uvface_t* face) {
  publish_once(face->data);
}

static void from_close_cb_of_another_face(scene_t* s) {
  uvface_close(&s->other, on_face_closed);
}

/* deferred: 1 = must be, 0 = must not be, 2 = as it comes. Which handle of a kind comes first is libuv's business. */
static const struct {
  void (*begin)(scene_t* s);
  int deferred;
} places[] = {
    {from_recv_cb, 1},
    {from_recv_cb_before_the_poll, 1},
    {from_send_cb, 1},
    {from_timer, 0},
    {from_idle, 2},
    {from_prepare, 2},
    {from_check, 2},
    {from_async, 1},
    {from_outside, 0},
    {from_close_cb, 0},
    {from_close_cb_of_another_face, 0},
};
enum { PLACES = sizeof(places) / sizeof(places[0]) };

/* In whatever place of the turn: when the turn is over, the peer is awake, and the loop has not slept in between. */
TEST_LOOP(peer_that_falls_asleep_unseen_is_woken_before_the_turn_ends, PLACES) {
  scene_t s;

  scene_open(&s);
  places[_i].begin(&s);
  while (s.publishes == 0) uv_run(&s.loop, UV_RUN_ONCE);
  if (places[_i].begin == from_async) ck_assert_uint_eq(fences - s.fences_before, 1); /* nothing else fences there */
  ck_assert_int_eq(bytes_for(s.peer), s.deferred);
  if (places[_i].deferred < 2) ck_assert_int_eq(s.deferred, places[_i].deferred);
  if (s.handle != NULL) uv_close(s.handle, NULL);
  scene_close(&s);
}

/* The handles of others that come after ours: the idle handle runs while a face is hot, the prepare handle was started
 * before the face was there. */
static uvface_send_t hot_req;

static void stay_hot(uvface_send_t* req, int status) {
  scene_t* s = req->data;
  static char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  if (status == 0 && s->publishes == 0) ASSERT_OK(uvface_send(req, &s->other, &buf, 1, stay_hot));
}

TEST_LOOP(handles_that_come_after_ours_may_put_off_too, 2) {
  uv_prepare_t prepare;
  uv_idle_t idle;
  scene_t s;

  memset(&s, 0, sizeof(s));
  ASSERT_OK(uv_loop_init(&s.loop));
  uv_prepare_init(&s.loop, &prepare);
  uv_idle_init(&s.loop, &idle);
  prepare.data = idle.data = &s;
  if (_i == 0) uv_prepare_start(&prepare, on_prepare);
  s.peer = open_face(&s, &s.face, "settle");
  s.others_peer = open_face(&s, &s.other, "settle-other");
  if (_i == 1) {
    hot_req.data = &s;
    stay_hot(&hot_req, 0);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    uv_idle_start(&idle, on_idle);
    s.not_yet = 2; /* ours is started anew in each turn */
  }
  while (s.publishes == 0) uv_run(&s.loop, UV_RUN_ONCE);
  ck_assert_int_eq(bytes_for(s.peer), s.deferred);
  ck_assert_int_eq(s.deferred, 1);
  uv_close((uv_handle_t*) &prepare, NULL);
  uv_close((uv_handle_t*) &idle, NULL);
  scene_close(&s);
}

/* --- Callbacks that do something else as well ------------------------------------------------------- */

static void asleep_before(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  scene_t* s = face->data;

  (void) pkts;
  if (npkts < 0) return;
  send_one(face);
  s->publishes++;
  ck_assert_msg(bytes_for(s->peer) == 1, "a callback that runs long holds up a peer that slept before it");
}

TEST(callback_that_runs_long_wakes_a_sleeping_peer_at_once) {
  scene_t s;

  scene_open(&s);
  send_to_face(&s);
  ASSERT_OK(uvface_recv_start(&s.face, asleep_before));
  ck_assert_uint_eq(ndnshm_park(s.peer, NDNSHM_PACKETS), 0);
  uv_run(&s.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(s.publishes, 1);
  scene_close(&s);
}

static void publish_on_other(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  scene_t* s = face->data;

  (void) pkts;
  if (npkts > 0) publish_unseen(s, &s->other, s->others_peer);
}

TEST(face_that_another_faces_callback_sends_on_is_settled_too) {
  scene_t s;

  scene_open(&s);
  send_to_face(&s);
  ASSERT_OK(uvface_recv_start(&s.face, publish_on_other));
  uv_run(&s.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(s.deferred, 1);
  ck_assert_int_eq(bytes_for(s.others_peer), 1);
  ck_assert_int_eq(bytes_for(s.peer), 0);
  scene_close(&s);
}

static void close_any(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void publish_and_close(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) pkts;
  if (npkts < 0) return;
  publish_once(face->data);
  uvface_close(face, NULL);
}

static void publish_and_close_all(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) pkts;
  if (npkts < 0) return;
  publish_once(face->data);
  uv_walk(face->loop, close_any, NULL);
}

static void publish_and_stop(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) pkts;
  if (npkts < 0) return;
  publish_once(face->data);
  uv_stop(face->loop);
}

/* By its owner, by somebody who closes whatever handle there is, and the loop by uv_stop(); before the poll, and in
 * it. */
TEST_LOOP(face_that_is_closed_in_the_callback_is_settled, 6) {
  static const uvface_recv_cb callbacks[] = {publish_and_close, publish_and_close_all, publish_and_stop};
  scene_t s;

  scene_open(&s);
  if (_i < 3) send_to_face(&s);
  ASSERT_OK(uvface_recv_start(&s.face, callbacks[_i % 3]));
  if (_i >= 3) run_until_parked(&s.loop, &s.face);
  if (_i >= 3) send_to_face(&s);
  uv_run(&s.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(s.deferred, 1);
  ck_assert_int_eq(bytes_for(s.peer), 1);
  scene_close(&s);
}

static int handle_to_close;

static void close_the_nth(uv_handle_t* handle, void* count) {
  if ((*(int*) count)++ == handle_to_close && !uv_is_closing(handle)) uv_close(handle, NULL);
}

static void publish_and_close_one(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  int count = 0;

  (void) pkts;
  if (npkts < 0) return;
  publish_once(face->data);
  uv_walk(face->loop, close_the_nth, &count);
  uvface_recv_stop(face);
}

/* Any one of the handles, of the loop's and the two faces': the loop comes to its end, and does not turn for ever. */
TEST_LOOP(loop_that_lost_one_handle_ends_and_has_settled, 7) {
  scene_t s;

  scene_open(&s);
  handle_to_close = _i;
  ASSERT_OK(uvface_recv_start(&s.face, publish_and_close_one));
  run_until_parked(&s.loop, &s.face);
  send_to_face(&s);
  uv_run(&s.loop, UV_RUN_DEFAULT); /* the harness's timeout is the deadline */
  ck_assert_int_eq(s.deferred, 1);
  ck_assert_int_eq(bytes_for(s.peer), 1);
  scene_close(&s);
}

static void assert_not_revived(uv_handle_t* handle, void* arg) {
  (void) arg;
  ck_assert_msg(!uv_is_closing(handle) || !uv_is_active(handle), "a closing %s handle was started",
                uv_handle_type_name(uv_handle_get_type(handle)));
}

/* The kernel has no memory for the byte: it is tried again by the clock, where there is one, and by shutting down
 * otherwise. The loop sleeps meanwhile. */
TEST_LOOP(byte_that_found_no_memory_comes_later, 2) {
  static const uvface_recv_cb callbacks[] = {on_packets, publish_and_close_all};
  bool slept = false; /* it wakes again, by the clock */
  int bytes = 0;
  scene_t s;

  scene_open(&s);
  send_to_face(&s);
  ASSERT_OK(uvface_recv_start(&s.face, callbacks[_i]));
  failures = INT_MAX;
  uv_run(&s.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(s.deferred, 1);
  ck_assert_int_lt(failures, INT_MAX);
  ck_assert_int_eq(bytes_for(s.peer), 0);
  uv_walk(&s.loop, assert_not_revived, NULL);
  ndnshm_announce(s.peer, NDNSHM_PACKETS);
  if (_i == 0) {
    RUN_UNTIL(&s.loop, (slept = slept || uv_backend_timeout(&s.loop) != 0));
    failures = 0;
    RUN_UNTIL(&s.loop, (bytes += bytes_for(s.peer)) == 1);
  } else {
    failures = 0;
    uvface_close(&s.face, NULL);
    ck_assert_int_eq(bytes_for(s.peer), 1);
  }
  scene_close(&s);
}

static pid_t child = -1;

static void publish_and_fork(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  scene_t* s = face->data;
  int status;

  (void) pkts;
  if (npkts < 0) return;
  publish_once(s);
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) return;
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %#x", (unsigned) status);
  ck_assert_msg(bytes_for(s->peer) == 1, "the child, which has run the loop on, has not settled");
  ndnshm_announce(s->peer, NDNSHM_PACKETS);
}

/* Both processes owe the look, and whoever runs the loop on pays. */
TEST(parent_and_child_of_a_fork_both_settle) {
  scene_t s;

  scene_open(&s);
  send_to_face(&s);
  ASSERT_OK(uvface_recv_start(&s.face, publish_and_fork));
  uv_run(&s.loop, UV_RUN_NOWAIT);
  if (child == 0) _exit(0);
  ck_assert_int_eq(s.deferred, 1);
  ck_assert_int_eq(bytes_for(s.peer), 1);
  scene_close(&s);
}

/* --- At most one byte a turn ------------------------------------------------------------------------- */

enum { NAPS = 5 };

/* The peer sleeps before each packet, and whenever it is woken takes notice and sleeps again. */
static int publish_to_a_dozer(scene_t* s) {
  int bytes = 0;

  for (int i = 0; i < NAPS; i++) {
    ndnshm_announce(s->peer, NDNSHM_PACKETS);
    send_one(&s->face);
    bytes += bytes_for(s->peer);
  }
  ndnshm_announce(s->peer, NDNSHM_PACKETS);
  s->publishes++;
  return bytes;
}

static int bytes_of_turn;

static void wake_once(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  scene_t* s = face->data;

  (void) pkts;
  if (npkts < 0) return;
  ndnshm_announce(s->peer, NDNSHM_PACKETS);
  send_one(face);
  bytes_of_turn += bytes_for(s->peer);
  s->publishes++;
}

static void doze_async(uv_async_t* handle) {
  bytes_of_turn += publish_to_a_dozer(handle->data);
}

static int run_turn(scene_t* s) {
  int bytes;

  bytes_of_turn = 0;
  uv_run(&s->loop, UV_RUN_NOWAIT);
  bytes = bytes_of_turn + bytes_for(s->peer);
  return bytes;
}

/* Before the poll and after it, in one turn and the next: one byte each, and none is lost for that. */
TEST(peer_that_sleeps_again_and_again_gets_one_byte_a_turn) {
  uv_async_t async;
  scene_t s;

  scene_open(&s);
  uv_async_init(&s.loop, &async, doze_async);
  async.data = &s;
  for (int round = 0; round < 3; round++) {
    send_to_face(&s);
    ASSERT_OK(uvface_recv_start(&s.face, wake_once)); /* served before the poll */
    uv_async_send(&async);
    s.publishes = 0;
    ck_assert_int_eq(run_turn(&s), 1);
    ck_assert_int_eq(s.publishes, 2);
    ck_assert_int_eq(uv_backend_timeout(&s.loop), 0); /* owed */
    ck_assert_int_eq(run_turn(&s), 1);
    ck_assert_int_eq(run_turn(&s), 0);
    ASSERT_OK(uvface_recv_stop(&s.face));
    while (ndnshm_peek(s.peer, SIZE_MAX, (struct iovec[64]){{0}}, 64) > 0) ndnshm_release(s.peer);
  }
  uv_close((uv_handle_t*) &async, NULL);
  scene_close(&s);
}

static void doze_idle(uv_idle_t* handle) {
  bytes_of_turn += publish_to_a_dozer(handle->data);
}

/* The idle phase is part of the turn that follows, from the first turn on: its byte comes at once, and is the only
 * one. */
TEST(idle_callback_counts_for_the_turn_that_follows) {
  uv_async_t async;
  uv_idle_t idle;
  scene_t s;

  scene_open(&s);
  uv_async_init(&s.loop, &async, doze_async);
  uv_idle_init(&s.loop, &idle);
  async.data = idle.data = &s;
  for (int turn = 0; turn < 3; turn++) {
    uv_idle_start(&idle, doze_idle);
    ASSERT_OK(uvface_recv_start(&s.other, on_packets)); /* makes it hot: our idle handle comes first */
    uv_async_send(&async);
    ck_assert_int_eq(run_turn(&s), 1);
    ck_assert_int_eq(bytes_of_turn, 1);
    uv_idle_stop(&idle);
    ASSERT_OK(uvface_recv_stop(&s.other));
    ck_assert_int_eq(run_turn(&s), 1); /* owed */
    ck_assert_int_eq(run_turn(&s), 0);
    while (ndnshm_peek(s.peer, SIZE_MAX, (struct iovec[64]){{0}}, 64) > 0) ndnshm_release(s.peer);
  }
  uv_close((uv_handle_t*) &async, NULL);
  uv_close((uv_handle_t*) &idle, NULL);
  scene_close(&s);
}

static void look_first(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  scene_t* s = face->data;

  (void) pkts;
  if (npkts < 0) return;
  ck_assert_msg(bytes_for(s->peer) == 1, "callbacks hold up the byte that the last turn owed");
  s->publishes = 0;
}

TEST(byte_that_is_owed_does_not_wait_for_callbacks) {
  uv_async_t async;
  scene_t s;

  scene_open(&s);
  uv_async_init(&s.loop, &async, doze_async);
  async.data = &s;
  uv_async_send(&async);
  ck_assert_int_eq(run_turn(&s), 1);
  ck_assert_int_eq(s.publishes, 1);
  send_to_face(&s);
  ASSERT_OK(uvface_recv_start(&s.face, look_first));
  uv_run(&s.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(s.publishes, 0);
  uv_close((uv_handle_t*) &async, NULL);
  scene_close(&s);
}

static void doze_and_stop(uv_async_t* handle) {
  bytes_of_turn += publish_to_a_dozer(handle->data);
  uv_stop(handle->loop);
}

/* By the next run, or by closing: until then the loop says that it has something to do. */
TEST_LOOP(byte_that_a_stopped_loop_owes_comes_later, 2) {
  uv_async_t async;
  scene_t s;

  scene_open(&s);
  uv_async_init(&s.loop, &async, doze_and_stop);
  async.data = &s;
  uv_async_send(&async);
  bytes_of_turn = 0;
  uv_run(&s.loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(bytes_of_turn + bytes_for(s.peer), 1);
  ck_assert_int_eq(uv_backend_timeout(&s.loop), 0);
  if (_i == 0)
    uv_run(&s.loop, UV_RUN_NOWAIT);
  else
    uvface_close(&s.face, NULL);
  ck_assert_int_eq(bytes_for(s.peer), 1);
  uv_close((uv_handle_t*) &async, NULL);
  scene_close(&s);
}

static void doze_and_go(uv_async_t* handle) {
  bytes_of_turn += publish_to_a_dozer(handle->data);
  uv_close((uv_handle_t*) handle, NULL);
}

/* Nothing is left that keeps the loop alive, but for the byte that is owed. */
TEST(loop_does_not_end_before_it_has_settled) {
  uv_async_t async;
  scene_t s;

  scene_open(&s);
  uv_async_init(&s.loop, &async, doze_and_go);
  async.data = &s;
  uv_async_send(&async);
  bytes_of_turn = 0;
  uv_run(&s.loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(bytes_of_turn, 1);
  ck_assert_int_eq(bytes_for(s.peer), 1);
  scene_close(&s);
}

static void send_and_go(uv_async_t* handle) {
  scene_t* s = handle->data;

  ndnshm_announce(s->peer, NDNSHM_PACKETS);
  send_one(&s->face);
  uv_close((uv_handle_t*) handle, NULL);
}

/* Nor before there was memory for the byte. */
TEST(loop_does_not_end_before_the_byte_is_written) {
  uv_async_t async;
  scene_t s;

  scene_open(&s);
  uv_async_init(&s.loop, &async, send_and_go);
  async.data = &s;
  uv_async_send(&async);
  failures = 5;
  uv_run(&s.loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(failures, 0);
  ck_assert_int_eq(bytes_for(s.peer), 1);
  scene_close(&s);
}

/* Outside of turns there may be no other turn: as many as it takes. And what a turn still owes is then paid. */
TEST(calls_from_outside_the_loop_wake_as_often_as_it_takes) {
  uv_async_t async;
  scene_t s;

  scene_open(&s);
  ck_assert_int_eq(publish_to_a_dozer(&s), NAPS);
  uv_async_init(&s.loop, &async, doze_async);
  async.data = &s;
  uv_async_send(&async);
  bytes_of_turn = 0;
  uv_run(&s.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(bytes_of_turn, 1);
  ck_assert_int_eq(publish_to_a_dozer(&s), NAPS);
  uv_close((uv_handle_t*) &async, NULL);
  scene_close(&s);
}
