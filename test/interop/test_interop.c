/* SPDX-License-Identifier: MIT */
/* test_interop.c: our ends against those of others, as real processes: the peer that speaks to the letter as ndn-rs
 * does (UVFACE_LITERAL_PEER), and ndn-rs itself where UVFACE_NDNRS_PEER names its binary. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faces.h"

#define VERIFIED_PACKETS 200000u

/* The binary of the foreign peer that the loop index names; NULL after saying why it is skipped. */
static const char* foreign_peer(int which) {
  const char* variable = which == 0 ? "UVFACE_LITERAL_PEER" : "UVFACE_NDNRS_PEER";
  const char* path = getenv(variable);
  char reason[80];

  if (path != NULL && path[0] != '\0') return path;
  snprintf(reason, sizeof(reason), "%s does not name a peer", variable);
  harness_skip(reason);
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

  while (end->sent < end->to_send)
    if (!end_send_message(end)) return;
  idle->data = NULL;
  uv_close((uv_handle_t*) idle, NULL);
  end->done = 1;
}

TEST_LOOP(foreign_sink_gets_every_packet, 4) {
  const char* path = foreign_peer(_i / 2);
  bool engine = _i % 2 == 0;
  end_t end = {.to_send = VERIFIED_PACKETS, .size_bytes = 64};
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
  ASSERT_OK(uvface_recv_start(&end.face, end_on_packets)); /* to see it go */
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

TEST_LOOP(every_packet_of_a_foreign_source_arrives, 4) {
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
  ASSERT_OK(uvface_recv_start(&end.face, end_on_packets));
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

TEST_LOOP(foreign_peer_pings_our_echo, 4) {
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
  ASSERT_OK(uvface_recv_start(&end.face, end_on_packets));
  RUN_UNTIL(&end.loop, end.done); /* until it is done and gone */
  ck_assert_int_eq(end.error, UV_EOF);
  ck_assert_uint_ge(end.received, 5000);
  ck_assert_uint_eq(end.bad, 0);
  close(fd);
  ck_assert_int_eq(harness_wait(pid, 5000), 0);
  end_close(&end);
}

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
  ASSERT_OK(uvface_recv_start(&end.face, end_on_packets));
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

TEST_LOOP(killed_foreign_peer_is_reported, 4) {
  const char* path = foreign_peer(_i / 2);
  uint64_t took_ns = UINT64_MAX;

  if (path == NULL) return;
  for (int n = 0; n < REPORT_DEATHS && took_ns >= REPORT_NS; n++) took_ns = kill_foreign_and_wait_ns(path, _i % 2 == 0);
  ck_assert_msg(took_ns < REPORT_NS, "reported after %llu us", (unsigned long long) took_ns / 1000);
}

/* A peer without a fence that loses wake-ups is looked after by the recheck. */
TEST(withheld_wake_up_is_made_good_by_the_recheck) {
  if (harness_under_valgrind()) SKIP("valgrind has descriptors and threads of its own");
  const char* path = foreign_peer(0);
  end_t end = {.verify = true, .size_bytes = 64, .count = 200};
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_stats_t stats;
  char name[80], line[256];
  unsigned long long lost = 0, in_time = 0;
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
  ASSERT_OK(uvface_recv_start(&end.face, end_on_packets));
  RUN_UNTIL(&end.loop, end.done);
  ck_assert_uint_eq(end.bad, 0);
  end.count = 0;
  end.done = end.error != 0;
  RUN_UNTIL(&end.loop, end.done); /* the peer waits for us to park, then goes */
  ASSERT_OK(uvface_get_stats(&end.face, &stats));
  ck_assert_uint_eq(stats.peer_caps, 0);
  ck_assert_uint_ge(stats.recheck_hits, 10);
  while (harness_read_line(fd, line, sizeof(line), 5000)) {
    sscanf(line, "withheld=%llu in_time=%llu", &lost, &in_time);
  }
  ck_assert_uint_ge(lost, 10);
  ck_assert_uint_ge(in_time * 4, lost); /* a busy machine delays many, but a recheck that is late all of them */
  close(fd);
  ck_assert_int_eq(harness_wait(pid, 5000), 0);
  end_close(&end);
}
