/* SPDX-License-Identifier: MIT */
/* test_uvface_processes.c: a face between processes that really run and are really killed, and against
 * foreign peers: the spec-literal one of this suite (UVFACE_LITERAL_PEER), and ndn-rs itself where
 * UVFACE_NDNRS_PEER names its binary. UVFACE_ROUND_TRIPS sets the length of the wake-up test. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faces.h"

#define VERIFIED_PACKETS 200000u
#define ROUND_TRIPS 20000u
#define CONNECT_RETRY_MS 5

/* --- A face of one role, with what happened to it --------------------------------------------- */

typedef struct end_s {
  uv_loop_t loop;
  uvface_t face;
  uint64_t received, bad;
  uint64_t sent, to_send;
  size_t size_bytes;
  bool echo, verify;
  uint64_t count;    /* ends after so many received; 0 = never */
  uint64_t eof_ns;   /* when the end was told */
  int error;         /* UV_EOF ... */
  int done;
} end_t;

static void fill_message(unsigned char* message, size_t bytes, uint64_t sequence) {
  memset(message, (int) (sequence & 0xff), bytes);
  for (int b = 0; b < 8; b++) message[b] = (unsigned char) (sequence >> (8 * b));
}

static bool check_message(const uv_buf_t* packet, size_t bytes, uint64_t sequence) {
  unsigned char expected[9000];

  fill_message(expected, bytes, sequence);
  return packet->len == bytes && memcmp(packet->base, expected, bytes) == 0;
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  end_t* end = face->data;

  if (npkts < 0) {
    end->eof_ns = harness_now_ns();
    end->error = (int) npkts;
    end->done = 1;
    return;
  }
  for (ssize_t p = 0; p < npkts; p++) {
    if (end->verify && !check_message(&pkts[p], end->size_bytes, end->received)) end->bad++;
    end->received++;
    if (end->echo && uvface_try_send(face, &pkts[p], 1) < 0) end->bad++;
  }
  if (end->count != 0 && end->received >= end->count) end->done = 1;
}

/* Opens a face of a role on a loop of its own; an app waits for its engine. */
static int end_open(end_t* end, const char* name, bool engine, const uvface_options_t* options) {
  uint64_t deadline_ns = harness_now_ns() + UINT64_C(10000000000) * harness_slow();
  int err;

  uv_loop_init(&end->loop);
  uvface_init(&end->loop, &end->face);
  end->face.data = end;
  if (engine) return uvface_create(&end->face, name, options);
  do {
    err = uvface_connect(&end->face, name, options);
    if (err == 0) break;
    run_for(&end->loop, CONNECT_RETRY_MS);
  } while (harness_now_ns() < deadline_ns);
  return err;
}

static void end_close(end_t* end) {
  uvface_close(&end->face, NULL);
  finish_loop(&end->loop);
}

/* --- The kill matrix -------------------------------------------------------------------------- */

typedef enum victim_state { IDLE, PARKED, SENDING, RING_FULL, N_STATES } victim_state_t;

typedef struct victim_s {
  const char* name;
  bool engine;
  victim_state_t state;
} victim_t;

static void flood(uv_idle_t* idle) {
  fill_ring(idle->data);
}

/* A process that gets into its state and stays there until it is killed. */
static int victim_body(void* arg) {
  const victim_t* victim = arg;
  end_t end = {0};
  uv_timer_t forever;
  uv_idle_t flooder;

  if (end_open(&end, victim->name, victim->engine, NULL) != 0) return 1;
  uv_timer_init(&end.loop, &forever);
  uv_timer_start(&forever, (uv_timer_cb) abort, 60000, 0);
  if (victim->state == PARKED) uvface_recv_start(&end.face, on_packets);
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

/* How long it took until the survivor was told. */
static uint64_t kill_and_wait_ns(victim_t* victim) {
  end_t survivor = {0};
  uvface_t next;
  uint64_t killed_ns;
  pid_t pid = harness_fork(victim_body, victim);

  ck_assert_int_eq(end_open(&survivor, victim->name, !victim->engine, NULL), 0);
  wait_for_peer(&survivor);
  ASSERT_OK(uvface_recv_start(&survivor.face, on_packets));
  if (victim->state == RING_FULL) RUN_UNTIL(&survivor.loop, survivor.received >= 256);
  run_for(&survivor.loop, 20);
  ck_assert_int_eq(survivor.error, 0);
  killed_ns = harness_now_ns();
  harness_kill(pid);
  RUN_UNTIL(&survivor.loop, survivor.done);
  ck_assert_int_eq(survivor.error, UV_EOF);
  run_asleep(&survivor.loop, 300); /* no polling of a dead FIFO */
  uvface_close(&survivor.face, NULL);
  if (victim->engine) { /* what a dead engine left is cleaned by the next, and only by an engine */
    ASSERT_OK(uvface_init(&survivor.loop, &next));
    ck_assert_int_eq(uvface_connect(&next, victim->name, NULL), UV_ECONNREFUSED);
    ASSERT_OK(uvface_create(&next, victim->name, NULL));
    uvface_close(&next, NULL);
  }
  finish_loop(&survivor.loop);
  return survivor.eof_ns - killed_ns;
}

/* A busy machine may keep us, or the dying, from running for longer than that, but not time after time. */
#define REPORT_LIMIT_NS (50 * UINT64_C(1000000) * harness_slow())
#define REPORT_ATTEMPTS 5

START_TEST(killed_peer_is_reported_within_50_ms) {
  victim_t victim = {harness_name("kill"), _i % 2 == 0, (victim_state_t) (_i / 2)};
  uint64_t took_ns = UINT64_MAX;

  for (int n = 0; n < REPORT_ATTEMPTS && took_ns >= REPORT_LIMIT_NS; n++) took_ns = kill_and_wait_ns(&victim);
  ck_assert_msg(took_ns < REPORT_LIMIT_NS, "reported after %llu us", (unsigned long long) took_ns / 1000);
}
END_TEST

START_TEST(dead_engines_name_is_free_while_its_app_lives_on) {
  victim_t victim = {harness_name("heir"), true, PARKED};
  end_t survivor = {0};
  uvface_t heir;
  int a2e = -1, e2a = -1;
  pid_t pid = harness_fork(victim_body, &victim);

  ck_assert_int_eq(end_open(&survivor, victim.name, false, NULL), 0);
  if (_i == 1) { /* and as an ndn-rs app would hold them */
    a2e = open(harness_a2e_path(victim.name), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    e2a = open(harness_e2a_path(victim.name), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    ck_assert(a2e >= 0 && e2a >= 0);
  }
  harness_kill(pid);
  ASSERT_OK(uvface_init(&survivor.loop, &heir)); /* the app still reads e2a, and has not looked yet */
  ck_assert_msg(uvface_create(&heir, victim.name, NULL) == 0, "%s", uvface_errmsg(&heir));
  if (_i == 1) ck_assert(close(a2e) == 0 && close(e2a) == 0);
  ASSERT_OK(uvface_recv_start(&survivor.face, on_packets));
  RUN_UNTIL(&survivor.loop, survivor.done);
  ck_assert_int_eq(survivor.error, UV_EOF);
  uvface_close(&heir, NULL);
  end_close(&survivor);
}
END_TEST

START_TEST(stopped_peer_is_not_dead_and_sends_time_out) {
  victim_t victim = {harness_name("stop"), true, PARKED};
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  end_t survivor = {0};
  uvface_send_t req;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  pid_t pid = harness_fork(victim_body, &victim);

  options.send_timeout_ms = 300;
  ck_assert_int_eq(end_open(&survivor, victim.name, false, &options), 0);
  ASSERT_OK(uvface_recv_start(&survivor.face, on_packets));
  kill(pid, SIGSTOP);
  ck_assert(harness_wait_state(pid, 'T', 2000));
  while (uvface_try_send(&survivor.face, &buf, 1) > 0) continue;
  ASSERT_OK(uvface_send(&req, &survivor.face, &buf, 1, NULL));
  run_asleep(&survivor.loop, 600);
  ck_assert_int_eq(survivor.error, 0);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&survivor.face), "stayed full for 300 ms"));
  kill(pid, SIGCONT);
  harness_kill(pid);
  RUN_UNTIL(&survivor.loop, survivor.done);
  uvface_close(&survivor.face, NULL);
  ASSERT_OK(uvface_init(&survivor.loop, &survivor.face));
  ASSERT_OK(uvface_create(&survivor.face, victim.name, NULL)); /* cleans up what the killed engine left */
  end_close(&survivor);
}
END_TEST

/* --- Restarts --------------------------------------------------------------------------------- */

static int echo_engine_body(void* arg) {
  end_t end = {.echo = true};

  if (end_open(&end, arg, true, NULL) != 0) return 1;
  uvface_recv_start(&end.face, on_packets);
  return uv_run(&end.loop, UV_RUN_DEFAULT);
}

START_TEST(app_survives_engine_restarts) {
  char name[80];
  unsigned char message[64];
  uv_buf_t buf = uv_buf_init((char*) message, sizeof(message));

  snprintf(name, sizeof(name), "%s", harness_name("again"));
  for (int round = 0; round < 10; round++) {
    end_t app = {.count = 100};
    pid_t pid = harness_fork(echo_engine_body, name);

    ck_assert_int_eq(end_open(&app, name, false, NULL), 0);
    ASSERT_OK(uvface_recv_start(&app.face, on_packets));
    for (uint64_t i = 0; i < app.count; i++) {
      fill_message(message, sizeof(message), i);
      ck_assert_int_eq(uvface_try_send(&app.face, &buf, 1), (int) sizeof(message));
    }
    RUN_UNTIL(&app.loop, app.done);
    app.done = 0;
    app.count = 0;
    harness_kill(pid);
    RUN_UNTIL(&app.loop, app.done);
    ck_assert_int_eq(app.error, UV_EOF);
    end_close(&app);
  }
  /* Of the last, killed engine; one that may seal its region has taken the name of that away itself. */
  ck_assert(unlink(harness_shm_path(name)) == 0 || errno == ENOENT);
  ck_assert_int_eq(unlink(harness_a2e_path(name)), 0);
  ck_assert_int_eq(unlink(harness_e2a_path(name)), 0);
}
END_TEST

/* --- Park and wake ---------------------------------------------------------------------------- */

static uint64_t trip_started_ns, longest_trip_ns;

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
  uint64_t now_ns = harness_now_ns();

  ck_assert_int_eq(npkts, 1);
  dawdle();
  if (now_ns - trip_started_ns > longest_trip_ns) longest_trip_ns = now_ns - trip_started_ns;
  trip_started_ns = now_ns;
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
  uvface_recv_start(&end.face, on_packets);
  uv_run(&end.loop, UV_RUN_DEFAULT);
  end_close(&end);
  return 0;
}

START_TEST(no_round_trip_through_sleep_stalls) {
  const char* trips = getenv("UVFACE_ROUND_TRIPS");
  char name[80];
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_stats_t stats;
  end_t app = {.count = trips != NULL ? strtoull(trips, NULL, 10) : ROUND_TRIPS};
  pid_t pid;

  snprintf(name, sizeof(name), "%s", harness_name("cold"));
  pid = harness_fork(echo_cold_body, name);
  options.hot_ns = options.spin_ns = 0; /* so that both ends park after every packet */
  options.recheck_ms = 0;               /* so that nothing but a wake-up can help */
  ck_assert_int_eq(end_open(&app, name, false, &options), 0);
  ASSERT_OK(uvface_recv_start(&app.face, next_trip));
  longest_trip_ns = 0;
  trip_started_ns = harness_now_ns();
  ck_assert_int_eq(uvface_try_send(&app.face, &buf, 1), 1);
  ck_assert(run_until(&app.loop, &app.done, (int) (10000 + app.count)));
  ASSERT_OK(uvface_get_stats(&app.face, &stats));
  ck_assert_uint_ge(stats.wakeups_sent, app.count / 20); /* or the test has tested nothing */
  ck_assert_uint_lt(longest_trip_ns, UINT64_C(2000000000) * harness_slow());
  end_close(&app);
  ck_assert_int_eq(harness_wait(pid, 5000), 0);
}
END_TEST

/* --- Foreign peers ---------------------------------------------------------------------------- */

/* The binary of the foreign peer that the loop index names; NULL after saying why it is skipped. */
static const char* foreign_peer(int which) {
  const char* variable = which == 0 ? "UVFACE_LITERAL_PEER" : "UVFACE_NDNRS_PEER";
  const char* path = getenv(variable);

  if (path != NULL && path[0] != '\0') return path;
  fprintf(stderr, "# skipped: %s does not name a peer\n", variable);
  return NULL;
}

static pid_t start_foreign(const char* path, const char* role_command, const char* name, const char* count,
                           const char* size, int* ret_stdout_fd) {
  const char* argv[] = {path, role_command, name, count, size, "--verify", NULL};
  const char* argv_without_size[] = {path, role_command, name, count, "--verify", "--size", size, NULL};
  bool is_source = strstr(role_command, "source") != NULL;

  return harness_spawn(is_source ? argv : argv_without_size, ret_stdout_fd);
}

/* Reads what the peer prints until it ends; false if it says that a packet was wrong. The literal peer
 * says so by its exit status alone. */
static bool foreign_verified(int fd, bool says_so) {
  char line[256];
  bool clean = !says_so;

  while (harness_read_line(fd, line, sizeof(line), 20000)) {
    unsigned long long n, forward, backward, torn, badlen;

    if (sscanf(line, "verify: n=%llu order_errors_forward=%llu order_errors_backward=%llu torn=%llu badlen=%llu", &n,
               &forward, &backward, &torn, &badlen) == 5)
      clean = n == VERIFIED_PACKETS && forward + backward + torn + badlen == 0;
  }
  return clean;
}

static void send_verified(uv_idle_t* idle) {
  end_t* end = idle->data;
  unsigned char message[64];
  uv_buf_t buf = uv_buf_init((char*) message, sizeof(message));

  while (end->sent < end->to_send) {
    fill_message(message, sizeof(message), end->sent);
    if (uvface_try_send(&end->face, &buf, 1) < 0) return;
    end->sent++;
  }
  idle->data = NULL;
  uv_close((uv_handle_t*) idle, NULL);
  end->done = 1;
}

START_TEST(foreign_sink_gets_every_packet) {
  const char* path = foreign_peer(_i / 2);
  bool engine = _i % 2 == 0;
  end_t end = {.to_send = VERIFIED_PACKETS};
  char count[32], name[80];
  uv_idle_t idle;
  int fd;
  pid_t pid;

  if (path == NULL) return;
  snprintf(count, sizeof(count), "%u", VERIFIED_PACKETS);
  snprintf(name, sizeof(name), "%s", harness_name("sink"));
  if (engine) ck_assert_int_eq(end_open(&end, name, true, NULL), 0);
  pid = start_foreign(path, engine ? "app-sink" : "engine-sink", name, count, "64", &fd);
  if (!engine) ck_assert_int_eq(end_open(&end, name, false, NULL), 0);
  ASSERT_OK(uvface_recv_start(&end.face, on_packets)); /* to see it go */
  uv_idle_init(&end.loop, &idle);
  idle.data = &end;
  uv_idle_start(&idle, send_verified);
  RUN_UNTIL(&end.loop, end.done);
  ck_assert(foreign_verified(fd, _i / 2 == 1));
  close(fd);
  ck_assert_int_eq(harness_wait(pid, 5000), 0);
  end.done = end.error != 0; /* its death may have been told while the last packets were sent */
  RUN_UNTIL(&end.loop, end.done);
  ck_assert_int_eq(end.error, UV_EOF);
  end_close(&end);
}
END_TEST

START_TEST(every_packet_of_a_foreign_source_arrives) {
  const char* path = foreign_peer(_i / 2);
  bool engine = _i % 2 == 0;
  end_t end = {.verify = true, .size_bytes = 64, .count = VERIFIED_PACKETS};
  char count[32], name[80];
  int fd;
  pid_t pid;

  if (path == NULL) return;
  snprintf(count, sizeof(count), "%u", VERIFIED_PACKETS);
  snprintf(name, sizeof(name), "%s", harness_name("source"));
  if (engine) ck_assert_int_eq(end_open(&end, name, true, NULL), 0);
  pid = start_foreign(path, engine ? "app-source" : "engine-source", name, count, "64", &fd);
  if (!engine) ck_assert_int_eq(end_open(&end, name, false, NULL), 0);
  ASSERT_OK(uvface_recv_start(&end.face, on_packets));
  RUN_UNTIL(&end.loop, end.done);
  ck_assert_uint_eq(end.received, VERIFIED_PACKETS);
  ck_assert_uint_eq(end.bad, 0);
  end.done = end.error != 0;
  end.count = 0;
  RUN_UNTIL(&end.loop, end.done); /* it ends, and we are told */
  ck_assert_int_eq(end.error, UV_EOF);
  close(fd);
  ck_assert_int_eq(harness_wait(pid, 5000), 0);
  end_close(&end);
}
END_TEST

START_TEST(foreign_peer_pings_our_echo) {
  const char* path = foreign_peer(_i / 2);
  bool engine = _i % 2 == 0;
  end_t end = {.echo = true};
  char name[80];
  int fd;
  pid_t pid;

  if (path == NULL) return;
  snprintf(name, sizeof(name), "%s", harness_name("echo"));
  if (engine) ck_assert_int_eq(end_open(&end, name, true, NULL), 0);
  {
    const char* argv[] = {path, engine ? "app-ping" : "engine-ping", name, "5000", NULL};

    pid = harness_spawn(argv, &fd);
  }
  if (!engine) ck_assert_int_eq(end_open(&end, name, false, NULL), 0);
  ASSERT_OK(uvface_recv_start(&end.face, on_packets));
  RUN_UNTIL(&end.loop, end.done); /* until it is done and gone */
  ck_assert_int_eq(end.error, UV_EOF);
  ck_assert_uint_ge(end.received, 5000);
  ck_assert_uint_eq(end.bad, 0);
  close(fd);
  ck_assert_int_eq(harness_wait(pid, 5000), 0);
  end_close(&end);
}
END_TEST

static uint64_t kill_foreign_and_wait_ns(const char* path, bool engine) {
  end_t end = {.count = 1};
  char name[80];
  const char* argv[] = {path, engine ? "app-echo" : "engine-echo", name, NULL};
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uint64_t killed_ns;
  int fd;
  pid_t pid;

  snprintf(name, sizeof(name), "%s", harness_name("fkill"));
  if (engine) ck_assert_int_eq(end_open(&end, name, true, NULL), 0);
  pid = harness_spawn(argv, &fd);
  if (!engine) ck_assert_int_eq(end_open(&end, name, false, NULL), 0);
  ASSERT_OK(uvface_recv_start(&end.face, on_packets));
  ck_assert_int_eq(uvface_try_send(&end.face, &buf, 1), 1);
  RUN_UNTIL(&end.loop, end.done);
  end.done = 0;
  end.count = 0;
  killed_ns = harness_now_ns();
  harness_kill(pid);
  RUN_UNTIL(&end.loop, end.done);
  ck_assert_int_eq(end.error, UV_EOF);
  close(fd);
  uvface_close(&end.face, NULL);
  if (!engine) {
    ASSERT_OK(uvface_init(&end.loop, &end.face));
    ASSERT_OK(uvface_create(&end.face, name, NULL)); /* a dead ndn-rs engine's name is free, too */
    uvface_close(&end.face, NULL);
  }
  finish_loop(&end.loop);
  return end.eof_ns - killed_ns;
}

START_TEST(killed_foreign_peer_is_reported) {
  const char* path = foreign_peer(_i / 2);
  uint64_t took_ns = UINT64_MAX;

  if (path == NULL) return;
  for (int n = 0; n < REPORT_ATTEMPTS && took_ns >= REPORT_LIMIT_NS; n++)
    took_ns = kill_foreign_and_wait_ns(path, _i % 2 == 0);
  ck_assert_msg(took_ns < REPORT_LIMIT_NS, "reported after %llu us", (unsigned long long) took_ns / 1000);
}
END_TEST

/* A peer without a fence that loses wake-ups is looked after by the recheck. */
START_TEST(withheld_wake_up_is_made_good_by_the_recheck) {
  if (harness_under_valgrind()) return;
  const char* path = foreign_peer(0);
  end_t end = {.verify = true, .size_bytes = 64, .count = 200};
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_stats_t stats;
  char name[80], line[256];
  unsigned long long lost = 0, in_time = 0, late_byte = 0;
  int fd;
  pid_t pid;

  if (path == NULL) return;
  snprintf(name, sizeof(name), "%s", harness_name("held"));
  options.hot_ns = options.spin_ns = 0;
  ck_assert_int_eq(end_open(&end, name, true, &options), 0);
  {
    const char* argv[] = {path, "app-source", name, "200", "64", "--verify", "--withhold-byte", "2", NULL};

    pid = harness_spawn(argv, &fd);
  }
  ASSERT_OK(uvface_recv_start(&end.face, on_packets));
  RUN_UNTIL(&end.loop, end.done);
  ck_assert_uint_eq(end.bad, 0);
  end.count = 0;
  end.done = end.error != 0;
  RUN_UNTIL(&end.loop, end.done); /* the peer waits for us to park, then goes */
  ASSERT_OK(uvface_get_stats(&end.face, &stats));
  ck_assert_uint_eq(stats.peer_caps, 0);
  ck_assert_uint_ge(stats.recheck_hits, 10);
  while (harness_read_line(fd, line, sizeof(line), 5000)) {
    sscanf(line, "withheld=%llu in_time=%llu late=%llu", &lost, &in_time, &late_byte);
  }
  ck_assert_uint_ge(lost, 10);
  ck_assert_uint_ge((in_time + late_byte) * 10, lost * 9); /* of a hundred, a busy machine may delay some */
  close(fd);
  ck_assert_int_eq(harness_wait(pid, 5000), 0);
  end_close(&end);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("uvface_processes");
  TCase* t = harness_tcase(suite, "processes");

  signal(SIGPIPE, SIG_DFL); /* whatever started us: writing to a dead peer must not kill */
  tcase_add_loop_test(t, killed_peer_is_reported_within_50_ms, 0, 2 * N_STATES);
  tcase_add_loop_test(t, dead_engines_name_is_free_while_its_app_lives_on, 0, 2);
  tcase_add_test(t, stopped_peer_is_not_dead_and_sends_time_out);
  tcase_add_test(t, app_survives_engine_restarts);
  tcase_add_test(t, no_round_trip_through_sleep_stalls);
  tcase_add_loop_test(t, foreign_sink_gets_every_packet, 0, 4);
  tcase_add_loop_test(t, every_packet_of_a_foreign_source_arrives, 0, 4);
  tcase_add_loop_test(t, foreign_peer_pings_our_echo, 0, 4);
  tcase_add_loop_test(t, killed_foreign_peer_is_reported, 0, 4);
  tcase_add_test(t, withheld_wake_up_is_made_good_by_the_recheck);
  return harness_main(suite);
}
