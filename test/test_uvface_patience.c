/* SPDX-License-Identifier: MIT */
/* test_uvface_patience.c: how often a loop calls the kernel for peers that make its calls slow, reading or writing.
 * Clocks and costs are the test's: a turn of the loop takes a millisecond, a call that moves a byte for one of those
 * peers four. So what is counted does not depend on the machine. When a peer is slow, is test_patience.c's; real ones
 * are in test_locks.c. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "faces.h"
#include "puppet.h"

#define MS UINT64_C(1000000)
#define COST_MS 4
/* Two hundred times what a call cost. */
#define REST_MS (200 * COST_MS)
/* How long a look at the ring may take to come, and a turn. */
#define LOOK_MS (100 + 2 * COST_MS)

enum { READING = 1, WRITING = 2, PEERS_MAX = 4 };

/* Of the kernel's calls, or of packets: how many, and the times between them. */
typedef struct pace_s {
  unsigned int n;
  uint64_t last_ns, shortest_ns, longest_ns;
} pace_t;

/* One that makes calls slow: its app, and the engine's face with it. */
typedef struct peer_s {
  uvface_t engine;
  uv_os_fd_t fd; /* the face's */
  puppet_t app;
  int ended;
  bool closing; /* to be opened anew */
  pace_t slow_calls, packets;
} peer_t;

static struct {
  uint64_t now_ns, cpu_ns; /* 0: time is not the test's */
  int slow;                /* READING | WRITING */
  uv_loop_t loop;
  int npeers, opened;
  unsigned int slow_calls; /* of all peers, and of those that are gone */
  pthread_t thread;        /* the loop's */
  int watched_fd;          /* the closes of which are counted: */
  atomic_int closed_by_loop, closed_by_others;
  peer_t peers[PEERS_MAX];
} scene;

static void pace_note(pace_t* pace) {
  uint64_t ns = scene.now_ns - pace->last_ns;

  if (pace->n == 1 || (pace->n > 1 && ns < pace->shortest_ns)) pace->shortest_ns = ns;
  if (pace->n > 0 && ns > pace->longest_ns) pace->longest_ns = ns;
  pace->last_ns = scene.now_ns;
  pace->n++;
}

/* --- Clocks and costs: for the libraries, libuv's among them, these come before libc's ------------------------ */

int clock_gettime(clockid_t clock, struct timespec* t) {
  uint64_t ns = clock == CLOCK_THREAD_CPUTIME_ID ? scene.cpu_ns : scene.now_ns;

  if (scene.now_ns == 0 && clock != CLOCK_THREAD_CPUTIME_ID) return (int) syscall(SYS_clock_gettime, clock, t);
  *t = (struct timespec){(time_t) (ns / 1000000000), (long) (ns % 1000000000)};
  return 0;
}

int getrusage(__rusage_who_t who, struct rusage* usage) {
  int err = (int) syscall(SYS_getrusage, who, usage);

  usage->ru_nvcsw = 0;
  return err;
}

static void take_time(uint64_t ns) {
  scene.now_ns += ns;
  scene.cpu_ns += ns;
}

static void charge(int fd, int what) {
  for (int i = 0; i < scene.npeers; i++) {
    if (scene.peers[i].fd != fd || (scene.slow & what) == 0) continue;
    pace_note(&scene.peers[i].slow_calls);
    scene.slow_calls++;
    take_time(COST_MS * MS);
  }
}

ssize_t send(int fd, const void* bytes, size_t n, int flags) {
  ssize_t sent = syscall(SYS_sendto, fd, bytes, n, flags, NULL, 0);

  if (sent > 0) charge(fd, WRITING);
  return sent;
}

ssize_t recv(int fd, void* bytes, size_t max, int flags) {
  ssize_t n = syscall(SYS_recvfrom, fd, bytes, max, flags, NULL, NULL);

  if (n > 0) charge(fd, READING);
  return n;
}

int close(int fd) {
  if (fd == scene.watched_fd)
    atomic_fetch_add(pthread_equal(pthread_self(), scene.thread) ? &scene.closed_by_loop : &scene.closed_by_others, 1);
  return (int) syscall(SYS_close, fd);
}

/* --- The scene ------------------------------------------------------------------------------------------------ */

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  peer_t* p = face->data;

  if (npkts < 0) {
    p->ended = (int) npkts;
    return;
  }
  pace_note(&p->packets);
  uvface_try_send_batch(face, pkts, (unsigned int) npkts);
}

static void note_polled(uv_handle_t* handle, void* arg) {
  peer_t* p = arg;
  uv_os_fd_t fd;

  if (handle->type != UV_POLL || uv_is_closing(handle)) return;
  ASSERT_OK(uv_fileno(handle, &fd));
  for (int i = 0; i < scene.npeers; i++)
    if (&scene.peers[i] != p && scene.peers[i].fd == fd) return;
  p->fd = fd;
}

static void peer_open(peer_t* p) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  char tag[32];

  memset(p, 0, sizeof(*p));
  p->fd = -1;
  snprintf(tag, sizeof(tag), "slow-%d", scene.opened++);
  ASSERT_OK(uvface_init(&scene.loop, &p->engine));
  p->engine.data = p;
  options.hot_ns = options.spin_ns = 0; /* in a spin no time would pass */
  ASSERT_OK(face_create(&p->engine, harness_name(tag), &options));
  ASSERT_OK(uvface_recv_start(&p->engine, on_packets));
  uv_walk(&scene.loop, note_polled, p);
  ck_assert_int_ge(p->fd, 0);
  puppet_attach(&p->app, harness_name(tag));
}

static void scene_open(int npeers, int slow) {
  faces_kind = BY_SOCKET;
  memset(&scene, 0, sizeof(scene));
  scene.now_ns = scene.cpu_ns = 1000 * MS;
  scene.watched_fd = -1;
  scene.thread = pthread_self();
  ASSERT_OK(uv_loop_init(&scene.loop));
  for (scene.npeers = 0; scene.npeers < npeers; scene.npeers++) peer_open(&scene.peers[scene.npeers]);
  scene.slow = slow;
}

static void scene_close(void) {
  scene.now_ns = 0;
  for (int i = 0; i < scene.npeers; i++) {
    if (scene.peers[i].closing) continue;
    puppet_drop(&scene.peers[i].app);
    if (scene.peers[i].fd >= 0) uvface_close(&scene.peers[i].engine, NULL);
  }
  finish_loop(&scene.loop);
}

/* A packet that is to be answered by one that wakes, and a byte that is to be read. */
static void provoke(peer_t* p) {
  char text[16];

  while (puppet_take(&p->app, text, sizeof(text)) >= 0) continue;
  puppet_store(puppet_word(&p->app, AT_E2A_PARKED), 1);
  puppet_send(&p->app, "echo", 4);
  puppet_write(&p->app, "x", 1);
}

static void turn(void) {
  for (int i = 0; i < scene.npeers; i++)
    if (scene.peers[i].ended == 0) provoke(&scene.peers[i]);
  uv_run(&scene.loop, UV_RUN_NOWAIT);
  take_time(MS);
}

/* --- One -------------------------------------------------------------------------------------------------------- */

TEST_LOOP(slow_peer_is_neither_read_nor_written_for_a_while_and_then_fails, 3) {
  peer_t* p = &scene.peers[0];
  int turns = 0;

  scene_open(1, _i + 1);
  while (p->ended == 0 && turns++ < 5000) turn();
  ck_assert_int_eq(p->ended, UV_EIO);
  ck_assert_uint_eq(p->slow_calls.n, 3);
  ck_assert_uint_ge(p->slow_calls.shortest_ns, REST_MS * MS);
  ck_assert_uint_ge(p->packets.n, 6); /* the ring was looked at all the same */
  ck_assert_uint_le(p->packets.longest_ns, LOOK_MS * MS);
  scene_close();
}

/* What lies in the socket would keep a loop that polls for it from sleeping. */
TEST(loop_sleeps_beside_a_socket_that_is_not_to_be_read) {
  struct pollfd events = {.events = POLLIN};
  peer_t* p = &scene.peers[0];

  scene_open(1, READING);
  for (int turns = 0; p->slow_calls.n == 0 && turns < 100; turns++) turn();
  ck_assert_uint_eq(p->slow_calls.n, 1);
  provoke(p);
  for (int turns = 0; turns < 20; turns++) {
    uv_run(&scene.loop, UV_RUN_NOWAIT);
    take_time(MS);
  }
  events.fd = uv_backend_fd(&scene.loop);
  ck_assert_int_eq(poll(&events, 1, 0), 0);
  ck_assert_int_gt(uv_backend_timeout(&scene.loop), 0);
  ck_assert_int_eq(p->ended, 0);
  scene_close();
}

TEST(death_of_a_peer_that_is_left_alone_is_found_afterwards) {
  peer_t* p = &scene.peers[0];

  scene_open(1, READING);
  for (int turns = 0; p->slow_calls.n == 0 && turns < 100; turns++) turn();
  puppet_die(&p->app);
  scene.slow = 0;
  for (int turns = 0; p->ended == 0 && turns < REST_MS + 10; turns++) {
    uv_run(&scene.loop, UV_RUN_NOWAIT);
    take_time(MS);
  }
  ck_assert_int_eq(p->ended, UV_EOF);
  scene_close();
}

static void note_closed(uvface_t* face) {
  peer_t* p = face->data;

  p->ended = atomic_load(&scene.closed_by_others);
}

/* It wakes the app's sleepers, and once more for each byte that was not read. */
TEST(closing_a_private_face_is_no_call_of_the_loops) {
  peer_t* p = &scene.peers[0];

  scene_open(1, 0);
  turn();
  scene.now_ns = 0; /* libuv and the kernel keep time by themselves */
  scene.watched_fd = p->fd;
  uvface_close(&p->engine, note_closed);
  RUN_UNTIL(&scene.loop, p->engine.priv_ == NULL);
  ck_assert_int_eq(p->ended, 1); /* before the callback */
  ck_assert_int_eq(atomic_load(&scene.closed_by_loop), 0);
  ck_assert_int_eq(puppet_write(&p->app, "x", 1), -1);
  p->fd = -1;
  scene_close();
}

/* --- Many ------------------------------------------------------------------------------------------------------- */

static void on_closed(uvface_t* face) {
  peer_t* p = face->data;

  puppet_drop(&p->app);
  if (scene.now_ns != 0) peer_open(p);
}

/* Each as soon as it may, and anew as soon as it has failed: the first call of each tells nothing before it is made. */
TEST(slow_peers_have_one_share_together_however_often_they_come_again) {
  enum { SECONDS = 30 };
  uint64_t end_ns;

  scene_open(PEERS_MAX, READING | WRITING);
  end_ns = scene.now_ns + SECONDS * 1000 * MS;
  while (scene.now_ns < end_ns) {
    turn();
    for (int i = 0; i < PEERS_MAX; i++) {
      peer_t* p = &scene.peers[i];

      if (p->ended == 0 || p->closing) continue;
      ck_assert_int_eq(p->ended, UV_EIO);
      p->closing = true;
      p->fd = -1;
      uvface_close(&p->engine, on_closed);
    }
  }
  ck_assert_int_ge(scene.opened, 2 * PEERS_MAX);
  ck_assert_uint_le(scene.slow_calls, (unsigned int) (SECONDS * 1000 / REST_MS + scene.opened));
  ck_assert_int_le(scene.opened, PEERS_MAX + SECONDS * 1000 / REST_MS / 2);
  scene_close();
}
