/* SPDX-License-Identifier: MIT */
/* test_uvface_processes.c: a face between processes that really run and are really killed.
 * UVFACE_ROUND_TRIPS sets the length of the wake-up test. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faces.h"

#define ROUND_TRIPS 20000u

/* --- The kill matrix -------------------------------------------------------------------------- */

typedef enum victim_state { IDLE, PARKED, SENDING, RING_FULL, N_STATES } victim_state_t;

typedef struct victim_s {
  const char* name;
  bool engine;
  victim_state_t state;
  bool echo;
  pid_t* child; /* where to leave the id of a child that holds all its descriptors, too; NULL = none */
} victim_t;

static void flood(uv_idle_t* idle) {
  fill_ring(idle->data);
}

/* A process that gets into its state and stays there until it is killed. */
static int victim_body(void* arg) {
  const victim_t* victim = arg;
  end_t end = {.echo = victim->echo};
  uv_timer_t forever;
  uv_idle_t flooder;

  if (end_open(&end, victim->name, victim->engine, NULL) != 0) return 1;
  if (victim->child != NULL) {
    pid_t child = fork();

    if (child == 0) {
      alarm(HARNESS_TIMEOUT_S * harness_slow()); /* its parent's death is not its own */
      for (;;) pause();
    }
    *victim->child = child;
  }
  uv_timer_init(&end.loop, &forever);
  uv_timer_start(&forever, (uv_timer_cb) abort, 60000, 0);
  if (victim->state == PARKED) uvface_recv_start(&end.face, end_on_packets);
  if (victim->state == RING_FULL) fill_ring(&end.face);
  if (victim->state == SENDING) {
    uv_idle_init(&end.loop, &flooder);
    flooder.data = &end.face;
    uv_idle_start(&flooder, flood);
  }
  return uv_run(&end.loop, UV_RUN_DEFAULT);
}

static int saw_peer;

static void look_for_peer(uv_timer_t* timer) {
  uvface_stats_t stats;

  uvface_get_stats(timer->data, &stats);
  if (stats.peer_caps == 0) return;
  saw_peer = 1;
  uv_timer_stop(timer);
  timer->data = NULL;
  uv_close((uv_handle_t*) timer, NULL);
}

static void wait_for_peer(end_t* end) {
  uv_timer_t timer;

  saw_peer = 0;
  uv_timer_init(&end->loop, &timer);
  timer.data = &end->face;
  uv_timer_start(&timer, look_for_peer, 1, 1);
  RUN_UNTIL(&end->loop, saw_peer);
}

/* Kills a peer in a state; how long after that the survivor was told. */
static uint64_t kill_and_time(const victim_t* victim) {
  end_t survivor = {0};
  uvface_t next;
  uint64_t killed_ns;
  pid_t pid = harness_fork(victim_body, (void*) (uintptr_t) victim);

  ck_assert_int_eq(end_open(&survivor, victim->name, !victim->engine, NULL), 0);
  wait_for_peer(&survivor);
  ASSERT_OK(uvface_recv_start(&survivor.face, end_on_packets));
  if (victim->state == RING_FULL) RUN_UNTIL(&survivor.loop, survivor.received >= 256);
  run_for(&survivor.loop, 20);
  ck_assert_int_eq(survivor.error, 0);
  killed_ns = harness_now_ns();
  harness_kill(pid);
  RUN_UNTIL(&survivor.loop, survivor.done);
  ck_assert_int_eq(survivor.error, UV_EOF);
  run_asleep(&survivor.loop, 300); /* no polling of a dead FIFO */
  uvface_close(&survivor.face, NULL);
  if (victim->engine &&
      faces_kind == NAMED) { /* what a dead engine left is cleaned by the next, and only by an engine */
    ASSERT_OK(uvface_init(&survivor.loop, &next));
    ck_assert_int_eq(uvface_connect(&next, victim->name, NULL), UV_ECONNREFUSED);
    ASSERT_OK(uvface_create(&next, victim->name, NULL));
    uvface_close(&next, NULL);
  }
  finish_loop(&survivor.loop);
  return survivor.eof_ns - killed_ns;
}

/* On a busy machine the kernel may keep anybody waiting longer than that: one in time, of some. */
TEST_KINDS_LOOP(killed_peer_is_reported_within_50_ms, 2 * N_STATES) {
  victim_t victim = {.name = harness_name("kill"), .engine = _i % 2 == 0, .state = (victim_state_t) (_i / 2)};
  uint64_t shortest_ns = UINT64_MAX;

  for (int death = 0; death < REPORT_DEATHS && shortest_ns >= REPORT_NS; death++) {
    uint64_t ns = kill_and_time(&victim);

    if (ns < shortest_ns) shortest_ns = ns;
  }
  ck_assert_msg(shortest_ns < REPORT_NS, "reported after %llu us", (unsigned long long) shortest_ns / 1000);
}

static int sends_done, last_status;

static void note_status(uvface_send_t* req, int status) {
  (void) req;
  last_status = status;
  sends_done = 1;
}

/* Fills the ring of a peer that takes nothing, and waits for one packet more until its deadline. */
static void assert_send_times_out(end_t* end) {
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uvface_send_t req;

  end->sent = (uint64_t) fill_ring(&end->face);
  ck_assert_uint_eq(end->sent, 256);
  sends_done = 0;
  ASSERT_OK(uvface_send(&req, &end->face, &buf, 1, note_status));
  RUN_UNTIL(&end->loop, sends_done);
  ck_assert_int_eq(last_status, UV_ETIMEDOUT);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&end->face), "stayed full for 300 ms"));
  ck_assert_int_eq(end->error, 0); /* slow, or gone for all we know, but not seen to be dead */
}

static void end_open_with_deadline(end_t* end, const victim_t* victim) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  options.send_timeout_ms = 300;
  ck_assert_int_eq(end_open(end, victim->name, !victim->engine, &options), 0);
  wait_for_peer(end);
  ASSERT_OK(uvface_recv_start(&end->face, end_on_packets));
}

/* Closes the survivor, and what a killed engine left. */
static void close_after_death(end_t* end, const victim_t* victim) {
  RUN_UNTIL(&end->loop, end->done);
  ck_assert_int_eq(end->error, UV_EOF);
  uvface_close(&end->face, NULL);
  if (victim->engine && faces_kind == NAMED) {
    ASSERT_OK(uvface_init(&end->loop, &end->face));
    ASSERT_OK(uvface_create(&end->face, victim->name, NULL));
    uvface_close(&end->face, NULL);
  }
  finish_loop(&end->loop);
}

TEST_KINDS_LOOP(stopped_peer_is_not_dead_and_sends_time_out, 2) {
  victim_t victim = {.name = harness_name("stop"), .engine = _i == 0, .state = PARKED, .echo = true};
  end_t survivor = {0};
  pid_t pid = harness_fork(victim_body, &victim);

  end_open_with_deadline(&survivor, &victim);
  kill(pid, SIGSTOP);
  ck_assert(harness_wait_state(pid, 'T', DEADLINE_MS));
  assert_send_times_out(&survivor);
  run_asleep(&survivor.loop, 300);
  kill(pid, SIGCONT);
  survivor.count = 2 * survivor.sent; /* all come back; and the face works as before */
  RUN_UNTIL(&survivor.loop, survivor.received >= survivor.sent);
  survivor.size_bytes = 64;
  for (uint64_t i = 0; i < 256; i++) ck_assert(end_send_message(&survivor));
  RUN_UNTIL(&survivor.loop, survivor.done);
  survivor.done = 0;
  survivor.count = 0;
  ck_assert_int_eq(survivor.error, 0);
  harness_kill(pid);
  close_after_death(&survivor, &victim);
}

/* --- Restarts --------------------------------------------------------------------------------- */

#define RESTARTS 100
#define IN_FLIGHT 32

static int echo_engine_body(void* arg) {
  end_t end = {.echo = true};

  if (end_open(&end, arg, true, NULL) != 0) {
    fprintf(stderr, "# %s\n", uvface_errmsg(&end.face));
    return 1;
  }
  uvface_recv_start(&end.face, end_on_packets);
  return uv_run(&end.loop, UV_RUN_DEFAULT);
}

/* Names that are nearly the face's own, and no business of its engines. */
typedef struct neighbour_s {
  char paths[3][320];
  struct stat before[3];
} neighbour_t;

static void neighbour_make(neighbour_t* n, const char* name) {
  snprintf(n->paths[0], sizeof(n->paths[0]), "%s", harness_shm_path(name));
  snprintf(n->paths[1], sizeof(n->paths[1]), "%s", harness_a2e_path(name));
  snprintf(n->paths[2], sizeof(n->paths[2]), "%s", harness_e2a_path(name));
  close(open(n->paths[0], O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  ck_assert(mkfifo(n->paths[1], 0600) == 0 && mkfifo(n->paths[2], 0600) == 0);
  for (int p = 0; p < 3; p++) ck_assert_int_eq(lstat(n->paths[p], &n->before[p]), 0);
}

static void neighbour_remove_untouched(const neighbour_t* n) {
  for (int p = 0; p < 3; p++) {
    struct stat after;

    ck_assert_int_eq(lstat(n->paths[p], &after), 0);
    ck_assert_uint_eq(after.st_ino, n->before[p].st_ino);
    ck_assert_uint_eq(after.st_mode, n->before[p].st_mode);
    ck_assert_int_eq(after.st_size, n->before[p].st_size);
    ck_assert_int_eq(unlink(n->paths[p]), 0);
  }
}

/* Engines are killed in mid-traffic; every other time the next one takes the name before the app has noticed. No engine
 * is killed that has had no app yet: it may not have made all its names. */
TEST_KINDS(app_survives_engine_restarts) {
  char name[80];
  neighbour_t longer, shorter;
  pid_t pid;

  snprintf(name, sizeof(name), "%s", harness_name("again"));
  neighbour_make(&longer, harness_name("again2"));
  neighbour_make(&shorter, harness_name("agai"));
  pid = harness_fork(echo_engine_body, name);
  for (int round = 0; round < RESTARTS; round++) {
    end_t app = {.count = (uint64_t) (IN_FLIGHT + round * 37 % 101), .stream = true, .verify = true, .size_bytes = 64};

    ck_assert_int_eq(end_open(&app, name, false, NULL), 0);
    ASSERT_OK(uvface_recv_start(&app.face, end_on_packets));
    for (int i = 0; i < IN_FLIGHT; i++) ck_assert(end_send_message(&app));
    RUN_UNTIL(&app.loop, app.done);
    ck_assert_int_eq(app.error, 0);
    app.done = 0;
    app.count = 0;
    harness_kill(pid);
    if (round % 2 == 0) pid = harness_fork(echo_engine_body, name);
    RUN_UNTIL(&app.loop, app.done);
    if (round % 2 == 1 && round < RESTARTS - 1) pid = harness_fork(echo_engine_body, name);
    ck_assert_int_eq(app.error, UV_EOF);
    ck_assert_uint_eq(app.bad, 0);
    end_close(&app);
  }
  if (faces_kind == NAMED) {
    /* Of the last engine; one that may seal its region has taken the name of that away itself. */
    ck_assert(unlink(harness_shm_path(name)) == 0 || errno == ENOENT);
    ck_assert_int_eq(unlink(harness_a2e_path(name)), 0);
    ck_assert_int_eq(unlink(harness_e2a_path(name)), 0);
  }
  neighbour_remove_untouched(&longer);
  neighbour_remove_untouched(&shorter);
}

/* --- Children that the application forks -------------------------------------------------------- */

#define FORKS 60

/* A face with the guard comes and goes, on a loop of its own. */
static int come_and_go(void* arg) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_loop_t loop;
  uvface_t face;

  (void) arg;
  options.capacity = 4;
  options.slot_size = 64;
  options.flags = UVFACE_SIGBUS_GUARD;
  REQUIRE(uv_loop_init(&loop) == 0);
  REQUIRE(uvface_init(&loop, &face) == 0);
  REQUIRE(uvface_create_private(&face, &options) == 0);
  uvface_close(&face, NULL);
  REQUIRE(uv_run(&loop, UV_RUN_DEFAULT) == 0);
  REQUIRE(uv_loop_close(&loop) == 0);
  return 0;
}

static void* come_and_go_until_told(void* stop) {
  /* relaxed: it orders nothing */
  while (!atomic_load_explicit((atomic_bool*) stop, memory_order_relaxed))
    if (come_and_go(NULL) != 0) abort();
  return NULL;
}

/* Two threads, so that a lock is nearly always held. */
TEST(child_forked_while_others_open_faces_opens_its_own) {
  atomic_bool stop = false;
  pthread_t threads[2];

  if (harness_under_sanitizer()) SKIP("a sanitizer's own locks do not survive a fork of many threads");
  if (harness_under_emulation()) SKIP("qemu's own locks do not survive a fork of many threads");
  if (harness_under_valgrind()) SKIP("what other threads were using is lost in the child, and valgrind says so");
  for (int i = 0; i < 2; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go_until_told, &stop), 0);
  for (int i = 0; i < FORKS; i++) assert_child_passes(come_and_go, NULL);
  atomic_store_explicit(&stop, true, memory_order_relaxed); /* relaxed: as above */
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

/* In the child: both ends of its copy. */
static int close_copies(void* arg) {
  pair_t* pair = arg;

  REQUIRE(uv_loop_fork(&pair->loop) == 0);
  uvface_close(&pair->engine, NULL);
  uvface_close(&pair->app, NULL);
  return 0;
}

static void count_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  end_t* end = face->data;

  (void) pkts;
  if (npkts < 0)
    end->error = (int) npkts;
  else
    end->received += (uint64_t) npkts;
}

/* What waits to be written when the child is made is in the buffers of both processes. */
TEST(child_that_closes_its_copy_sends_nothing_of_its_parents) {
  static char element[2] = {5, 0};
  uv_buf_t buf = uv_buf_init(element, sizeof(element));
  static end_t end;
  pair_t pair;

  faces_kind = STREAM;
  pair_open(&pair, NULL);
  pair.engine.data = &end;
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  for (int n = 0; n < 3; n++) ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), 2);
  assert_child_passes(close_copies, &pair);
  uvface_close(&pair.app, NULL);
  RUN_UNTIL(&pair.loop, end.error != 0);
  ck_assert_int_eq(end.error, UV_EOF);
  ck_assert_uint_eq(end.received, 3);
  pair_close(&pair);
}

static void fork_beside_a_borrowed_packet(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  pair_t* pair = face->data;
  static char other[2] = {7, 0};
  uv_buf_t buf = uv_buf_init(other, sizeof(other));

  if (npkts < 0) return;
  ck_assert_int_eq(npkts, 1);
  assert_child_passes(close_copies, pair);
  ck_assert_int_eq(uvface_try_send(&pair->app, &buf, 1), UV_EAGAIN); /* its slot is not free */
  ck_assert_int_eq(pkts[0].base[0], 5);
  uvface_close(face, NULL);
}

/* The parent still reads the slot. */
TEST(child_that_closes_its_copy_gives_back_nothing_of_its_parents) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  static char element[2] = {5, 0};
  uv_buf_t buf = uv_buf_init(element, sizeof(element));
  pair_t pair;

  options.capacity = 1;
  options.slot_size = 60;
  options.flags = UVFACE_RECV_BORROW;
  pair_open(&pair, &options);
  pair.engine.data = &pair;
  ASSERT_OK(uvface_recv_start(&pair.engine, fork_beside_a_borrowed_packet));
  ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), 2);
  RUN_UNTIL(&pair.loop, uvface_is_closing(&pair.engine));
  pair_close(&pair);
}

/* --- Programs that the application starts ----------------------------------------------------- */

/* Notes which descriptors are open; then asserts that the others have been told to close when a program starts. */
static void note_open(bool open[256]) {
  for (int fd = 0; fd < 256; fd++) open[fd] = fcntl(fd, F_GETFD) >= 0;
}

static int assert_closed_on_exec(const bool before[256]) {
  int n = 0;

  for (int fd = 0; fd < 256; fd++) {
    if (before[fd] || fcntl(fd, F_GETFD) < 0) continue;
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    n++;
  }
  return n;
}

TEST_KINDS(program_inherits_no_descriptor) {
  static const char* const argv[] = {"/bin/ls", "-l", "/proc/self/fd", NULL};
  static const int least[N_KINDS] = {5, 3, 4}; /* beside those of the loop */
  char line[1024];
  int fd, lines = 0;
  bool before[256];
  pair_t pair;
  pid_t pid;

  note_open(before);
  pair_open(&pair, NULL);
  ASSERT_OK(uvface_recv_start(&pair.engine, end_on_packets));
  ck_assert_int_ge(assert_closed_on_exec(before), least[faces_kind]);
  pid = harness_spawn(argv, &fd);
  while (harness_read_line(fd, line, sizeof(line), DEADLINE_MS)) {
    lines++;
    ck_assert_msg(strstr(line, "ndn-") == NULL && strstr(line, "/dev/shm/#") == NULL, "%s", line);
  }
  ck_assert_int_ge(lines, 3);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  close(fd);
  pair_close(&pair);
}

/* --- Park and wake ---------------------------------------------------------------------------- */

/* Up to 8 us at random: enough for the other end to park meanwhile, or to be just about to. */
static void dawdle(void) {
  static uint32_t random = 2463534242u;
  uint64_t end_ns;

  random ^= random << 13;
  random ^= random >> 17;
  random ^= random << 5;
  end_ns = harness_now_ns() + random % 8192;
  while (harness_now_ns() < end_ns) continue;
}

static void next_trip(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  end_t* end = face->data;

  ck_assert_int_eq(npkts, 1);
  dawdle();
  if (++end->received == end->count)
    end->done = 1;
  else
    ck_assert_int_gt(uvface_try_send(face, pkts, 1), 0);
}

static int echo_cold_body(void* arg) {
  end_t end = {.echo = true};
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  options.hot_ns = options.spin_ns = 0;
  if (end_open(&end, arg, true, &options) != 0) return 1;
  uvface_recv_start(&end.face, end_on_packets);
  uv_run(&end.loop, UV_RUN_DEFAULT);
  end_close(&end);
  return 0;
}

TEST_KINDS(no_round_trip_through_sleep_stalls) {
  const char* trips = getenv("UVFACE_ROUND_TRIPS");
  char name[80];
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_stats_t stats;
  end_t app = {.count = trips != NULL ? strtoull(trips, NULL, 10) : ROUND_TRIPS};
  uint64_t enough_ns = harness_now_ns() + UINT64_C(20000000000) * harness_slow(); /* as many as come in that time */
  pid_t pid;

  snprintf(name, sizeof(name), "%s", harness_name("cold"));
  pid = harness_fork(echo_cold_body, name);
  options.hot_ns = options.spin_ns = 0; /* so that both ends park after every packet */
  options.recheck_ms = 0;               /* so that nothing but a wake-up can help */
  ck_assert_int_eq(end_open(&app, name, false, &options), 0);
  ASSERT_OK(uvface_recv_start(&app.face, next_trip));
  ck_assert_int_eq(uvface_try_send(&app.face, &buf, 1), 1);
  while (!app.done) {
    uint64_t before = app.received;

    RUN_UNTIL(&app.loop, app.done || app.received >= before + 100); /* one that stalls lasts for ever */
    if (!app.done && harness_now_ns() > enough_ns) app.count = app.received + 1;
  }
  ASSERT_OK(uvface_get_stats(&app.face, &stats));
  /* Or the test has tested nothing. On one CPU it may always be the same end that sleeps. */
  ck_assert_uint_ge(stats.wakeups_sent + stats.wakeups_received, app.count / 20);
  end_close(&app);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
}
