/* SPDX-License-Identifier: MIT */
/* test_sleep.c: sleeping over bare poll(2), waking, and two processes that do nothing else. See ends.h. */
#include "ends.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- Sleeping and waking ---------------------------------------------------------------------------- */

/* The same test for either end asleep: the app with even numbers, the engine with odd. */
typedef struct ends_s {
  ndnshm_t *sleeper, *other;
  uint32_t *parked, *waiting; /* the sleeper's flags */
} ends_t;

static ends_t ends_of(const face_t* f, int i) {
  ndnshm__region_header_t* h = f->header;

  return i % 2 == 0 ? (ends_t){f->app, f->engine, &h->e2a_parked.value, &h->a2e_waiting}
                    : (ends_t){f->engine, f->app, &h->a2e_parked.value, &h->e2a_waiting};
}

TEST_LOOP(end_with_a_packet_does_not_park, 2) {
  face_t f = face_make("nopark", 4, 100);
  ends_t e = ends_of(&f, _i);
  ndnshm_stats_t stats;

  send_text(e.other, "here");
  ck_assert_uint_eq(ndnshm_park(e.sleeper, NDNSHM_PACKETS), NDNSHM_PACKETS);
  ck_assert(*e.parked == 0 && *e.waiting == 0);
  ck_assert_uint_eq(ndnshm_park(e.sleeper, NDNSHM_PACKETS | NDNSHM_SPACE), NDNSHM_PACKETS | NDNSHM_SPACE);
  ck_assert(*e.parked == 0 && *e.waiting == 0);
  ck_assert_int_eq(ndnshm_get_stats(e.sleeper, &stats), 0);
  ck_assert_uint_eq(stats.parks, 0);
  send_text(e.other, "more");
  ck_assert_msg(!readable(ndnshm_fd(e.sleeper), 0), "nobody sleeps, nobody must be woken");
  face_drop(&f);
}

TEST_LOOP(three_steps_make_a_park, 2) {
  face_t f = face_make("steps", 4, 100);
  ends_t e = ends_of(&f, _i);

  ck_assert_uint_eq(ndnshm_announce(e.sleeper, NDNSHM_PACKETS), NDNSHM_PACKETS);
  ck_assert(*e.parked == 1 && *e.waiting == 0);
  ndnshm_fence();
  ck_assert_uint_eq(ndnshm_confirm(e.sleeper, NDNSHM_PACKETS), 0);
  ck_assert_uint_eq(*e.parked, 1);
  ndnshm_unpark(e.sleeper);
  ck_assert_uint_eq(*e.parked, 0);
  ck_assert_uint_eq(ndnshm_announce(e.sleeper, NDNSHM_SPACE), NDNSHM_SPACE);
  ck_assert(*e.parked == 0 && *e.waiting == 1);
  ck_assert_uint_eq(ndnshm_confirm(e.sleeper, NDNSHM_SPACE), NDNSHM_SPACE);
  ck_assert_uint_eq(*e.waiting, 0);
  ck_assert_uint_eq(ndnshm_announce(e.sleeper, 0), 0);
  ck_assert(*e.parked == 0 && *e.waiting == 0);
  ndnshm_announce(e.sleeper, NDNSHM_PACKETS);
  send_text(e.other, "came in between");
  ck_assert_uint_eq(ndnshm_confirm(e.sleeper, NDNSHM_PACKETS), NDNSHM_PACKETS);
  ck_assert_uint_eq(*e.parked, 0);
  face_drop(&f);
}

TEST_LOOP(readiness_is_told_by_the_rings_alone, 2) {
  face_t f = face_make("ready", 2, 100);
  ends_t e = ends_of(&f, _i);

  ck_assert_uint_eq(ndnshm_ready(e.sleeper, NDNSHM_PACKETS | NDNSHM_SPACE), NDNSHM_SPACE);
  ck_assert_uint_eq(ndnshm_ready(e.sleeper, NDNSHM_PACKETS), 0);
  ck_assert_uint_eq(ndnshm_ready(e.sleeper, 0), 0);
  send_text(e.other, "x");
  ck_assert_uint_eq(ndnshm_ready(e.sleeper, NDNSHM_PACKETS), NDNSHM_PACKETS);
  ck_assert_uint_eq(ndnshm_ready(e.sleeper, NDNSHM_SPACE), NDNSHM_SPACE);
  send_text(e.sleeper, "x");
  send_text(e.sleeper, "x");
  ck_assert_uint_eq(ndnshm_ready(e.sleeper, NDNSHM_PACKETS | NDNSHM_SPACE), NDNSHM_PACKETS);
  ck_assert(*e.parked == 0 && *e.waiting == 0);
  face_drop(&f);
}

TEST_LOOP(waking_withdraws_both_announcements, 2) {
  face_t f = face_make("withdraw", 1, 100);
  ends_t e = ends_of(&f, _i);

  send_text(e.sleeper, "x");
  ck_assert_uint_eq(ndnshm_park(e.sleeper, NDNSHM_PACKETS | NDNSHM_SPACE), 0);
  ck_assert(*e.parked == 1 && *e.waiting == 1);
  send_text(e.other, "y");
  ck_assert_int_eq(ndnshm_wake(e.sleeper), 1);
  ck_assert(*e.parked == 0 && *e.waiting == 0);
  ck_assert_int_eq(ndnshm_wake(e.sleeper), 0);
  face_drop(&f);
}

/* An edge may be told once for both. */
TEST_LOOP(waking_finds_the_end_that_came_with_a_byte, 2) {
  face_t f = face_make("last", 4, 100);
  ends_t e = ends_of(&f, _i);
  ndnshm_stats_t stats;

  ck_assert_uint_eq(ndnshm_park(e.sleeper, NDNSHM_PACKETS), 0);
  send_text(e.other, "bye");
  ndnshm_shutdown(e.other);
  ck_assert_int_eq(ndnshm_wake(e.sleeper), NDNSHM_EOF);
  ck_assert_int_eq(ndnshm_get_stats(e.sleeper, &stats), 0);
  ck_assert_uint_eq(stats.wakeups_received, 1);
  assert_receives(e.sleeper, "bye");
  face_drop(&f);
}

TEST(who_is_told_again_reads_once) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  face_t f = face_plan("level");

  options.flags = NDNSHM_LEVEL_TRIGGERED;
  face_create(&f, 4, 100);
  face_join(&f, &options);
  ck_assert_uint_eq(ndnshm_park(f.app, NDNSHM_PACKETS), 0);
  send_text(f.engine, "bye");
  ndnshm_shutdown(f.engine);
  ck_assert_int_eq(ndnshm_wake(f.app), 1);
  ck_assert_int_eq(ndnshm_wake(f.app), NDNSHM_EOF);
  face_drop(&f);
}

/* Not for ever, and who has to go on sees it. */
TEST(flood_is_drained_in_pieces_that_can_be_told) {
  static const char bytes[65536];
  face_t f = face_make("flood", 4, 100);
  int fd = f.kind == NAMED ? open(f.a2e_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1, n, drained = 0;
  int64_t written;

  if (f.kind == NAMED) {
    written = write(fd, bytes, sizeof(bytes));
    close(fd);
  } else if (f.kind == BY_SOCKET) {
    written = send(ndnshm_fd(f.app), bytes, sizeof(bytes), MSG_DONTWAIT);
  } else {
    face_drop(&f);
    SKIP("nobody else can write to its pipe");
  }
  ck_assert_int_gt(written, 4096);
  while ((n = ndnshm_wake(f.engine)) > 1024) {
    ck_assert_int_le(n, f.kind == NAMED ? 65536 : 2048);
    drained += n;
  }
  ck_assert_int_eq(drained + n, written);
  ck_assert_int_eq(ndnshm_wake(f.engine), 0);
  face_drop(&f);
}

TEST(without_the_space_capability_nobody_waits_for_space) {
  face_t f = face_make("nospace", 1, 100);

  f.header->engine_caps = UINT32_C(0x55460000) | NDNSHM_CAP_FENCED;
  send_text(f.app, "x");
  ck_assert_uint_eq(ndnshm_park(f.app, NDNSHM_SPACE), 0);
  ck_assert_uint_eq(f.header->a2e_waiting, 0);
  ck_assert_uint_eq(ndnshm_announce(f.app, NDNSHM_PACKETS | NDNSHM_SPACE), NDNSHM_PACKETS);
  ck_assert(f.header->e2a_parked.value == 1 && f.header->a2e_waiting == 0);
  face_drop(&f);
}

/* It may have attached, and begun to wait, after the engine looked at its capabilities. */
TEST(who_waits_for_space_is_woken_whatever_he_announced) {
  face_t f = face_make("nocaps", 1, 100);

  send_text(f.app, "x");
  f.header->app_caps = 0;
  f.header->a2e_waiting = 1;
  assert_receives(f.engine, "x");
  ck_assert_uint_eq(f.header->a2e_waiting, 0);
  ck_assert(readable(ndnshm_fd(f.app), 0));
  face_drop(&f);
}

TEST(capabilities_are_announced_and_taken_back) {
  const uint32_t both = UINT32_C(0x55460000) | NDNSHM_CAP_FENCED | NDNSHM_CAP_SPACE;
  face_t f;

  NEEDS_NAMES();
  f = face_plan("caps");
  face_create(&f, 4, 100);
  ck_assert_uint_eq(f.header->engine_caps, both);
  ck_assert_uint_eq(f.header->app_caps, 0);
  ck_assert_uint_eq(ndnshm_peer_caps(f.engine), 0);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert_uint_eq(f.header->app_caps, both);
  ck_assert_uint_eq(ndnshm_peer_caps(f.engine), NDNSHM_CAP_FENCED | NDNSHM_CAP_SPACE);
  ck_assert_uint_eq(ndnshm_peer_caps(f.app), NDNSHM_CAP_FENCED | NDNSHM_CAP_SPACE);
  f.header->engine_caps = UINT32_C(0x55470003);
  ck_assert_uint_eq(ndnshm_peer_caps(f.app), 0);
  f.header->engine_caps = UINT32_C(0x5546fff1);
  ck_assert_uint_eq(ndnshm_peer_caps(f.app), 0xfff1);
  ndnshm_shutdown(f.app);
  ck_assert_uint_eq(f.header->app_caps, 0);
  ck_assert_uint_eq(ndnshm_peer_caps(f.engine), 0);
  face_drop(&f);
}

TEST(shutdown_withdraws_announcements) {
  face_t f = face_make("bye", 1, 100);

  for (int i = 0; i < 2; i++) {
    ends_t e = ends_of(&f, i);

    send_text(e.sleeper, "x");
    *e.parked = *e.waiting = 1;
    ndnshm_shutdown(e.sleeper);
    ck_assert(*e.parked == 0 && *e.waiting == 0);
  }
  face_drop(&f);
}

/* --- Two processes over poll(2) --------------------------------------------------------------------- */

/* One number over bare poll(2), always asleep before it: 0, -ETIMEDOUT if no wake-up came. */
static int receive_number(ndnshm_t* ep, uint64_t* ret_number) {
  char arena[64];
  struct iovec packet;
  int n;

  while ((n = ndnshm_recv(ep, arena, sizeof(arena), &packet, 1)) == 0) {
    if (ndnshm_park(ep, NDNSHM_PACKETS) != 0) continue;
    if (!readable(ndnshm_fd(ep), DEADLINE_MS)) return -ETIMEDOUT;
    n = ndnshm_wake(ep);
    if (n < 0) return n;
  }
  if (n < 0) return n;
  if (packet.iov_len != sizeof(*ret_number)) return -EPROTO;
  memcpy(ret_number, packet.iov_base, sizeof(*ret_number));
  return 0;
}

static int send_number(ndnshm_t* ep, uint64_t number) {
  return ndnshm_send(ep, &(struct iovec){&number, sizeof(number)}, 1);
}

static int echo_body(void* arg) {
  const face_t* f = arg;
  ndnshm_t* ep;
  uint64_t number;
  int err;

  REQUIRE(ndnshm_new(&ep) == 0);
  if (harness_kind() == NAMED) {
    while ((err = ndnshm_connect(ep, f->name, NULL)) == -ENOENT) sched_yield();
  } else {
    int fds[3];

    REQUIRE(harness_fetch_fds(f->name, fds) == 0);
    err = ndnshm_attach(ep, fds, NULL);
  }
  REQUIRE(err == 0);
  while ((err = receive_number(ep, &number)) == 0) REQUIRE(send_number(ep, number) == sizeof(number));
  REQUIRE(err == NDNSHM_EOF);
  ndnshm_free(ep);
  return 0;
}

static void give_away(face_t* f) {
  int listener = harness_offer(f->name);
  int fds[3];

  ck_assert_int_eq(ndnshm_app_fds(f->engine, fds), 0);
  harness_serve_fds(listener, fds);
  ndnshm_app_fds_close(f->engine);
  close(listener);
}

TEST(hundred_thousand_round_trips_lose_no_wakeup) {
  const uint64_t rounds = 100000 / harness_slow();
  face_t f = face_plan("echo");
  ndnshm_stats_t stats;
  pid_t app = harness_fork(echo_body, &f); /* before the engine exists, so that it has none of its descriptors */

  face_create(&f, 1, 64);
  if (harness_kind() != NAMED) give_away(&f);
  for (uint64_t n = 0; n < rounds; n++) {
    uint64_t number = 0;
    int err;

    HOLDS(send_number(f.engine, n) == sizeof(n));
    err = receive_number(f.engine, &number);
    if (err < 0) ck_abort_msg("round trip %llu: %d", (unsigned long long) n, err);
    HOLDS(number == n);
  }
  ck_assert_int_eq(ndnshm_get_stats(f.engine, &stats), 0);
  /* Or the test has tested nothing. On one CPU it may always be the same end that sleeps. */
  ck_assert_uint_gt(stats.wakeups_sent + stats.wakeups_received, rounds / 20);
  ndnshm_shutdown(f.engine);
  ck_assert_int_eq(harness_wait(app, DEADLINE_MS), 0);
  face_drop(&f);
}

TEST(probe_takes_the_byte_of_an_app_that_nobody_has_heard_of) {
  face_t f;

  NEEDS_NAMES(); /* that nobody has heard of the app is the point */
  f = face_make("probe", 4, 100);
  ck_assert_uint_eq(ndnshm_park(f.engine, NDNSHM_PACKETS), 0);
  ck_assert_int_eq(send_text(f.app, "hello"), 5);
  ck_assert_int_eq(ndnshm_probe(f.engine), 1);
  assert_receives(f.engine, "hello");
  face_drop(&f);
}
