/* SPDX-License-Identifier: MIT */
/* test_patience.c: peers that make our calls slow are woken seldom and then fail, and those of whom it only looks so do
 * not. The clocks are the test's, and so is what a call takes; what a peer does to that end is in test_locks.c. */
#include "patience.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "endpoint.h"
#include "ends.h"

#define MS UINT64_C(1000000)

/* --- The clocks of the test: the library is linked statically, so these come before libc's -------------- */

/* What a call costs is the test's from the beginning: under valgrind it is slow to make a face. */
static struct {
  bool is_on;
  uint64_t now_ns, cpu_ns; /* never 0 */
  long sleeps;
  unsigned int looks; /* at any of them */
} clocks;

int clock_gettime(clockid_t clock, struct timespec* t) {
  uint64_t ns = clock == CLOCK_THREAD_CPUTIME_ID ? clocks.cpu_ns : clocks.now_ns;

  if (!clocks.is_on && clock != CLOCK_THREAD_CPUTIME_ID) return (int) syscall(SYS_clock_gettime, clock, t);
  clocks.looks++;
  *t = (struct timespec){(time_t) (ns / 1000000000), (long) (ns % 1000000000)};
  return 0;
}

int getrusage(__rusage_who_t who, struct rusage* usage) {
  (void) who;
  clocks.looks++;
  *usage = (struct rusage){.ru_nvcsw = clocks.sleeps};
  return 0;
}

/* What time does during a call. */
typedef enum kind_of_time_e { COMPUTING, ASLEEP, PREEMPTED } kind_of_time_t;

static void pass(uint64_t ns, kind_of_time_t kind) {
  clocks.now_ns += ns;
  if (kind == COMPUTING) clocks.cpu_ns += ns;
  if (kind == ASLEEP) clocks.sleeps++;
}

static void start_clocks(void) {
  memset(&clocks, 0, sizeof(clocks));
  clocks.now_ns = clocks.cpu_ns = 1000 * MS;
}

/* --- The rule ----------------------------------------------------------------------------------------- */

static void call_that_takes(ndnshm__patience_t* patience, uint64_t ns, kind_of_time_t kind, bool is_pipe) {
  ndnshm__stopwatch_t watch;

  clocks.is_on = true; /* no longer than that: Check looks at its watch, too */
  ndnshm__patience_start(patience, &watch);
  pass(ns, kind);
  ndnshm__patience_stop(patience, &watch, "write", is_pipe);
  clocks.is_on = false;
}

/* Calls until it is over; 1000 = never. */
static unsigned int calls_until_over(uint64_t ns, kind_of_time_t kind, bool is_pipe) {
  ndnshm__patience_t patience = {0};
  unsigned int calls = 0;

  while (calls < 1000 && !ndnshm__patience_is_over(&patience)) {
    call_that_takes(&patience, ns, kind, is_pipe);
    calls++;
  }
  return calls;
}

TEST_LOOP(three_slow_calls_are_enough_if_they_took_10_ms, 2) {
  start_clocks();
  ck_assert_uint_eq(calls_until_over(5 * MS, COMPUTING, _i == 0), 3);
  ck_assert_uint_eq(calls_until_over(2 * MS, COMPUTING, _i == 0), 5);
  ck_assert_uint_eq(calls_until_over(MS + MS / 4, COMPUTING, _i == 0), 8);
  ck_assert_uint_eq(calls_until_over(MS, COMPUTING, _i == 0), 1000);
  ck_assert_uint_eq(calls_until_over(10000 * MS, COMPUTING, _i == 0), 3);
}

/* Later than with the first calls: then one call only makes suspicious. */
TEST(who_begins_late_is_given_one_slow_call_more) {
  ndnshm__patience_t patience = {0};

  start_clocks();
  for (int i = 0; i < 100; i++) call_that_takes(&patience, MS / 2, COMPUTING, true);
  for (int i = 0; i < 4; i++) {
    ck_assert(!ndnshm__patience_is_over(&patience));
    call_that_takes(&patience, 5 * MS, COMPUTING, true);
  }
  ck_assert(ndnshm__patience_is_over(&patience));
}

TEST(call_on_a_pipe_that_slept_10_ms_is_slow) {
  start_clocks();
  ck_assert_uint_eq(calls_until_over(11 * MS, ASLEEP, true), 3);
  ck_assert_uint_eq(calls_until_over(10 * MS, ASLEEP, true), 1000);
  ck_assert_uint_eq(calls_until_over(60000 * MS, ASLEEP, true), 3);
}

/* On a socket there is nothing of the peer's to wait for: it was want of memory, say. */
TEST(time_that_is_no_fault_of_the_peer_does_not_count) {
  start_clocks();
  ck_assert_uint_eq(calls_until_over(100 * MS, PREEMPTED, true), 1000);
  ck_assert_uint_eq(calls_until_over(100 * MS, PREEMPTED, false), 1000);
  ck_assert_uint_eq(calls_until_over(100 * MS, ASLEEP, false), 1000);
}

/* However the peer spreads its slow calls: in the long run it gets 1 % of the time, or it is over. */
TEST_LOOP(what_was_lost_is_forgotten_in_a_hundred_times_as_long, 2) {
  ndnshm__patience_t patience = {0};

  start_clocks();
  for (int i = 0; i < 10; i++) {
    call_that_takes(&patience, 20 * MS, COMPUTING, true);
    call_that_takes(&patience, 20 * MS, COMPUTING, true);
    ck_assert(!ndnshm__patience_is_over(&patience));
    pass(4000 * MS - 20 * MS - 1, PREEMPTED); /* the second call is a part of it */
    if (_i == 1) break;
    pass(1, PREEMPTED);
    call_that_takes(&patience, 2 * MS, PREEMPTED, true); /* makes suspicious again */
  }
  call_that_takes(&patience, 20 * MS, COMPUTING, true);
  ck_assert_int_eq(ndnshm__patience_is_over(&patience), _i == 1);
}

static bool rests(ndnshm__patience_t* patience) {
  bool result;

  clocks.is_on = true;
  result = ndnshm__patience_rests_ns(patience) > 0;
  clocks.is_on = false;
  return result;
}

static void assert_rests_for(ndnshm__patience_t* patience, uint64_t ns) {
  ck_assert(rests(patience));
  pass(ns - 1, PREEMPTED);
  ck_assert(rests(patience));
  pass(1, PREEMPTED);
  ck_assert(!rests(patience));
}

TEST(who_was_slow_is_left_alone_two_hundred_times_as_long) {
  ndnshm__patience_t patience = {0};

  start_clocks();
  call_that_takes(&patience, MS, COMPUTING, true);
  ck_assert(!rests(&patience));
  call_that_takes(&patience, MS + MS / 2, COMPUTING, true);
  assert_rests_for(&patience, 300 * MS);
  call_that_takes(&patience, 4 * MS, COMPUTING, true);
  assert_rests_for(&patience, 800 * MS);
  call_that_takes(&patience, 2000 * MS, ASLEEP, true);
  assert_rests_for(&patience, 1000 * MS);
}

/* However many they are, and whether they have failed meanwhile and begun anew; each begins with a slow call beyond
 * that. */
TEST(slow_ones_of_a_thread_share_half_a_percent_of_its_time) {
  enum { PEERS = 50, SECONDS = 120 };
  ndnshm__patience_t peers[PEERS] = {{0}}, quick = {0};
  uint64_t first_ns = 0, lost_ns = 0;
  unsigned int over = 0;

  start_clocks();
  for (int ms = 0; ms < SECONDS * 1000; ms++) {
    for (int i = 0; i < PEERS; i++) {
      if (rests(&peers[i])) continue;
      *(peers[i].slow_calls == 0 ? &first_ns : &lost_ns) += 5 * MS;
      call_that_takes(&peers[i], 5 * MS, COMPUTING, i % 2 == 0);
      if (!ndnshm__patience_is_over(&peers[i])) continue;
      peers[i] = (ndnshm__patience_t){0};
      over++;
    }
    call_that_takes(&quick, MS / 10, COMPUTING, true);
    ck_assert(!rests(&quick));
    pass(MS, PREEMPTED);
  }
  ck_assert_uint_ge(over, 10);
  ck_assert_uint_le(lost_ns, SECONDS * 1000 * MS / 200 + PEERS * 5 * MS);
  ck_assert_uint_le(first_ns, lost_ns / 2 + PEERS * 5 * MS);
}

/* Else a peer that is slow whenever it may be would begin anew each time. */
TEST(nothing_is_forgotten_while_a_peer_is_left_alone) {
  ndnshm__patience_t patience = {0};

  start_clocks();
  for (int calls = 0; calls < 3; calls++) {
    ck_assert(!ndnshm__patience_is_over(&patience));
    call_that_takes(&patience, 5 * MS, COMPUTING, true);
    assert_rests_for(&patience, 1000 * MS);
    for (int i = 0; i < 8; i++) { /* the others keep this thread busy */
      ndnshm__patience_t other = {0};

      call_that_takes(&other, 4 * MS, COMPUTING, true);
      assert_rests_for(&patience, 800 * MS);
    }
  }
  ck_assert(ndnshm__patience_is_over(&patience));
}

TEST(ordinary_call_costs_two_looks_at_the_clock) {
  ndnshm__patience_t patience = {0};

  start_clocks();
  for (int i = 0; i < 16; i++) call_that_takes(&patience, MS / 2, COMPUTING, true);
  clocks.looks = 0;
  call_that_takes(&patience, MS / 2, COMPUTING, true);
  ck_assert_uint_eq(clocks.looks, 2);
  call_that_takes(&patience, 2 * MS, PREEMPTED, true);
  clocks.looks = 0;
  call_that_takes(&patience, MS / 2, COMPUTING, true);
  ck_assert_uint_gt(clocks.looks, 2);
  pass(200 * MS, PREEMPTED);
  clocks.looks = 0;
  call_that_takes(&patience, MS / 2, COMPUTING, true);
  ck_assert_uint_eq(clocks.looks, 2);
}

/* --- An end whose bytes are slow ---------------------------------------------------------------------- */

static uint64_t byte_takes_ns;
static unsigned int bytes_written;

ssize_t write(int fd, const void* bytes, size_t n) {
  if (n == 1 && clocks.is_on) {
    bytes_written++;
    pass(byte_takes_ns, COMPUTING);
  }
  return syscall(SYS_write, fd, bytes, n);
}

ssize_t pwritev2(int fd, const struct iovec* bufs, int nbufs, off_t at, int flags) {
  (void) nbufs, (void) at, (void) flags;
  return write(fd, bufs->iov_base, bufs->iov_len);
}

ssize_t send(int fd, const void* bytes, size_t n, int flags) {
  (void) flags;
  return write(fd, bytes, n);
}

/* The peer sleeps, and is sent something: what settling says. */
static int send_to_sleeper(face_t* f) {
  ndnshm_announce(f->app, NDNSHM_PACKETS);
  ndnshm_defer(f->engine, 1);
  send_text(f->engine, "x");
  return ndnshm_settle(f->engine);
}

TEST(slow_bytes_come_seldom_and_then_no_more) {
  face_t f = face_make("slow", 64, 100);
  ndnshm_stats_t stats;

  start_clocks();
  clocks.is_on = true;
  bytes_written = 0;
  byte_takes_ns = 4 * MS;
  for (unsigned int i = 1; i <= 3; i++) {
    ck_assert_int_eq(send_to_sleeper(&f), i < 3 ? 1 : -EIO);
    ck_assert_uint_eq(bytes_written, i);
    if (i == 3) break;
    ck_assert_int_eq(send_to_sleeper(&f), -ENOBUFS);
    ck_assert_uint_eq(ndnshm_rest(f.engine), 800);
    pass(800 * MS - 1, PREEMPTED);
    ck_assert_int_eq(ndnshm_settle(f.engine), -ENOBUFS);
    ck_assert_uint_eq(ndnshm_rest(f.engine), 1);
    ck_assert_uint_eq(bytes_written, i);
    pass(1, PREEMPTED);
    ck_assert_uint_eq(ndnshm_rest(f.engine), 0);
  }
  ck_assert_int_eq(ndnshm_wake(f.engine), -EIO);
  ck_assert_int_eq(ndnshm_probe(f.engine), -EIO);
  ck_assert_ptr_nonnull(strstr(ndnshm_errmsg(f.engine), "3 slow calls took 12 ms"));
  ck_assert_ptr_nonnull(strstr(ndnshm_errmsg(f.engine), harness_kind() == BY_SOCKET ? "send " : "write "));
  pass(60000 * MS, PREEMPTED);
  send_to_sleeper(&f);
  ndnshm_shutdown(f.engine);
  ck_assert_uint_eq(bytes_written, 3);
  ck_assert_int_eq(ndnshm_get_stats(f.engine, &stats), 0);
  ck_assert_uint_eq(stats.wakeups_sent, 3);
  clocks.is_on = false;
  face_drop(&f);
}

static uint64_t byte_read_takes_ns;
static unsigned int bytes_read;

/* Each byte was sent by itself, and tells the sleepers of the peer of the room that it leaves. */
ssize_t recv(int fd, void* bytes, size_t max, int flags) {
  ssize_t n = syscall(SYS_recvfrom, fd, bytes, max, flags, NULL, NULL);

  if (n > 0 && clocks.is_on) {
    bytes_read += (unsigned int) n;
    pass((uint64_t) n * byte_read_takes_ns, COMPUTING);
  }
  return n;
}

TEST(socket_is_read_in_pieces_until_one_is_slow) {
  face_t f;

  if (harness_kind() != BY_SOCKET) SKIP("is about sockets");
  f = face_make("pieces", 64, 100);
  byte_takes_ns = byte_read_takes_ns = 0;
  start_clocks();
  clocks.is_on = true;
  for (int i = 0; i < 99; i++) ck_assert_int_eq(send(ndnshm_fd(f.app), "x", 1, 0), 1);
  ck_assert_int_eq(ndnshm__wake_drain(&f.engine->wake), 99);
  for (int i = 0; i < 99; i++) ck_assert_int_eq(send(ndnshm_fd(f.app), "x", 1, 0), 1);
  byte_read_takes_ns = 2 * MS;
  bytes_read = 0;
  ck_assert_int_eq(ndnshm__wake_drain(&f.engine->wake), 4); /* the first two only made suspicious */
  ck_assert_uint_eq(bytes_read, 4);
  ck_assert_uint_eq(ndnshm_rest(f.engine), 800);
  clocks.is_on = false;
  face_drop(&f);
}

/* Nobody would settle for it later. */
TEST(who_does_not_defer_wakes_at_once_until_it_is_over) {
  face_t f = face_make("plain", 64, 100);

  start_clocks();
  clocks.is_on = true;
  bytes_written = 0;
  byte_takes_ns = 4 * MS;
  for (int i = 0; i < 6; i++) {
    ndnshm_announce(f.app, NDNSHM_PACKETS);
    send_text(f.engine, "x");
  }
  ck_assert_uint_eq(bytes_written, 3);
  ck_assert_int_eq(ndnshm_probe(f.engine), -EIO);
  clocks.is_on = false;
  face_drop(&f);
}
